package dtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"
	coapdtls "github.com/plgd-dev/go-coap/v3/dtls"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	coapclient "github.com/plgd-dev/go-coap/v3/udp/client"

	"behest/cbor"
	"behest/coap"
	"behest/coap/dtls"
	"behest/coap/udp"
	"behest/command"
	"behest/command/dispatch"
	"behest/device"
	"behest/store/sqlite"
)

// system is a whole server, HTTP apart, on real sockets and a real store.
type system struct {
	*dispatch.Dispatcher
	t     *testing.T
	conn  *dtls.Conn
	book  *book
	store *sqlite.Store
}

// asIs takes params as the CBOR that they are already.
type asIs struct{}

func (asIs) JSON(item []byte) (json.RawMessage, bool) { return item, true }
func (asIs) Compile(command.Type) []command.Field     { return nil }
func (asIs) Result(command.Type, []byte) bool         { return true }

func (asIs) Params(_ command.Type, raw json.RawMessage) ([]byte, []command.Field, error) {
	return raw, nil, nil
}

func inSystem(t *testing.T, b *book, o dtls.Options) *system {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if b.psks == nil {
		b.psks = map[string][][]byte{"pump-1": {key1}, "pump-2": {key2}}
	}
	b.revoked = map[string]bool{}
	s := &system{t: t, book: b}
	path := filepath.Join(t.TempDir(), "db")
	var err error
	s.store, err = sqlite.Open(t.Context(), path, sqlite.Options{})
	must(err)
	plain, err := udp.Listen("127.0.0.1:0", udp.Options{})
	must(err)
	inner, err := udp.Listen("127.0.0.1:0", udp.Options{})
	must(err)
	o.Ended = func(e dtls.Session, why dtls.Reason) {
		s.Parted(e.Credential.Identity, e.Peer.Session, string(why))
	}
	s.conn, err = dtls.New(inner, b, o)
	must(err)
	server, err := coap.New(plain, coap.Options{Sessions: s.conn})
	must(err)
	s.Dispatcher = dispatch.New(s.store, server, dispatch.Options{Dev: true, Schemas: asIs{}})
	server.Bind(s.Dispatcher)
	var ends []func()
	for _, run := range []func(context.Context) error{s.store.Run, s.Run, server.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		var over sync.WaitGroup
		over.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
		ends = append(ends, func() { cancel(); over.Wait() })
	}
	t.Cleanup(func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
		if r, err := sqlite.Check(context.Background(), path); err != nil || len(r.Faults) > 0 {
			t.Errorf("the database does not hold: %v %v", err, r.Faults)
		}
	})
	return s
}

func (s *system) addr() *net.UDPAddr { return net.UDPAddrFromAddrPort(s.conn.LocalAddr()) }

