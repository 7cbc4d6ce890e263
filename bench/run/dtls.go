package main

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
	"behest/coap/endpoint"
)

// The two servers of the part dtls: ours, under the endpoint, and pion's own
// listener, which answers each message with itself.
const (
	sessions = "sessions"
	listener = "listener"
)

// The load of the part dtls.
const (
	knockers      = 2    // devices that handshake at once
	sessionsIdle  = 1000 // for their memory
	sessionsBusy  = 16   // devices that ask, one request after the other
	patience      = 10 * time.Second
	handshakeName = "device"
)

var benchKey = []byte("0123456789abcdef")

// anybody lets every identity in with one key.
type anybody struct{}

func (anybody) PSKs(string) [][]byte         { return [][]byte{benchKey} }
func (anybody) Roots() *x509.CertPool        { return nil }
func (anybody) Revoked(dtls.Credential) bool { return false }

// serveSessions is our server.
func serveSessions(ctx context.Context, inner endpoint.PacketConn) error {
	const many = 1 << 20 // the bounds are not what is measured
	conn, err := dtls.New(inner, anybody{}, dtls.Options{SessionsMax: many, SessionsPerDevice: many, HandshakesPerAddress: many})
	if err != nil {
		return err
	}
	e, err := endpoint.New(conn, changed{}, endpoint.Options{BatchSize: messageBatch})
	if err != nil {
		return err
	}
	var over sync.WaitGroup
	over.Go(func() { err = conn.Run() })
	served := e.Run(ctx)
	over.Wait()
	return errors.Join(served, err)
}

// serveListener is pion's.
func serveListener(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			return nil // closed
		}
		go func() {
			if c.(*pion.Conn).HandshakeContext(ctx) != nil {
				return
			}
			for b := make([]byte, datagramMax); ; {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				_, _ = c.Write(b[:n])
			}
		}()
	}
}

func newListener() (net.Listener, error) {
	return pion.ListenWithOptions("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)},
		pion.WithPSK(func([]byte) ([]byte, error) { return benchKey, nil }), pion.WithPSKIdentityHint([]byte("server")),
		pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CCM_8), pion.WithConnectionIDGenerator(pion.RandomCIDGenerator(8)))
}

// mutable is a socket that can fall silent: its device is not there any more,
// and said nothing.
type mutable struct {
	net.PacketConn
	mute atomic.Bool
}

func (m *mutable) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

// visitor is a device with a session.
type visitor struct {
	*pion.Conn
	socket *mutable
}

// leave ends the device, without a word.
func (v *visitor) leave() {
	v.socket.mute.Store(true)
	_ = v.Close() // nobody hears it
	_ = v.socket.PacketConn.Close()
}

var visitors atomic.Uint32

// visit shakes hands from an address of its own: pion's listener lets nobody in
// who comes back to one.
func visit(ctx context.Context, to *target) (*visitor, error) {
	n := visitors.Add(1)
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))})
	if err != nil {
		return nil, err
	}
	v := &visitor{socket: &mutable{PacketConn: pc}}
	v.Conn, err = pion.ClientWithOptions(v.socket, net.UDPAddrFromAddrPort(to.addr),
		pion.WithPSK(func([]byte) ([]byte, error) { return benchKey, nil }), pion.WithPSKIdentityHint([]byte(handshakeName)),
		pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CCM_8), pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator()))
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := v.HandshakeContext(ctx); err != nil {
		v.leave()
		return nil, fmt.Errorf("handshake with the %s: %w", to.name, err)
	}
	return v, nil
}

// knock has devices come and go for a while, and counts them.
func knock(ctx context.Context, to *target, d time.Duration, most int64) (int64, error) {
	var n atomic.Int64
	errs := make(chan error, knockers)
	until := time.Now().Add(d)
	for range knockers {
		go func() {
			for time.Now().Before(until) && n.Add(1) <= most {
				v, err := visit(ctx, to)
				if err != nil {
					errs <- err
					return
				}
				v.leave()
			}
			errs <- nil
		}()
	}
	var err error
	for range knockers {
		err = errors.Join(err, <-errs)
	}
	return min(n.Load(), most), err
}

