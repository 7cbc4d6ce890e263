package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Approve is somebody's consent to exactly what the digest names. When enough
// have consented, the command goes its way in the same commit. It answers with
// the command as it now is, also beside CodeConflict.
func (d *Dispatcher) Approve(ctx context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error) {
	return d.decide(ctx, id, command.Decision{User: by, Approve: true, Comment: comment, Digest: digest})
}

// Deny is somebody's refusal: one is final.
func (d *Dispatcher) Deny(ctx context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error) {
	return d.decide(ctx, id, command.Decision{User: by, Comment: comment, Digest: digest})
}

func (d *Dispatcher) decide(ctx context.Context, id command.ID, said command.Decision) (command.View, error) {
	view, err := d.store.Command(ctx, id)
	if err != nil {
		return command.View{}, err
	}
	if err := d.mayDecide(ctx, view, said); err != nil {
		return view, err
	}
	if view.Command.Devices == 1 {
		err = d.decideOne(ctx, view.Only, said)
	} else {
		err = d.decideMany(ctx, view.Command, said)
	}
	if err != nil && command.CodeOf(err) != command.CodeConflict {
		return command.View{}, err
	}
	now, lost := d.store.Command(ctx, id)
	if lost != nil {
		return view, lost
	}
	return now, err
}

// mayDecide refuses who has no say in a command. What it looks at does not
// change: whether it still waits is seen in the commit.
//
// --solo lets a requester be among those who approve, in the role that is asked
// for like anybody else: if the server was so when he asked, and is so now.
func (d *Dispatcher) mayDecide(ctx context.Context, view command.View, said command.Decision) error {
	c := view.Command
	switch {
	case c.Approval == nil:
		return command.Errorf(command.CodeConflict, "the command needs no approval")
	case len(said.Comment) > command.CommentBytesMax:
		return &command.Error{Code: command.CodeInvalid, Msg: "the decision cannot be accepted as it is",
			Fields: []command.Field{{Pointer: "/comment", Detail: fmt.Sprintf("is over %d bytes", command.CommentBytesMax)}}}
	case said.User == c.RequestedBy && !(c.Approval.Solo && d.solo) && said.Approve:
		return command.Errorf(command.CodeForbidden, "nobody approves what he asked for himself")
	}
	check := func(dev device.Device) error {
		if d.may(said.User, c.Approval.Role, dev) {
			return nil
		}
		return d.forbidden(said.User, dev, c.Approval.Role)
	}
	if d.people == nil || d.people.MayAll(said.User, c.Approval.Role) {
		return nil
	}
	if view.Only == nil {
		return d.store.Held(ctx, c.N, check)
	}
	v, err := d.store.Device(ctx, view.Only.Name)
	if err != nil && command.CodeOf(err) == command.CodeNotFound { // removed, and nobody's any more
		v.Name, err = view.Only.Name, nil
	}
	if err != nil {
		return err
	}
	return check(v.Device)
}

// decideOne decides on a command on one device.
func (d *Dispatcher) decideOne(ctx context.Context, x *command.Execution, said command.Decision) error {
	_, err := d.visit(ctx, ledger.Issues, byHandle(x.Device), func(v *visit) error {
		x, err := v.tx.Execution(x.N)
		if err != nil {
			return err
		}
		digest := x.Digest()
		w := &ballot{tx: v.tx, c: x.Command, said: said, digest: digest[:], waits: x.State == command.AwaitingApproval, state: x.State.String()}
		w.said.At, w.over = v.now, w.waits && lapsed(x.Deadline, v.now)
		if err := w.count(x.Device); err != nil || w.again {
			return err
		}
		switch {
		case !said.Approve:
			after, verdict := x.Step(command.Trigger{Kind: command.Deny}, v.now)
			if verdict != command.Moved {
				return w.late()
			}
			return v.store(x, &after, said.User)
		case w.met:
			after, verdict := x.Step(command.Trigger{Kind: command.Approve}, v.now)
			if verdict != command.Moved {
				return w.late()
			}
			after = v.d.allow(after, v.now)
			return v.store(x, &after, said.User)
		}
		return nil
	})
	return err
}

