package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// fleet names n devices.
func fleet(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("pump-%04d", i)
	}
	return names
}

func TestACommandOverManyIsWrittenOutWhole(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 300
		for _, name := range fleet(n)[:100] {
			w.ready(name)
		}
		i := w.issue(fleet(n)...)
		if i.Tally.Pending != n || i.Tally.Ended() || i.Only != nil {
			t.Errorf("it begins with %+v, want all pending", i.Tally)
		}
		time.Sleep(time.Second)
		v, err := w.store.Command(w.ctx(), i.Command.ID)
		if err != nil {
			t.Fatal(err)
		}
		var want command.Tally
		want.Count[command.Sent], want.Count[command.Queued] = 100, 200
		if diff := cmp.Diff(v.Tally, want); diff != "" {
			t.Errorf("it came to (-got +want):\n%s", diff)
		}
	})
}

func TestWhatIsPendingSurvivesARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 500
		i := w.issue(fleet(n)...)
		w.restart()
		time.Sleep(time.Second)
		v, err := w.store.Command(w.ctx(), i.Command.ID)
		if err != nil || v.Tally.Count[command.Queued] != n {
			t.Errorf("after the restart %d are queued, %v; want %d", v.Tally.Count[command.Queued], err, n)
		}
	})
}

func TestAFleetEndsOnceAndSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 130
		i := w.issue(fleet(n)...)
		ended := make(chan command.View, 1)
		go func() {
			v, _ := w.Wait(w.ctx(), i.Command.ID)
			ended <- v
		}()
		time.Sleep(24*time.Hour + time.Minute)
		v := <-ended
		if v.State() != "ended" || v.Tally.Outcome() != command.NoneDone || v.Tally.Count[command.Expired] != n {
			t.Errorf("it is %s %s %v", v.State(), v.Tally.Outcome(), v.Tally.Count)
		}
	})
}

func TestACanceledFleetLeavesNothingPending(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 400
		w.ready(fleet(n)[0])
		i := w.issue(fleet(n)...)
		v, err := w.Cancel(w.ctx(), i.Command.ID, nil, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Tally.Count[command.Canceled] + v.Tally.Count[command.Canceling]; got != n || v.Tally.Pending != 0 {
			t.Errorf("%d are canceled or being canceled, %d pending; want %d and 0", got, v.Tally.Pending, n)
		}
	})
}

func TestAFleetNamesWhoHadNoRoom(t *testing.T) {
	inWorld(t, func(w *world) {
		names := fleet(100)
		for range command.OpenMax {
			w.issue(names[7])
		}
		i := w.issue(names...)
		time.Sleep(time.Second)
		v, err := w.store.Command(w.ctx(), i.Command.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := []command.Refusal{{Device: names[7], Code: command.CodeDeviceFull}}
		if diff := cmp.Diff(v.Refused, want); diff != "" || v.Tally.Total() != 99 {
			t.Errorf("%d executions; refused (-got +want):\n%s", v.Tally.Total(), diff)
		}
	})
}

// Who had no room is in the command for good, also of one that is written in one
// go, and counts among those that it was for.
func TestASmallFleetKeepsWhoHadNoRoom(t *testing.T) {
	inWorld(t, func(w *world) {
		names := fleet(3)
		w.crowd(names[0])
		for _, of := range [][]string{names[:2], names} {
			w.ready(of[1])
			i := w.issue(of...)
			want := []command.Refusal{{Device: names[0], Code: command.CodeDeviceFull}}
			for when, v := range map[string]command.View{"at once": i.View, "later": w.view(i.Command.ID)} {
				if v.Command.Devices != len(of) || v.Only != nil || v.State() != "open" || v.Tally.Total() != len(of)-1 || digestOf(v) != digestOf(i.View) {
					t.Errorf("%s it is for %d devices, %s, with %d executions", when, v.Command.Devices, v.State(), v.Tally.Total())
				}
			}
			if diff := cmp.Diff(i.Refused, want); diff != "" {
				t.Errorf("refused at once (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(w.view(i.Command.ID).Refused, want); diff != "" {
				t.Errorf("refused, later (-got +want):\n%s", diff)
			}
			if _, err := w.Cancel(w.ctx(), i.Command.ID, of[:1], "ann"); command.CodeOf(err) != command.CodeConflict {
				t.Errorf("canceling it where it is not: %v", err)
			}
			time.Sleep(25 * time.Hour)
			if v := w.view(i.Command.ID); v.State() != "ended" || len(w.endings(i.Command.ID)) == 0 {
				t.Errorf("in the end it is %s", v.State())
			}
			w.crowd(names[0])
		}
	})
}

// crowd fills the queues of devices.
func (w *world) crowd(names ...string) {
	w.t.Helper()
	for range command.OpenMax {
		for some := range slices.Chunk(names, 50) {
			w.issue(some...)
		}
	}
}

// A command over many that none of them has room for is over, and says so: it
// has no execution whose end would.
func TestAFleetWithoutRoomAnywhereHasEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		devices int
		in      command.Intent
	}{
		"larger than one commit": {65, command.Intent{}},
		"that could halt":        {3, command.Intent{Rollout: &command.Rollout{Halt: &command.Threshold{Percent: 50, Minimum: 1}}}},
		"in waves":               {3, command.Intent{Rollout: &command.Rollout{Waves: []command.Wave{{Count: 1}, {Count: 1}}}}},
		"at a rate":              {3, command.Intent{Rollout: &command.Rollout{RatePerMinute: 6000}}},
		"undone by itself":       {3, command.Intent{Type: "valve.set"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.declare(command.Type{Name: "valve.set", Rollback: &command.RollbackRule{Kind: command.Restore, Automatic: &command.Threshold{Percent: 50, Minimum: 1}}})
				names := fleet(tt.devices)
				w.crowd(names...)
				in := intent(names...)
				in.Rollout = tt.in.Rollout
				if tt.in.Type != "" {
					in.Type = tt.in.Type
				}
				i, err := w.Issue(w.ctx(), in)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(w.ctx(), time.Minute)
				defer cancel()
				v, err := w.Wait(ctx, i.Command.ID)
				if err != nil || ctx.Err() != nil {
					t.Errorf("it was waited for in vain: %v, %v", err, ctx.Err())
				}
				if v.State() != "ended" || v.Tally.Outcome() != command.NoneDone || !v.Tally.Settled() || len(v.Refused) != len(names) {
					t.Errorf("it is %s %q, settled %v, with %d refused", v.State(), v.Tally.Outcome(), v.Tally.Settled(), len(v.Refused))
				}
				if got := w.endings(i.Command.ID); !slices.Equal(got, []command.EventType{command.EventEnded}) {
					t.Errorf("its end is told by %v", got)
				}
				if _, err := w.Cancel(w.ctx(), i.Command.ID, nil, "ann"); command.CodeOf(err) != command.CodeConflict {
					t.Errorf("canceling it then: %v, want a conflict", err)
				}
			})
		})
	}
}

