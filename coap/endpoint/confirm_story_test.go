package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

var changed = answers(endpoint.Response{Code: codes.Changed})

func (s *story) confirm(p endpoint.Peer, c endpoint.Confirmable, o endpoint.ConfirmOptions) *endpoint.Exchange {
	s.t.Helper()
	x, err := s.e.Confirm(p, endpoint.TokenOf([]byte("o")), c, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

func TestRetriesComeAtTheTimesOfRFC7252(t *testing.T) {
	for _, row := range []struct {
		name   string
		o      endpoint.Options
		c      endpoint.ConfirmOptions
		lo, hi time.Duration // of the first timeout
		times  int
	}{
		{"defaults", endpoint.Options{}, endpoint.ConfirmOptions{}, 2 * time.Second, 3 * time.Second, 5},
		{"ACK timeout of the device", endpoint.Options{}, endpoint.ConfirmOptions{AckTimeout: 10 * time.Second}, 10 * time.Second, 15 * time.Second, 5},
		{"no jitter", endpoint.Options{AckRandomFactor: 1}, endpoint.ConfirmOptions{}, 2 * time.Second, 2*time.Second + 1, 5},
		{"no retries", endpoint.Options{MaxRetransmit: -1}, endpoint.ConfirmOptions{}, 2 * time.Second, 3 * time.Second, 1},
		{"a single one", endpoint.Options{MaxRetransmit: 1, AckTimeout: time.Second}, endpoint.ConfirmOptions{}, time.Second, 1500 * time.Millisecond, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			firsts := map[time.Duration]bool{}
			for seed := range uint64(20) {
				row.o.Rand = rand.NewPCG(seed, seed)
				tell(t, simnet.Conditions{}, changed, row.o, func(s *story) {
					d := s.device()
					n := &notice{"x", make(chan [2]int, 1)}
					start := time.Now()
					s.confirm(d.peer(), n, row.c)
					first := time.Duration(0)
					mids := map[int]bool{}
					for i := range row.times {
						m := d.must()
						at := time.Since(start)
						d.want(m, fmt.Sprintf(`Confirmable 2.05 token=6f Observe=%d "x"`, i+1))
						mids[m.mid] = true
						if i == 1 {
							first = at
							firsts[first] = true
							if first < row.lo || first >= row.hi+time.Millisecond {
								t.Errorf("first timeout %v, want %v to %v", first, row.lo, row.hi)
							}
						}
						// Attempt i leaves after 1+2+...+2^(i-1) first timeouts; each may be a
						// tick of the clock late.
						if want := first * time.Duration(1<<i-1); (at - want).Abs() > time.Millisecond<<i {
							t.Errorf("attempt %d after %v, want %v", i, at, want)
						}
					}
					d.quiet(0)
					got := <-n.done
					end := time.Since(start)
					if first == 0 {
						first = end
					}
					if want := first * time.Duration(1<<row.times-1); (end - want).Abs() > time.Millisecond<<row.times {
						t.Errorf("silence after %v, want %v", end, want)
					}
					if got != [2]int{int(endpoint.Silent), row.times - 1} || len(mids) != row.times {
						t.Errorf("outcome and attempt %v; message ids %v", got, mids)
					}
					d.quiet(time.Hour)
				})
			}
			if row.times > 1 && row.o.AckRandomFactor != 1 && len(firsts) < 10 {
				t.Errorf("20 seeds gave %d first timeouts", len(firsts))
			}
		})
	}
}

func TestAnswerToAnyAttemptCountsForThatAttempt(t *testing.T) {
	for _, typ := range []message.Type{ack, rst} {
		for seen := range 5 {
			for answer := range seen + 1 {
				t.Run(fmt.Sprintf("%v of attempt %d after %d", typ, answer, seen), func(t *testing.T) {
					tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
						d := s.device()
						n := &notice{"x", make(chan [2]int, 1)}
						s.confirm(d.peer(), n, endpoint.ConfirmOptions{})
						var mids []int
						for range seen + 1 {
							mids = append(mids, d.must().mid)
						}
						d.send(msg{typ: typ, mid: mids[answer]})
						want := [2]int{int(endpoint.Acked), answer}
						if typ == rst {
							want[0] = int(endpoint.Reset)
						}
						if got := <-n.done; got != want {
							t.Errorf("got %v, want %v", got, want)
						}
						for _, mid := range mids { // late and repeated answers are nothing
							d.send(msg{typ: ack, mid: mid})
							d.send(msg{typ: rst, mid: mid})
						}
						d.quiet(5 * time.Minute)
						if len(n.done) != 0 {
							t.Error("Done was called twice")
						}
					})
				})
			}
		}
	}
}

