package main

import (
	"context"
	random "crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"behest/bench/crowd"
	"behest/bench/operator"
	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// agesTurns are those of old beside young. With five, the ratios differ by a
// third from run to run.
const agesTurns = 9

// ages measures what old executions cost a target: in a store that has many and
// in one that has none, in turns; first with devices that are not there, then with
// the same when they are.
func ages(ctx context.Context, b *bench) (err error) {
	n := max(1, b.targets/10)
	var sites [2]*site
	for i, old := range []int{0, b.old} {
		name := fmt.Sprintf("old-%d", old)
		begun := time.Now()
		if err := fill(ctx, filepath.Join(b.dir, name), n, old); err != nil {
			return fmt.Errorf("fill a store: %w", err)
		}
		fmt.Fprintf(b.log, "%d devices with %d old executions are there after %v\n", n, old, time.Since(begun).Round(time.Second))
		if sites[i], err = b.serve(ctx, name); err != nil {
			return err
		}
		defer func() { err = join(err, sites[i].close()) }()
	}
	queued, err := b.age(ctx, sites, n, "not there")
	if err != nil {
		return err
	}
	for _, s := range sites {
		if err := s.populate(ctx, awayPrefix, n, crowd.Hooks{}); err != nil {
			return err
		}
		if err := s.join(ctx, n); err != nil {
			return err
		}
	}
	for i, s := range sites { // each device begins with what it was not there for
		if err := s.over(ctx, &queued[i]); err != nil {
			return err
		}
	}
	_, err = b.age(ctx, sites, n, "there, reports included")
	return err
}

// age issues to the n devices of each of two sites in turns, and answers with
// how the last command of each went.
func (b *bench) age(ctx context.Context, sites [2]*site, n int, who string) (last [2]passage, err error) {
	var wall [2]times
	var all [2]spent
	for turn := range agesTurns {
		for k := range sites {
			i := (k + turn) % 2 // who begins has no advantage
			p, err := sites[i].release(ctx, operator.Targets{All: true}, nil)
			if err = join(err, sites[i].over(ctx, &p)); err != nil {
				return last, err
			}
			last[i] = p
			wall[i] = append(wall[i], p.released/time.Duration(n))
			all[i].cpu += p.took.cpu / time.Duration(n*agesTurns)
			all[i].wrote += p.took.wrote / int64(n*agesTurns)
		}
	}
	young, old := all[0], all[1]
	b.table.add(fmt.Sprintf("%d old executions beside none, time", b.old), fmt.Sprintf("%.2f", ratio(wall[1].at(50), wall[0].at(50))), "1.2",
		fmt.Sprintf("%v, %v; per target of %d that are %s, medians of %d turns", shown(wall[1].at(50)), shown(wall[0].at(50)), n, who, agesTurns))
	b.table.add("the same, server CPU", fmt.Sprintf("%.2f", ratio(old.cpu, young.cpu)), "1.2",
		fmt.Sprintf("%v, %v; of all turns", shown(old.cpu), shown(young.cpu)))
	b.table.add("the same, bytes written to files", fmt.Sprintf("%.2f", float64(old.wrote)/float64(max(young.wrote, 1))), "1.2",
		fmt.Sprintf("%d, %d; of all turns", old.wrote, young.wrote))
	return last, nil
}

// awayPrefix begins the names of the devices of fill, which may come later.
const awayPrefix = "away"

// fillGroup is how many rows a commit of fill has.
const fillGroup = 1000

// fill makes a store with devices that are not there and with executions that
// ended long ago, by what the store itself offers.
func fill(ctx context.Context, dir string, devices, old int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, filepath.Join(dir, "behest.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- store.Run(running) }()
	all := make([]device.Device, devices)
	at := time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Millisecond)
	for from := 0; from < devices && err == nil; from += fillGroup {
		err = store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			for i := from; i < min(from+fillGroup, devices); i++ {
				all[i] = device.Device{Name: fmt.Sprintf("%s-%d", awayPrefix, i), CreatedAt: at, LastSeq: uint32((old + devices - 1) / devices)}
				if err := tx.AddDevice(&all[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for done := 0; done < old && err == nil; done += fillGroup {
		err = store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error { return past(tx, all, done, min(fillGroup, old-done), at) })
	}
	stop()
	return errors.Join(err, <-ran, store.Close())
}

// past adds a command that ended on some of the devices.
func past(tx ledger.Tx, all []device.Device, from, n int, at time.Time) error {
	var id command.ID
	_, _ = random.Read(id[:]) // it never fails
	c := &command.Command{ID: id, Type: "fleet", Clocks: command.DefaultClocks, Devices: n, CreatedAt: at, RequestedBy: "dev"}
	xs := make([]command.Execution, n)
	for i := range xs {
		dev := all[(from+i)%len(all)]
		xs[i] = command.Execution{
			Device: dev.Handle, Seq: uint32(1 + (from+i)/len(all)), State: command.Succeeded, Effect: command.EffectApplied, Attempts: 1,
			QueuedAt: at, SentAt: at, DeliveredAt: at, ReportedAt: at, EndedAt: at, Last: command.Report{Status: command.StatusSuccess},
		}
		c.Targets.Devices = append(c.Targets.Devices, dev.Name)
	}
	return tx.AddCommand(c, xs)
}