// Devices without room are not waited for: the next wave goes.
func TestAWaveWithoutRoomIsFollowed(t *testing.T) {
	inWorld(t, func(w *world) {
		names := fleet(3)
		w.crowd(names[:1]...)
		in := intent(names...)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}, {Count: 1}}}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := w.through(i); got != 2 {
			t.Errorf("%d devices are through, want the one that is full and the next", got)
		}
	})
}

func TestABatchIsOneCommitAndEachIsAnsweredByItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		ins := []command.Intent{intent("pump"), {}, intent("valve")}
		before := w.store.Stats().Commits
		issued, errs, err := w.IssueBatch(w.ctx(), ins)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.store.Stats().Commits - before; got != 1 {
			t.Errorf("it took %d commits, want 1", got)
		}
		if errs[0] != nil || errs[2] != nil || command.CodeOf(errs[1]) != command.CodeInvalid {
			t.Errorf("answered %v, want the middle one refused", errs)
		}
		if issued[0].Only.State != command.Sent || issued[2].Only.State != command.Queued {
			t.Errorf("they are %s and %s, want sent and queued", issued[0].Only.State, issued[2].Only.State)
		}
		if _, _, err := w.IssueBatch(w.ctx(), make([]command.Intent, command.BatchMax+1)); command.CodeOf(err) != command.CodeInvalid {
			t.Errorf("one too many is answered %v", err)
		}
	})
}

func TestTheSameKeyGetsTheSameAnswerOverARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		claim := command.Claim{Key: [32]byte{1}, Request: [32]byte{2}}
		render := func(issued []command.Issued, _ []error) []byte { return []byte(issued[0].Command.ID.String()) }
		ask := func(c command.Claim) (string, bool, error) {
			body, again, err := w.IssueOnce(w.ctx(), c, []command.Intent{intent("pump")}, render)
			return string(body), again, err
		}
		first, again, err := ask(claim)
		if err != nil || again {
			t.Fatalf("first: again %t, %v", again, err)
		}
		w.restart()
		second, again, err := ask(claim)
		if err != nil || !again || second != first {
			t.Errorf("second: %q, again %t, %v; want %q again", second, again, err, first)
		}
		claim.Request = [32]byte{3}
		if _, _, err := ask(claim); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("another request under the key is answered %v, want a conflict", err)
		}
		if v, err := w.store.Device(w.ctx(), "pump"); err != nil || v.Open != 1 {
			t.Errorf("%d commands are open, %v; want 1", v.Open, err)
		}
	})
}

func TestTwinsUnderOneKeyDoItOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		render := func(issued []command.Issued, _ []error) []byte { return []byte(issued[0].Command.ID.String()) }
		answers := make(chan string, 20)
		for range cap(answers) {
			go func() {
				body, _, err := w.IssueOnce(w.ctx(), command.Claim{Key: [32]byte{9}}, []command.Intent{intent("pump")}, render)
				if err != nil {
					t.Error(err)
				}
				answers <- string(body)
			}()
		}
		first := <-answers
		for range cap(answers) - 1 {
			if got := <-answers; got != first {
				t.Errorf("one was answered %s, another %s", first, got)
			}
		}
		if v, _ := w.store.Device(w.ctx(), "pump"); v.Open != 1 {
			t.Errorf("%d commands are open, want 1", v.Open)
		}
	})
}
