package coap_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/command"
	devices "behest/device"
	"behest/firmware-sim/device"
	"behest/firmware-sim/link"
	"behest/firmware-sim/storage"
)

// malformedMax is how many datagrams the good device has to live through.
const malformedMax = 100_000

// TestMalformedDatagramsLeaveAGoodDeviceUnharmed: on a real socket, in real
// time, with the real rooms, while it does one command after the other.
func TestMalformedDatagramsLeaveAGoodDeviceUnharmed(t *testing.T) {
	onLoopback(t, func(w *world) {
		// Others first, so that no damaged path names the good one's registration.
		for i := range 200 {
			other := devices.Registering{Name: fmt.Sprintf("other-%d", i), Lifetime: time.Hour, Window: 1}
			if _, err := w.dispatch.Register(context.Background(), other); err != nil {
				t.Fatal(err)
			}
		}
		good := w.good(t, "good")
		defer good.end()

		attack := make(chan map[string]int, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { attack <- w.attack(ctx, malformedMax) }()
		rounds := 0
		var kinds map[string]int
		for kinds == nil || rounds < 20 {
			good.round(t)
			rounds++
			select {
			case kinds = <-attack:
			default:
			}
			if t.Failed() {
				return
			}
		}
		sum, stats := 0, w.server.Stats()
		for _, n := range kinds {
			sum += n
		}
		t.Logf("%d datagrams %v; %d received, %d malformed, %d requests, %d commits; %d rounds of the good device",
			sum, kinds, stats.Received, stats.Malformed, stats.Requests, w.store.Stats().Commits, rounds)
		if sum != malformedMax || stats.Received < malformedMax*9/10 || stats.Panics > 0 {
			t.Errorf("%d sent, %d received, %d panics", sum, stats.Received, stats.Panics)
		}
	})
}

// goodDevice is a device that succeeds at everything.
type goodDevice struct {
	name   string
	w      *world
	d      *device.Device
	rounds int
	end    func()
}

func (w *world) good(t *testing.T, name string) *goodDevice {
	t.Helper()
	socket, err := link.UDP(netip.AddrPort{}, w.addr)
	if err != nil {
		t.Fatal(err)
	}
	observing := make(chan struct{}, 1)
	d, err := device.New(socket, device.Options{Name: name, Server: w.addr, Store: storage.NewRAM(), Notify: func(e device.Event) {
		if e.Kind == device.Observing {
			select {
			case observing <- struct{}{}:
			default:
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	<-observing
	return &goodDevice{w: w, d: d, name: name, end: func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}}
}

// round issues a command, and waits until it has succeeded.
func (g *goodDevice) round(t *testing.T) {
	t.Helper()
	id := g.w.issue(g.name, command.Intent{})
	g.rounds++
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		x := g.w.execution(id)
		if x.State == command.Succeeded {
			if err := agree(x, g.d.Effects()); err != nil {
				t.Error(err)
			}
			return
		}
		if x.State.Ended() || time.Now().After(deadline) {
			t.Errorf("round %d: %s %s", g.rounds, x.State, x.Cause)
			return
		}
	}
}

// attack sends so many damaged datagrams from several sockets, no faster than
// the server reads them: what the kernel drops harms nobody, and shows nothing.
func (w *world) attack(ctx context.Context, count int) map[string]int {
	const sockets, window = 8, 256
	var conns []net.Conn
	var readers sync.WaitGroup
	for range sockets {
		conn, err := net.Dial("udp", w.addr.String())
		if err != nil {
			w.t.Error(err)
			return map[string]int{}
		}
		conns = append(conns, conn)
		readers.Go(func() { swallow(conn) })
	}
	dice := rand.New(rand.NewPCG(w.seed, 7))
	kinds := map[string]int{}
	before := w.server.Stats().Received
	for i := range count {
		kind, data := damaged(dice)
		kinds[kind]++
		_, _ = conns[dice.IntN(sockets)].Write(data)
		if i%window == window-1 {
			w.catchUp(ctx, before+uint64(i+1)-window)
		}
		if ctx.Err() != nil {
			break
		}
	}
	for _, c := range conns {
		_ = c.Close()
	}
	readers.Wait()
	return kinds
}

// catchUp waits until the server has received so many, or for a while.
func (w *world) catchUp(ctx context.Context, received uint64) {
	for range 100 {
		if w.server.Stats().Received >= received || ctx.Err() != nil {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func swallow(conn net.Conn) {
	buf := make([]byte, 2048)
	for {
		if _, err := conn.Read(buf); err != nil && strings.Contains(err.Error(), "closed") {
			return
		}
	}
}

// damaged is a datagram as nobody should send it.
func damaged(dice *rand.Rand) (kind string, data []byte) {
	valid := slices.Clone(corpus[dice.IntN(len(corpus))])
	valid[2], valid[3] = byte(dice.Uint32()), byte(dice.Uint32()) // a message of its own
	switch dice.IntN(5) {
	case 0:
		data = make([]byte, dice.IntN(64))
		for i := range data {
			data[i] = byte(dice.Uint32())
		}
		return "random", data
	case 1: // random behind a header that is right
		data = []byte{0x40 | byte(dice.IntN(64)), byte(dice.Uint32()), valid[2], valid[3]}
		for range dice.IntN(64) {
			data = append(data, byte(dice.Uint32()))
		}
		return "random options", data
	case 2:
		return "truncated", valid[:dice.IntN(len(valid))]
	case 3:
		for range 1 + dice.IntN(4) {
			valid[dice.IntN(len(valid))] ^= 1 << dice.IntN(8)
		}
		return "flipped", valid
	}
	at := dice.IntN(len(valid))
	for range 1 + dice.IntN(8) {
		valid = slices.Insert(valid, at, byte(dice.Uint32()))
	}
	return "swollen", valid
}

// corpus is what is damaged: one of each that a device sends, and of what it
// might.
var corpus = func() (all [][]byte) {
	body := strings.Repeat("x", 64)
	for _, m := range []msg{
		get(".well-known/core?rt=core*"), post("rd?ep=other-7&lt=60&w=3&last=7").body(40, "</a>;rt=\"b\""),
		post("rd/2?lt=70"), ask(codes.DELETE, "rd/3"),
		get("c/other-9"), get("c/other-9").observe(0).tok("observing"[:8]), get("c/other-9").observe(1).accept(60),
		get("c/other-9").block(message.Block2, 3, false, 64),
		reportOf("other-9", 946684800, command.Report{Status: command.StatusSuccess, Text: "done", Result: []byte("\xa1\x62ok\xf5")}),
		post("c/other-9/1").body(60, body).block(message.Block1, 0, true, 64).opt(message.Size1, 128),
		post("c/other-9/1").body(60, body).block(message.Block1, 1, false, 64),
		post("rd?ep=other-11").as(non), get("c/other-11").raw(2049, "critical"), get("x").raw(message.ProxyURI, "coap://x/"),
		{typ: ack}, {typ: rst}, {typ: con}, {typ: non}, {typ: ack, code: codes.Content, token: "t", payload: "stray"},
		{typ: con, code: codes.Content, token: "t", payload: "stray"},
	} {
		all = append(all, m.bytes())
	}
	return all
}()
