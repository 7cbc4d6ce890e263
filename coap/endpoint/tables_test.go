package endpoint

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestPeerSurvivesItsKey(t *testing.T) {
	table := newPeerTable()
	for _, p := range []Peer{
		{Remote: netip.MustParseAddrPort("192.0.2.1:5683")},
		{Remote: netip.MustParseAddrPort("192.0.2.1:5683"), Local: netip.MustParseAddr("192.0.2.2")},
		{Remote: netip.MustParseAddrPort("192.0.2.1:5683"), Local: netip.MustParseAddr("0.0.0.0")},
		{Remote: netip.MustParseAddrPort("[2001:db8::1]:1"), Local: netip.MustParseAddr("2001:db8::2"), Session: 9},
		{Remote: netip.MustParseAddrPort("[fe80::1%eth0]:1"), Local: netip.MustParseAddr("fe80::2%eth0")},
		{Remote: netip.MustParseAddrPort("[fe80::1%eth1]:1"), Local: netip.MustParseAddr("fe80::2%eth1")},
		{Remote: netip.MustParseAddrPort("[fe80::1]:1")},
	} {
		k := table.key(p)
		if got := table.peer(&k); got != p {
			t.Errorf("got %+v, want %+v", got, p)
		}
		if table.find(k) != 0 {
			t.Errorf("%+v has the key of another", p)
		}
		table.add(k, time.Second)
	}
	mapped := Peer{Remote: netip.MustParseAddrPort("[::ffff:192.0.2.1]:5683")}
	if table.find(table.key(mapped)) == 0 {
		t.Error("an IPv4 address in IPv6's clothes is another peer")
	}
}

// TestRepeatTableIsABoundedMap compares the table with a plain map under random
// use: what it finds was added and lives, and what lives it finds, unless a bound
// pushed it out.
func TestRepeatTableIsABoundedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		peers := newPeerTable()
		for port := range uint16(5) {
			peers.add(peers.key(Peer{Remote: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}), 0)
		}
		limit := rapid.IntRange(1, 64).Draw(t, "limit")
		table := newRepeatTable(peers, limit)
		lives := map[uint64]time.Duration{}
		now := time.Duration(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			hash := rapid.Uint64Range(1, 100).Draw(t, "hash")
			switch rapid.SampledFrom([]string{"add", "add", "find", "time", "drop peer"}).Draw(t, "do") {
			case "add":
				if table.find(hash, now) == 0 {
					con := rapid.Bool().Draw(t, "con")
					lifetime := 145 * time.Second
					if con {
						lifetime = 247 * time.Second
					}
					peer := uint32(hash%5) + 1
					i := table.add(hash, peer, con, now, lifetime)
					lives[hash] = now + lifetime
					if r := table.slab.at(i); r.hash != hash || r.peer != peer || table.find(hash, now) != i {
						t.Fatalf("added %+v", r)
					}
				}
			case "find":
				if i := table.find(hash, now); i != 0 && (table.slab.at(i).hash != hash || lives[hash] <= now) {
					t.Fatalf("found %+v, which lives until %v, at %v", table.slab.at(i), lives[hash], now)
				}
			case "time":
				now += time.Duration(rapid.Int64Range(0, 100).Draw(t, "seconds")) * time.Second
			case "drop peer":
				table.dropOf(uint32(hash%5) + 1)
			}
			checkRepeats(t, table, limit)
		}
	})
}

func checkRepeats(t *rapid.T, table *repeatTable, limit int) {
	t.Helper()
	if table.len() > limit || int(table.slab.n) > limit+1 {
		t.Fatalf("%d entries in a slab of %d, limit %d", table.len(), int(table.slab.n), limit)
	}
	listed, ofPeers := 0, uint32(0)
	for kind := range table.oldest {
		for i, prev := table.oldest[kind], uint32(0); i != 0; prev, i = i, table.slab.at(i).next {
			if r := table.slab.at(i); r.prev != prev || kindOf(r.con) != kind || prev != 0 && table.slab.at(prev).expires > r.expires {
				t.Fatalf("entry %d after %d: %+v", i, prev, r)
			}
			listed++
		}
	}
	for i := range table.peers.slab.n {
		p := table.peers.at(i)
		n := uint32(0)
		for r := p.repeatOldest; r != 0; r = table.slab.at(r).peerNext {
			n++
		}
		if n != p.repeats || n > table.perPeer {
			t.Fatalf("peer %d: %d listed, %d counted, %d allowed", i, n, p.repeats, table.perPeer)
		}
		ofPeers += n
	}
	if listed != table.len() || int(ofPeers) != table.len() {
		t.Fatalf("%d entries, %d listed, %d of peers", table.len(), listed, ofPeers)
	}
}

