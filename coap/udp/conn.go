package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// Options are how a socket is set up. The zero value is good.
type Options struct {
	// ReceiveBufferBytes is asked of the system; 4 MiB when it is 0: about 50 ms
	// of small datagrams at 20,000 a second, with their book-keeping.
	ReceiveBufferBytes int
	// BatchMax is the most datagrams that one call reads or writes; 64 when it is 0.
	BatchMax int
}

const (
	receiveBufferDefault = 4 << 20
	batchDefault         = 64
	// batchLimit is UIO_MAXIOV: the kernel takes no more in one call.
	batchLimit = 1024
)

// Conn is a UDP socket. One goroutine may read while another writes.
type Conn struct {
	udp     *net.UDPConn
	local   netip.AddrPort
	batch   int
	buffer  int // of the receive buffer, as the system granted it
	dropped atomic.Uint32
	system
}

// Listen opens a socket on addr, "host:port" or ":port".
func Listen(addr string, o Options) (*Conn, error) {
	if addr == "" {
		return nil, errors.New("udp: no address to listen on")
	}
	if o.ReceiveBufferBytes < 0 || o.BatchMax < 0 || o.BatchMax > batchLimit {
		return nil, fmt.Errorf("udp: receive buffer %d or batch %d is out of range", o.ReceiveBufferBytes, o.BatchMax)
	}
	if o.ReceiveBufferBytes == 0 {
		o.ReceiveBufferBytes = receiveBufferDefault
	}
	if o.BatchMax == 0 {
		o.BatchMax = batchDefault
	}
	c := &Conn{batch: o.BatchMax}
	config := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		return c.prepare(network, raw, o.ReceiveBufferBytes)
	}}
	pc, err := config.ListenPacket(context.Background(), "udp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("udp: %s is taken: another process listens there", addr)
	case err != nil:
		return nil, fmt.Errorf("udp: cannot listen on %s: %w", addr, cause(err))
	}
	c.udp = pc.(*net.UDPConn)
	bound := c.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	c.local = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	if err := c.start(); err != nil {
		c.udp.Close()
		return nil, fmt.Errorf("udp: %s: %w", addr, err)
	}
	return c, nil
}

// cause strips the operation and address that net puts in front.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// LocalAddr returns the address that the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// ReceiveBufferBytes returns what the system granted.
func (c *Conn) ReceiveBufferBytes() int { return c.buffer }

// Dropped returns how many datagrams the kernel dropped because the receive
// buffer was full, as of the last datagram read. It wraps at 2^32.
func (c *Conn) Dropped() uint32 { return c.dropped.Load() }

// Close closes the socket; a blocked ReadBatch returns net.ErrClosed.
func (c *Conn) Close() error { return c.udp.Close() }
