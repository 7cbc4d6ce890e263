package coap_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/command"
	"behest/device"
)

func TestRegistrationLimits(t *testing.T) {
	const clock = start + 3600 // how far numbers may be ahead
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		accepted, next := "ACK 2.01 at rd/", 1
		for _, r := range []struct{ name, query, want string }{
			{"a name of one byte", "ep=p", accepted},
			{"a name of 63 bytes", "ep=" + strings.Repeat("p", 63), accepted},
			{"a name of 63 bytes in 32 letters", "ep=" + strings.Repeat("ü", 31) + "p", accepted},
			{"a URN", "ep=urn:dev:mac:0024befffe804ff1", accepted},
			{"no name", "lt=60", `ACK 4.00 "the endpoint name is empty"`},
			{"an empty name", "ep=", `ACK 4.00 "the endpoint name is empty"`},
			{"a name of 64 bytes", "ep=" + strings.Repeat("p", 64), `ACK 4.00 "the endpoint name is over 63 bytes"`},
			{"a name that is not UTF-8", "ep=p\xfcmp", `ACK 4.00 "the endpoint name is not UTF-8"`},
			{"a slash", "ep=site/pump", `ACK 4.00 "the endpoint name holds a slash"`},
			{"a control character", "ep=pump\n7", `ACK 4.00 "the endpoint name holds a control character"`},
			{"a name twice", "ep=a&ep=b", `ACK 4.00 "\"ep\" comes twice"`},
			{"a sector", "ep=a&d=north", `ACK 4.00 "sectors are not served"`},

			{"the shortest lifetime", "ep=lt1&lt=1", accepted},
			{"the longest lifetime", "ep=lt2&lt=4294967295", accepted},
			{"no lifetime at all", "ep=a&lt=0", `ACK 4.00 "lt is not 1 to 4294967295"`},
			{"a lifetime past 32 bits", "ep=a&lt=4294967296", `ACK 4.00 "lt is not 1 to 4294967295"`},
			{"a negative lifetime", "ep=a&lt=-1", `ACK 4.00 "lt is not 1 to 4294967295"`},
			{"a lifetime in words", "ep=a&lt=hour", `ACK 4.00 "lt is not 1 to 4294967295"`},
			{"a lifetime that is empty", "ep=a&lt=", `ACK 4.00 "lt is not 1 to 4294967295"`},
			{"a lifetime in fractions", "ep=a&lt=1.5", `ACK 4.00 "lt is not 1 to 4294967295"`},

			{"a window", "ep=w1&w=8", accepted},
			{"a window that is lowered", "ep=w2&w=4000000000", accepted},
			{"no window", "ep=a&w=0", `ACK 4.00 "w is not a number from 1"`},
			{"a window in words", "ep=a&w=two", `ACK 4.00 "w is not a number from 1"`},

			{"a last of 0", "ep=last0&last=0", accepted},
			{"the greatest last", fmt.Sprintf("ep=last1&last=%d", clock), accepted},
			{"a last ahead of the clock", fmt.Sprintf("ep=last1&last=%d", clock+1), `ACK 4.00 "last is ahead of any number given out"`},
			{"the greatest number", "ep=last1&last=4294967295", `ACK 4.00 "last is ahead of any number given out"`},
			{"a last past 32 bits", "ep=a&last=4294967296", `ACK 4.00 "last is not 0 to 4294967295"`},
			{"a last in words", "ep=a&last=none", `ACK 4.00 "last is not 0 to 4294967295"`},

			{"a parameter of 128 bytes", "ep=param&" + strings.Repeat("x", 128), accepted},
			{"a parameter of 129 bytes", "ep=a&" + strings.Repeat("x", 129), `ACK 4.00 "\"` + strings.Repeat("x", 24) + `\" is over 128 bytes"`},
			{"16 parameters", "ep=params&" + params(16), accepted},
			{"17 parameters", "ep=a&" + params(17), `ACK 4.00 "over 16 registration parameters"`},
		} {
			want := r.want
			if want == accepted {
				want = fmt.Sprint(accepted, next)
				next++
			}
			if got := p.ask(post("rd?" + r.query)).String(); got != want {
				t.Errorf("%s:\n got %s\nwant %s", r.name, got, want)
			}
		}
		devices, _, err := w.store.Devices(context.Background(), device.Filter{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		if len(devices) != next-1 {
			t.Errorf("%d devices are known, %d were accepted", len(devices), next-1)
		}
	})
}

func params(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("p%d=%d", i, i))
	}
	return strings.Join(all, "&")
}

func TestWhatADeviceSaysOfItselfIsKept(t *testing.T) {
	const links = `</sensor>;rt="temperature",</pump>`
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.want(post("rd?ep=pump-7&lt=60&w=20&base=coap://x&fw=1.2&flag").body(40, links), "ACK 2.01 at rd/1")
		registered := device.Registration{
			At: time.Now().Truncate(time.Millisecond), Lifetime: time.Minute, Window: 8, Links: links,
			Params: map[string]string{"base": "coap://x", "fw": "1.2", "flag": ""},
		}
		w.same("after registering", w.lookUp("pump-7").Registration, registered)

		// Refreshed: when, and for how long if it is said; any body is ignored.
		time.Sleep(30 * time.Second)
		p.want(post("rd/1").body(40, "</other>"), "ACK 2.04")
		registered.At = registered.At.Add(30 * time.Second)
		w.same("after a refresh", w.lookUp("pump-7").Registration, registered)
		p.want(post("rd/1?lt=120").body(0, "hello"), "ACK 2.04")
		registered.Lifetime = 2 * time.Minute
		w.same("after a refresh with a lifetime", w.lookUp("pump-7").Registration, registered)
		for _, query := range []string{"lt=0", "lt=4294967296", "lt=x", "lt=1&lt=2"} {
			if got := p.ask(post("rd/1?" + query)); got.code != codes.BadRequest {
				t.Errorf("refreshed with %s: %v", query, got)
			}
		}
		w.same("after refreshes that were refused", w.lookUp("pump-7").Registration, registered)

		// Registered anew: all of it is replaced.
		p.want(post("rd?ep=pump-7"), "ACK 2.01 at rd/1")
		w.same("after registering anew", w.lookUp("pump-7").Registration, device.Registration{
			At: registered.At, Lifetime: 90000 * time.Second, Window: 1,
		})
		p.want(post("rd?ep=pump-7").body(60, links), `ACK 4.15 "the body is not of content format 40"`)
	})
}

