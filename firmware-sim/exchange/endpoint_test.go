package exchange

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"behest/firmware-sim/message"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	serverAt = netip.MustParseAddrPort("10.0.0.1:5683")
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// wireTap is an endpoint whose datagrams are kept.
type wireTap struct {
	*Endpoint
	t    *testing.T
	sent []message.Message
}

func tap(t *testing.T) *wireTap {
	w := &wireTap{t: t}
	w.Endpoint = New(serverAt, func(b []byte) {
		m, err := message.Parse(b)
		if err != nil {
			t.Fatalf("sent %x: %v", b, err)
		}
		w.sent = append(w.sent, m.Clone())
	}, rand.New(rand.NewPCG(1, 2)), Timing{})
	return w
}

// last is the newest datagram that was sent.
func (w *wireTap) last() message.Message {
	w.t.Helper()
	if len(w.sent) == 0 {
		w.t.Fatal("nothing was sent")
	}
	return w.sent[len(w.sent)-1]
}

// get starts a GET and returns the message.
func (w *wireTap) get() message.Message {
	w.Start(noon, Request{Code: message.GET, Options: message.Options{message.Text(message.URIPath, "c")}})
	return w.last()
}

// hear hands a message to the endpoint.
func (w *wireTap) hear(now time.Time, m message.Message) Event {
	return w.Receive(now, serverAt, m.Append(nil))
}

func ack(to message.Message, code message.Code) message.Message {
	m := message.Message{Type: message.Acknowledgement, Code: code, ID: to.ID}
	if code != message.Empty {
		m.Token = to.Token
	}
	return m
}

func (w *wireTap) mustReply(kind message.Type, id uint16) {
	w.t.Helper()
	want := message.Message{Type: kind, Code: message.Empty, ID: id}
	if diff := cmp.Diff(w.last(), want, cmpopts.EquateEmpty()); diff != "" {
		w.t.Errorf("reply (-got +want):\n%s", diff)
	}
}

func TestRetransmissionsFollowTheTimesOfRFC7252(t *testing.T) {
	for seed := range uint64(50) {
		var sent int
		e := New(serverAt, func([]byte) { sent++ }, rand.New(rand.NewPCG(seed, 0)), Timing{})
		e.Start(noon, Request{Code: message.GET})
		first := e.Deadline().Sub(noon)
		if first < ackTimeout || first > ackTimeout*3/2 {
			t.Fatalf("first repeat after %v", first)
		}
		for i := range retransmits {
			if e.Tick(e.Deadline().Add(-1)).Kind != None {
				t.Fatal("something happened before its time")
			}
			now := e.Deadline()
			if got := e.Tick(now); got.Kind != Repeated {
				t.Fatalf("repeat %d: %v", i, got.Kind)
			}
			if wait := e.Deadline().Sub(now); wait != first<<(i+1) {
				t.Errorf("repeat %d is followed by %v, want %v", i, wait, first<<(i+1))
			}
		}
		if got := e.Tick(e.Deadline()); got.Kind != Lost || e.Busy() {
			t.Errorf("after the last wait: %v", got.Kind)
		}
		if sent != 1+retransmits {
			t.Errorf("%d transmissions", sent)
		}
	}
}

func TestRepeatsAreTheSameDatagram(t *testing.T) {
	w := tap(t)
	first := w.get()
	w.Tick(w.Deadline())
	if diff := cmp.Diff(w.last(), first); diff != "" {
		t.Errorf("repeat (-got +want):\n%s", diff)
	}
}

