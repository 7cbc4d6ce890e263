package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/device"
)

func TestWhatIsIssuedToAReadyDeviceIsSentInTheSameCommit(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		before := w.store.Stats().Commits
		i := w.issue("pump")
		if got := w.store.Stats().Commits - before; got != 1 {
			t.Errorf("it took %d commits, want 1", got)
		}
		if i.Only == nil || i.Only.State != command.Sent {
			t.Fatalf("the answer says %+v, want sent", i.Only)
		}
		if diff := cmp.Diff(seqs(w.screen.on(h).List), []uint32{i.Only.Seq}); diff != "" {
			t.Errorf("the device should see (-got +want):\n%s", diff)
		}
		w.check(i.Command.ID, command.Sent, command.NoCause)
	})
}

func TestWhatIsIssuedToNobodyWaitsForTheObserver(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.issue("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		w.register("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		p := w.observe("pump")
		x := w.check(i.Command.ID, command.Sent, command.NoCause)
		if diff := cmp.Diff(seqs(p.List), []uint32{x.Seq}); diff != "" {
			t.Errorf("the observation begins with (-got +want):\n%s", diff)
		}
	})
}

func TestTheNextLeavesInTheCommitThatEndsTheHead(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		first, second := w.issue("pump"), w.issue("pump")
		w.check(second.Command.ID, command.Queued, command.NoCause)
		if p := w.screen.on(h); p.Waiting || len(p.List) != 1 {
			t.Errorf("presented %+v, want one entry, and nothing that waits for a notification", p)
		}
		before := w.store.Stats().Commits
		if err := w.report("pump", first.Only.Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		if got := w.store.Stats().Commits - before; got != 1 {
			t.Errorf("it took %d commits, want 1", got)
		}
		w.check(first.Command.ID, command.Succeeded, command.NoCause)
		x := w.check(second.Command.ID, command.Sent, command.NoCause)
		if x.Seq <= first.Only.Seq {
			t.Errorf("seq %d does not follow %d", x.Seq, first.Only.Seq)
		}
		if p := w.screen.on(h); p.Reported != first.Only.Seq || len(p.List) != 1 || p.List[0].Seq != x.Seq {
			t.Errorf("presented %+v, want the second, and the report on the first", p)
		}
	})
}

func TestNothingIsReleasedWhileNoNotificationCanLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		w.screen.deaf = true
		i := w.issue("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		if !w.screen.on(h).Waiting {
			t.Error("the presenter was not told that something waits")
		}
		w.screen.deaf = false
		if err := w.Pull(w.ctx(), h); err != nil {
			t.Fatal(err)
		}
		w.check(i.Command.ID, command.Sent, command.NoCause)
	})
}

func TestAReportIsTakenOnceAndContradictionsAreRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		seq := w.issue("pump").Only.Seq
		for _, row := range []struct {
			name   string
			device string
			seq    uint32
			status command.Status
			want   command.Code // "": taken
		}{
			{"running", "pump", seq, command.StatusRunning, ""},
			{"success", "pump", seq, command.StatusSuccess, ""},
			{"the same again", "pump", seq, command.StatusSuccess, ""},
			{"running after the end", "pump", seq, command.StatusRunning, ""},
			{"another outcome", "pump", seq, command.StatusFailure, command.CodeContradiction},
			{"a number that was never given", "pump", seq + 1, command.StatusSuccess, command.CodeNotFound},
			{"a device that is not known", "valve", seq, command.StatusSuccess, command.CodeNotFound},
		} {
			t.Run(row.name, func(t *testing.T) {
				err := w.report(row.device, row.seq, row.status)
				if row.want == "" && err != nil || row.want != "" && (err == nil || command.CodeOf(err) != row.want) {
					t.Errorf("answered %v, want %q", err, row.want)
				}
			})
		}
	})
}

