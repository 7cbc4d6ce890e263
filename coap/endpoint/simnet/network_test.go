package simnet_test

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

var (
	addrA = netip.MustParseAddrPort("192.0.2.1:5683")
	addrB = netip.MustParseAddrPort("192.0.2.2:5683")
)

func pair(t *testing.T, n *simnet.Network) (a, b *simnet.Conn) {
	t.Helper()
	var err [2]error
	a, err[0] = n.Listen(addrA)
	b, err[1] = n.Listen(addrB)
	if err := errors.Join(err[:]...); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestPerfectNetworkDeliversInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.New(1, simnet.Conditions{}))
		for i := range 100 {
			a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB}, Data: []byte{byte(i)}})
		}
		for i := range 100 {
			got, ok := b.Receive(0)
			want := endpoint.Datagram{Peer: endpoint.Peer{Remote: addrA, Local: addrB.Addr()}, Data: []byte{byte(i)}}
			if diff := cmp.Diff(got, want, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); !ok || diff != "" {
				t.Fatal("got, want:", diff)
			}
		}
	})
}

func TestAccidentsHappenAsOftenAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(7, simnet.Conditions{Loss: 0.3, Duplicate: 0.2, Corrupt: 0.1})
		a, _ := pair(t, n)
		const sent = 20000 // Conn's inbox overflows, which is counted apart
		for range sent {
			a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB}, Data: []byte("data")})
		}
		c := n.Counts()
		rate := func(name string, got, of int, want float64) {
			if r := float64(got) / float64(of); math.Abs(r-want) > 0.01 {
				t.Errorf("%s: %.3f, want %.3f", name, r, want)
			}
		}
		rate("loss", c.Lost, c.Sent, 0.3)
		rate("duplicates", c.Duplicated, c.Sent-c.Lost, 0.2)
		rate("corruption", c.Corrupted, c.Sent-c.Lost+c.Duplicated, 0.1)
		if c.Delivered+c.Overflowed != c.Sent-c.Lost+c.Duplicated {
			t.Errorf("%+v does not add up", c)
		}
	})
}

func TestUnequalDelaysReorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.New(3, simnet.Conditions{DelayMin: time.Second, DelayMax: 2 * time.Second}))
		start := time.Now()
		for i := range 50 {
			a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB}, Data: []byte{byte(i)}})
		}
		var order []byte
		for range 50 {
			d, ok := b.Receive(time.Minute)
			if since := time.Since(start); !ok || since < time.Second || since >= 2*time.Second {
				t.Fatal("delivered after", since, ok)
			}
			order = append(order, d.Data[0])
		}
		if slices.IsSorted(order) {
			t.Error("fifty datagrams with random delays arrived in order")
		}
	})
}

func TestSameSeedSameStory(t *testing.T) {
	story := func() (c simnet.Counts) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(99, simnet.Conditions{Loss: 0.5, Duplicate: 0.5, Corrupt: 0.5})
			a, _ := pair(t, n)
			for range 1000 {
				a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB}, Data: []byte("data")})
			}
			c = n.Counts()
		})
		return c
	}
	if diff := cmp.Diff(story(), story()); diff != "" {
		t.Error("first, second:", diff)
	}
}

func TestConnSpeaksFromTheAddressThatIsNamed(t *testing.T) {
	n := simnet.New(1, simnet.Conditions{})
	other := netip.MustParseAddr("192.0.2.9")
	a, err := n.Listen(addrA, other)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := n.Listen(addrB)
	a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB, Local: other}})
	if d, ok := b.Receive(0); !ok || d.Peer.Remote.Addr() != other {
		t.Error("from", d.Peer.Remote)
	}
	if err := a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB, Local: addrB.Addr()}}); err == nil {
		t.Error("a foreign source address was accepted")
	}
	if _, err := n.Listen(netip.AddrPortFrom(other, addrA.Port())); err == nil {
		t.Error("an address was given out twice")
	}
	a.Close()
	if _, err := a.ReadBatch(make([]endpoint.Datagram, 1)); !errors.Is(err, net.ErrClosed) {
		t.Error("read after close:", err)
	}
}

func TestLargeDatagramIsTruncated(t *testing.T) {
	n := simnet.New(1, simnet.Conditions{})
	a, b := pair(t, n)
	n.Watch(func(_, _ netip.AddrPort, data []byte) bool { return data[0] != 'x' })
	a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB}, Data: []byte("xx")})
	a.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: addrB}, Data: []byte("12345")})
	batch := []endpoint.Datagram{{Data: make([]byte, 4)}, {Data: make([]byte, 4)}}
	count, err := b.ReadBatch(batch)
	if err != nil || count != 1 || string(batch[0].Data) != "1234" || !batch[0].Truncated {
		t.Errorf("%d, %v, %q, truncated %t", count, err, batch[0].Data, batch[0].Truncated)
	}
}
