package endpoint

import (
	"errors"
	"net"
	"sync"
)

// packet is a datagram to send, from a pool.
type packet struct {
	peer Peer
	n    int
	buf  [packetBytesMax]byte
}

// outbox is the bounded queue to the goroutine that writes, so that nobody else
// waits for the socket. What is put while a batch is being written goes out in
// the next one: batches grow with the load, and nothing waits for a timer.
type outbox struct {
	conn  PacketConn
	max   int
	batch int
	pool  sync.Pool
	ready chan struct{} // one token: there is something

	mu     sync.Mutex
	queue  []*packet
	closed bool
}

func newOutbox(conn PacketConn, limit, batch int) *outbox {
	return &outbox{conn: conn, max: limit, batch: batch, ready: make(chan struct{}, 1),
		pool: sync.Pool{New: func() any { return new(packet) }}}
}

func (o *outbox) packet() *packet { return o.pool.Get().(*packet) }

// put takes k, and tells whether there was room.
func (o *outbox) put(k *packet) bool {
	o.mu.Lock()
	ok := !o.closed && len(o.queue) < o.max
	if ok {
		o.queue = append(o.queue, k)
	}
	first := ok && len(o.queue) == 1
	o.mu.Unlock()
	if !ok {
		o.pool.Put(k)
		return false
	}
	if first {
		select {
		case o.ready <- struct{}{}:
		default: // a token is there already
		}
	}
	return true
}

// run writes until stop, and then what is left.
func (o *outbox) run(stop <-chan struct{}, s *counters) {
	taken := make([]*packet, 0, o.batch)
	datagrams := make([]Datagram, o.batch)
	for stopped := false; ; {
		o.mu.Lock()
		taken, o.queue = o.queue, taken[:0]
		o.closed = stopped && len(taken) == 0
		o.mu.Unlock()
		if len(taken) == 0 {
			if stopped {
				return
			}
			select {
			case <-o.ready:
			case <-stop:
				stopped = true
			}
			continue
		}
		for rest := taken; len(rest) > 0; {
			n := min(len(rest), o.batch)
			if !o.write(rest[:n], datagrams, s) {
				stopped = true // the connection is gone; so are the packets
			}
			rest = rest[n:]
		}
		clear(taken)
	}
}

// write sends one batch and returns the packets to the pool. A datagram that
// the network refuses is dropped alone; false: the connection is closed.
func (o *outbox) write(packets []*packet, datagrams []Datagram, s *counters) bool {
	for i, k := range packets {
		datagrams[i] = Datagram{Peer: k.peer, Data: k.buf[:k.n]}
	}
	open := true
	for rest := datagrams[:len(packets)]; len(rest) > 0 && open; {
		n, err := o.conn.WriteBatch(rest)
		s.Sent.Add(uint64(n))
		rest = rest[n:]
		if err != nil && len(rest) > 0 {
			s.SendErrors.Add(1)
			rest = rest[1:]
			open = !errors.Is(err, net.ErrClosed)
		}
	}
	clear(datagrams[:len(packets)])
	for _, k := range packets {
		o.pool.Put(k)
	}
	return open
}
