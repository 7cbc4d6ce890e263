package storetest

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// addrs compares what holds network addresses, whose fields nobody may look at.
var addrs = cmp.Options{cmp.Comparer(func(a, b device.Endpoint) bool { return a == b }), cmp.Comparer(sameObservation)}

func sameObservation(a, b device.Observation) bool {
	return a.Endpoint == b.Endpoint && a.Local == b.Local && a.At.Equal(b.At) && string(a.Token) == string(b.Token) &&
		(a.Token == nil) == (b.Token == nil) && a.BlockSize == b.BlockSize && a.Suspended == b.Suspended
}

func testDevices(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"EveryFieldComesBack", deviceEveryFieldComesBack},
		{"AnEmptyTokenIsNotNone", deviceAnEmptyTokenIsNotNone},
		{"RefusedWhatIsNotThere", deviceRefusedWhatIsNotThere},
		{"RefusedTwiceTheSameName", deviceRefusedTwiceTheSameName},
		{"RefusedAStaleCopy", deviceRefusedAStaleCopy},
		{"ARemovedOneKeepsItsHandle", deviceARemovedOneKeepsItsHandle},
		{"ListedByNameInPages", deviceListedByNameInPages},
		{"ListedBySessionInPages", deviceListedBySessionInPages},
	})
}

func deviceEveryFieldComesBack(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var added device.Device
	fill(&added, "RemovedAt", "LastSeq", "ReportedSeq")
	added.LastSeq, added.ReportedSeq = 4_000_000_000, 3_000_000_000
	r.do(func(tx ledger.Tx) error { return tx.AddDevice(&added) })
	if added.Handle == 0 || added.Version != 1 {
		t.Errorf("the handle is %d, the version %d", added.Handle, added.Version)
	}
	r.restart()
	var byHandle, byName device.Device
	r.do(func(tx ledger.Tx) (err error) {
		if byHandle, err = tx.Device(added.Handle); err == nil {
			byName, err = tx.DeviceNamed(added.Name)
		}
		return err
	})
	diff(t, byHandle, added)
	diff(t, byName, added)
	diff(t, must(r.Device(ctx, added.Name))(t), device.View{Device: added})

	// And back to nothing, field by field.
	bare := device.Device{Handle: added.Handle, Name: added.Name, Version: added.Version}
	r.do(func(tx ledger.Tx) error { return tx.SaveDevice(&bare) })
	diff(t, must(r.Device(ctx, added.Name))(t).Device, bare)
	added.Version = bare.Version
	r.do(func(tx ledger.Tx) error { return tx.SaveDevice(&added) })
	diff(t, must(r.Device(ctx, added.Name))(t).Device, added)
}

func deviceListedBySessionInPages(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var want []int64
	for i := range 8 {
		d := aDevice(fmt.Sprint("p", i))
		d.Observation.Session, d.Observation.Suspended = uint32(i%2)*math.MaxUint32, i%3 == 0
		r.do(func(tx ledger.Tx) error { return tx.AddDevice(&d) })
		if i%2 == 1 && i%3 != 0 {
			want = append(want, d.Handle)
		}
	}
	var got []int64
	for after := int64(0); ; {
		page := must(r.Sessions(ctx, after, 2))(t)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	diff(t, got, want)
}

func deviceAnEmptyTokenIsNotNone(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	d := aDevice("p")
	d.Observation.Token = []byte{}
	r.do(func(tx ledger.Tx) error { return tx.AddDevice(&d) })
	diff(t, must(r.Device(ctx, "p"))(t).Device, d)
}

func deviceRefusedWhatIsNotThere(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Device(7); return err })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.DeviceNamed("p"); return err })
	_, err := r.Device(ctx, "p")
	wantCode(t, err, command.CodeNotFound)
}

