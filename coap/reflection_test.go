package coap_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/command"
	devices "behest/device"
)

// reflectionMost is the factor that RFC 9175 2.4 allows to an address that was
// never shown to receive.
const reflectionMost = 3

// TestNobodyGetsMoreThanThriceWhatHeSent: a request of each kind, and damaged
// ones, each from an address of its own that acknowledges nothing, as if it were
// a victim's, over a real socket with the real rooms.
func TestNobodyGetsMoreThanThriceWhatHeSent(t *testing.T) {
	onLoopback(t, func(w *world) {
		for i := range 10 { // with lists that are long, and something to discover
			other := devices.Registering{Name: fmt.Sprintf("other-%d", i), Lifetime: time.Hour, Window: 8}
			if _, err := w.dispatch.Register(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				w.issue(other.Name, command.Intent{Params: []byte("\x58\x40" + strings.Repeat("p", 64))})
			}
		}
		worst := map[string]float64{}
		cases := reflected(rand.New(rand.NewPCG(1, 9)))
		for i, c := range cases {
			if got := w.reflects(i, c.data); got > worst[c.kind] {
				worst[c.kind] = got
			} else if _, ok := worst[c.kind]; !ok {
				worst[c.kind] = 0
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(worst)) {
			t.Logf("%-28s %.2f bytes out for each in, at most", kind, worst[kind])
			if worst[kind] > reflectionMost {
				t.Errorf("%s: %.2f bytes out for each in", kind, worst[kind])
			}
		}
		if len(worst) < 20 || w.server.Stats().Throttled == 0 {
			t.Errorf("%d kinds, stats %+v", len(worst), w.server.Stats())
		}
		t.Logf("%d requests", len(cases))
	}, stranger)
}

type reflectedCase struct {
	kind string
	data []byte
}

// reflected are the requests: the longest answers first.
func reflected(dice *rand.Rand) (all []reflectedCase) {
	add := func(kind string, ms ...msg) {
		for _, m := range ms {
			m.mid = 1 + len(all)
			all = append(all, reflectedCase{kind, m.bytes()})
		}
	}
	for _, typ := range []message.Type{con, non} {
		kind := map[message.Type]string{con: "CON ", non: "NON "}[typ]
		for i := range 10 {
			list := fmt.Sprintf("c/other-%d", i)
			add(kind+"list", get(list).as(typ))
			add(kind+"list, no token", get(list).as(typ).tok(""))
			add(kind+"observation", get(list).observe(0).as(typ))
			add(kind+"observation, long token", get(list).observe(0).tok("12345678").as(typ))
			add(kind+"list in blocks", get(list).block(message.Block2, 0, false, 1024).as(typ), get(list).block(message.Block2, 1, false, 16).as(typ))
		}
		add(kind+"discovery", get(".well-known/core").as(typ), get(".well-known/core").tok("").as(typ), get(".well-known/core?rt=core*").as(typ))
		add(kind+"registration", post("rd?ep=x").as(typ), post("rd?ep=other-1").as(typ), post("rd?ep=y&lt=60&w=3").body(40, "</a>").as(typ))
		add(kind+"registration of nobody", post("rd").as(typ), post("rd?ep=").as(typ), post("rd?lt=x").as(typ))
		add(kind+"update", post("rd/1").as(typ), post("rd/99999").as(typ))
		add(kind+"report", post("c/other-1/1").body(60, "\xa1\x01\x01").as(typ), post("c/other-1/1").body(60, "\xff").as(typ), post("c/other-1/x").as(typ))
		add(kind+"block of a body", post("c/other-1/1").body(60, strings.Repeat("x", 16)).block(message.Block1, 0, true, 16).as(typ))
		add(kind+"what is not there", get("x").as(typ), get("").as(typ), ask(codes.PUT, "x").as(typ), ask(codes.DELETE, "c/other-1").as(typ))
		add(kind+"a critical option", get("x").raw(2049, "y").as(typ), get("x").raw(message.ProxyURI, "coap://x/").as(typ))
		add(kind+"ping or empty", msg{typ: typ})
	}
	for range 500 {
		kind, data := damaged(dice)
		all = append(all, reflectedCase{"damaged: " + kind, data})
	}
	return all
}

// reflects sends data from an address of its own, and answers with how many
// bytes come back for each, repeats of the server included that come soon.
func (w *world) reflects(i int, data []byte) float64 {
	w.t.Helper()
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 11, byte(i>>8), byte(i))}, net.UDPAddrFromAddrPort(w.addr))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(data); err != nil {
		w.t.Fatal(err)
	}
	buf, out := make([]byte, 4096), 0
	for linger := 10 * time.Millisecond; ; {
		_ = conn.SetReadDeadline(time.Now().Add(linger)) // of a socket that is open
		n, err := conn.Read(buf)
		if err != nil {
			return float64(out) / float64(max(len(data), 1))
		}
		out += n
	}
}
