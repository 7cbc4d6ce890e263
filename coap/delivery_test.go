package coap_test

import (
	"context"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/command"
)

// states are how commands stand, a second and more after the last fact came:
// what the transport says rides along within one.
func (w *world) states(ids ...command.ID) (states []command.State) {
	w.t.Helper()
	time.Sleep(2 * time.Second)
	for _, id := range ids {
		states = append(states, w.execution(id).State)
	}
	return states
}

func TestAGetIsAnsweredSeparatelyAndItsAckIsDelivered(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		p.want(get("c/pump-7"), "ACK 2.05 ct=60 MaxAge=0 []")
		id := w.issue("pump-7", command.Intent{Params: []byte("\xa1\x63rpm\x19\x04\xb0")})
		w.same("before anybody asks", w.states(id), []command.State{command.Queued})

		p.want(get("c/pump-7").tok("poll"), "ACK 0.00")
		shown := p.comes(`CON 2.05 poll ct=60 MaxAge=0 [#2 act 86398s {"rpm": 1200}]`)
		w.same("without its ACK", w.states(id), []command.State{command.Sent})
		p.ack(shown)
		w.same("with its ACK", w.states(id), []command.State{command.Delivered})
		p.quiet(time.Hour)
	})
}

func TestTheAnswerToAGetIsRepeatedUntilItIsAcknowledged(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		id := w.issue("pump-7", command.Intent{})
		p.want(get("c/pump-7").tok("poll"), "ACK 0.00")
		asked := time.Now()
		for range 4 {
			p.must()
		}
		last := p.must()
		left := command.DefaultClocks.DeliverWithin - time.Since(asked)
		if got, want := last.listed(t)[0].StartBy, time.Now().Add(left.Truncate(time.Second)); !got.Equal(want) {
			t.Errorf("the last repeat says that %v are left, want %v", time.Until(got), time.Until(want))
		}
		p.ack(last)
		w.same("with the ACK of the last repeat", w.states(id), []command.State{command.Delivered})
		if got := w.execution(id).Attempts; got != 5 {
			t.Errorf("%d attempts, want 5", got)
		}
		p.quiet(time.Hour)
	})
}

// TestTheAnswerToAGetCarriesTheNewestList: what was canceled since must not be
// started because of a repeat.
func TestTheAnswerToAGetCarriesTheNewestList(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		id := w.issue("pump-7", command.Intent{})
		p.want(get("c/pump-7"), "ACK 0.00")
		first := p.comes("CON 2.05 ct=60 MaxAge=0 [#0 act 86400s]")
		w.cancel(id)
		second := p.comes("CON 2.05 ct=60 MaxAge=0 [#0 cancel]")
		p.ack(first)
		w.same("with the ACK of the first", w.states(id), []command.State{command.Canceling})
		x := w.execution(id)
		if x.DeliveredAt.IsZero() || !x.CancelAckedAt.IsZero() {
			t.Errorf("the ACK of an older attempt counts for what that one carried: delivered %v, cancel acknowledged %v", x.DeliveredAt, x.CancelAckedAt)
		}
		p.ack(second) // too late: the exchange is over
		w.same("with the ACK of the second", w.states(id), []command.State{command.Canceling})
	})
}

func (w *world) cancel(id command.ID) {
	w.t.Helper()
	if _, err := w.dispatch.Cancel(context.Background(), id, nil, "op"); err != nil {
		w.t.Fatal(err)
	}
}

func TestACommandReachesItsObserverAndItsReportEndsIt(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{RunFor: time.Minute, DeliverWithin: time.Hour})
		w.same("before the ACK", w.execution(id).State, command.Sent)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 3600s run_for=60s]"))
		w.same("after it", w.states(id), []command.State{command.Delivered})
		p.report("pump-7", start, running)
		w.same("after the first report", w.states(id), []command.State{command.Running})
		p.report("pump-7", start, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
		w.same("after the last", w.states(id), []command.State{command.Succeeded})
		p.quiet(time.Hour)
	})
}

