package storetest

import (
	"context"
	"errors"
	"testing"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

func testCredentials(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"EveryFieldComesBack", credentialEveryFieldComesBack},
		{"OnlySomeOfItChanges", credentialOnlySomeOfItChanges},
		{"NobodysTwice", credentialNobodysTwice},
		{"TheDoorwayHasWhatCounts", credentialDoorway},
		{"RevokedOnesAreForgottenInTheEnd", credentialForgotten},
		{"FoundByTheirKey", credentialFoundByKey},
		{"TheKeyOfDigests", credentialDigestKey},
	})
}

// aCredential is the n-th credential of a device, with a digest of its own for
// each last byte.
func aCredential(name string, n int, last byte) device.Credential {
	c := device.Credential{Device: name, N: n, Kind: device.PSK, Seal: device.Seal{Key: 1, Bytes: []byte{1, 2, 3}}, CreatedAt: at(n)}
	c.Digest[0], c.Digest[31] = byte(n), last
	return c
}

// withCredentials adds credentials, and a key of digests.
func withCredentials(r *rig, all ...device.Credential) {
	r.t.Helper()
	r.do(func(tx ledger.Tx) error {
		if err := tx.PutDigestKey(device.Seal{Key: 1, Bytes: []byte{0}}); err != nil {
			return err
		}
		for i := range all {
			if err := tx.AddCredential(&all[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func credentialEveryFieldComesBack(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "pump ä 🚰", "other")
	var full device.Credential
	fill(&full, "Device", "Kind", "RevokedAt", "RevokedBy")
	full.Device, full.Kind = "other", device.Certificate
	bare := aCredential("other", full.N+1, 9)
	withCredentials(r, full, bare)
	r.restart()
	want := []device.Credential{full, bare}
	diff(t, must(r.Credentials(ctx, "other"))(t), want)
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Credentials("other")
		diff(t, got, want)
		if err != nil {
			return err
		}
		one, err := tx.CredentialWith(full.Digest)
		diff(t, one, full)
		return err
	})
	for _, name := range []string{"nobody", "Other", ""} {
		_, err := r.Credentials(ctx, name)
		wantCode(t, err, command.CodeNotFound)
		r.do(func(tx ledger.Tx) error {
			got, err := tx.Credentials(name)
			diff(t, len(got), 0)
			return err
		})
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { c := aCredential(name, 1, 1); return tx.AddCredential(&c) })
	}
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.CredentialWith([32]byte{}); return err })
}

func credentialOnlySomeOfItChanges(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a")
	c := aCredential("a", 1, 1)
	withCredentials(r, c)
	save := func(c device.Credential) {
		t.Helper()
		r.do(func(tx ledger.Tx) error { return tx.SaveCredential(c) })
	}
	changed := c
	changed.Kind, changed.Digest, changed.CreatedAt, changed.CreatedBy, changed.ExpiresAt = device.Certificate, [32]byte{7}, at(99), "eve", at(98)
	changed.Seal, changed.UsedAt = device.Seal{Key: 2, Bytes: []byte{9}}, at(5)
	save(changed)
	c.Seal, c.UsedAt = changed.Seal, changed.UsedAt
	diff(t, must(r.Credentials(ctx, "a"))(t), []device.Credential{c})
	c.Seal, c.RevokedAt, c.RevokedBy = device.Seal{}, at(6), "ann"
	save(c)
	diff(t, must(r.Credentials(ctx, "a"))(t), []device.Credential{c})
	for _, none := range []device.Credential{aCredential("a", 2, 1), aCredential("b", 1, 1)} {
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { return tx.SaveCredential(none) })
	}
}

func credentialNobodysTwice(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a", "b")
	c := aCredential("a", 1, 1)
	withCredentials(r, c)
	again := func(name string, n int) {
		t.Helper()
		twice := c
		twice.Device, twice.N = name, n
		r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.AddCredential(&twice) })
	}
	again("a", 2)
	again("b", 1)
	c.Seal, c.RevokedAt = device.Seal{}, at(3)
	r.do(func(tx ledger.Tx) error { return tx.SaveCredential(c) })
	c.Seal = device.Seal{Key: 1, Bytes: []byte{1}}
	again("a", 2) // what was revoked does not come back
	again("b", 1)
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { taken := aCredential("a", 1, 2); return tx.AddCredential(&taken) })
}

