//go:build !linux

package udp

import (
	"syscall"

	"behest/coap/endpoint"
)

type system struct{}

func (c *Conn) prepare(string, syscall.RawConn, int) error { return nil }
func (c *Conn) start() error                               { return nil }

// ReadBatch blocks for one datagram.
func (c *Conn) ReadBatch(batch []endpoint.Datagram) (int, error) {
	d := &batch[0]
	n, from, err := c.udp.ReadFromUDPAddrPort(d.Data[:cap(d.Data)])
	if err != nil {
		return 0, cause(err)
	}
	// The system cuts a datagram that is too large in silence; one that just fits
	// counts as cut.
	d.Data, d.Truncated = d.Data[:n], n == cap(d.Data)
	d.Peer = endpoint.Peer{Remote: from}
	return 1, nil
}

// WriteBatch sends the datagrams in order. It returns how many have left; an
// error concerns the one after these.
func (c *Conn) WriteBatch(batch []endpoint.Datagram) (int, error) {
	for i, d := range batch {
		if _, err := c.udp.WriteToUDPAddrPort(d.Data, d.Peer.Remote); err != nil {
			return i, cause(err)
		}
	}
	return len(batch), nil
}
