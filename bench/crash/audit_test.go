package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"behest/bench/operator"
	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"

	"github.com/google/go-cmp/cmp"
)

// story is one command that went well on pump-0: written down by everybody,
// and on the server.
type story struct {
	record *record
	audit  *audit
	ask    *asked
	said   *said
}

var (
	at              = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	listenerNowhere = netip.MustParseAddrPort("127.0.0.1:9")
)

func wentWell(t *testing.T) *story {
	t.Helper()
	r := newRecord(newFindings())
	f := newFleet(listenerNowhere, r)
	s := &story{record: r, audit: &audit{found: r.found, record: r, fleet: f}}
	r.registered("pump-0")
	s.ask = r.ask(false, "pump-0")
	r.listed("pump-0", []wire.Entry{entry(100, s.ask.mark)})
	r.reports("pump-0", 100, wire.Running)
	r.heard("pump-0", 100, wire.Running, changed, "")
	r.reports("pump-0", 100, wire.Success)
	r.heard("pump-0", 100, wire.Success, changed, "")
	r.answered(s.ask, operator.Done, "id-1")
	s.said = r.numbers[number{"pump-0", 100}]
	if err := f.stores["pump-0"].Act(100); err != nil {
		t.Fatal(err)
	}
	x := operator.Execution{
		Command: "id-1", Device: "pump-0", Seq: 100, State: "succeeded", Effect: "applied",
		Result: result(s.ask.mark), SentAt: &at, StartedAt: &at,
	}
	c := operator.Command{
		ID: "id-1", Params: params(s.ask.mark), Targets: operator.Targets{Devices: []string{"pump-0"}},
		State: "succeeded", Counts: map[string]int{"succeeded": 1}, Execution: &x,
	}
	a := s.audit
	a.byID = map[string]operator.Command{"id-1": c}
	a.byMark = map[uint64][]string{s.ask.mark: {"id-1"}}
	a.executions = map[number]operator.Execution{{"pump-0", 100}: x}
	a.unsent = map[uint64]map[string]operator.Execution{}
	a.devices = map[string]operator.Device{"pump-0": registered(lifetime)}
	a.effects = map[string]map[uint32]int{}
	return s
}

func entry(seq uint32, mark uint64) wire.Entry {
	item, err := wire.FromJSON(params(mark))
	if err != nil {
		panic(err)
	}
	return wire.Entry{Seq: seq, Type: "crash.test", Params: item, Seconds: 60}
}

func registered(seconds int64) operator.Device {
	d := operator.Device{ID: "pump-0"}
	d.Registration = &struct {
		Lifetime int64 `json:"lifetime_seconds"`
	}{seconds}
	return d
}

// change makes another execution of the one that went well.
func (s *story) change(f func(*operator.Execution)) {
	k := number{"pump-0", 100}
	x := s.audit.executions[k]
	f(&x)
	s.audit.executions[k] = x
}

func (s *story) command(f func(*operator.Command)) {
	c := s.audit.byID["id-1"]
	f(&c)
	s.audit.byID["id-1"] = c
}

func (s *story) store() *storage.Store { return s.audit.fleet.stores["pump-0"] }

