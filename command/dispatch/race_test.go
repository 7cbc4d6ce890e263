package dispatch_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"behest/command"
)

// deeds are things that people do to one command at the same time.
type deeds map[string]func(w *world, v command.View) error

// atOnce does them at once, and answers with what came of each.
func (w *world) atOnce(v command.View, all deeds) map[string]error {
	w.t.Helper()
	var mu sync.Mutex
	errs := make(map[string]error)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for what, do := range all {
		wg.Go(func() {
			<-begin
			err := do(w, v)
			mu.Lock()
			defer mu.Unlock()
			errs[what] = err
			if err != nil && command.CodeOf(err) != command.CodeConflict {
				w.t.Errorf("%s: %v", what, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	return errs
}

func count(kinds []command.EventType, kind command.EventType) (n int) {
	for _, k := range kinds {
		if k == kind {
			n++
		}
	}
	return n
}

// oneWinner holds what became of a command against the answers that were given
// and the events that were told: one thing led it out of waiting, and who was
// answered that it was his is the one.
func (w *world) oneWinner(what string, id command.ID, errs map[string]error) string {
	w.t.Helper()
	v, kinds := w.view(id), w.kinds(id)
	fault := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s: %s; it is %s, %+v; answers %v; told %q", what, fmt.Sprintf(format, args...), v.State(), v.Tally, errs, kinds)
	}
	approved, denied := count(kinds, command.EventApproved), count(kinds, command.EventDenied)
	if approved+denied > 1 {
		fault("%d approvals and %d denials were told", approved, denied)
	}
	if (errs["approve"] == nil) != (approved == 1) || (errs["deny"] == nil) != (denied == 1) {
		fault("the answers are not what was told")
	}
	xs, _, err := w.store.Executions(w.ctx(), id, "", 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var winner command.State
	for _, x := range xs {
		if x.Seq != 0 && approved == 0 {
			fault("it left for %s, and nobody approved it", x.Name)
		}
		if winner != 0 && approved == 0 && x.State != winner {
			fault("%s and %s won", winner, x.State)
		}
		winner = x.State
	}
	switch {
	case denied == 1 && winner != command.Denied:
		fault("it was denied")
	case denied == 0 && winner == command.Denied:
		fault("nobody denied it")
	case approved+denied == 0 && winner != command.Canceled && winner != command.Expired:
		fault("nothing led it there")
	case approved == 0 && (errs["cancel"] == nil) != (winner == command.Canceled):
		fault("the canceling is not what was answered")
	}
	if approved == 1 {
		return "approve"
	}
	return winner.String()
}

// Approving, denying, canceling, and the clock, all at the same moment: of one
// device, and of many behind a gate.
func TestOneDecisionWins(t *testing.T) {
	all := deeds{
		"approve": func(w *world, v command.View) error {
			_, err := w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", "eve")
			return err
		},
		"deny": func(w *world, v command.View) error {
			_, err := w.Deny(w.ctx(), v.Command.ID, digestOf(v), "", "joe")
			return err
		},
		"cancel": func(w *world, v command.View) error {
			_, err := w.Cancel(w.ctx(), v.Command.ID, nil, "ann")
			return err
		},
	}
	inCouncil(t, func(w *world) {
		w.ready("a")
		w.ready("b")
		wins := make(map[string]int)
		for n := range 60 {
			devices := []string{"a", "b"}[:1+n%2]
			v := w.wish(devices...)
			what := fmt.Sprintf("round %d, on %d devices", n, len(devices))
			if n%3 == 2 { // at the moment at which it lapses
				time.Sleep(time.Until(v.Command.CreatedAt.Add(time.Hour)))
				what += ", late"
			}
			errs := w.atOnce(v, all)
			winner := w.oneWinner(what, v.Command.ID, errs)
			if n%3 == 2 && winner == "approve" {
				t.Errorf("%s: it was approved after its time", what)
			}
			wins[winner]++
			for _, name := range devices { // make room
				if _, err := w.CancelDevice(w.ctx(), name, "ann"); err != nil {
					t.Error(err)
				}
				x := w.openOn(name)
				for _, seq := range x {
					if err := w.report(name, seq, command.StatusCanceled); err != nil {
						t.Error(err)
					}
				}
			}
		}
		t.Logf("who won: %v", wins)
	})
}

// openOn are the numbers on a device's list.
func (w *world) openOn(name string) []uint32 {
	w.t.Helper()
	_, p, err := w.List(w.ctx(), name, there)
	if err != nil {
		w.t.Fatal(err)
	}
	return seqs(p.List)
}

// An approval is good until use_within: a device that comes at the very end,
// somebody who cancels and the clock do not both win.
func TestNothingLeavesWhenItsApprovalIsOver(t *testing.T) {
	inCouncil(t, func(w *world) {
		wins := make(map[string]int)
		for n := range 20 {
			name := fmt.Sprint("late-", n)
			w.register(name)
			v := w.approve(w.wish(name), "eve")
			until := v.Only.ApprovedAt.Add(time.Hour)
			if n%4 == 3 {
				until = until.Add(-time.Millisecond)
			}
			time.Sleep(time.Until(until))
			w.atOnce(v, deeds{
				"come": func(w *world, _ command.View) error { w.observe(name); return nil },
				"cancel": func(w *world, v command.View) error {
					if n%2 == 0 {
						return nil
					}
					_, err := w.Cancel(w.ctx(), v.Command.ID, nil, "ann")
					return err
				},
			})
			x := *w.view(v.Command.ID).Only
			switch {
			case n%4 == 3: // just in time, for whoever is first
			case x.Seq != 0:
				t.Errorf("round %d: it left when its approval was over", n)
			case n%2 == 0 && (x.State != command.Expired || x.Cause != command.ApprovalUnused):
				t.Errorf("round %d: it is %s %s", n, x.State, x.Cause)
			}
			if x.State == command.Expired && x.Seq != 0 || x.State == command.Canceled && x.Seq != 0 {
				t.Errorf("round %d: it is %s, and left", n, x.State)
			}
			wins[x.State.String()]++
		}
		t.Logf("who won: %v", wins)
	})
}

// What nobody decides on in time is over, with its cause, also if the server
// was down at the moment.
func TestApprovalsLapse(t *testing.T) {
	for what, pass := range map[string]func(w *world){
		"while the server runs": func(w *world) { time.Sleep(time.Hour) },
		"while it is down":      func(w *world) { w.stop(); time.Sleep(2 * time.Hour); w.start() },
		"over a restart":        func(w *world) { time.Sleep(time.Minute); w.restart(); time.Sleep(time.Hour) },
	} {
		inCouncil(t, func(w *world) {
			h := w.ready("a")
			w.ready("b")
			one, many, early := w.wish("a"), w.wish("a", "b"), w.wish("b")
			time.Sleep(time.Hour - 2*time.Second)
			w.check(one.Command.ID, command.AwaitingApproval, command.NoCause)
			if now := w.view(many.Command.ID); now.State() != "awaiting_approval" {
				t.Errorf("%s: a second early it is %s", what, now.State())
			}
			w.approve(early, "eve")
			pass(w)
			w.view(one.Command.ID)
			if x := w.check(one.Command.ID, command.Expired, command.ApprovalLapsed); x.Effect != command.EffectNone {
				t.Errorf("%s: its effect is %s", what, x.Effect)
			}
			xs, _, err := w.store.Executions(w.ctx(), many.Command.ID, "", 0, 10)
			if err != nil || len(xs) != 2 {
				t.Fatalf("%s: %d executions, %v", what, len(xs), err)
			}
			for _, x := range xs {
				if x.State != command.Expired || x.Cause != command.ApprovalLapsed {
					t.Errorf("%s: on %s it is %s %s", what, x.Name, x.State, x.Cause)
				}
			}
			for _, v := range []command.View{one, many} {
				if kinds := w.kinds(v.Command.ID); count(kinds, command.EventLapsed) != 1 || count(kinds, command.EventEnded) != 1 {
					t.Errorf("%s: told %q", what, kinds)
				}
				_, err := w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", "eve")
				wantCode(t, what+": approved afterwards", err, command.CodeConflict)
			}
			if list := w.screen.on(h).List; len(list) > 0 {
				t.Errorf("%s: the device sees %+v", what, list)
			}
			if x := w.now(early.Command.ID); x.Cause == command.ApprovalLapsed || x.Cause == command.ApprovalUnused || x.Seq == 0 {
				t.Errorf("%s: what was approved in time is %s %s", what, x.State, x.Cause)
			}
		})
	}
}

// The lapse wins once its time is there, also while no loop has noted it: a
// decision that comes then is refused, and not kept.
func TestADecisionPastItsTimeIsNone(t *testing.T) {
	inCouncil(t, func(w *world) {
		w.declare(command.Type{Name: "valve.set", Approval: &command.ApprovalRule{Approvers: 2}, Clocks: command.TypeClocks{
			ApproveWithin: command.Bound{Default: time.Hour},
		}})
		w.ready("a")
		w.ready("b")
		one, many := w.wish("a"), w.wish("a", "b")
		w.stop()
		w.still = true
		w.start()
		time.Sleep(time.Hour)
		for _, v := range []command.View{one, many} {
			_, err := w.Deny(w.ctx(), v.Command.ID, digestOf(v), "", "eve")
			wantCode(t, "denied", err, command.CodeConflict)
			now, err := w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", "joe")
			wantCode(t, "approved", err, command.CodeConflict)
			if len(now.Decisions) > 0 || now.State() != "awaiting_approval" {
				t.Errorf("%d devices: it is %s, decided by %+v", v.Command.Devices, now.State(), now.Decisions)
			}
		}
		w.stop()
		w.still = false
		w.start()
		w.view(many.Command.ID)
		w.check(one.Command.ID, command.Expired, command.ApprovalLapsed)
	})
}

// What was approved and could not leave in time is over, with another cause.
// What left in time is not touched by that clock any more.
func TestUnusedApprovalsLapse(t *testing.T) {
	for what, pass := range map[string]func(w *world){
		"while the server runs": func(w *world) { time.Sleep(2 * time.Hour) },
		"while it is down":      func(w *world) { w.stop(); time.Sleep(2 * time.Hour); w.start() },
	} {
		inCouncil(t, func(w *world) {
			w.ready("there")
			names := []string{"away", "gone"}
			for _, name := range names {
				w.register(name)
			}
			one, many, used := w.wish("away"), w.wish(names...), w.wish("there")
			later := wishFor(names...)
			later.NotBefore = time.Now().Add(6 * time.Hour) // it never comes to that
			i, err := w.Issue(w.ctx(), later)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Minute)
			for _, v := range []command.View{one, many, used, i.View} {
				w.approve(v, "eve")
			}
			time.Sleep(time.Hour - 3*time.Second) // use_within counts from the approval
			w.check(one.Command.ID, command.Queued, command.NoCause)
			w.check(used.Command.ID, command.Sent, command.NoCause)
			pass(w)
			w.view(one.Command.ID)
			w.check(one.Command.ID, command.Expired, command.ApprovalUnused)
			for _, id := range []command.ID{many.Command.ID, i.Command.ID} {
				xs, _, err := w.store.Executions(w.ctx(), id, "", 0, 10)
				if err != nil || len(xs) != 2 {
					t.Fatalf("%s: %d executions, %v", what, len(xs), err)
				}
				for _, x := range xs {
					if x.State != command.Expired || x.Cause != command.ApprovalUnused || x.Seq != 0 {
						t.Errorf("%s: on %s it is %s %s", what, x.Name, x.State, x.Cause)
					}
				}
			}
			if kinds := w.kinds(one.Command.ID); slices.Contains(kinds, command.EventLapsed) || count(kinds, command.EventOf(command.Expired)) != 1 {
				t.Errorf("%s: told %q", what, kinds)
			}
			if x := w.now(used.Command.ID); x.Cause == command.ApprovalUnused || x.Seq == 0 {
				t.Errorf("%s: what left in time is %s %s", what, x.State, x.Cause)
			}
		})
	}
}
