package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"behest/command"
	"behest/command/ledger"
)

// aType is a type that says nothing but its wire code; 0 for none.
func aType(name string, wireCode uint16) command.Type {
	return command.Type{Name: name, Policy: command.Policy{WireCode: wireCode}, CreatedAt: epoch, CreatedBy: "ann"}
}

// declare stores the next version of each of types, which must be allowed.
func declare(r *rig, types ...*command.Type) {
	r.t.Helper()
	r.do(func(tx ledger.Tx) error {
		for _, typ := range types {
			if err := tx.AddType(typ); err != nil {
				return err
			}
		}
		return nil
	})
}

func testTypes(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"EveryFieldComesBack", typeEveryFieldComesBack},
		{"EachVersionStays", typeEachVersionStays},
		{"RefusedWhatIsNotThere", typeRefusedWhatIsNotThere},
		{"AWireCodeMeansOneType", typeAWireCodeMeansOneType},
		{"AWireCodeIsHeldByWhatIsOpen", typeAWireCodeIsHeldByWhatIsOpen},
		{"WhatFailedNumbersNothing", typeWhatFailedNumbersNothing},
		{"ListedByNameUntilRetired", typeListedByNameUntilRetired},
		{"CommandsKeepTheirVersion", typeCommandsKeepTheirVersion},
	})
}

func typeEveryFieldComesBack(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var full command.Type
	fill(&full)
	full.Name = "ventil.öffnen 🚰"
	bare := command.Type{Name: "bare", CreatedAt: epoch}
	long := aType(strings.Repeat("n", command.TypeNameBytesMax), 65535)
	long.Params = json.RawMessage(`"` + strings.Repeat("p", command.SchemaBytesMax-2) + `"`)
	long.Result = long.Params
	none := aType("empty is nil", 0)
	none.Params, none.Slot = json.RawMessage{}, []string{}
	declare(r, &full, &bare, &long, &none)
	if full.Version != 1 || bare.Version != 1 {
		t.Errorf("the first versions are %d and %d", full.Version, bare.Version)
	}
	none.Params, none.Slot = nil, nil
	r.restart()
	for _, want := range []command.Type{full, bare, long, none} {
		diff(t, must(r.Type(ctx, want.Name))(t), want)
		diff(t, must(r.TypeVersion(ctx, want.Name, 1))(t), want)
		r.do(func(tx ledger.Tx) error {
			got, err := tx.Type(want.Name)
			diff(t, got, want)
			return err
		})
	}
}

func typeEachVersionStays(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var want []command.Type
	for n := range 12 {
		v := aType("pump.start", uint16(n%3)) // codes come, change and go
		v.Version = 99                        // the store numbers
		v.CreatedAt, v.CreatedBy = at(n), []string{"ann", "bob", ""}[n%3]
		v.Policy.Fresh, v.Retired = n%2 == 0, n%4 == 3
		v.Params = fmt.Appendf(nil, `{"maximum":%d}`, n)
		other := aType("fan.set", 7)
		declare(r, &v, &other)
		if v.Version != n+1 || other.Version != n+1 {
			t.Errorf("version %d is numbered %d, that of the other type %d", n+1, v.Version, other.Version)
		}
		want = append(want, v)
		diff(t, must(r.Type(ctx, "pump.start"))(t), v)
	}
	r.restart()
	for n, v := range want {
		diff(t, must(r.TypeVersion(ctx, "pump.start", n+1))(t), v)
	}
	diff(t, must(r.Type(ctx, "pump.start"))(t), want[len(want)-1])
}

func typeRefusedWhatIsNotThere(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	pump := aType("pump.start", 0)
	declare(r, &pump)
	for _, name := range []string{"pump", "pump.start.", "Pump.start", ""} {
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Type(name); return err })
		_, err := r.Type(ctx, name)
		wantCode(t, err, command.CodeNotFound)
		_, err = r.TypeVersion(ctx, name, 1)
		wantCode(t, err, command.CodeNotFound)
	}
	for _, version := range []int{-1, 0, 2} {
		_, err := r.TypeVersion(ctx, "pump.start", version)
		wantCode(t, err, command.CodeNotFound)
	}
}

