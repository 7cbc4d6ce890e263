package link

import (
	"fmt"
	"net"
	"net/netip"
)

// Conn sends and receives datagrams. ReadFrom is called by one goroutine at a
// time; WriteTo and Close may be called beside it.
type Conn interface {
	// ReadFrom waits for a datagram and copies it into p. What is longer than p
	// is cut. After Close it returns an error.
	ReadFrom(p []byte) (n int, from netip.AddrPort, err error)
	// WriteTo sends a datagram, and keeps nothing of p.
	WriteTo(p []byte, to netip.AddrPort) (n int, err error)
	Close() error
}

// UDP opens a socket that can reach server. Local may be the zero AddrPort: any
// address, any port.
func UDP(local, server netip.AddrPort) (*Socket, error) {
	network := "udp4"
	if server.Addr().Unmap().Is6() {
		network = "udp6"
	}
	var address *net.UDPAddr
	if local.IsValid() {
		address = net.UDPAddrFromAddrPort(local)
	}
	socket, err := net.ListenUDP(network, address)
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	return &Socket{socket}, nil
}

// Socket is a Conn over UDP.
type Socket struct{ socket *net.UDPConn }

// Local is the address that it is bound to.
func (s *Socket) Local() netip.AddrPort { return s.socket.LocalAddr().(*net.UDPAddr).AddrPort() }

// ReadFrom is Conn's.
func (s *Socket) ReadFrom(p []byte) (int, netip.AddrPort, error) {
	n, from, err := s.socket.ReadFromUDPAddrPort(p)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// WriteTo is Conn's.
func (s *Socket) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	return s.socket.WriteToUDPAddrPort(p, to)
}

// Close is Conn's.
func (s *Socket) Close() error { return s.socket.Close() }
