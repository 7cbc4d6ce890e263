package storetest

import (
	"context"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// withDevices adds plain devices.
func withDevices(r *rig, names ...string) {
	r.t.Helper()
	r.do(func(tx ledger.Tx) error {
		for _, name := range names {
			d := aDevice(name)
			if err := tx.AddDevice(&d); err != nil {
				return err
			}
		}
		return nil
	})
}

func testCommands(t *testing.T, e Engine) {
	t.Run("EveryFieldComesBack", func(t *testing.T) { testEveryField(t, e) })
	t.Run("OnOneDevice", func(t *testing.T) { testOneDevice(t, e) })
	t.Run("OnManyDevices", func(t *testing.T) { testManyDevices(t, e) })
	t.Run("ClocksAndPolicyAreThoseOfTheIssue", func(t *testing.T) { testTermsStay(t, e) })

	t.Run("RefusedWhatIsNotThere", func(t *testing.T) {
		r := start(t, e)
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Command(idOf(1)); return err })
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Execution(1); return err })
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.ExecutionBySeq(1, 1); return err })
		_, err := r.Command(context.Background(), idOf(1))
		wantCode(t, err, command.CodeNotFound)
		_, _, err = r.Execution(context.Background(), idOf(1), "p")
		wantCode(t, err, command.CodeNotFound)
		_, _, err = r.Executions(context.Background(), idOf(1), "", 0, 10)
		wantCode(t, err, command.CodeNotFound)
	})

	t.Run("RefusedTwiceTheSameID", func(t *testing.T) {
		r := start(t, e)
		withDevices(r, "p", "q")
		r.do(func(tx ledger.Tx) error { _, err := issue(tx, aCommand(1, "p")); return err })
		r.refused(command.CodeConflict, func(tx ledger.Tx) error { _, err := issue(tx, aCommand(1, "q")); return err })
		r.refused(command.CodeConflict, func(tx ledger.Tx) error { _, err := issue(tx, aCommand(1, "p", "q")); return err })
	})

	t.Run("RefusedADeviceThatIsNotThere", func(t *testing.T) {
		r := start(t, e)
		c := aCommand(1, "p")
		r.refused(command.CodeInternal, func(tx ledger.Tx) error {
			return tx.AddCommand(c, []command.Execution{{Device: 99, Name: "p", State: command.Queued, QueuedAt: at(1)}})
		})
		_, err := r.Command(context.Background(), c.ID)
		wantCode(t, err, command.CodeNotFound)
	})
}

// testEveryField stores a command and an execution in which nothing is zero.
func testEveryField(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p", "q")
	undone := aCommand(9, "p")
	r.do(func(tx ledger.Tx) error { _, err := issue(tx, undone); return err })
	for i, devices := range [][]string{{"p"}, {"p", "q"}} { // in this order: a device's numbers grow
		n := i + 1
		var c command.Command
		fill(&c)
		c.ID, c.Devices, c.RollbackOf = idOf(n), len(devices), undone.ID
		xs := make([]command.Execution, len(devices))
		r.do(func(tx ledger.Tx) error {
			for i, name := range devices {
				d, err := tx.DeviceNamed(name)
				if err != nil {
					return err
				}
				fill(&xs[i], "Command", "Settled", "EndedAt")
				xs[i].Device, xs[i].Name, xs[i].Seq = d.Handle, name, uint32(4_000_000_000+n)
				d.LastSeq = xs[i].Seq
				if err := tx.SaveDevice(&d); err != nil {
					return err
				}
			}
			return tx.AddCommand(&c, xs)
		})
		r.restart()
		for i, name := range devices {
			got, said, err := r.Execution(ctx, c.ID, name)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, got, xs[i])
			diff(t, said, []command.PastReport{{At: xs[i].ReportedAt, Report: xs[i].Last}})
		}
		r.do(func(tx ledger.Tx) error {
			got, err := tx.Command(c.ID)
			diff(t, got, &c)
			return err
		})
	}
}