func typeAWireCodeMeansOneType(t *testing.T, e Engine) {
	r := start(t, e)
	a, b := aType("a", 7), aType("b", 7)
	taken := func(typ command.Type, by string) {
		t.Helper()
		err := r.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error { return tx.AddType(&typ) })
		wantCode(t, err, command.CodeConflict)
		if want := fmt.Sprintf("%q", by); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want the name %s in it", err, want)
		}
	}
	declare(r, &a)
	taken(b, "a")
	declare(r, &a) // its own code is no conflict
	b.Policy.WireCode = 8
	declare(r, &b)
	b.Policy.WireCode = 7
	taken(b, "a") // nor may an older type move to it

	a.Policy.WireCode = 9 // what a younger version gave up is free
	declare(r, &a, &b)
	a.Policy.WireCode = 7
	taken(a, "b")

	b.Retired = true // and what a retired type had
	declare(r, &b, &a)
	declare(r, &b) // who claims nothing has no conflict, in retirement
	b.Retired = false
	taken(b, "a") // but for coming back
	b.Policy.WireCode = 0
	c := aType("c", 0)
	declare(r, &b, &c) // no code is nobody's
}

// typeWhatFailedNumbersNothing has failures before and after a version was
// written, one of which the use case lives with.
func typeAWireCodeIsHeldByWhatIsOpen(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p", "q")
	a, a2, b := aType("a", 7), aType("a", 9), aType("b", 7)
	declare(r, &a, &a2, &b)
	open := func(code uint16, except, want string) {
		t.Helper()
		if got := must(r.OpenUnder(ctx, code, except))(t); got != want {
			t.Errorf("open under %d, but for %s: %q, want %q", code, except, got, want)
		}
	}
	under := func(typ command.Type, n int, names ...string) *command.Command {
		c := aCommand(n, names...)
		c.Type, c.TypeVersion, c.Policy = typ.Name, typ.Version, typ.Policy
		return c
	}
	open(7, "c", "")
	r.ended(under(a, 1, "p"), command.StatusSuccess)
	open(7, "c", "")
	one := under(a, 2, "p")
	var xs []command.Execution
	r.do(func(tx ledger.Tx) (err error) { xs, err = issue(tx, one); return err })
	open(7, "b", "a") // of an older version
	open(7, "a", "")
	open(9, "b", "")
	open(8, "b", "")
	r.do(func(tx ledger.Tx) error {
		if err := release(tx, &xs[0], at(3)); err != nil {
			return err
		}
		return succeed(tx, &xs[0], at(4))
	})
	open(7, "b", "")

	many := under(a2, 3, "p", "q")
	r.do(func(tx ledger.Tx) error {
		if err := tx.AddCommand(many, nil); err != nil {
			return err
		}
		return tx.AddPending(many.N, [][]int64{{1, 2}})
	})
	open(9, "b", "a") // nothing of it is written out
	r.do(func(tx ledger.Tx) error {
		group, err := tx.TakePending(many.N, 10)
		if err != nil {
			return err
		}
		x := command.Execution{Command: many, Device: group[0], State: command.Scheduled, Seal: []byte("sealed")}
		x, _ = x.Step(command.Trigger{Kind: command.Due}, at(5))
		xs = []command.Execution{x}
		return errors.Join(tx.AddExecutions(many, xs), tx.AddRefused(many.N, group[1], command.CodeDeviceFull))
	})
	open(9, "b", "a") // one of it is
	r.do(func(tx ledger.Tx) error { return step(tx, &xs[0], command.Trigger{Kind: command.Cancel}, at(6)) })
	open(9, "b", "")
}

func typeWhatFailedNumbersNothing(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	a, b := aType("a", 7), aType("b", 8)
	declare(r, &a, &b)
	boom := errors.New("boom")
	err := r.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		next, other := aType("a", 70), aType("z", 7)
		if err := errors.Join(tx.AddType(&next), tx.AddType(&other)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	diff(t, must(r.Type(ctx, "a"))(t), a)
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Type("z"); return err })
	again := aType("a", 71)
	r.do(func(tx ledger.Tx) error {
		wrong := aType("b", 7)
		wantCode(t, tx.AddType(&wrong), command.CodeConflict)
		return tx.AddType(&again)
	})
	if again.Version != 2 {
		t.Errorf("the version after the first is %d", again.Version)
	}
	list, _, err := r.Types(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, list, []command.Type{again, b})
}

