package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// model is a store too simple to be wrong.
type model struct {
	devices  map[string]device.Device
	commands []*command.Command
	xs       []command.Execution // in the order of N
	said     map[int64][]command.PastReport
	types    map[string][]command.Type // all versions
	events   []command.Event
	cut      int64                   // events before those
	issued   int                     // commands, those that are gone included
	gates    map[int64]*command.Gate // by the row of their commands
	decided  map[int64][]command.Decision
}

// machine holds an engine against the model.
type machine struct {
	r     *rig
	t     *rapid.T
	model model
	now   time.Time
	steps int
	shape func(*command.Command) // of what is issued; nil: as it is
}

// historiesMax bounds the histories of a run, of which rapid makes a hundred
// unless it is told otherwise: each one opens files and waits for a disk.
const historiesMax = 20

func testModel(t *testing.T, e Engine) {
	steps, histories := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if histories++; histories > historiesMax {
			return
		}
		m := &machine{r: start(t, e), t: rt, now: epoch, model: model{
			devices: make(map[string]device.Device), said: make(map[int64][]command.PastReport), types: make(map[string][]command.Type),
		}}
		m.r.t = failOnly{t, rt}
		actions := map[string]func(*rapid.T){
			"add a device": m.addDevice, "save a device": m.saveDevice,
			"declare": m.declare, "issue": m.issue, "issue to many": m.issueMany,
			"step": m.step, "step again": m.step, "step once more": m.step, "save a stale copy": m.saveStale,
			"fail": m.fail, "restart": m.restart,
			"": m.sometimes,
		}
		for range 3 {
			rt.Repeat(actions)
			m.agree()
			m.restart(rt)
			m.agree()
		}
		steps += m.steps
	})
	t.Logf("%d writes in %d histories held against the model", steps, min(histories, historiesMax))
}

// failOnly lets a rig fail the random run that it is in, and clean up when
// the whole test ends.
type failOnly struct {
	testing.TB
	rt *rapid.T
}

func (f failOnly) Errorf(format string, args ...any) { f.rt.Errorf(format, args...) }
func (f failOnly) Fatalf(format string, args ...any) { f.rt.Fatalf(format, args...) }
func (f failOnly) Error(args ...any)                 { f.rt.Error(args...) }
func (f failOnly) Fatal(args ...any)                 { f.rt.Fatal(args...) }

// write commits f with a few milliseconds of a clock of its own.
func (m *machine) write(f func(ledger.Tx) error) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 600_000).Draw(m.t, "ms")) * time.Millisecond)
	m.steps++
	if err := m.r.Update(context.Background(), ledger.Lane(rapid.IntRange(0, 3).Draw(m.t, "lane"))%2*2, f); err != nil {
		m.t.Fatalf("update: %v", err)
	}
}

func (m *machine) log(tx ledger.Tx, e command.Event) error {
	e.At = m.now
	if err := tx.Log(e); err != nil {
		return err
	}
	e.Epoch, e.N = 1, m.model.cut+int64(len(m.model.events)+1)
	for _, d := range m.model.devices {
		if d.Handle == e.Device {
			e.Name = d.Name
		}
	}
	for _, c := range m.model.commands {
		if c.N == e.CommandN {
			e.Command = c.ID
		}
	}
	m.model.events = append(m.model.events, e)
	return nil
}

func (m *machine) name() string {
	return rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(m.t, "name")
}

func (m *machine) addDevice(*rapid.T) {
	d := aDevice(m.name())
	d.CreatedAt = m.now
	m.write(func(tx ledger.Tx) error {
		err := tx.AddDevice(&d)
		if _, twin := m.model.devices[d.Name]; twin {
			if command.CodeOf(err) != command.CodeConflict {
				return fmt.Errorf("a twin was answered %v", err)
			}
			return nil
		}
		if err == nil {
			m.model.devices[d.Name] = d
			err = m.log(tx, command.Event{Type: command.EventRegistered, Device: d.Handle})
		}
		return err
	})
}

// known is a device of the model.
func (m *machine) known() device.Device {
	names := make([]string, 0, len(m.model.devices))
	for name := range m.model.devices {
		names = append(names, name)
	}
	if len(names) == 0 {
		m.t.Skip("no device yet")
	}
	slices.Sort(names)
	return m.model.devices[rapid.SampledFrom(names).Draw(m.t, "device")]
}

func (m *machine) saveDevice(*rapid.T) {
	d := m.known()
	if rapid.Bool().Draw(m.t, "labeled") {
		d.Labels = map[string]string{"site": rapid.SampledFrom([]string{"x", "y"}).Draw(m.t, "site")}
	}
	d.SeenAt = m.now
	m.write(func(tx ledger.Tx) error {
		err := tx.SaveDevice(&d)
		m.model.devices[d.Name] = d
		return err
	})
}

func (m *machine) issue(*rapid.T) { m.add([]string{m.known().Name}) }

func (m *machine) issueMany(*rapid.T) {
	var names []string
	for name := range m.model.devices {
		names = append(names, name)
	}
	if len(names) < 2 {
		m.t.Skip("too few devices")
	}
	slices.Sort(names)
	m.add(names)
}

