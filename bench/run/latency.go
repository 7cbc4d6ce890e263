package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"behest/bench/crowd"
	"behest/bench/operator"
	"behest/firmware-sim/wire"
)

const (
	latencyRate    = 500 // commands a second
	latencyDevices = 2000
	latencyWarm    = 2 * time.Second
	latencyLinger  = 5 * time.Second
	latencyWait    = 30 * time.Second // for a command's end, in its own request
)

// watch is when things happened, by the number of the command.
type watch struct {
	mu     sync.Mutex
	due    []time.Time // on the schedule, whenever the request then left
	listed []time.Time
	done   []time.Time
	told   []time.Time
	seqs   map[watchKey]int
	failed error
}

type watchKey struct {
	device int
	seq    uint32
}

// latency measures how long things take at a rate that the server does not set.
func latency(ctx context.Context, b *bench) (err error) {
	n := int((latencyWarm + b.each).Seconds() * latencyRate)
	w := &watch{
		due: make([]time.Time, n), listed: make([]time.Time, n), done: make([]time.Time, n), told: make([]time.Time, n),
		seqs: map[watchKey]int{},
	}
	s, err := b.build(ctx, "latency", latencyDevices, crowd.Hooks{Listed: w.arrived, Done: w.reported})
	if err != nil {
		return err
	}
	defer func() { err = join(err, s.close()) }()
	if err := s.join(ctx, latencyDevices); err != nil {
		return err
	}
	cpu, err := s.cpu()
	if err != nil {
		return err
	}
	w.run(ctx, s)
	now, err := s.cpu()
	if err != nil {
		return err
	}
	w.linger(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	more := fmt.Sprintf("open loop, %d commands/s, one request each; server CPU %v each", latencyRate, (now-cpu)/time.Duration(n))
	for _, row := range []struct {
		figure string
		at     []time.Time
	}{{"datagram at the device", w.listed}, {"2.04 at the device", w.done}, {"completed, at the operator", w.told}} {
		t, missing := w.since(row.at)
		b.table.add("issue to "+row.figure, t.String(), "", fmt.Sprintf("%s; %d of %d did not come", more, missing, len(t)+missing))
		more = "the same commands"
	}
	return nil
}

// run issues on schedule and waits for every answer.
func (w *watch) run(ctx context.Context, s *site) {
	var all sync.WaitGroup
	begun := time.Now()
	for i := range w.due {
		at := begun.Add(time.Duration(i) * time.Second / latencyRate)
		wait(ctx, time.Until(at))
		w.mu.Lock()
		w.due[i] = at
		w.mu.Unlock()
		all.Go(func() {
			// A stride that is prime to their number, so that neighbours differ.
			_, fate, err := s.client.Issue(ctx, intent(s.crowd.Name(i*7%latencyDevices), int64(i)), "", latencyWait)
			w.mu.Lock()
			defer w.mu.Unlock()
			if fate == operator.Done {
				w.told[i] = time.Now()
			} else if w.failed == nil {
				w.failed = fmt.Errorf("command %d: %v: %w", i, fate, err)
			}
		})
	}
	all.Wait()
}

// linger waits for the last answers to the devices: the operators may have
// theirs first, and a report whose answer was dropped is sent again.
func (w *watch) linger(ctx context.Context) {
	for begun := time.Now(); time.Since(begun) < latencyLinger && ctx.Err() == nil; wait(ctx, 10*time.Millisecond) {
		w.mu.Lock()
		missing := slices.ContainsFunc(w.done, time.Time.IsZero)
		w.mu.Unlock()
		if !missing {
			return
		}
	}
}

// arrived hears of a datagram with a new command.
func (w *watch) arrived(device int, e wire.Entry, at time.Time) {
	var p struct{ N int }
	if err := json.Unmarshal([]byte(wire.ToJSON(e.Params)), &p); err != nil || p.N >= len(w.due) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listed[p.N] = at
	w.seqs[watchKey{device, e.Seq}] = p.N
}

// reported hears of a 2.04.
func (w *watch) reported(device int, seq uint32, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := w.seqs[watchKey{device, seq}]; ok && w.done[i].IsZero() {
		w.done[i] = at
	}
}

// since is how long it took, warm-up left out, and how many never came.
func (w *watch) since(at []time.Time) (t times, missing int) {
	for i := int(latencyWarm.Seconds() * latencyRate); i < len(at); i++ {
		if at[i].IsZero() {
			missing++
			continue
		}
		t = append(t, at[i].Sub(w.due[i]))
	}
	return t, missing
}
