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
	step := func(op byte, data []byte) []byte { return append([]byte{op, byte(len(data))}, data...) }
	var tour []byte
	for _, row := range datagrams {
		if b := unhex(row.in); len(b) < 100 {
			tour = append(tour, step(byte(len(tour)%3), b)...)
		}
	}
	f.Add(tour)
	upload := func(num int, more bool) []byte {
		return msg{typ: con, code: codes.POST, mid: num, options: with(path("c"), message.Block1, blockValue(num, more, 16)), payload: text(16)}.bytes()
	}
	get := func(num int) []byte {
		return msg{typ: non, code: codes.GET, mid: num, options: with(path("big"), message.Block2, blockValue(num, false, 16))}.bytes()
	}
	f.Add(append(append(step(0, upload(0, true)), step(0, upload(1, true))...), step(0, upload(2, false))...))
	f.Add(append(append(append(step(1, get(0)), step(1, get(1))...), step(4, nil)...), step(1, get(2))...))
	f.Add(append(append(step(4, nil), step(5, []byte{3})...), step(6, []byte{1})...))
	f.Add(append(append(step(4, nil), step(7, []byte{20})...), step(6, []byte{0})...))
	separate := msg{typ: con, code: codes.GET, mid: 1, options: path("separate")}.bytes()
	f.Add(append(append(append(step(2, separate), step(7, []byte{1})...), step(6, []byte{2})...), step(2, separate)...))

	o := endpoint.Options{PeersMax: 4, RepeatsMax: 8, TransfersMax: 3, TransfersPerPeer: 2, TransferBytesMax: 4000, ExchangesMax: 3,
		Workers: 2, QueueMax: 2, RequestsPerPeer: 2, AnswerBytesMax: 1, BlockSize: 64}
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
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
	f.Fuzz(func(t *testing.T, data []byte) {
		tell(t, simnet.Conditions{}, h, o, func(s *story) {
			good := s.device()
			devices := []*device{s.deviceAt("192.0.2.1"), s.device(), s.device()}
			var exchanges []*endpoint.Exchange
			mid := make([]int, len(devices))
			for n := 0; len(data) >= 2 && n < 64; n++ {
				op, size := data[0]%8, min(int(data[1]), len(data)-2)
				arg := data[2 : 2+size]
				data = data[2+size:]
				at := 0
				if size > 0 {
					at = int(arg[0])
				}
				d := devices[at%len(devices)]
				switch op {
				case 0, 1, 2:
					devices[op].raw(arg)
				case 3:
					s.deviceAt("127.0.0.3").raw(arg)
				case 4:
					x, err := s.e.Confirm(d.peer(), endpoint.Token{}, &bodies{at, make(chan [2]int, 1)}, endpoint.ConfirmOptions{Path: []string{"big"}})
					if err == nil {
						exchanges = append(exchanges, x)
					}
				case 5:
					if len(exchanges) > 0 {
						exchanges[at%len(exchanges)].Stop()
					}
				case 6:
					d.send(msg{typ: message.Acknowledgement + message.Type(at&1), mid: mid[at%len(devices)]})
				case 7:
					time.Sleep(time.Duration(at) * time.Second)
				}
				synctest.Wait()
				for i, d := range devices {
					for in, ok := d.conn.Receive(0); ok; in, ok = d.conn.Receive(0) {
						mid[i] = decode(t, in.Data).mid
					}
				}
				s.check()
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