func credentialDoorway(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	one, two, three := aCredential("a", 1, 1), aCredential("a", 2, 2), aCredential("a", 3, 3)
	withCredentials(r, one, two, three, aCredential("b", 1, 4))
	look := func(name string, wantRemoved bool, want ...device.Credential) {
		t.Helper()
		got, removed, err := r.Doorway(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, got, want)
		diff(t, removed, wantRemoved)
	}
	look("a", false, three, two, one)
	two.Seal, two.RevokedAt = device.Seal{}, at(9)
	r.do(func(tx ledger.Tx) error {
		d, err := tx.DeviceNamed("b")
		if err != nil {
			return err
		}
		d.RemovedAt = at(9)
		return errors.Join(tx.SaveCredential(two), tx.SaveDevice(&d))
	})
	look("a", false, three, one)
	look("b", true, aCredential("b", 1, 4))
	look("nobody", false)
	cert, old := aCredential("a", 4, 4), aCredential("a", 5, 5)
	cert.Kind, old.Kind = device.Certificate, device.Certificate
	withCredentials(r, cert, old)
	for _, c := range []*device.Credential{&cert, &old} {
		c.Seal, c.RevokedAt = device.Seal{}, at(9)
		r.do(func(tx ledger.Tx) error { return tx.SaveCredential(*c) })
	}
	look("a", false, three, one, old, cert) // that there were certificates says that no other counts
	_, err := r.Credentials(ctx, "b")
	wantCode(t, err, command.CodeNotFound)
}

func credentialForgotten(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	var all []device.Credential
	for n := 1; n <= 3; n++ {
		all = append(all, aCredential("a", n, byte(n)), aCredential("b", n, byte(n)+10))
	}
	withCredentials(r, all...)
	r.do(func(tx ledger.Tx) error {
		for _, n := range []int{0, 2, 4} { // 1, 2 and 3 of a
			all[n].Seal, all[n].RevokedAt = device.Seal{}, at(9)
			if n == 2 {
				continue
			}
			if err := tx.SaveCredential(all[n]); err != nil {
				return err
			}
		}
		return nil
	})
	withCredentials(r, aCredential("a", device.CredentialsKept+1, 99))
	var left []int
	for _, c := range must(r.Credentials(ctx, "a"))(t) {
		left = append(left, c.N)
	}
	diff(t, left, []int{2, 3, device.CredentialsKept + 1}) // 2 counts, 3 is not far enough behind
	diff(t, len(must(r.Credentials(ctx, "b"))(t)), 3)

	// Of certificates the youngest stays, however far behind.
	var certs []device.Credential
	for n := 4; n <= 5; n++ {
		c := aCredential("b", n, byte(n)+10)
		c.Kind = device.Certificate
		certs = append(certs, c)
	}
	withCredentials(r, certs...)
	for _, c := range certs {
		c.Seal, c.RevokedAt = device.Seal{}, at(9)
		r.do(func(tx ledger.Tx) error { return tx.SaveCredential(c) })
	}
	withCredentials(r, aCredential("b", 5+device.CredentialsKept, 98))
	left = nil
	for _, c := range must(r.Credentials(ctx, "b"))(t) {
		left = append(left, c.N)
	}
	diff(t, left, []int{1, 2, 3, 5, 5 + device.CredentialsKept})
}

func credentialFoundByKey(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	diff(t, len(must(r.SealedWith(ctx))(t)), 0)
	var all []device.Credential
	for i, key := range []int{1, 3, 1, 2, 3} {
		c := aCredential([]string{"a", "b"}[i%2], i+1, byte(i))
		c.Seal.Key = key
		all = append(all, c)
	}
	withCredentials(r, all...)
	revoked := all[3]
	revoked.Seal, revoked.RevokedAt = device.Seal{}, at(9)
	r.do(func(tx ledger.Tx) error { return tx.SaveCredential(revoked) })
	var keys []int
	for _, c := range must(r.SealedWith(ctx))(t) {
		diff(t, c, all[c.N-1])
		keys = append(keys, c.Seal.Key)
	}
	diff(t, keys, []int{1, 3})
	for key, want := range map[int]int{1: 2, 2: 4, 3: 2, 4: 4} {
		some := must(r.SealedBefore(ctx, key, 10))(t)
		diff(t, len(some), want)
		for _, c := range some {
			diff(t, c, all[c.N-1])
		}
		diff(t, len(must(r.SealedBefore(ctx, key, 1))(t)), 1)
	}
}

func credentialDigestKey(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	_, err := r.DigestKey(ctx)
	wantCode(t, err, command.CodeNotFound)
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.DigestKey(); return err })
	for _, want := range []device.Seal{{Key: 1, Bytes: []byte{1, 2}}, {Key: 2, Bytes: []byte{3}}} {
		r.do(func(tx ledger.Tx) error { return tx.PutDigestKey(want) })
		diff(t, must(r.DigestKey(ctx))(t), want)
		r.do(func(tx ledger.Tx) error {
			got, err := tx.DigestKey()
			diff(t, got, want)
			return err
		})
	}
}
