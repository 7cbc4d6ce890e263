package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"behest/bench/crowd"
	"behest/bench/operator"
	"behest/firmware-sim/message"
)

const (
	goodDevices  = 50
	otherDevices = 200              // came first: no damaged path names a good one's registration
	roundWait    = 60 * time.Second // for one command; a lost datagram takes two seconds
	floodSources = 1 << 16
	floodGrowth  = 128 << 20 // bytes: 2 kB for each address, all of which are remembered for four minutes
)

// flood attacks the plain socket.
func flood(ctx context.Context, c *campaign) (err error) {
	s, err := c.build(ctx, "flood", "--log-level=warn")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.abandon()) }()
	good, leave, err := s.populate(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	calm := s.rounds(ctx, good, max(2*time.Second, time.Duration(c.datagrams/c.rate)*time.Second/4))
	before, err := s.resident()
	if err != nil {
		return err
	}
	v, err := aim(s.where.CoAP)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	dice, kinds := rand.New(rand.NewPCG(1, 7)), map[string]int{}
	attack, begun := make(chan int, 1), time.Now()
	go func() {
		attack <- v.fire(ctx, c.datagrams, c.rate, func(i int) (netip.Addr, []byte) {
			kind, data := damaged(dice)
			kinds[kind]++
			return source(200, i%floodSources), data
		})
	}()
	stormy := &toll{}
	sent := 0
	for sent == 0 && ctx.Err() == nil {
		stormy.join(s.rounds(ctx, good, time.Second))
		select {
		case sent = <-attack:
		default:
		}
	}
	took := time.Since(begun)
	after, err := s.resident()
	if err != nil {
		return err
	}
	c.table.add(row{
		figure: "malformed and mutated datagrams at the plain socket", value: fmt.Sprint(sent), bound: fmt.Sprint(c.datagrams), broken: sent < c.datagrams,
		more: fmt.Sprintf("%.0f/s from %d addresses, %v; %d replies", float64(sent)/took.Seconds(), min(sent, floodSources), kinds, v.replies.Load()),
	})
	c.table.none("commands of good devices that did not succeed", len(stormy.failed)+len(calm.failed), strings.Join(stormy.failed, "; "))
	c.table.add(row{
		figure: "rounds of good devices meanwhile", value: fmt.Sprint(len(stormy.took)), bound: fmt.Sprintf("at least %d", goodDevices),
		more: fmt.Sprintf("%d devices, %.0f/s; without the flood %.0f/s", goodDevices, stormy.pace(), calm.pace()), broken: len(stormy.took) < goodDevices,
	})
	c.table.add(row{
		figure: "p99 of a round, beside that without the flood", value: fmt.Sprintf("%.2f", float64(stormy.at(0.99))/float64(calm.at(0.99))),
		more: fmt.Sprintf("%v and %v; median %v and %v", shown(stormy.at(0.99)), shown(calm.at(0.99)), shown(stormy.at(0.5)), shown(calm.at(0.5))),
	})
	c.table.grown("resident memory of the server, grown", before, after, floodGrowth, "peers that are remembered and devices that came by mutation included")
	sound, said, err := s.stop(ctx)
	if err != nil {
		return err
	}
	lines := strings.Split(said, "\n")
	c.table.add(row{figure: "server check afterwards", value: lines[len(lines)-1], bound: "sound", broken: !sound, more: "the process lived, and stopped when it was told"})
	return nil
}

// populate lets others come, who are of no more interest, and the good devices.
func (s *site) populate(ctx context.Context) (*crowd.Crowd, func() error, error) {
	come := func(name string, n int) (*crowd.Crowd, func() error, error) {
		devices, err := crowd.New(s.where.CoAP, name, n, crowd.Hooks{})
		if err != nil {
			return nil, nil, err
		}
		alive, cancel := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- devices.Run(alive) }()
		leave := func() error { cancel(); return <-ran }
		if err := devices.Join(ctx, n); err != nil {
			return nil, nil, errors.Join(err, leave())
		}
		return devices, leave, nil
	}
	_, leave, err := come("other", otherDevices)
	if err != nil {
		return nil, nil, err
	}
	if err := leave(); err != nil {
		return nil, nil, err
	}
	return come("good", goodDevices)
}

// toll is how long rounds took, and what did not succeed.
type toll struct {
	took   []time.Duration
	failed []string
	busy   time.Duration
}

func (t *toll) join(more *toll) {
	t.took, t.failed, t.busy = append(t.took, more.took...), append(t.failed, more.failed...), t.busy+more.busy
}

