package storetest

import (
	"slices"
	"testing"

	"behest/command"
	"behest/command/ledger"
)

// A seal is kept as it is, and what has not left is found, sealed or not.
func testSeals(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p", "q")
	mark := func() (mark []byte) {
		t.Helper()
		r.do(func(tx ledger.Tx) (err error) { mark, err = tx.SealMark(); return err })
		return mark
	}
	if got := mark(); got != nil {
		t.Errorf("a new store has the mark %x", got)
	}
	for _, want := range []string{"one", "another"} {
		r.do(func(tx ledger.Tx) error { return tx.PutSealMark([]byte(want)) })
		r.restart()
		if got := string(mark()); got != want {
			t.Errorf("got the mark %q, want %q", got, want)
		}
	}
	var unsent, sent command.Execution
	var many []command.Execution
	r.do(func(tx ledger.Tx) error {
		a, err := issue(tx, aCommand(1, "p"))
		if err != nil {
			return err
		}
		b, err := issue(tx, aCommand(2, "q"))
		if err != nil {
			return err
		}
		if many, err = issue(tx, aCommand(3, "p", "q")); err != nil {
			return err
		}
		unsent, sent = a[0], b[0]
		q, err := tx.DeviceNamed("q")
		if err != nil {
			return err
		}
		q.LastSeq = 7
		if err := tx.SaveDevice(&q); err != nil {
			return err
		}
		return step(tx, &sent, command.Trigger{Kind: command.Release, Seq: 7}, at(1))
	})
	find := func(after int64, limit int) (ns []int64, seals []string) {
		t.Helper()
		r.do(func(tx ledger.Tx) error {
			xs, err := tx.Unsent(after, limit)
			ns, seals = nil, nil
			for _, x := range xs {
				ns, seals = append(ns, x.N), append(seals, string(x.Seal))
			}
			return err
		})
		return ns, seals
	}
	want := []int64{unsent.N, many[0].N, many[1].N}
	if ns, seals := find(0, 10); !slices.Equal(ns, want) || !slices.Equal(seals, []string{"p sealed", "p sealed", "q sealed"}) {
		t.Errorf("got %v %q, want %v", ns, seals, want)
	}
	if ns, _ := find(want[0], 1); !slices.Equal(ns, want[1:2]) {
		t.Errorf("after the first, one: %v", ns)
	}
	for _, seal := range [][]byte{[]byte("anew"), nil} {
		unsent.Seal = seal
		r.do(func(tx ledger.Tx) error { return tx.SaveSeal(unsent) })
		r.restart()
		if _, seals := find(0, 1); seals[0] != string(seal) {
			t.Errorf("sealed anew: %q", seals)
		}
	}
}
