package coap_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/command"
)

func TestRepeatsOfANotificationAreNewMessagesOnTheRFCsTimes(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		at := []time.Time{}
		for i := range 5 { // that each has a new id and a larger number, hold has seen
			m := p.must()
			at = append(at, time.Now())
			left := command.DefaultClocks.DeliverWithin - time.Since(at[0])
			p.same(m, fmt.Sprintf("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act %ds]", left/time.Second))
			if i == 0 {
				continue
			}
			least := 2 * time.Second << (i - 1) // 2 to 3 s, doubling [RFC 7252 4.2]
			if gap := at[i].Sub(at[i-1]); gap < least || gap > least*3/2+100*time.Millisecond {
				t.Errorf("repeat %d after %v, want %v to %v", i, gap, least, least*3/2)
			}
		}
		p.quiet(time.Hour)
		w.same("a command that nobody acknowledged", w.states(id), []command.State{command.Sent})
		if got := w.execution(id).Attempts; got != 5 {
			t.Errorf("%d attempts, want 5", got)
		}
	})
}

func TestRepeatsCarryTheNewestList(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		first := p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]")
		w.cancel(id)
		p.quiet(time.Second) // it waits for the repeat: one message in the air
		second := p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 cancel]")
		p.ack(second)
		w.states(id)
		if x := w.execution(id); x.CancelAckedAt.IsZero() {
			t.Error("the ACK of a list with the cancel says that it is there")
		}
		p.ack(first) // too late to mean anything
		w.same("canceling", w.states(id), []command.State{command.Canceling})
	})
}

func TestTheAckOfAnOlderRepeatCountsForWhatThatOneCarried(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		first := p.must()
		w.cancel(id)
		p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 cancel]")
		p.ack(first)
		// It has the command; whether it has the cancel nobody knows, so it is told at once.
		again := p.must()
		p.same(again, "CON 2.05 obs observe ct=60 MaxAge=900 [#0 cancel]")
		w.states(id)
		if x := w.execution(id); x.DeliveredAt.IsZero() || !x.CancelAckedAt.IsZero() {
			t.Errorf("delivered %v, cancel acknowledged %v; want the first alone", x.DeliveredAt, x.CancelAckedAt)
		}
		p.ack(again)
		w.states(id)
		if w.execution(id).CancelAckedAt.IsZero() {
			t.Error("the cancel was acknowledged")
		}
	})
}

func TestAnRSTEndsTheObservationThatItAnswers(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		first := p.must()
		p.must()
		p.reset(first) // of the first transmission, after the second
		w.same("it", w.states(id), []command.State{command.Sent})
		if d := w.lookUp("pump-7"); d.Observing() {
			t.Errorf("it observes: %v", d.Observation)
		}
		p.report("pump-7", start, success) // and nothing that it says brings the observation back
		next := w.issue("pump-7", command.Intent{})
		p.want(post("rd/1"), "ACK 2.04")
		p.quiet(time.Hour)
		w.same("the next", w.states(next), []command.State{command.Queued})
	})
}

func TestAnRSTDoesNotEndANewerObservation(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		w.issue("pump-7", command.Intent{})
		older := p.must()
		p.want(get("c/pump-7").tok("new").observe(0), "ACK 0.00")
		p.reset(older)
		p.ack(p.comes("CON 2.05 new observe ct=60 MaxAge=900 [#0 act 86400s]"))
		time.Sleep(2 * time.Second)
		if d := w.lookUp("pump-7"); string(d.Observation.Token) != "new" || d.Observation.Suspended {
			t.Errorf("%+v", d.Observation)
		}
		p.report("pump-7", start, success)
		p.ack(p.comes("CON 2.05 new observe ct=60 MaxAge=900 []"))
		p.quiet(time.Hour)
	})
}

