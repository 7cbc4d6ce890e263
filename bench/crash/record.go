package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"behest/bench/operator"
	"behest/firmware-sim/wire"
)

// asked is a command that somebody asked for, and what came of asking.
type asked struct {
	mark    uint64 // names it: it is in its params
	devices []string
	keyed   bool // under an idempotency key, again until it was answered
	fate    operator.Fate
	id      string // when it was acknowledged
	cancel  cancel
}

// params is what a command carries. Keys are in order, so that its CBOR is the
// same whoever makes it.
func params(mark uint64) json.RawMessage {
	return fmt.Appendf(nil, `{"n":%d,"why":"crash"}`, mark)
}

// markOf finds the mark in params, 0 if there is none.
func markOf(params []byte) uint64 {
	var p struct{ N uint64 }
	if json.Unmarshal(params, &p) != nil {
		return 0
	}
	return p.N
}

// cancel is what came of asking to stop a command.
type cancel struct {
	tried    bool
	fate     operator.Fate
	unsent   int    // executions that the answer said are canceled
	canceled string // the state that it said, of a command on one device
}

// number is a seq of a device.
type number struct {
	device string
	seq    uint32
}

// said is what a device was given under a number, and what it said about it.
type said struct {
	number
	mark    uint64
	running bool        // a report of running was acknowledged
	tried   bool        // a final report left
	final   wire.Status // of that report
	acked   bool        // it was acknowledged
	id      string      // of the command, in a sample
}

// arrival is a registration.
type arrival struct {
	device   string
	lifetime int64 // seconds
	acked    bool
}

// record is what all clients wrote down. Its methods may be called from any
// goroutine.
type record struct {
	found *findings

	mu       sync.Mutex
	asks     []*asked // by mark, from 1
	accepted []*asked // in the order of their acknowledgement
	again    int      // requests under a key that were sent again
	numbers  map[number]*said
	reported []*said // acknowledged final reports, in order
	top      map[string]uint32
	arrivals map[string]*arrival
	arrived  []*arrival // acknowledged, in order
	moved    int        // grows with each acknowledgement
}

func newRecord(f *findings) *record {
	return &record{found: f, numbers: map[number]*said{}, top: map[string]uint32{}, arrivals: map[string]*arrival{}}
}

// ask notes that a command is about to be asked for: before, since a device may
// have it before the operator has his answer.
func (r *record) ask(keyed bool, devices ...string) *asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &asked{mark: uint64(len(r.asks) + 1), devices: devices, keyed: keyed}
	r.asks = append(r.asks, a)
	return a
}

// answered notes what came of it.
func (r *record) answered(a *asked, fate operator.Fate, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.fate, a.id = fate, id
	if fate == operator.Done {
		r.accepted = append(r.accepted, a)
		r.moved++
	}
}

// askedAgain counts a request under a key that is sent again.
func (r *record) askedAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again++
}

// canceled notes what came of a cancel.
func (r *record) canceled(a *asked, fate operator.Fate, c operator.Command) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.cancel = cancel{tried: true, fate: fate}
	if fate == operator.Done {
		a.cancel.unsent, a.cancel.canceled = c.Counts["canceled"], c.State
		r.moved++
	}
}

// arrives notes that a device is about to register.
func (r *record) arrives(device string, lifetime int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.arrivals[device] == nil {
		r.arrivals[device] = &arrival{device: device, lifetime: lifetime}
	}
}

// registered notes a 2.01.
func (r *record) registered(device string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.arrivals[device]; !a.acked {
		a.acked = true
		r.arrived = append(r.arrived, a)
		r.moved++
	}
}

// listed notes what a list gives a device: each number stands for one command,
// with the params that were asked for, and new ones are above all before.
func (r *record) listed(device string, list []wire.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range list {
		if e.Cancel {
			continue
		}
		k, mark := number{device, e.Seq}, markOf([]byte(wire.ToJSON(e.Params)))
		if s := r.numbers[k]; s != nil {
			if s.mark != mark {
				r.found.double("%s: number %d stands for command %d and for command %d", device, e.Seq, s.mark, mark)
			}
			continue
		}
		r.numbers[k] = &said{number: k, mark: mark}
		if e.Seq <= r.top[device] {
			r.found.wrong("%s: number %d comes after number %d", device, e.Seq, r.top[device])
		}
		r.top[device] = max(r.top[device], e.Seq)
		if want, err := wire.FromJSON(params(mark)); err != nil || !bytes.Equal(want, e.Params) {
			r.found.wrong("%s: number %d arrives with %s", device, e.Seq, wire.ToJSON(e.Params))
		}
		if mark == 0 || mark > uint64(len(r.asks)) || !slices.Contains(r.asks[mark-1].devices, device) {
			r.found.wrong("%s: number %d is command %d, which nobody asked of it", device, e.Seq, mark)
		}
	}
}

// reports notes that a report leaves.
func (r *record) reports(device string, seq uint32, status wire.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.numbers[number{device, seq}]; s != nil && status.Final() {
		s.tried, s.final = true, status
	}
}

// changed is CoAP's 2.04, notFound its 4.04.
const (
	changed  = "2.04"
	notFound = "4.04"
)

// heard notes the final answer to a report.
func (r *record) heard(device string, seq uint32, status wire.Status, code, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.numbers[number{device, seq}]
	switch {
	case code == notFound:
		r.found.unknownNumber(number{device, seq})
	case code != changed:
		r.found.wrong("%s: the report %v on number %d was answered %s: %s", device, status, seq, code, text)
	case s == nil:
	case !status.Final():
		s.running = true
		r.moved++
	case !s.acked:
		s.acked = true
		r.reported = append(r.reported, s)
		r.moved++
	}
}

// progress grows with everything that is acknowledged.
func (r *record) progress() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moved
}

// sample is some of what was acknowledged: what came last, and as many again
// from anywhere.
type sample struct {
	commands []asked
	reports  []said
	arrivals []arrival
}

const (
	sampleLast   = 40 // more than one life has at risk: what was acknowledged in the milliseconds before the kill
	sampleRandom = 20
)

func (r *record) sample(random *rand.Rand) sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := sample{
		commands: some(r.accepted, random), reports: some(r.reported, random), arrivals: some(r.arrived, random),
	}
	for i := range s.reports {
		if m := s.reports[i].mark; m > 0 && m <= uint64(len(r.asks)) {
			s.reports[i].id = r.asks[m-1].id
		}
	}
	return s
}

// some copies the last of all and some from anywhere.
func some[T any](all []*T, random *rand.Rand) []T {
	var out []T
	for _, p := range all[max(0, len(all)-sampleLast):] {
		out = append(out, *p)
	}
	for range min(sampleRandom, len(all)) {
		out = append(out, *all[random.IntN(len(all))])
	}
	return out
}