func TestOnlyAnAnswerFromThatPeerCounts(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{MaxRetransmit: 1}, func(s *story) {
		d, other := s.device(), s.device()
		n := &notice{"x", make(chan [2]int, 1)}
		s.confirm(d.peer(), n, endpoint.ConfirmOptions{})
		mid := d.must().mid
		other.send(msg{typ: ack, mid: mid})                                      // another device
		d.send(msg{typ: ack, mid: mid + 1})                                      // another message
		d.want(d.ask(msg{code: codes.POST, mid: mid}), "Acknowledgement 2.04")   // a request with the same id
		d.send(msg{typ: non, code: codes.GET, mid: mid})                         // likewise
		d.want(d.must(), "NonConfirmable 2.04")                                  // and its answer
		d.send(msg{typ: con, mid: mid})                                          // a ping with the same id
		d.want(d.must(), "Reset 0.00")                                           // and its pong
		d.send(msg{typ: non, code: codes.Content, mid: mid})                     // a response with the same id
		d.raw([]byte{0x70, 0, byte(mid >> 8), byte(mid), 0xff, 1})               // a malformed RST
		d.raw([]byte{0x62, 0, byte(mid >> 8), byte(mid), 1, 2})                  // a malformed ACK
		d.to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), d.to.Port()) // to another address of ours
		d.send(msg{typ: ack, mid: mid})
		if got := <-n.done; got != [2]int{int(endpoint.Silent), 1} {
			t.Error("outcome and attempt", got)
		}
	})
}

func TestOneNotificationAtATime(t *testing.T) {
	var mu sync.Mutex
	var log []string
	note := func(s string) { mu.Lock(); log = append(log, s); mu.Unlock() }
	h := handler{serve: changed.serve, idle: func(p endpoint.Peer) { note("idle") }}
	tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		build := func(name string) *script {
			return &script{build: func(attempt int) (endpoint.Response, bool) {
				note(fmt.Sprintf("%s %d", name, attempt))
				return endpoint.Response{Code: codes.Content}, attempt < 2
			}, done: func(o endpoint.Outcome, attempt int) { note(fmt.Sprintf("%s %v %d", name, o, attempt)) }}
		}
		s.confirm(d.peer(), build("a"), endpoint.ConfirmOptions{})
		if _, err := s.e.Confirm(d.peer(), endpoint.Token{}, build("b"), endpoint.ConfirmOptions{}); !errors.Is(err, endpoint.ErrBusy) {
			t.Error("second Confirm:", err)
		}
		d.send(msg{typ: ack, mid: d.must().mid})
		synctest.Wait()
		s.confirm(d.peer(), build("b"), endpoint.ConfirmOptions{})
		time.Sleep(time.Minute) // gives up at its third attempt
		x := s.confirm(d.peer(), build("c"), endpoint.ConfirmOptions{})
		synctest.Wait()
		if !x.Stop() || x.Stop() {
			t.Error("Stop is true once")
		}
		synctest.Wait()
		s.confirm(d.peer(), build("d"), endpoint.ConfirmOptions{})
		if x.Stop() {
			t.Error("a stopped exchange stopped its successor")
		}
		synctest.Wait()
		d.must() // of b
		d.must()
		d.must() // of c
		d.send(msg{typ: rst, mid: d.must().mid})
		synctest.Wait()
		want := "[a 0 a acked 0 idle b 0 b 1 b 2 b stopped 1 idle c 0 idle d 0 d reset 0 idle]"
		if got := fmt.Sprint(log); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// script is a Confirmable made of functions.
type script struct {
	build func(int) (endpoint.Response, bool)
	done  func(endpoint.Outcome, int)
}

func (c *script) Build(attempt int, _ time.Time) (endpoint.Response, bool) { return c.build(attempt) }
func (c *script) Done(o endpoint.Outcome, attempt int)                     { c.done(o, attempt) }

func TestConfirmableMayCallBack(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		done := make(chan string, 4)
		d := s.device()
		var x *endpoint.Exchange
		var second script
		first := script{
			build: func(int) (endpoint.Response, bool) {
				if _, err := s.e.Confirm(d.peer(), endpoint.Token{}, &second, endpoint.ConfirmOptions{}); !errors.Is(err, endpoint.ErrBusy) {
					t.Error("Confirm in Build:", err)
				}
				return endpoint.Response{Code: codes.Content}, true
			},
			done: func(o endpoint.Outcome, _ int) {
				done <- o.String()
				var err error
				if x, err = s.e.Confirm(d.peer(), endpoint.Token{}, &second, endpoint.ConfirmOptions{}); err != nil {
					t.Error("Confirm in Done:", err)
				}
			},
		}
		second = script{
			build: func(int) (endpoint.Response, bool) {
				done <- fmt.Sprint("stop ", x.Stop())
				return endpoint.Response{Code: codes.Content}, true
			},
			done: func(o endpoint.Outcome, _ int) { t.Error("Done after Stop") },
		}
		s.confirm(d.peer(), &first, endpoint.ConfirmOptions{})
		d.send(msg{typ: ack, mid: d.must().mid})
		if a, b := <-done, <-done; a != "acked" || b != "stop true" {
			t.Error(a, b)
		}
		d.quiet(time.Minute)
		if got := s.e.Stats(); got.Exchanges != 0 || got.SendErrors != 0 || got.Confirmables != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestAnswerDuringBuildEndsTheExchange(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		d := s.device()
		var mid atomic.Int32
		done := make(chan [2]int, 1)
		s.confirm(d.peer(), &script{
			build: func(attempt int) (endpoint.Response, bool) {
				if attempt == 1 {
					d.send(msg{typ: ack, mid: int(mid.Load())})
					time.Sleep(time.Second) // longer than a Build may take, to make sure
				}
				return endpoint.Response{Code: codes.Content}, true
			},
			done: func(o endpoint.Outcome, attempt int) { done <- [2]int{int(o), attempt} },
		}, endpoint.ConfirmOptions{})
		mid.Store(int32(d.must().mid))
		if got := <-done; got != [2]int{int(endpoint.Acked), 0} {
			t.Error(got)
		}
		d.quiet(time.Hour)
	})
}

