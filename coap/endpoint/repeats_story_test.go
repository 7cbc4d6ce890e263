package endpoint_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

// counting answers each request with how many there were.
func counting(n *atomic.Int32) handler {
	return handler{serve: func(context.Context, *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: fmt.Appendf(nil, "%d", n.Add(1))}
	}}
}

func TestRepeatWithinItsLifetimeIsAnsweredFromMemory(t *testing.T) {
	for _, row := range []struct {
		name   string
		typ    message.Type
		answer string
		after  time.Duration
		served string
	}{
		{"CON at once", con, "Acknowledgement", 0, "1"},
		{"CON after 2 s", con, "Acknowledgement", 2 * time.Second, "1"},
		{"CON after 246 s", con, "Acknowledgement", 246 * time.Second, "1"},
		{"CON after 248 s is new", con, "Acknowledgement", 248 * time.Second, "2"},
		{"NON after 144 s", non, "NonConfirmable", 144 * time.Second, "1"},
		{"NON after 146 s is new", non, "NonConfirmable", 146 * time.Second, "2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var n atomic.Int32
			tell(t, simnet.Conditions{}, counting(&n), endpoint.Options{}, func(s *story) {
				d := s.device()
				m := msg{typ: row.typ, code: codes.POST, mid: 77, token: "t", options: path("c")}
				d.send(m)
				first := d.must()
				d.want(first, row.answer+` 2.05 token=74 "1"`)
				time.Sleep(row.after)
				d.send(m)
				second := d.must()
				d.want(second, row.answer+` 2.05 token=74 "`+row.served+`"`)
				if row.served == "1" && second.mid != first.mid {
					t.Errorf("message ids %d and %d: the bytes are not the same", first.mid, second.mid)
				}
			})
		})
	}
}

func TestSameMessageIDWithOtherBytesIsANewRequest(t *testing.T) {
	var n atomic.Int32
	tell(t, simnet.Conditions{}, counting(&n), endpoint.Options{}, func(s *story) {
		d, other := s.device(), s.device()
		m := msg{code: codes.POST, mid: 77, options: path("c")}
		d.want(d.ask(m), `Acknowledgement 2.05 "1"`)
		m.payload = "after a reboot"
		d.want(d.ask(m), `Acknowledgement 2.05 "2"`)
		other.want(other.ask(m), `Acknowledgement 2.05 "3"`) // another endpoint
		d.to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), s.server.Port())
		d.want(d.ask(m), `Acknowledgement 2.05 "4"`) // another address of ours
	})
}

func TestRepeatOfARunningRequestIsAnsweredOnce(t *testing.T) {
	var n atomic.Int32
	h := handler{serve: func(context.Context, *endpoint.Request) endpoint.Response {
		n.Add(1)
		time.Sleep(500 * time.Millisecond)
		return endpoint.Response{Code: codes.Changed}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		m := msg{typ: con, code: codes.POST, mid: 1, options: path("c")}
		for range 3 {
			d.send(m)
			time.Sleep(100 * time.Millisecond)
		}
		d.want(d.must(), "Acknowledgement 2.04")
		d.quiet(time.Minute)
		if n.Load() != 1 {
			t.Error("served", n.Load(), "times")
		}
	})
}

func TestRepeatWhoseAnswerIsGoneRunsAgain(t *testing.T) {
	var n atomic.Int32
	tell(t, simnet.Conditions{}, counting(&n), endpoint.Options{AnswerMax: 8}, func(s *story) {
		d := s.device()
		m := msg{code: codes.POST, mid: 1, token: "abcd", options: path("c")}
		d.want(d.ask(m), `Acknowledgement 2.05 token=61626364 "1"`) // ten bytes: not kept
		d.want(d.ask(m), `Acknowledgement 2.05 token=61626364 "2"`)
		m.token = ""
		d.want(d.ask(m), `Acknowledgement 2.05 "3"`)
		d.want(d.ask(m), `Acknowledgement 2.05 "3"`)
	})
}

func TestFloodOfOnePeerDoesNotWashOutAnothersRepeats(t *testing.T) {
	var n atomic.Int32
	tell(t, simnet.Conditions{}, counting(&n), endpoint.Options{RepeatsMax: 1600}, func(s *story) {
		good, flood := s.device(), s.device()
		m := msg{code: codes.POST, mid: 1, token: "g", options: path("c")}
		good.want(good.ask(m), `Acknowledgement 2.05 token=67 "1"`)
		for i := range 5000 {
			flood.send(msg{typ: con, code: codes.GET, mid: i, options: path("c")})
			flood.must()
		}
		good.want(good.ask(m), `Acknowledgement 2.05 token=67 "1"`)
		if got := s.e.Stats().Repeats; got > 101 {
			t.Errorf("%d requests remembered, of which one peer may have 100", got)
		}
	})
}

