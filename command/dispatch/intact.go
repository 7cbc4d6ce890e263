package dispatch

import (
	"bytes"
	"context"
	"sync"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// The digest of a command on many devices names all of them, and none can be
// held against it alone. So the list is held against it as a whole, before its
// gate lets through the first, then with each wave and once in a while: what
// was put into the list behind the server's back is not sent to.

// intactFor is how long a list is trusted that was found to be what was
// approved. To read 100,000 names takes a fifth of a second.
const intactFor = time.Minute

// intact are the lists that were found to be what was approved.
type intact struct {
	mu sync.Mutex
	of map[int64]intactSince // by the command's row
}

type intactSince struct {
	at   time.Time
	wave int
}

func newIntact() intact { return intact{of: make(map[int64]intactSince)} }

// fresh reports whether the list behind g was found intact a moment ago.
func (i *intact) fresh(g command.Gate, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	since, ok := i.of[g.Command.N]
	return ok && since.wave == g.Wave && now.Before(since.at.Add(intactFor))
}

func (i *intact) note(g command.Gate, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.of[g.Command.N] = intactSince{now, g.Wave}
}

func (i *intact) forget(n int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.of, n)
}

// verify withdraws what has not left of a command behind a gate, if its devices
// are not those that were approved.
func (d *Dispatcher) verify(ctx context.Context, g command.Gate) error {
	c := g.Command
	lets := g.State == command.GateScheduled || g.State == command.GateOpen
	if c.Approval == nil || c.Resolved == nil || !lets || g.Through >= c.Devices || d.intact.fresh(g, d.now()) {
		return nil
	}
	now := d.now()
	same, err := d.sameTargets(ctx, c)
	if err != nil {
		return err
	}
	if same {
		d.intact.note(g, now)
		return nil
	}
	d.log.Error("the devices of a command are not those that were approved; it is withdrawn", "command", c.ID)
	return d.withdraw(ctx, c, command.IntegrityFailed)
}

// sameTargets reports whether the devices of a command on many, those that it
// went to and those that wait, are those that it was resolved to. Who waits
// may go meanwhile, so they come first, and once is enough.
func (d *Dispatcher) sameTargets(ctx context.Context, c *command.Command) (bool, error) {
	found := make(map[string][]byte, c.Devices) // with what each has for itself
	add := func(dev device.Device) error { found[dev.Name] = nil; return nil }
	if err := d.store.Held(ctx, c.N, add); err != nil {
		return false, err
	}
	for after, more := int64(0), true; more; {
		xs, left, err := d.store.Executions(ctx, c.ID, "", after, command.PageMax)
		if err != nil {
			return false, err
		}
		for _, x := range xs {
			after, found[x.Name] = x.N, x.Params
		}
		more = left && len(xs) > 0
	}
	v, err := d.store.Command(ctx, c.ID)
	if err != nil {
		return false, err
	}
	for _, r := range v.Refused {
		found[r.Device] = nil
	}
	own, err := d.store.OwnParams(ctx, c.N, command.DevicesMax)
	if err != nil {
		return false, err
	}
	for _, t := range own {
		if params, ok := found[t.Device]; ok && params == nil {
			found[t.Device] = t.Params
		}
	}
	targets := make([]command.Target, 0, len(found))
	for name, params := range found {
		targets = append(targets, command.Target{Device: name, Params: params})
	}
	return bytes.Equal(command.DigestTargets(targets), c.Resolved), nil
}

// withdraw ends what has not left of a command on many devices.
func (d *Dispatcher) withdraw(ctx context.Context, c *command.Command, cause command.Cause) error {
	t := command.Trigger{Kind: command.Withdraw, Cause: cause}
	var open []command.Execution
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		before, err := tx.Gate(c.N)
		if err != nil {
			return err
		}
		now := d.now()
		if g, ok := before.Step(t, "", now); ok {
			if err := saveGate(tx, before, &g, "", now, now); err != nil {
				return err
			}
		}
		open, err = tx.OpenOf(c.N, command.DevicesMax)
		return err
	})
	if err != nil {
		return d.failed(err)
	}
	for _, x := range open {
		if !x.State.Unsent() {
			continue
		}
		_, err := d.visit(ctx, ledger.Issues, byHandle(x.Device), func(v *visit) error {
			x, err := v.tx.Execution(x.N)
			if err != nil || !x.State.Unsent() {
				return err
			}
			_, err = v.step(x, t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
