package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// logEdit logs an event about nothing.
func logEdit(tx ledger.Tx) error {
	return tx.Log(command.Event{Type: command.EventEdited, At: epoch})
}

func testMembers(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"OneThatFailsLeavesNoTrace", memberOneThatFailsLeavesNoTrace},
		{"OneThatPanicsCostsOnlyItself", memberOneThatPanicsCostsOnlyItself},
		{"EachSeesThoseBeforeAndNoneThatFailed", memberEachSeesThoseBeforeAndNoneThatFailed},
		{"OneThatOnlyLooksIsAnsweredToo", memberOneThatOnlyLooksIsAnsweredToo},
		{"ACallerWhoLeavesBeforeItBegan", memberACallerWhoLeavesBeforeItBegan},
		{"ACallerWhoLeavesWhileItRuns", memberACallerWhoLeavesWhileItRuns},
	})
}

func memberOneThatFailsLeavesNoTrace(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p")
	boom := errors.New("boom")
	c := aCommand(1, "p")
	err := r.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		d, other := aDevice("q"), device.Device{}
		other, err := tx.DeviceNamed("p")
		other.LastSeq = 77
		xs, err2 := issue(tx, c)
		return errors.Join(err, err2, tx.AddDevice(&d), tx.SaveDevice(&other), logEdit(tx),
			tx.AddReport(xs[0].N, command.PastReport{At: epoch}), release(tx, &xs[0], at(5)), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v, want the function's own error", err)
	}
	if _, err := r.Device(ctx, "q"); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("a device was left: %v", err)
	}
	if _, err := r.Command(ctx, c.ID); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("a command was left: %v", err)
	}
	diff(t, must(r.Device(ctx, "p"))(t).LastSeq, uint32(0))
	diff(t, must(r.End(ctx))(t).N, int64(0))
	// What was only known inside of it is forgotten too.
	r.do(func(tx ledger.Tx) error { _, err := issue(tx, c); return err })
	r.restart()
	diff(t, must(r.Command(ctx, c.ID))(t).Command, c)
}

func memberOneThatPanicsCostsOnlyItself(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	err := r.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		d := aDevice("p")
		if err := tx.AddDevice(&d); err != nil {
			return err
		}
		panic("over")
	})
	wantCode(t, err, command.CodeInternal)
	if _, err := r.Device(ctx, "p"); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("a device was left: %v", err)
	}
	withDevices(r, "p")
}

func memberEachSeesThoseBeforeAndNoneThatFailed(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p")
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := r.Update(ctx, ledger.Lane(i%int(ledger.LaneEnd)), func(tx ledger.Tx) error {
				d, err := tx.DeviceNamed("p")
				if err != nil {
					return err
				}
				d.LastSeq++
				if err := errors.Join(tx.SaveDevice(&d), logEdit(tx)); err != nil {
					return err
				}
				if i%3 == 0 {
					return errors.New("not this one")
				}
				return nil
			})
			if (err == nil) != (i%3 != 0) {
				t.Errorf("member %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	kept := n - (n+2)/3
	diff(t, must(r.Device(ctx, "p"))(t).LastSeq, uint32(kept))
	diff(t, must(r.End(ctx))(t).N, int64(kept))
}

func memberOneThatOnlyLooksIsAnsweredToo(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "p")
	r.do(func(tx ledger.Tx) error {
		_, err := tx.DeviceNamed("p")
		return err
	})
	r.do(func(ledger.Tx) error { return nil })
}

func memberACallerWhoLeavesBeforeItBegan(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	gone, leave := context.WithCancel(ctx)
	leave()
	hold, held := make(chan struct{}), make(chan struct{})
	go r.Update(ctx, ledger.Issues, func(ledger.Tx) error { close(held); <-hold; return nil })
	<-held
	err := r.Update(gone, ledger.Issues, func(ledger.Tx) error {
		t.Error("it ran")
		return nil
	})
	wantCode(t, err, command.CodeUnavailable)
	close(hold)
	r.do(func(ledger.Tx) error { return nil })
}

func memberACallerWhoLeavesWhileItRuns(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	impatient, leave := context.WithCancel(ctx)
	left := make(chan struct{})
	err := r.Update(impatient, ledger.Issues, func(tx ledger.Tx) error {
		leave()
		<-left
		d := aDevice("p")
		return tx.AddDevice(&d)
	})
	wantCode(t, err, command.CodeOutcomeUnknown)
	close(left)
	r.do(func(ledger.Tx) error { return nil })
	if _, err := r.Device(ctx, "p"); err != nil {
		t.Errorf("it ran, and was not committed: %v", err)
	}
}

func testShutdown(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"WhatWasAcceptedIsCommitted", shutdownWhatWasAcceptedIsCommitted},
		{"AfterCloseNothingIsAccepted", shutdownAfterCloseNothingIsAccepted},
		{"AnEmptyStoreIsSound", shutdownAnEmptyStoreIsSound},
	})
}

func shutdownWhatWasAcceptedIsCommitted(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	const n = 100
	hold, held := make(chan struct{}), make(chan struct{})
	go r.Update(ctx, ledger.Issues, func(ledger.Tx) error { close(held); <-hold; return nil })
	<-held
	answers := make(chan error, n)
	var accepted sync.WaitGroup
	for i := range n {
		accepted.Add(1)
		go func() {
			accepted.Done()
			answers <- r.Update(ctx, ledger.Deliveries, func(tx ledger.Tx) error {
				d := aDevice(fmt.Sprint("p", i))
				return tx.AddDevice(&d)
			})
		}()
	}
	accepted.Wait()
	r.stop()
	close(hold)
	kept := 0
	for range n {
		if err := <-answers; err == nil {
			kept++
		} else if command.CodeOf(err) != command.CodeUnavailable {
			t.Errorf("got %v, want nil or unavailable", err)
		}
	}
	wantCode(t, r.Update(ctx, ledger.Reports, func(ledger.Tx) error { return nil }), command.CodeUnavailable)
	r.restart()
	list, _, err := r.Devices(ctx, device.Filter{})
	if err != nil || len(list) != kept {
		t.Errorf("%d are there of %d, %v", len(list), kept, err)
	}
}

func shutdownAfterCloseNothingIsAccepted(t *testing.T, e Engine) {
	ctx := context.Background()
	dir := t.TempDir()
	s := e.Open(t, dir)
	waits := make(chan error)
	go func() { waits <- s.Update(ctx, ledger.Issues, func(ledger.Tx) error { return nil }) }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantCode(t, <-waits, command.CodeUnavailable) // it never ran, so nobody will do it
	wantCode(t, s.Update(ctx, ledger.Issues, func(ledger.Tx) error { return nil }), command.CodeUnavailable)
	_, err := s.Command(ctx, idOf(1))
	wantCode(t, err, command.CodeUnavailable)
	if err := s.Health(ctx); err == nil {
		t.Error("a closed store is healthy")
	}
	if err := s.Run(ctx); err == nil {
		t.Error("a closed store runs")
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second close: %v", err)
	}
	e.Check(t, dir)
}

func shutdownAnEmptyStoreIsSound(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	if err := r.Health(ctx); err != nil {
		t.Error(err)
	}
	diff(t, must(r.End(ctx))(t), command.Place{})
	r.restart()
}
