package dispatch

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"behest/command"
	"behest/command/ledger"
)

// parting is the end of a session.
type parting struct {
	name    string // of its device
	session uint32
	why     string
}

// Partings wait here for the store. When the queue is full the newest is
// dropped: the next notification finds nobody.
const partingsMax = 16 << 10

// Parted takes that a session of a device's is over. It never blocks.
func (d *Dispatcher) Parted(name string, session uint32, why string) {
	select {
	case d.partings <- parting{name, session, why}:
	default: // see partingsMax
	}
}

// runPartings takes the ends of sessions to the store.
func (d *Dispatcher) runPartings(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(parallelMax)
	defer func() { _ = g.Wait() }() // each has said what was wrong
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-d.partings:
			g.Go(func() error {
				_, err := d.visit(ctx, ledger.Registrations, byName(p.name), func(v *visit) error { return v.part(p) })
				if err != nil && command.CodeOf(err) != command.CodeNotFound && ctx.Err() == nil {
					d.log.Warn("noting the end of a session", "device", p.name, "err", err)
				}
				return nil
			})
		}
	}
}

// part suspends the observation of a session that is over. It waits for the
// device to come back and observe anew: another session is another endpoint
// [RFC 7252 9.1].
func (v *visit) part(p parting) error {
	o := &v.dev.Observation
	if o.Session != p.session || o.Session == 0 || o.Suspended {
		return nil
	}
	o.Suspended, v.dirty = true, true
	return v.logDevice(command.EventSuspended, "", map[string]any{"reason": "session " + p.why})
}

// partAll suspends the observations of sessions that ended with the process
// before this one. What was observed since this one began is of a session that
// is there, or is about to part by itself.
func (d *Dispatcher) partAll(ctx context.Context) error {
	for after := int64(0); ; {
		handles, err := d.store.Sessions(ctx, after, groupMax)
		if err != nil {
			return fmt.Errorf("list observations of sessions: %w", err)
		}
		if len(handles) == 0 {
			return nil
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelMax)
		for _, h := range handles {
			g.Go(func() error {
				return d.giveTurn(gctx, h, func(v *visit) error {
					if o := v.dev.Observation; o.At.Before(d.began) {
						return v.part(parting{session: o.Session, why: "restart"})
					}
					return nil
				})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		after = handles[len(handles)-1]
	}
}
