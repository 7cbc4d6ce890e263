package servertest

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

// Server keeps one device. Its exported fields may be set before the device
// boots, and are read and set under its lock afterwards.
type Server struct {
	t    testing.TB     // set once
	conn link.Conn      // set once
	over chan struct{}  // closed by Close
	work sync.WaitGroup // read and renotify

	sync.Mutex // guards all that follows

	// How it misbehaves.
	Answer    func(method message.Code, path string) (message.Code, bool) // may answer instead; Empty: nothing
	Separate  bool                                                        // answers a GET by an empty ACK and a confirmable
	Quiet     bool                                                        // does not answer at all
	Still     bool                                                        // does not show its list by itself again
	BlockSize uint8                                                       // exponent of its largest block

	// What it knows.
	Open    []wire.Entry
	Due     map[uint32]time.Time // when a command's seconds end
	Outcome map[uint32]wire.Report
	Token   []byte // of the observation; nil: none
	Number  uint32 // of its newest notification

	// What it heard.
	Posts   []string // registrations and refreshes, as path?query
	Reports []Told
	Resets  int
	Acks    int

	device  netip.AddrPort
	nextID  uint16
	seen    map[uint16][]byte // datagrams by message id, and what was replied
	replies map[uint16][]byte
	uploads map[string][]byte // bodies under way, by path
	frozen  []byte            // the list that later blocks are cut from
}

// Told is a report that the server took.
type Told struct {
	Seq    uint32
	Report wire.Report
}

// RenotifyEvery is how often the server shows a list that is not empty.
const RenotifyEvery = 3 * time.Second

// AnswerMaxAge is the Max-Age of what Answer answers.
const AnswerMaxAge = 7 * time.Second

// New starts a server on conn, which becomes its own.
func New(t testing.TB, conn link.Conn) *Server {
	s := &Server{
		t: t, conn: conn, over: make(chan struct{}), BlockSize: 6, nextID: 100,
		Due: map[uint32]time.Time{}, Outcome: map[uint32]wire.Report{},
		seen: map[uint16][]byte{}, replies: map[uint16][]byte{}, uploads: map[string][]byte{},
	}
	s.work.Go(s.read)
	s.work.Go(s.renotify)
	return s
}

// Close ends the server.
func (s *Server) Close() {
	close(s.over)
	if err := s.conn.Close(); err != nil {
		s.t.Error(err)
	}
	s.work.Wait()
}

// Issue opens a command and notifies.
func (s *Server) Issue(e wire.Entry) {
	s.Lock()
	defer s.Unlock()
	s.Open = append(s.Open, e)
	s.Due[e.Seq] = time.Now().Add(wire.Seconds(e.Seconds))
	s.notify()
}

// Cancel turns an open command into a cancel, and notifies.
func (s *Server) Cancel(seq uint32) {
	s.Lock()
	defer s.Unlock()
	for i, e := range s.Open {
		if e.Seq == seq {
			s.Open[i] = wire.Entry{Seq: seq, Cancel: true}
		}
	}
	s.notify()
}

func (s *Server) read() {
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
		s.Lock()
		s.receive(from, m, bytes.Clone(buffer[:n]))
		s.Unlock()
	}
}

func (s *Server) renotify() {
	for {
		select {
		case <-s.over:
			return
		case <-time.After(RenotifyEvery):
			s.Lock()
			if len(s.Open) > 0 && !s.Still {
				s.notify()
			}
			s.Unlock()
		}
	}
}