func typeListedByNameUntilRetired(t *testing.T, e Engine) {
	r := start(t, e)
	diff(t, allTypes(t, r, 0), []command.Type(nil))
	var want []command.Type
	r.do(func(tx ledger.Tx) error {
		want = nil
		for i := range 37 {
			typ := aType(fmt.Sprint("type-", i*17%37), 0)
			for version := range i%3 + 1 {
				typ.Retired = (version+i)%4 == 0
				if err := tx.AddType(&typ); err != nil {
					return err
				}
			}
			if !typ.Retired {
				want = append(want, typ)
			}
		}
		return nil
	})
	slices.SortFunc(want, func(a, b command.Type) int { return cmp.Compare(a.Name, b.Name) })
	if len(want) < 10 || len(want) > 36 {
		t.Errorf("%d of 37 are not retired: the case shows little", len(want))
	}
	for _, limit := range []int{-1, 0, 1, 7, len(want), 1_000_000} {
		diff(t, allTypes(t, r, limit), want)
	}
	page, more, err := r.Types(context.Background(), want[3].Name, 2)
	if err != nil || !more {
		t.Errorf("more is %v, the error %v", more, err)
	}
	diff(t, page, want[4:6])
}

// allTypes reads all pages of the list.
func allTypes(t testing.TB, r *rig, limit int) (all []command.Type) {
	t.Helper()
	for after := ""; ; {
		page, more, err := r.Types(context.Background(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if !more {
			return all
		}
		if len(page) == 0 || limit > 0 && len(page) > limit {
			t.Fatalf("a page of %d has %d, and there are more", limit, len(page))
		}
		after = page[len(page)-1].Name
	}
}

func typeCommandsKeepTheirVersion(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p")
	typ := aType("pump.start", 5)
	var want []command.Type
	for n := range 3 {
		typ.Policy.Urgent = n == 1
		c := aCommand(n, "p")
		r.do(func(tx ledger.Tx) error {
			if err := tx.AddType(&typ); err != nil {
				return err
			}
			c.TypeVersion, c.Policy = typ.Version, typ.Policy
			_, err := issue(tx, c)
			return err
		})
		want = append(want, typ)
	}
	for n := range want {
		c := must(r.Command(ctx, idOf(n)))(t).Command
		got := must(r.TypeVersion(ctx, c.Type, c.TypeVersion))(t)
		diff(t, got, want[n])
		diff(t, c.Policy, got.Policy)
	}
}

// declare makes a version of a random type, which others may stand against.
func (m *machine) declare(*rapid.T) {
	v := aType(rapid.SampledFrom([]string{"pump.start", "fan.set", "door.open"}).Draw(m.t, "type"),
		rapid.Uint16Range(0, 3).Draw(m.t, "wire code"))
	v.Retired = rapid.IntRange(0, 3).Draw(m.t, "retired") == 0
	v.Significance = command.Significance(rapid.IntRange(0, 2).Draw(m.t, "significance"))
	m.write(func(tx ledger.Tx) error {
		v.CreatedAt = m.now
		err := tx.AddType(&v)
		if m.isClaimed(v) {
			if command.CodeOf(err) != command.CodeConflict {
				return fmt.Errorf("a taken wire code was answered %v", err)
			}
			return nil
		}
		if err == nil {
			m.model.types[v.Name] = append(m.model.types[v.Name], v)
		}
		return err
	})
}

// isClaimed reports whether another type has the wire code of v.
func (m *machine) isClaimed(v command.Type) bool {
	for name, versions := range m.model.types {
		last := versions[len(versions)-1]
		if name != v.Name && !last.Retired && !v.Retired && v.Policy.WireCode != 0 && last.Policy.WireCode == v.Policy.WireCode {
			return true
		}
	}
	return false
}

// agreeTypes compares all versions of all types, and the list.
func (m *machine) agreeTypes(ctx context.Context) {
	t := m.r.t
	var want []command.Type
	for name, versions := range m.model.types {
		for i, v := range versions {
			got, err := m.r.TypeVersion(ctx, name, i+1)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, got, v)
		}
		last := versions[len(versions)-1]
		m.r.do(func(tx ledger.Tx) error {
			got, err := tx.Type(name)
			diff(t, got, last)
			return err
		})
		if !last.Retired {
			want = append(want, last)
		}
	}
	slices.SortFunc(want, func(a, b command.Type) int { return cmp.Compare(a.Name, b.Name) })
	diff(t, allTypes(t, m.r, 2), want)
}