func TestNothingIsKeptOfAPeerThatHasBeenQuietForALifetime(t *testing.T) {
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Code: codes.Content, Payload: make([]byte, 5000)}), endpoint.Options{}, func(s *story) {
		for i := range 100 {
			d := s.device()
			d.ask(msg{code: codes.GET, mid: i, options: path("c")})
			d.send(msg{typ: con, code: codes.POST, mid: i, payload: strings.Repeat("x", 16),
				options: with(path("c"), message.Block1, blockValue(0, true, 16))})
		}
		synctest.Wait()
		if got := s.e.Stats(); got.Peers != 100 || got.Repeats != 200 || got.RequestBodies != 100 || got.ResponseBodies != 100 {
			t.Errorf("%+v", got)
		}
		time.Sleep(247*time.Second + 247*time.Second/20 + time.Second)
		synctest.Wait()
		got := s.e.Stats()
		if got.Peers != 0 || got.Repeats != 0 || got.RequestBodies != 0 || got.ResponseBodies != 0 || got.ResponseBytes != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestSeparateAnswerToASlowRequest(t *testing.T) {
	for _, row := range []struct {
		name string
		typ  message.Type
		want []string
	}{
		{"CON", con, []string{"0 Acknowledgement 0.00", "1 Confirmable 2.04 token=74"}},
		{"NON: no empty ACK, and a NON", non, []string{"1 NonConfirmable 2.04 token=74"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := handler{serve: func(context.Context, *endpoint.Request) endpoint.Response {
				time.Sleep(1500 * time.Millisecond)
				return endpoint.Response{Code: codes.Changed}
			}}
			tell(t, simnet.Conditions{}, h, endpoint.Options{ProcessingDelay: 500 * time.Millisecond}, func(s *story) {
				d := s.device()
				d.send(msg{typ: row.typ, code: codes.POST, mid: 9, token: "t", options: path("c")})
				start := time.Now()
				for _, want := range row.want {
					m := d.must()
					d.want(msg{}, "Confirmable 0.00") // a message prints as it should
					if got := fmt.Sprintf("%.0f %v", time.Since(start).Truncate(time.Second).Seconds(), m); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
					if m.typ == ack && m.mid != 9 {
						t.Error("ACK of", m.mid)
					}
					if m.typ == con {
						d.send(msg{typ: ack, mid: m.mid})
					}
				}
				d.quiet(2 * time.Minute)
				// A repeat of the request finds its ACK again, not its answer.
				if d.send(msg{typ: row.typ, code: codes.POST, mid: 9, token: "t", options: path("c")}); row.typ == con {
					d.want(d.must(), "Acknowledgement 0.00")
				}
			})
		})
	}
}

// asked is a separate response that says which attempt it is.
type asked struct {
	done chan [2]int
}

func (a *asked) Build(attempt int, _ time.Time) (endpoint.Response, bool) {
	return endpoint.Response{Code: codes.Content, Payload: fmt.Appendf(nil, "attempt %d", attempt)}, true
}
func (a *asked) Done(o endpoint.Outcome, attempt int) { a.done <- [2]int{int(o), attempt} }

func TestSeparateIsRepeatedWithItsTokenUntilAcknowledged(t *testing.T) {
	for _, typ := range []message.Type{con, non} {
		t.Run(typ.String(), func(t *testing.T) {
			a := &asked{}
			tell(t, simnet.Conditions{}, answers(endpoint.Response{Separate: a}), endpoint.Options{}, func(s *story) {
				a.done = make(chan [2]int, 1)
				d := s.device()
				d.send(msg{typ: typ, code: codes.GET, mid: 9, token: "t", options: path("c")})
				if typ == con {
					d.want(d.must(), "Acknowledgement 0.00")
				}
				mids := map[int]bool{}
				for i := range 3 {
					m := d.must()
					d.want(m, fmt.Sprintf("Confirmable 2.05 token=74 %q", fmt.Sprintf("attempt %d", i)))
					mids[m.mid] = true
					if i == 2 {
						d.send(msg{typ: ack, mid: m.mid})
					}
				}
				if got := <-a.done; got != [2]int{int(endpoint.Acked), 2} || len(mids) != 3 {
					t.Error("outcome and attempt", got, "message ids", mids)
				}
				d.quiet(5 * time.Minute)
			})
		})
	}
}

func TestSeparatesOfOnePeerGoOneAfterTheOther(t *testing.T) {
	done := make(chan [2]int, 10)
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Separate: &asked{done}}), endpoint.Options{}, func(s *story) {
		d := s.device()
		var refused int
		for i := range 6 {
			d.send(msg{typ: con, code: codes.GET, mid: i, token: fmt.Sprint(i), options: path("c")})
			synctest.Wait()
		}
		var order []string
		for len(order) < 5 {
			m := d.must()
			switch {
			case m.typ == con:
				order = append(order, m.token)
				synctest.Wait()
				d.send(msg{typ: ack, mid: m.mid})
			case m.code == codes.ServiceUnavailable:
				d.want(m, "Acknowledgement 5.03 token=35 MaxAge=5")
				refused++
			}
		}
		if got := strings.Join(order, ""); got != "01234" || refused != 1 {
			t.Errorf("order %s, %d refused", got, refused)
		}
	})
}

