package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"behest/bench/operator"
)

// office is the operators.
type office struct {
	client *operator.Client
	record *record
	fleet  []string // devices that obey
	absent []string // devices that never come
}

const (
	operators  = 8
	absentees  = 6
	batchMost  = 12
	targetMost = 4
	pauseFull  = 10 * time.Millisecond // after a refusal: some device has had enough
	pauseDown  = 5 * time.Millisecond  // after nobody listened
)

// work is one operator: what he does next is drawn, until ctx ends.
func (o *office) work(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		var fate operator.Fate
		switch draw := random.IntN(100); {
		case draw < 50:
			fate = o.single(ctx, o.pick(random, o.fleet, 1), random.IntN(4) == 0)
		case draw < 60: // it waits for a device that never comes, so that its cancel has to hold
			fate = o.single(ctx, o.pick(random, o.absent, 1), true)
		case draw < 75:
			fate = o.single(ctx, o.pick(random, o.fleet, 2+random.IntN(targetMost-1)), random.IntN(4) == 0)
		case draw < 85:
			fate = o.batch(ctx, random)
		default:
			fate = o.keyed(ctx, o.pick(random, o.fleet, 1))
		}
		switch fate {
		case operator.Refused:
			pause(ctx, pauseFull)
		case operator.Unreached:
			pause(ctx, pauseDown)
		}
	}
}

// pick draws n devices, none twice.
func (o *office) pick(random *rand.Rand, from []string, n int) []string {
	var out []string
	for _, i := range random.Perm(len(from))[:n] {
		out = append(out, from[i])
	}
	return out
}

func intent(a *asked) operator.Intent {
	return operator.Intent{Type: "crash.test", Params: params(a.mark), Targets: operator.Targets{Devices: a.devices}}
}

// single asks for a command, and then perhaps not to do it.
func (o *office) single(ctx context.Context, devices []string, stop bool) operator.Fate {
	a := o.record.ask(false, devices...)
	c, fate, _ := o.client.Issue(ctx, intent(a), "", 0)
	o.record.answered(a, fate, c.ID)
	if fate == operator.Done && stop {
		c, fate, _ = o.client.Cancel(ctx, c.ID)
		o.record.canceled(a, fate, c)
	}
	return fate
}

// batch asks for several commands in one request.
func (o *office) batch(ctx context.Context, random *rand.Rand) operator.Fate {
	var all []*asked
	var ins []operator.Intent
	for range 2 + random.IntN(batchMost-1) {
		a := o.record.ask(false, o.pick(random, o.fleet, 1)...)
		all, ins = append(all, a), append(ins, intent(a))
	}
	results, fate, _ := o.client.Batch(ctx, ins)
	for i, a := range all {
		switch {
		case fate != operator.Done:
			o.record.answered(a, fate, "")
		case i < len(results) && results[i].Command != nil:
			o.record.answered(a, operator.Done, results[i].Command.ID)
		default:
			o.record.answered(a, operator.Refused, "")
		}
	}
	return fate
}

// keyed asks for a command until there is an answer, under one key.
func (o *office) keyed(ctx context.Context, devices []string) operator.Fate {
	a := o.record.ask(true, devices...)
	key := fmt.Sprintf("crash-%d", a.mark)
	for left := false; ; pause(ctx, pauseDown) {
		c, fate, _ := o.client.Issue(ctx, intent(a), key, 0)
		if fate == operator.Unknown {
			left = true
			o.record.askedAgain()
		}
		if fate == operator.Done || fate == operator.Refused {
			o.record.answered(a, fate, c.ID)
			return fate
		}
		if ctx.Err() != nil {
			if left { // an earlier try may have been heard
				fate = operator.Unknown
			}
			o.record.answered(a, fate, "")
			return fate
		}
	}
}

// pause waits for a while, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
