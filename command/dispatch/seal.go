package dispatch

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"behest/command"
	"behest/command/ledger"
)

// With a key, every execution is sealed when it is accepted, and its seal is
// looked at before it goes out, each time: what somebody wrote into the
// database without the key does not reach a device.
const (
	sealLabel = "behest seals on executions"
	sealBytes = 16
)

// ErrOtherKey says that the executions of a store were sealed with another key.
var ErrOtherKey = errors.New("the commands in the database were sealed with another key")

// seals makes seals and looks at them. Without a key there are none.
type seals struct{ key []byte }

func newSeals(key []byte) seals {
	if key == nil {
		return seals{}
	}
	derived, err := hkdf.Key(sha256.New, key, nil, sealLabel, sha256.Size)
	if err != nil {
		panic(err) // a length that SHA-256 does not give
	}
	return seals{derived}
}

func (s seals) of(text []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(text)
	return h.Sum(nil)[:sealBytes]
}

// put seals x, which has its command and its device.
func (s seals) put(x *command.Execution) {
	if s.key != nil {
		x.Seal = s.of(x.Sealed())
	}
}

// genuine reports whether x is what was accepted.
func (s seals) genuine(x command.Execution) bool {
	return s.key == nil || hmac.Equal(x.Seal, s.of(x.Sealed()))
}

// mark is kept in the store to tell the key from another one.
func (s seals) mark() []byte { return s.of([]byte("mark\x00")) }

// expel withdraws what is on the wire and is not what was accepted.
func (v *visit) expel() error {
	var forged []command.Execution
	for _, x := range v.open {
		if x.State.OnWire() && !v.d.seals.genuine(x) {
			forged = append(forged, x)
		}
	}
	for _, x := range forged {
		v.d.log.Error("a command is not what was accepted; it is shown to its device no more", "command", x.Command.ID, "device", x.Name)
		if _, err := v.step(x, command.Trigger{Kind: command.Withdraw, Cause: command.IntegrityFailed}); err != nil {
			return err
		}
	}
	return nil
}

// SealAll sees to it that what has not left is sealed. A store that has never
// seen a key takes this one, and everything in it as it stands; one that has
// seen another is ErrOtherKey, unless it is to take this one instead.
func (d *Dispatcher) SealAll(ctx context.Context, instead bool) error {
	if d.seals.key == nil {
		return nil
	}
	at, sealed, done := int64(0), 0, false
	for !done {
		var some int
		err := d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) (err error) {
			at, some, done, err = d.sealSome(tx, at, sealed, instead)
			return err
		})
		if err != nil {
			return fmt.Errorf("seal what has not left: %w", err)
		}
		sealed += some
	}
	return nil
}

// sealSome seals a group after a row, and notes the key behind the last one.
func (d *Dispatcher) sealSome(tx ledger.Tx, after int64, before int, instead bool) (at int64, sealed int, done bool, err error) {
	mark, err := tx.SealMark()
	switch {
	case err != nil:
		return after, 0, false, err
	case hmac.Equal(mark, d.seals.mark()):
		return after, 0, true, nil
	case mark != nil && !instead:
		return after, 0, false, ErrOtherKey
	}
	xs, err := tx.Unsent(after, groupTargets)
	if err != nil {
		return after, 0, false, err
	}
	at = after
	for _, x := range xs {
		d.seals.put(&x)
		if err := tx.SaveSeal(x); err != nil {
			return after, 0, false, err
		}
		at = x.N
	}
	if len(xs) == groupTargets {
		return at, len(xs), false, nil
	}
	if n := before + len(xs); n > 0 || mark != nil { // a new store is no news
		data, _ := json.Marshal(map[string]int{"executions": n}) // of plain values
		if err := tx.Log(command.Event{Type: command.EventSealed, At: d.now(), Data: data}); err != nil {
			return after, 0, false, err
		}
	}
	return at, len(xs), true, tx.PutSealMark(d.seals.mark())
}