// at is the time in which the part p of all rounds was over.
func (t *toll) at(p float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return t.took[min(int(p*float64(len(t.took))), len(t.took)-1)]
}

func (t *toll) pace() float64 { return float64(len(t.took)) / max(t.busy.Seconds(), 1e-9) }

func shown(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// rounds has each device do one command after the other for a while.
func (s *site) rounds(ctx context.Context, devices *crowd.Crowd, d time.Duration) *toll {
	t, begun := &toll{}, time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range goodDevices {
		all.Go(func() {
			for time.Since(begun) < d && ctx.Err() == nil {
				at := time.Now()
				what := s.round(ctx, devices.Name(i))
				mu.Lock()
				t.took = append(t.took, time.Since(at))
				if what != "" {
					t.failed = append(t.failed, devices.Name(i)+": "+what)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.busy = time.Since(begun)
	return t
}

// round is one command; it answers with what was not as it should be.
func (s *site) round(ctx context.Context, device string) string {
	in := operator.Intent{Type: "pump.start", Params: json.RawMessage(`{"rpm":1200}`), Targets: operator.Targets{Devices: []string{device}}}
	out, fate, err := s.client.Issue(ctx, in, "", roundWait)
	if fate != operator.Done {
		return fmt.Sprintf("%v: %v", fate, err)
	}
	if out.Execution == nil || out.Execution.State != "succeeded" {
		return fmt.Sprintf("%+v", out)
	}
	return ""
}

// source is an address of loopback.
func source(net byte, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, net, byte(i >> 8), byte(i)})
}

// damaged is a datagram as nobody should send it.
func damaged(dice *rand.Rand) (kind string, data []byte) {
	valid := slices.Clone(corpus[dice.IntN(len(corpus))])
	valid[2], valid[3] = byte(dice.Uint32()), byte(dice.Uint32()) // a message of its own
	switch dice.IntN(5) {
	case 0:
		return "random", noise(dice, 1+dice.IntN(64))
	case 1: // random behind a header that is right
		head := []byte{0x40 | byte(dice.IntN(64)), byte(dice.Uint32()), valid[2], valid[3]}
		return "random options", append(head, noise(dice, dice.IntN(64))...)
	case 2:
		return "truncated", valid[:1+dice.IntN(len(valid)-1)]
	case 3:
		for range 1 + dice.IntN(4) {
			valid[dice.IntN(len(valid))] ^= 1 << dice.IntN(8)
		}
		return "flipped", valid
	}
	return "swollen", slices.Insert(valid, dice.IntN(len(valid)), noise(dice, 1+dice.IntN(8))...)
}

func noise(dice *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	return b
}

// corpus is what is damaged: what a device sends, and what it might.
var corpus = func() (all [][]byte) {
	path := func(segments ...string) (o message.Options) {
		for _, s := range segments {
			o = append(o, message.Text(message.URIPath, s))
		}
		return o
	}
	cbor := message.Uint(message.ContentFormat, 60)
	for _, m := range []message.Message{
		{Code: message.GET, Options: append(path(".well-known", "core"), message.Text(message.URIQuery, "rt=core*"))},
		{Code: message.POST, Options: append(path("rd"), message.Text(message.URIQuery, "ep=other-7"), message.Text(message.URIQuery, "lt=60"))},
		{Code: message.POST, Options: append(path("rd", "2"), message.Text(message.URIQuery, "lt=70"))},
		{Code: 4, Options: path("rd", "3")},
		{Code: message.GET, Options: path("c", "other-9")},
		{Code: message.GET, Options: append(message.Options{message.Uint(message.Observe, 0)}, path("c", "other-9")...), Token: []byte("watching")},
		{Code: message.GET, Options: append(message.Options{message.Uint(message.Observe, 1)}, path("c", "other-9")...)},
		{Code: message.POST, Options: append(path("c", "other-9", "946684800"), cbor), Payload: []byte("\xa2\x01\x01\x05\xa1\x62ok\xf5")},
		{Code: message.POST, Options: append(path("c", "other-9", "1"), cbor), Payload: []byte(strings.Repeat("x", 64))},
		{Code: message.GET, Options: path("x")},
		{Type: message.NonConfirmable, Code: message.POST, Options: append(path("rd"), message.Text(message.URIQuery, "ep=other-11"))},
		{Type: message.Acknowledgement},
		{Type: message.Reset},
		{},
		{Code: message.Content, Token: []byte("t"), Payload: []byte("stray")},
	} {
		all = append(all, m.Append(nil))
	}
	return all
}()
