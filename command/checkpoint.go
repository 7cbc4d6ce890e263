package command

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Checkpoint says, signed, how the log stood: its last event and the hash that
// seals it and all before. Kept where the log is not, it shows whether that was
// changed or shortened since.
type Checkpoint struct {
	Log       [32]byte // the log's own: what its first hash is chained to
	At        Place    // after the last event
	Hash      [32]byte // of the commit that this event is the last of
	SealedAt  time.Time
	SignedAt  time.Time
	Key       [ed25519.PublicKeySize]byte
	Signature [ed25519.SignatureSize]byte
}

// CheckpointLineMax bounds a checkpoint as a line: it has some 500 bytes.
const CheckpointLineMax = 1024

// checkpointMark begins what is signed. It is not the mark of the place where
// the log was cut: a checkpoint that anybody may have must not let him cut
// there.
const checkpointMark = "behest exported checkpoint 1\n"

// checkpointTime is how times are written in a line: in UTC, to the millisecond.
const checkpointTime = "2006-01-02T15:04:05.000Z"

// message is what is signed: the mark, the log, the numbers as eight bytes
// each, and the hash.
func (c *Checkpoint) message() []byte {
	b := append([]byte(checkpointMark), c.Log[:]...)
	for _, v := range []uint64{uint64(c.At.N), uint64(c.At.Epoch), uint64(c.SealedAt.UnixMilli()), uint64(c.SignedAt.UnixMilli())} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, c.Hash[:]...)
}

// Sign signs c.
func (c *Checkpoint) Sign(key ed25519.PrivateKey) {
	c.Key = [ed25519.PublicKeySize]byte(key.Public().(ed25519.PublicKey))
	c.Signature = [ed25519.SignatureSize]byte(ed25519.Sign(key, c.message()))
}

// Verify answers nil when one of the keys signed c as it is.
func (c *Checkpoint) Verify(keys ...ed25519.PublicKey) error {
	for _, key := range keys {
		if bytes.Equal(key, c.Key[:]) {
			if !ed25519.Verify(key, c.message(), c.Signature[:]) {
				return fmt.Errorf("the signature under the checkpoint of event %s is wrong", c.At)
			}
			return nil
		}
	}
	return fmt.Errorf("the checkpoint of event %s was signed with a key that is not trusted, %x", c.At, c.Key)
}

// checkpointLine is a checkpoint as it is written, in this order.
type checkpointLine struct {
	Log       string `json:"log"`
	Event     string `json:"event"`
	Hash      string `json:"hash"`
	SealedAt  string `json:"sealed_at"`
	SignedAt  string `json:"signed_at"`
	Key       string `json:"key"`
	Signature string `json:"signature"`
}

// MarshalJSON is the one way to write c: an object in one line.
func (c Checkpoint) MarshalJSON() ([]byte, error) {
	return json.Marshal(checkpointLine{
		Log: hex.EncodeToString(c.Log[:]), Event: c.At.String(), Hash: hex.EncodeToString(c.Hash[:]),
		SealedAt: c.SealedAt.UTC().Format(checkpointTime), SignedAt: c.SignedAt.UTC().Format(checkpointTime),
		Key: hex.EncodeToString(c.Key[:]), Signature: hex.EncodeToString(c.Signature[:]),
	})
}

// ParseCheckpoint is the inverse. Anything but the one way to write it is
// refused. It does not look at the signature: see Verify.
func ParseCheckpoint(line []byte) (c Checkpoint, err error) {
	if len(line) > CheckpointLineMax {
		return c, fmt.Errorf("it has over %d bytes", CheckpointLineMax)
	}
	var l checkpointLine
	if err := json.Unmarshal(line, &l); err != nil {
		return c, errors.New("it is no JSON object of texts")
	}
	var err1, err2, err3 error
	c.At, err1 = ParsePlace(l.Event)
	c.SealedAt, err2 = time.Parse(checkpointTime, l.SealedAt)
	c.SignedAt, err3 = time.Parse(checkpointTime, l.SignedAt)
	err = errors.Join(err1, err2, err3,
		unhex(c.Log[:], l.Log), unhex(c.Hash[:], l.Hash), unhex(c.Key[:], l.Key), unhex(c.Signature[:], l.Signature))
	if err != nil || c.At.N < 1 {
		return Checkpoint{}, errors.New("a field is missing or damaged")
	}
	if again, err := c.MarshalJSON(); err != nil || !bytes.Equal(again, line) {
		return Checkpoint{}, errors.New("it is not written as a checkpoint is")
	}
	return c, nil
}

// unhex fills b with what the text says, no more and no less.
func unhex(b []byte, text string) error {
	if len(text) != hex.EncodedLen(len(b)) {
		return hex.ErrLength
	}
	_, err := hex.Decode(b, []byte(text))
	return err
}
