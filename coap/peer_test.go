package coap_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"

	"behest/cbor"
	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
	"behest/command"
	"behest/device"
)

const (
	con = message.Confirmable
	non = message.NonConfirmable
	ack = message.Acknowledgement
	rst = message.Reset
)

// peer is a far end that says, message by message, what a test tells it. On
// whatever comes it holds what must be true of all that a server sends: each
// confirmable is a new message, and Observe numbers only grow.
type peer struct {
	w    *world
	t    *testing.T
	conn *simnet.Conn
	to   netip.AddrPort

	mid     uint16
	aside   []msg               // came before an answer that was waited for
	mids    map[int]sent        // confirmables that came, by message id
	numbers map[string]numbered // the last Observe number, by token
}

// sent is when a message was sent, and in which of the server's lives: a new
// one begins with ids at random.
type sent struct {
	at   time.Time
	life int
}

// exchangeLifetime is how long a message id means one message [RFC 7252 4.8.2].
const exchangeLifetime = 247 * time.Second

// numbered is an Observe number and when it came.
type numbered struct {
	number uint32
	at     time.Time
}

// peer puts a peer on the network. On loopback the bound on amplification is
// off, which most stories are not about.
func (w *world) peer(addr string) *peer {
	w.t.Helper()
	conn, err := w.net.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return &peer{w: w, t: w.t, conn: conn, to: serverAddr, mids: map[int]sent{}, numbers: map[string]numbered{}}
}

// speaker is who the server hears.
func (p *peer) speaker() device.Speaker {
	return device.Speaker{Endpoint: device.Endpoint{Remote: p.conn.LocalAddr()}}
}

// msg is a message in a test's words.
type msg struct {
	typ     message.Type
	code    codes.Code
	mid     int // 0: the next one
	token   string
	options message.Options
	payload string
}

// ask is a request: ask(codes.POST, "rd?ep=pump-7&lt=60").
func ask(code codes.Code, uri string) msg {
	m := msg{typ: con, code: code, token: "t"}
	path, query, asked := strings.Cut(uri, "?")
	for segment := range strings.SplitSeq(path, "/") {
		m = m.raw(message.URIPath, segment)
	}
	if !asked {
		return m
	}
	for q := range strings.SplitSeq(query, "&") {
		m = m.raw(message.URIQuery, q)
	}
	return m
}

func get(uri string) msg  { return ask(codes.GET, uri) }
func post(uri string) msg { return ask(codes.POST, uri) }

func (m msg) as(typ message.Type) msg     { m.typ = typ; return m }
func (m msg) tok(token string) msg        { m.token = token; return m }
func (m msg) observe(v uint32) msg        { return m.opt(message.Observe, v) }
func (m msg) accept(v uint32) msg         { return m.opt(message.Accept, v) }
func (m msg) body(f uint32, b string) msg { m.payload = b; return m.opt(message.ContentFormat, f) }

func (m msg) with(payload string) msg { m.payload = payload; return m }

// block adds a Block1 or Block2 option.
func (m msg) block(id message.OptionID, num int, more bool, size int) msg {
	v := uint32(num) << 4
	if more {
		v |= 8
	}
	for ; size > 16; size /= 2 {
		v++
	}
	return m.opt(id, v)
}

// opt adds an option with a number in as few bytes as it takes.
func (m msg) opt(id message.OptionID, v uint32) msg {
	b := binary.BigEndian.AppendUint32(nil, v)
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return m.raw(id, string(b))
}

// raw adds an option in its place.
func (m msg) raw(id message.OptionID, v string) msg {
	at := len(m.options)
	for at > 0 && m.options[at-1].ID > id {
		at--
	}
	o := append(message.Options(nil), m.options[:at]...)
	m.options = append(append(o, message.Option{ID: id, Value: []byte(v)}), m.options[at:]...)
	return m
}

func (m msg) bytes() []byte {
	buf := make([]byte, 4096)
	n, err := coder.DefaultCoder.Encode(message.Message{
		Type: m.typ, Code: m.code, MessageID: int32(m.mid), Token: []byte(m.token), Options: m.options, Payload: []byte(m.payload),
	}, buf)
	if err != nil {
		panic(err)
	}
	return buf[:n]
}

