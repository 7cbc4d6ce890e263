package endpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

// text makes a body in which no two places look alike.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:n]
}

// fetch gets a resource block by block, with a new token for each, as a client
// that asks for blocks of size would. It returns the body, and the last message.
func (d *device) fetch(p string, mid, size int, observe bool) (string, msg) {
	d.s.t.Helper()
	var body strings.Builder
	var etag string
	for num := 0; ; num++ {
		o := path(p)
		if num > 0 || size > 0 {
			o = with(o, message.Block2, blockValue(num, false, max(size, 16)))
		}
		if observe {
			o = with(o, message.Observe, 0) // on later blocks too, as Zephyr does
		}
		m := d.ask(msg{code: codes.GET, mid: mid + num, token: fmt.Sprint("t", num), options: o})
		body.WriteString(m.payload)
		v, blockwise := m.option(message.Block2)
		if m.code != codes.Content || !blockwise {
			return body.String(), m
		}
		size = 16 << (v & 7)
		if int(v>>4) != num || m.token != fmt.Sprint("t", num) {
			d.s.t.Fatalf("asked for block %d, got %v", num, m)
		}
		tag := ""
		for _, o := range m.options {
			if o.ID == message.ETag {
				tag = string(o.Value)
			}
		}
		if num == 0 {
			etag = tag
		}
		if tag == "" || tag != etag {
			d.s.t.Fatalf("block %d has ETag %x, the first %x", num, tag, etag)
		}
		if v&8 == 0 {
			return body.String(), m
		}
	}
}

// versions answers each GET with the next body.
func versions(size int, n *int) handler {
	var mu sync.Mutex
	return handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		mu.Lock()
		defer mu.Unlock()
		*n++
		return endpoint.Response{Code: codes.Content, Format: endpoint.Some(60), Payload: []byte(fmt.Sprint(*n, ":", text(size)))}
	}}
}

func TestLargeResponseGoesInBlocksOfOneBody(t *testing.T) {
	for _, row := range []struct{ size, ask, body int }{
		{0, 0, 5000}, {0, 64, 5000}, {0, 16, 100}, {0, 1024, 1025}, {256, 0, 5000}, {256, 1024, 5000}, {256, 32, 700}, {0, 0, 100_000},
	} {
		t.Run(fmt.Sprintf("ours %d, asked %d, body %d", row.size, row.ask, row.body), func(t *testing.T) {
			n := 0
			tell(t, simnet.Conditions{}, versions(row.body, &n), endpoint.Options{BlockSize: row.size}, func(s *story) {
				d := s.device()
				for round := range 3 {
					body, last := d.fetch("c/pump", 1000*round, row.ask, round == 1)
					if want := fmt.Sprint(round+1, ":", text(row.body)); body != want {
						t.Errorf("round %d: %d bytes, want %d; %.20q", round, len(body), len(want), body)
					}
					if _, ok := last.option(message.ContentFormat); !ok {
						t.Error("no Content-Format:", last)
					}
				}
				if n != 3 {
					t.Error("the handler was asked", n, "times for 3 bodies")
				}
			})
		})
	}
}