func TestHandlerThatPanicsCostsOneRequest(t *testing.T) {
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		if r.Path[0] == "bad" {
			panic("a handler's mistake")
		}
		return endpoint.Response{Code: codes.Changed}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{Workers: 1}, func(s *story) {
		d := s.device()
		for i := range 4 {
			d.want(d.ask(msg{code: codes.POST, mid: 2 * i, options: path("bad")}), "Acknowledgement 5.00")
			d.want(d.ask(msg{code: codes.POST, mid: 2*i + 1, options: path("good")}), "Acknowledgement 2.04")
		}
		if got := s.e.Stats().Panics; got != 4 {
			t.Error("panics:", got)
		}
	})
}

func TestHandlerThatGivesNoResponseIs500(t *testing.T) {
	for _, r := range []endpoint.Response{{}, {Code: codes.GET}, {Code: codes.Content, ETag: make([]byte, 9)},
		{Code: codes.Content, Location: []string{strings.Repeat("x", 300)}}, {Code: codes.Content, Location: make([]string, 50)}} {
		tell(t, simnet.Conditions{}, answers(r), endpoint.Options{}, func(s *story) {
			d := s.device()
			d.want(d.ask(msg{code: codes.GET, options: path("c")}), "Acknowledgement 5.00")
		})
	}
}

func TestFloodingPeerCannotTakeAllPlaces(t *testing.T) {
	h := handler{serve: func(ctx context.Context, r *endpoint.Request) endpoint.Response {
		if r.Path[0] == "slow" {
			<-ctx.Done()
		}
		return endpoint.Response{Code: codes.Changed}
	}}
	o := endpoint.Options{Workers: 4, RequestsPerPeer: 2, QueueMax: 2, HandlerTimeout: 10 * time.Second, ProcessingDelay: time.Hour}
	tell(t, simnet.Conditions{}, h, o, func(s *story) {
		flood, good := s.device(), s.device()
		for i := range 10 {
			flood.send(msg{typ: con, code: codes.POST, mid: i, options: path("slow")})
			synctest.Wait()
		}
		for range 8 {
			flood.want(flood.must(), "Acknowledgement 5.03 MaxAge=5")
		}
		good.want(good.ask(msg{code: codes.POST, options: path("quick")}), "Acknowledgement 2.04")
		// The slow ones end with their contexts, and the refused ones were forgotten.
		time.Sleep(11 * time.Second)
		for range 2 {
			flood.want(flood.must(), "Acknowledgement 2.04")
		}
		flood.want(flood.ask(msg{code: codes.POST, mid: 9, options: path("slow")}), "Acknowledgement 2.04")
		// Enough peers fill the pool and its queue: then it is 5.03 for all.
		for range 3 {
			d := s.device()
			for i := range 2 {
				d.send(msg{typ: con, code: codes.POST, mid: i, options: path("slow")})
			}
			synctest.Wait()
		}
		good.want(good.ask(msg{code: codes.POST, mid: 2, options: path("quick")}), "Acknowledgement 5.03 MaxAge=5")
	})
}

func TestHandlerContextHasADeadlineAndEnds(t *testing.T) {
	type key struct{}
	var after context.Context
	h := handler{serve: func(ctx context.Context, r *endpoint.Request) endpoint.Response {
		after = ctx
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left <= 0 || left > 3*time.Second || ctx.Err() != nil || ctx.Value(key{}) != nil {
			t.Error(left, ok, ctx.Err())
		}
		if r.Path[0] == "wait" {
			<-ctx.Done()
		} else {
			time.Sleep(4 * time.Second)
		}
		if ctx.Err() != context.DeadlineExceeded {
			t.Error(ctx.Err())
		}
		return endpoint.Response{Code: codes.Changed}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{HandlerTimeout: 3 * time.Second, ProcessingDelay: time.Minute}, func(s *story) {
		d := s.device()
		for i, p := range []string{"wait", "sleep"} {
			d.want(d.ask(msg{code: codes.POST, mid: i, options: path(p)}), "Acknowledgement 2.04")
			if <-after.Done(); after.Err() == nil {
				t.Error("the context outlives its request")
			}
		}
	})
}