func (m *machine) add(names []string) {
	m.model.issued++
	c := aCommand(m.model.issued, names...)
	c.Type = rapid.SampledFrom([]string{"pump.start", "fan.set"}).Draw(m.t, "type")
	c.Clocks.ReportEvery = time.Duration(rapid.IntRange(0, 2).Draw(m.t, "heartbeat")) * time.Minute
	c.Clocks.RunFor = time.Hour
	c.RequestedBy = rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(m.t, "who")
	c.Slot = rapid.SampledFrom([]int64{0, 5, -5}).Draw(m.t, "slot")
	if n := len(m.model.commands); n > 0 && rapid.IntRange(0, 3).Draw(m.t, "undoes") == 0 {
		c.RollbackOf = m.model.commands[rapid.IntRange(0, n-1).Draw(m.t, "what")].ID
	}
	if m.shape != nil {
		m.shape(c)
	}
	m.write(func(tx ledger.Tx) error {
		c.CreatedAt = m.now
		xs, err := issue(tx, c)
		if err != nil {
			return err
		}
		m.model.commands = append(m.model.commands, c)
		m.model.xs = append(m.model.xs, xs...)
		return m.log(tx, command.Event{Type: command.EventIssued, CommandN: c.N, Actor: c.RequestedBy})
	})
}

// any is an execution of the model.
func (m *machine) any() *command.Execution {
	if len(m.model.xs) == 0 {
		m.t.Skip("no execution yet")
	}
	return &m.model.xs[rapid.IntRange(0, len(m.model.xs)-1).Draw(m.t, "execution")]
}

// step makes a random thing happen to a random execution.
func (m *machine) step(*rapid.T) {
	x := m.any()
	kind := rapid.SampledFrom(command.Kinds).Draw(m.t, "kind")
	if x.State == command.Queued && rapid.Bool().Draw(m.t, "release") {
		kind = command.Release
	}
	m.write(func(tx ledger.Tx) error {
		d := m.model.devices[x.Name]
		t := m.trigger(kind, &d)
		next, verdict := x.Step(t, m.now)
		if verdict != command.Moved && verdict != command.Kept {
			return nil
		}
		if kind == command.Release {
			if err := tx.SaveDevice(&d); err != nil {
				return err
			}
			m.model.devices[d.Name] = d
		}
		if next.ReportedAt != x.ReportedAt && !x.ReportedAt.IsZero() {
			past := command.PastReport{At: x.ReportedAt, Report: x.Last}
			if err := tx.AddReport(x.N, past); err != nil {
				return err
			}
			m.model.said[x.N] = append(m.model.said[x.N], past)
		}
		if err := tx.Save(&next); err != nil {
			return err
		}
		*x = next
		return m.log(tx, command.Event{Type: command.EventOf(next.State), CommandN: x.Command.N, Device: x.Device})
	})
}

func (m *machine) trigger(kind command.Kind, d *device.Device) command.Trigger {
	t := command.Trigger{Kind: kind, Attempts: 1, Cause: command.DeviceRemoved}
	if kind == command.Release {
		t.Seq, _ = d.NextSeq(m.now, 0)
	}
	for s := command.StatusRunning; s.Valid(); s++ {
		r := command.Report{Status: s, Text: "said", Result: []byte{0xf6}}
		if command.Reported(r, command.Sent).Kind == kind {
			t.Report = r
		}
	}
	return t
}

func (m *machine) saveStale(*rapid.T) {
	x := *m.any()
	x.Version--
	m.write(func(tx ledger.Tx) error {
		if err := tx.Save(&x); command.CodeOf(err) != command.CodeConflict {
			return fmt.Errorf("a stale copy was answered %v", err)
		}
		return nil
	})
}

// fail writes all sorts of things and takes them back.
func (m *machine) fail(*rapid.T) {
	boom := errors.New("boom")
	err := m.r.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
		d := aDevice("ghost")
		if err := tx.AddDevice(&d); err != nil {
			return err
		}
		ghost := aType("ghost", 999)
		if err := tx.AddType(&ghost); err != nil {
			return err
		}
		c := aCommand(1<<30, "ghost")
		c.Type, c.RequestedBy = "ghost", "ghost"
		if _, err := issue(tx, c); err != nil {
			return err
		}
		if err := tx.Log(command.Event{Type: "ghost", At: m.now}); err != nil {
			return err
		}
		for i := range m.model.xs {
			x := m.model.xs[i]
			x.Attempts++
			if err := tx.Save(&x); err != nil {
				return err
			}
		}
		return boom
	})
	if !errors.Is(err, boom) {
		m.t.Fatalf("got %v, want the function's own error", err)
	}
}

func (m *machine) restart(*rapid.T) { m.r.restart() }

// sometimes is after every action; looking costs more than most of them.
func (m *machine) sometimes(*rapid.T) {
	if m.steps%5 == 0 {
		m.agree()
	}
}