// testOneDevice follows a command on one device through all lookups.
func testOneDevice(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p")
	c := aCommand(1, "p")
	var x command.Execution
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, c)
		if err != nil {
			return err
		}
		x = xs[0]
		return release(tx, &x, at(2))
	})
	if x.N == 0 || c.N == 0 || x.Version != 2 {
		t.Errorf("execution %d of command %d has version %d", x.N, c.N, x.Version)
	}
	r.do(func(tx ledger.Tx) error {
		byN, err := tx.Execution(x.N)
		if err != nil {
			return err
		}
		bySeq, err := tx.ExecutionBySeq(x.Device, x.Seq)
		if err != nil {
			return err
		}
		open, err := tx.Open(x.Device)
		if err != nil {
			return err
		}
		openOf, err := tx.OpenOf(c.N, 10)
		if err != nil {
			return err
		}
		diff(t, byN, x)
		diff(t, bySeq, x)
		diff(t, open, []command.Execution{x})
		diff(t, openOf, []command.Execution{x})
		tally, err := tx.Tally(c.N)
		diff(t, tally, tallyOf(x))
		return err
	})
	diff(t, must(r.Command(ctx, c.ID))(t), command.View{Command: c, Only: &x, Tally: tallyOf(x)})
	xs, more, err := r.Executions(ctx, c.ID, "", 0, 10)
	if more || err != nil {
		t.Errorf("more is %v, the error %v", more, err)
	}
	diff(t, xs, []command.Execution{x})

	r.do(func(tx ledger.Tx) error { return succeed(tx, &x, at(3)) })
	diff(t, must(r.Command(ctx, c.ID))(t), command.View{Command: c, Only: &x, Tally: tallyOf(x)})
	r.do(func(tx ledger.Tx) error {
		open, err := tx.Open(x.Device)
		if err != nil || len(open) > 0 {
			t.Errorf("open on the device: %v, %v", open, err)
		}
		if open, err = tx.OpenOf(c.N, 10); err != nil || len(open) > 0 {
			t.Errorf("open of the command: %v, %v", open, err)
		}
		bySeq, err := tx.ExecutionBySeq(x.Device, x.Seq)
		diff(t, bySeq, x)
		return err
	})
	_, _, err = r.Execution(ctx, c.ID, "q")
	wantCode(t, err, command.CodeNotFound)
}

// testManyDevices does the same for a command on three.
func testManyDevices(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b", "c")
	c := aCommand(1, "c", "a", "b")
	var xs []command.Execution
	r.do(func(tx ledger.Tx) (err error) {
		if xs, err = issue(tx, c); err != nil {
			return err
		}
		if err := release(tx, &xs[1], at(2)); err != nil {
			return err
		}
		return succeed(tx, &xs[1], at(3))
	})
	diff(t, must(r.Command(ctx, c.ID))(t), command.View{Command: c, Tally: tallyOf(xs...)})
	got, more, err := r.Executions(ctx, c.ID, "", 0, 2)
	if err != nil || !more {
		t.Errorf("the first page: more %v, %v", more, err)
	}
	diff(t, got, xs[:2])
	got, more, err = r.Executions(ctx, c.ID, "", got[1].N, 2)
	if err != nil || more {
		t.Errorf("the second page: more %v, %v", more, err)
	}
	diff(t, got, xs[2:])
	got, _, err = r.Executions(ctx, c.ID, "succeeded", 0, 0)
	if err != nil {
		t.Error(err)
	}
	diff(t, got, xs[1:2])
	_, _, err = r.Executions(ctx, c.ID, "gone", 0, 0)
	wantCode(t, err, command.CodeMalformed)
	r.do(func(tx ledger.Tx) error {
		open, err := tx.OpenOf(c.N, 10)
		diff(t, open, []command.Execution{xs[0], xs[2]})
		if err == nil {
			open, err = tx.OpenOf(c.N, 1)
			diff(t, open, xs[:1])
		}
		return err
	})
	x, _, err := r.Execution(ctx, c.ID, "a")
	if err != nil {
		t.Error(err)
	}
	diff(t, x, xs[1])
}

// testTermsStay has commands that differ in nothing but their terms.
func testTermsStay(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p")
	var want []*command.Command
	for n := range 40 {
		c := aCommand(n+1, "p")
		c.TypeVersion = n % 2
		c.Policy.Urgent = n%3 == 0
		c.Clocks.SettleFor = time.Duration(1+n%5) * time.Hour
		c.Clocks.DeliverWithin = time.Duration(n+1) * time.Minute
		want = append(want, c)
		r.do(func(tx ledger.Tx) error { _, err := issue(tx, c); return err })
	}
	r.restart()
	for _, c := range want {
		diff(t, must(r.Command(context.Background(), c.ID))(t).Command, c)
	}
}

