package dtls_test

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
)

// BenchmarkHandshake is a PSK handshake, both ends in this process, beside
// pion's own listener.
func BenchmarkHandshake(b *testing.B) {
	for _, row := range servers {
		b.Run(row.name, func(b *testing.B) {
			to := row.serve(b)
			for b.Loop() {
				knockAndLeave(b, to)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// BenchmarkIdleSession is what the server keeps of a session whose device is
// silent: heap and stacks in use after a collection, and goroutines.
func BenchmarkIdleSession(b *testing.B) {
	for _, row := range servers {
		b.Run(row.name, func(b *testing.B) {
			to := row.serve(b)
			knockAndLeave(b, to)
			before, goroutines := inUse(), runtime.NumGoroutine()
			for b.Loop() {
				knockAndLeave(b, to)
			}
			b.ReportMetric(float64(inUse()-before)/float64(b.N), "B/session")
			b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/float64(b.N), "goroutines/session")
		})
	}
}

var servers = []struct {
	name  string
	serve func(testing.TB) net.Addr
}{
	{"ours", func(t testing.TB) net.Addr {
		return serve(t, &book{}, dtls.Options{SessionsPerDevice: 1 << 20, SessionsMax: 1 << 20, HandshakesPerAddress: 1 << 20}).addr()
	}},
	{"pions", func(t testing.TB) net.Addr {
		l, err := pion.ListenWithOptions("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)},
			pion.WithPSK(func([]byte) ([]byte, error) { return key1, nil }), pion.WithPSKIdentityHint([]byte("x")),
			pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CCM_8), pion.WithConnectionIDGenerator(pion.RandomCIDGenerator(8)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					if c.(*pion.Conn).HandshakeContext(context.Background()) != nil {
						return
					}
					for buf := make([]byte, 1500); ; {
						if _, err := c.Read(buf); err != nil {
							return
						}
					}
				}()
			}
		}()
		return l.Addr()
	}},
}

var devices atomic.Uint32

// knockAndLeave shakes hands from an address of its own, since pion's listener
// lets nobody in who comes back to one, and goes without a word.
func knockAndLeave(b *testing.B, to net.Addr) {
	n := devices.Add(1)
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))})
	if err != nil {
		b.Fatal(err)
	}
	p := &plug{UDPConn: pc}
	c, err := dial(p, to, with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator())))
	if err != nil {
		b.Fatal(err)
	}
	p.unplug()
	c.Close()
	pc.Close()
}

func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
