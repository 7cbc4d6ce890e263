package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"behest/firmware-sim/message"
	"behest/firmware-sim/wire"
)

// puppet is a device that does what it is told, over a socket of its own. It
// decides nothing: firmware-sim is the device that follows the rules.
//
//	device NAME registers [QUERY ...] [-> CODE]
//	device NAME refreshes [-> CODE]
//	device NAME observes
//	device NAME gets                 asks for its list once
//	device NAME outwaits COMMAND     until no second is left in which to start it
//	device NAME sees nothing | COMMAND[/cancel] ...
//	device NAME reports COMMAND STATUS [FIELD=VALUE ...] [-> CODE]
//	device NAME sleeps | wakes       hears nothing that comes; hears again
//	device NAME resets               answers notifications with Reset
//	device NAME moves                goes on from another port
//
// Where no code is given, the answer must be a success.
type puppet struct {
	name   string
	server *net.UDPAddr

	mu      sync.Mutex
	conn    *net.UDPConn
	id      uint16
	token   []byte // the observation's
	handle  []string
	asleep  bool
	resets  bool
	list    []wire.Entry
	first   uint32                          // the first number that it saw
	answers map[string]chan message.Message // by token, to the requests under way
	reader  sync.WaitGroup
}

// resendAfter is how long a puppet waits for an answer before it repeats itself.
const resendAfter = time.Second

func newPuppet(name, server string) (*puppet, error) {
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, err
	}
	p := &puppet{name: name, server: net.UDPAddrFromAddrPort(to), answers: map[string]chan message.Message{}}
	return p, p.move()
}

// move opens a socket in place of the one that it has.
func (p *puppet) move() error {
	conn, err := net.DialUDP("udp4", nil, p.server)
	if err != nil {
		return err
	}
	p.mu.Lock()
	before := p.conn
	p.conn, p.id = conn, uint16(time.Now().UnixNano())
	p.mu.Unlock()
	if before != nil {
		_ = before.Close() // its reader ends
	}
	p.reader.Go(func() { p.read(conn) })
	return nil
}

func (p *puppet) close() {
	_ = p.conn.Close()
	p.reader.Wait()
}

// read takes what comes until the socket is closed.
func (p *puppet) read(conn *net.UDPConn) {
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the server is down: the system says so
		}
		if m, err := message.Parse(buffer[:n]); err == nil {
			p.take(conn, m.Clone())
		}
	}
}

// take takes one message: an answer, or a notification.
func (p *puppet) take(conn *net.UDPConn, m message.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asleep || m.Code == message.Empty {
		return
	}
	reply := message.Acknowledgement
	answer, asked := p.answers[string(m.Token)]
	switch {
	case asked:
		select {
		case answer <- m:
		default: // it came twice
		}
	case p.resets || string(m.Token) != string(p.token):
		reply = message.Reset
	default:
		p.note(m)
	}
	if m.Type == message.Confirmable {
		_, _ = conn.Write(message.Message{Type: reply, ID: m.ID}.Append(nil)) // lost, like any datagram
	}
}

// note keeps a list. The caller holds mu.
func (p *puppet) note(m message.Message) {
	if list, err := wire.DecodeList(m.Payload); err == nil && m.Code == message.Content {
		p.list = list
		if p.first == 0 && len(list) > 0 {
			p.first = list[0].Seq
		}
	}
}

// ask asks the server, and repeats itself until it has the answer.
func (p *puppet) ask(code message.Code, token []byte, options message.Options, body []byte) (message.Message, error) {
	p.mu.Lock()
	p.id++
	m := message.Message{Type: message.Confirmable, Code: code, ID: p.id, Token: token, Options: options, Payload: body}
	if token == nil {
		m.Token = []byte{byte(p.id >> 8), byte(p.id)}
	}
	answer := make(chan message.Message, 1)
	p.answers[string(m.Token)] = answer
	conn := p.conn
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.answers, string(m.Token))
		p.mu.Unlock()
	}()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, _ = conn.Write(m.Append(nil)) // lost, like any datagram
		select {
		case got := <-answer:
			return got, nil
		case <-time.After(resendAfter):
		}
	}
	return message.Message{}, fmt.Errorf("%s asked in vain", p.name)
}

func segments(names ...string) (options message.Options) {
	for _, name := range names {
		options = append(options, message.Text(message.URIPath, name))
	}
	return options
}

func (p *puppet) register(query []string) (message.Message, error) {
	options := append(segments("rd"), message.Text(message.URIQuery, "ep="+p.name))
	for _, q := range query {
		options = append(options, message.Text(message.URIQuery, q))
	}
	m, err := p.ask(message.POST, nil, options, nil)
	if handle := m.Options.Strings(message.LocationPath); len(handle) > 0 {
		p.handle = handle
	}
	return m, err
}