func TestConfirmableThatPanicsEndsAlone(t *testing.T) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		d := s.device()
		ended := make(chan endpoint.Outcome, 3)
		for _, c := range []script{
			{build: func(int) (endpoint.Response, bool) { panic("in Build") }},
			{build: func(int) (endpoint.Response, bool) {
				return endpoint.Response{Code: codes.Content, ETag: make([]byte, 9)}, true
			}},
			{build: func(int) (endpoint.Response, bool) { return endpoint.Response{Separate: &asked{}}, true }},
		} {
			c.done = func(o endpoint.Outcome, attempt int) {
				if attempt != -1 {
					t.Error("attempt", attempt)
				}
				ended <- o
				panic("in Done")
			}
			s.confirm(d.peer(), &c, endpoint.ConfirmOptions{})
			if got := <-ended; got != endpoint.Stopped {
				t.Error(got)
			}
			synctest.Wait()
		}
		d.want(d.ask(msg{code: codes.GET}), "Acknowledgement 2.04")
	})
}

func TestNotificationAndSeparateResponseStandBesideEachOther(t *testing.T) {
	a := &asked{}
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Separate: a}), endpoint.Options{}, func(s *story) {
		a.done = make(chan [2]int, 1)
		d := s.device()
		n := &notice{"x", make(chan [2]int, 1)}
		s.confirm(d.peer(), n, endpoint.ConfirmOptions{})
		notification := d.must()
		d.send(msg{typ: con, code: codes.GET, mid: 1, token: "t"})
		d.want(d.must(), "Acknowledgement 0.00")
		separate := d.must() // at once: the notification's silence does not delay it
		d.want(separate, `Confirmable 2.05 token=74 "attempt 0"`)
		d.send(msg{typ: ack, mid: notification.mid})
		if got := <-n.done; got != [2]int{int(endpoint.Acked), 0} {
			t.Error(got)
		}
		if _, err := s.e.Confirm(d.peer(), endpoint.Token{}, n, endpoint.ConfirmOptions{}); !errors.Is(err, endpoint.ErrBusy) {
			t.Error("Confirm beside a separate response:", err)
		}
		d.send(msg{typ: rst, mid: separate.mid})
		if got := <-a.done; got != [2]int{int(endpoint.Reset), 0} {
			t.Error(got)
		}
	})
}

