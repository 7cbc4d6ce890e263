package coap_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"behest/command"
)

// On all but loopback, an address must prove that it receives: package
// endpoint bounds what goes there by what came, and remembers an address for
// EXCHANGE_LIFETIME only.

func TestAnObserverThatWasQuietForLongIsStillTold(t *testing.T) {
	for name, quiet := range map[string]func(*world){
		"quiet for hours":             func(*world) { time.Sleep(5 * time.Hour) },
		"quiet over a restart":        func(w *world) { w.restart() },
		"quiet for hours and restart": func(w *world) { time.Sleep(5 * time.Hour); w.restart() },
	} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("10.2.0.1:5000")
			p.prove()
			p.watch("pump-7")
			quiet(w)
			id := w.issue("pump-7", command.Intent{Params: append([]byte("\x59\x02\x00"), strings.Repeat("x", 512)...)})
			m, ok := p.next(time.Minute)
			if !ok {
				t.Errorf("%s: nothing came", name)
				return
			}
			p.ack(m)
			w.same(name, w.states(id), []command.State{command.Delivered})
		})
	}
}

// TestASpoofedRequestBringsLittle: whoever speaks in the name of an observer
// that does not answer makes the server send at most three times as much there.
func TestASpoofedRequestBringsLittle(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("10.2.0.1:5000")
		p.prove()
		p.watch("pump-7")
		w.issue("pump-7", command.Intent{Params: append([]byte("\x59\x02\x00"), strings.Repeat("x", 512)...)})
		p.until(10 * time.Minute) // nobody answers: it is suspended
		sent := 0
		w.net.Watch(func(from, to netip.AddrPort, data []byte) bool {
			switch {
			case from == serverAddr && to == p.conn.LocalAddr():
				sent += len(data)
			case from == p.conn.LocalAddr():
				sent -= 3 * len(data)
			}
			return true
		})
		for range 20 {
			p.send(get("c/pump-7"))
			p.until(10 * time.Minute)
			if sent > 0 {
				t.Fatalf("%d bytes more than three times what came", sent)
			}
		}
	})
}
