package dtls_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
)

// These are lessons of others: docs/attacks.md says whose.

// meddler is a device's socket that changes what it sends, and keeps what comes.
type meddler struct {
	*net.UDPConn
	edit func(record []byte) // in place; a datagram has several

	mu   sync.Mutex
	came [][]byte
}

func (m *meddler) WriteTo(b []byte, to net.Addr) (int, error) {
	b = append([]byte(nil), b...)
	if m.edit != nil {
		for _, r := range recordsOf(b) {
			m.edit(r)
		}
	}
	return m.UDPConn.WriteTo(b, to)
}

func (m *meddler) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := m.UDPConn.ReadFrom(b)
	m.mu.Lock()
	m.came = append(m.came, append([]byte(nil), b[:n]...))
	m.mu.Unlock()
	return n, from, err
}

// recordsOf takes a datagram apart, without connection ids.
func recordsOf(b []byte) (all [][]byte) {
	for len(b) >= 13 {
		n := 13 + int(binary.BigEndian.Uint16(b[11:]))
		if n > len(b) {
			return all
		}
		all, b = append(all, b[:n]), b[n:]
	}
	return all
}

func epochOf(record []byte) uint16 { return binary.BigEndian.Uint16(record[3:]) }

// try shakes hands for a short while.
func try(pc net.PacketConn, to net.Addr, o []pion.ClientOption) error {
	c, err := pion.ClientWithOptions(pc, to, o...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	return c.HandshakeContext(ctx)
}

// TestAFinishedOfAnotherEpochIsNone [CVE-2021-42141].
func TestAFinishedOfAnotherEpochIsNone(t *testing.T) {
	for _, epoch := range []uint16{0, 2, 0xffff} {
		s := serve(t, &book{}, dtls.Options{})
		edited := 0
		pc := &meddler{UDPConn: socket(t, "127.0.0.1:0"), edit: func(r []byte) {
			if epochOf(r) == 1 {
				binary.BigEndian.PutUint16(r[3:], epoch)
				edited++
			}
		}}
		err := try(pc, s.addr(), with("pump-1", key1))
		if n := s.Stats(); err == nil || n.Handshakes != 0 || n.Sessions != 0 || edited == 0 {
			t.Errorf("epoch %d: %v, %d records edited, %+v", epoch, err, edited, n)
		}
	}
}

// TestAHostileHandshakeSpoilsNothing: after each a device comes in, and in the
// end nothing is left of them [CVE-2020-27222, CVE-2022-39368].
func TestAHostileHandshakeSpoilsNothing(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{HandshakeTimeout: time.Second})
	round(t, client(t, s, with("pump-2", key2)), "all that serves runs")
	goroutines := runtime.NumGoroutine()
	for name, hostile := range map[string]struct {
		o    []pion.ClientOption
		edit func([]byte)
	}{
		"a wrong key":                 {with("pump-1", key2), nil},
		"a stranger":                  {with("nobody", key1), nil},
		"an identity without a name":  {with("", key1), nil},
		"a cipher that is not spoken": {with("pump-1", key1, pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_256_CCM_8)), nil},
		"a Finished that is damaged": {with("pump-1", key1), func(r []byte) {
			if epochOf(r) == 1 {
				r[len(r)-1] ^= 1
			}
		}},
		"a key exchange cut to nothing": {with("pump-1", key1), func(r []byte) {
			if r[0] == 22 && epochOf(r) == 0 && r[13] == 16 {
				clear(r[14:])
			}
		}},
		"a cookie that is another": {with("pump-1", key1), func(r []byte) {
			if r[0] == 22 && epochOf(r) == 0 && r[13] == 1 && len(r) > 65 && r[60] > 0 {
				r[61] ^= 1
			}
		}},
		"a hello that is damaged in the middle": {with("pump-1", key1), func(r []byte) {
			if r[0] == 22 && epochOf(r) == 0 && r[13] == 1 {
				r[len(r)/2] ^= 0xff
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				pc := &meddler{UDPConn: socket(t, "127.0.0.1:0"), edit: hostile.edit}
				if err := try(pc, s.addr(), hostile.o); err == nil {
					t.Error("it came in")
				}
				pc.Close()
				c, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with("pump-1", key1))
				if err != nil {
					t.Fatal("a good one afterwards:", err)
				}
				round(t, c, "in")
				c.Close()
			}
		})
	}
	wait(t, "the end of all that they began", func() bool {
		n := s.Stats()
		return n.Handshaking == 0 && runtime.NumGoroutine() < goroutines+10
	})
}