func TestMaxAgeIsTheLifetimeUpToAQuarterOfAnHour(t *testing.T) {
	for query, want := range map[string]string{
		"lt=1": "1", "lt=60": "60", "lt=900": "900", "lt=901": "900", "lt=4294967295": "900", "w=1": "900",
	} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("127.0.0.2:5000")
			p.register("ep=pump-7&" + query)
			p.want(get("c/pump-7").tok("obs").observe(0), "ACK 2.05 obs observe ct=60 MaxAge="+want+" []")
			w.issue("pump-7", command.Intent{})
			p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=" + want + " [#0 act 86400s]"))
			p.want(get("c/pump-7").observe(1), "ACK 0.00")
			p.ack(p.comes("CON 2.05 ct=60 MaxAge=0 [#0 act 86400s]"))
		})
	}
}

func TestOneExchangeIsOutstandingPerDevice(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&w=8")
		p.observe("pump-7", "obs")
		first := w.issue("pump-7", command.Intent{})
		second := w.issue("pump-7", command.Intent{})
		third := w.issue("pump-7", command.Intent{})
		shown := p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]")
		p.quiet(time.Second)
		w.same("while it is unanswered", w.states(first, second, third), []command.State{command.Sent, command.Queued, command.Queued})
		for _, m := range p.drain() { // what is in the air by now
			if len(m.seqs(t)) != 1 {
				t.Errorf("more than the one that was committed as sent: %v", m)
			}
		}
		p.ack(shown)
		both := p.must()
		if got := both.seqs(t); len(got) != 3 || both.typ != con {
			t.Errorf("after the ACK: %v", both)
		}
		p.quiet(time.Second)
		p.ack(both)
		w.same("all", w.states(first, second, third), []command.State{command.Delivered, command.Delivered, command.Delivered})
		p.quiet(20 * time.Second)
	})
}

// TestNothingIsReleasedThatCannotLeave: while the observer has not taken the
// answer to its own GET, a notification would have to wait.
func TestNothingIsReleasedThatCannotLeave(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&w=8")
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		p.ack(p.must())
		p.want(get("c/pump-7"), "ACK 0.00")
		answer := p.must()
		second := w.issue("pump-7", command.Intent{})
		w.same("while the answer is in the air", w.execution(second).State, command.Queued)
		p.ack(answer)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s, #1 act 86400s]"))
		time.Sleep(time.Second) // two facts in a row: the second rides along after the first
		w.same("after it", w.states(second), []command.State{command.Delivered})
	})
}

// drain is all that has come by now.
func (p *peer) drain() (all []msg) {
	for m, ok := p.next(0); ok; m, ok = p.next(0) {
		all = append(all, m)
	}
	return all
}

// TestTheNextCommandWaitsForTheEndOfTheHead and is told together with that end.
func TestTheNextCommandWaitsForTheEndOfTheHead(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
		next := w.issue("pump-7", command.Intent{})
		p.quiet(20 * time.Second)
		p.report("pump-7", start, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#20 act 86380s]"))
		w.same("the next", w.states(next), []command.State{command.Delivered})
	})
}

func TestAReportOnAListedNumberEndsTheExchange(t *testing.T) {
	for _, outcome := range []command.Report{running, success} {
		inWorld(t, 1, perfect, func(w *world) {
			p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.3:5000")
			p.watch("pump-7")
			id := w.issue("pump-7", command.Intent{})
			p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]")
			q.report("pump-7", start, outcome) // its ACK was lost, and it reports from elsewhere
			if outcome.Status == command.StatusSuccess {
				p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
			}
			p.quiet(2 * time.Minute)
			if w.execution(id).DeliveredAt.IsZero() {
				t.Error("a report says that the command was there")
			}
		})
	}
}

// TestAReportEndsTheAnswerToAGet: what is done is not asked for again.
func TestAReportEndsTheAnswerToAGet(t *testing.T) {
	for _, observe := range []uint32{0, 1} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("127.0.0.2:5000")
			p.register("ep=pump-7")
			w.issue("pump-7", command.Intent{})
			p.want(get("c/pump-7").observe(observe), "ACK 0.00")
			p.must()
			p.send(reportOf("pump-7", start, success))
			for _, m := range p.until(4 * time.Minute) {
				if m.typ == con && len(m.seqs(t)) > 0 {
					t.Errorf("observe %d: a repeat after the report: %v", observe, m)
				}
				if m.typ == con {
					p.ack(m)
				}
			}
		})
	}
}

