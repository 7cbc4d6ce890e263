package dispatch

import (
	"context"
	"slices"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Preview says what an intent would come to if it were issued now, and writes
// nothing. Of many devices it does not say which have no room: that is seen
// when their turn comes.
func (d *Dispatcher) Preview(ctx context.Context, in command.Intent) (command.Preview, error) {
	c, t, err := d.accept(ctx, &in)
	if err != nil {
		return command.Preview{}, err
	}
	known := in
	known.Targets.Devices = nil
	devices, refused, err := d.lookUp(ctx, in, c)
	if err != nil {
		return command.Preview{}, err
	}
	if len(known.Targets.Groups) > 0 || known.Targets.Selector != "" || known.Targets.All {
		more, err := d.resolve(ctx, known)
		if err != nil {
			return command.Preview{}, err
		}
		devices = merged(devices, more)
	}
	if err := d.entitled(in.RequestedBy, operator, devices...); err != nil {
		return command.Preview{}, err
	}
	if d.asksApproval(t, in, devices) {
		c.Approval = d.demand(t)
	}
	i := &issue{d: d, in: in, intent: *c}
	if err := i.aim(devices); err != nil {
		return command.Preview{}, err
	}
	p := command.Preview{Command: &i.intent, Devices: len(devices), Refused: refused}
	p.Command.CreatedAt = d.now()
	view := command.View{Command: p.Command}
	if len(devices) == 1 {
		view.Only = &command.Execution{Command: p.Command, Name: devices[0].Name}
	}
	p.Digest = view.Digest()
	for _, dev := range devices {
		if dev.Online(p.Command.CreatedAt) {
			continue
		}
		if p.Away++; len(p.Offline) < command.PageMax {
			p.Offline = append(p.Offline, dev.Name)
		}
	}
	return p, nil
}

// lookUp finds the devices that are named, without making any known. Of a few
// it says which have no room.
func (d *Dispatcher) lookUp(ctx context.Context, in command.Intent, c *command.Command) (all []device.Device, refused []command.Refusal, err error) {
	for names := range slices.Chunk(in.Targets.Devices, groupMax) {
		var found []device.Device
		err := d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			found, refused = found[:0], nil
			for _, name := range names {
				dev, err := d.wanted(tx, in, name, d.now())
				if err != nil {
					return err
				}
				found = append(found, dev)
				if len(in.Targets.Devices) > groupTargets || dev.Handle == 0 {
					continue
				}
				open, err := tx.Open(dev.Handle)
				if err != nil {
					return err
				}
				if !command.Room(open, c) {
					refused = append(refused, command.Refusal{Device: name, Code: command.CodeDeviceFull})
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		all = append(all, found...)
	}
	return all, refused, nil
}
