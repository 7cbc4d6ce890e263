package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// tx is the inside of a commit as one member sees it.
type tx struct {
	w     *writer
	from  string // where its member was asked for
	saved bool   // its savepoint is set, since it wrote something
	over  bool   // its function has returned
	fault error  // of the database; the whole transaction fails

	first, last int64 // the rows of the commands that it added; 0: none
}

var _ ledger.Tx = (*tx)(nil)

// do runs f. If f fails, by an error or a panic, what it wrote is taken back.
func (t *tx) do(f func(ledger.Tx) error) (err error) {
	mark := len(t.w.events)
	defer func() {
		if p := recover(); p != nil {
			t.w.s.log.Error("a unit of work panicked", "panic", p, "stack", string(debug.Stack()))
			err = command.Errorf(command.CodeInternal, "a unit of work panicked: %v", p)
		}
		t.over = true
		if err != nil {
			t.w.events = t.w.events[:mark]
		}
		if t.saved && t.fault == nil {
			t.fault = t.leave(err != nil)
		}
	}()
	return f(t)
}

// leave closes the savepoint, and takes back what was written since if undo.
func (t *tx) leave(undo bool) error {
	if undo {
		t.w.forget()
		if err := t.w.exec("ROLLBACK TO member"); err != nil {
			return err
		}
	}
	return t.w.exec("RELEASE member")
}

// write runs a statement that changes something, behind the savepoint.
func (t *tx) write(q string, args ...driver.Value) (changed, added int64, err error) {
	if t.over {
		panic("store: a Tx was used after its function returned")
	}
	if !t.saved {
		if err := t.w.exec("SAVEPOINT member"); err != nil {
			return 0, 0, t.failed(err)
		}
		t.saved = true
	}
	changed, added, err = t.w.conn.exec(q, args...)
	return changed, added, t.failed(err)
}

// failed remembers a fault of the database.
func (t *tx) failed(err error) error {
	if err != nil && !isOurs(err) && t.fault == nil {
		t.fault = err
	}
	return err
}

func (t *tx) Base() uint32 { return t.w.base }

func (t *tx) Log(e command.Event) error {
	if e.Type == "" || e.At.IsZero() {
		return fmt.Errorf("log %+v: an event has a type and a time", e)
	}
	if len(e.Data) > 0 && !json.Valid(e.Data) { // nobody could be told of it, nor of what comes after it
		return fmt.Errorf("log %s: its data is no JSON: %.100q", e.Type, e.Data)
	}
	if e.Actor != "" {
		e.From = t.from
	}
	t.w.events = append(t.w.events, e)
	return nil
}

func (t *tx) Device(handle int64) (device.Device, error) {
	return t.device(`WHERE handle = +?`, handle)
}

func (t *tx) DeviceNamed(name string) (device.Device, error) {
	return t.device(`WHERE name = +?`, name)
}

func (t *tx) device(where string, key driver.Value) (d device.Device, err error) {
	found := false
	err = t.w.conn.each(context.Background(), `SELECT handle, `+deviceColumns+` FROM device `+where, func(r row) (err error) {
		found = true
		d, err = readDevice(r)
		return err
	}, key)
	if err == nil && !found {
		return d, command.Errorf(command.CodeNotFound, "no such device")
	}
	return d, t.failed(err)
}

var addDevice = `INSERT INTO device (` + deviceColumns + `) VALUES (?` + repeat(", ?", deviceColumnCount-1) + `)`

func (t *tx) AddDevice(d *device.Device) error {
	stored := *d
	stored.Version = 1
	values, err := deviceValues(&stored)
	if err != nil {
		return fmt.Errorf("add device %q: %w", d.Name, err)
	}
	_, handle, err := t.write(addDevice, values...)
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "a device is called %q already", d.Name)
	}
	if err != nil {
		return fmt.Errorf("add device %q: %w", d.Name, err)
	}
	d.Handle, d.Version = handle, stored.Version
	return nil
}

// saveDevice leaves the name alone: a device keeps it for ever.
var saveDevice = `UPDATE device SET (` + deviceColumns + `) = (name, version + 1` + repeat(", ?", deviceColumnCount-2) + `) WHERE handle = +? AND version = +?`

func (t *tx) SaveDevice(d *device.Device) error {
	values, err := deviceValues(d)
	if err != nil {
		return fmt.Errorf("save device %d: %w", d.Handle, err)
	}
	changed, _, err := t.write(saveDevice, append(values[2:], d.Handle, d.Version)...)
	if err != nil {
		return fmt.Errorf("save device %d: %w", d.Handle, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeConflict, "device %q was changed meanwhile", d.Name)
	}
	d.Version++
	return nil
}

func repeat(s string, n int) (all string) {
	for range n {
		all += s
	}
	return all
}

func (t *tx) AddReport(n int64, r command.PastReport) error {
	_, _, err := t.write(`INSERT INTO report (execution, k, at, body)
		SELECT ?1, coalesce(max(k), 0) + 1, ?2, ?3 FROM report WHERE execution = +?1`,
		n, r.At.UnixMilli(), appendReport(nil, &r.Report))
	if err != nil {
		return fmt.Errorf("add a report of execution %d: %w", n, err)
	}
	return nil
}
