package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
	"behest/coap/endpoint"
	"behest/coap/udp"
)

// patience is how long a device tries to get in before it gives up for now.
const patience = 20 * time.Second

var attackKey = []byte("0123456789abcdef")

// anybody lets every identity in with one key.
type anybody struct{}

func (anybody) PSKs(string) [][]byte         { return [][]byte{attackKey} }
func (anybody) Roots() *x509.CertPool        { return nil }
func (anybody) Revoked(dtls.Credential) bool { return false }

// tunnel is coap/dtls on a real socket, with its own bounds. It sends each
// message back, and counts how often each came.
type tunnel struct {
	*dtls.Conn
	over  sync.WaitGroup
	ended atomic.Int64 // sessions
	ran   error

	mu   sync.Mutex
	came map[string]int
}

func openTunnel() (*tunnel, error) {
	inner, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		return nil, err
	}
	t := &tunnel{came: map[string]int{}}
	t.Conn, err = dtls.New(inner, anybody{}, dtls.Options{Ended: func(dtls.Session, dtls.Reason) { t.ended.Add(1) }})
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	t.over.Go(func() { t.ran = t.Run() })
	t.over.Go(t.echo)
	return t, nil
}

func (t *tunnel) echo() {
	batch := make([]endpoint.Datagram, volleyBatch)
	for i := range batch {
		batch[i].Data = make([]byte, 0, replyMax)
	}
	for {
		n, err := t.ReadBatch(batch)
		if err != nil {
			return
		}
		t.mu.Lock()
		for _, d := range batch[:n] {
			t.came[string(d.Data)]++
		}
		t.mu.Unlock()
		_, _ = t.WriteBatch(batch[:n]) // who is gone does not hear it
	}
}

// often is how often a message came.
func (t *tunnel) often(text string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.came[text]
}

// messages is how many different ones came.
func (t *tunnel) messages() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.came)
}

func (t *tunnel) close() error {
	err := t.Close()
	t.over.Wait()
	return errors.Join(err, t.ran)
}

// tap is a device's socket: it keeps what the device sent.
type tap struct {
	*net.UDPConn
	mu   sync.Mutex
	sent [][]byte
}

func (p *tap) WriteTo(b []byte, to net.Addr) (int, error) {
	p.mu.Lock()
	p.sent = append(p.sent, slices.Clone(b))
	p.mu.Unlock()
	return p.UDPConn.WriteTo(b, to)
}

// records are those that the device sent so far.
func (p *tap) records() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

// visitor is a device with a session.
type visitor struct {
	*pion.Conn
	tap *tap
	to  net.Addr
}

// visit shakes hands, from an address of its own.
func (t *tunnel) visit(ctx context.Context, n int) (*visitor, error) {
	pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source(100, n), 0)))
	if err != nil {
		return nil, err
	}
	v := &visitor{tap: &tap{UDPConn: pc}, to: net.UDPAddrFromAddrPort(t.LocalAddr())}
	v.Conn, err = pion.ClientWithOptions(v.tap, v.to,
		pion.WithPSK(func([]byte) ([]byte, error) { return attackKey, nil }), pion.WithPSKIdentityHint(fmt.Appendf(nil, "device-%d", n)),
		pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CCM_8), pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator()))
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	if err := v.HandshakeContext(ctx); err != nil {
		_ = v.Close()  // there is nothing to end
		_ = pc.Close() // likewise
		return nil, err
	}
	return v, nil
}

func (v *visitor) leave() {
	_ = v.Close() // the word that it leaves may be lost
	_ = v.tap.Close()
}

const (
	echoTries = 10
	echoWait  = 2 * time.Second
)

// say sends a message until it is answered.
func (v *visitor) say(text string) error {
	buf := make([]byte, replyMax)
	for range echoTries {
		if _, err := v.Write([]byte(text)); err != nil {
			return err
		}
		_ = v.SetReadDeadline(time.Now().Add(echoWait)) // of a conn that is open
		for {
			n, err := v.Read(buf)
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				break
			}
			if err != nil {
				return err
			}
			if n == 4 && buf[0] == 0x40 { // a ping: reset it [RFC 7252 4.3]
				_, _ = v.Write([]byte{0x70, 0, buf[2], buf[3]})
			} else if string(buf[:n]) == text {
				return nil
			}
		}
	}
	return fmt.Errorf("no answer to %q", text)
}

// inUse is what the process needs now: this program's devices included.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