// until is all that comes within a time.
func (p *peer) until(d time.Duration) (all []msg) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if m, ok := p.next(time.Until(end)); ok {
			all = append(all, m)
		}
	}
	return all
}

func TestWhatIsDeliveredAndNotReportedOnIsShownAgainWithBackOff(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		w.issue("pump-7", command.Intent{DeliverWithin: 2 * time.Hour, RunFor: 10 * time.Hour})
		began := time.Now()
		var at []time.Duration
		for _, m := range p.ackAll(12 * time.Hour) {
			at = append(at, m.at.Sub(began).Round(time.Second))
		}
		want := []time.Duration{0, 30, 90, 210, 450, 930, 1830, 2730, 3630, 4530, 5430, 6330, 0}
		for i := range want {
			want[i] *= time.Second
		}
		want[len(want)-1] = 10*time.Hour + time.Second // run_for ends, and with it the list
		w.same("shown", at, want)
	})
}

// live acknowledges what comes within a time, as it comes.
func (p *peer) live(d time.Duration) (all []msg) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		m, ok := p.next(time.Until(end))
		if !ok {
			continue
		}
		if m.typ == con {
			p.ack(m)
		}
		all = append(all, m)
	}
	return all
}

// shown is a message and when it came.
type shown struct {
	msg
	at time.Time
}

// ackAll acknowledges all confirmables that come within a time.
func (p *peer) ackAll(d time.Duration) (all []shown) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		m, ok := p.next(time.Until(end))
		if ok && m.typ == con {
			p.ack(m)
			all = append(all, shown{m, time.Now()})
		}
	}
	return all
}

func TestWhatRunsIsNotShownAgain(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&w=2")
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{RunFor: 10 * time.Hour})
		p.ack(p.must())
		p.report("pump-7", start, running)
		p.quiet(2 * time.Hour)

		// Another one beside it is, until it runs too.
		w.issue("pump-7", command.Intent{RunFor: 10 * time.Hour})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 79200s run_for=36000s, #7200 act 86400s run_for=36000s]"))
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 79170s run_for=36000s, #7200 act 86370s run_for=36000s]"))
		p.report("pump-7", start+7200, running)
		p.quiet(2 * time.Hour)
	})
}

func TestACancelIsShownUntilItIsObeyed(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{RunFor: time.Hour})
		p.ack(p.must())
		p.report("pump-7", start, running)
		w.cancel(id)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 cancel]"))
		p.report("pump-7", start, running) // this one was on its way already
		time.Sleep(29 * time.Second)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 cancel]"))
		p.report("pump-7", start, command.Report{Status: command.StatusCanceled})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
		w.same("it", w.states(id), []command.State{command.Canceled})
		p.quiet(time.Hour)
	})
}

// TestAnUrgentCommandStandsBesideTheHead, also when that is not even delivered.
func TestAnUrgentCommandStandsBesideTheHead(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		w.issue("pump-7", command.Intent{})
		p.ack(p.must())
		w.issue("pump-7", command.Intent{}) // waits
		time.Sleep(10 * time.Second)
		w.declare("stop", command.Policy{Urgent: true})
		w.issue("pump-7", command.Intent{Type: "stop"})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86390s, #10 stop 86400s]"))
		p.report("pump-7", start+10, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86390s]"))
	})
}

// declare declares a command type.
func (w *world) declare(name string, p command.Policy) {
	w.t.Helper()
	t := command.Type{Name: name, Policy: p}
	if _, _, err := w.dispatch.PutType(context.Background(), t, 0, "op"); err != nil {
		w.t.Fatal(err)
	}
}

