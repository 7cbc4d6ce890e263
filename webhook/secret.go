package webhook

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"behest/command"
)

// Key is what the secrets of all webhooks are derived from. It is kept apart
// from the database.
type Key [32]byte

// NewKey draws a key.
func NewKey() (k Key) {
	_, _ = rand.Read(k[:]) // it never fails
	return k
}

const (
	secretBytes  = 32 // of the 24 to 64 that Standard Webhooks allows
	secretPrefix = "whsec_"
)

// secret is that of a generation of h, as its operator is told it.
func (k Key) secret(h *command.Hook, generation int) string {
	return secretPrefix + base64.StdEncoding.EncodeToString(k.derive(h, generation))
}

// derive makes the bytes of a secret. The name's length goes first, so that no
// two names and generations are the same text.
func (k Key) derive(h *command.Hook, generation int) []byte {
	var info bytes.Buffer
	info.WriteString("behest webhook ")
	for _, v := range []uint64{uint64(len(h.ID)), uint64(generation)} {
		info.Write(binary.BigEndian.AppendUint64(nil, v))
	}
	info.WriteString(h.ID)
	b, err := hkdf.Key(sha256.New, k[:], h.Salt[:], info.String(), secretBytes)
	if err != nil {
		panic(err) // it asks for too many bytes, or the key is too short for a validated module
	}
	return b
}

// headers sign a message, with the former secret too while that is still good.
func (k Key) headers(h *command.Hook, id string, body []byte, now time.Time, overlap time.Duration) (http.Header, error) {
	generations := []int{h.Generation}
	if h.Generation > 1 && now.Before(h.RotatedAt.Add(overlap)) {
		generations = append(generations, h.Generation-1)
	}
	var signatures []string
	for _, g := range generations {
		signer, err := standardwebhooks.NewWebhookRaw(k.derive(h, g))
		if err != nil {
			return nil, fmt.Errorf("sign with generation %d: %w", g, err)
		}
		s, err := signer.Sign(id, now, body)
		if err != nil {
			return nil, fmt.Errorf("sign with generation %d: %w", g, err)
		}
		signatures = append(signatures, s)
	}
	head := make(http.Header)
	head.Set(standardwebhooks.HeaderWebhookID, id)
	head.Set(standardwebhooks.HeaderWebhookTimestamp, fmt.Sprint(now.Unix()))
	head.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return head, nil
}