// decideMany decides on a command behind a gate.
func (d *Dispatcher) decideMany(ctx context.Context, c *command.Command, said command.Decision) error {
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		now := d.now()
		g, err := tx.Gate(c.N)
		if err != nil && command.CodeOf(err) != command.CodeNotFound {
			return err
		}
		waits, state := false, "decided"
		switch {
		case err != nil:
		case g.Through >= c.Devices: // nobody is left behind it, and it was not asked since
			state = "ended"
		default:
			waits, state = g.State == command.GateAwaiting, g.State.String()
		}
		digest := c.Digest(c.Resolved)
		w := &ballot{tx: tx, c: c, said: said, digest: digest[:], waits: waits, state: state}
		w.said.At, w.over = now, w.waits && lapsed(g.Deadline, now)
		if err := w.count(0); err != nil || w.again {
			return err
		}
		t := command.Trigger{Kind: command.Deny}
		if said.Approve {
			t.Kind = command.Approve
		}
		if said.Approve && !w.met {
			return nil
		}
		after, moved := g.Step(t, said.User, now)
		if !moved {
			return w.late()
		}
		return saveGate(tx, g, &after, said.User, now, now)
	})
	if err != nil {
		return d.failed(err)
	}
	d.gates.ring(d.now())
	return nil
}

// ballot is one decision as it is counted, in the commit that it is for.
type ballot struct {
	tx     ledger.Tx
	c      *command.Command
	said   command.Decision
	digest []byte // of what the command is
	waits  bool   // for decisions
	over   bool   // their time is: the lapse wins, whether the loop has noted it or not
	state  string // that stands

	again bool // the same person said the same before: nothing is to be done
	met   bool // that is enough
}

// count holds a decision against what was decided before, and keeps it.
func (b *ballot) count(device int64) error {
	before, err := b.tx.Decisions(b.c.N)
	if err != nil {
		return err
	}
	for _, one := range before {
		switch {
		case one.User == b.said.User && one.Approve == b.said.Approve:
			b.again = true
			return nil
		case one.User == b.said.User && !b.said.Approve && b.waits:
			return command.Errorf(command.CodeConflict, "%q has approved it; cancel it instead", one.User)
		case one.User == b.said.User:
			return command.Errorf(command.CodeConflict, "%q has decided already", one.User)
		}
	}
	switch {
	case !b.waits || b.over:
		return b.late()
	case string(b.digest) != string(b.said.Digest[:]):
		return command.Errorf(command.CodeConflict, "the digest is not that of the command: what you decided on is not what would go")
	}
	if err := b.tx.AddDecision(b.c.N, b.said); err != nil {
		return err
	}
	b.met = b.c.Approval.Met(append(before, b.said))
	kind := command.EventDenied
	data := map[string]any{}
	if b.said.Approve {
		kind = command.EventApproved
		data["enough"] = b.met
	}
	if b.said.Approve && b.said.User == b.c.RequestedBy {
		data["solo"] = true
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return b.tx.Log(command.Event{Type: kind, At: b.said.At, Actor: b.said.User, CommandN: b.c.N, Device: device, Data: raw})
}

// lapsed reports whether a clock has run out.
func lapsed[K any](deadline func() (time.Time, K), now time.Time) bool {
	at, _ := deadline()
	return !at.IsZero() && !now.Before(at)
}

// late is the refusal of a decision on what waits for none any more.
func (b *ballot) late() error {
	if b.waits {
		return command.Errorf(command.CodeConflict, "the time in which it could be decided on is over")
	}
	return command.Errorf(command.CodeConflict, "the command waits for no decision: it is %s", b.state)
}
