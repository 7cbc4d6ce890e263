package endpoint_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

// FuzzSequences plays a sequence of datagrams and other things at an endpoint
// with small bounds, and asks: no panic, tables that agree, bounds that hold, and
// a good peer that is served as before.
//
// The input is a list of steps: an operation, a length, and so many bytes.
func FuzzSequences(f *testing.F) {
	for _, seed := range sequences() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tell(t, simnet.Conditions{}, capricious, narrow, func(s *story) {
			good := s.device()
			p := &player{s: s, devices: []*device{s.deviceAt("192.0.2.1"), s.device(), s.device()}, mids: make([]int, 3)}
			for n := 0; len(data) >= 2 && n < 64; n++ {
				size := min(int(data[1]), len(data)-2)
				p.step(data[0]%8, data[2:2+size])
				data = data[2+size:]
			}
			time.Sleep(5 * time.Second) // the pool is free again
			good.want(good.ask(msg{code: codes.GET, mid: 1, options: path("good")}), `Acknowledgement 2.05 "good"`)
			got := s.e.Stats()
			if got.Peers > 4 || got.Repeats > 8 || got.Exchanges > 3 || got.RequestBodies > 3 || got.ResponseBodies > 3 ||
				got.RequestBytes > 4000 || got.ResponseBytes > 4000 {
				t.Errorf("%+v", got)
			}
		})
	})
}

// sequences are the seeds: a tour of the datagrams, bodies both ways, and
// exchanges in their various ends.
func sequences() (seeds [][]byte) {
	add := func(b []byte) { seeds = append(seeds, b) }
	step := func(op byte, data []byte) []byte { return append([]byte{op, byte(len(data))}, data...) }
	var tour []byte
	for _, row := range datagrams {
		if b := unhex(row.in); len(b) < 100 {
			tour = append(tour, step(byte(len(tour)%3), b)...)
		}
	}
	add(tour)
	upload := func(num int, more bool) []byte {
		return msg{typ: con, code: codes.POST, mid: num, options: with(path("c"), message.Block1, blockValue(num, more, 16)), payload: text(16)}.bytes()
	}
	get := func(num int) []byte {
		return msg{typ: non, code: codes.GET, mid: num, options: with(path("big"), message.Block2, blockValue(num, false, 16))}.bytes()
	}
	add(append(append(step(0, upload(0, true)), step(0, upload(1, true))...), step(0, upload(2, false))...))
	add(append(append(append(step(1, get(0)), step(1, get(1))...), step(4, nil)...), step(1, get(2))...))
	add(append(append(step(4, nil), step(5, []byte{3})...), step(6, []byte{1})...))
	add(append(append(step(4, nil), step(7, []byte{20})...), step(6, []byte{0})...))
	separate := msg{typ: con, code: codes.GET, mid: 1, options: path("separate")}.bytes()
	add(append(append(append(step(2, separate), step(7, []byte{1})...), step(6, []byte{2})...), step(2, separate)...))
	return seeds
}

// narrow are bounds that a short sequence can meet.
var narrow = endpoint.Options{PeersMax: 4, RepeatsMax: 8, TransfersMax: 3, TransfersPerPeer: 2, TransferBytesMax: 4000, ExchangesMax: 3,
	Workers: 2, QueueMax: 2, RequestsPerPeer: 2, AnswerBytesMax: 1, BlockSize: 64}

// capricious answers in every way that a handler can.
var capricious = handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
	switch {
	case len(r.Path) == 1 && r.Path[0] == "good":
		return endpoint.Response{Code: codes.Content, Payload: []byte("good")}
	case len(r.Path) == 1 && r.Path[0] == "separate":
		return endpoint.Response{Separate: &bodies{10 * len(r.Payload), make(chan [2]int, 1)}}
	case len(r.Query) > 0:
		time.Sleep(3 * time.Second)
	case len(r.Payload) == 13:
		panic("thirteen")
	}
	return endpoint.Response{Code: codes.Content, Payload: make([]byte, 300)}
}}

// player holds what a sequence acts on.
type player struct {
	s         *story
	devices   []*device
	mids      []int // of the last message that each device got
	exchanges []*endpoint.Exchange
}

func (p *player) step(op byte, arg []byte) {
	at := 0
	if len(arg) > 0 {
		at = int(arg[0])
	}
	which := at % len(p.devices)
	d := p.devices[which]
	switch op {
	case 0, 1, 2:
		p.devices[op].raw(arg)
	case 3:
		p.s.deviceAt("127.0.0.3").raw(arg)
	case 4:
		o := endpoint.ConfirmOptions{Path: []string{"big"}}
		if x, err := p.s.e.Confirm(d.peer(), endpoint.Token{}, &bodies{at, make(chan [2]int, 1)}, o); err == nil {
			p.exchanges = append(p.exchanges, x)
		}
	case 5:
		if len(p.exchanges) > 0 {
			p.exchanges[at%len(p.exchanges)].Stop()
		}
	case 6:
		d.send(msg{typ: message.Acknowledgement + message.Type(at&1), mid: p.mids[which]})
	case 7:
		time.Sleep(time.Duration(at) * time.Second)
	}
	synctest.Wait()
	for i, d := range p.devices {
		for in, ok := d.conn.Receive(0); ok; in, ok = d.conn.Receive(0) {
			p.mids[i] = decode(p.s.t, in.Data).mid
		}
	}
	p.s.check()
}
