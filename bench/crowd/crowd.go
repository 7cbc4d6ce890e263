package crowd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"behest/coap/endpoint"
	"behest/coap/udp"
	"behest/firmware-sim/message"
	"behest/firmware-sim/wire"
)

// Hooks hear what happens. Nil ones hear nothing.
type Hooks struct {
	// Listed: a command came to a device for the first time.
	Listed func(device int, e wire.Entry, at time.Time)
	// Done: the server has answered the report on it with 2.04.
	Done func(device int, seq uint32, at time.Time)
}

// Crowd is the devices.
type Crowd struct {
	conn   *udp.Conn
	server netip.AddrPort
	prefix string
	hooks  Hooks
	refuse atomic.Int64 // answers other than the hoped-for ones

	mu       sync.Mutex
	devices  []device
	joined   int           // devices that observe
	next     int           // the next one to register
	most     int           // to which devices register
	complete chan struct{} // closed when all up to most observe
	out      []endpoint.Datagram
}

// device is one of them. 32 bytes.
type device struct {
	sent  time.Duration // when its last request left, since epoch; 0: none waits
	seq   uint32        // the newest command
	mid   uint16
	stage stage
}

type stage uint8

const (
	absent stage = iota
	registering
	observing
	present
	reporting
)

// The kinds of requests, in their tokens.
const (
	kindRegister = iota + 1
	kindObserve
	kindReport
)

const (
	// Most is how many devices there can be.
	Most = 1 << 24

	batch       = 32
	tokenBytes  = 4
	reportToken = 8
	lifetime    = "lt=86400"
	againAfter  = 2 * time.Second
	againEvery  = 500 * time.Millisecond
	joining     = 512 // devices that register at a time: what one group of commits takes
	datagramMax = 1280
)

var epoch = time.Now()

// New makes n devices of a server, named prefix-0, prefix-1, ...
func New(server netip.AddrPort, prefix string, n int, h Hooks) (*Crowd, error) {
	if n < 1 || n > Most-1<<16 { // the first addresses are the machine's own
		return nil, fmt.Errorf("crowd: %d devices", n)
	}
	conn, err := udp.Listen("0.0.0.0:0", udp.Options{})
	if err != nil {
		return nil, err
	}
	return &Crowd{conn: conn, server: server, prefix: prefix, hooks: h, devices: make([]device, n), complete: make(chan struct{})}, nil
}

// Name is the name of device i.
func (c *Crowd) Name(i int) string { return c.prefix + "-" + strconv.Itoa(i) }

// Refused is how many answers were not what a device hopes for.
func (c *Crowd) Refused() int64 { return c.refuse.Load() }

// Dropped is how many datagrams the kernel dropped before the crowd read them.
func (c *Crowd) Dropped() uint32 { return c.conn.Dropped() }

func address(i int) netip.Addr {
	n := uint32(127<<24 | 1<<16 + i)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func indexOf(a netip.Addr) int {
	b := a.As4()
	return int(b[1])<<16 + int(b[2])<<8 + int(b[3]) - 1<<16
}

// Run lets the crowd live until ctx ends.
func (c *Crowd) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.read() })
	g.Go(func() error { return c.sendAgain(ctx) })
	g.Go(func() error { <-ctx.Done(); return c.conn.Close() })
	return g.Wait()
}

// Join lets devices register and observe until there are n of them.
func (c *Crowd) Join(ctx context.Context, n int) error {
	c.mu.Lock()
	if n > len(c.devices) {
		c.mu.Unlock()
		return fmt.Errorf("crowd: %d of %d devices", n, len(c.devices))
	}
	c.most, c.complete = n, make(chan struct{})
	done := c.complete
	for range joining {
		c.joinNext()
	}
	c.flush()
	c.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("crowd: %d of %d devices joined, %d refusals: %w", c.joined, n, c.Refused(), context.Cause(ctx))
	}
}

// joinNext lets the next device register. [mu held]
func (c *Crowd) joinNext() {
	if c.next < c.most {
		c.request(c.next, registering)
		c.next++
	}
}

// read takes what comes in.
func (c *Crowd) read() error {
	in, buffers := make([]endpoint.Datagram, batch), make([]byte, batch*datagramMax)
	for {
		for i := range in {
			in[i].Data = buffers[i*datagramMax:][:datagramMax:datagramMax]
		}
		n, err := c.conn.ReadBatch(in)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		c.mu.Lock()
		for _, d := range in[:n] {
			if i := indexOf(d.Peer.Local); i >= 0 && i < len(c.devices) {
				c.take(i, d.Data, now)
			}
		}
		c.flush()
		c.mu.Unlock()
	}
}

