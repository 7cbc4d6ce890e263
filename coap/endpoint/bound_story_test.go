package endpoint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

// ledger counts the bytes each way between the endpoint and one device.
type ledger struct{ in, out int }

func (s *story) ledger(d *device) *ledger {
	l := &ledger{}
	s.net.Watch(func(from, to netip.AddrPort, data []byte) bool {
		switch {
		case to == d.conn.LocalAddr():
			if l.out += len(data); l.out > 3*l.in {
				s.t.Errorf("%d bytes out for %d in", l.out, l.in)
			}
		case from == d.conn.LocalAddr():
			l.in += len(data)
		}
		return true
	})
	return l
}

func TestUnprovenAddressGetsAtMostThreeTimesItsBytes(t *testing.T) {
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: []byte(text(len(r.Payload) * 40))}
	}}
	for _, loopback := range []bool{false, true} {
		t.Run(fmt.Sprint("loopback ", loopback), func(t *testing.T) {
			tell(t, simnet.Conditions{}, h, endpoint.Options{BoundLoopback: true}, func(s *story) {
				d := s.device()
				if !loopback {
					d = s.deviceAt("192.0.2.7")
					d.to = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.254"), 5683)
				}
				s.ledger(d)
				r := rand.New(rand.NewPCG(1, 1))
				for i := range 300 {
					m := msg{typ: message.Type(r.IntN(2)), code: codes.Code(r.IntN(8)), mid: r.IntN(50), options: path("c")}
					switch m.code {
					case 0:
						m = msg{typ: m.typ, mid: m.mid}
					case codes.POST:
						m.options, m.payload = with(m.options, message.Block1, blockValue(r.IntN(2), r.IntN(2) == 0, 16)), text(16)
					case codes.GET:
						m.options = with(m.options, message.Block2, blockValue(r.IntN(3), false, 1024))
					case codes.PUT:
						m.payload = text(r.IntN(30))
					case codes.DELETE:
						m.options = with(m.options, message.OptionID(1001), 1)
					}
					d.send(m)
					for {
						if _, ok := d.next(time.Millisecond); !ok {
							break
						}
					}
					if i%60 == 0 {
						s.e.Confirm(d.peer(), endpoint.Token{}, &bodies{500, make(chan [2]int, 2)}, endpoint.ConfirmOptions{})
						d.next(20 * time.Second)
					}
				}
				if s.e.Stats().Throttled == 0 {
					t.Error("nothing was held back")
				}
			})
		})
	}
}

func TestLoopbackIsExempt(t *testing.T) {
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Code: codes.Content, Payload: make([]byte, 1000)}), endpoint.Options{}, func(s *story) {
		d := s.device()
		d.want(d.ask(msg{code: codes.GET}), "Acknowledgement 2.05 [1000 bytes]")
	})
}

func TestResponseThatWouldBeTooManyBytesGoesInSmallerBlocks(t *testing.T) {
	body := text(100)
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Code: codes.Content, Payload: []byte(body)}), endpoint.Options{}, func(s *story) {
		d := s.deviceAt("192.0.2.7")
		s.ledger(d)
		got, last := d.fetch("c/a-name-of-some-length", 1, 0, false)
		if got != body {
			t.Errorf("%q, %v", got, last)
		}
	})
}

func TestResponseOfWhichNoBlockFitsIsUnavailable(t *testing.T) {
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Code: codes.Content, Payload: []byte(text(100))}), endpoint.Options{}, func(s *story) {
		d := s.deviceAt("192.0.2.7")
		s.ledger(d)
		d.want(d.ask(msg{code: codes.GET}), "Acknowledgement 5.03 MaxAge=5") // 4 bytes in: 12 out
	})
}

func TestAcknowledgementProvesAnAddress(t *testing.T) {
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: []byte(text(1000))}
	}}
	for _, row := range []struct {
		name   string
		o      endpoint.ConfirmOptions
		guess  int // ACKs with wrong ids first
		answer message.Type
		proven bool
	}{
		{"ACK", endpoint.ConfirmOptions{}, 0, ack, true},
		{"RST proves nothing", endpoint.ConfirmOptions{}, 0, rst, false},
		{"ACK after a few strays", endpoint.ConfirmOptions{}, 10, ack, true},
		{"ACK after many guesses", endpoint.ConfirmOptions{}, 64, ack, false},
		{"proven by the caller", endpoint.ConfirmOptions{Proven: true}, 64, rst, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
				d := s.deviceAt("192.0.2.7")
				d.ask(msg{code: codes.GET, mid: 1, options: path(strings.Repeat("long", 20))}) // pays for the notification
				n := &notice{"x", make(chan [2]int, 1)}
				s.confirm(d.peer(), n, row.o)
				mid := d.must().mid
				for i := range row.guess {
					d.send(msg{typ: ack, mid: (mid + 1000 + i) & 0xffff})
				}
				d.send(msg{typ: row.answer, mid: mid})
				<-n.done
				m := d.ask(msg{code: codes.GET, mid: 2, options: path("c")})
				if proven := len(m.payload) == 1000; proven != row.proven {
					t.Errorf("proven %t, want %t: %v", proven, row.proven, m)
				}
			})
		})
	}
}

func TestNotificationToAnUnprovenAddressIsBoundWithItsRetries(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		d := s.deviceAt("192.0.2.7")
		l := s.ledger(d)
		n := &notice{text(40), make(chan [2]int, 1)}
		s.confirm(d.peer(), n, endpoint.ConfirmOptions{}) // nothing came from there yet
		got := <-n.done
		synctest.Wait() // the ledger is the sender's
		if got != [2]int{int(endpoint.Silent), 4} || l.out != 0 {
			t.Error(got, l.out, "bytes out")
		}
		d.ask(msg{code: codes.GET, mid: 1, options: path(strings.Repeat("long", 15))})
		n = &notice{text(40), make(chan [2]int, 1)}
		s.confirm(d.peer(), n, endpoint.ConfirmOptions{})
		got = <-n.done
		synctest.Wait()
		if got != [2]int{int(endpoint.Silent), 4} || l.out < 40 {
			t.Error(got, l.out, "bytes out")
		}
	})
}

func TestRepliesLeaveFromTheAddressThatWasAsked(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		d := s.device()
		d.to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), 5683)
		for i, m := range []msg{{typ: con, code: codes.GET, mid: 1}, {typ: non, code: codes.GET, mid: 2}, {typ: con, mid: 3}, {typ: con, code: codes.GET, mid: 1}} {
			d.send(m)
			if in, ok := d.conn.Receive(time.Second); !ok || in.Peer.Remote != d.to {
				t.Errorf("%d: answered from %v", i, in.Peer.Remote)
			}
		}
		n := &notice{"x", make(chan [2]int, 1)}
		s.confirm(d.peer(), n, endpoint.ConfirmOptions{})
		if in, ok := d.conn.Receive(time.Second); !ok || in.Peer.Remote != d.to {
			t.Errorf("notified from %v", in.Peer.Remote)
		}
	})
}
