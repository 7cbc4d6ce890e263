package coap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/cbor"
	"behest/command"
)

// large is a byte string that takes n bytes, near what params may have.
func large(n int) []byte {
	return append([]byte{0x59, byte((n - 3) >> 8), byte(n - 3)}, strings.Repeat("x", n-3)...)
}

// rest fetches the blocks after a first one, and returns the whole body. Like
// Zephyr it puts a new token on each request, and repeats its Observe option.
func (p *peer) rest(name string, first msg, size int) string {
	p.t.Helper()
	body := first.payload
	for num := len(body) / size; ; num++ {
		got := p.ask(get("c/"+name).tok(fmt.Sprint("b", num)).observe(0).block(message.Block2, num, false, size))
		block, ok := got.option(message.Block2)
		if got.code != codes.Content || !ok || int(block>>4) != num {
			p.t.Fatalf("block %d: %v", num, got)
		}
		body += got.payload
		if block>>3&1 == 0 {
			return body
		}
	}
}

func (p *peer) wantBody(body, want string) {
	p.t.Helper()
	if got := listWords(body); got != want {
		p.t.Errorf("the body:\n got %.200s\nwant %.200s", got, want)
	}
}

func TestALargeListComesInBlocks(t *testing.T) {
	params := large(command.ParamsBytesMax)
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&w=2")
		p.observe("pump-7", "obs")

		// As a notification.
		id := w.issue("pump-7", command.Intent{Params: params})
		first := p.comes("CON 2.05 obs etag observe ct=60 MaxAge=900 Block2=0/1/1024 Size2=1044 1024 bytes")
		p.ack(first)
		want := "[#0 act 86400s " + cbor.Diagnose(params) + "]"
		p.wantBody(p.rest("pump-7", first, 1024), want)
		w.same("it", w.states(id), []command.State{command.Delivered})

		// As the answer to a GET, in the blocks that it asks for.
		for _, size := range []int{512, 64, 16} {
			p.want(get("c/pump-7").block(message.Block2, 0, false, size), "ACK 0.00")
			first = p.must()
			p.ack(first)
			if len(first.payload) != size {
				t.Errorf("asked for blocks of %d: %v", size, first)
			}
			p.wantBody(p.rest("pump-7", first, size), fmt.Sprintf("[#0 act %ds %s]", 86398, cbor.Diagnose(params)))
		}
	})
}

// TestNotificationsKeepTheBlockSizeOfTheObserveRequest, over a restart too.
func TestNotificationsKeepTheBlockSizeOfTheObserveRequest(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		p.want(get("c/pump-7").tok("obs").observe(0).block(message.Block2, 0, false, 64), "ACK 2.05 obs observe ct=60 MaxAge=900 []")
		w.restart()
		w.issue("pump-7", command.Intent{Params: large(100)})
		first := p.comes("CON 2.05 obs etag observe ct=60 MaxAge=900 Block2=0/1/64 Size2=120 64 bytes")
		p.ack(first)
		p.wantBody(p.rest("pump-7", first, 64), "[#0 act 86400s "+cbor.Diagnose(large(100))+"]")
	})
}

// TestATransferIsOfOneListWhateverHappensMeanwhile, and the next notification
// waits for its end.
func TestATransferIsOfOneListWhateverHappensMeanwhile(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&w=8")
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{Params: large(1024)})
		first := p.must()
		p.ack(first)
		second := p.ask(get("c/pump-7").block(message.Block2, 1, false, 512))
		w.issue("pump-7", command.Intent{Params: large(512)})
		p.quiet(20 * time.Second)
		third := p.ask(get("c/pump-7").block(message.Block2, 2, false, 512))
		p.wantBody(first.payload[:512]+second.payload+third.payload, "[#0 act 86400s "+cbor.Diagnose(large(1024))+"]")

		next := p.must()
		p.ack(next)
		if size, _ := next.option(message.Size2); next.typ != con || next.token != "obs" || size < 1500 {
			t.Errorf("after the transfer: %v", next)
		}

		// One that is never ended holds nothing up for longer than a minute.
		p.ask(get("c/pump-7").block(message.Block2, 1, false, 512))
		w.issue("pump-7", command.Intent{Params: large(512)})
		p.quiet(59 * time.Second)
		next = p.must()
		if size, _ := next.option(message.Size2); size < 2000 {
			t.Errorf("after a transfer that was given up: %v", next)
		}
	})
}

// TestAReportInBlocks is one report.
func TestAReportInBlocks(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		p.ack(p.must())
		whole := reportOf("pump-7", start, command.Report{Status: command.StatusSuccess, Result: large(900)})
		body := whole.payload
		for num, at := 0, 0; at < len(body); num, at = num+1, at+128 {
			last := at+128 >= len(body)
			part := whole.with(body[at:min(at+128, len(body))]).tok(fmt.Sprint("b", num)).block(message.Block1, num, !last, 128)
			got := p.ask(part)
			for got.typ == con { // the notification that follows from the last may overtake its answer
				p.ack(got)
				got = p.must()
			}
			want := fmt.Sprintf("ACK 2.31 b%d Block1=%d/1/128", num, num)
			if last {
				want = fmt.Sprintf("ACK 2.04 b%d Block1=%d/0/128", num, num)
			}
			p.same(got, want)
		}
		p.live(time.Second)
		w.same("it", w.states(id), []command.State{command.Succeeded})
		if x := w.execution(id); len(x.Last.Result) != 900 {
			t.Errorf("%d bytes of a result of 900", len(x.Last.Result))
		}
	})
}

func TestALoneLastBlockIsNoReport(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		id := w.issue("pump-7", command.Intent{})
		p.ack(p.must())
		p.want(reportOf("pump-7", start, success).block(message.Block1, 2, false, 64), "ACK 4.08")
		w.same("it", w.states(id), []command.State{command.Delivered})
	})
}