func TestEndOfTheEndpointStopsWhatIsOutstanding(t *testing.T) {
	var mu sync.Mutex
	var ends []string
	outstanding := func(name string) *script {
		return &script{build: func(int) (endpoint.Response, bool) { return endpoint.Response{Code: codes.Content}, true },
			done: func(o endpoint.Outcome, attempt int) {
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, fmt.Sprintf("%s %v %d", name, o, attempt))
			}}
	}
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		return endpoint.Response{Separate: outstanding(string(r.Token.Bytes()))}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		s.confirm(d.peer(), outstanding("notification"), endpoint.ConfirmOptions{})
		for i := range 3 {
			d.send(msg{typ: con, code: codes.GET, mid: i, token: fmt.Sprint("sep ", i)})
			synctest.Wait()
		}
		time.Sleep(5 * time.Second)
	})
	slices.Sort(ends)
	want := []string{"notification stopped 1", "sep 0 stopped 1", "sep 1 stopped -1", "sep 2 stopped -1"}
	if diff := cmp.Diff(ends, want); diff != "" {
		t.Error("got, want:", diff)
	}
}

func TestStartStopTorture(t *testing.T) {
	for seed := range uint64(60) {
		o := endpoint.Options{Workers: 4, Grace: time.Second, HandlerTimeout: 2 * time.Second, ProcessingDelay: 100 * time.Millisecond}
		r := rand.New(rand.NewPCG(seed, 1))
		h := handler{serve: func(ctx context.Context, req *endpoint.Request) endpoint.Response {
			switch len(req.Payload) % 3 {
			case 0:
				<-ctx.Done()
			case 1:
				return endpoint.Response{Separate: &asked{make(chan [2]int, 1)}}
			}
			return endpoint.Response{Code: codes.Changed}
		}}
		tell(t, simnet.Conditions{Loss: 0.2, Duplicate: 0.2, DelayMax: time.Second}, h, o, func(s *story) {
			devices := []*device{s.device(), s.device(), s.device()}
			for i := range r.IntN(40) {
				d := devices[r.IntN(3)]
				switch r.IntN(4) {
				case 0:
					if x, err := s.e.Confirm(d.peer(), endpoint.Token{}, &notice{"x", make(chan [2]int, 1)}, endpoint.ConfirmOptions{}); err == nil && r.IntN(2) == 0 {
						x.Stop()
					}
				case 1:
					time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
				default:
					d.send(msg{typ: message.Type(r.IntN(2)), code: codes.POST, mid: i, payload: string(make([]byte, r.IntN(9)))})
				}
			}
		})
	}
}

func TestRunEndsOnceAndRefusesWhatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(1, simnet.Conditions{})
		conn, _ := network.Listen(netip.MustParseAddrPort("127.0.0.1:5683"))
		e, err := endpoint.New(conn, changed, endpoint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
		if err := e.Run(ctx); err == nil {
			t.Error("an endpoint ran twice")
		}
		p := endpoint.Peer{Remote: netip.MustParseAddrPort("127.0.0.1:1")}
		if _, err := e.Confirm(p, endpoint.Token{}, &notice{}, endpoint.ConfirmOptions{}); !errors.Is(err, endpoint.ErrClosed) {
			t.Error(err)
		}
		if _, err := e.Confirm(endpoint.Peer{}, endpoint.Token{}, nil, endpoint.ConfirmOptions{}); err == nil {
			t.Error("nothing was sent to nobody")
		}
	})
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	for _, o := range []endpoint.Options{
		{AckTimeout: -1}, {AckRandomFactor: 0.5}, {MaxRetransmit: 16}, {BlockSize: 1000}, {BlockSize: 8}, {BlockSize: 2048},
		{Workers: -1}, {PeersMax: -1}, {ExchangeLifetime: -1}, {Grace: -1},
	} {
		if _, err := endpoint.New(nil, changed, o); err == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
}