// TestSilenceSuspendsAndASignOfLifeRevives: whatever it is that comes from the
// endpoint that observes, one confirmable notification follows.
func TestSilenceSuspendsAndASignOfLifeRevives(t *testing.T) {
	for name, tt := range map[string]struct {
		sign   func() msg
		answer string
	}{
		"a refresh":                {func() msg { return post("rd/1") }, "ACK 2.04"},
		"a registration":           {func() msg { return post("rd?ep=pump-7") }, "ACK 2.01 at rd/1"},
		"a report":                 {func() msg { return reportOf("pump-7", start, running) }, "ACK 2.04"},
		"a report that is refused": {func() msg { return reportOf("pump-7", 1, running) }, `ACK 4.04 "no such sequence"`},
		"a report in a NON":        {func() msg { return reportOf("pump-7", start, running).as(non) }, "NON 2.04"},
		"a GET":                    {func() msg { return get("c/pump-7") }, "ACK 0.00"},
	} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("127.0.0.2:5000")
			p.watch("pump-7")
			id := w.issue("pump-7", command.Intent{})
			p.until(5 * time.Minute) // and no ACK
			if d := w.lookUp("pump-7"); !d.Observation.Suspended || string(d.Observation.Token) != "obs" {
				t.Errorf("%s: after silence: %+v", name, d.Observation)
			}
			next := w.issue("pump-7", command.Intent{})
			p.quiet(time.Hour)

			p.send(tt.sign())
			var answers, notifications []string
			for _, m := range p.live(20 * time.Second) {
				if m.token == "obs" {
					notifications = append(notifications, m.String()[:len("CON 2.05 obs observe ct=60 MaxAge=900")])
					continue
				}
				answers = append(answers, m.String())
			}
			w.same(name+": notifications", notifications, []string{"CON 2.05 obs observe ct=60 MaxAge=900"})
			if len(answers) == 0 || answers[0] != tt.answer {
				t.Errorf("%s: %q", name, answers)
			}
			if d := w.lookUp("pump-7"); d.Observation.Suspended {
				t.Errorf("%s: it is suspended still", name)
			}
			if x := w.execution(id); x.DeliveredAt.IsZero() {
				t.Errorf("%s: the first is %s", name, x.State)
			}
			w.same(name+": the next", w.states(next), []command.State{command.Queued})
		})
	}
}

// TestARequestFromElsewhereNeverMovesTheObservation: it is answered where it
// came from, and at most prompts a notification to the one that observes.
func TestARequestFromElsewhereNeverMovesTheObservation(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.2:5001")
		p.watch("pump-7")
		q.want(post("rd?ep=pump-7"), "ACK 2.01 at rd/1")
		q.want(get("c/pump-7"), "ACK 2.05 ct=60 MaxAge=0 []")
		q.want(get("c/pump-7").tok("obs").observe(1), "ACK 2.05 obs ct=60 MaxAge=0 []") // the token is another's there
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
		q.want(get("c/pump-7"), "ACK 0.00")
		q.ack(q.comes("CON 2.05 ct=60 MaxAge=0 [#0 act 86400s]"))
		q.report("pump-7", start, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
		q.quiet(time.Second)
		if d := w.lookUp("pump-7"); d.Observation.Remote != p.conn.LocalAddr() {
			t.Errorf("it moved: %+v", d.Observation)
		}

		// Suspended, it stays so, whatever is said elsewhere.
		w.issue("pump-7", command.Intent{})
		p.until(5 * time.Minute)
		q.want(post("rd/1"), "ACK 2.04")
		q.report("pump-7", start+1, running)
		p.quiet(5 * time.Minute)
		if d := w.lookUp("pump-7"); !d.Observation.Suspended {
			t.Error("a request from elsewhere revived it")
		}
	})
}

// TestAGetFromElsewhereShowsTheObserverWhatItReleased.
func TestAGetFromElsewhereShowsTheObserverWhatItReleased(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.2:5001")
		p.register("ep=pump-7&w=2")
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		first := p.must()
		w.issue("pump-7", command.Intent{}) // waits for the exchange
		q.want(get("c/pump-7"), "ACK 0.00")
		q.ack(q.comes("CON 2.05 ct=60 MaxAge=0 [#0 act 86400s, #1 act 86400s]"))
		p.ack(first)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s, #1 act 86400s]"))
	})
}

// TestAnAnswerThatGotLostIsMadeUpForByANotification: who observes and asks
// beside it is told once if all goes well, and is not forgotten if not.
func TestAnAnswerThatGotLostIsMadeUpForByANotification(t *testing.T) {
	for _, lost := range []bool{false, true} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("127.0.0.2:5000")
			p.register("ep=pump-7&w=2")
			p.observe("pump-7", "obs")
			w.issue("pump-7", command.Intent{})
			unanswered := p.must()
			held := w.issue("pump-7", command.Intent{}) // waits for the exchange
			p.want(get("c/pump-7").tok("poll"), "ACK 0.00")
			p.comes("CON 2.05 poll ct=60 MaxAge=0 [#0 act 86400s, #1 act 86400s]")
			p.ack(unanswered)
			if lost {
				for m := p.must(); m.token != "obs"; m = p.must() { // repeats of the answer
				}
				w.same("the second", w.states(held), []command.State{command.Sent})
				return
			}
			again := p.must()
			p.ack(again)
			w.same("the second", w.states(held), []command.State{command.Delivered})
			p.quiet(20 * time.Second)
		})
	}
}

