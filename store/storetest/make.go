package storetest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// epoch is when the tests begin: whole milliseconds, UTC, as stores keep it.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a moment of a test.
func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// idOf is the id of a test's n-th command.
func idOf(n int) (id command.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	id[0] = 1
	return id
}

// aDevice is a device that has just registered.
func aDevice(name string) device.Device {
	return device.Device{Name: name, CreatedAt: epoch, Registration: device.Registration{At: epoch, Lifetime: time.Hour}}
}

// aCommand is the n-th command of a test, for some devices.
func aCommand(n int, names ...string) *command.Command {
	return &command.Command{
		ID: idOf(n), Type: "pump.start", Clocks: command.DefaultClocks, Params: []byte{0xa0},
		Targets: command.Targets{Devices: names}, Devices: len(names), RequestedBy: "ann", CreatedAt: at(n),
	}
}

// issue adds c, queued, on the devices that its targets name.
func issue(tx ledger.Tx, c *command.Command) ([]command.Execution, error) {
	xs := make([]command.Execution, len(c.Targets.Devices))
	for i, name := range c.Targets.Devices {
		d, err := tx.DeviceNamed(name)
		if err != nil {
			return nil, err
		}
		x := command.Execution{Command: c, Device: d.Handle, Name: name, State: command.Scheduled, Seal: []byte(name + " sealed")}
		xs[i], _ = x.Step(command.Trigger{Kind: command.Due}, c.CreatedAt)
	}
	return xs, tx.AddCommand(c, xs)
}

// step saves x after t, which must move it.
func step(tx ledger.Tx, x *command.Execution, t command.Trigger, now time.Time) error {
	next, verdict := x.Step(t, now)
	if verdict != command.Moved && verdict != command.Kept {
		return fmt.Errorf("%s: %s by %s", x.State, verdict, t.Kind)
	}
	if err := tx.Save(&next); err != nil {
		return err
	}
	*x = next
	return nil
}

// release sends x under its device's next number.
func release(tx ledger.Tx, x *command.Execution, now time.Time) error {
	d, err := tx.Device(x.Device)
	if err != nil {
		return err
	}
	seq, ok := d.NextSeq(now, tx.Base())
	if !ok {
		return fmt.Errorf("device %q has no next number", d.Name)
	}
	if err := tx.SaveDevice(&d); err != nil {
		return err
	}
	return step(tx, x, command.Trigger{Kind: command.Release, Seq: seq}, now)
}

func succeed(tx ledger.Tx, x *command.Execution, now time.Time) error {
	return step(tx, x, command.Reported(command.Report{Status: command.StatusSuccess}, x.State), now)
}

// fill sets every field below v to something that is not zero and differs
// from field to field, so that a field which a store forgets is seen, also
// one that was added after the store was written. It leaves alone what skip
// names.
func fill(v any, skip ...string) {
	f := filler{skip: make(map[string]bool)}
	for _, name := range skip {
		f.skip[name] = true
	}
	f.fill(reflect.ValueOf(v).Elem(), "")
}

type filler struct {
	n    int
	skip map[string]bool
}

func (f *filler) fill(v reflect.Value, name string) {
	f.n++
	switch known := v.Addr().Interface().(type) {
	case *time.Time:
		*known = at(f.n)
		return
	case *time.Duration:
		*known = time.Duration(f.n) * time.Second
		return
	case *json.RawMessage:
		*known = fmt.Appendf(nil, `{ "field": %d }`, f.n)
		return
	case *netip.AddrPort:
		*known = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), uint16(f.n))
		return
	case *netip.Addr:
		*known = netip.MustParseAddr("fe80::1%eth0")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); !f.skip[field.Name] {
				f.fill(v.Field(i), field.Name)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0), name)
		f.fill(v.Index(1), name)
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), name)
		}
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		f.fill(value, "value")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(fmt.Sprint("key ", f.n)), value)
	case reflect.String:
		v.SetString(fmt.Sprint(name, " ", f.n))
	case reflect.Bool:
		v.SetBool(true)
	default:
		f.number(v)
	}
}

// number keeps the small enumerations inside their bounds.
func (f *filler) number(v reflect.Value) {
	switch v.Interface().(type) {
	case command.State:
		v.SetUint(uint64(command.Sent))
	case command.Effect:
		v.SetUint(uint64(command.EffectUnknown))
	case command.Cause:
		v.SetUint(uint64(command.Silent))
	case command.Status:
		v.SetUint(uint64(command.StatusFailure))
	case command.Significance:
		v.SetUint(uint64(command.Critical))
	case command.Redelivery:
		v.SetUint(uint64(command.Once))
	default:
		switch {
		case v.CanUint():
			v.SetUint(uint64(f.n))
		case v.CanFloat():
			v.SetFloat(float64(f.n) + 0.1)
		default:
			v.SetInt(int64(f.n))
		}
	}
}
