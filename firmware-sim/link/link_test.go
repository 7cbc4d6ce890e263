package link

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	here  = netip.MustParseAddrPort("10.0.0.1:5683")
	there = netip.MustParseAddrPort("10.0.0.2:40000")
)

func TestNetworkDeliversToWhoListens(t *testing.T) {
	n := NewNetwork()
	a, b := mustListen(t, n, here), mustListen(t, n, there)
	if _, err := n.Listen(here); err == nil {
		t.Error("an address was given twice")
	}
	mustWrite(t, a, []byte("hello"), there)
	mustWrite(t, a, []byte("nobody"), netip.MustParseAddrPort("10.9.9.9:1"))
	buffer := make([]byte, 4)
	got, from, err := b.ReadFrom(buffer)
	if err != nil || got != 4 || string(buffer) != "hell" || from != here {
		t.Errorf("read %d bytes %q from %v, error %v", got, buffer, from, err)
	}
	mustClose(t, b)
	if _, _, err := b.ReadFrom(buffer); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := b.WriteTo(buffer, here); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	mustClose(t, mustListen(t, n, there)) // the address is free again
	mustClose(t, a)
}

func TestUDPReachesItself(t *testing.T) {
	server, err := UDP(netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	at := server.Local()
	client, err := UDP(netip.AddrPort{}, at)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, []byte("ping"), at)
	buffer := make([]byte, 16)
	n, from, err := server.ReadFrom(buffer)
	if err != nil || string(buffer[:n]) != "ping" || !from.Addr().Is4() {
		t.Errorf("read %q from %v, error %v", buffer[:n], from, err)
	}
	done := make(chan error)
	go func() {
		_, _, err := server.ReadFrom(buffer)
		done <- err
	}()
	mustClose(t, server)
	if err := <-done; err == nil {
		t.Error("a read went on after close")
	}
	mustClose(t, client)
}

// send passes count numbered datagrams through faults in one direction and says
// which arrived, in their order.
func send(t *testing.T, f Faults, count int, outward bool) []int {
	t.Helper()
	var arrived []int
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		from, to := mustListen(t, n, here), mustListen(t, n, there)
		if outward {
			from = Impair(from, f)
		} else {
			to = Impair(to, f)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			buffer := make([]byte, 8)
			for {
				if _, _, err := to.ReadFrom(buffer); err != nil {
					return
				}
				arrived = append(arrived, int(binary.BigEndian.Uint32(buffer)))
			}
		}()
		for i := range count {
			mustWrite(t, from, binary.BigEndian.AppendUint32(nil, uint32(i)), there)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		mustClose(t, from)
		mustClose(t, to)
		<-done
	})
	return arrived
}

func TestFaultsAreSeededAndDoWhatTheySay(t *testing.T) {
	const count = 1000
	rows := []struct {
		name     string
		faults   Faults
		min, max int // datagrams that arrive
		ordered  bool
	}{
		{"none", Faults{}, count, count, true},
		{"all lost", Faults{Loss: 1}, 0, 0, true},
		{"a third lost", Faults{Loss: 0.3, Seed: 1}, 600, 800, true},
		{"all doubled", Faults{Duplicate: 1}, 2 * count, 2 * count, true},
		{"a tenth reordered", Faults{Reorder: 0.1, Seed: 2}, count, count, false},
		{"delay shuffles", Faults{Delay: time.Second, Seed: 3}, count, count, false},
		{"everything", Faults{Loss: 0.5, Duplicate: 0.5, Reorder: 0.5, Delay: time.Second, Seed: 4}, 500, 1000, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for _, outward := range []bool{true, false} {
				got := send(t, row.faults, count, outward)
				if len(got) < row.min || len(got) > row.max {
					t.Errorf("outward %v: %d arrived, want %d to %d", outward, len(got), row.min, row.max)
				}
				ordered := true
				for i := range len(got) - 1 {
					ordered = ordered && got[i] <= got[i+1]
				}
				if ordered != row.ordered {
					t.Errorf("outward %v: in order: %v, want %v", outward, ordered, row.ordered)
				}
				if diff := cmp.Diff(send(t, row.faults, count, outward), got); diff != "" {
					t.Errorf("outward %v: the same seed gave other fates", outward)
				}
			}
		})
	}
}

func TestFaultsPastTheirRangeAreNamed(t *testing.T) {
	nan := func() float64 { zero := 0.0; return zero / zero }()
	for name, f := range map[string]Faults{
		"loss of 2": {Loss: 2}, "negative duplicate": {Duplicate: -1}, "reorder no number": {Reorder: nan}, "negative delay": {Delay: -1},
	} {
		if f.Check() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := (Faults{Loss: 1, Delay: time.Second}).Check(); err != nil {
		t.Error(err)
	}
}

// TestCloseLeavesNothingBehind ends a conn with datagrams under way in both
// directions; synctest fails the test when a goroutine outlives it.
func TestCloseLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		peer := mustListen(t, n, here)
		c := Impair(mustListen(t, n, there), Faults{Delay: time.Hour, Seed: 5})
		for range 10 {
			mustWrite(t, peer, []byte("in"), there)
			mustWrite(t, c, []byte("out"), here)
		}
		synctest.Wait()
		mustClose(t, c)
		if _, err := c.WriteTo([]byte("late"), here); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		mustClose(t, peer)
	})
}

func mustListen(t *testing.T, n *Network, at netip.AddrPort) Conn {
	t.Helper()
	c, err := n.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustWrite(t *testing.T, c Conn, content []byte, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteTo(content, to); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t *testing.T, c Conn) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