func deviceRefusedTwiceTheSameName(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	d, twin := aDevice("p"), aDevice("p")
	r.do(func(tx ledger.Tx) error { return tx.AddDevice(&d) })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.AddDevice(&twin) })
	r.do(func(tx ledger.Tx) error { // and the caller may go on after it
		if code := command.CodeOf(tx.AddDevice(&twin)); code != command.CodeConflict {
			t.Errorf("the code is %q", code)
		}
		other := aDevice("q")
		return tx.AddDevice(&other)
	})
	diff(t, must(r.Device(ctx, "q"))(t).Name, "q")
}

func deviceRefusedAStaleCopy(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	d := aDevice("p")
	r.do(func(tx ledger.Tx) error { return tx.AddDevice(&d) })
	stale := d
	d.LastSeq = 5
	r.do(func(tx ledger.Tx) error { return tx.SaveDevice(&d) })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.SaveDevice(&stale) })
	diff(t, must(r.Device(ctx, "p"))(t).Device, d)
}

func deviceARemovedOneKeepsItsHandle(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	d := aDevice("p")
	r.do(func(tx ledger.Tx) error { return tx.AddDevice(&d) })
	d.RemovedAt = at(1)
	r.do(func(tx ledger.Tx) error { return tx.SaveDevice(&d) })
	_, err := r.Device(ctx, "p")
	wantCode(t, err, command.CodeNotFound)
	if list, _, err := r.Devices(ctx, device.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	r.do(func(tx ledger.Tx) error {
		found, err := tx.DeviceNamed("p")
		diff(t, found, d)
		return err
	})
}

func deviceListedByNameInPages(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	r.do(func(tx ledger.Tx) error {
		for _, i := range []int{7, 3, 9, 0, 5, 1, 8, 2, 6, 4} {
			d := aDevice(fmt.Sprint("p", i))
			if i%2 == 0 {
				d.Labels = map[string]string{"site": "a", "kind": "pump"}
			}
			if err := tx.AddDevice(&d); err != nil {
				return err
			}
		}
		_, err := issue(tx, aCommand(1, "p4"))
		return err
	})
	list := func(f device.Filter) (names []string) {
		for more := true; more; {
			var page []device.View
			var err error
			if page, more, err = r.Devices(ctx, f); err != nil {
				t.Fatal(err)
			}
			if len(page) > f.Limit && f.Limit > 0 {
				t.Errorf("a page of %d has %d", f.Limit, len(page))
			}
			for _, v := range page {
				names = append(names, fmt.Sprint(v.Name, ":", v.Open))
				f.After = v.Name
			}
		}
		return names
	}
	all := []string{"p0:0", "p1:0", "p2:0", "p3:0", "p4:1", "p5:0", "p6:0", "p7:0", "p8:0", "p9:0"}
	diff(t, list(device.Filter{Limit: 3}), all)
	diff(t, list(device.Filter{}), all)
	diff(t, list(device.Filter{Limit: 2, Label: map[string]string{"site": "a", "kind": "pump"}}), []string{"p0:0", "p2:0", "p4:1", "p6:0", "p8:0"})
	diff(t, list(device.Filter{Label: map[string]string{"site": "b"}}), []string(nil))
	diff(t, list(device.Filter{Label: map[string]string{"site": "a", "kind": "fan"}}), []string(nil))
}

func diff(t testing.TB, got, want any) {
	t.Helper()
	if d := cmp.Diff(got, want, addrs, executions, cmp.Comparer(func(a, b *command.Command) bool {
		return a == nil && b == nil || a != nil && b != nil && cmp.Equal(*a, *b)
	})); d != "" {
		t.Errorf("got (-) and want (+) differ:\n%s", d)
	}
}

// executions compares those of a command on many devices without its targets,
// which a store leaves out.
var executions = cmpopts.AcyclicTransformer("lean", func(x command.Execution) command.Execution {
	if x.Command != nil && len(x.Command.Targets.Devices) != 1 {
		c := *x.Command
		c.Targets = command.Targets{}
		x.Command = &c
	}
	return x
})