func (s *Server) receive(from netip.AddrPort, m message.Message, datagram []byte) {
	switch {
	case m.Type == message.Reset:
		s.Resets++
		return
	case m.Type == message.Acknowledgement:
		s.Acks++
		return
	case s.Quiet:
		return
	case bytes.Equal(s.seen[m.ID], datagram) && s.replies[m.ID] != nil:
		s.write(s.replies[m.ID])
		return
	}
	s.device, s.seen[m.ID], s.replies[m.ID] = from, datagram, nil
	path := strings.Join(m.Options.Strings(message.URIPath), "/")
	if s.Answer != nil {
		if code, instead := s.Answer(m.Code, path); instead {
			if code != message.Empty {
				s.reply(m, message.Message{Code: code, Options: message.Options{message.Uint(message.MaxAge, uint32(AnswerMaxAge/time.Second))}})
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

func (s *Server) register(m message.Message, path string) {
	s.Posts = append(s.Posts, path+"?"+strings.Join(m.Options.Strings(message.URIQuery), "&"))
	if path == "rd" {
		s.reply(m, message.Message{Code: message.Created, Options: message.Options{
			message.Text(message.LocationPath, "rd"), message.Text(message.LocationPath, "h1"),
		}})
		return
	}
	s.reply(m, message.Message{Code: message.Changed})
}

func (s *Server) get(m message.Message) {
	if observe, ok := m.Options.Uint(message.Observe); ok && observe == 0 {
		s.Token = m.Token
	}
	block, later := m.Options.Block(message.Block2)
	if !later || block.Num == 0 {
		s.frozen = s.list()
	}
	answer := s.content(block.Num, block.Size, later)
	if observe, ok := m.Options.Uint(message.Observe); ok && observe == 0 {
		s.Number++
		answer.Options = append(answer.Options, message.Uint(message.Observe, s.Number))
	}
	if !s.Separate {
		s.reply(m, answer)
		return
	}
	s.replies[m.ID] = message.Message{Type: message.Acknowledgement, ID: m.ID}.Append(nil)
	s.write(s.replies[m.ID])
	answer.Token = m.Token
	s.Push(answer)
}

// content is a block of the frozen list.
func (s *Server) content(num uint32, size uint8, later bool) message.Message {
	if !later || size > s.BlockSize {
		size = s.BlockSize
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

func (s *Server) list() []byte {
	open := slices.Clone(s.Open)
	for i, e := range open {
		if !e.Cancel {
			open[i].Seconds = uint64(max(0, time.Until(s.Due[e.Seq]).Truncate(time.Second).Seconds()))
		}
	}
	return wire.AppendList(nil, open)
}

func (s *Server) notify() {
	if s.Token == nil {
		return
	}
	s.Number++
	s.frozen = s.list()
	m := s.content(0, s.BlockSize, false)
	m.Token = s.Token
	m.Options = append(m.Options, message.Uint(message.Observe, s.Number))
	s.Push(m)
}

// Push sends a confirmable message.
func (s *Server) Push(m message.Message) {
	s.nextID++
	m.Type, m.ID = message.Confirmable, s.nextID
	s.write(m.Append(nil))
}

func (s *Server) report(m message.Message, path string) {
	body := m.Payload
	if block, ok := m.Options.Block(message.Block1); ok {
		if int(block.Num)*block.Bytes() != len(s.uploads[path]) {
			s.reply(m, message.Message{Code: message.Incomplete})
			return
		}
		s.uploads[path] = append(s.uploads[path], m.Payload...)
		if block.More {
			block.Size = min(block.Size, s.BlockSize)
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
	s.reply(m, message.Message{Code: s.judge(Told{uint32(n), report})})
}

// judge keeps a report: the first outcome wins.
func (s *Server) judge(r Told) message.Code {
	s.Reports = append(s.Reports, r)
	if !r.Report.Status.Final() {
		return message.Changed
	}
	if before, ended := s.Outcome[r.Seq]; ended && before.Status != r.Report.Status {
		return message.Conflict
	}
	s.Outcome[r.Seq] = r.Report
	s.Open = slices.DeleteFunc(s.Open, func(e wire.Entry) bool { return e.Seq == r.Seq })
	s.notify()
	return message.Changed
}

func (s *Server) reply(to, m message.Message) {
	m.Type, m.ID, m.Token = message.Acknowledgement, to.ID, to.Token
	s.replies[to.ID] = m.Append(nil)
	s.write(s.replies[to.ID])
}

func (s *Server) write(b []byte) {
	if _, err := s.conn.WriteTo(b, s.device); err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.Error(err)
	}
}