// send sends m, as a new message unless it has an id already, and returns what
// it sent.
func (p *peer) send(m msg) msg {
	p.t.Helper()
	if m.mid == 0 {
		p.mid++
		m.mid = int(p.mid)
	}
	p.raw(m.bytes())
	return m
}

func (p *peer) raw(data []byte) {
	p.t.Helper()
	if err := p.conn.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: p.to}, Data: data}); err != nil {
		p.t.Fatal(err)
	}
}

// next waits for a message.
func (p *peer) next(within time.Duration) (msg, bool) {
	p.t.Helper()
	if len(p.aside) > 0 {
		m := p.aside[0]
		p.aside = p.aside[1:]
		return m, true
	}
	return p.receive(within)
}

func (p *peer) receive(within time.Duration) (msg, bool) {
	p.t.Helper()
	got, ok := p.conn.Receive(within)
	if !ok {
		return msg{}, false
	}
	var m message.Message
	m.Options = make(message.Options, 0, 32)
	if _, err := coder.DefaultCoder.Decode(got.Data, &m); err != nil {
		p.t.Fatalf("the server sent % x: %v", got.Data, err)
	}
	out := msg{m.Type, m.Code, int(m.MessageID), string(m.Token), m.Options, string(m.Payload)}
	p.hold(out)
	return out, true
}

// hold fails the test when a message breaks what is true of all.
func (p *peer) hold(m msg) {
	p.t.Helper()
	if before, twice := p.mids[m.mid]; twice && m.typ == con && before.life == p.w.lives && time.Since(before.at) < exchangeLifetime {
		p.t.Errorf("message id %d came twice", m.mid)
	}
	if m.typ == con {
		p.mids[m.mid] = sent{time.Now(), p.w.lives}
	}
	number, observes := m.option(message.Observe)
	if !observes {
		return
	}
	last, known := p.numbers[m.token]
	// A client takes the larger one as the newer, or any after 128 s [RFC 7641 3.4].
	forward := (number - last.number) & (1<<24 - 1)
	if known && (forward == 0 || forward >= 1<<23) && time.Since(last.at) <= 128*time.Second {
		p.t.Errorf("Observe number %d after %d, %v later", number, last.number, time.Since(last.at))
	}
	p.numbers[m.token] = numbered{number, time.Now()}
}

// must waits for a message that has to come.
func (p *peer) must() msg {
	p.t.Helper()
	m, ok := p.next(time.Hour)
	if !ok {
		p.t.Fatal("nothing came")
	}
	return m
}

// quiet fails when anything comes within a time.
func (p *peer) quiet(within time.Duration) {
	p.t.Helper()
	if m, ok := p.next(within); ok {
		p.t.Errorf("came: %v", m)
	}
}

// ask sends a request and returns the answer. A notification may overtake it.
func (p *peer) ask(m msg) msg {
	p.t.Helper()
	m = p.send(m)
	for {
		got, ok := p.receive(time.Hour)
		switch {
		case !ok:
			p.t.Fatalf("no answer to %v", m)
		case got.typ == ack && got.mid == m.mid, got.typ != ack && got.token == m.token:
			return got
		}
		p.aside = append(p.aside, got)
	}
}

// want asks, and compares the answer with its words.
func (p *peer) want(m msg, want string) msg {
	p.t.Helper()
	got := p.ask(m)
	p.same(got, want)
	return got
}

// comes waits for a message and compares it with its words.
func (p *peer) comes(want string) msg {
	p.t.Helper()
	got := p.must()
	p.same(got, want)
	return got
}