// TestFragmentsAreNotKeptWithoutEnd: of messages that are never whole, from many
// addresses that are proven [CVE-2022-29189].
func TestFragmentsAreNotKeptWithoutEnd(t *testing.T) {
	const most, sources, each = 64, 128, 100
	s := serve(t, &book{}, dtls.Options{HandshakesMax: most})
	round(t, client(t, s, with("pump-2", key2)), "all that serves runs")
	before := heapInUse()
	sent := 0
	for i := range sources {
		src := socket(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 9, 1, byte(i)}), 0).String())
		src.WriteTo(bearing(helloOf(byte(i)), askFor(t, s, src, helloOf(byte(i)))), s.addr())
		for n := range each {
			src.WriteTo(fragment(uint16(2+n%8), n), s.addr())
			sent += 1000
		}
		wait(t, "its handshake", func() bool { n := s.Stats(); return n.Handshaking+int(n.Shed+n.Failed) > min(i, most-1) })
	}
	if grown, limit := heapInUse()-before, int64(most*200<<10); grown > limit {
		t.Errorf("%d bytes more after %d of fragments, at most %d; %+v", grown, sent, limit, s.Stats())
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// fragment is 1,000 bytes of a message that has 16 MB.
func fragment(message uint16, at int) []byte {
	const size = 1000
	b := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0xff, 0xff, 0xff}
	binary.BigEndian.PutUint32(b[7:], uint32(1+at))
	binary.BigEndian.PutUint16(b[11:], 12+size)
	b = binary.BigEndian.AppendUint16(b, message)
	b = append(b, byte(at*size>>16), byte(at*size>>8), byte(at*size), 0, byte(size>>8), byte(size&0xff))
	return append(b, make([]byte, size)...)
}

// TestNoNonceComesTwice: the part of the nonce that a record carries grows from
// record to record [CVE-2026-26014].
func TestNoNonceComesTwice(t *testing.T) {
	for _, suite := range []pion.CipherSuiteID{pion.TLS_PSK_WITH_AES_128_CCM_8, pion.TLS_PSK_WITH_AES_128_GCM_SHA256} {
		t.Run(suite.String(), func(t *testing.T) {
			s := serve(t, &book{}, dtls.Options{})
			pc := &meddler{UDPConn: socket(t, "127.0.0.1:0")}
			c, err := dial(pc, s.addr(), with("pump-1", key1, pion.WithCipherSuites(suite)))
			if err != nil {
				t.Fatal("handshake:", err)
			}
			defer c.Close()
			const each = 2000
			for i := range each {
				round(t, c, fmt.Sprint(i))
			}
			pc.mu.Lock()
			defer pc.mu.Unlock()
			last, records := uint64(0), 0
			for _, b := range pc.came {
				for _, r := range recordsOf(b) {
					if r[0] != 23 || epochOf(r) != 1 {
						continue
					}
					nonce := binary.BigEndian.Uint64(r[13:])
					if records > 0 && nonce <= last {
						t.Fatalf("record %d: nonce %d after %d", records, nonce, last)
					}
					last, records = nonce, records+1
				}
			}
			if records < each {
				t.Errorf("%d records for %d messages", records, each)
			}
		})
	}
}
