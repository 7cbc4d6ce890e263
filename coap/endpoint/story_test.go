package endpoint_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

const (
	con = message.Confirmable
	non = message.NonConfirmable
	ack = message.Acknowledgement
	rst = message.Reset
)

// story is an endpoint on a simulated network, in a bubble with a clock of its
// own.
type story struct {
	t      *testing.T
	net    *simnet.Network
	e      *endpoint.Endpoint
	server netip.AddrPort
	ports  uint16
}

// tell runs f against an endpoint, and ends it.
func tell(t *testing.T, c simnet.Conditions, h endpoint.Handler, o endpoint.Options, f func(*story)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &story{t: t, net: simnet.New(1, c), server: netip.MustParseAddrPort("127.0.0.1:5683")}
		conn, err := s.net.Listen(s.server, netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("192.0.2.254"))
		if err != nil {
			t.Fatal(err)
		}
		if o.Rand == nil {
			o.Rand = rand.NewPCG(1, 2)
		}
		if s.e, err = endpoint.New(conn, h, o); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- s.e.Run(ctx) }()
		f(s)
		s.check()
		cancel()
		if err := <-ran; err != nil {
			t.Error("Run:", err)
		}
		s.check()
		if got := s.e.Stats().Exchanges; got != 0 {
			t.Error(got, "exchanges outlive Run")
		}
	})
}

// check fails the test when the endpoint's tables contradict each other.
func (s *story) check() {
	s.t.Helper()
	if err := s.e.Check(); err != nil {
		s.t.Error(err)
	}
}

// device is a far end that does what a test tells it.
type device struct {
	s    *story
	conn *simnet.Conn
	to   netip.AddrPort
}

// device puts a device on loopback, where the amplification bound is off.
func (s *story) device() *device { return s.deviceAt("127.0.0.2") }

func (s *story) deviceAt(addr string) *device {
	s.t.Helper()
	s.ports++
	conn, err := s.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(addr), 40000+s.ports))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &device{s, conn, s.server}
}

// peer is the device as the endpoint sees it.
func (d *device) peer() endpoint.Peer {
	return endpoint.Peer{Remote: d.conn.LocalAddr(), Local: d.to.Addr()}
}

func (d *device) raw(data []byte) {
	d.s.t.Helper()
	if err := d.conn.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: d.to}, Data: data}); err != nil {
		d.s.t.Fatal(err)
	}
}

// msg is a message in a test's words.
type msg struct {
	typ     message.Type
	code    codes.Code
	mid     int
	token   string
	options message.Options
	payload string
}

func (m msg) bytes() []byte {
	buf := make([]byte, 4096)
	n, err := coder.DefaultCoder.Encode(message.Message{Type: m.typ, Code: m.code, MessageID: int32(m.mid),
		Token: []byte(m.token), Options: m.options, Payload: []byte(m.payload)}, buf)
	if err != nil {
		panic(err)
	}
	return buf[:n]
}

func (d *device) send(m msg) { d.s.t.Helper(); d.raw(m.bytes()) }

func decode(t *testing.T, data []byte) msg {
	t.Helper()
	m := message.Message{Options: make(message.Options, 0, 32)}
	if _, err := coder.DefaultCoder.Decode(data, &m); err != nil {
		t.Fatalf("the endpoint sent % x: %v", data, err)
	}
	return msg{m.Type, m.Code, int(m.MessageID), string(m.Token), m.Options, string(m.Payload)}
}

// next waits for a message.
func (d *device) next(within time.Duration) (msg, bool) {
	d.s.t.Helper()
	got, ok := d.conn.Receive(within)
	if !ok {
		return msg{}, false
	}
	return decode(d.s.t, got.Data), true
}

// must waits for a message that has to come.
func (d *device) must() msg {
	d.s.t.Helper()
	m, ok := d.next(10 * time.Minute)
	if !ok {
		d.s.t.Fatal("nothing came")
	}
	return m
}

// quiet fails when anything comes within a time.
func (d *device) quiet(within time.Duration) {
	d.s.t.Helper()
	if m, ok := d.next(within); ok {
		d.s.t.Errorf("came: %v", m)
	}
}

// ask sends a CON and returns what comes.
func (d *device) ask(m msg) msg {
	d.s.t.Helper()
	m.typ = con
	d.send(m)
	return d.must()
}

func (m msg) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %d.%02d", m.typ, m.code>>5, m.code&31)
	if m.token != "" {
		fmt.Fprintf(&b, " token=%x", m.token)
	}
	for _, o := range m.options {
		switch o.ID {
		case message.Block1, message.Block2:
			v := number(o.Value)
			fmt.Fprintf(&b, " %v=%d/%d/%d", o.ID, v>>4, v>>3&1, 16<<(v&7))
		case message.Observe, message.MaxAge, message.Size1, message.Size2, message.ContentFormat:
			fmt.Fprintf(&b, " %v=%d", o.ID, number(o.Value))
		case message.ETag:
			b.WriteString(" ETag")
		default:
			fmt.Fprintf(&b, " %v=%s", o.ID, o.Value)
		}
	}
	if n := len(m.payload); n > 32 {
		fmt.Fprintf(&b, " [%d bytes]", n)
	} else if n > 0 {
		fmt.Fprintf(&b, " %q", m.payload)
	}
	return b.String()
}

func (m msg) option(id message.OptionID) (uint32, bool) {
	for _, o := range m.options {
		if o.ID == id {
			return number(o.Value), true
		}
	}
	return 0, false
}

func number(b []byte) uint32 {
	var v [4]byte
	copy(v[4-len(b):], b)
	return binary.BigEndian.Uint32(v[:])
}

// path makes Uri-Path options of "a/b".
func path(p string) (o message.Options) {
	for segment := range strings.SplitSeq(p, "/") {
		o = append(o, message.Option{ID: message.URIPath, Value: []byte(segment)})
	}
	return o
}

// with adds a uint option, in order.
func with(o message.Options, id message.OptionID, v uint32) message.Options {
	var b []byte
	for ; v > 0; v >>= 8 {
		b = append([]byte{byte(v)}, b...)
	}
	return withBytes(o, id, b)
}

func withBytes(o message.Options, id message.OptionID, v []byte) message.Options {
	at := len(o)
	for at > 0 && o[at-1].ID > id {
		at--
	}
	return append(append(append(message.Options(nil), o[:at]...), message.Option{ID: id, Value: v}), o[at:]...)
}

func blockValue(num int, more bool, size int) uint32 {
	v := uint32(num) << 4
	if more {
		v |= 8
	}
	for ; size > 16; size /= 2 {
		v++
	}
	return v
}

// answers is a handler that gives the same answer to all.
func answers(r endpoint.Response) handler {
	return handler{serve: func(context.Context, *endpoint.Request) endpoint.Response { return r }}
}

// want compares a message with its words.
func (d *device) want(got msg, want string) {
	d.s.t.Helper()
	if got.String() != want {
		d.s.t.Errorf("got  %s\nwant %s", got, want)
	}
}