// TestEveryFaultIsFound plants one fault at a time into a record and a server
// that agree.
func TestEveryFaultIsFound(t *testing.T) {
	one := func(c class) (n [classes]int) { n[c] = 1; return n }
	for name, row := range map[string]struct {
		plant func(s *story)
		want  [classes]int
	}{
		"none": {func(*story) {}, [classes]int{}},
		"an unknown command is there": {func(s *story) {
			s.ask.fate, s.ask.id = operator.Unknown, ""
		}, [classes]int{}},
		"the command is gone, and so its number": {func(s *story) {
			delete(s.audit.byID, "id-1")
			delete(s.audit.executions, s.said.number)
		}, [classes]int{lost: 2}},
		"the execution is gone":    {func(s *story) { delete(s.audit.executions, s.said.number) }, one(lost)},
		"the device is gone":       {func(s *story) { delete(s.audit.devices, "pump-0") }, one(lost)},
		"the registration is gone": {func(s *story) { s.audit.devices["pump-0"] = operator.Device{} }, one(lost)},
		"another lifetime":         {func(s *story) { s.audit.devices["pump-0"] = registered(1) }, one(wrong)},
		"the report is gone":       {func(s *story) { s.change(func(x *operator.Execution) { x.State = "delivered" }) }, one(lost)},
		"a timeout over a report":  {func(s *story) { s.change(func(x *operator.Execution) { x.State = "timed_out" }) }, one(lost)},
		"another outcome":          {func(s *story) { s.change(func(x *operator.Execution) { x.State = "failed" }) }, one(wrong)},
		"another result": {func(s *story) {
			s.change(func(x *operator.Execution) { x.Result = json.RawMessage(`{"did":7}`) })
		}, one(wrong)},
		"other params":   {func(s *story) { s.command(func(c *operator.Command) { c.Params = json.RawMessage(`{"n":1}`) }) }, one(wrong)},
		"other targets":  {func(s *story) { s.command(func(c *operator.Command) { c.Targets.Devices = []string{"pump-1"} }) }, one(wrong)},
		"there twice":    {func(s *story) { s.audit.byMark[s.ask.mark] = []string{"id-1", "id-2"} }, one(double)},
		"refused, there": {func(s *story) { s.ask.fate = operator.Refused }, one(wrong)},
		"a cancel undone": {func(s *story) {
			s.ask.cancel = cancel{tried: true, fate: operator.Done, unsent: 1}
		}, one(lost)},
		"a wish to stop forgotten": {func(s *story) {
			s.ask.cancel = cancel{tried: true, fate: operator.Done, canceled: "canceling"}
			s.command(func(c *operator.Command) { c.Execution = &operator.Execution{State: "delivered"} })
		}, one(lost)},
		"success without an effect": {func(s *story) {
			s.audit.fleet.stores["pump-0"] = storage.NewRAM()
		}, one(wrong)},
		"an effect twice":          {func(s *story) { _ = s.store().Act(100) }, one(double)},
		"an effect from nowhere":   {func(s *story) { _ = s.store().Act(101) }, one(wrong)},
		"an effect that is denied": {func(s *story) { s.change(func(x *operator.Execution) { x.Effect = "none" }) }, one(wrong)},
		"an effect of what never left": {func(s *story) {
			s.audit.unsent[s.ask.mark] = map[string]operator.Execution{"pump-0": {State: "canceled"}}
		}, one(wrong)},
		"one number for two commands": {func(s *story) {
			s.record.listed("pump-0", []wire.Entry{entry(100, 2)})
		}, one(double)},
		"one number in two rows": {func(s *story) {
			s.audit.execution(9, operator.Execution{Command: "id-1", Device: "pump-0", Seq: 100, State: "succeeded",
				Effect: "applied", Result: result(1), SentAt: &at, StartedAt: &at})
		}, one(double)},
		"a number for another command": {func(s *story) { s.said.mark = 2 }, func() (n [classes]int) { n[double], n[wrong] = 1, 1; return n }()},
		"a number that shrinks": {func(s *story) {
			s.record.listed("pump-0", []wire.Entry{entry(99, s.ask.mark)})
			before := at.Add(-time.Second)
			s.audit.executions[number{"pump-0", 99}] = operator.Execution{Command: "id-1", Device: "pump-0", Seq: 99, State: "sent", SentAt: &before}
		}, one(wrong)},
		"numbers out of order": {func(s *story) {
			s.audit.executions[number{"pump-0", 101}] = operator.Execution{Device: "pump-0", Seq: 101, SentAt: new(at.Add(-time.Second))}
		}, one(wrong)},
		"a number that nobody asked for": {func(s *story) {
			s.record.listed("pump-0", []wire.Entry{entry(102, 77)})
			s.record.mu.Lock()
			delete(s.record.numbers, number{"pump-0", 102})
			s.record.mu.Unlock()
		}, one(wrong)},
		"a number that is not known": {func(s *story) { s.record.heard("pump-0", 100, wire.Success, notFound, "") }, one(lost)},
		"a report that is refused":   {func(s *story) { s.record.heard("pump-0", 100, wire.Success, "4.09", "") }, one(wrong)},
	} {
		t.Run(name, func(t *testing.T) {
			s := wentWell(t)
			row.plant(s)
			for name, store := range s.audit.fleet.stores {
				s.audit.effects[name] = store.Effects()
			}
			if err := s.audit.run(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.record.found.counts(), row.want); diff != "" {
				t.Errorf("lost, wrong, double (-got +want):\n%s%v", diff, s.record.found.first())
			}
		})
	}
}

// TestTooLittleIsNoProof judges runs in which nothing was lost.
func TestTooLittleIsNoProof(t *testing.T) {
	lines := func(each, unknown, happened int) (l []line) {
		for i := range 4 {
			l = append(l, line{kind: fmt.Sprint(i), acknowledged: each, unknown: unknown, happened: happened})
		}
		return l
	}
	for name, row := range map[string]struct {
		s    summary
		good bool
	}{
		"enough":                 {summary{lines: lines(100, 9, 3), least: 400, kinds: 50, wantsUnknowns: true}, true},
		"too few":                {summary{lines: lines(99, 9, 3), least: 400, kinds: 50, wantsUnknowns: true}, false},
		"too few of a kind":      {summary{lines: append(lines(100, 9, 3), line{}), least: 400, kinds: 50}, false},
		"no unknowns":            {summary{lines: lines(100, 0, 0), least: 400, kinds: 50, wantsUnknowns: true}, false},
		"none that had happened": {summary{lines: lines(100, 9, 0), least: 400, kinds: 50, wantsUnknowns: true}, false},
		"a few kills":            {summary{lines: lines(100, 0, 0), least: 400, kinds: 50}, true},
		"a loss":                 {summary{lines: lines(100, 9, 3), least: 400, kinds: 50, faults: [classes]int{lost: 1}}, false},
		"a double":               {summary{lines: lines(100, 9, 3), least: 400, kinds: 50, faults: [classes]int{double: 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := row.s.verdict(); (err == nil) != row.good {
				t.Errorf("the verdict is %v", err)
			}
		})
	}
}
