package endpoint

import (
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// Echo is the option that a peer carries back to prove that it receives what is
// sent to its address [RFC 9175 2].
const (
	echoID       = message.OptionID(252)
	echoBytesMax = 40          // of anybody's [RFC 9175 2.2.1]
	echoBytes    = 8           // of ours: short, because it must not be more than what came
	echoTurn     = time.Minute // ours is good for one to two of these
)

// echoes makes Echo values and knows them again. It keeps nothing of them: a
// value is a keyed hash of who it was sent to and when, to the minute, and the
// minute is not in it, because only two come into question.
type echoes struct{ key [sha256.Size]byte }

func newEchoes() (e echoes) {
	crand.Read(e.key[:]) // never fails [crypto/rand]
	return e
}

// value is what goes to a peer at now.
func (e *echoes) value(k *peerKey, now time.Duration) (v [echoBytes]byte) {
	mac := hmac.New(sha256.New, e.key[:])
	mac.Write(k.remote[:])
	mac.Write(binary.BigEndian.AppendUint16(nil, k.remoteZone))
	mac.Write(binary.BigEndian.AppendUint16(nil, k.port))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now/echoTurn)))
	copy(v[:], mac.Sum(nil))
	return v
}

// good reports whether a peer carries back what it was sent not long ago.
func (e *echoes) good(k *peerKey, now time.Duration, carried []byte) bool {
	if len(carried) != echoBytes {
		return false
	}
	for _, at := range []time.Duration{now, now - echoTurn} {
		if v := e.value(k, at); subtle.ConstantTimeCompare(v[:], carried) == 1 {
			return true
		}
	}
	return false
}

// challengedLocked answers a costly request from an address that has not proven
// itself with what proves it. Nothing of such a request is remembered.
func (e *Endpoint) challengedLocked(g *origin, now time.Duration) bool {
	p := e.peers.at(g.peer)
	if p.proven || e.o.Costly == nil || !e.o.Costly(&e.newJobLocked(g, nil).req) {
		return false
	}
	e.stats.Challenged.Add(1)
	v := e.echoes.value(&p.key, now)
	e.answerLocked(g, &outbound{code: codes.Unauthorized, echo: v[:]})
	return true
}