// lookUp is a device as it is stored.
func (w *world) lookUp(name string) device.Device {
	w.t.Helper()
	v, err := w.store.Device(context.Background(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Device
}

func (w *world) same(what string, got, want any) {
	w.t.Helper()
	if d := cmp.Diff(got, want); d != "" {
		w.t.Errorf("%s (-got +want):\n%s", what, d)
	}
}

func TestADeviceKeepsItsLocationForEver(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.3:6000")
		p.play([]row{
			{"the first", post("rd?ep=pump-7&lt=1"), "ACK 2.01 at rd/1"},
			{"the second", post("rd?ep=pump-8"), "ACK 2.01 at rd/2"},
			{"the first again", post("rd?ep=pump-7&lt=2"), "ACK 2.01 at rd/1"},
		})
		time.Sleep(time.Hour)
		q.play([]row{
			{"after a lapse, from elsewhere", post("rd?ep=pump-7"), "ACK 2.01 at rd/1"},
			{"left", ask(codes.DELETE, "rd/1"), "ACK 2.02"},
			{"left again", ask(codes.DELETE, "rd/1"), `ACK 4.04 "no registration has the handle 1"`},
			{"refreshed after leaving", post("rd/1"), `ACK 4.04 "no registration has the handle 1"`},
			{"come back", post("rd?ep=pump-7"), "ACK 2.01 at rd/1"},
		})
		w.restart()
		q.play([]row{
			{"after a restart", post("rd?ep=pump-7"), "ACK 2.01 at rd/1"},
			{"refreshed", post("rd/1"), "ACK 2.04"},
			{"another handle", post("rd/3"), `ACK 4.04 "no such device"`},
			{"a handle in other clothes", post("rd/01"), `ACK 4.04 "no such registration"`},
			{"handle 0", post("rd/0"), `ACK 4.04 "no such registration"`},
			{"no handle", ask(codes.DELETE, "rd/x"), `ACK 4.04 "no such registration"`},
			{"a handle past all", post("rd/9223372036854775808"), `ACK 4.04 "no such registration"`},
		})
	})
}

func TestALapsedRegistrationIsSilentUntilItIsRefreshed(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7&lt=60")
		p.want(get("c/pump-7").tok("obs").observe(0), "ACK 2.05 obs observe ct=60 MaxAge=60 []")
		time.Sleep(60 * time.Second)

		id := w.issue("pump-7", command.Intent{})
		p.quiet(time.Hour)
		if x := w.execution(id); x.State != command.Queued {
			t.Errorf("%s: nothing may leave for a device that lapsed", x.State)
		}
		p.want(post("rd/1"), "ACK 2.04")
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=60 [#3660 act 82800s]"))
		time.Sleep(2 * time.Second)
		if x := w.execution(id); x.State != command.Delivered {
			t.Errorf("%s after a refresh, want delivered", x.State)
		}
	})
}

// TestAListThatNobodySawBeforeALapseIsShownAfterIt: a lapse in the middle of
// the back-off loses nothing, and a registration anew is as good as a refresh.
func TestAListThatNobodySawBeforeALapseIsShownAfterIt(t *testing.T) {
	for _, back := range []string{"rd/1", "rd?ep=pump-7&lt=60"} {
		inWorld(t, 1, perfect, func(w *world) {
			p := w.peer("127.0.0.2:5000")
			p.register("ep=pump-7&lt=60")
			p.observe("pump-7", "obs")
			w.issue("pump-7", command.Intent{RunFor: 3 * time.Hour})
			p.ack(p.must())
			p.comes("CON 2.05 obs observe ct=60 MaxAge=60 [#0 act 86370s run_for=10800s]") // and here it falls silent
			for range 4 {
				p.must()
			}
			p.quiet(time.Hour)
			p.ask(post(back))
			if got := p.must(); got.typ != con || got.token != "obs" || len(got.seqs(t)) != 1 {
				t.Errorf("back by %s: %v", back, got)
			}
		})
	}
}

func TestLeavingKeepsTheQueue(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.watch("pump-7")
		first := w.issue("pump-7", command.Intent{})
		second := w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
		time.Sleep(10 * time.Second)
		p.want(ask(codes.DELETE, "rd/1"), "ACK 2.02")
		p.want(get("c/pump-7"), `ACK 4.04 "not registered"`)
		p.quiet(4 * time.Minute)
		w.same("states after leaving", []command.State{w.execution(first).State, w.execution(second).State},
			[]command.State{command.Delivered, command.Queued})

		// It is back, and asks: the list is there. Its observation is not.
		p.register("ep=pump-7")
		p.want(get("c/pump-7"), "ACK 0.00")
		p.ack(p.comes("CON 2.05 ct=60 MaxAge=0 [#0 act 86150s]"))
		p.report("pump-7", start, success)
		p.quiet(time.Hour)
		p.want(get("c/pump-7").tok("new").observe(0), "ACK 0.00")
		p.ack(p.comes("CON 2.05 new observe ct=60 MaxAge=900 [#3850 act 82550s]"))
	})
}
