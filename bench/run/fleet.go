package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"behest/bench/crowd"
	"behest/bench/operator"
)

const (
	fleetSingles = 20 * time.Millisecond // between single commands: some load, far from the most
	fleetAlone   = 10 * time.Second      // how long singles are measured by themselves
	fleetTurns   = 5                     // of each smaller size
	fleetLarge   = 3                     // of the largest, with singles alone before each
	fleetPoll    = 50 * time.Millisecond // between looks, and more for more devices:
	fleetLook    = 10 * time.Microsecond // every look counts them all
	fleetBound   = 10 * time.Minute      // for one command to be released, and to be over
)

// fleet measures commands over 1, 1,000 and all devices, which are there: what a
// target costs, and what they cost others.
func fleet(ctx context.Context, b *bench) (err error) {
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
			if err = join(err, s.over(ctx, &p)); err != nil {
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
		var p passage
		took, err = s.singles(ctx, func(ctx context.Context) (err error) {
			p, err = s.release(ctx, operator.Targets{All: true}, rule)
			return err
		})
		if err = join(err, s.over(ctx, &p)); err != nil {
			return err
		}
		all = append(all, p)
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
	id       string
	devices  int
	accepted time.Duration // until it was answered
	released time.Duration // until nothing of it waited any more
	before   spent
	took     spent // until it was over
}

// spent is what a server has spent.
type spent struct {
	cpu   time.Duration
	wrote int64 // bytes, to files
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
	p := passage{id: c.ID, devices: c.DeviceCount, accepted: time.Since(begun), before: before}
	err = s.until(ctx, p, s.out)
	p.released = time.Since(begun)
	return p, err
}

// over waits until all devices have reported, if any are there, and sees what was
// spent.
func (s *site) over(ctx context.Context, p *passage) error {
	if s.crowd != nil {
		ctx, cancel := context.WithTimeoutCause(ctx, fleetBound, errors.New("it takes too long until all have reported"))
		defer cancel()
		if err := s.until(ctx, *p, func(c operator.Command) bool { return c.Outcome != "" }); err != nil {
			return err
		}
	}
	now, err := s.spent()
	p.took = spent{now.cpu - p.before.cpu, now.wrote - p.before.wrote}
	return err
}

// until looks at the command of p until f says that it is so far.
func (s *site) until(ctx context.Context, p passage, f func(operator.Command) bool) error {
	for {
		c, err := s.client.Command(ctx, p.id)
		if err != nil || f(c) {
			return err
		}
		if wait(ctx, max(fleetPoll, time.Duration(p.devices)*fleetLook)); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// spent is what the server has spent so far.
func (s *site) spent() (now spent, err error) {
	var errs [2]error
	now.cpu, errs[0] = s.cpu()
	now.wrote, errs[1] = writtenBy(s.server.PID())
	return now, join(errs[0], errs[1])
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
		accepted, released, cpu = append(accepted, p.accepted), append(released, p.released), append(cpu, p.took.cpu/time.Duration(max(p.devices, 1)))
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
