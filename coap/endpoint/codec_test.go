package endpoint

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

var full = outbound{
	typ: message.Acknowledgement, code: codes.Content, mid: 0x1234, token: TokenOf([]byte("12345678")),
	etag: []byte("etag"), location: []string{"rd", "a1b2"}, format: Some(60), observe: Some(1<<24 - 1), maxAge: Some(1 << 31),
	block1: block{3, false, 2}.opt(), block2: block{0, true, 6}.opt(), size1: Some(0), size2: Some(70000), payload: []byte("payload"),
}

func TestEncodedMessageIsTheseBytes(t *testing.T) {
	var e encoder
	buf := make([]byte, packetBytesMax)
	n, err := e.encode(&full, buf)
	if err != nil {
		t.Fatal(err)
	}
	want := "\x68\x45\x12\x34" + "12345678" + // header, token
		"\x44etag" + "\x23\xff\xff\xff" + "\x22rd" + "\x04a1b2" + // ETag 4, Observe 6, Location-Path 8
		"\x41\x3c" + "\x24\x80\x00\x00\x00" + "\x91\x0e" + "\x41\x32" + // Content-Format 12, Max-Age 14, Block2 23, Block1 27
		"\x13\x01\x11\x70" + "\xd0\x13" + "\xffpayload" // Size2 28, Size1 60
	if diff := cmp.Diff(buf[:n], []byte(want)); diff != "" {
		t.Error("got, want:", diff)
	}
}

func TestEveryShorterPrefixIsAnotherMessageOrNone(t *testing.T) {
	request := full
	request.typ, request.code = message.Confirmable, codes.POST
	buf := make([]byte, packetBytesMax)
	n, err := new(encoder).encode(&request, buf)
	if err != nil {
		t.Fatal(err)
	}
	var m inbound
	boundaries := map[int]bool{12: true, 17: true, 21: true, 24: true, 29: true, 31: true, 36: true, 38: true, 40: true, 44: true, 46: true}
	for cut := range n {
		got := m.decode(buf[:cut:cut])
		want := formatError
		switch {
		case cut < 4:
			want = notCoAP
		case boundaries[cut] || cut > 47: // whole options, or part of the payload
			want = wellFormed
		}
		if got != want {
			t.Errorf("the first %d bytes: verdict %d, want %d", cut, got, want)
		}
	}
}

func TestDecodeEncodeAndRepeatsAllocateNothing(t *testing.T) {
	request := full
	request.typ, request.code = message.Confirmable, codes.POST
	buf, out := make([]byte, packetBytesMax), make([]byte, packetBytesMax)
	n, _ := new(encoder).encode(&request, buf)
	var m inbound
	var enc encoder
	peers := newPeerTable()
	repeats := newRepeatTable(peers, 1024)
	answers := newAnswerLog(answerChunkBytes)
	seed := maphash.MakeSeed()
	p := Peer{Remote: netip.MustParseAddrPort("192.0.2.1:5683"), Local: netip.MustParseAddr("192.0.2.2")}
	peers.add(peers.key(p), time.Hour)
	i := 0
	allocs := testing.AllocsPerRun(5000, func() {
		i++
		buf[2], buf[3] = byte(i>>8), byte(i)
		if m.decode(buf[:n]) != wellFormed {
			t.Fatal("malformed")
		}
		at := peers.find(peers.key(p))
		peers.touch(at, time.Hour)
		hash := maphash.Bytes(seed, buf[:n])
		if repeats.find(hash, 0) == 0 {
			r := repeats.add(hash, at, true, time.Duration(i)*time.Second, 247*time.Second)
			repeats.slab.at(r).answer = answers.put(out[:12])
		}
		if _, err := enc.encode(&full, out); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per datagram", allocs)
	}
}

// FuzzDecode holds the strict checks against the codec and against what they
// promise: what is well-formed, the codec reads too, and encodes to what decodes
// the same.
func FuzzDecode(f *testing.F) {
	buf := make([]byte, packetBytesMax)
	for _, m := range []outbound{full, {typ: message.Confirmable, code: codes.GET}, {typ: message.Reset}} {
		n, _ := new(encoder).encode(&m, buf)
		f.Add(bytes.Clone(buf[:n]))
	}
	for _, s := range []string{"", "\x40", "\x40\x01\x00\x01\xb1a\x00\x01b\xff!", "\x41\x00\x00\x01a", "\x4d\x01\x00\x01", "\x40\x01\x00\x01\xe0\xff\xff",
		"\x40\x01\x00\x01\xd1\x04\x3c\x01\x3c", "\x40\xe1\x00\x01", "\x40\x01\x00\x01\xff", "\x40\x02\x00\x01\xd1\x0e\x07"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m inbound
		v := m.decode(data)
		if (v == notCoAP) != (len(data) < 4 || data[0]>>6 != 1) {
			t.Fatalf("verdict %d", v)
		}
		if v != wellFormed {
			return
		}
		class := m.code >> 5
		if m.code == codes.Empty && len(data) != 4 || class == 1 || class == 3 || class > 5 || len(m.options) > optionsMax {
			t.Fatalf("well-formed: code %d, %d options", m.code, len(m.options))
		}
		again := message.Message{Type: m.typ, Code: m.code, MessageID: int32(m.mid), Token: m.token.Bytes(), Options: m.options, Payload: m.payload}
		encoded := make([]byte, len(data)+1000)
		n, err := coder.DefaultCoder.Encode(again, encoded)
		if err != nil {
			t.Fatal(err)
		}
		var second inbound
		if v := second.decode(encoded[:n]); v != wellFormed {
			t.Fatalf("encoded again it has verdict %d", v)
		}
		if second.badOption != 0 && m.badOption == 0 { // a dropped option may have been the bad one, never the other way
			t.Fatal("encoded again it has a bad option")
		}
		m.badOption, second.badOption, m.proxied, second.proxied = 0, 0, false, false
		if diff := cmp.Diff(&second, &m, cmp.AllowUnexported(inbound{}, Token{}), cmpopts.IgnoreFields(inbound{}, "store"), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal("again, first:", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	request := outbound{typ: message.Confirmable, code: codes.POST, mid: 1, token: TokenOf([]byte("1234")), format: Some(60), payload: make([]byte, 20)}
	buf := make([]byte, packetBytesMax)
	n, _ := new(encoder).encode(&request, buf)
	var m inbound
	b.ReportAllocs()
	for b.Loop() {
		m.decode(buf[:n])
	}
}

func BenchmarkEncode(b *testing.B) {
	var e encoder
	buf := make([]byte, packetBytesMax)
	b.ReportAllocs()
	for b.Loop() {
		e.encode(&full, buf)
	}
}
