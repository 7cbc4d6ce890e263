package main

import (
	"context"
	random "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"behest/bench/crowd"
	"behest/bench/operator"
	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

const (
	fleetSingles = 20 * time.Millisecond // between single commands: some load, far from the most
	fleetAlone   = 10 * time.Second      // how long singles are measured by themselves
	fleetTurns   = 5                     // of each smaller size, and of old beside young
	fleetLarge   = 3                     // of the largest, with singles alone before each
	fleetPoll    = 50 * time.Millisecond // between looks, and more for more devices:
	fleetLook    = 10 * time.Microsecond // every look counts them all
	fleetBound   = 10 * time.Minute      // for one command to be released
)

// fleet measures what old executions cost a target, first with devices that are
// not there, then with the same when they are; then commands over many devices that are there: what a target costs,
// and what they cost others.
func fleet(ctx context.Context, b *bench) error {
	if err := b.ages(ctx); err != nil {
		return err
	}
	return b.releases(ctx)
}

// releases issues to 1, 1,000 and all devices.
func (b *bench) releases(ctx context.Context) (err error) {
	s, err := b.build(ctx, "fleet", b.targets, crowd.Hooks{})
	if err != nil {
		return err
	}
	defer func() { err = join(err, s.close()) }()
	if err := s.join(ctx, b.targets); err != nil {
		return err
	}
	for _, size := range []int{1, min(1000, b.targets)} {
		var all []passage
		for range fleetTurns {
			p, err := s.release(ctx, s.some(size), nil)
			if err != nil {
				return err
			}
			all = append(all, p)
		}
		b.table.released(size, "", all)
	}
	for _, way := range []struct {
		name string
		rule json.RawMessage
	}{{"", nil}, {" behind a gate", haltRule}} {
		if err := b.beside(ctx, s, way.name, way.rule); err != nil {
			return err
		}
	}
	return nil
}

// beside measures what a command over all devices costs the single ones that
// come meanwhile, in turns with those alone.
func (b *bench) beside(ctx context.Context, s *site, way string, rule json.RawMessage) error {
	var all []passage
	var alone, beside times
	for range fleetLarge {
		took, err := s.singles(ctx, func(ctx context.Context) error { wait(ctx, min(fleetAlone, b.each)); return nil })
		if err != nil {
			return err
		}
		alone = append(alone, took...)
		took, err = s.singles(ctx, func(ctx context.Context) error {
			p, err := s.release(ctx, operator.Targets{All: true}, rule)
			all = append(all, p)
			return err
		})
		if err != nil {
			return err
		}
		beside = append(beside, took...)
	}
	b.table.released(b.targets, way, all)
	b.table.add("issue of a single command meanwhile", beside.String(), "",
		fmt.Sprintf("%d of them; alone %v, %d of them; %d turns", len(beside), alone, len(alone), fleetLarge))
	b.table.add("its p50, p99 beside alone", fmt.Sprintf("%.1f, %.1f", ratio(beside.at(50), alone.at(50)), ratio(beside.at(99), alone.at(99))), "p99 2", "of all turns")
	return nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

// some are the names of n devices.
func (s *site) some(n int) operator.Targets {
	var t operator.Targets
	for i := range n {
		t.Devices = append(t.Devices, s.crowd.Name(i))
	}
	return t
}

// passage is how a command went out.
type passage struct {
	devices  int
	accepted time.Duration // until it was answered
	released time.Duration // until nothing of it waited any more
	cpu      time.Duration // of the server, meanwhile
	wrote    int64         // bytes that it wrote to files, likewise
}

// haltRule puts a command behind a gate that lets all through and would halt it.
var haltRule = json.RawMessage(`{"halt":{"percent":100,"minimum":1000}}`)

// release issues a command, under a rule of its rollout or none, and waits until
// all its devices have left the list of those that wait to be written out or to
// be sent.
func (s *site) release(ctx context.Context, t operator.Targets, rule json.RawMessage) (passage, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fleetBound, errors.New("it takes too long until all are released"))
	defer cancel()
	before, err := s.spent()
	if err != nil {
		return passage{}, err
	}
	begun := time.Now()
	c, fate, err := s.client.Issue(ctx, operator.Intent{Type: "fleet", Params: json.RawMessage(`{"rpm":1200}`), Targets: t, Rollout: rule}, "", 0)
	if fate != operator.Done {
		return passage{}, fmt.Errorf("issue: %v: %w", fate, err)
	}
	p := passage{devices: c.DeviceCount, accepted: time.Since(begun)}
	for !s.out(c) {
		if wait(ctx, max(fleetPoll, time.Duration(p.devices)*fleetLook)); ctx.Err() != nil {
			return passage{}, context.Cause(ctx)
		}
		if c, err = s.client.Command(ctx, c.ID); err != nil {
			return passage{}, err
		}
	}
	p.released = time.Since(begun)
	now, err := s.spent()
	p.cpu = now.cpu - before.cpu
	p.wrote = now.wrote - before.wrote
	return p, err
}

// add adds what another passage took of the server.
func (p *passage) add(other passage) {
	p.devices += other.devices
	p.cpu += other.cpu
	p.wrote += other.wrote
}

// each is what a passage took of the server for one device.
func (p *passage) each() passage {
	n := max(p.devices, 1)
	return passage{devices: 1, cpu: p.cpu / time.Duration(n), wrote: p.wrote / int64(n)}
}

// spent is what the server has spent so far, as a passage has it.
func (s *site) spent() (p passage, err error) {
	var errs [2]error
	p.cpu, errs[0] = s.cpu()
	p.wrote, errs[1] = writtenBy(s.server.PID())
	return p, join(errs[0], errs[1])
}

// out reports whether c has left for all devices but those that are late: one
// in a hundred, whose datagrams were lost and whose turn comes with a retry.
// Where nobody is there, it waits for the devices alone.
func (s *site) out(c operator.Command) bool {
	late := 0
	if s.crowd != nil {
		late = c.Counts["queued"]
	}
	return c.Pending == 0 && late*100 <= c.DeviceCount
}

// released adds a row for commands to so many devices, and how they went.
func (t *table) released(size int, way string, all []passage) {
	var accepted, released, cpu times
	for _, p := range all {
		accepted, released, cpu = append(accepted, p.accepted), append(released, p.released), append(cpu, p.cpu/time.Duration(max(p.devices, 1)))
	}
	t.add(fmt.Sprintf("%d targets released%s", size, way), shown(released.at(50)).String(), "",
		fmt.Sprintf("%v a target; accepted after %v; server CPU %v a target, reports included; median of %d",
			shown(released.at(50)/time.Duration(size)), shown(accepted.at(50)), shown(cpu.at(50)), len(all)))
}

// singles issues a single command every now and then while f runs, and answers
// with how long each took.
func (s *site) singles(ctx context.Context, f func(context.Context) error) (took times, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var issuing sync.WaitGroup
	var failed error
	issuing.Go(func() {
		for n := int64(0); ctx.Err() == nil; n++ {
			begun := time.Now()
			_, fate, err := s.client.Issue(ctx, intent(s.crowd.Name(rand.IntN(s.bench.targets)), n), "", 0)
			if fate != operator.Done {
				if ctx.Err() == nil && !operator.Is(err, 429) {
					failed = fmt.Errorf("a single command: %v: %w", fate, err)
					return
				}
				continue
			}
			took = append(took, time.Since(begun))
			wait(ctx, fleetSingles)
		}
	})
	err = f(ctx)
	cancel()
	issuing.Wait()
	return took, join(err, failed)
}

// ages compares a store that has many old executions with one that has none, in
// turns.
func (b *bench) ages(ctx context.Context) (err error) {
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
	if err := b.age(ctx, sites, n, "not there"); err != nil {
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
	return b.age(ctx, sites, n, "there, reports included")
}

// age issues to the n devices of each of two sites in turns, the old one last.
func (b *bench) age(ctx context.Context, sites [2]*site, n int, who string) error {
	var wall [2]times
	var all [2]passage
	for turn := range fleetTurns {
		for k := range sites {
			i := (k + turn) % 2 // who begins has no advantage
			p, err := sites[i].release(ctx, operator.Targets{All: true}, nil)
			if err != nil {
				return err
			}
			wall[i] = append(wall[i], p.released/time.Duration(n))
			all[i].add(p)
		}
	}
	young, old := all[0].each(), all[1].each()
	b.table.add(fmt.Sprintf("%d old executions beside none, time", b.old), fmt.Sprintf("%.2f", ratio(wall[1].at(50), wall[0].at(50))), "1.2",
		fmt.Sprintf("%v, %v; per target of %d that are %s, medians of %d turns", shown(wall[1].at(50)), shown(wall[0].at(50)), n, who, fleetTurns))
	b.table.add("the same, server CPU", fmt.Sprintf("%.2f", ratio(old.cpu, young.cpu)), "1.2",
		fmt.Sprintf("%v, %v; of all turns", shown(old.cpu), shown(young.cpu)))
	b.table.add("the same, bytes written to files", fmt.Sprintf("%.2f", float64(old.wrote)/float64(max(young.wrote, 1))), "1.2",
		fmt.Sprintf("%d, %d; of all turns", old.wrote, young.wrote))
	return nil
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
				all[i] = device.Device{Name: fmt.Sprintf("%s-%d", awayPrefix, i), CreatedAt: at}
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