// The device did act: what it says too much of is kept, and marked.
func TestAResultPastItsTypesLimitCountsAndIsMarked(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		i := w.issue("pump")
		long := append([]byte{0x59, 0x04, 0x01}, make([]byte, command.ResultBytesMax+1)...) // a byte string
		if err := w.Report(w.ctx(), "pump", there, i.Only.Seq, command.Report{Result: long, Status: command.StatusSuccess}); err != nil {
			t.Fatal(err)
		}
		if x := w.check(i.Command.ID, command.Succeeded, command.NoCause); !x.Last.Invalid || len(x.Last.Result) != len(long) {
			t.Errorf("invalid %t, %d bytes; want it marked and whole", x.Last.Invalid, len(x.Last.Result))
		}
	})
}

// A report that is in time for the commit before the one that notes the
// silence is an ACK's equal.
func TestAnAckOfASuspendedObservationRevivesIt(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		i := w.issue("pump")
		d, _ := w.store.Device(w.ctx(), "pump")
		w.Arrived(h, d.Observation, arrival(i.Only.Seq, command.DeliverySilent))
		time.Sleep(2 * time.Second)
		w.Arrived(h, d.Observation, arrival(i.Only.Seq, command.DeliveryAcked))
		time.Sleep(2 * time.Second)
		if d, _ = w.store.Device(w.ctx(), "pump"); d.Observation.Suspended {
			t.Error("it answers, and is suspended")
		}
	})
}

func TestWhatGoesOnceIsNotInASecondAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		w.declare(command.Type{Name: "pump.start", Policy: command.Policy{Redelivery: command.Once}})
		i := w.issue("pump")
		if p := w.observe("pump"); len(p.List) != 0 {
			t.Errorf("a new observation begins with %v", seqs(p.List))
		}
		w.check(i.Command.ID, command.Sent, command.NoCause)
	})
}

// What is given up leaves its place to the next, also where others of its command
// are open: the device is there, and nothing else would give it its turn.
func TestWhatIsGivenUpLeavesItsPlace(t *testing.T) {
	for _, targets := range [][]string{{"pump"}, {"pump", "valve"}} {
		inWorld(t, func(w *world) {
			h := w.ready("pump")
			w.declare(command.Type{Name: "pump.start", Policy: command.Policy{Redelivery: command.Once}})
			first := w.issue(targets...)
			w.settle()
			next := w.issue("pump")
			w.check(next.Command.ID, command.Queued, command.NoCause)
			w.Arrived(h, device.Observation{}, command.Arrival{Carried: carried(w.screen.on(h).List), Attempts: 1, Outcome: command.DeliverySilent})
			w.settle()
			x, _, err := w.store.Execution(w.ctx(), first.Command.ID, "pump")
			if err != nil || x.Cause != command.Unacknowledged {
				t.Fatalf("the first on %v is %s %s, %v", targets, x.State, x.Cause, err)
			}
			w.check(next.Command.ID, command.Sent, command.NoCause)
		})
	}
}

// TestWhatWentOnceBeforeADeathIsNotShownToWhoComesFirst: a device that is heard
// of before the loops have begun is shown nothing of an exchange that is over.
func TestWhatWentOnceBeforeADeathIsNotShownToWhoComesFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		w.declare(command.Type{Name: "pump.start", Policy: command.Policy{Redelivery: command.Once}})
		i := w.issue("pump")
		w.check(i.Command.ID, command.Sent, command.NoCause)
		w.still = true
		w.restart()
		if err := w.Refresh(w.ctx(), h, there, 0); err != nil {
			t.Fatal(err)
		}
		if list := w.screen.on(h).List; len(list) != 0 {
			t.Errorf("it is shown %v", seqs(list))
		}
		w.check(i.Command.ID, command.TimedOut, command.Unacknowledged)
		again := w.issue("pump") // of this life: it is in its exchange
		if err := w.Refresh(w.ctx(), h, there, 0); err != nil {
			t.Fatal(err)
		}
		w.check(again.Command.ID, command.Sent, command.NoCause)
	})
}