func TestObserveOneCancelsWithEndpointAndToken(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		p.want(get("c/pump-7").tok("other").observe(1), "ACK 2.05 other ct=60 MaxAge=0 []")
		if d := w.lookUp("pump-7"); !d.Observing() {
			t.Error("another token ended it")
		}
		p.want(get("c/pump-7").tok("obs").observe(1), "ACK 2.05 obs ct=60 MaxAge=0 []")
		if d := w.lookUp("pump-7"); d.Observing() {
			t.Error("it observes still")
		}
		w.issue("pump-7", command.Intent{})
		p.quiet(time.Hour)

		// Canceled with something open: the answer is its last word.
		p.want(get("c/pump-7").tok("obs").observe(0), "ACK 0.00")
		p.ack(p.must())
		p.want(get("c/pump-7").tok("obs").observe(1), "ACK 0.00")
		p.ack(p.comes("CON 2.05 obs ct=60 MaxAge=0 [#3600 act 82800s]"))
		p.quiet(time.Hour)
	})
}

func TestANewObservationReplacesTheOldOne(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.2:5001")
		p.watch("pump-7")
		w.issue("pump-7", command.Intent{})
		p.must()
		q.want(get("c/pump-7").tok("mine").observe(0), "ACK 0.00")
		q.ack(q.comes("CON 2.05 mine observe ct=60 MaxAge=900 [#0 act 86400s]"))
		p.quiet(time.Hour) // no repeat of what was under way
		q.drain()
		q.report("pump-7", start, success)
		p.quiet(time.Minute)
	})
}

// TestAnEmptyTokenIsAsGoodAsAny: libcoap's client observes with one.
func TestAnEmptyTokenIsAsGoodAsAny(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		p.want(get("c/pump-7").tok("").observe(0), "ACK 2.05 observe ct=60 MaxAge=900 []")
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 observe ct=60 MaxAge=900 [#0 act 86400s]"))
		p.want(get("c/pump-7").tok("").observe(1), "ACK 0.00")
		p.ack(p.comes("CON 2.05 ct=60 MaxAge=0 [#0 act 86400s]"))
		p.quiet(time.Hour)
	})
}

func TestRegisteringAgainKeepsTheObservation(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		for _, query := range []string{"ep=pump-7", "ep=pump-7&lt=60", "ep=pump-7&w=2"} {
			p.register(query)
		}
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
		p.register("ep=pump-7") // and does not make it be told again
		p.quiet(20 * time.Second)
	})
}

func TestAnObservationGoesOnAfterARestart(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		w.restart()
		p.quiet(time.Minute) // there is nothing to tell
		id := w.issue("pump-7", command.Intent{})
		p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#60 act 86400s]")
		w.restart()
		again := p.must()
		p.ack(again)
		if again.token != "obs" || len(again.seqs(t)) != 1 || again.seqs(t)[0] != start+60 {
			t.Errorf("after a restart: %v", again)
		}
		w.same("after a restart", w.states(id), []command.State{command.Delivered})
		w.restart() // what is delivered and not reported on is shown again, under the same number
		p.ack(p.must())
		p.report("pump-7", start+60, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
		w.restart()
		p.quiet(time.Hour)
	})
}

// TestObserveNumbersOnlyGrow over anything that makes notifications: hold
// compares each with the one before.
func TestObserveNumbersOnlyGrow(t *testing.T) {
	told := 0
	for seed := range uint64(10) {
		inWorld(t, seed, perfect, func(w *world) {
			dice := chance(seed)
			p := w.peer("127.0.0.2:5000")
			p.register("ep=pump-7&w=8")
			p.observe("pump-7", "obs")
			var open []uint32
			for range 60 {
				wait := time.Duration(dice.IntN(int(4 * time.Second)))
				switch dice.IntN(6) {
				case 0, 1:
					w.issue("pump-7", command.Intent{RunFor: time.Hour})
				case 2:
					if len(open) > 0 {
						p.send(reportOf("pump-7", open[0], success))
					}
				case 3:
					p.send(get("c/pump-7").tok("obs").observe(0))
				case 4:
					if dice.IntN(4) == 0 {
						w.restart()
					}
				case 5:
					wait = time.Duration(dice.IntN(int(20 * time.Minute)))
				}
				for _, m := range p.until(wait) {
					if m.token != "obs" || m.code != codes.Content {
						continue
					}
					told++
					open = m.seqs(t)
					if m.typ == con && dice.IntN(3) > 0 {
						p.ack(m)
					}
				}
			}
		})
	}
	if told < 300 {
		t.Errorf("%d numbers in all: this proves little", told)
	}
	t.Logf("%d numbers", told)
}
