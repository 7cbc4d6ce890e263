package device

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"behest/firmware-sim/link"
	"behest/firmware-sim/message"
	"behest/firmware-sim/wire"
)

// server is a small scripted command server: enough of the contract to be a
// device's other side, and to misbehave on purpose. It keeps one device.
type server struct {
	t    *testing.T
	conn link.Conn
	work sync.WaitGroup
	over chan struct{}

	mu        sync.Mutex
	device    netip.AddrPort
	token     []byte // of the observation; nil: none
	number    uint32
	nextID    uint16
	open      []wire.Entry
	due       map[uint32]time.Time // when a command's seconds end
	outcome   map[uint32]wire.Report
	reports   []told
	posts     []string // registrations and refreshes, as path?query
	seen      map[uint16][]byte
	replies   map[uint16][]byte
	uploads   map[string][]byte
	resets    int
	acks      int
	blockSize uint8
	frozen    []byte

	// answer, when set, may answer a report (or any other request) instead.
	answer func(method message.Code, path string) (message.Code, bool)
	// separate answers a GET by an empty ACK and a confirmable.
	separate bool
	quiet    bool // does not answer at all
}

type told struct {
	Seq    uint32
	Report wire.Report
}

// renotifyEvery is how often the server shows a list that is not empty.
const renotifyEvery = 3 * time.Second

func newServer(t *testing.T, conn link.Conn) *server {
	s := &server{
		t: t, conn: conn, over: make(chan struct{}), due: map[uint32]time.Time{}, outcome: map[uint32]wire.Report{},
		seen: map[uint16][]byte{}, replies: map[uint16][]byte{}, uploads: map[string][]byte{}, blockSize: 6, nextID: 100,
	}
	s.work.Go(s.read)
	s.work.Go(s.renotify)
	return s
}

func (s *server) close() {
	close(s.over)
	if err := s.conn.Close(); err != nil {
		s.t.Error(err)
	}
	s.work.Wait()
}

// issue opens a command and notifies.
func (s *server) issue(e wire.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, e)
	s.due[e.Seq] = time.Now().Add(wire.Seconds(e.Seconds))
	s.notify()
}

// cancel turns an open command into a cancel, and notifies.
func (s *server) cancel(seq uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.open {
		if e.Seq == seq {
			s.open[i] = wire.Entry{Seq: seq, Cancel: true}
		}
	}
	s.notify()
}

func (s *server) read() {
	buffer := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.t.Error(err)
			}
			return
		}
		m, err := message.Parse(bytes.Clone(buffer[:n]))
		if err != nil {
			s.t.Errorf("the device sent what is no message: %x: %v", buffer[:n], err)
			continue
		}
		s.mu.Lock()
		s.receive(from, m, bytes.Clone(buffer[:n]))
		s.mu.Unlock()
	}
}

func (s *server) renotify() {
	for {
		select {
		case <-s.over:
			return
		case <-time.After(renotifyEvery):
			s.mu.Lock()
			if len(s.open) > 0 {
				s.notify()
			}
			s.mu.Unlock()
		}
	}
}

func (s *server) receive(from netip.AddrPort, m message.Message, datagram []byte) {
	switch {
	case m.Type == message.Reset:
		s.resets++
		return
	case m.Type == message.Acknowledgement:
		s.acks++
		return
	case s.quiet:
		return
	case bytes.Equal(s.seen[m.ID], datagram):
		if reply := s.replies[m.ID]; reply != nil {
			s.write(reply)
		}
		return
	}
	s.device, s.seen[m.ID], s.replies[m.ID] = from, datagram, nil
	path := strings.Join(m.Options.Strings(message.URIPath), "/")
	if s.answer != nil {
		if code, instead := s.answer(m.Code, path); instead {
			if code != message.Empty {
				s.reply(m, message.Message{Code: code, Options: message.Options{message.Uint(message.MaxAge, 7)}})
			}
			return
		}
	}
	switch {
	case m.Code == message.POST && strings.HasPrefix(path, "rd"):
		s.register(m, path)
	case m.Code == message.GET && strings.HasPrefix(path, "c/"):
		s.get(m)
	case m.Code == message.POST && strings.HasPrefix(path, "c/"):
		s.report(m, path)
	default:
		s.t.Errorf("the device asked %v %s", m.Code, path)
	}
}

