package main

import (
	"context"
	"fmt"
	"time"

	"behest/bench/crowd"
)

// memoryPoints is through how many crowds the line goes, beside none.
const memoryPoints = 4

// memory measures what a device costs that is there and has nothing to do.
func memory(ctx context.Context, b *bench) (err error) {
	s, err := b.build(ctx, "memory", b.devices, crowd.Hooks{})
	if err != nil {
		return err
	}
	defer func() { err = join(err, s.close()) }()
	empty, err := residentOf(s.server.PID())
	if err != nil {
		return err
	}
	x, all, heap := []float64{0}, []float64{float64(empty.all)}, []float64{float64(empty.goHeap)}
	for k := range memoryPoints {
		n := b.devices * (k + 1) / memoryPoints
		if err := s.join(ctx, n); err != nil {
			return err
		}
		if k == memoryPoints-1 {
			wait(ctx, b.settle)
		}
		r, err := residentOf(s.server.PID())
		if err != nil {
			return err
		}
		x, all, heap = append(x, float64(n)), append(all, float64(r.all)), append(heap, float64(r.goHeap))
	}
	b.table.add(fmt.Sprintf("bytes per device, %d just arrived", b.devices), fmt.Sprintf("%.0f", slope(x, all)), "",
		fmt.Sprintf("%.0f of it Go's heap; %.0f MB resident, %.0f MB with none", slope(x, heap), all[len(all)-1]/1e6, all[0]/1e6))
	if b.idle > 0 {
		wait(ctx, b.idle)
		if err := s.row(fmt.Sprintf("bytes per device, idle for %v", b.idle), "512, then 256", empty); err != nil {
			return err
		}
	}
	if err := s.stop(); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	wait(ctx, b.settle)
	return s.row("bytes per device, after a restart", "", empty)
}

// row adds what the server has now beyond what it had empty.
func (s *site) row(figure, aim string, empty resident) error {
	r, err := residentOf(s.server.PID())
	if err != nil {
		return err
	}
	n := int64(s.bench.devices)
	s.bench.table.add(figure, fmt.Sprint((r.all-empty.all)/n), aim,
		fmt.Sprintf("%d of it Go's heap, the rest mostly SQLite's page cache; %d MB resident", (r.goHeap-empty.goHeap)/n, r.all/1_000_000))
	return nil
}

// wait waits for a while, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