func (p *peer) same(got msg, want string) {
	p.t.Helper()
	if got.String() != want {
		p.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func (p *peer) ack(m msg)   { p.t.Helper(); p.send(msg{typ: ack, mid: m.mid}) }
func (p *peer) reset(m msg) { p.t.Helper(); p.send(msg{typ: rst, mid: m.mid}) }

// register registers a device that this peer plays.
func (p *peer) register(query string) {
	p.t.Helper()
	if got := p.ask(post("rd?" + query)); got.code != codes.Created {
		p.t.Fatalf("registering %s: %v", query, got)
	}
}

// observe begins an observation that has nothing to tell yet.
func (p *peer) observe(name, token string) {
	p.t.Helper()
	if got := p.ask(get("c/" + name).tok(token).observe(0)); got.typ != ack || got.payload != "\x80" {
		p.t.Fatalf("observing %s: %v", name, got)
	}
}

// watch registers a device and observes.
func (p *peer) watch(name string) {
	p.t.Helper()
	p.register("ep=" + name)
	p.observe(name, "obs")
}

// report posts a report and expects 2.04.
func (p *peer) report(name string, seq uint32, r command.Report) {
	p.t.Helper()
	if got := p.ask(reportOf(name, seq, r)); got.code != codes.Changed {
		p.t.Errorf("reporting on %d: %v", seq, got)
	}
}

func reportOf(name string, seq uint32, r command.Report) msg {
	b, err := cbor.AppendReport(nil, r)
	if err != nil {
		panic(err)
	}
	return post(fmt.Sprintf("c/%s/%d", name, seq)).body(60, string(b))
}

var (
	success = command.Report{Status: command.StatusSuccess}
	failure = command.Report{Status: command.StatusFailure}
	running = command.Report{Status: command.StatusRunning}
)

// String is a message in words that a test can compare: message ids, ETags and
// Observe numbers are left out, and a list is told as it is now.
func (m msg) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d.%02d", [...]string{"CON", "NON", "ACK", "RST"}[m.typ], m.code>>5, m.code&31)
	if m.token != "" && m.token != "t" {
		fmt.Fprintf(&b, " %s", m.token)
	}
	var location []string
	for _, o := range m.options {
		switch v := number(o.Value); o.ID {
		case message.Block1, message.Block2:
			fmt.Fprintf(&b, " %v=%d/%d/%d", o.ID, v>>4, v>>3&1, 16<<(v&7))
		case message.Observe:
			b.WriteString(" observe")
		case message.ETag:
			b.WriteString(" etag")
		case message.LocationPath:
			location = append(location, string(o.Value))
		case message.ContentFormat:
			fmt.Fprintf(&b, " ct=%d", v)
		default:
			fmt.Fprintf(&b, " %v=%d", o.ID, v)
		}
		if o.ID == message.LocationPath && len(location) == 2 {
			fmt.Fprintf(&b, " at %s", strings.Join(location, "/"))
		}
	}
	b.WriteString(m.words())
	return b.String()
}

// words are the payload in words.
func (m msg) words() string {
	_, blocks := m.option(message.Block2)
	switch f, _ := m.option(message.ContentFormat); {
	case m.payload == "":
		return ""
	case blocks:
		return fmt.Sprintf(" %d bytes", len(m.payload))
	case f == 60:
		return " " + listWords(m.payload)
	case f == 257:
		return " " + cbor.Diagnose([]byte(m.payload))
	}
	return fmt.Sprintf(" %q", m.payload)
}

// start is when time begins in a bubble; the first command that is released
// then is #0, one that is released ten seconds later is #10.
const start = 946684800

// listWords are an open list in words: [#0 act 86400s, #1 cancel].
func listWords(payload string) string {
	now := time.Now()
	list, err := cbor.DecodeList([]byte(payload), now)
	if err != nil {
		return err.Error()
	}
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = fmt.Sprintf("#%d ", e.Seq-start)
		if e.Cancel {
			words[i] += "cancel"
			continue
		}
		words[i] += fmt.Sprintf("%s %ds", e.Type, e.StartBy.Sub(now)/time.Second)
		if e.RunFor > 0 {
			words[i] += fmt.Sprintf(" run_for=%ds", e.RunFor/time.Second)
		}
		if e.Params != nil {
			words[i] += " " + cbor.Diagnose(e.Params)
		}
		if e.Fresh {
			words[i] += " fresh"
		}
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (m msg) option(id message.OptionID) (uint32, bool) {
	for _, o := range m.options {
		if o.ID == id {
			return number(o.Value), true
		}
	}
	return 0, false
}

func number(b []byte) (v uint32) {
	for _, c := range b {
		v = v<<8 | uint32(c)
	}
	return v
}

// seqs are the numbers in a message's list.
func (m msg) seqs(t *testing.T) (seqs []uint32) {
	t.Helper()
	for _, e := range m.listed(t) {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

// listed is a message's list.
func (m msg) listed(t *testing.T) []command.Entry {
	t.Helper()
	list, err := cbor.DecodeList([]byte(m.payload), time.Now())
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return list
}
