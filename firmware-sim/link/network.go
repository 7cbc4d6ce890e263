package link

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// mailboxDatagrams is how many datagrams wait for a slow reader in memory before
// more are dropped: what a small socket buffer holds.
const mailboxDatagrams = 256

// datagram is a packet on its way.
type datagram struct {
	content []byte
	from    netip.AddrPort
}

// mailbox is a bounded queue that drops what does not fit.
type mailbox struct {
	letters chan datagram
	closed  chan struct{}
	once    sync.Once
}

func newMailbox() *mailbox {
	return &mailbox{letters: make(chan datagram, mailboxDatagrams), closed: make(chan struct{})}
}

func (m *mailbox) put(d datagram) {
	select {
	case m.letters <- d:
	default: // full: a network may drop
	}
}

func (m *mailbox) take(p []byte) (int, netip.AddrPort, error) {
	select {
	case <-m.closed: // first, so that nothing is read after Close
		return 0, netip.AddrPort{}, net.ErrClosed
	default:
	}
	select {
	case <-m.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case d := <-m.letters:
		return copy(p, d.content), d.from, nil
	}
}

func (m *mailbox) close() { m.once.Do(func() { close(m.closed) }) }

// Network is a network in memory. It delivers at once and in order; Impair a
// Conn for anything worse. Datagrams to an address where nobody listens vanish.
type Network struct {
	mu    sync.Mutex
	hosts map[netip.AddrPort]*mailbox
}

// NewNetwork is a network without hosts.
func NewNetwork() *Network { return &Network{hosts: map[netip.AddrPort]*mailbox{}} }

// Listen opens a Conn at an address that nobody else holds.
func (n *Network) Listen(at netip.AddrPort) (Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.hosts[at]; taken {
		return nil, fmt.Errorf("listen: %v is in use", at)
	}
	n.hosts[at] = newMailbox()
	return &host{network: n, at: at, inbox: n.hosts[at]}, nil
}

// host is one address of a Network.
type host struct {
	network *Network
	at      netip.AddrPort
	inbox   *mailbox
}

func (h *host) ReadFrom(p []byte) (int, netip.AddrPort, error) { return h.inbox.take(p) }

func (h *host) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	select {
	case <-h.inbox.closed:
		return 0, net.ErrClosed
	default:
	}
	h.network.mu.Lock()
	peer := h.network.hosts[to]
	h.network.mu.Unlock()
	if peer != nil {
		peer.put(datagram{content: bytes.Clone(p), from: h.at})
	}
	return len(p), nil
}

func (h *host) Close() error {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if h.network.hosts[h.at] == h.inbox {
		delete(h.network.hosts, h.at)
	}
	h.inbox.close()
	return nil
}
