package exchange

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"behest/firmware-sim/message"
)

// Timing holds the transmission parameters. The zero value of each is the
// number of RFC 7252 4.8.
type Timing struct {
	AckTimeout   time.Duration // before the first repeat, times 1 to 1.5 at random
	Retransmits  int
	ResponseWait time.Duration // between an empty ACK and its response
}

// The defaults. The wait for a separate response is the contract's: a device
// that got the empty ACK and nothing else in 30 s asks again.
const (
	ackTimeout     = 2 * time.Second
	ackRandom      = 0.5
	retransmits    = 4
	responseWait   = 30 * time.Second
	tokenBytes     = 4    // random enough that a spoofer off the path does not guess it
	blockSize      = 6    // 1024 bytes: the most that one datagram should carry [RFC 7252 4.6]
	blockBytes     = 1024 // what blockSize stands for
	recentTokens   = 8    // requests that are over and whose response may come again
	echoesMax      = 2    // Echo values that a request carries back, one after the other
	datagramsBytes = 1280 // what a datagram takes: a block and its options
)

func (t Timing) orDefault() Timing {
	if t.AckTimeout == 0 {
		t.AckTimeout = ackTimeout
	}
	if t.Retransmits == 0 {
		t.Retransmits = retransmits
	}
	if t.ResponseWait == 0 {
		t.ResponseWait = responseWait
	}
	return t
}

// Request is what the device asks of its server.
type Request struct {
	Code    message.Code
	Options message.Options
	Token   []byte // nil: a new one
	Body    []byte // goes in blocks when it is longer than one
}

// Kind says what an Event is.
type Kind uint8

// The kinds of events.
const (
	None     Kind = iota
	Answered      // the request has its response
	Lost          // the request was given up: no answer came
	Reset         // the server does not want the request
	Repeated      // the request was sent again: nothing ended, but people want to know
	Notified      // a notification of the watched token
)

// Event is what became of a datagram, or of time that passed.
type Event struct {
	Kind    Kind
	Message message.Message // of Answered and Notified; it aliases nothing
}

// Endpoint is one device's end of the conversation with its server.
type Endpoint struct {
	server netip.AddrPort
	send   func([]byte)
	random *rand.Rand
	timing Timing

	nextID  uint16
	nextTag uint32
	watched []byte   // the observation's token
	recent  [][]byte // tokens of requests that are over, newest last
	seen    memory
	request *outgoing // nil when idle
}

// outgoing is the request under way.
type outgoing struct {
	Request
	token    []byte
	id       uint16
	datagram []byte
	timeout  time.Duration
	repeats  int
	acked    bool // the empty ACK came
	deadline time.Time
	block    message.Block // of the body, when it goes in blocks
	echo     []byte        // goes with the next transmission; nil: none
	echoes   int           // how many there were
}

// New makes an endpoint. Send is called with datagrams for the server; random
// gives message ids, tokens and jitter.
func New(server netip.AddrPort, send func([]byte), random *rand.Rand, timing Timing) *Endpoint {
	return &Endpoint{
		server: server, send: send, random: random, timing: timing.orDefault(),
		nextID: uint16(random.Uint32()), nextTag: random.Uint32(),
	}
}

// NewToken is a token that no other request of this endpoint has.
func (e *Endpoint) NewToken() []byte {
	e.nextTag += 0x9e3779b1 // odd: each value comes once in 2^32
	return binary.BigEndian.AppendUint32(nil, e.nextTag)
}

// Watch makes notifications of token known; before, they get a Reset.
func (e *Endpoint) Watch(token []byte) { e.watched = slices.Clone(token) }

// Busy says whether a request is under way.
func (e *Endpoint) Busy() bool { return e.request != nil }

// Deadline is when Tick has something to do; zero when it never has.
func (e *Endpoint) Deadline() time.Time {
	if e.request == nil {
		return time.Time{}
	}
	return e.request.deadline
}

// Start sends a request. It panics when one is under way.
func (e *Endpoint) Start(now time.Time, r Request) {
	if e.request != nil {
		panic(fmt.Sprintf("exchange: start of %v beside %v", r.Code, e.request.Code))
	}
	e.request = &outgoing{Request: r, block: message.Block{Size: blockSize}}
	e.transmit(now, r.Token)
}

// transmit sends the request, or the block of it that is due, as a new message.
func (e *Endpoint) transmit(now time.Time, token []byte) {
	r := e.request
	if r.token = token; token == nil {
		r.token = e.NewToken()
	}
	r.id = e.newID()
	m := message.Message{
		Type: message.Confirmable, Code: r.Code, ID: r.id, Token: r.token,
		Options: slices.Clone(r.Options), Payload: r.Body,
	}
	if len(r.Body) > blockBytes {
		m.Payload, m.Options = r.slice(m.Options)
	}
	if r.echo != nil {
		m.Options, r.echo = append(m.Options, message.Option{Number: message.Echo, Value: r.echo}), nil
	}
	r.datagram = m.Append(make([]byte, 0, datagramsBytes))
	r.acked, r.repeats = false, 0
	jitter := 1 + ackRandom*e.random.Float64()
	r.timeout = time.Duration(float64(e.timing.AckTimeout) * jitter)
	r.deadline = now.Add(r.timeout)
	e.send(r.datagram)
}

