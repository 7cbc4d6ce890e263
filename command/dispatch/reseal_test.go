package dispatch_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/command/dispatch"
	"behest/device"
	"behest/device/vault"
)

// TestLostKeysAreGivenUp loses one of two keys, and then the other: what they
// sealed does not count any more, what they did not seal does, and certificates
// are what their rows say.
func TestLostKeysAreGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		const lost = 600 // more than a commit's
		w.known("a", "pinned", "removed")
		for n := range lost {
			name := fmt.Sprint("d", n)
			w.known(name)
			w.give(pskOf(name, n))
		}
		w.give(pskOf("removed", 901))
		if err := w.RemoveDevice(w.ctx(), "removed", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		pem, print := ownCertificate(t, "pinned")
		w.give(device.Proof{Device: "pinned", Kind: device.Certificate, Certificate: pem})
		w.still = true // or the second key would take over
		newer := vault.Line(2)
		w.keys = newer + w.keys
		w.restart()
		w.give(pskOf("a", 900))

		w.keys = vault.Line(3) + newer
		w.lost = true
		w.restart()
		if err := w.newDoor(w.keys); !errors.Is(err, vault.UnknownKeyError{Version: 1}) {
			t.Errorf("without leave: %v", err)
		}
		if err := w.ResetCredentials(w.ctx()); err != nil {
			t.Fatal(err)
		}
		w.lost = false
		w.restart()
		w.comesIn("a", psk(900))
		w.comesIn("d7")
		if w.door.Revoked("pinned", device.Certificate, print) || !w.door.Revoked("pinned", device.Certificate, sha256.Sum256(nil)) {
			t.Error("the pin is another than it was")
		}
		told := func(want ...string) {
			t.Helper()
			var got []string
			events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Types: []command.EventType{command.EventKeysLost}}, 10)
			for _, e := range events {
				got = append(got, string(e.Data))
			}
			if diff := cmp.Diff(got, want); diff != "" || err != nil {
				t.Errorf("the log says (-got +want):\n%s%v", diff, err)
			}
		}
		told(`{"revoked":600,"taken":1}`)
		all, err := w.store.Credentials(w.ctx(), "d7")
		if err != nil || len(all) != 1 || all[0].RevokedAt.IsZero() || all[0].RevokedBy != "" {
			t.Errorf("%+v, %v", all, err)
		}
		w.give(pskOf("d7", 1007)) // another secret
		w.comesIn("d7", psk(1007))

		w.keys = vault.Line(4)
		w.lost = true
		w.restart()
		if err := w.ResetCredentials(w.ctx()); err != nil {
			t.Fatal(err)
		}
		w.lost = false
		w.restart()
		w.comesIn("a")
		w.comesIn("d7")
		told(`{"revoked":600,"taken":1}`, `{"revoked":2,"taken":1}`)
		w.give(pskOf("a", 1900))
		w.comesIn("a", psk(1900))
	})
}

// TestAResetThatBreaksOffIsNotOver: what is half done does not open without
// leave, and is done with it.
func TestAResetThatBreaksOffIsNotOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a")
		w.give(pskOf("a", 1))
		w.still, w.lost, w.keys = true, true, vault.Line(2)
		w.restart()
		for _, want := range []error{vault.UnknownKeyError{Version: 1}, nil} { // after each commit
			w.doubt.next.Store(true)
			if err := w.ResetCredentials(w.ctx()); err == nil || command.CodeOf(err) != command.CodeOutcomeUnknown {
				t.Errorf("got %v", err)
			}
			if err := w.newDoor(w.keys); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	})
}

// A pin is all that is sealed: there is no key of digests to tell another file by.
func TestAKeyThatOpensNothingIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("pinned")
		pem, _ := ownCertificate(t, "pinned")
		w.give(device.Proof{Device: "pinned", Kind: device.Certificate, Certificate: pem})
		if err := w.newDoor(vault.Line(1)); !errors.Is(err, vault.ErrWrongKey) {
			t.Errorf("another key of its version: %v", err)
		}
		ring, err := vault.Parse([]byte(vault.Line(7)))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			keys *vault.Keys
			want int
		}{{nil, 2}, {ring, 8}} {
			if next, err := dispatch.KeyAfter(w.ctx(), w.store, tt.keys); next != tt.want || err != nil {
				t.Errorf("the next key is %d, %v, want %d", next, err, tt.want)
			}
		}
	})
}