func TestFirstBlockSaysHowLargeTheWholeIs(t *testing.T) {
	n := 0
	tell(t, simnet.Conditions{}, versions(2000, &n), endpoint.Options{}, func(s *story) {
		d := s.device()
		get := msg{code: codes.GET, mid: 1, options: path("c")}
		d.want(d.ask(get), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=0/1/1024 Size2=2002 [1024 bytes]")
		get.mid, get.options = 2, with(path("c"), message.Block2, blockValue(1, false, 1024))
		d.want(d.ask(get), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=1/0/1024 [978 bytes]")
		// The last block again, in a new message, for its answer was lost.
		get.mid = 3
		d.want(d.ask(get), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=1/0/1024 [978 bytes]")
		get.mid, get.options = 4, with(path("c"), message.Block2, blockValue(2, false, 1024))
		d.want(d.ask(get), "Acknowledgement 4.00")
		// Smaller blocks from the middle on.
		get.mid, get.options = 5, with(path("c"), message.Block2, blockValue(30, false, 64))
		d.want(d.ask(get), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=30/1/64 [64 bytes]")
	})
}

func TestLaterBlockIsMatchedByPeerPathAndQuery(t *testing.T) {
	n := 0
	tell(t, simnet.Conditions{}, versions(2000, &n), endpoint.Options{}, func(s *story) {
		d, other := s.device(), s.device()
		later := func(p, query string, code codes.Code) msg {
			o := with(path(p), message.Block2, blockValue(1, false, 1024))
			if query != "" {
				o = withBytes(o, message.URIQuery, []byte(query))
			}
			return msg{code: code, options: o}
		}
		d.ask(msg{code: codes.GET, mid: 1, options: path("c/pump")})
		other.want(other.ask(later("c/pump", "", codes.GET)), "Acknowledgement 4.08")
		d.want(d.ask(later("c/pumq", "", codes.GET)), "Acknowledgement 4.08")
		d.want(d.ask(later("cp/ump", "", codes.GET)), "Acknowledgement 4.08")
		d.want(d.ask(later("c\x00\x0b\x00\x04pump", "", codes.GET)), "Acknowledgement 4.08")
		d.want(d.ask(later("c\x00\x0b\x00\x00pump", "", codes.GET)), "Acknowledgement 4.08")
		d.want(d.ask(later("c/pump", "q", codes.GET)), "Acknowledgement 4.08")
		d.want(d.ask(later("c/pump", "", codes.POST)), "Acknowledgement 4.08")
		d.want(d.ask(later("c/pump", "", codes.GET)), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=1/0/1024 [978 bytes]")
		if n != 1 {
			t.Error("a later block reached the handler")
		}
	})
}

func TestCandidateLasts60Seconds(t *testing.T) {
	n := 0
	tell(t, simnet.Conditions{}, versions(3000, &n), endpoint.Options{}, func(s *story) {
		d := s.device()
		later := func(num, mid int) msg {
			return msg{code: codes.GET, mid: mid, options: with(path("c"), message.Block2, blockValue(num, false, 1024))}
		}
		d.ask(msg{code: codes.GET, mid: 1, options: path("c")})
		time.Sleep(59 * time.Second)
		d.want(d.ask(later(1, 2)), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=1/1/1024 [1024 bytes]")
		time.Sleep(59 * time.Second) // the freeze began with the later block
		d.want(d.ask(later(1, 3)), "Acknowledgement 2.05 ETag ContentFormat=60 Block2=1/1/1024 [1024 bytes]")
		time.Sleep(2 * time.Second)
		d.want(d.ask(later(2, 4)), "Acknowledgement 4.08")
		if got := s.e.Stats(); got.TransfersExpired != 1 || got.ResponseBodies != 0 || got.ResponseBytes != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// bodies is a Confirmable whose every attempt has another large body.
type bodies struct {
	size int
	done chan [2]int
}

func (b *bodies) Build(attempt int, _ time.Time) (endpoint.Response, bool) {
	return endpoint.Response{Code: codes.Content, Observe: endpoint.Some(uint32(attempt)), Payload: []byte(fmt.Sprint(attempt, ":", text(b.size)))}, true
}
func (b *bodies) Done(o endpoint.Outcome, attempt int) { b.done <- [2]int{int(o), attempt} }

func TestNotificationWaitsWhileItsBodyIsFetched(t *testing.T) {
	var idle chan endpoint.Peer
	h := handler{serve: changed.serve, idle: func(p endpoint.Peer) { idle <- p }}
	tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
		idle = make(chan endpoint.Peer, 10) // of the bubble: its clock stands still while anybody waits elsewhere
		d := s.device()
		b := &bodies{200, make(chan [2]int, 2)}
		o := endpoint.ConfirmOptions{BlockSize: 100, Path: []string{"c", "pump"}} // 100 is no size: 64 is
		s.confirm(d.peer(), b, o)
		first := d.must()
		d.want(first, "Confirmable 2.05 token=6f ETag Observe=0 Block2=0/1/64 Size2=202 [64 bytes]")
		body := first.payload
		later := func(num, mid int) msg {
			return msg{code: codes.GET, mid: mid, token: "new", options: with(path("c/pump"), message.Block2, blockValue(num, false, 64))}
		}
		m := d.ask(later(1, 1))
		d.want(m, "Acknowledgement 2.05 token=6e6577 ETag Block2=1/1/64 [64 bytes]")
		body += m.payload
		d.quiet(50 * time.Second) // no retry would leave the body as it is
		m = d.ask(later(2, 2))
		body += m.payload
		d.send(msg{typ: con, code: codes.GET, mid: 3, token: "new", options: later(3, 3).options})
		m = d.must()
		body += m.payload
		d.want(m, "Acknowledgement 2.05 token=6e6577 ETag Block2=3/0/64 \""+m.payload+"\"")
		if body != "0:"+text(200) {
			t.Errorf("%q", body)
		}
		retry := d.must() // the ACK is still owed, and the transfer over
		d.want(retry, "Confirmable 2.05 token=6f ETag Observe=1 Block2=0/1/64 Size2=202 [64 bytes]")
		d.send(msg{typ: ack, mid: retry.mid})
		if got := <-b.done; got != [2]int{int(endpoint.Acked), 1} {
			t.Error(got)
		}
		<-idle
		// Frozen without an exchange: Confirm waits, and Idle tells when.
		d.ask(later(1, 4))
		if _, err := s.e.Confirm(d.peer(), endpoint.Token{}, b, o); !errors.Is(err, endpoint.ErrBusy) {
			t.Error("Confirm while frozen:", err)
		}
		start := time.Now()
		<-idle
		if took := time.Since(start); took < 59*time.Second || took > 61*time.Second {
			t.Error("idle after", took)
		}
		x := s.confirm(d.peer(), b, o)
		synctest.Wait()
		x.Stop()
	})
}

func TestAckWhileFrozenEndsTheExchange(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		d := s.device()
		b := &bodies{200, make(chan [2]int, 2)}
		s.confirm(d.peer(), b, endpoint.ConfirmOptions{BlockSize: 64, Path: []string{"c"}})
		first := d.must()
		d.ask(msg{code: codes.GET, mid: 1, options: with(path("c"), message.Block2, blockValue(1, false, 64))})
		time.Sleep(30 * time.Second)
		d.send(msg{typ: ack, mid: first.mid})
		if got := <-b.done; got != [2]int{int(endpoint.Acked), 0} {
			t.Error(got)
		}
		d.quiet(5 * time.Minute)
	})
}

func TestSeparateResponseGoesInBlocks(t *testing.T) {
	b := &bodies{200, make(chan [2]int, 2)}
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Separate: b}), endpoint.Options{}, func(s *story) {
		d := s.device()
		o := withBytes(with(path("c"), message.Block2, blockValue(0, false, 128)), message.URIQuery, []byte("q"))
		d.want(d.ask(msg{code: codes.GET, mid: 1, token: "t", options: o}), "Acknowledgement 0.00")
		first := d.must()
		d.want(first, "Confirmable 2.05 token=74 ETag Observe=0 Block2=0/1/128 Size2=202 [128 bytes]")
		d.send(msg{typ: ack, mid: first.mid})
		o = withBytes(with(path("c"), message.Block2, blockValue(1, false, 128)), message.URIQuery, []byte("q"))
		d.want(d.ask(msg{code: codes.GET, mid: 2, options: o}), "Acknowledgement 2.05 ETag Block2=1/0/128 [74 bytes]")
	})
}

// post sends a body block by block and returns the last answer.
func (d *device) post(p, body string, mid, size int, last func(*msg)) msg {
	d.s.t.Helper()
	for at := 0; ; at += size {
		end := min(at+size, len(body))
		more := end < len(body)
		m := msg{code: codes.POST, mid: (mid + at) & 0xffff, token: fmt.Sprint(at % 9999), payload: body[at:end],
			options: with(path(p), message.Block1, blockValue(at/size, more, size))}
		if last != nil {
			last(&m)
		}
		got := d.ask(m)
		if got.code != codes.Continue || !more {
			return got
		}
		if want := fmt.Sprintf("Acknowledgement 2.31 token=%x Block1=%d/1/%d", fmt.Sprint(at%9999), at/size, size); got.String() != want {
			d.s.t.Fatalf("got %v, want %s", got, want)
		}
	}
}

// sums answers with the length and a few bytes of the body.
func sums(mu *sync.Mutex, got *[]string) handler {
	return handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		mu.Lock()
		defer mu.Unlock()
		*got = append(*got, string(r.Payload))
		return endpoint.Response{Code: codes.Changed}
	}}
}