// slice cuts the due block out of the body.
func (r *outgoing) slice(options message.Options) ([]byte, message.Options) {
	start := int(r.block.Num) * r.block.Bytes()
	end := min(start+r.block.Bytes(), len(r.Body))
	r.block.More = end < len(r.Body)
	options = append(options, r.block.Option(message.Block1))
	if r.block.Num == 0 {
		options = append(options, message.Uint(message.Size1, uint32(len(r.Body))))
	}
	return r.Body[start:end], options
}

// Tick does what is due at now.
func (e *Endpoint) Tick(now time.Time) Event {
	r := e.request
	if r == nil || now.Before(r.deadline) {
		return Event{}
	}
	if r.acked || r.repeats == e.timing.Retransmits {
		e.finish()
		return Event{Kind: Lost}
	}
	r.repeats++
	r.timeout *= 2 // [RFC 7252 4.2]
	r.deadline = now.Add(r.timeout)
	e.send(r.datagram)
	return Event{Kind: Repeated}
}

// finish ends the request, and remembers its token.
func (e *Endpoint) finish() {
	e.recent = append(e.recent, e.request.token)
	if len(e.recent) > recentTokens {
		e.recent = e.recent[1:]
	}
	e.request = nil
}

// Receive takes a datagram that came at now.
func (e *Endpoint) Receive(now time.Time, from netip.AddrPort, datagram []byte) Event {
	if from != e.server {
		return Event{}
	}
	m, err := message.Parse(datagram)
	if err != nil {
		if kind, id, ok := message.Header(datagram); ok && kind == message.Confirmable {
			e.reply(message.Reset, id) // [RFC 7252 4.2]
		}
		return Event{}
	}
	switch m.Type {
	case message.Acknowledgement:
		return e.acknowledged(now, m)
	case message.Reset:
		if m.Code == message.Empty && e.request != nil && e.request.id == m.ID {
			e.finish()
			return Event{Kind: Reset}
		}
		return Event{}
	}
	return e.incoming(now, m, datagram)
}

// acknowledged takes an ACK, with or without a response in it.
func (e *Endpoint) acknowledged(now time.Time, m message.Message) Event {
	r := e.request
	if r == nil || r.id != m.ID {
		return Event{}
	}
	switch {
	case m.Code == message.Empty:
		if !r.acked {
			r.acked, r.deadline = true, now.Add(e.timing.ResponseWait)
		}
		return Event{}
	case m.Code.IsResponse() && bytes.Equal(m.Token, r.token) && understood(m):
		return e.answered(now, m)
	}
	return Event{} // rejected in silence: an ACK cannot be answered [RFC 7252 4.2]
}

// incoming takes a confirmable or non-confirmable message: a separate response,
// a notification, or what no device expects.
func (e *Endpoint) incoming(now time.Time, m message.Message, datagram []byte) Event {
	if reply, again := e.seen.reply(now, m.ID, datagram); again { // [RFC 7252 4.5]
		if m.Type == message.Confirmable {
			e.reply(reply, m.ID)
		}
		return Event{}
	}
	mine := e.request != nil && bytes.Equal(m.Token, e.request.token)
	watched := e.watched != nil && bytes.Equal(m.Token, e.watched)
	known := mine || watched || slices.ContainsFunc(e.recent, func(t []byte) bool { return bytes.Equal(t, m.Token) })
	accepted := m.Code.IsResponse() && known && understood(m)
	reply := message.Acknowledgement
	if !accepted {
		reply = message.Reset // [RFC 7252 4.2, 4.3; RFC 7641 3.6]
	}
	if m.Type == message.Confirmable || reply == message.Reset {
		e.reply(reply, m.ID)
	}
	e.seen.note(now, m.ID, datagram, reply)
	switch {
	case !accepted:
		return Event{}
	case mine:
		return e.answered(now, m)
	case watched:
		return Event{Kind: Notified, Message: m.Clone()}
	}
	return Event{}
}

// answered takes the response to the request: it is over, unless the body has
// more blocks and the server wants them, or it wants to see that what it sends
// arrives here [RFC 9175 2.3].
func (e *Endpoint) answered(now time.Time, m message.Message) Event {
	r := e.request
	if m.Code == message.Continue && r.block.More {
		r.advance(m.Options)
		e.transmit(now, nil)
		return Event{}
	}
	if echo, ok := m.Options.Bytes(message.Echo); ok && m.Code == message.Unauthorized && r.echoes < echoesMax {
		r.echo, r.echoes = slices.Clone(echo), r.echoes+1
		e.transmit(now, r.Token)
		return Event{}
	}
	e.finish()
	return Event{Kind: Answered, Message: m.Clone()}
}

// advance moves to the next block, in the smaller size that the server may have
// asked for [RFC 7959 2.5].
func (r *outgoing) advance(options message.Options) {
	sent := (int(r.block.Num) + 1) * r.block.Bytes()
	if wanted, ok := options.Block(message.Block1); ok && wanted.Size < r.block.Size {
		r.block.Size = wanted.Size
	}
	r.block.Num = uint32(sent / r.block.Bytes())
}

// understood says whether m has no critical option that is unknown here.
func understood(m message.Message) bool {
	return !slices.ContainsFunc(m.Options, func(o message.Option) bool {
		return o.Number.Critical() && o.Number != message.Block1 && o.Number != message.Block2
	})
}

// reply sends an empty ACK or a Reset.
func (e *Endpoint) reply(kind message.Type, id uint16) {
	e.send(message.Message{Type: kind, Code: message.Empty, ID: id}.Append(nil))
}

func (e *Endpoint) newID() uint16 {
	e.nextID++
	return e.nextID
}
