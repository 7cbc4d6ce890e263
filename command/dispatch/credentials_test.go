package dispatch_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/mattn/go-sqlite3"

	"behest/access"
	"behest/command"
	"behest/command/dispatch"
	"behest/device"
	"behest/device/vault"
	"behest/store/sqlite"
)

// psk is a secret of 16 bytes for each n.
func psk(n int) device.Secret { return device.Secret(fmt.Sprintf("0123456789abc%03d", n)) }

func pskOf(name string, n int) device.Proof {
	return device.Proof{Device: name, Kind: device.PSK, Secret: psk(n)}
}

// known makes devices known that never registered.
func (w *world) known(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if _, _, err := w.PutDevice(w.ctx(), name, device.Edit{}, ""); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) give(p device.Proof) (device.Credential, device.Secret) {
	w.t.Helper()
	c, s, err := w.AddCredential(w.ctx(), p, "ann")
	if err != nil {
		w.t.Fatal(err)
	}
	return c, s
}

func (w *world) revoke(name string, n int) {
	w.t.Helper()
	if err := w.RevokeCredential(w.ctx(), name, n, "ann"); err != nil {
		w.t.Fatal(err)
	}
}

// comesIn holds the keys that a device may come in with against those wanted.
func (w *world) comesIn(name string, want ...device.Secret) {
	w.t.Helper()
	got := w.door.PSKs(name)
	if !slices.EqualFunc(got, want, func(a []byte, b device.Secret) bool { return bytes.Equal(a, b) }) {
		w.t.Errorf("%s comes in with %d keys %x, want %d", name, len(got), got, len(want))
	}
}

// refused holds an error against a code, and a text in it or in a field.
func refused(t *testing.T, err error, code command.Code, says string) {
	t.Helper()
	if err == nil || command.CodeOf(err) != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	var e *command.Error
	errors.As(err, &e)
	if !strings.Contains(fmt.Sprint(e.Msg, e.Fields), says) {
		t.Errorf("it says %q %v, want %q", e.Msg, e.Fields, says)
	}
}

func TestAKeyIsMadeUsedRotatedAndRevoked(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("pump-7")
		w.comesIn("pump-7")
		first, secret := w.give(device.Proof{Device: "pump-7", Kind: device.PSK})
		if len(secret) != device.SecretBytesDefault || device.CheckSecret(secret) != "" || first.N != 1 {
			t.Fatalf("credential %d with a secret of %d bytes", first.N, len(secret))
		}
		w.comesIn("pump-7", secret)
		second, shown := w.give(pskOf("pump-7", 2))
		if shown != nil {
			t.Error("a secret that the operator set is told back")
		}
		w.comesIn("pump-7", psk(2), secret) // both, the newest first
		w.restart()
		w.comesIn("pump-7", psk(2), secret)
		if len(w.rechecked) > 0 {
			t.Errorf("sessions were asked after: %v", w.rechecked)
		}
		for range 2 { // the second time in vain
			w.revoke("pump-7", first.N)
			w.comesIn("pump-7", psk(2))
		}
		if diff := cmp.Diff(w.rechecked, []string{"pump-7", "pump-7"}); diff != "" {
			t.Errorf("sessions asked after (-got +want):\n%s", diff)
		}
		if w.door.Revoked("pump-7", device.PSK, sha256.Sum256(psk(2))) || !w.door.Revoked("pump-7", device.PSK, sha256.Sum256(secret)) {
			t.Error("the wrong one of two is revoked")
		}
		all, err := w.store.Credentials(w.ctx(), "pump-7")
		if err != nil {
			t.Fatal(err)
		}
		if all[0].RevokedBy != "ann" || all[0].Seal.Key != 0 || all[0].Seal.Bytes != nil || second.N != 2 {
			t.Errorf("what is kept of a revoked one: %+v", all[0])
		}
		refused(t, w.RevokeCredential(w.ctx(), "pump-7", 3, ""), command.CodeNotFound, "no credential 3")
		refused(t, w.RevokeCredential(w.ctx(), "pump-8", 1, ""), command.CodeNotFound, "device")

		var told []string
		events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Device: "pump-7", Types: []command.EventType{"credential.created", "credential.revoked"}}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			told = append(told, fmt.Sprintf("%s %s %d %s", e.Type, e.Actor, e.Device, e.Data))
		}
		if diff := cmp.Diff(told, []string{
			`credential.created ann 1 {"n":1,"kind":"psk"}`, `credential.created ann 1 {"n":2,"kind":"psk"}`,
			`credential.revoked ann 1 {"n":1,"kind":"psk"}`,
		}); diff != "" {
			t.Errorf("events (-got +want):\n%s", diff)
		}
	})
}

func TestASecretIsOneDevicesOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a", "b")
		w.give(pskOf("a", 1))
		add := func(name string, n int) error {
			_, _, err := w.AddCredential(w.ctx(), pskOf(name, n), "")
			return err
		}
		refused(t, add("a", 1), command.CodeConflict, "credential 1 of the device already")
		refused(t, add("b", 1), command.CodeConflict, "another device has it, or had it")
		w.revoke("a", 1)
		refused(t, add("a", 1), command.CodeConflict, "what was revoked does not come back")
		refused(t, add("b", 1), command.CodeConflict, "another device has it, or had it")
		if err := add("b", 2); err != nil {
			t.Error(err)
		}
	})
}

func TestADeviceHasSomeCredentialsAtATime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a")
		for n := range device.CredentialsPerDevice {
			w.give(pskOf("a", n))
		}
		_, _, err := w.AddCredential(w.ctx(), pskOf("a", 100), "")
		refused(t, err, command.CodeConflict, "revoke one of them first")
		w.revoke("a", 3)
		if c, _ := w.give(pskOf("a", 100)); c.N != device.CredentialsPerDevice+1 {
			t.Errorf("it is credential %d", c.N)
		}
	})
}

func TestBadProofsAreRefusedWithTheirFaults(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a")
		for _, tt := range []struct {
			name string
			p    device.Proof
			code command.Code
			says string
		}{
			{"short", device.Proof{Device: "a", Kind: device.PSK, Secret: device.Secret("short")}, command.CodeInvalid, "/secret is under 16 bytes"},
			{"a certificate's text", device.Proof{Device: "a", Kind: device.PSK, Secret: psk(1), Certificate: "x"}, command.CodeInvalid, "/pem is for a certificate"},
			{"no certificate", device.Proof{Device: "a", Kind: device.Certificate, Certificate: "x"}, command.CodeInvalid, "/pem is no certificate in PEM"},
			{"a secret beside it", device.Proof{Device: "a", Kind: device.Certificate, Secret: psk(1)}, command.CodeInvalid, "/secret is for a psk"},
			{"no kind", device.Proof{Device: "a"}, command.CodeInvalid, "/kind is no kind"},
			{"no name", device.Proof{Kind: device.PSK, Secret: psk(1)}, command.CodeInvalid, "/device the endpoint name is empty"},
			{"a device that nobody knows", device.Proof{Device: "b", Kind: device.PSK}, command.CodeNotFound, "device"},
		} {
			_, made, err := w.AddCredential(w.ctx(), tt.p, "")
			if made != nil {
				t.Errorf("%s: a secret was told", tt.name)
			}
			refused(t, err, tt.code, tt.says)
		}
		w.comesIn("a")
	})
}

func TestOnlyWhoAdministersADeviceGivesItCredentials(t *testing.T) {
	inTown(t, func(w *world) {
		w.site("north-1", "north")
		w.site("south-1", "south")
		w.grant("olga", access.Operator, "")
		w.grant("nora", access.Admin, "site=north")
		for _, tt := range []struct {
			who, name string
			code      command.Code
		}{
			{"olga", "north-1", command.CodeForbidden}, {"nora", "south-1", command.CodeNotFound}, {"nobody", "north-1", command.CodeNotFound},
		} {
			_, _, err := w.AddCredential(w.ctx(), pskOf(tt.name, 1), tt.who)
			refused(t, err, tt.code, "")
			w.give(pskOf(tt.name, 1))
			all, _ := w.store.Credentials(w.ctx(), tt.name)
			n := all[len(all)-1].N
			refused(t, w.RevokeCredential(w.ctx(), tt.name, n, tt.who), tt.code, "")
			w.comesIn(tt.name, psk(1))
			results, err := w.ImportCredentials(w.ctx(), []device.Proof{pskOf(tt.name, 2)}, true, tt.who)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, results[0].Err, tt.code, "")
			if err := w.RemoveDevice(w.ctx(), tt.name, 0, "ann"); err != nil {
				t.Fatal(err)
			}
			w.forget(tt.name)
		}
		w.site("north-2", "north")
		if _, _, err := w.AddCredential(w.ctx(), pskOf("north-2", 3), "nora"); err != nil {
			t.Error(err)
		}
	})
}

// forget takes a device's credentials out of the database, so that the secrets
// of a test may be used again, and puts the device back.
func (w *world) forget(name string) {
	w.t.Helper()
	w.alter(`DELETE FROM credential WHERE device = (SELECT handle FROM device WHERE name = ?)`, name)
	w.site(name, strings.TrimSuffix(name, "-1"))
}