// agree compares everything that can be asked.
func (m *machine) agree() {
	ctx := context.Background()
	t := m.r.t
	views := make([]command.View, 0, len(m.model.commands))
	for _, c := range slices.Backward(m.model.commands) {
		v := command.View{Command: c, RolledBackBy: m.rolledBackBy(c), Gate: m.model.gates[c.N], Decisions: m.model.decided[c.N]}
		if v.Gate != nil {
			v.Tally.Pending = c.Devices
		}
		for i := range m.model.xs {
			if x := m.model.xs[i]; x.Command.N == c.N {
				v.Tally.Add(x)
				if c.Devices == 1 {
					v.Only = &x
				}
			}
		}
		views = append(views, v)
	}
	got, _, err := m.r.Commands(ctx, command.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, append([]command.View{}, got...), views)
	m.agreeClocks(ctx)
	m.agreeTypes(ctx)
	m.agreeInside(ctx)
	for _, d := range m.model.devices {
		if !d.RemovedAt.IsZero() {
			continue
		}
		v, err := m.r.Device(ctx, d.Name)
		if err != nil {
			t.Fatal(err)
		}
		open := 0
		for _, x := range m.model.xs {
			if x.Device == d.Handle && !x.State.Ended() {
				open++
			}
		}
		diff(t, v, device.View{Device: d, Open: open})
	}
	events, _, err := m.r.Events(ctx, command.Place{}, command.EventFilter{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, append([]command.Event{}, events...), append([]command.Event{}, m.model.events[:min(1000, len(m.model.events))]...))
}

// rolledBackBy is the youngest command that undoes c, which is only told of
// one that can be undone.
func (m *machine) rolledBackBy(c *command.Command) (by command.ID) {
	for _, other := range m.model.commands {
		if other.RollbackOf == c.ID && c.Slot != 0 {
			by = other.ID
		}
	}
	return by
}

// agreeSlots compares what a commit sees of the slot that x sets.
func (m *machine) agreeSlots(x command.Execution) {
	t := m.r.t
	var younger []command.Execution
	var succeeded command.Execution
	for _, o := range m.model.xs {
		if o.Device != x.Device || o.Command.Slot != x.Command.Slot || o.Command.Slot == 0 {
			continue
		}
		if o.Effect != command.EffectNone && leftAfter(o, x) {
			younger = append(younger, o)
		}
		if o.State == command.Succeeded && o.Seq < x.Seq && o.Seq > succeeded.Seq {
			succeeded = o
		}
	}
	m.r.do(func(tx ledger.Tx) error {
		list, err := tx.Younger(x, 1000)
		if err != nil {
			return err
		}
		diff(t, rowsOf(list), rowsOf(youngestFirst(younger)))
		got, err := tx.Succeeded(x)
		if err != nil && command.CodeOf(err) != command.CodeNotFound {
			return err
		}
		diff(t, got.N, succeeded.N)
		got, err = tx.ExecutionOf(x.Command.N, x.Device)
		diff(t, got.N, x.N)
		return err
	})
}

// agreeClocks compares what is due.
func (m *machine) agreeClocks(ctx context.Context) {
	t := m.r.t
	var due []command.Execution
	var next time.Time
	for _, x := range m.model.xs {
		switch when, _ := x.Deadline(); {
		case when.IsZero():
		case !when.After(m.now):
			due = append(due, x)
		case next.IsZero() || when.Before(next):
			next = when
		}
	}
	slices.SortStableFunc(due, func(a, b command.Execution) int {
		x, _ := a.Deadline()
		y, _ := b.Deadline()
		return cmp.Or(x.Compare(y), cmp.Compare(a.N, b.N))
	})
	want := []ledger.Due{}
	for _, x := range due {
		want = append(want, ledger.Due{N: x.N, Device: x.Device})
	}
	got, when, err := m.r.Due(ctx, m.now, 1000)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, append([]ledger.Due{}, got...), want)
	diff(t, when, next)
}

// agreeInside compares what a commit sees of one execution, and its reports.
func (m *machine) agreeInside(ctx context.Context) {
	if len(m.model.xs) == 0 {
		return
	}
	t := m.r.t
	x := *m.any()
	said := append([]command.PastReport{}, m.model.said[x.N]...)
	if !x.ReportedAt.IsZero() {
		said = append(said, command.PastReport{At: x.ReportedAt, Report: x.Last})
	}
	got, reports, err := m.r.Execution(ctx, x.Command.ID, x.Name)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, got, x)
	diff(t, append([]command.PastReport{}, reports...), said)
	m.agreeSlots(x)
	var open []command.Execution
	for _, o := range m.model.xs {
		if o.Device == x.Device && !o.State.Ended() {
			open = append(open, o)
		}
	}
	m.r.do(func(tx ledger.Tx) error {
		list, err := tx.Open(x.Device)
		if err != nil {
			return err
		}
		diff(t, list, open)
		if x.Seq == 0 {
			return nil
		}
		bySeq, err := tx.ExecutionBySeq(x.Device, x.Seq)
		diff(t, bySeq, x)
		return err
	})
}
