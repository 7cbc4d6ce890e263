package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"behest/command"
)

const idempotencyKey = "Idempotency-Key"

// claimOf is the claim that a request with a key makes: the key belongs to
// its user and its route, and stands for this body.
func claimOf(ctx context.Context, route, key string) command.Claim {
	a := aboutOf(ctx)
	h := sha256.New()
	for _, part := range []string{a.who.User, route, key} {
		h.Write(binary.AppendUvarint(nil, uint64(len(part)))) // no two lists read alike
		h.Write([]byte(part))
	}
	return command.Claim{Key: [32]byte(h.Sum(nil)), Request: a.asked}
}

// digestOfRequest is the digest of a body as a value: neither the order of
// members nor the space between them makes it another request.
func digestOfRequest(body any) [32]byte {
	b, _ := json.Marshal(body) // it was JSON a moment ago
	return sha256.Sum256(b)
}

// issueOnce issues in under a key. The answer that is kept is the command as
// it was accepted.
func (h handlers) issueOnce(ctx context.Context, key string, in command.Intent, w *waiter) (IssueCommandResponseObject, error) {
	var refused error
	body, _, err := h.use.IssueOnce(ctx, claimOf(ctx, "POST /v1/commands", key), []command.Intent{in},
		func(issued []command.Issued, errs []error) []byte {
			if refused = errs[0]; refused != nil {
				return nil
			}
			b, _ := json.Marshal(viewIssued(issued[0])) // of our own making
			return b
		})
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0 && refused != nil:
		return nil, refused
	}
	c, err := keptCommand(body)
	if err != nil {
		return nil, err
	}
	if w.seconds > 0 {
		if id, err := command.ParseID(c.ID); err == nil {
			if v, err := w.wait(ctx, id); err == nil {
				c = viewCommand(v)
			}
		}
	}
	return issuedAnswer(c), nil
}

// keptCommand is the command that was answered with.
func keptCommand(body []byte) (c Command, err error) {
	if err := json.Unmarshal(body, &c); err != nil {
		return Command{}, fmt.Errorf("read an answer that was kept: %w", err)
	}
	return c, nil
}