// alter changes the database behind the store's back.
func (w *world) alter(q string, args ...any) {
	w.t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(w.dir, "db"))
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = db.Exec(q, args...)
	if err := errors.Join(err, db.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// Who is sent away comes in with nothing of what he had, also when he is let in
// again.
func TestARemovedDeviceComesInNoMore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a")
		w.give(pskOf("a", 1))
		w.give(pskOf("a", 2))
		cert, print := ownCertificate(t, "a")
		if w.door.Revoked("a", device.Certificate, print) {
			t.Fatal("a certificate of the authorities does not count")
		}
		if err := w.RemoveDevice(w.ctx(), "a", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		w.comesIn("a")
		if !w.door.Revoked("a", device.Certificate, print) || !w.door.Revoked("a", device.PSK, sha256.Sum256(psk(1))) {
			t.Error("it still counts")
		}
		if diff := cmp.Diff(w.rechecked, []string{"a"}); diff != "" {
			t.Errorf("sessions asked after (-got +want):\n%s", diff)
		}
		w.known("a")
		w.comesIn("a")
		w.give(device.Proof{Device: "a", Kind: device.Certificate, Certificate: cert})
	})
}

// ownCertificate makes a certificate of a device, and its fingerprint.
func ownCertificate(t *testing.T, name string) (text string, print [32]byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), sha256.Sum256(der)
}

// Any certificate that the authorities signed counts, until the device has one
// of its own; from then on no other, also when its own is revoked.
func TestAPinnedCertificateShutsOutOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a", "b")
		one, first := ownCertificate(t, "a")
		two, second := ownCertificate(t, "a")
		counts := func(what string, want ...bool) {
			t.Helper()
			for i, print := range [][32]byte{first, second} {
				if got := !w.door.Revoked("a", device.Certificate, print); got != want[i] {
					t.Errorf("%s: certificate %d counts: %v, want %v", what, i+1, got, want[i])
				}
			}
		}
		pin := func(name, text string) error {
			_, _, err := w.AddCredential(w.ctx(), device.Proof{Device: name, Kind: device.Certificate, Certificate: text}, "")
			return err
		}
		counts("none is pinned", true, true)
		w.give(pskOf("a", 1))
		counts("a PSK pins nothing", true, true)
		refused(t, pin("b", one), command.CodeInvalid, `/pem is for the subject CN "a"`)
		if err := pin("a", one); err != nil {
			t.Fatal(err)
		}
		counts("the first is pinned", true, false)
		refused(t, pin("a", one), command.CodeConflict, "credential 2 of the device already")
		if err := pin("a", two); err != nil {
			t.Fatal(err)
		}
		counts("both are", true, true)
		w.revoke("a", 3)
		counts("the second is revoked", true, false)
		w.revoke("a", 2)
		counts("both are revoked", false, false)
		w.comesIn("a", psk(1)) // that is another way in
		three, third := ownCertificate(t, "a")
		if err := pin("a", three); err != nil {
			t.Fatal(err)
		}
		if w.door.Revoked("a", device.Certificate, third) {
			t.Error("the third does not count")
		}
		time.Sleep(2 * time.Hour)
		if !w.door.Revoked("a", device.Certificate, third) {
			t.Error("it counts when it has expired")
		}
	})
}

// What was moved in the database does not open where it was put.
func TestASealedRowThatWasMovedDoesNotOpen(t *testing.T) {
	for name, move := range map[string]string{
		"to another device": `UPDATE credential SET device = (SELECT handle FROM device WHERE name = 'b')`,
		"to another number": `UPDATE credential SET n = 2`,
		"into another's":    `UPDATE credential SET seal = (SELECT seal FROM credential WHERE n = 1), digest = randomblob(32)`,
	} {
		inWorld(t, func(w *world) {
			w.known("a", "b")
			w.give(pskOf("a", 1))
			if name == "into another's" {
				w.give(pskOf("a", 2))
				w.comesIn("a", psk(2), psk(1))
			} else {
				w.comesIn("a", psk(1))
			}
			w.alter(move)
			if name == "into another's" {
				w.comesIn("a", psk(1))
			} else {
				w.comesIn("a")
			}
			w.comesIn("b")
		})
	}
}

// newDoor opens a door on the world's store with other keys.
func (w *world) newDoor(keys string) error {
	w.t.Helper()
	k, err := vault.Parse([]byte(keys))
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = dispatch.NewDoor(w.ctx(), w.store, k, dispatch.DoorOptions{})
	return err
}

func TestAWrongMasterKeyIsToldAtTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := w.newDoor(vault.Line(1)); err != nil {
			t.Errorf("with nothing sealed: %v", err)
		}
		w.known("a")
		w.give(pskOf("a", 1))
		if err := w.newDoor(vault.Line(2) + w.keys); err != nil {
			t.Errorf("with another key before it: %v", err)
		}
		if err := w.newDoor(vault.Line(1)); !errors.Is(err, vault.ErrWrongKey) {
			t.Errorf("with another key under the same version: %v", err)
		}
		if err := w.newDoor(vault.Line(2)); !errors.Is(err, vault.UnknownKeyError{Version: 1}) {
			t.Errorf("without its key: %v", err)
		}
		w.revoke("a", 1)
		if err := w.newDoor(vault.Line(1)); !errors.Is(err, vault.ErrWrongKey) {
			t.Errorf("with only revoked ones: %v", err) // it would not know them again
		}
		if next, err := dispatch.KeyAfter(w.ctx(), w.store, nil); next != 2 || err != nil {
			t.Errorf("the next key is %d, %v, want 2", next, err)
		}
	})
}

func TestANewMasterKeyTakesOver(t *testing.T) {
	inWorld(t, func(w *world) {
		const devices = 40 // more than a commit's
		for n := range devices {
			name := fmt.Sprint("d", n)
			w.known(name)
			w.give(pskOf(name, n))
		}
		w.known("a")
		w.give(pskOf("a", 900))
		w.revoke("a", 1)
		old := w.keys
		w.keys = vault.Line(2)
		if err := w.newDoor(w.keys); err == nil {
			t.Fatal("the new key opens what the old one sealed")
		}
		newer := w.keys
		w.keys = newer + old
		w.restart()
		synctest.Wait()
		w.keys = newer // the old one is not needed any more
		w.restart()
		for n := range devices {
			w.comesIn(fmt.Sprint("d", n), psk(n))
		}
		_, _, err := w.AddCredential(w.ctx(), pskOf("d1", 2), "")
		refused(t, err, command.CodeConflict, "another device has it") // digests outlive the rotation
		_, _, err = w.AddCredential(w.ctx(), pskOf("a", 900), "")
		refused(t, err, command.CodeConflict, "does not come back")
	})
}

// What does not open keeps nobody else from being sealed anew.
func TestADamagedSealDoesNotHoldUpTheOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a", "b")
		w.give(pskOf("a", 1))
		w.give(pskOf("a", 2))
		w.give(pskOf("b", 3))
		w.alter(`UPDATE credential SET seal = CAST(seal || x'00' AS BLOB) WHERE n = 2`)
		old := w.keys
		w.keys = vault.Line(2) + old
		w.restart()
		synctest.Wait()
		w.comesIn("a", psk(1))
		left, err := w.store.SealedBefore(w.ctx(), 2, 10)
		if err != nil || len(left) != 1 || left[0].N != 2 {
			t.Errorf("%v: left with the old key: %+v", err, left)
		}
		w.restart() // it keeps nobody out
		w.comesIn("b", psk(3))
		if err := w.newDoor(strings.TrimSuffix(w.keys, old)); !errors.Is(err, vault.UnknownKeyError{Version: 1}) {
			t.Errorf("without the older key, which is needed: %v", err)
		}
	})
}

func TestAnImportSaysOfEachWhatBecameOfIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a", "b", "gone")
		w.give(pskOf("b", 1))
		if err := w.RemoveDevice(w.ctx(), "gone", 0, ""); err != nil {
			t.Fatal(err)
		}
		cert, _ := ownCertificate(t, "a")
		batch := []device.Proof{
			pskOf("a", 2),
			pskOf("a", 2), // again
			pskOf("b", 2), // another's
			pskOf("b", 3),
			pskOf("new", 4), // nobody knows it
			{Device: "a", Kind: device.PSK, Secret: device.Secret("short")},
			{Device: "a", Kind: device.PSK},
			{Device: "a", Kind: device.Certificate, Certificate: cert},
			pskOf("gone", 5),
			pskOf("new", 1), // another's, of a device that would have to be made
		}
		say := func(makeDevices bool) (lines []string) {
			t.Helper()
			out, err := w.ImportCredentials(w.ctx(), batch, makeDevices, "ann")
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range out {
				switch {
				case o.Err != nil:
					lines = append(lines, string(command.CodeOf(o.Err)))
				case o.Already:
					lines = append(lines, fmt.Sprint("already ", o.N))
				default:
					lines = append(lines, fmt.Sprint("added ", o.N))
				}
			}
			return lines
		}
		if diff := cmp.Diff(say(false), []string{"added 1", "already 1", "conflict", "added 2", "not_found", "invalid", "invalid", "added 2", "not_found", "not_found"}); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
		if diff := cmp.Diff(say(true), []string{"already 1", "already 1", "conflict", "already 2", "added 1", "invalid", "invalid", "already 2", "added 1", "conflict"}); diff != "" {
			t.Errorf("again (-got +want):\n%s", diff)
		}
		w.comesIn("a", psk(2))
		w.comesIn("b", psk(3), psk(1))
		w.comesIn("new", psk(4))
		w.comesIn("gone", psk(5))
		batch = []device.Proof{pskOf("newer", 1)}
		if diff := cmp.Diff(say(true), []string{"conflict"}); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
		if _, err := w.store.Device(w.ctx(), "newer"); command.CodeOf(err) != command.CodeNotFound {
			t.Errorf("of a refused line a device is left: %v", err)
		}
	})
}

