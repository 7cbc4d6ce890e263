package sqlite_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// load makes the work that a server makes: a command issued and released in
// one commit, its acknowledgement, its report.
type load struct{ s *sqlite.Store }

func (l load) device(i int) error {
	return l.s.Update(context.Background(), ledger.Registrations, func(tx ledger.Tx) error {
		d := device.Device{Name: fmt.Sprint("device-", i), CreatedAt: time.Now()}
		d.Registration = device.Registration{At: time.Now(), Lifetime: time.Hour, Window: 1}
		if err := tx.AddDevice(&d); err != nil {
			return err
		}
		return tx.Log(command.Event{Type: command.EventRegistered, At: time.Now(), Device: d.Handle})
	})
}

// command is a command with an id as good as a UUID of version 7.
func (l load) command(n int, names ...string) *command.Command {
	now := time.Now()
	c := &command.Command{
		Type: "pump.start", TypeVersion: 1, Clocks: command.DefaultClocks, Params: []byte("\xa1\x63rpm\x19\x04\xb0"),
		Targets: command.Targets{Devices: names}, Devices: len(names), RequestedBy: "ann@example.org", CreatedAt: now,
	}
	if n == 9 {
		c.Reason = "a reason"
	}
	rand.Read(c.ID[:])
	binary.BigEndian.PutUint64(c.ID[:8], uint64(now.UnixMilli())<<16|7<<12|uint64(n&0xfff))
	return c
}

// issue is one unit of work: issued, and sent since its device is there.
func (l load) issue(tx ledger.Tx, n int, name string) (x command.Execution, err error) {
	d, err := tx.DeviceNamed(name)
	if err != nil {
		return x, err
	}
	if _, err := tx.Open(d.Handle); err != nil {
		return x, err
	}
	c := l.command(n, name)
	x = command.Execution{Command: c, Device: d.Handle, Name: name, State: command.Scheduled}
	x, _ = x.Step(command.Trigger{Kind: command.Due}, c.CreatedAt)
	xs := []command.Execution{x}
	if err := tx.AddCommand(c, xs); err != nil {
		return x, err
	}
	if err := l.log(tx, command.EventIssued, xs[0], c.RequestedBy, ""); err != nil {
		return x, err
	}
	d.NextSeq(c.CreatedAt, tx.Base())
	x, _ = xs[0].Step(command.Trigger{Kind: command.Release, Seq: d.LastSeq}, c.CreatedAt)
	if err := tx.SaveDevice(&d); err != nil {
		return x, err
	}
	if err := tx.Save(&x); err != nil {
		return x, err
	}
	return x, l.log(tx, command.EventOf(x.State), x, "", fmt.Sprintf(`{"seq":%d}`, x.Seq))
}

func (l load) log(tx ledger.Tx, kind command.EventType, x command.Execution, by, data string) error {
	e := command.Event{Type: kind, At: time.Now(), Actor: by, CommandN: x.Command.N, Device: x.Device}
	if data != "" {
		e.Data = json.RawMessage(data)
	}
	return tx.Log(e)
}

// ack is the acknowledgement, and report the device's word.
func (l load) ack(tx ledger.Tx, n int64) error {
	x, err := tx.Execution(n)
	if err != nil {
		return err
	}
	x, verdict := x.Step(command.Trigger{Kind: command.Ack, Attempts: 1}, time.Now())
	if verdict != command.Moved {
		return nil // the report came first
	}
	if err := tx.Save(&x); err != nil {
		return err
	}
	return l.log(tx, command.EventOf(x.State), x, "", "")
}

func (l load) report(tx ledger.Tx, dev int64, seq uint32) error {
	d, err := tx.Device(dev)
	if err != nil {
		return err
	}
	x, err := tx.ExecutionBySeq(dev, seq)
	if err != nil {
		return err
	}
	r := command.Report{Status: command.StatusSuccess, Result: []byte("\xa1\x62ok\xf5")}
	x, _ = x.Step(command.Reported(r, x.State), time.Now())
	d.ReportedSeq, d.SeenAt = seq, time.Now()
	if err := tx.SaveDevice(&d); err != nil {
		return err
	}
	if err := tx.Save(&x); err != nil {
		return err
	}
	if err := l.log(tx, command.EventOf(x.State), x, "", ""); err != nil {
		return err
	}
	if _, err := tx.Open(dev); err != nil {
		return err
	}
	return l.log(tx, command.EventEnded, x, "", "")
}

// round takes the n-th command round on a device.
func (l load) round(n, dev int) error {
	ctx := context.Background()
	var x command.Execution
	err := l.s.Update(ctx, ledger.Issues, func(tx ledger.Tx) (err error) {
		x, err = l.issue(tx, n, fmt.Sprint("device-", dev))
		return err
	})
	if err != nil {
		return err
	}
	acked := make(chan error, 1)
	go func() {
		acked <- l.s.Update(ctx, ledger.Deliveries, func(tx ledger.Tx) error { return l.ack(tx, x.N) })
	}()
	err = l.s.Update(ctx, ledger.Reports, func(tx ledger.Tx) error { return l.report(tx, x.Device, x.Seq) })
	if err != nil {
		return err
	}
	return <-acked
}