// overDTLS measures handshakes, memory and requests.
func overDTLS(ctx context.Context, b *bench) error {
	for _, measure := range []func(context.Context, *bench, map[string]*target) error{handshakes, idleSessions, requests} {
		targets := map[string]*target{}
		err := func() error {
			for _, name := range []string{sessions, listener, trivial} {
				t, err := startTarget(ctx, name)
				if err != nil {
					return err
				}
				targets[name] = t
			}
			return measure(ctx, b, targets)
		}()
		for _, t := range targets {
			_ = t.stop() // it has done its work
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// handshakes are measured in turns, by the server's CPU time.
func handshakes(ctx context.Context, b *bench, targets map[string]*target) error {
	each := max(b.each/(2*messageRounds), 200*time.Millisecond)
	rates := map[string][]float64{}
	for round := range messageRounds {
		for _, name := range []string{sessions, listener} {
			t := targets[name]
			n, cpu, err := costing(t, func() (int64, error) { return knock(ctx, t, each, 1<<40) })
			if err != nil {
				return err
			}
			if round > 0 && cpu > 0 {
				rates[name] = append(rates[name], float64(n)/cpu.Seconds())
			}
		}
	}
	if len(rates[sessions]) == 0 || len(rates[listener]) == 0 {
		return errors.New("the turns were too short for CPU time to be counted")
	}
	ours, theirs := median(rates[sessions]), median(rates[listener])
	b.table.add("PSK handshakes/s per core of the server", fmt.Sprintf("%.0f", ours), "",
		fmt.Sprintf("%.2f times those of pion's listener, %.0f; by CPU time, median of %d turns", ours/theirs, theirs, len(rates[sessions])))
	return nil
}

// costing runs f and returns the CPU time that the target used meanwhile.
func costing(t *target, f func() (int64, error)) (int64, time.Duration, error) {
	before, err := cpuOf(t.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	n, err := f()
	if err != nil {
		return 0, 0, err
	}
	after, err := cpuOf(t.cmd.Process.Pid)
	return n, after - before, err
}

// idleSessions measures what a session is resident with, once its device is
// silent.
func idleSessions(ctx context.Context, b *bench, targets map[string]*target) error {
	per := map[string]int64{}
	for _, name := range []string{sessions, listener} {
		t := targets[name]
		if _, err := knock(ctx, t, time.Hour, sessionsIdle/10); err != nil { // what is there once for all
			return err
		}
		before, err := residentOf(t.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if _, err := knock(ctx, t, time.Hour, sessionsIdle); err != nil {
			return err
		}
		after, err := residentOf(t.cmd.Process.Pid)
		if err != nil {
			return err
		}
		per[name] = (after.all - before.all) / sessionsIdle
	}
	b.table.add("resident bytes per idle session", fmt.Sprint(per[sessions]), "640, exported",
		fmt.Sprintf("%.2f times those of pion's listener, %d; %d sessions, garbage not collected", float64(per[sessions])/float64(per[listener]), per[listener], sessionsIdle))
	return nil
}

// requests are a confirmable POST answered 2.04 by the endpoint, over DTLS and
// over UDP in turns, each device with one outstanding.
func requests(ctx context.Context, b *bench, targets map[string]*target) error {
	each := max(b.each/(2*messageRounds), 200*time.Millisecond)
	var secure, plain []net.Conn
	defer func() {
		for _, c := range append(secure, plain...) {
			_ = c.Close()
		}
	}()
	for range sessionsBusy {
		v, err := visit(ctx, targets[sessions])
		if err != nil {
			return err
		}
		c, err := net.Dial("udp", targets[trivial].addr.String())
		if err != nil {
			return err
		}
		secure, plain = append(secure, v), append(plain, c)
	}
	rates, costs := map[string][]float64{}, map[string][]float64{}
	for round := range messageRounds {
		for name, conns := range map[string][]net.Conn{sessions: secure, trivial: plain} {
			began := time.Now()
			n, cpu, err := costing(targets[name], func() (int64, error) { return lockstep(conns, each) })
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round > 0 {
				rates[name] = append(rates[name], float64(n)/time.Since(began).Seconds())
				costs[name] = append(costs[name], float64(cpu.Nanoseconds())/1e3/float64(n))
			}
		}
	}
	b.table.add("DTLS endpoint, requests/s", fmt.Sprintf("%.0f", median(rates[sessions])), "",
		fmt.Sprintf("%.2f times those over UDP, %.0f; %.1f us server CPU each, over UDP %.1f; %d devices, one request at a time",
			median(rates[sessions])/median(rates[trivial]), median(rates[trivial]), median(costs[sessions]), median(costs[trivial]), sessionsBusy))
	return nil
}

// lockstep has each connection ask and wait, for a while. A datagram that is
// lost is asked again, as another request.
func lockstep(conns []net.Conn, d time.Duration) (int64, error) {
	var n atomic.Int64
	var over sync.WaitGroup
	errs := make(chan error, len(conns))
	until := time.Now().Add(d)
	for _, c := range conns {
		over.Go(func() {
			request, answer := post(), make([]byte, datagramMax)
			id := uint16(time.Now().UnixNano())
			for time.Now().Before(until) {
				id++
				binary.BigEndian.PutUint16(request[idAt:], id)
				if _, err := c.Write(request); err != nil {
					errs <- err
					return
				}
				_ = c.SetReadDeadline(time.Now().Add(driveStall))
				if _, err := c.Read(answer); err == nil {
					n.Add(1)
				}
			}
		})
	}
	over.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return n.Load(), nil
	}
}