func TestUseIsNotedToTheHour(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a")
		w.give(pskOf("a", 1))
		used := func() time.Time {
			t.Helper()
			all, err := w.store.Credentials(w.ctx(), "a")
			if err != nil {
				t.Fatal(err)
			}
			return all[0].UsedAt
		}
		w.door.PSKs("a") // asked for, and not proven yet
		time.Sleep(2 * time.Minute)
		if !used().IsZero() {
			t.Error("it was used by who only asked")
		}
		came := time.Now()
		for range 30 { // it stays for half an hour, and is asked after each minute
			w.door.Revoked("a", device.PSK, sha256.Sum256(psk(1)))
			time.Sleep(time.Minute)
		}
		if got := used(); !got.Equal(came.Truncate(time.Millisecond)) {
			t.Errorf("used at %s, want %s", got, came)
		}
		time.Sleep(time.Hour)
		again := time.Now()
		w.door.Revoked("a", device.PSK, sha256.Sum256(psk(1)))
		time.Sleep(2 * time.Minute)
		if got := used(); !got.Equal(again.Truncate(time.Millisecond)) {
			t.Errorf("used at %s, want %s", got, again)
		}
	})
}

// A seeded secret is nowhere in the files: neither in the database nor in what
// is beside it, while it counts and when it was revoked.
func TestNoSecretIsOnTheDisk(t *testing.T) {
	inWorld(t, func(w *world) {
		w.known("a")
		scanned := 0
		scan := func(when string) {
			t.Helper()
			files, err := filepath.Glob(filepath.Join(w.dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				scanned += len(b)
				sum := sha256.Sum256(psk(1))
				for form, secret := range map[string][]byte{"": psk(1), " in hex": []byte(psk(1).Text()), " as a plain hash": sum[:]} {
					if n := bytes.Count(b, secret); n > 0 {
						t.Errorf("%s: the secret%s is in %s %d times", when, form, filepath.Base(file), n)
					}
				}
			}
		}
		w.give(pskOf("a", 1))
		scan("given")
		w.comesIn("a", psk(1))
		w.restart()
		scan("after a restart")
		w.revoke("a", 1)
		scan("revoked")
		if scanned < 100_000 {
			t.Errorf("only %d bytes were looked at", scanned)
		}
	})
}

// A stranger is answered when a device would be.
func TestAStrangerTakesAsLong(t *testing.T) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go s.Run(ctx)
	keys, err := vault.Parse([]byte(vault.Line(1)))
	if err != nil {
		t.Fatal(err)
	}
	door, err := dispatch.NewDoor(ctx, s, keys, dispatch.DoorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := dispatch.New(s, newScreen(), dispatch.Options{Dev: true, Door: door})
	for n := range 50 {
		if _, err := d.ImportCredentials(ctx, []device.Proof{pskOf(fmt.Sprint("d", n), 2*n), pskOf(fmt.Sprint("d", n), 2*n+1)}, true, ""); err != nil {
			t.Fatal(err)
		}
	}
	median := func(prefix string, keys int) time.Duration {
		var took []time.Duration
		for n := range 300 {
			name := fmt.Sprint(prefix, n%50)
			start := time.Now()
			if got := door.PSKs(name); len(got) != keys {
				t.Fatalf("%s has %d keys", name, len(got))
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	median("d", 2) // both paths are warm
	median("s", 0)
	known, stranger := median("d", 2), median("s", 0)
	t.Logf("a device %s, a stranger %s", known, stranger)
	if ratio := float64(known) / float64(stranger); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("a device takes %s, a stranger %s", known, stranger)
	}
}