func TestRequestBodyArrivesWhole(t *testing.T) {
	for _, row := range []struct{ body, size int }{{1, 16}, {16, 16}, {17, 16}, {5000, 64}, {5000, 1024}, {2048, 1024}, {131072, 1024}} {
		t.Run(fmt.Sprint(row.body, " in ", row.size), func(t *testing.T) {
			var mu sync.Mutex
			var got []string
			tell(t, simnet.Conditions{}, sums(&mu, &got), endpoint.Options{}, func(s *story) {
				d := s.device()
				m := d.post("c/pump/7", text(row.body), 0, row.size, nil)
				if v, ok := m.option(message.Block1); m.code != codes.Changed || !ok || v&8 != 0 || int(v>>4) != (row.body-1)/row.size {
					t.Error(m)
				}
				if len(got) != 1 || got[0] != text(row.body) {
					t.Errorf("%d bodies", len(got))
				}
				if s := s.e.Stats(); s.RequestBodies != 0 || s.RequestBytes != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestBodyOfWhichABlockIsMissingIsIncomplete(t *testing.T) {
	block1 := func(num int, more bool, payload string) msg {
		return msg{code: codes.POST, mid: num, token: "t", payload: payload,
			options: with(path("c"), message.Block1, blockValue(num, more, 16))}
	}
	a, b, c := text(48)[:16], text(48)[16:32], text(48)[32:]
	for _, row := range []struct {
		name   string
		blocks []msg
		want   []string
	}{
		{"in order", []msg{block1(0, true, a), block1(1, true, b), block1(2, false, c)}, []string{"2.31", "2.31", "2.04"}},
		{"lone last", []msg{block1(2, false, c)}, []string{"4.08"}},
		{"middle missing", []msg{block1(0, true, a), block1(2, false, c), block1(1, true, b)}, []string{"2.31", "4.08", "4.08"}},
		{"rearranged", []msg{block1(1, true, b), block1(0, true, a), block1(2, false, c)}, []string{"4.08", "2.31", "4.08"}},
		{"first block twice", []msg{block1(0, true, a), block1(0, true, b), block1(1, true, c), block1(2, false, a)},
			[]string{"2.31", "2.31", "2.31", "2.04"}},
		{"middle block again", []msg{block1(0, true, a), block1(1, true, b), block1(1, true, b), block1(2, false, c)},
			[]string{"2.31", "2.31", "2.31", "2.04"}},
		{"middle block again and different", []msg{block1(0, true, a), block1(1, true, b), block1(1, true, c), block1(2, false, c)},
			[]string{"2.31", "2.31", "4.08", "4.08"}},
		{"last block again", []msg{block1(0, true, a), block1(1, false, b), block1(1, false, b)}, []string{"2.31", "2.04", "4.08"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var mu sync.Mutex
			var bodies []string
			tell(t, simnet.Conditions{}, sums(&mu, &bodies), endpoint.Options{}, func(s *story) {
				d := s.device()
				var got []string
				for i, m := range row.blocks {
					m.mid = i // each a new message
					answer := d.ask(m)
					got = append(got, fmt.Sprintf("%d.%02d", answer.code>>5, answer.code&31))
				}
				if fmt.Sprint(got) != fmt.Sprint(row.want) {
					t.Errorf("got %v, want %v", got, row.want)
				}
			})
		})
	}
}

func TestBlocksOfDifferentBodiesAreNotMixed(t *testing.T) {
	var mu sync.Mutex
	var got []string
	tell(t, simnet.Conditions{}, sums(&mu, &got), endpoint.Options{}, func(s *story) {
		d, other := s.device(), s.device()
		block1 := func(d *device, p string, num int, more bool, fill string, tag string) string {
			o := with(path(p), message.Block1, blockValue(num, more, 16))
			if tag != "" {
				o = withBytes(o, 292, []byte(tag)) // Request-Tag [RFC 9175]
			}
			m := d.ask(msg{code: codes.POST, mid: rand.IntN(65536), options: o, payload: strings.Repeat(fill, 16)})
			return fmt.Sprintf("%d.%02d", m.code>>5, m.code&31)
		}
		steps := []string{
			block1(d, "c", 0, true, "a", ""), block1(other, "c", 0, true, "b", ""), block1(d, "x", 0, true, "c", ""), block1(d, "c", 0, true, "d", "tag"),
			block1(other, "x", 1, false, "e", ""), // foreign: other has nothing on x
			block1(d, "c", 1, false, "a", ""), block1(other, "c", 1, false, "b", ""), block1(d, "x", 1, false, "c", ""), block1(d, "c", 1, false, "d", "tag"),
		}
		if want := "[2.31 2.31 2.31 2.31 4.08 2.04 2.04 2.04 2.04]"; fmt.Sprint(steps) != want {
			t.Errorf("got  %v\nwant %s", steps, want)
		}
		for _, body := range got {
			if body != strings.Repeat(body[:1], 32) {
				t.Errorf("mixed: %s", body)
			}
		}
	})
}

func TestBodyAboveItsLimitIsTooLarge(t *testing.T) {
	var mu sync.Mutex
	var got []string
	o := endpoint.Options{BodyLimit: func(r *endpoint.Request) int {
		if r.Payload != nil || r.Path[0] != "c" {
			return 0
		}
		return 100
	}}
	tell(t, simnet.Conditions{}, sums(&mu, &got), o, func(s *story) {
		d := s.device()
		d.want(d.post("c", text(100), 0, 16, nil), `Acknowledgement 2.04 token=3936 Block1=6/0/16`)
		d.want(d.post("c", text(101), 1000, 16, nil), `Acknowledgement 4.13 token=3936 Block1=6/0/16 Size1=100`)
		d.want(d.post("c", text(200), 2000, 16, nil), `Acknowledgement 4.13 token=3936 Block1=6/1/16 Size1=100`)
		early := d.post("c", text(200), 3000, 16, func(m *msg) { m.options = with(m.options, message.Size1, 200) })
		d.want(early, `Acknowledgement 4.13 token=30 Block1=0/1/16 Size1=100`)
		d.want(d.ask(msg{code: codes.POST, mid: 4000, options: path("c"), payload: text(101)}), `Acknowledgement 4.13 Size1=100`)
		d.want(d.ask(msg{code: codes.POST, mid: 4001, options: path("c"), payload: text(100)}), `Acknowledgement 2.04`)
		d.want(d.ask(msg{code: codes.POST, mid: 4002, options: path("x"), payload: "1"}), `Acknowledgement 4.13 Size1=0`)
		if s := s.e.Stats(); len(got) != 2 || s.RequestBodies != 0 {
			t.Errorf("%d bodies, %+v", len(got), s)
		}
	})
}

func TestSmallerBlocksAreAskedFor(t *testing.T) {
	var mu sync.Mutex
	var got []string
	tell(t, simnet.Conditions{}, sums(&mu, &got), endpoint.Options{BlockSize: 64}, func(s *story) {
		d := s.device()
		body := text(600)
		first := msg{code: codes.POST, mid: 1, payload: body[:256], options: with(path("c"), message.Block1, blockValue(0, true, 256))}
		d.want(d.ask(first), "Acknowledgement 2.31 Block1=0/1/64")
		for at := 256; at < 600; at += 64 {
			end := min(at+64, 600)
			m := d.ask(msg{code: codes.POST, mid: at, payload: body[at:end], options: with(path("c"), message.Block1, blockValue(at/64, end < 600, 64))})
			if end == 600 {
				d.want(m, "Acknowledgement 2.04 Block1=9/0/64")
			}
		}
		if len(got) != 1 || got[0] != body {
			t.Errorf("%q", got)
		}
	})
}

func TestRequestBodyThatStopsIsForgotten(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		d := s.device()
		block1 := func(num, mid int) msg {
			return msg{code: codes.POST, mid: mid, payload: text(16), options: with(path("c"), message.Block1, blockValue(num, true, 16))}
		}
		d.want(d.ask(block1(0, 1)), "Acknowledgement 2.31 Block1=0/1/16")
		time.Sleep(59 * time.Second)
		d.want(d.ask(block1(1, 2)), "Acknowledgement 2.31 Block1=1/1/16")
		time.Sleep(61 * time.Second)
		d.want(d.ask(block1(2, 3)), "Acknowledgement 4.08")
		if got := s.e.Stats(); got.TransfersExpired != 1 || got.RequestBodies != 0 || got.RequestBytes != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestBodiesAreBounded(t *testing.T) {
	h := handler{serve: func(context.Context, *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: make([]byte, 2000)}
	}}
	o := endpoint.Options{TransfersMax: 10, TransfersPerPeer: 2, TransferBytesMax: 15_000}
	tell(t, simnet.Conditions{}, h, o, func(s *story) {
		for i := range 20 {
			d := s.device()
			for j := range 5 {
				p := fmt.Sprint("c", j)
				d.ask(msg{code: codes.GET, mid: 2 * j, options: path(p)})
				d.ask(msg{code: codes.POST, mid: 2*j + 1, payload: text(1024), options: with(path(p), message.Block1, blockValue(0, true, 1024))})
				got := s.e.Stats()
				if got.RequestBodies > min(10, 2*(i+1)) || got.ResponseBodies > min(10, 2*(i+1)) || got.RequestBytes > 15_000 || got.ResponseBytes > 15_000 {
					t.Fatalf("%+v", got)
				}
			}
			// The newest of this peer are there, whoever else's went.
			m := d.ask(msg{code: codes.POST, mid: 100, payload: text(10), options: with(path("c4"), message.Block1, blockValue(1, false, 1024))})
			if m.code != codes.Content {
				t.Error(m)
			}
			d.want(d.ask(msg{code: codes.GET, mid: 101, options: with(path("c4"), message.Block2, blockValue(1, false, 1024))}),
				"Acknowledgement 2.05 ETag Block2=1/0/1024 [976 bytes]")
			d.want(d.ask(msg{code: codes.GET, mid: 102, options: with(path("c0"), message.Block2, blockValue(1, false, 1024))}), "Acknowledgement 4.08")
		}
	})
}

func TestBodyInBothDirections(t *testing.T) {
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: bytes.ToUpper(r.Payload)}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		body := strings.Repeat("abcdefgh", 10)
		m := d.post("c", body, 0, 32, func(m *msg) { m.options = with(m.options, message.Block2, blockValue(0, false, 64)) })
		d.want(m, "Acknowledgement 2.05 token=3634 ETag Block2=0/1/64 Block1=2/0/32 Size2=80 [64 bytes]")
		got := m.payload
		m = d.ask(msg{code: codes.POST, mid: 999, options: with(path("c"), message.Block2, blockValue(1, false, 64))})
		if got += m.payload; got != strings.ToUpper(body) {
			t.Errorf("%q", got)
		}
	})
}

func TestPushingOutAPeerEndsItsFreeze(t *testing.T) {
	var idle chan endpoint.Peer
	n := 0
	h := versions(3000, &n)
	h.idle = func(p endpoint.Peer) { idle <- p }
	tell(t, simnet.Conditions{}, h, endpoint.Options{PeersMax: 1}, func(s *story) {
		idle = make(chan endpoint.Peer, 10)
		d, other := s.device(), s.device()
		d.ask(msg{code: codes.GET, mid: 1, options: path("c")})
		d.ask(msg{code: codes.GET, mid: 2, options: with(path("c"), message.Block2, blockValue(1, false, 1024))})
		other.ask(msg{code: codes.GET, mid: 1, options: path("c")})
		if got := <-idle; got != d.peer() {
			t.Error(got)
		}
	})
}