func TestCancelIsHonest(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		sent, queued := w.issue("pump"), w.issue("pump")

		if _, err := w.Cancel(w.ctx(), queued.Command.ID, nil, "ann"); err != nil {
			t.Fatal(err)
		}
		if x := w.check(queued.Command.ID, command.Canceled, command.NoCause); x.Effect != command.EffectNone {
			t.Errorf("what never left has effect %s", x.Effect)
		}
		if _, err := w.Cancel(w.ctx(), sent.Command.ID, nil, "ann"); err != nil {
			t.Fatal(err)
		}
		w.check(sent.Command.ID, command.Canceling, command.NoCause)
		want := []command.Entry{{Seq: sent.Only.Seq, Cancel: true}}
		got := w.screen.on(h).List
		got[0].StartBy = time.Time{}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("the device should see (-got +want):\n%s", diff)
		}
		v, err := w.Cancel(w.ctx(), sent.Command.ID, nil, "ann")
		if command.CodeOf(err) != command.CodeConflict || v.State() != "canceling" {
			t.Errorf("a second cancel is answered %v with %s, want a conflict and the state that stands", err, v.State())
		}
		if err := w.report("pump", sent.Only.Seq, command.StatusSuccess); err != nil {
			t.Errorf("the device came first, and is told %v", err)
		}
		w.check(sent.Command.ID, command.Succeeded, command.NoCause)
	})
}

func TestAFullDeviceIsRefusedAndNamed(t *testing.T) {
	inWorld(t, func(w *world) {
		for range command.OpenMax {
			w.issue("pump")
		}
		_, err := w.Issue(w.ctx(), intent("pump"))
		if command.CodeOf(err) != command.CodeDeviceFull {
			t.Errorf("alone it is answered %v, want device_full", err)
		}
		i := w.issue("pump", "valve")
		if diff := cmp.Diff(i.Refused, []command.Refusal{{Device: "pump", Code: command.CodeDeviceFull}}); diff != "" {
			t.Errorf("among others (-got +want):\n%s", diff)
		}
		if n, err := w.CancelDevice(w.ctx(), "pump", "ann"); n != command.OpenMax || err != nil {
			t.Errorf("emptied %d, %v; want %d", n, err, command.OpenMax)
		}
		w.issue("pump")
	})
}

func TestFaultsOfAnIntentAreNamedAllAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		_, err := w.Issue(w.ctx(), command.Intent{DeliverWithin: time.Millisecond, Targets: command.Targets{Devices: []string{"a/b", ""}}})
		var pointers []string
		if e, ok := err.(*command.Error); ok {
			for _, f := range e.Fields {
				pointers = append(pointers, f.Pointer)
			}
		}
		want := []string{"/type", "/deliver_within_seconds", "/targets/devices", "/targets/devices"}
		if diff := cmp.Diff(pointers, want); diff != "" {
			t.Errorf("faults (-got +want):\n%s\n%v", diff, err)
		}
	})
}

func TestExpectedTargetsMustBeRight(t *testing.T) {
	inWorld(t, func(w *world) {
		in := intent("a", "b", "b")
		two, three := 2, 3
		in.ExpectTargets = &three
		if _, err := w.Issue(w.ctx(), in); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("three expected, two named: %v, want a conflict", err)
		}
		in.ExpectTargets = &two
		i, err := w.Issue(w.ctx(), in)
		if err != nil || i.Tally.Total() != 2 {
			t.Errorf("two expected, two named: %v, %d executions", err, i.Tally.Total())
		}
	})
}

