package dtls_test

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// proxy is a NAT between one client and the server: it can change the port that
// the server sees, and keep what passes.
type proxy struct {
	front *net.UDPConn // the client's side
	to    *net.UDPAddr

	mu     sync.Mutex
	back   *net.UDPConn
	client netip.AddrPort
	hold   bool                   // keep what the client sends, and pass nothing on
	twice  bool                   // what the client sends comes twice
	loses  func(down []byte) bool // of what the server sends; mu is held
	up     [][]byte               // what the client sent
	in     int                    // bytes up and down by the present port
	out    int
}

func newProxy(t testing.TB, to *net.UDPAddr) *proxy {
	p := &proxy{front: socket(t, "127.0.0.1:0"), to: to}
	p.rebind(t)
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := p.front.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.client = from
			p.up = append(p.up, append([]byte(nil), b[:n]...))
			if !p.hold {
				p.in += n
				p.back.WriteTo(b[:n], p.to)
				if p.twice {
					p.back.WriteTo(b[:n], p.to)
				}
			}
			p.mu.Unlock()
		}
	}()
	return p
}

// rebind gives the client another port.
func (p *proxy) rebind(t testing.TB) {
	back := socket(t, "127.0.0.1:0")
	p.mu.Lock()
	p.back, p.in, p.out = back, 0, 0
	p.mu.Unlock()
	go func() {
		b := make([]byte, 2048)
		for {
			n, err := back.Read(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			if p.back == back {
				p.out += n
			}
			if p.loses == nil || !p.loses(b[:n]) {
				p.front.WriteToUDPAddrPort(b[:n], p.client)
			}
			p.mu.Unlock()
		}
	}()
}

func (p *proxy) outside() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.back.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (p *proxy) bytes() (in, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.in, p.out
}

func (p *proxy) sent() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.up...)
}

func (p *proxy) withhold(on bool) {
	p.mu.Lock()
	p.hold = on
	p.mu.Unlock()
}

// plug is a socket that a device loses when it reboots, while its successor
// goes on with the same one.
type plug struct {
	*net.UDPConn
	mu      sync.Mutex
	out     bool
	reading sync.Mutex // held while somebody reads
}

var errUnplugged = errors.New("unplugged")

func (p *plug) unplug() {
	p.mu.Lock()
	p.out = true
	p.mu.Unlock()
	p.UDPConn.SetReadDeadline(time.Unix(1, 0))
	p.reading.Lock() // what comes from now on is the successor's
	p.UDPConn.SetReadDeadline(time.Time{})
	p.reading.Unlock()
}

func (p *plug) isOut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out
}

func (p *plug) ReadFrom(b []byte) (int, net.Addr, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if p.isOut() {
		return 0, nil, net.ErrClosed
	}
	n, a, err := p.UDPConn.ReadFrom(b)
	if p.isOut() {
		return 0, nil, net.ErrClosed
	}
	return n, a, err
}

func (p *plug) WriteTo(b []byte, to net.Addr) (int, error) {
	if p.isOut() {
		return 0, errUnplugged
	}
	return p.UDPConn.WriteTo(b, to)
}

// Close leaves the socket to the successor.
func (p *plug) Close() error {
	if !p.isOut() {
		p.unplug()
	}
	return nil
}

// SetReadDeadline is the owner's alone.
func (p *plug) SetReadDeadline(at time.Time) error {
	if p.isOut() {
		return nil
	}
	return p.UDPConn.SetReadDeadline(at)
}

// halfway is a plug by which only ClientHellos leave.
type halfway struct{ *plug }

func (p *halfway) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(b) > 13 && (b[0] != 22 || b[13] != 1) {
		return len(b), nil
	}
	return p.plug.WriteTo(b, to)
}

// helloOf is a whole first ClientHello, each salt another one.
func helloOf(salt ...byte) []byte {
	body := []byte{0xfe, 0xfd}
	random := make([]byte, 32)
	copy(random, salt)
	body = append(body, random...)
	body = append(body, 0, 0)                           // no session, no cookie
	body = append(body, 0, 2, 0xc0, 0xa8)               // TLS_PSK_WITH_AES_128_CCM_8
	body = append(body, 1, 0)                           // no compression
	b := append([]byte{1, 0, 0, byte(len(body))}, 0, 0) // ClientHello, message 0
	b = append(b, 0, 0, 0, 0, 0, byte(len(body)))       // in one piece
	b = append(b, body...)
	r := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(b))}
	return append(r, b...)
}