// TestOnceIsOneExchange: however it ends without ACK and report, nothing of it
// is sent again, and what became of it is unknown.
func TestOnceIsOneExchange(t *testing.T) {
	for name, end := range map[string]func(*world, *peer){
		"silence":      func(_ *world, p *peer) { p.until(2 * time.Minute) },
		"an RST":       func(_ *world, p *peer) { p.reset(p.must()) },
		"leaving":      func(_ *world, p *peer) { p.want(ask(codes.DELETE, "rd/1"), "ACK 2.02") },
		"Observe 1":    func(_ *world, p *peer) { p.send(get("c/pump-7").tok("obs").observe(1)) },
		"it goes away": func(w *world, _ *peer) { w.restart() },
	} {
		inWorld(t, 1, perfect, func(w *world) {
			w.declare("once", command.Policy{Redelivery: command.Once})
			p := w.peer("127.0.0.2:5000")
			p.watch("pump-7")
			id := w.issue("pump-7", command.Intent{Type: "once"})
			p.must()
			end(w, p)
			p.until(5 * time.Minute)
			if x := w.execution(id); x.State != command.TimedOut || x.Cause != command.Unacknowledged {
				t.Errorf("%s: %s %s", name, x.State, x.Cause)
			}
		})
	}
	inWorld(t, 1, perfect, func(w *world) { // with its ACK it is like any other
		w.declare("once", command.Policy{Redelivery: command.Once})
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{Type: "once"})
		p.ack(p.must())
		w.same("acknowledged", w.states(id), []command.State{command.Delivered})
		p.report("pump-7", start, success)
		w.same("reported on", w.states(id), []command.State{command.Succeeded})
	})
}

// TestOnceIsOneExchangeWhateverElseIsTold: what else there is to say goes in
// another, without it, also before the store knows that the first is over.
func TestOnceIsOneExchangeWhateverElseIsTold(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		w.declare("once", command.Policy{Redelivery: command.Once})
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&w=2")
		other := w.issue("pump-7", command.Intent{})
		id := w.issue("pump-7", command.Intent{Type: "once"})
		p.send(get("c/pump-7").tok("obs").observe(0))
		first := p.must()
		for first.typ != con {
			first = p.must()
		}
		w.same("both", first.seqs(t), []uint32{start, start + 1})
		w.cancel(other)
		repeat := p.must()
		w.same("its repeat", repeat.seqs(t), []uint32{start, start + 1})
		p.ack(first)
		second := p.must()
		w.same("another exchange", second.seqs(t), []uint32{start})
		p.ack(second)
		w.same("acknowledged", w.states(id), []command.State{command.Delivered})
		p.report("pump-7", start+1, success)
		w.same("reported on", w.states(id), []command.State{command.Succeeded})
	})
}

// TestWhatAnAnswerCarriesOnce is in no repeat of the notification that is under
// way meanwhile.
func TestWhatAnAnswerCarriesOnce(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		w.declare("once", command.Policy{Redelivery: command.Once})
		p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.3:5000")
		p.register("ep=pump-7&w=2")
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		w.same("the first", p.must().seqs(t), []uint32{start})
		id := w.issue("pump-7", command.Intent{Type: "once"})
		q.send(get("c/pump-7"))
		answer := q.must()
		for answer.typ != con {
			answer = q.must()
		}
		w.same("the answer", answer.seqs(t), []uint32{start, start + 1})
		repeat := p.must()
		w.same("the repeat of the notification", repeat.seqs(t), []uint32{start})
		q.ack(answer)
		p.ack(repeat)
		p.quiet(10 * time.Second)
		w.same("acknowledged", w.states(id), []command.State{command.Delivered})
	})
}

// TestOnePeerMayBeManyDevices: a gateway speaks for several from one socket.
// NSTART is one exchange at a time with it; none of its devices is forgotten.
func TestOnePeerMayBeManyDevices(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		names := []string{"pump-1", "pump-2", "pump-3", "pump-4", "pump-5"}
		for _, name := range names {
			p.register("ep=" + name)
			p.observe(name, name)
		}
		for _, name := range names {
			w.issue(name, command.Intent{})
		}
		told := map[string]bool{}
		for range names {
			m, ok := p.next(20 * time.Second)
			if !ok {
				break
			}
			if early, more := p.next(time.Second); more {
				t.Errorf("%v beside %v, which is unanswered", early, m)
			}
			p.ack(m)
			told[m.token] = m.code == codes.Content && len(m.seqs(t)) == 1
		}
		for _, name := range names {
			if !told[name] {
				t.Errorf("%s was never told", name)
			}
		}
	})
}
