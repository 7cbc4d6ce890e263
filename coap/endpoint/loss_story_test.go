package endpoint_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

// request sends a CON as a client that keeps to RFC 7252 4.2 would, and returns
// its answer, separate ones acknowledged.
func (d *device) request(m msg, ackSeen func(msg)) (msg, bool) {
	m.typ = con
	wait, acked := 2*time.Second, false
	for attempt := 0; attempt <= 4; attempt++ {
		if !acked {
			d.send(m)
		}
		for until := time.Now().Add(wait); ; {
			got, ok := d.next(time.Until(until))
			if !ok {
				break
			}
			if got.typ == con {
				d.send(msg{typ: ack, mid: got.mid})
				if got.token != m.token {
					ackSeen(got)
				}
			}
			if got.typ == ack && got.mid == m.mid && got.code == codes.Empty {
				acked = true
			}
			if got.code != codes.Empty && got.token == m.token {
				return got, true
			}
		}
		wait *= 2
	}
	return msg{}, false
}

// TestLossMatrix runs requests, slow requests and notifications over networks of
// every kind. The device's own count is the judge: what it was told is done was
// done, no answer is another request's, and each outcome agrees with what the
// device saw.
func TestLossMatrix(t *testing.T) {
	const rounds = 25
	cells := 0
	for _, loss := range []float64{0, 0.1, 0.3, 0.5} {
		for _, duplicate := range []float64{0, 0.3} {
			for _, delay := range []time.Duration{0, 300 * time.Millisecond, 1500 * time.Millisecond} {
				cells++
				name := fmt.Sprintf("loss %v, duplicates %v, delay up to %v", loss, duplicate, delay)
				t.Run(name, func(t *testing.T) {
					lossCell(t, simnet.Conditions{Loss: loss, Duplicate: duplicate, DelayMax: delay}, rounds)
				})
			}
		}
	}
	t.Logf("%d networks, %d rounds each, seed 1", cells, rounds)
}

func lossCell(t *testing.T, c simnet.Conditions, rounds int) {
	var mu sync.Mutex
	served := map[string]int{}
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		mu.Lock()
		served[string(r.Payload)]++
		mu.Unlock()
		if r.Path[0] == "slow" {
			time.Sleep(1500 * time.Millisecond)
		}
		return endpoint.Response{Code: codes.Content, Payload: r.Payload}
	}}
	tell(t, c, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		seen := map[string]bool{} // notifications that reached the device
		answered := 0
		note := func(m msg) { seen[m.payload] = true }
		for i := range rounds {
			p := "quick"
			if i%3 == 1 {
				p = "slow"
			}
			body := fmt.Sprint("body ", i)
			got, ok := d.request(msg{code: codes.POST, mid: i, token: fmt.Sprint(i), options: path(p), payload: body}, note)
			if ok {
				answered++
			}
			mu.Lock()
			n := served[body]
			mu.Unlock()
			if n > 1 || ok && (n != 1 || got.payload != body || got.code != codes.Content) {
				t.Errorf("request %d: served %d times, answer %v", i, n, got)
			}
			name := fmt.Sprint("notice ", i)
			notice := &notice{name, make(chan [2]int, 1)}
			if _, err := s.e.Confirm(d.peer(), endpoint.TokenOf([]byte("obs")), notice, endpoint.ConfirmOptions{}); err != nil {
				continue // a separate response is still under way
			}
			outcome := d.acknowledge(notice.done, note)
			if outcome == int(endpoint.Acked) && !seen[name] {
				t.Errorf("%s is acknowledged, and never came", name)
			}
			if outcome == int(endpoint.Reset) || c.Loss == 0 && outcome != int(endpoint.Acked) {
				t.Errorf("%s: %v", name, endpoint.Outcome(outcome))
			}
		}
		if c.Loss == 0 && answered != rounds {
			t.Errorf("%d of %d answered without any loss", answered, rounds)
		}
		if got := s.e.Stats(); got.Panics+got.Malformed > 0 {
			t.Errorf("%+v", got)
		}
	})
}

// acknowledge acknowledges what comes until an exchange is over.
func (d *device) acknowledge(done chan [2]int, note func(msg)) int {
	for {
		select {
		case o := <-done:
			return o[0]
		default:
		}
		if m, ok := d.next(100 * time.Millisecond); ok && m.typ == con {
			note(m)
			d.send(msg{typ: ack, mid: m.mid})
		}
	}
}

func TestCorruptedDatagramsHarmNobody(t *testing.T) {
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: r.Payload}
	}}
	tell(t, simnet.Conditions{Corrupt: 0.5, Duplicate: 0.5, DelayMax: time.Second}, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		for i := range 400 {
			m := msg{typ: con, code: codes.POST, mid: i, token: "t", options: path("c"), payload: text(100)}
			if i%2 == 0 {
				m.options = with(m.options, message.Block1, blockValue(i/2%4, i/2%4 < 3, 64))
				m.payload = m.payload[:64]
			}
			d.send(m)
			d.conn.Receive(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second) // what is on its way arrives
		s.net.Set(simnet.Conditions{})
		d = s.device()
		d.want(d.ask(msg{code: codes.POST, mid: 1, payload: "ok"}), `Acknowledgement 2.05 "ok"`)
		if got := s.e.Stats(); got.Panics > 0 || got.Received < 400 {
			t.Errorf("%+v", got)
		}
	})
}
