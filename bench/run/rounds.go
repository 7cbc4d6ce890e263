package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"behest/bench/crowd"
	"behest/bench/operator"
)

const (
	roundDevices  = 4000
	roundIssuers  = 4   // connections that issue
	roundBatch    = 250 // commands in a request
	roundDeep     = 1   // commands that a device has open, on average: a queue costs more, and gains nothing
	roundWarm     = 3 * time.Second
	roundDrain    = 2 * time.Minute // for what is open when issuing ends
	databaseFile  = "behest.db"
	roundTypeName = "pump.start"
)

// join is errors.Join under a name that does not hide the crowd's.
func join(errs ...error) error { return errors.Join(errs...) }

// mill is the load of the part rounds: issuers that keep the devices' queues filled.
type mill struct {
	s            *site
	issued, done atomic.Int64
	room         chan struct{} // one token for roundBatch commands that ended
}

// rounds measures full durable rounds, and what a completed one leaves on disk.
func rounds(ctx context.Context, b *bench) (err error) {
	l := &mill{room: make(chan struct{}, roundDevices*roundDeep/roundBatch)}
	l.s, err = b.build(ctx, "rounds", roundDevices, crowd.Hooks{Done: l.ended})
	if err != nil {
		return err
	}
	s := l.s
	defer func() { err = join(err, s.close()) }()
	if err := s.join(ctx, roundDevices); err != nil {
		return err
	}
	before, err := s.sizeStopped(ctx)
	if err != nil {
		return err
	}
	if err := l.measure(ctx); err != nil {
		return err
	}
	after, err := s.sizeStopped(ctx)
	if err != nil {
		return err
	}
	b.table.add("bytes on disk per completed command", fmt.Sprint((after-before)/l.done.Load()), "250 to 350",
		fmt.Sprintf("rows, indexes and log of %d commands; the file had %d kB and has %d", l.done.Load(), before/1000, after/1000))
	return nil
}

// sizeStopped is the size of the database as one file: the server stops for it.
func (s *site) sizeStopped(ctx context.Context) (int64, error) {
	if err := s.stop(); err != nil {
		return 0, err
	}
	info, err := os.Stat(filepath.Join(s.options.Data, databaseFile))
	if err != nil {
		return 0, err
	}
	return info.Size(), s.start(ctx)
}

// ended hears that a command went all the way.
func (l *mill) ended(int, uint32, time.Time) {
	if l.done.Add(1)%roundBatch == 0 {
		select {
		case l.room <- struct{}{}:
		default: // more ended than was asked for: a report was repeated
		}
	}
}

// measure issues for a while, and lets everything end.
func (l *mill) measure(ctx context.Context) error {
	for range cap(l.room) {
		l.room <- struct{}{}
	}
	issuing, stop := context.WithTimeout(ctx, roundWarm+l.s.bench.each)
	defer stop()
	var g errgroup.Group
	var next atomic.Int64
	for range roundIssuers {
		g.Go(func() error { return l.issue(issuing, &next) })
	}
	wait(issuing, roundWarm)
	cpu, err := l.s.cpu()
	if err != nil {
		return err
	}
	own, done, begun := ownCPU(), l.done.Load(), time.Now()
	<-issuing.Done()
	took, n := time.Since(begun), l.done.Load()-done
	now, err := l.s.cpu()
	if err != nil {
		return err
	}
	perServer, perOwn := (now-cpu)/time.Duration(max(n, 1)), (ownCPU()-own)/time.Duration(max(n, 1))
	l.s.bench.table.add("full durable rounds/s, issued in batches", fmt.Sprintf("%.0f", float64(n)/took.Seconds()), "5,000, then 10,000",
		fmt.Sprintf("CPU per round: server %v, generator %v; %d devices, %d rounds in %v", perServer, perOwn, roundDevices, n, shown(took)))
	if err := g.Wait(); err != nil {
		return err
	}
	return l.drain(ctx)
}

// issue asks for batches as long as there is room.
func (l *mill) issue(ctx context.Context, next *atomic.Int64) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.room:
		}
		ins := make([]operator.Intent, roundBatch)
		for i := range ins {
			ins[i] = intent(l.s.crowd.Name(int(next.Add(1))%roundDevices), next.Load())
		}
		results, fate, err := l.s.client.Batch(context.WithoutCancel(ctx), ins)
		if fate != operator.Done {
			return fmt.Errorf("issue a batch: %v: %w", fate, err)
		}
		for _, r := range results {
			if r.Command == nil {
				return fmt.Errorf("command %d of a batch: %w", r.Index, r.Problem)
			}
		}
		l.issued.Add(int64(len(results)))
	}
}

func intent(device string, n int64) operator.Intent {
	return operator.Intent{
		Type: roundTypeName, Params: json.RawMessage(fmt.Sprintf(`{"n":%d,"rpm":1200}`, n)),
		Targets: operator.Targets{Devices: []string{device}},
	}
}

// drain waits until everything that was issued has ended.
func (l *mill) drain(ctx context.Context) error {
	for begun := time.Now(); l.done.Load() < l.issued.Load(); wait(ctx, 50*time.Millisecond) {
		if ctx.Err() != nil || time.Since(begun) > roundDrain {
			return fmt.Errorf("%d of %d commands ended; %d datagrams dropped, %d answers refused",
				l.done.Load(), l.issued.Load(), l.s.crowd.Dropped(), l.s.crowd.Refused())
		}
	}
	return nil
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the call has no other way to fail than a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