// get asks for the list, once or to observe it.
func (p *puppet) get(observe bool) (message.Message, error) {
	options, token := segments("c", p.name), []byte(nil)
	if observe {
		token = []byte("obs")
		options = append(options, message.Uint(message.Observe, 0))
		p.mu.Lock()
		p.token = token
		p.mu.Unlock()
	}
	m, err := p.ask(message.GET, token, options, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(m)
	return m, err
}

func (p *puppet) report(seq uint32, r wire.Report) (message.Message, error) {
	options := append(segments("c", p.name, strconv.FormatUint(uint64(seq), 10)), message.Uint(message.ContentFormat, 60))
	return p.ask(message.POST, nil, options, r.Append(nil))
}

// seen is the list as it was last seen.
func (p *puppet) seen() []wire.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

func (p *puppet) set(flag *bool, to bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*flag = to
}

// device is the command that pulls a puppet's strings.
func (s *story) device(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "device NAME VERB ...")
	p, ok := s.puppets[args[0]]
	if !ok {
		var err error
		p, err = newPuppet(args[0], s.coap)
		ts.Check(err)
		s.puppets[args[0]] = p
	}
	verb, rest, code := args[1], args[2:], ""
	if n := len(rest); n >= 2 && rest[n-2] == "->" {
		rest, code = rest[:n-2], rest[n-1]
	}
	var m message.Message
	var err error
	switch verb {
	case "registers":
		m, err = p.register(rest)
	case "refreshes":
		m, err = p.ask(message.POST, nil, segments(p.handle...), nil)
	case "observes", "gets":
		m, err = p.get(verb == "observes")
	case "reports":
		m, err = p.report(s.seq(ts, rest[0]), reportOf(ts, rest[1:]))
	case "outwaits":
		s.outwait(ts, p, rest[0])
		return
	case "sees":
		s.sees(ts, p, rest)
		return
	case "sleeps", "wakes":
		p.set(&p.asleep, verb == "sleeps")
		return
	case "resets":
		p.set(&p.resets, true)
		return
	case "moves":
		ts.Check(p.move())
		return
	default:
		ts.Fatalf("a device does not know how to %s", verb)
	}
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%v %s\n", m.Code, m.Payload)
	if code == "" && m.Code.Class() != 2 || code != "" && m.Code.String() != code {
		ts.Fatalf("%s: answered %v %q", strings.Join(args, " "), m.Code, m.Payload)
	}
}

// sees waits until a device sees what it should, in the order of its list.
func (s *story) sees(ts *testscript.TestScript, p *puppet, wanted []string) {
	if slices.Equal(wanted, []string{"nothing"}) {
		wanted = nil
	}
	poll(ts, fmt.Sprintf("%s to see %v", p.name, wanted), func() bool {
		list := p.seen()
		if len(list) != len(wanted) {
			return false
		}
		for n, e := range list {
			name, canceled := strings.CutSuffix(wanted[n], "/cancel")
			if e.Cancel != canceled || s.name(ts, p.name, e.Seq) != name {
				return false
			}
		}
		return true
	})
}

// outwait asks for the list until a command in it has no second left.
func (s *story) outwait(ts *testscript.TestScript, p *puppet, name string) {
	seq := s.seq(ts, name)
	poll(ts, "the last second of "+name, func() bool {
		_, err := p.get(false)
		ts.Check(err)
		return slices.ContainsFunc(p.seen(), func(e wire.Entry) bool { return e.Seq == seq && e.Seconds == 0 })
	})
}

// reportOf reads a report as a script writes it: running progress=40 n=2.
func reportOf(ts *testscript.TestScript, args []string) wire.Report {
	var r wire.Report
	words := []string{"running", "success", "failure", "rejected", "canceled"}
	status := slices.Index(words, args[0])
	if status < 0 {
		ts.Fatalf("%s is none of %v", args[0], words)
	}
	r.Status = wire.Status(status)
	for _, field := range args[1:] {
		key, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseUint(value, 10, 32) // of texts it is not used
		switch key {
		case "n":
			r.N = &n
		case "next":
			r.Next = &n
		case "progress":
			r.Progress = new(uint8(n))
		case "code":
			r.Code = new(int64(n))
		case "effect":
			r.Effect = new(wire.Effect(n))
		case "text":
			r.Text = value
		default:
			ts.Fatalf("a report has no %s", key)
		}
	}
	return r
}