// ask asks for a command on a device.
func (s *system) ask(name string) command.ID {
	s.t.Helper()
	i, err := s.Issue(s.t.Context(), command.Intent{Type: "act", Targets: command.Targets{Devices: []string{name}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return i.Command.ID
}

func (s *system) execution(id command.ID) command.Execution {
	s.t.Helper()
	v, err := s.store.Command(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return *v.Only
}

func (s *system) reaches(id command.ID, state command.State) {
	s.t.Helper()
	wait(s.t, state.String(), func() bool { return s.execution(id).State == state })
}

func (s *system) device(name string) device.Device {
	s.t.Helper()
	v, err := s.store.Device(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return v.Device
}

// events counts the events of a type.
func (s *system) events(kind command.EventType) int {
	s.t.Helper()
	events, _, err := s.store.Events(s.t.Context(), command.Place{}, command.EventFilter{Types: []command.EventType{kind}}, 500)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(events)
}

// goCoAP is a device on go-coap's client.
type goCoAP struct {
	t     *testing.T
	pion  *pion.Conn
	conn  *coapclient.Conn
	lists chan []command.Entry
}

// comesIn handshakes from a socket.
func (s *system) comesIn(pc net.PacketConn, to net.Addr, o []pion.ClientOption) *goCoAP {
	s.t.Helper()
	c, err := dial(pc, to, o)
	if err != nil {
		s.t.Fatal("handshake:", err)
	}
	g := &goCoAP{t: s.t, pion: c, conn: coapdtls.Client(c), lists: make(chan []command.Entry, 100)}
	s.t.Cleanup(func() { c.Close() })
	return g
}

func (s *system) in(o []pion.ClientOption) *goCoAP {
	s.t.Helper()
	return s.comesIn(socket(s.t, "127.0.0.1:0"), s.addr(), o)
}

// does sends a request and returns the code of its answer.
func (g *goCoAP) does(method codes.Code, path string, body []byte, query ...string) codes.Code {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	m, err := g.conn.NewGetRequest(ctx, path)
	if err != nil {
		g.t.Fatal(err)
	}
	m.SetCode(method)
	for _, q := range query {
		m.AddQuery(q)
	}
	if body != nil {
		m.SetContentFormat(message.AppCBOR)
		m.SetBody(bytes.NewReader(body))
	}
	a, err := g.conn.Do(m)
	if err != nil {
		g.t.Fatalf("%v %s: %v", method, path, err)
	}
	return a.Code()
}

func (g *goCoAP) must(want, got codes.Code) {
	g.t.Helper()
	if got != want {
		g.t.Fatalf("answered %v, want %v", got, want)
	}
}

// watches registers, without a word of who it is, and observes.
func (g *goCoAP) watches(name string) {
	g.t.Helper()
	g.must(codes.Created, g.does(codes.POST, "/rd", nil, "lt=3600"))
	_, err := g.conn.Observe(g.t.Context(), "/c/"+name, func(m *pool.Message) {
		body, err := m.ReadBody()
		if err != nil {
			g.t.Error(err)
			return
		}
		list, err := cbor.DecodeList(body, time.Now())
		if err != nil {
			g.t.Error(err)
			return
		}
		g.lists <- list
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

// shown waits for a list of n entries. A client may be shown one twice.
func (g *goCoAP) shown(n int) []command.Entry {
	g.t.Helper()
	for after := time.After(time.Minute); ; {
		select {
		case list := <-g.lists:
			if len(list) == n {
				return list
			}
		case <-after:
			g.t.Fatalf("no list of %d came", n)
		}
	}
}

// report says what came of a command.
func (g *goCoAP) report(name string, seq uint32) codes.Code {
	g.t.Helper()
	b, err := cbor.AppendReport(nil, command.Report{Status: command.StatusSuccess})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.does(codes.POST, fmt.Sprintf("/c/%s/%d", name, seq), b)
}

// TestACommandGoesAround with each suite: registered without a name, observed,
// delivered, reported on.
func TestACommandGoesAround(t *testing.T) {
	a := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	own := issue(t, a, "server", nil)
	s := inSystem(t, &book{roots: roots}, dtls.Options{Certificate: func() *tls.Certificate { return &own }})
	cert := []pion.ClientOption{pion.WithCertificates(issue(t, a, "pump-3", nil)), pion.WithRootCAs(roots), pion.WithServerName("server")}
	for _, row := range []struct {
		name  string
		o     []pion.ClientOption
		suite pion.CipherSuiteID
	}{
		{"pump-1", with("pump-1", key1), pion.TLS_PSK_WITH_AES_128_CCM_8},
		{"pump-1", with("pump-1", key1), pion.TLS_PSK_WITH_AES_128_CCM},
		{"pump-1", with("pump-1", key1), pion.TLS_PSK_WITH_AES_128_GCM_SHA256},
		{"pump-1", with("pump-1", key1), pion.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256},
		{"pump-3", cert, pion.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8},
		{"pump-3", cert, pion.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	} {
		t.Run(row.suite.String(), func(t *testing.T) {
			g := s.in(append(row.o[:len(row.o):len(row.o)], pion.WithCipherSuites(row.suite)))
			g.watches(row.name)
			g.shown(0)
			id := s.ask(row.name)
			list := g.shown(1)
			s.reaches(id, command.Delivered)
			g.must(codes.Changed, g.report(row.name, list[0].Seq))
			if x := s.execution(id); x.State != command.Succeeded {
				t.Errorf("after its report it is %s", x.State)
			}
			g.shown(0)
			if d := s.device(row.name); !d.Registration.Secured || d.Observation.Session == 0 {
				t.Errorf("stored as %+v, %+v", d.Registration, d.Observation)
			}
		})
	}
}

// TestNoDeviceActsAsAnother: all ordered pairs of some devices, everything that
// can be said.
func TestNoDeviceActsAsAnother(t *testing.T) {
	const devices = 8
	b := &book{psks: map[string][][]byte{}}
	name := func(i int) string { return fmt.Sprint("pump-", i) }
	for i := range devices {
		b.psks[name(i)] = [][]byte{[]byte(fmt.Sprintf("the key of pump %2d", i))}
	}
	s := inSystem(t, b, dtls.Options{})
	var all []*goCoAP
	var ids []command.ID
	for i := range devices {
		g := s.in(with(name(i), b.psks[name(i)][0]))
		g.watches(name(i))
		g.shown(0)
		all = append(all, g)
		ids = append(ids, s.ask(name(i)))
		g.shown(1)
		s.reaches(ids[i], command.Delivered)
	}
	refused := 0
	for i, g := range all {
		for j := range devices {
			if i == j {
				continue
			}
			before := s.device(name(j))
			seq := s.execution(ids[j]).Seq
			handle := fmt.Sprint("/rd/", before.Handle)
			for _, got := range []codes.Code{
				g.does(codes.POST, "/rd", nil, "ep="+name(j)),
				g.does(codes.POST, handle, nil),
				g.does(codes.DELETE, handle, nil),
				g.does(codes.GET, "/c/"+name(j), nil),
				g.report(name(j), seq),
			} {
				if refused++; got != codes.Forbidden {
					t.Errorf("%s in the name of %s: %v, want 4.03", name(i), name(j), got)
				}
			}
			if after := s.device(name(j)); after.Version != before.Version {
				t.Errorf("%s changed %s", name(i), name(j))
			}
		}
	}
	for i, id := range ids {
		if x := s.execution(id); x.State != command.Delivered {
			t.Errorf("what %s was asked is %s", name(i), x.State)
		}
		all[i].must(codes.Changed, all[i].report(name(i), s.execution(id).Seq))
	}
	t.Logf("%d refused", refused)
}

// TestAnObservationFollowsItsDevice: over new addresses, in the middle of what
// it is told, without a handshake and without another registration.
func TestAnObservationFollowsItsDevice(t *testing.T) {
	s := inSystem(t, &book{}, dtls.Options{})
	p := newProxy(t, s.addr())
	g := s.comesIn(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator())))
	g.watches("pump-1")
	g.shown(0)
	at := s.device("pump-1").Observation
	for range 3 {
		p.rebind(t)
		if got := g.does(codes.GET, "/.well-known/core", nil); got != codes.Content { // a sign of life from there
			t.Fatal(got)
		}
		wait(t, "the proof", func() bool {
			now, ok := s.conn.Session(at.Session)
			return ok && now.Proven && now.Remote == p.outside()
		})
		id := s.ask("pump-1")
		seq := g.shown(1)[0].Seq
		s.reaches(id, command.Delivered)
		p.rebind(t) // and again before it reports
		g.must(codes.Changed, g.report("pump-1", seq))
		g.shown(0)
	}
	// What was sent where it is no more arrives where it is, when it speaks.
	p.rebind(t)
	id := s.ask("pump-1")
	s.reaches(id, command.Sent)
	g.must(codes.Content, g.does(codes.GET, "/.well-known/core", nil))
	g.shown(1)
	s.reaches(id, command.Delivered)
	now := s.device("pump-1").Observation
	if n := s.conn.Stats(); n.Handshakes != 1 || n.Sessions != 1 || n.Proven < 6 || !now.Same(at) {
		t.Errorf("stats %+v, observed %+v, was %+v", n, now, at)
	}
	if n := s.events(command.EventTwoDevices); n != 0 {
		t.Errorf("%d times two devices", n)
	}
}

// drain reads what has come to a socket and that nobody read.
func drain(t *testing.T, pc *net.UDPConn) {
	t.Helper()
	b := make([]byte, 2048)
	if err := pc.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for _, err := pc.Read(b); err == nil; _, err = pc.Read(b) {
	}
	if err := pc.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// TestARebootedDeviceGoesOn on the same address and port: its old session is
// served until the new one is Finished, then its observation waits for it.
func TestARebootedDeviceGoesOn(t *testing.T) {
	s := inSystem(t, &book{}, dtls.Options{})
	pc := socket(t, "127.0.0.1:0")
	p := &plug{UDPConn: pc}
	g := s.comesIn(p, s.addr(), with("pump-1", key1, once))
	g.watches("pump-1")
	g.shown(0)
	pc.WriteTo(helloOf(1), s.addr()) // somebody knocks: nothing happens to it
	first := s.device("pump-1").Observation
	g.must(codes.Content, g.does(codes.GET, "/.well-known/core", nil))
	if o := s.device("pump-1").Observation; o.Suspended || !o.Same(first) {
		t.Errorf("after a knock: %+v", o)
	}
	p.unplug()
	drain(t, pc) // the answer to the knock is not the rebooted device's
	g = s.comesIn(&plug{UDPConn: pc}, s.addr(), with("pump-1", key1, once))
	wait(t, "the end of the old observation", func() bool { return s.device("pump-1").Observation.Suspended })
	id := s.ask("pump-1")
	if x := s.execution(id); x.State != command.Queued {
		t.Errorf("with nobody who observes it is %s", x.State)
	}
	g.watches("pump-1")
	list := g.shown(1)
	g.must(codes.Changed, g.report("pump-1", list[0].Seq))
	if x := s.execution(id); x.State != command.Succeeded {
		t.Errorf("it is %s", x.State)
	}
	if n := s.conn.Stats(); n.Handshakes != 2 || n.Sessions != 1 {
		t.Errorf("stats %+v", n)
	}
	if n := s.events(command.EventTwoDevices); n != 0 {
		t.Errorf("%d times two devices", n)
	}
}

// TestARevokedDeviceIsOut at once, whatever it was told, and comes in with
// another key.
func TestARevokedDeviceIsOut(t *testing.T) {
	s := inSystem(t, &book{}, dtls.Options{})
	g, other := s.in(with("pump-1", key1)), s.in(with("pump-2", key2))
	g.watches("pump-1")
	other.watches("pump-2")
	g.shown(0)
	other.shown(0)
	s.book.revoke("pump-1")
	s.conn.Recheck("pump-1")
	wait(t, "the device's end", func() bool { return g.conn.Context().Err() != nil })
	wait(t, "the observation's", func() bool { return s.device("pump-1").Observation.Suspended })
	id, theirs := s.ask("pump-1"), s.ask("pump-2")
	if x := s.execution(id); x.State != command.Queued {
		t.Errorf("to who is out it is %s", x.State)
	}
	other.shown(1)
	s.reaches(theirs, command.Delivered)
	if _, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with("pump-1", key1)); err == nil {
		t.Error("came in again")
	}
	s.book.renew("pump-1", []byte("a key of its own"))
	g = s.in(with("pump-1", []byte("a key of its own")))
	g.watches("pump-1")
	g.must(codes.Changed, g.report("pump-1", g.shown(1)[0].Seq))
	if x := s.execution(id); x.State != command.Succeeded {
		t.Errorf("it is %s", x.State)
	}
}

// TestOneKeyInTwoDevicesIsTold: the key was copied.
func TestOneKeyInTwoDevicesIsTold(t *testing.T) {
	s := inSystem(t, &book{}, dtls.Options{})
	first, second := s.in(with("pump-1", key1)), s.in(with("pump-1", key1))
	first.watches("pump-1")
	first.shown(0)
	second.watches("pump-1")
	second.shown(0)
	if n := s.events(command.EventTwoDevices); n != 0 {
		t.Errorf("told %d times before the first spoke", n)
	}
	first.must(codes.Content, first.does(codes.GET, "/c/pump-1", nil))
	first.must(codes.Content, first.does(codes.GET, "/c/pump-1", nil))
	if n := s.events(command.EventTwoDevices); n != 1 {
		t.Errorf("told %d times, want 1", n)
	}
	id := s.ask("pump-1")
	second.shown(1)
	s.reaches(id, command.Delivered)
}
