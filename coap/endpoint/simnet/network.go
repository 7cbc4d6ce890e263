package simnet

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"behest/coap/endpoint"
)

// Conditions are what happens to datagrams. Rates are from 0 to 1; the zero
// value is a perfect network.
type Conditions struct {
	Loss      float64
	Duplicate float64 // one more copy, with a delay of its own
	Corrupt   float64 // one bit flipped
	DelayMin  time.Duration
	DelayMax  time.Duration
}

// Counts are what happened so far.
type Counts struct{ Sent, Lost, Duplicated, Corrupted, Delivered, Overflowed int }

// inboxMax is what a Conn holds before it drops, as a socket buffer does.
const inboxMax = 1 << 14

// Network joins Conns by address.
type Network struct {
	mu         sync.Mutex
	rand       *rand.Rand
	conditions Conditions
	conns      map[netip.AddrPort]*Conn
	counts     Counts
	watch      func(from, to netip.AddrPort, data []byte) bool
}

// New returns a network whose accidents follow from seed.
func New(seed uint64, c Conditions) *Network {
	return &Network{rand: rand.New(rand.NewPCG(seed, 0)), conditions: c, conns: map[netip.AddrPort]*Conn{}}
}

// Set changes the conditions.
func (n *Network) Set(c Conditions) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conditions = c
}

// Watch calls f for each datagram that is sent; it is lost when f says false.
// f must not send.
func (n *Network) Watch(f func(from, to netip.AddrPort, data []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watch = f
}

// Counts returns what happened so far.
func (n *Network) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

// Listen returns a Conn on addr and on the same port of the other addresses.
func (n *Network) Listen(addr netip.AddrPort, others ...netip.Addr) (*Conn, error) {
	c := &Conn{network: n, addr: addr, inbox: make(chan endpoint.Datagram, inboxMax), closed: make(chan struct{})}
	for _, a := range append([]netip.Addr{addr.Addr()}, others...) {
		c.all = append(c.all, netip.AddrPortFrom(a, addr.Port()))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range c.all {
		if n.conns[a] != nil {
			return nil, fmt.Errorf("simnet: %v is taken", a)
		}
	}
	for _, a := range c.all {
		n.conns[a] = c
	}
	return c, nil
}

// send takes a datagram on its way.
func (n *Network) send(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts.Sent++
	c := n.conditions
	if n.watch != nil && !n.watch(from, to, data) || n.rand.Float64() < c.Loss {
		n.counts.Lost++
		return
	}
	copies := 1
	if n.rand.Float64() < c.Duplicate {
		copies++
		n.counts.Duplicated++
	}
	for range copies {
		copied := bytes.Clone(data)
		if len(copied) > 0 && n.rand.Float64() < c.Corrupt {
			copied[n.rand.IntN(len(copied))] ^= 1 << n.rand.IntN(8)
			n.counts.Corrupted++
		}
		delay := c.DelayMin
		if spread := c.DelayMax - c.DelayMin; spread > 0 {
			delay += time.Duration(n.rand.Int64N(int64(spread)))
		}
		if delay <= 0 {
			n.deliverLocked(from, to, copied)
			continue
		}
		time.AfterFunc(delay, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.deliverLocked(from, to, copied)
		})
	}
}

func (n *Network) deliverLocked(from, to netip.AddrPort, data []byte) {
	c := n.conns[to]
	if c == nil {
		return // nobody there: as UDP, without a word
	}
	select {
	case c.inbox <- endpoint.Datagram{Peer: endpoint.Peer{Remote: from, Local: to.Addr()}, Data: data}:
		n.counts.Delivered++
	default:
		n.counts.Overflowed++
	}
}

func (n *Network) remove(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range c.all {
		delete(n.conns, a)
	}
}

// Conn is a PacketConn on a Network.
type Conn struct {
	network *Network
	addr    netip.AddrPort
	all     []netip.AddrPort
	inbox   chan endpoint.Datagram
	once    sync.Once
	closed  chan struct{}
}

var _ endpoint.PacketConn = (*Conn)(nil)

// LocalAddr returns the first address.
func (c *Conn) LocalAddr() netip.AddrPort { return c.addr }

// ReadBatch blocks for at least one datagram.
func (c *Conn) ReadBatch(batch []endpoint.Datagram) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case d := <-c.inbox:
		fill(&batch[0], d)
	}
	for n := 1; n < len(batch); n++ {
		select {
		case d := <-c.inbox:
			fill(&batch[n], d)
		default:
			return n, nil
		}
	}
	return len(batch), nil
}

func fill(to *endpoint.Datagram, d endpoint.Datagram) {
	room := to.Data[:cap(to.Data)]
	n := copy(room, d.Data)
	*to = endpoint.Datagram{Peer: d.Peer, Data: room[:n], Truncated: n < len(d.Data)}
}

// WriteBatch sends the datagrams in order.
func (c *Conn) WriteBatch(batch []endpoint.Datagram) (int, error) {
	for i, d := range batch {
		if err := c.Send(d); err != nil {
			return i, err
		}
	}
	return len(batch), nil
}

// Send sends one datagram.
func (c *Conn) Send(d endpoint.Datagram) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	from := c.addr
	if d.Peer.Local.IsValid() {
		from = netip.AddrPortFrom(d.Peer.Local, c.addr.Port())
		if !slices.Contains(c.all, from) {
			return fmt.Errorf("simnet: %v is no address of this conn", from)
		}
	}
	c.network.send(from, d.Peer.Remote, d.Data)
	return nil
}

// Receive waits for a datagram, at most for d.
func (c *Conn) Receive(d time.Duration) (endpoint.Datagram, bool) {
	select {
	case got := <-c.inbox:
		return got, true
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case got := <-c.inbox:
		return got, true
	case <-timer.C:
	case <-c.closed:
	}
	return endpoint.Datagram{}, false
}

// Close takes the Conn off the network.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.network.remove(c)
		close(c.closed)
	})
	return nil
}
