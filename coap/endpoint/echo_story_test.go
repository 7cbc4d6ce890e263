package endpoint_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

const echo = message.OptionID(252)

// echoed is m with the Echo value of an answer.
func (m msg) echoed(answer msg) msg {
	for _, o := range answer.options {
		if o.ID == echo {
			m.options = withBytes(m.options, echo, o.Value)
		}
	}
	return m
}

// costlies tells a story of an endpoint at which all under "c" is costly, and
// of a device on an address that has proven nothing. served counts what reaches
// the handler.
func costlies(t *testing.T, addr string, f func(s *story, d *device, served *int)) {
	t.Helper()
	served := 0
	h := handler{serve: func(context.Context, *endpoint.Request) endpoint.Response {
		served++
		return endpoint.Response{Code: codes.Changed}
	}}
	o := endpoint.Options{Workers: 1, BoundLoopback: true, Costly: func(head *endpoint.Request) bool { return head.Path[0] == "c" }}
	tell(t, simnet.Conditions{}, h, o, func(s *story) {
		d := s.deviceAt(addr)
		if !netip.MustParseAddr(addr).IsLoopback() {
			d.to = netip.MustParseAddrPort("192.0.2.254:5683")
		}
		f(s, d, &served)
	})
}

// challenged asks, and holds that the answer is a bare 4.01 with an Echo.
func (d *device) challenged(m msg) msg {
	d.s.t.Helper()
	d.send(m)
	got := d.must()
	same := m.typ == con && got.typ == ack && got.mid == m.mid || m.typ == non && got.typ == non
	if !same || got.code != codes.Unauthorized || got.token != m.token || len(got.options) != 1 || got.options[0].ID != echo || got.payload != "" {
		d.s.t.Fatalf("to %v: %v", m, got)
	}
	return got
}

func TestACostlyRequestIsServedOnceItsAddressIsProven(t *testing.T) {
	for _, addr := range []string{"192.0.2.7", "127.0.0.2"} {
		for _, typ := range []message.Type{con, non} {
			costlies(t, addr, func(s *story, d *device, served *int) {
				s.ledger(d)
				m := msg{typ: typ, code: codes.POST, mid: 1, token: "tok", options: path("c/pump-7"), payload: "x"}
				first := d.challenged(m)
				d.challenged(m) // a repeat is no other
				blocks := m
				blocks.mid, blocks.options = 2, with(m.options, message.Block1, blockValue(0, true, 16))
				blocks.payload = text(16)
				d.challenged(blocks)
				if st := s.e.Stats(); *served != 0 || st.Repeats != 0 || st.RequestBodies != 0 || st.Challenged != 3 {
					t.Errorf("%d were served; %+v", *served, st)
				}
				m.mid = 3
				d.send(m.echoed(first))
				if got := d.must(); got.code != codes.Changed {
					t.Errorf("with the Echo: %v", got)
				}
				m.mid = 4
				d.send(m)
				if got := d.must(); got.code != codes.Changed || *served != 2 {
					t.Errorf("once it is proven: %v, %d served", got, *served)
				}
			})
		}
	}
}

func TestAnEchoThatProvesNothingIsAnsweredWithAFreshOne(t *testing.T) {
	m := msg{code: codes.POST, options: path("c/pump-7")}
	for _, row := range []struct {
		name string
		wait time.Duration
		spot func(s *story, d *device, first msg) (*device, msg)
		good bool
	}{
		{"at once", 0, nil, true},
		{"a minute later", time.Minute, nil, true},
		{"two minutes later", 2 * time.Minute, nil, false},
		{"from another port", 0, func(s *story, d *device, first msg) (*device, msg) {
			other := s.deviceAt("192.0.2.7")
			other.to = d.to
			return other, first
		}, false},
		{"from another address", 0, func(s *story, d *device, first msg) (*device, msg) {
			conn, err := s.net.Listen(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.8"), d.conn.LocalAddr().Port()))
			if err != nil {
				t.Fatal(err)
			}
			s.t.Cleanup(func() { conn.Close() })
			return &device{s, conn, d.to}, first
		}, false},
		{"a bit of it changed", 0, func(_ *story, d *device, first msg) (*device, msg) {
			first.options[0].Value[7] ^= 1
			return d, first
		}, false},
		{"cut off", 0, func(_ *story, d *device, first msg) (*device, msg) {
			first.options[0].Value = first.options[0].Value[:7]
			return d, first
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			costlies(t, "192.0.2.7", func(s *story, d *device, served *int) {
				m.mid = 1
				first := d.challenged(m)
				time.Sleep(row.wait)
				synctest.Wait()
				if row.spot != nil {
					d, first = row.spot(s, d, first)
				}
				m.mid = 2
				if row.good {
					d.want(d.ask(m.echoed(first)), "Acknowledgement 2.04")
					return
				}
				fresh := d.challenged(m.echoed(first))
				m.mid = 3
				d.want(d.ask(m.echoed(fresh)), "Acknowledgement 2.04")
			})
		})
	}
}

func TestAnEchoFromAProvenAddressMeansNothing(t *testing.T) {
	o := endpoint.Options{Costly: func(*endpoint.Request) bool { return true }}
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Code: codes.Changed}), o, func(s *story) {
		d := s.device()
		for i, v := range []string{"", "x", text(8), text(41)} {
			d.want(d.ask(msg{code: codes.POST, mid: i, options: withBytes(path("c"), echo, []byte(v))}), "Acknowledgement 2.04")
		}
	})
}
