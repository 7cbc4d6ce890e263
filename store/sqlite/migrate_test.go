package sqlite_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// older unpacks a store that the program of an older version made, as it left
// it, and answers with its file.
func older(t *testing.T, name string) string {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", name+".db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := file(t.TempDir())
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAnOlderStoreIsCarriedOver opens what schema 2 left, in which there is a
// little of everything: all of it stands, and types can be declared.
func TestAnOlderStoreIsCarriedOver(t *testing.T) {
	ctx := context.Background()
	path := older(t, "schema-2")
	check := func() sqlite.Report {
		t.Helper()
		r, err := sqlite.Check(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := check()
	want := sqlite.Report{
		Schema: 2, Epoch: 1, Devices: 4, Commands: 6, Executions: 6, Open: 2, Reports: 2, Events: 21, Groups: 13,
		Hash: "113910d0889162da26a6ce4d332d7231f5bf0fbd6415170c0eddbc6b6dab77f4",
	}
	if d := cmp.Diff(before, want); d != "" {
		t.Errorf("before: got (-) and want (+) differ:\n%s", d)
	}

	histories := query(t, path, `SELECT d.name || ' ' || count(DISTINCT coalesce(x.head, x.n)) FROM device d LEFT JOIN command x ON x.device = d.handle GROUP BY d.handle`)
	s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	oldHistories(t, s, histories)
	oldReports(t, s)
	oldFleet(t, s)
	typ := command.Type{Name: "pump.start", Policy: command.Policy{WireCode: 7}, CreatedAt: time.UnixMilli(5).UTC(), CreatedBy: "ann@example.org"}
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error { return tx.AddType(&typ) })
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Type(ctx, "pump.start")
	if d := cmp.Diff(got, typ); err != nil || d != "" {
		t.Errorf("the type: %v, got (-) and want (+) differ:\n%s", err, d)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want.Schema, want.Types = sqlite.Newest(t), 1
	if d := cmp.Diff(check(), want); d != "" {
		t.Errorf("after: got (-) and want (+) differ:\n%s", d)
	}
}

// oldHistories sees that each device has as many commands as it had.
func oldHistories(t *testing.T, s *sqlite.Store, want []string) {
	t.Helper()
	var got []string
	for _, line := range want {
		name, _, _ := strings.Cut(line, " ")
		views, _, err := s.Commands(context.Background(), command.Filter{Device: name})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(name, " ", len(views)))
	}
	if d := cmp.Diff(got, want); d != "" || len(want) == 0 {
		t.Errorf("histories: got (-) and want (+) differ:\n%s", d)
	}
}

// TestPeopleOfAnOlderStoreAreCarriedOver opens what schema 15 left: a check
// knows it as it is, its people stay, and then have logins.
func TestPeopleOfAnOlderStoreAreCarriedOver(t *testing.T) {
	ctx := context.Background()
	path := older(t, "schema-15")
	check := func(schema, users int64) {
		t.Helper()
		r, err := sqlite.Check(ctx, path)
		if err != nil || len(r.Faults) > 0 || r.Schema != schema || r.Users != users || r.Tokens != 2 {
			t.Errorf("check: %v, schema %d, %d users, %d tokens, faults %q", err, r.Schema, r.Users, r.Tokens, r.Faults)
		}
	}
	check(15, 3)
	s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	ann, err := s.User(ctx, "ann")
	if err != nil || ann.Name != "Ann" || len(ann.Grants) != 2 || ann.Logins != nil {
		t.Errorf("ann: %v %+v", err, ann)
	}
	ann.Logins = []access.Login{{Issuer: "https://login.example.org", Claim: access.ClaimSubject, Subject: "1"}}
	if err := s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error { return tx.PutUser(&ann) }); err != nil {
		t.Fatal(err)
	}
	got, err := s.User(ctx, "ann")
	if d := cmp.Diff(got, ann); err != nil || d != "" {
		t.Errorf("ann: %v, got (-) and want (+) differ:\n%s", err, d)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(sqlite.Newest(t), 3)
}

// TestTheStoreBeforeWasTokenIsCarriedOver opens what schema 15 left, with a
// little of everything that schema 2 did not have.
func TestTheStoreBeforeWasTokenIsCarriedOver(t *testing.T) {
	ctx := context.Background()
	path := older(t, "schema-15-devices")
	want := sqlite.Report{
		Schema: 15, Epoch: 1, Devices: 4, Types: 5, Users: 3, Tokens: 1, Credentials: 2, Commands: 4, Executions: 3, Open: 2,
		Hooks: 1, Deliveries: 5, Events: 30, Groups: 25, Hash: "71871b97ec80ff21f0ca0351f47abc43fb79c0d59c0c9ae026793861a56d65b6",
	}
	look := func(when string) {
		t.Helper()
		r, err := sqlite.Check(ctx, path)
		if d := cmp.Diff(r, want); err != nil || d != "" {
			t.Errorf("%s: %v, got (-) and want (+) differ:\n%s", when, err, d)
		}
	}
	look("before")
	for range 2 { // the second time nothing is left to do
		s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Device(ctx, "a"); err != nil || !v.Observing() || v.Replaced.Token != nil {
			t.Errorf("%+v, %v", v.Device, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		want.Schema = sqlite.Newest(t)
		look("after")
	}
}

// oldReports reads reports that were packed before a new field had its flag.
func oldReports(t *testing.T, s *sqlite.Store) {
	t.Helper()
	ctx := context.Background()
	progress, code, effect, n := uint8(40), int64(-7), command.EffectPartial, uint32(3)
	want := command.PastReport{At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Report: command.Report{
		Status: command.StatusFailure, Progress: &progress, Code: &code, Text: "jammed", Result: []byte{0xf5}, Effect: &effect,
		Next: 5 * time.Second, Prev: []byte{1}, N: &n, Odd: []byte{0xa0},
	}}
	views, _, err := s.Commands(ctx, command.Filter{State: "open"})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, v := range views {
		_, said, err := s.Execution(ctx, v.Command.ID, "device-0")
		if command.CodeOf(err) == command.CodeNotFound {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		found++
		if d := cmp.Diff(said[len(said)-1], want); d != "" {
			t.Errorf("the report: got (-) and want (+) differ:\n%s", d)
		}
	}
	if found != 1 {
		t.Errorf("%d open commands are for device-0, want 1", found)
	}
}

// oldFleet reads what was pending, and the answer that was kept.
func oldFleet(t *testing.T, s *sqlite.Store) {
	t.Helper()
	ctx := context.Background()
	pending, err := s.Pending(ctx, 10)
	if d := cmp.Diff(pending, []int64{8}); err != nil || d != "" {
		t.Errorf("pending: %v, got (-) and want (+) differ:\n%s", err, d)
	}
	taken := errors.New("only to look")
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		c, err := tx.CommandN(8)
		if err != nil {
			return err
		}
		g := command.NewGate(c, time.Now())
		x, err := tx.ExecutionOf(1, 1)
		if err != nil || x.N != 1 {
			t.Errorf("the execution of the first command on the first device: row %d, %v", x.N, err)
		}
		return errors.Join(tx.AddGate(&g, time.Now()), taken)
	})
	if !errors.Is(err, taken) {
		t.Error(err)
	}
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		group, err := tx.TakePending(8, 1000)
		if d := cmp.Diff(group, []int64{2, 3}); err != nil || d != "" {
			t.Errorf("the group: %v, got (-) and want (+) differ:\n%s", err, d)
		}
		a, err := tx.Answer([32]byte{1})
		want := ledger.Answer{Request: [32]byte{2}, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Body: []byte("{}")}
		if d := cmp.Diff(a, want); err != nil || d != "" {
			t.Errorf("the answer: %v, got (-) and want (+) differ:\n%s", err, d)
		}
		return taken
	})
	if !errors.Is(err, taken) {
		t.Error(err)
	}
}
