package coap_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap"
	"behest/coap/endpoint/simnet"
)

// TestADeviceThatAsksTooFastIsToldToWait: for a second, and others are not.
func TestADeviceThatAsksTooFastIsToldToWait(t *testing.T) {
	const burst = 5
	inWorld(t, 1, simnet.Conditions{}, func(w *world) {
		w.options = coap.Options{DeviceRate: 1, DeviceBurst: burst}
		w.restart()
		p, q := w.peer("127.0.0.2:5000"), w.peer("127.0.0.3:5000")
		p.register("ep=pump-7")
		var last msg
		for range burst - 1 {
			last = p.send(get("c/pump-7"))
			p.comes(`ACK 2.05 ct=60 MaxAge=0 []`)
		}
		for range 3 * burst { // repeats are answered from memory
			p.send(last)
			p.comes(`ACK 2.05 ct=60 MaxAge=0 []`)
		}
		members := w.store.Stats().Members
		const wait = `ACK 4.29 MaxAge=1 "you ask too fast"`
		for _, m := range []msg{get("c/pump-7"), get("c/pump-7").observe(0), reportOf("pump-7", start, success), post("rd?ep=pump-7")} {
			p.want(m, wait)
			q.want(m, wait) // it is the device, not its address
		}
		if n := w.store.Stats().Members - members; n != 0 {
			t.Errorf("%d units of work", n)
		}
		if n := w.server.Limited(); n != 8 {
			t.Errorf("%d were limited", n)
		}
		p.want(get(".well-known/core"), `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\",</c>;rt=\"behest.commands\""`)
		q.register("ep=pump-8")
		time.Sleep(time.Second)
		p.register("ep=pump-7")
		p.want(post("rd?ep=pump-7"), wait)
		time.Sleep(time.Hour)
		for range burst {
			p.register("ep=pump-7")
		}
		p.want(post("rd?ep=pump-7"), wait)
		for _, seconds := range []int{burst - 1, 1} { // it is remembered while it may have less than its burst
			time.Sleep(time.Duration(seconds) * time.Second)
			for range seconds {
				p.register("ep=pump-7")
			}
			p.want(post("rd?ep=pump-7"), wait)
		}
	})
}

// TestAFloodOfOneDeviceDoesNotStopOthers, on real sockets: 20 devices go their
// rounds without and beside one that registers as fast as it is answered.
func TestAFloodOfOneDeviceDoesNotStopOthers(t *testing.T) {
	const devices, spell = 20, 2 * time.Second
	onLoopback(t, func(w *world) {
		goods := make([]*goodDevice, devices)
		for i := range goods {
			goods[i] = w.good(t, fmt.Sprintf("good-%d", i))
			defer goods[i].end()
		}
		rounds := func() (all int) {
			var over sync.WaitGroup
			before := make([]int, devices)
			until := time.Now().Add(spell)
			for i, g := range goods {
				before[i] = g.rounds
				over.Go(func() {
					for g.round(t); time.Now().Before(until); g.round(t) {
					}
				})
			}
			over.Wait()
			for i, g := range goods {
				all += g.rounds - before[i]
			}
			return all
		}
		alone := rounds()
		began := time.Now()
		f := w.flood(t, "bad", 8)
		beside := rounds()
		f.end()
		took := time.Since(began)
		t.Logf("rounds of %d devices: %d alone, %d beside a flood of %d registrations, of which %d were served and %d limited",
			devices, alone, beside, f.served.Load()+f.limited.Load()+f.other.Load(), f.served.Load(), f.limited.Load())
		if most := 200 + int64(took.Seconds()*50) + 1; f.served.Load() > most || f.limited.Load() == 0 {
			t.Errorf("%d were served in %v, %d limited", f.served.Load(), took, f.limited.Load())
		}
	})
}

// flood is a device that asks as fast as it is answered.
type flood struct {
	served, limited, other atomic.Int64
	end                    func()
}

// flood registers a device over and over, so many requests at a time.
func (w *world) flood(t *testing.T, name string, outstanding int) *flood {
	t.Helper()
	conn, err := net.Dial("udp", w.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	f := new(flood)
	ask := func(n uint32) { // each with a token of its own: what it repeats would be answered from memory
		m := post("rd?ep=" + name)
		m.mid, m.token = int(uint16(n)), string(binary.BigEndian.AppendUint32(nil, n))
		_, _ = conn.Write(m.bytes())
	}
	var over sync.WaitGroup
	over.Go(func() {
		next := uint32(outstanding)
		for buf := make([]byte, 1500); ; next++ {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			switch {
			case n < 4:
			case codes.Code(buf[1]) == codes.Created:
				f.served.Add(1)
			case codes.Code(buf[1]) == codes.TooManyRequests:
				f.limited.Add(1)
			default:
				f.other.Add(1)
			}
			ask(next)
		}
	})
	for n := range uint32(outstanding) {
		ask(n)
	}
	f.end = func() { _ = conn.Close(); over.Wait() }
	return f
}