// take takes one datagram for device i. [mu held]
func (c *Crowd) take(i int, b []byte, now time.Time) {
	m, err := message.Parse(b)
	if err != nil || !m.Code.IsResponse() {
		return // an empty ACK: the answer comes by itself
	}
	if m.Type == message.Confirmable {
		c.send(i, []byte{1<<6 | byte(message.Acknowledgement)<<4, 0, byte(m.ID >> 8), byte(m.ID)})
	}
	if len(m.Token) < tokenBytes {
		return
	}
	d := &c.devices[i]
	switch kind := m.Token[3]; {
	case kind == kindRegister && d.stage == registering && m.Code == message.Created:
		c.request(i, observing)
	case kind == kindObserve && m.Code == message.Content:
		if d.stage == observing {
			d.stage, d.sent = present, 0
			c.hasJoined()
		}
		c.listed(i, m.Payload, now)
	case kind == kindReport && m.Code == message.Changed && len(m.Token) == reportToken:
		seq := binary.BigEndian.Uint32(m.Token[tokenBytes:])
		if d.seq == seq && d.stage == reporting {
			d.stage, d.sent = present, 0
		}
		if c.hooks.Done != nil {
			c.hooks.Done(i, seq, now)
		}
	default:
		c.refuse.Add(1) // sent again in a while
	}
}

// hasJoined counts a device that observes, and lets the next come. [mu held]
func (c *Crowd) hasJoined() {
	c.joined++
	c.joinNext()
	if c.joined == c.most {
		close(c.complete)
	}
}

// listed takes an open list: what is new in it is done at once. [mu held]
func (c *Crowd) listed(i int, payload []byte, now time.Time) {
	list, err := wire.DecodeList(payload)
	if err != nil {
		c.refuse.Add(1)
		return
	}
	d := &c.devices[i]
	for _, e := range list {
		if e.Cancel || e.Seq < d.seq || e.Seq == d.seq && d.stage == reporting {
			continue
		}
		fresh := e.Seq > d.seq
		d.seq = e.Seq
		c.request(i, reporting)
		if fresh && c.hooks.Listed != nil {
			c.hooks.Listed(i, e, now)
		}
	}
}

// sendAgain repeats what was not answered.
func (c *Crowd) sendAgain(ctx context.Context) error {
	tick := time.NewTicker(againEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		c.mu.Lock()
		before := time.Since(epoch) - againAfter
		for i := range c.devices {
			if d := &c.devices[i]; d.sent != 0 && d.sent < before {
				c.request(i, d.stage)
			}
		}
		c.flush()
		c.mu.Unlock()
	}
}

// request sends the request of a stage. [mu held]
func (c *Crowd) request(i int, s stage) {
	d := &c.devices[i]
	d.stage, d.sent = s, time.Since(epoch)
	m := message.Message{Type: message.Confirmable, ID: d.mid, Token: []byte{byte(i >> 16), byte(i >> 8), byte(i), 0}}
	d.mid++
	switch s {
	case registering:
		m.Code, m.Token[3] = message.POST, kindRegister
		m.Options = message.Options{
			message.Text(message.URIPath, "rd"),
			message.Text(message.URIQuery, "ep="+c.Name(i)), message.Text(message.URIQuery, lifetime),
		}
	case observing:
		m.Code, m.Token[3] = message.GET, kindObserve
		m.Options = message.Options{
			message.Uint(message.Observe, 0), message.Text(message.URIPath, "c"), message.Text(message.URIPath, c.Name(i)),
		}
	case reporting:
		m.Code, m.Token[3] = message.POST, kindReport
		m.Token = binary.BigEndian.AppendUint32(m.Token, d.seq)
		m.Options = message.Options{
			message.Text(message.URIPath, "c"), message.Text(message.URIPath, c.Name(i)),
			message.Text(message.URIPath, strconv.FormatUint(uint64(d.seq), 10)), message.Uint(message.ContentFormat, formatCBOR),
		}
		m.Payload = success
	}
	c.send(i, m.Append(make([]byte, 0, 96)))
}

const formatCBOR = 60

// success is {1: 1, 5: {"ok": true}}.
var success = []byte("\xa2\x01\x01\x05\xa1\x62ok\xf5")

// send puts a datagram of device i into the batch. [mu held]
func (c *Crowd) send(i int, b []byte) {
	c.out = append(c.out, endpoint.Datagram{Peer: endpoint.Peer{Remote: c.server, Local: address(i)}, Data: b})
}

// flush sends the batch. What the socket refuses is lost, as on a network. [mu held]
func (c *Crowd) flush() {
	for sent := 0; sent < len(c.out); {
		n, err := c.conn.WriteBatch(c.out[sent:])
		if sent += n; err != nil {
			sent++
		}
	}
	clear(c.out)
	c.out = c.out[:0]
}