func tallyOf(xs ...command.Execution) (t command.Tally) {
	for _, x := range xs {
		t.Add(x)
	}
	return t
}

func testSaves(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"RefusedAStaleCopy", saveRefusedAStaleCopy},
		{"RefusedTwiceTheSameNumber", saveRefusedTwiceTheSameNumber},
		{"TimesAreKeptToTheMillisecond", saveTimesAreKeptToTheMillisecond},
	})
}

func saveRefusedAStaleCopy(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p")
	var stale, x command.Execution
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, aCommand(1, "p"))
		if err != nil {
			return err
		}
		x, stale = xs[0], xs[0]
		return release(tx, &x, at(1))
	})
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.Save(&stale) })
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Execution(x.N)
		diff(t, got, x)
		return err
	})
	stale.N = 999
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.Save(&stale) })
}

func saveRefusedTwiceTheSameNumber(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p", "q")
	r.do(func(tx ledger.Tx) error {
		one, err := issue(tx, aCommand(1, "p"))
		if err != nil {
			return err
		}
		two, err := issue(tx, aCommand(2, "p"))
		if err != nil {
			return err
		}
		other, err := issue(tx, aCommand(3, "q"))
		if err != nil {
			return err
		}
		if err := release(tx, &one[0], at(3)); err != nil {
			return err
		}
		twin, _ := two[0].Step(command.Trigger{Kind: command.Release, Seq: one[0].Seq}, at(4))
		if code := command.CodeOf(tx.Save(&twin)); code != command.CodeConflict {
			t.Errorf("the code is %q", code)
		}
		return release(tx, &other[0], at(3)) // another device may have it
	})
}

func saveTimesAreKeptToTheMillisecond(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p")
	c := aCommand(1, "p")
	c.CreatedAt = c.CreatedAt.Add(1_999_999 * time.Nanosecond).In(time.FixedZone("elsewhere", 3600))
	r.do(func(tx ledger.Tx) error { _, err := issue(tx, c); return err })
	got := must(r.Command(context.Background(), c.ID))(t)
	diff(t, got.Command.CreatedAt, at(1).Add(time.Millisecond))
	diff(t, got.Only.QueuedAt, at(1).Add(time.Millisecond))
	// A deadline is that of the times as they are kept: the engine's check,
	// when the test ends, computes it from those.
	c = aCommand(2, "p")
	c.Clocks.ReportEvery = 11_001 * time.Millisecond // and half of it in grace
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, c)
		if err != nil {
			return err
		}
		if err := release(tx, &xs[0], at(3)); err != nil {
			return err
		}
		return step(tx, &xs[0], command.Reported(command.Report{}, xs[0].State), at(4).Add(900*time.Microsecond))
	})
	if got.Command.CreatedAt.Location() != time.UTC {
		t.Errorf("the time is in %s", got.Command.CreatedAt.Location())
	}
}

func testReports(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p", "q")
	c := aCommand(1, "p", "q")
	var want []command.PastReport
	var x command.Execution
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, c)
		if err != nil {
			return err
		}
		x = xs[1]
		return release(tx, &x, at(2))
	})
	for i := range 5 {
		progress, code := uint8(i*20), int64(-i)
		said := command.Report{Status: command.StatusRunning, Progress: &progress, Code: &code, Text: "on it", Result: []byte{0x80}}
		r.do(func(tx ledger.Tx) error {
			if i > 0 {
				if err := tx.AddReport(x.N, command.PastReport{At: x.ReportedAt, Report: x.Last}); err != nil {
					return err
				}
			}
			return step(tx, &x, command.Reported(said, x.State), at(3+i))
		})
		want = append(want, command.PastReport{At: at(3 + i), Report: said})
	}
	got, said, err := r.Execution(context.Background(), c.ID, "q")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, got, x)
	diff(t, said, want)
	if _, said, err = r.Execution(context.Background(), c.ID, "p"); err != nil || len(said) > 0 {
		t.Errorf("the other device said %v, %v", said, err)
	}
	r.refused(command.CodeInternal, func(tx ledger.Tx) error { return tx.AddReport(999, want[0]) })
}