func (s *server) register(m message.Message, path string) {
	s.posts = append(s.posts, path+"?"+strings.Join(m.Options.Strings(message.URIQuery), "&"))
	if path == "rd" {
		s.reply(m, message.Message{Code: message.Created, Options: message.Options{
			message.Text(message.LocationPath, "rd"), message.Text(message.LocationPath, "h1"),
		}})
		return
	}
	s.reply(m, message.Message{Code: message.Changed})
}

func (s *server) get(m message.Message) {
	if observe, ok := m.Options.Uint(message.Observe); ok && observe == 0 {
		s.token = m.Token
	}
	block, later := m.Options.Block(message.Block2)
	if !later || block.Num == 0 {
		s.frozen = s.list()
	}
	answer := s.content(block.Num, block.Size, later)
	if observe, ok := m.Options.Uint(message.Observe); ok && observe == 0 {
		s.number++
		answer.Options = append(answer.Options, message.Uint(message.Observe, s.number))
	}
	if !s.separate {
		s.reply(m, answer)
		return
	}
	s.replies[m.ID] = message.Message{Type: message.Acknowledgement, ID: m.ID}.Append(nil)
	s.write(s.replies[m.ID])
	answer.Token = m.Token
	s.push(answer)
}

// content is a block of the frozen list.
func (s *server) content(num uint32, size uint8, later bool) message.Message {
	if !later || size > s.blockSize {
		size = s.blockSize
	}
	block := message.Block{Num: num, Size: size}
	start := min(int(num)*block.Bytes(), len(s.frozen))
	end := min(start+block.Bytes(), len(s.frozen))
	block.More = end < len(s.frozen)
	answer := message.Message{Code: message.Content, Payload: s.frozen[start:end], Options: message.Options{
		message.Uint(message.ContentFormat, 60), message.Uint(message.MaxAge, 900),
	}}
	if later || block.More {
		answer.Options = append(answer.Options, block.Option(message.Block2))
	}
	return answer
}

func (s *server) list() []byte {
	open := slices.Clone(s.open)
	for i, e := range open {
		if !e.Cancel {
			open[i].Seconds = uint64(max(0, time.Until(s.due[e.Seq]).Truncate(time.Second).Seconds()))
		}
	}
	return wire.AppendList(nil, open)
}

func (s *server) notify() {
	if s.token == nil {
		return
	}
	s.number++
	s.frozen = s.list()
	m := s.content(0, s.blockSize, false)
	m.Token = s.token
	m.Options = append(m.Options, message.Uint(message.Observe, s.number))
	s.push(m)
}

// push sends a confirmable message.
func (s *server) push(m message.Message) {
	s.nextID++
	m.Type, m.ID = message.Confirmable, s.nextID
	s.write(m.Append(nil))
}

func (s *server) report(m message.Message, path string) {
	body := m.Payload
	if block, ok := m.Options.Block(message.Block1); ok {
		if int(block.Num)*block.Bytes() != len(s.uploads[path]) {
			s.reply(m, message.Message{Code: message.Incomplete})
			return
		}
		s.uploads[path] = append(s.uploads[path], m.Payload...)
		if block.More {
			block.Size = min(block.Size, s.blockSize)
			s.reply(m, message.Message{Code: message.Continue, Options: message.Options{block.Option(message.Block1)}})
			return
		}
		body = s.uploads[path]
	}
	delete(s.uploads, path)
	report, odd, err := wire.DecodeReport(body)
	if err != nil || odd {
		s.t.Errorf("report %x: odd %v, error %v", body, odd, err)
	}
	n, err := strconv.ParseUint(path[strings.LastIndexByte(path, '/')+1:], 10, 32)
	if err != nil {
		s.t.Error(err)
	}
	s.reply(m, message.Message{Code: s.judge(told{uint32(n), report})})
}

// judge keeps a report: the first outcome wins.
func (s *server) judge(r told) message.Code {
	s.reports = append(s.reports, r)
	if !r.Report.Status.Final() {
		return message.Changed
	}
	if before, ended := s.outcome[r.Seq]; ended && before.Status != r.Report.Status {
		return message.Conflict
	}
	s.outcome[r.Seq] = r.Report
	s.open = slices.DeleteFunc(s.open, func(e wire.Entry) bool { return e.Seq == r.Seq })
	s.notify()
	return message.Changed
}

func (s *server) reply(to, m message.Message) {
	m.Type, m.ID, m.Token = message.Acknowledgement, to.ID, to.Token
	s.replies[to.ID] = m.Append(nil)
	s.write(s.replies[to.ID])
}

func (s *server) write(b []byte) {
	if _, err := s.conn.WriteTo(b, s.device); err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.Error(err)
	}
}