func TestResponses(t *testing.T) {
	content := []byte{0x80}
	with := func(m message.Message) message.Message { m.Payload = content; return m }
	separate := func(request message.Message, kind message.Type, id uint16) message.Message {
		return message.Message{Type: kind, Code: message.Content, ID: id, Token: request.Token, Payload: content}
	}
	t.Run("piggybacked", func(t *testing.T) {
		w := tap(t)
		if got := w.hear(noon, with(ack(w.get(), message.Content))); got.Kind != Answered || !bytes.Equal(got.Message.Payload, content) {
			t.Errorf("%+v", got)
		}
	})
	for _, kind := range []message.Type{message.Confirmable, message.NonConfirmable} {
		t.Run(fmt.Sprintf("separate, type %d", kind), func(t *testing.T) {
			w := tap(t)
			request := w.get()
			w.hear(noon, ack(request, message.Empty))
			if w.Deadline() != noon.Add(responseWait) {
				t.Errorf("waits until %v", w.Deadline())
			}
			if got := w.hear(noon, separate(request, kind, 9)); got.Kind != Answered {
				t.Errorf("%+v", got)
			}
			if kind == message.Confirmable {
				w.mustReply(message.Acknowledgement, 9)
			}
			sent := len(w.sent)
			if got := w.hear(noon, separate(request, kind, 9)); got.Kind != None {
				t.Errorf("a repeat was handed up: %+v", got)
			}
			if got := w.hear(noon, separate(request, kind, 10)); got.Kind != None {
				t.Errorf("a second response was handed up: %+v", got)
			}
			if kind == message.Confirmable {
				if len(w.sent) != sent+2 {
					t.Errorf("%d replies to a repeat and a second response", len(w.sent)-sent)
				}
				w.mustReply(message.Acknowledgement, 10)
			}
		})
	}
	t.Run("separate before its lost ACK", func(t *testing.T) {
		w := tap(t)
		if got := w.hear(noon, separate(w.get(), message.Confirmable, 9)); got.Kind != Answered || w.Busy() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("empty ACK and nothing else", func(t *testing.T) {
		w := tap(t)
		w.hear(noon, ack(w.get(), message.Empty))
		if got := w.Tick(noon.Add(responseWait)); got.Kind != Lost {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a second empty ACK does not prolong the wait", func(t *testing.T) {
		w := tap(t)
		request := w.get()
		w.hear(noon, ack(request, message.Empty))
		w.hear(noon.Add(time.Second), ack(request, message.Empty))
		if w.Deadline() != noon.Add(responseWait) {
			t.Errorf("waits until %v", w.Deadline())
		}
	})
	t.Run("reset", func(t *testing.T) {
		w := tap(t)
		request := w.get()
		if got := w.hear(noon, message.Message{Type: message.Reset, ID: request.ID}); got.Kind != Reset || w.Busy() {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhatIsNotOursChangesNothing(t *testing.T) {
	critical := message.Options{{Number: 65001, Value: []byte{1}}}
	rows := []struct {
		name string
		make func(request message.Message) message.Message
	}{
		{"ACK of another id", func(r message.Message) message.Message { r.ID++; return ack(r, message.Content) }},
		{"ACK with another token", func(r message.Message) message.Message { r.Token = []byte{1}; return ack(r, message.Content) }},
		{"ACK with a request in it", func(r message.Message) message.Message { return ack(r, message.GET) }},
		{"ACK with an unknown critical option", func(r message.Message) message.Message {
			m := ack(r, message.Content)
			m.Options = critical
			return m
		}},
		{"reset of another id", func(r message.Message) message.Message { return message.Message{Type: message.Reset, ID: r.ID + 1} }},
		{"reset with a code", func(r message.Message) message.Message {
			return message.Message{Type: message.Reset, Code: message.Content, ID: r.ID}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := tap(t)
			request := w.get()
			if got := w.hear(noon, row.make(request)); got.Kind != None || !w.Busy() || len(w.sent) != 1 {
				t.Errorf("%+v, busy %v, %d sent", got, w.Busy(), len(w.sent))
			}
		})
	}
	t.Run("another address", func(t *testing.T) {
		w := tap(t)
		request := w.get()
		other := netip.MustParseAddrPort("10.0.0.9:5683")
		if got := w.Receive(noon, other, ack(request, message.Content).Append(nil)); got.Kind != None || !w.Busy() {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhatIsUnknownGetsAReset(t *testing.T) {
	critical := message.Options{{Number: 65001, Value: []byte{1}}}
	rows := []struct {
		name     string
		datagram []byte
		reset    bool
	}{
		{"ping", []byte{0x40, 0, 0, 9}, true},
		{"request", message.Message{Code: message.GET, ID: 9}.Append(nil), true},
		{"response to nothing", message.Message{Code: message.Content, ID: 9, Token: []byte{1}}.Append(nil), true},
		{"non-confirmable response to nothing",
			message.Message{Type: message.NonConfirmable, Code: message.Content, ID: 9, Token: []byte{1}}.Append(nil), true},
		{"notification with an unknown critical option",
			message.Message{Code: message.Content, ID: 9, Token: []byte{7, 7}, Options: critical}.Append(nil), true},
		{"reserved code class", message.Message{Code: 0x20, ID: 9}.Append(nil), true},
		{"broken confirmable", []byte{0x40, 0x45, 0, 9, 0xff}, true},
		{"broken non-confirmable", []byte{0x50, 0x45, 0, 9, 0xff}, false},
		{"three bytes", []byte{0x40, 0x45, 0}, false},
		{"version 2", []byte{0x80, 0x45, 0, 9}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := tap(t)
			w.Watch([]byte{7, 7})
			for range 2 { // the second one is a repeat, and treated the same
				w.sent = nil
				if got := w.Receive(noon, serverAt, row.datagram); got.Kind != None {
					t.Errorf("%+v", got)
				}
				if !row.reset {
					if len(w.sent) != 0 {
						t.Errorf("sent %+v", w.sent)
					}
					continue
				}
				if row.datagram[0]>>4&3 == byte(message.NonConfirmable) && len(w.sent) == 0 {
					continue // one Reset for a non-confirmable is enough
				}
				w.mustReply(message.Reset, 9)
			}
		})
	}
}

func TestNotifications(t *testing.T) {
	notification := message.Message{Code: message.Content, ID: 9, Token: []byte{7, 7}, Payload: []byte{0x80},
		Options: message.Options{message.Uint(message.Observe, 5)}}
	w := tap(t)
	w.Watch([]byte{7, 7})
	got := w.hear(noon, notification)
	if diff := cmp.Diff(got, Event{Kind: Notified, Message: notification}, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("event (-got +want):\n%s", diff)
	}
	w.mustReply(message.Acknowledgement, 9)
	if got := w.hear(noon, notification); got.Kind != None || len(w.sent) != 2 {
		t.Errorf("a repeat: %+v, %d replies", got, len(w.sent))
	}
	restarted := notification
	restarted.Options = message.Options{message.Uint(message.Observe, 6)}
	if got := w.hear(noon, restarted); got.Kind != Notified {
		t.Errorf("another message under the same id: %+v", got)
	}
	if got := w.hear(noon.Add(exchangeLifetime), notification); got.Kind != Notified {
		t.Errorf("the same id after its lifetime: %+v", got)
	}
	w.get()
	notification.ID = 10
	if got := w.hear(noon, notification); got.Kind != Notified || !w.Busy() {
		t.Errorf("beside a request: %+v", got)
	}
}

// TestAnEchoIsCarriedBack with the same request, at most twice, and with no
// request after it.
func TestAnEchoIsCarriedBack(t *testing.T) {
	challenge := func(m message.Message, echo byte) message.Message {
		a := ack(m, message.Unauthorized)
		a.Options = message.Options{{Number: message.Echo, Value: []byte{echo}}}
		return a
	}
	w := tap(t)
	body := make([]byte, 3000)
	w.Start(noon, Request{Code: message.POST, Token: []byte{7, 7}, Body: body})
	for echo := range byte(echoesMax) {
		before := w.last()
		if got := w.hear(noon, challenge(before, echo)); got.Kind != None || !w.Busy() {
			t.Fatalf("challenged: %+v", got)
		}
		want := before
		want.ID++
		want.Options = append(slices.DeleteFunc(slices.Clone(before.Options), func(o message.Option) bool {
			return o.Number == message.Echo
		}), message.Option{Number: message.Echo, Value: []byte{echo}})
		if diff := cmp.Diff(w.last(), want, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("with the Echo (-got +want):\n%s", diff)
		}
	}
	next := ack(w.last(), message.Continue)
	next.Options = message.Options{message.Block{More: true, Size: blockSize}.Option(message.Block1)}
	w.hear(noon, next)
	if _, again := w.last().Options.Bytes(message.Echo); again {
		t.Error("it went with the next block too")
	}
	if got := w.hear(noon, challenge(w.last(), 9)); got.Kind != Answered || w.Busy() {
		t.Errorf("challenged once more: %+v", got)
	}
}

// TestBlock1 sends bodies of many lengths to a server that asks for smaller
// blocks, and puts them together again.
func TestBlock1(t *testing.T) {
	for _, length := range []int{0, 1, 1024, 1025, 2048, 3000, 65536} {
		for _, size := range []uint8{6, 5, 0} {
			t.Run(fmt.Sprintf("%d bytes in blocks of %d", length, 16<<size), func(t *testing.T) {
				w := tap(t)
				body := make([]byte, length)
				for i := range body {
					body[i] = byte(i * 7 / 3)
				}
				w.Start(noon, Request{Code: message.POST, Body: body})
				var got []byte
				for {
					m := w.last()
					got = append(got, m.Payload...)
					block, blockwise := m.Options.Block(message.Block1)
					if blockwise && int(block.Num)*block.Bytes() != len(got)-len(m.Payload) {
						t.Fatalf("block %+v at byte %d", block, len(got)-len(m.Payload))
					}
					if blockwise && block.Num > 0 && block.Size > size {
						t.Fatalf("block %+v is larger than the server asked for", block)
					}
					if !blockwise || !block.More {
						break
					}
					block.Size = min(block.Size, size)
					answer := ack(m, message.Continue)
					answer.Options = message.Options{block.Option(message.Block1)}
					if e := w.hear(noon, answer); e.Kind != None || !w.Busy() {
						t.Fatalf("after a block: %+v", e)
					}
				}
				if !bytes.Equal(got, body) {
					t.Errorf("%d bytes came, or other ones", len(got))
				}
				if e := w.hear(noon, ack(w.last(), message.Changed)); e.Kind != Answered || e.Message.Code != message.Changed {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}

func TestAnErrorEndsABody(t *testing.T) {
	w := tap(t)
	w.Start(noon, Request{Code: message.POST, Body: make([]byte, 3000)})
	if e := w.hear(noon, ack(w.last(), message.Incomplete)); e.Kind != Answered || e.Message.Code != message.Incomplete || w.Busy() {
		t.Errorf("%+v", e)
	}
}

func TestBody(t *testing.T) {
	block := func(num uint32, more bool, etag byte, content string) message.Message {
		return message.Message{Code: message.Content, Payload: []byte(content), Options: message.Options{
			{Number: message.ETag, Value: []byte{etag}}, message.Block{Num: num, More: more}.Option(message.Block2),
		}}
	}
	const full = "0123456789abcdef"
	whole, err := NewBody(message.Message{Payload: []byte("all")})
	if err != nil || string(whole.Bytes()) != "all" {
		t.Errorf("%v, %v", whole, err)
	}
	if _, more := whole.Next(); more {
		t.Error("more is wanted of a whole body")
	}
	b, err := NewBody(block(0, true, 1, full))
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]message.Message{
		"no block option": {Payload: []byte(full)}, "the wrong place": block(2, true, 1, full),
		"another state": block(1, true, 2, full), "a short block": block(1, true, 1, "short"),
	} {
		if b.Add(m) == nil {
			t.Errorf("%s was added", name)
		}
	}
	if next, more := b.Next(); !more || next.Num != 1 {
		t.Errorf("next is %+v (%v)", next, more)
	}
	for i, content := range []string{full, "end"} {
		if err := b.Add(block(uint32(i+1), content == full, 1, content)); err != nil {
			t.Fatal(err)
		}
	}
	if _, more := b.Next(); more || string(b.Bytes()) != full+full+"end" {
		t.Errorf("the body is %q, more %v", b.Bytes(), more)
	}
	for name, m := range map[string]message.Message{"a later block": block(1, false, 1, "x"), "a short first block": block(0, true, 1, "x")} {
		if _, err := NewBody(m); err == nil {
			t.Errorf("a body began with %s", name)
		}
	}
}

// FuzzReceive throws datagrams at an endpoint with a request under way: it must
// not panic, must not answer more than it got, and stays usable.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0x60, 0x45, 0, 1}, []byte{0x40, 0, 0, 9})
	f.Add(message.Message{Code: message.Content, ID: 3, Token: []byte{7, 7}}.Append(nil), []byte{0x70, 0, 0, 3})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		sent := 0
		e := New(serverAt, func([]byte) { sent++ }, rand.New(rand.NewPCG(1, 1)), Timing{})
		e.Watch([]byte{7, 7})
		e.Start(noon, Request{Code: message.POST, Body: make([]byte, 2000)})
		e.Receive(noon, serverAt, first)
		e.Receive(noon, serverAt, second)
		if sent > 3 {
			t.Errorf("%d datagrams for one request and two that came", sent)
		}
		if !e.Busy() {
			e.Start(noon, Request{Code: message.GET})
		}
		if e.Deadline().IsZero() {
			t.Error("busy, and no deadline")
		}
	})
}