func TestAnswerLogKeepsTheLastBytes(t *testing.T) {
	log := newAnswerLog(3 * answerChunkBytes)
	if got := log.get(answerRef{}); got != nil {
		t.Errorf("an answer nowhere: %q", got)
	}
	var refs []answerRef
	const each, count = 1000, 400 // twice what fits
	for i := range count {
		refs = append(refs, log.put(fmt.Appendf(nil, "%*d", each, i)))
	}
	kept := 0
	for i, r := range refs {
		got := log.get(r)
		if got == nil {
			continue
		}
		kept++
		if want := fmt.Sprintf("%*d", each, i); string(got) != want {
			t.Fatalf("answer %d: %q", i, got)
		}
	}
	if got := log.get(refs[count-1]); got == nil || kept < 2*answerChunkBytes/each-2 || kept > 3*answerChunkBytes/each {
		t.Errorf("%d answers kept, the last one: %t", kept, got != nil)
	}
	if len(log.chunks) != 3 {
		t.Errorf("%d chunks", len(log.chunks))
	}
}

func TestTransferTableKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		peers := newPeerTable()
		for port := range uint16(5) {
			peers.add(peers.key(Peer{Remote: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}), 0)
		}
		e := &Endpoint{wheel: newWheel(), peers: peers}
		table := newTransferTable(peers, downloading, 8, 3, 1000)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := rapid.Uint64Range(1, 20).Draw(t, "key")
			peer := uint32(key%5) + 1
			i := table.find(key)
			switch rapid.SampledFrom([]string{"add", "add", "grow", "freeze", "drop"}).Draw(t, "do") {
			case "add":
				n := rapid.IntRange(0, 600).Draw(t, "bytes")
				if i == 0 && e.makeRoomLocked(table, peer, n, 0) {
					i = table.add(key, peer)
					table.at(i).body = make([]byte, n)
					table.count(i)
				}
			case "grow":
				n := rapid.IntRange(0, 300).Draw(t, "bytes")
				if i != 0 && e.makeRoomLocked(table, peer, n, i) {
					table.at(i).body = append(table.at(i).body, make([]byte, n)...)
					table.count(i)
					table.used(i)
				}
			case "freeze":
				if i != 0 {
					table.at(i).frozen = !table.at(i).frozen
				}
			case "drop":
				if i != 0 {
					table.drop(i)
				}
			}
			sum, listed := 0, 0
			for i := table.oldest; i != 0; i = table.slab[i].next {
				sum += len(table.slab[i].body)
				listed++
			}
			if table.len() > 8 || table.bytes > 1000 || sum != table.bytes || listed != table.len() {
				t.Fatalf("%d transfers, %d listed, %d bytes, counted %d", table.len(), listed, sum, table.bytes)
			}
			for i := range peers.slab.n {
				n := 0
				for x := peers.slab.at(i).transfers[downloading]; x != 0; x = table.slab[x].peerNext {
					n++
				}
				if n > 3 {
					t.Fatalf("peer %d has %d", i, n)
				}
			}
		}
	})
}

func TestOptTellsNoneFromZero(t *testing.T) {
	var none Opt
	if _, ok := none.Get(); ok || none.Or(7) != 7 {
		t.Error("none is something")
	}
	for _, v := range []uint32{0, 1, 1<<32 - 1} {
		if got, ok := Some(v).Get(); !ok || got != v || Some(v).Or(7) != v {
			t.Errorf("Some(%d) is %d, %t", v, got, ok)
		}
	}
}

func TestTokenHoldsEightBytes(t *testing.T) {
	for n := range 9 {
		b := []byte("12345678")[:n]
		if diff := cmp.Diff(TokenOf(b).Bytes(), b, cmpopts.EquateEmpty()); diff != "" {
			t.Error("got, want:", diff)
		}
	}
	if TokenOf([]byte{0}) == TokenOf(nil) {
		t.Error("a zero byte is no token")
	}
	defer func() {
		if recover() == nil {
			t.Error("nine bytes are a token")
		}
	}()
	TokenOf(make([]byte, 9))
}

func TestBlockOptionHoldsItsParts(t *testing.T) {
	for size := blockSizeMin; size <= blockSizeMax; size *= 2 {
		for _, b := range []block{{0, false, szxOf(size)}, {1<<20 - 1, true, szxOf(size)}, {5, true, szxOf(size)}} {
			v, _ := b.opt().Get()
			if got := blockOf(v); got != b || got.size() != size || got.offset() != int(b.num)*size {
				t.Errorf("got %+v, want %+v", got, b)
			}
		}
	}
	for asked, want := range map[int]int{0: 0, 1: 16, 16: 16, 17: 16, 100: 64, 1024: 1024, 5000: 1024} {
		if got := blockSizeOf(asked); got != want {
			t.Errorf("blockSizeOf(%d) is %d, want %d", asked, got, want)
		}
	}
}
