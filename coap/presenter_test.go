package coap_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"behest/command"
)

func TestAnOlderListNeverReplacesAYoungerOne(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		d, shown, err := w.dispatch.List(context.Background(), "pump-7", p.speaker())
		if err != nil {
			t.Fatal(err)
		}
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
		p.report("pump-7", start, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
		w.server.Present(d, shown) // it was committed before the report, and comes after it
		p.quiet(20 * time.Second)
		w.same("it", w.states(id), []command.State{command.Succeeded})
		p.want(get("c/pump-7"), "ACK 2.05 ct=60 MaxAge=0 []")

		// The same while an exchange is under way: its repeats do not go back.
		w.issue("pump-7", command.Intent{})
		first := p.must()
		w.server.Present(d, shown)
		again := p.must()
		w.same("the repeat", again.seqs(t), first.seqs(t))
		p.ack(again)
	})
}

func TestAnIdleDeviceCostsNothing(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		const devices = 100
		var peers []*peer
		for i := range devices {
			p := w.peer(fmt.Sprintf("127.0.1.%d:5000", i))
			p.watch(fmt.Sprintf("pump-%d", i))
			peers = append(peers, p)
		}
		w.settled("observing")
		for i, p := range peers { // each has something to do, and does it
			w.issue(fmt.Sprintf("pump-%d", i), command.Intent{})
			seq := p.must().seqs(t)[0]
			p.report(fmt.Sprintf("pump-%d", i), seq, success)
			p.ack(p.must())
		}
		w.settled("done")
		for i, p := range peers { // each polls, and half of them never take the answer
			w.issue(fmt.Sprintf("pump-%d", i), command.Intent{})
			p.until(5 * time.Second)
			p.send(get(fmt.Sprintf("c/pump-%d", i)))
			for _, m := range p.until(time.Minute) {
				if m.typ == con && i%2 == 0 {
					p.ack(m)
				}
			}
		}
		time.Sleep(48 * time.Hour) // all clocks have run out, and the others are suspended or lapsed
		w.settled("silent")
	})
}

// settled fails the test if, a minute from now, the presenter still remembers
// anybody, or if there are commits in an hour that nothing happens in, but for
// the one that says how late it is.
func (w *world) settled(when string) {
	w.t.Helper()
	time.Sleep(time.Minute)
	if n := w.server.Boards(); n > 0 {
		w.t.Errorf("%s: the presenter remembers %d devices", when, n)
	}
	before := w.store.Stats()
	time.Sleep(time.Hour)
	if after := w.store.Stats(); after.Members > before.Members+1 {
		w.t.Errorf("%s: %d units of work in an hour of nothing", when, after.Members-before.Members)
	}
}

// TestADeviceWithAFullWindowCostsNoWork while nothing happens: it is not given
// its turn over and over.
func TestADeviceWithAFullWindowCostsNoWork(t *testing.T) {
	for name, play := range map[string]func(*world, *peer){
		"running": func(w *world, p *peer) {
			p.ack(p.must())
			p.report("pump-7", start, running)
		},
		"delivered":  func(w *world, p *peer) { p.ack(p.must()) },
		"suspended":  func(w *world, p *peer) { p.until(10 * time.Minute) },
		"never told": func(w *world, p *peer) { p.reset(p.must()) },
	} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("127.0.0.2:5000")
			p.watch("pump-7")
			for range 10 {
				w.issue("pump-7", command.Intent{RunFor: 10 * time.Hour})
			}
			play(w, p)
			time.Sleep(time.Minute)
			before := w.store.Stats()
			p.ackAll(time.Hour) // it may be shown again, which is not told to the store for nothing
			work := w.store.Stats().Members - before.Members
			if work > 20 { // each time that it is shown again, and how late it is then
				t.Errorf("%s: %d units of work in an hour of nothing", name, work)
			}
			t.Logf("%s: %d units of work", name, work)
		})
	}
}

// TestNumbersThatRanAheadAreWaitedFor, once a second and not faster.
func TestNumbersThatRanAheadAreWaitedFor(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&last=946688400") // an hour ahead
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		before := w.store.Stats().Members
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#3601 act 86398s]"))
		if work := w.store.Stats().Members - before; work > 4 {
			t.Errorf("%d units of work in two seconds", work)
		}
	})
}

// TestAnAnswerThatWasRefusedDoesNotSilenceTheDevice: more separate responses
// than the message layer keeps for one peer.
func TestAnAnswerThatWasRefusedDoesNotSilenceTheDevice(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		id := w.issue("pump-7", command.Intent{})
		refused := 0
		for range 8 {
			p.send(get("c/pump-7").tok("obs").observe(0))
			for _, m := range p.until(100 * time.Millisecond) {
				if m.code == 5<<5|3 {
					refused++
				}
			}
		}
		if refused == 0 {
			t.Error("none was refused: this proves nothing")
		}
		p.live(10 * time.Minute)
		if x := w.execution(id); x.DeliveredAt.IsZero() {
			t.Errorf("it is never told: the command is %s", x.State)
		}
	})
}