func TestClocksLapseByThemselvesAndSayWhy(t *testing.T) {
	for _, row := range []struct {
		name  string
		setUp func(w *world) command.ID
		after time.Duration
		state command.State
		cause command.Cause
	}{
		{"never registered", func(w *world) command.ID { return w.issue("pump").Command.ID },
			24 * time.Hour, command.Expired, command.NeverRegistered},
		{"not observing", func(w *world) command.ID { w.register("pump"); return w.issue("pump").Command.ID },
			24 * time.Hour, command.Expired, command.NotObserving},
		{"registration lapsed", func(w *world) command.ID {
			w.ready("pump")
			time.Sleep(2 * time.Hour)
			return w.issue("pump").Command.ID
		}, 24 * time.Hour, command.Expired, command.Unreachable},
		{"sent, and never acknowledged", func(w *world) command.ID { w.ready("pump"); return w.issue("pump").Command.ID },
			24*time.Hour + 5*time.Minute, command.TimedOut, command.Unreachable},
		{"delivered, and no report", func(w *world) command.ID {
			h := w.ready("pump")
			i := w.issue("pump")
			w.Arrived(h, device.Observation{}, arrival(i.Only.Seq, command.DeliveryAcked))
			return i.Command.ID
		}, 5*time.Minute + time.Second, command.TimedOut, command.NoReport},
	} {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				id := row.setUp(w)
				ended := make(chan command.View, 1)
				go func() {
					v, _ := w.Wait(w.ctx(), id)
					ended <- v
				}()
				time.Sleep(row.after - time.Second)
				if s := w.now(id).State; s.Ended() {
					t.Errorf("it is %s too early", s)
				}
				time.Sleep(2 * time.Second)
				w.check(id, row.state, row.cause)
				if v := <-ended; v.Only.State != row.state {
					t.Errorf("who waited was told %s", v.Only.State)
				}
			})
		})
	}
}

func TestLateTruthCountsUntilItIsSettled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		i := w.issue("pump")
		time.Sleep(24*time.Hour + 6*time.Minute)
		w.check(i.Command.ID, command.TimedOut, command.Unreachable)
		if err := w.report("pump", i.Only.Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		if x := w.check(i.Command.ID, command.Succeeded, command.NoCause); !x.Late {
			t.Error("it is not marked late")
		}

		i = w.issue("pump")
		w.observe("pump")
		seq := w.now(i.Command.ID).Seq
		time.Sleep(9 * 24 * time.Hour)
		if x := w.now(i.Command.ID); x.State != command.TimedOut || !x.Settled {
			t.Errorf("it is %s, settled %t", x.State, x.Settled)
		}
		if err := w.report("pump", seq, command.StatusSuccess); err != nil {
			t.Errorf("a report after that is answered %v", err)
		}
		w.check(i.Command.ID, command.TimedOut, command.Unreachable)
	})
}

func arrival(seq uint32, d command.Delivery) command.Arrival {
	return command.Arrival{Carried: []command.Carried{{Seq: seq}}, Attempts: 1, Outcome: d}
}

func TestAnAckIsDeliveredAndNoMore(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		i := w.issue("pump")
		w.Arrived(h, device.Observation{}, arrival(i.Only.Seq, command.DeliveryAcked))
		time.Sleep(2 * time.Second)
		if x := w.check(i.Command.ID, command.Delivered, command.NoCause); x.Effect != command.EffectUnknown || x.Attempts != 1 {
			t.Errorf("effect %s after %d attempts, want unknown after 1", x.Effect, x.Attempts)
		}
	})
}

func TestSilenceSuspendsAndASignOfLifeRevives(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		i := w.issue("pump")
		d, err := w.store.Device(w.ctx(), "pump")
		if err != nil {
			t.Fatal(err)
		}
		w.Arrived(h, d.Observation, arrival(i.Only.Seq, command.DeliverySilent))
		time.Sleep(2 * time.Second)
		if d, _ = w.store.Device(w.ctx(), "pump"); !d.Observation.Suspended {
			t.Fatal("the observation is not suspended")
		}
		second := w.issue("pump")
		w.check(second.Command.ID, command.Queued, command.NoCause)

		if _, _, err := w.List(w.ctx(), "pump", there); err != nil {
			t.Fatal(err)
		}
		if d, _ = w.store.Device(w.ctx(), "pump"); d.Observation.Suspended {
			t.Error("it was heard of, and is still suspended")
		}
		if err := w.report("pump", i.Only.Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		w.check(second.Command.ID, command.Sent, command.NoCause)
	})
}

func TestAResetEndsTheObservationThatItAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		old, err := w.store.Device(w.ctx(), "pump")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.observe("pump")
		w.Arrived(h, old.Observation, command.Arrival{Outcome: command.DeliveryReset})
		time.Sleep(2 * time.Second)
		d, _ := w.store.Device(w.ctx(), "pump")
		if !d.Observing() {
			t.Fatal("the reset of an old observation ended the new one")
		}
		w.Arrived(h, d.Observation, command.Arrival{Outcome: command.DeliveryReset})
		time.Sleep(2 * time.Second)
		if d, _ = w.store.Device(w.ctx(), "pump"); d.Observing() {
			t.Error("it still observes after a reset")
		}
	})
}

func TestWhatIsOpenIsPresentedAgainAfterARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		first := w.issue("pump")
		second := w.issue("pump")
		w.restart()
		x := w.check(first.Command.ID, command.Sent, command.NoCause)
		if diff := cmp.Diff(seqs(w.screen.on(h).List), []uint32{x.Seq}); diff != "" || x.Seq != first.Only.Seq {
			t.Errorf("after the restart the device should see (-got +want):\n%s", diff)
		}
		if err := w.report("pump", x.Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		w.check(second.Command.ID, command.Sent, command.NoCause)
	})
}

func TestMemoryLossEndsWhatIsOpen(t *testing.T) {
	for _, row := range []struct {
		name   string
		last   func(first, now uint32) uint32
		code   command.Code // "": registered
		sent   command.State
		queued command.State
		cause  command.Cause
	}{
		{"both remember", func(first, now uint32) uint32 { return now }, "", command.Sent, command.Queued, command.NoCause},
		{"the device forgot", func(first, now uint32) uint32 { return first - 1 }, "", command.TimedOut, command.Sent, command.DeviceReset},
		{"the store forgot", func(first, now uint32) uint32 { return now + 5 }, "", command.TimedOut, command.TimedOut, command.Restored},
		{"impossible", func(first, now uint32) uint32 { return now + 100000 }, command.CodeMalformed, command.Sent, command.Queued, command.NoCause},
	} {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ready("pump")
				done := w.issue("pump")
				if err := w.report("pump", done.Only.Seq, command.StatusSuccess); err != nil {
					t.Fatal(err)
				}
				sent, queued := w.issue("pump"), w.issue("pump")
				last := row.last(done.Only.Seq, sent.Only.Seq)
				_, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: there, Lifetime: time.Hour, Window: 1, Last: &last})
				if row.code == "" && err != nil || row.code != "" && command.CodeOf(err) != row.code {
					t.Fatalf("registering is answered %v, want %q", err, row.code)
				}
				w.check(sent.Command.ID, row.sent, row.cause)
				if x := w.now(queued.Command.ID); x.State != row.queued {
					t.Errorf("the queued one is %s, want %s", x.State, row.queued)
				} else if x.Seq != 0 && x.Seq <= last {
					t.Errorf("seq %d is not above last %d", x.Seq, last)
				}
			})
		})
	}
}

func TestARemovedDeviceEndsHonestlyAndComesBackUnderItsHandle(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		sent, queued := w.issue("pump"), w.issue("pump")
		if err := w.RemoveDevice(w.ctx(), "pump", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		w.check(sent.Command.ID, command.TimedOut, command.DeviceRemoved)
		w.check(queued.Command.ID, command.Canceled, command.DeviceRemoved)
		if _, err := w.store.Device(w.ctx(), "pump"); command.CodeOf(err) != command.CodeNotFound {
			t.Errorf("it is still there: %v", err)
		}
		if err := w.RemoveDevice(w.ctx(), "pump", 0, "ann"); command.CodeOf(err) != command.CodeNotFound {
			t.Errorf("removing it again is answered %v, want not_found", err)
		}
		if again := w.register("pump"); again != h {
			t.Errorf("it came back as %d, and was %d", again, h)
		}
	})
}

func TestManyAtOnceLoseNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		const devices, each = 40, 10
		errs := make(chan error, devices*each)
		for d := range devices {
			name := fmt.Sprintf("pump-%d", d)
			w.ready(name)
			for range each {
				go func() {
					_, err := w.Issue(w.ctx(), intent(name))
					errs <- err
				}()
			}
		}
		for range devices * each {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		for d := range devices {
			v, err := w.store.Device(w.ctx(), fmt.Sprintf("pump-%d", d))
			if err != nil || v.Open != each {
				t.Errorf("pump-%d has %d open, %v; want %d", d, v.Open, err, each)
			}
		}
	})
}

// The commit is stored, and nobody knows: the operator is told so, and what was
// released by it is presented all the same.
func TestACommitOfUnknownOutcomeIsPresentedAllTheSame(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		w.doubt.next.Store(true)
		_, err := w.Issue(w.ctx(), intent("pump"))
		if command.CodeOf(err) != command.CodeOutcomeUnknown {
			t.Fatalf("answered %v, want outcome_unknown", err)
		}
		time.Sleep(time.Second)
		if got := len(w.screen.on(h).List); got != 1 {
			t.Errorf("the device should see %d entries, want the one that was stored", got)
		}
	})
}

// RFC 7641 4.5: at least one confirmable notification a day.
func TestAQuietObserverIsAskedOnceADay(t *testing.T) {
	inWorld(t, func(w *world) {
		h, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: there, Lifetime: 30 * 24 * time.Hour, Window: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.observe("pump")
		asked := 0
		for range 3 {
			w.screen.reset()
			time.Sleep(24*time.Hour + time.Minute)
			if w.screen.on(h).Revived {
				asked++
			}
			d, _ := w.store.Device(w.ctx(), "pump")
			w.Arrived(h, d.Observation, command.Arrival{Attempts: 1})
			time.Sleep(2 * time.Second)
		}
		if asked != 3 {
			t.Errorf("asked on %d of 3 days", asked)
		}
	})
}

func TestAFirstTransmissionWaitsForASleeperToWake(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		awake := 10
		if _, err := w.EditDevice(w.ctx(), "pump", device.Edit{AwakeSeconds: &awake}, "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		i := w.issue("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		if err := w.report("pump", 1, command.StatusSuccess); command.CodeOf(err) != command.CodeNotFound {
			t.Fatal(err)
		}
		w.check(i.Command.ID, command.Sent, command.NoCause)
		lapsing := w.issue("pump")
		time.Sleep(25 * time.Hour)
		w.check(lapsing.Command.ID, command.Expired, command.Unreachable) // its registration lapsed, too
	})
}

func TestAQueueTakesNoMoreThanItsLimitWhoeverComes(t *testing.T) {
	inWorld(t, func(w *world) {
		const askers = 4 * command.OpenMax
		errs := make(chan error, askers)
		for range askers {
			go func() {
				_, err := w.Issue(w.ctx(), intent("pump"))
				errs <- err
			}()
		}
		taken := 0
		for range askers {
			switch err := <-errs; {
			case err == nil:
				taken++
			case command.CodeOf(err) != command.CodeDeviceFull:
				t.Error(err)
			}
		}
		if v, err := w.store.Device(w.ctx(), "pump"); taken != command.OpenMax || v.Open != taken {
			t.Errorf("%d were accepted and %d are open, %v; want %d", taken, v.Open, err, command.OpenMax)
		}
	})
}

// A server that was down finds a command whose clock has run out before the
// loop that lapses clocks does. Nothing of it leaves, and no number is spent.
func TestWhatExpiredWhileTheServerWasDownIsNotReleased(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.issue("pump")
		w.stop()
		time.Sleep(25 * time.Hour)
		w.still = true
		w.start()
		w.register("pump")
		if p := w.observe("pump"); len(p.List) != 0 {
			t.Errorf("the observation begins with %d entries, want none", len(p.List))
		}
		w.check(i.Command.ID, command.Queued, command.NoCause)
		if d, _ := w.store.Device(w.ctx(), "pump"); d.LastSeq != 0 {
			t.Errorf("the number %d was spent", d.LastSeq)
		}
	})
}
