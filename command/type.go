package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a command type.
const (
	SchemaBytesMax = 64 << 10 // a page of rules; more is a program
	SlotMax        = 8        // pointers that make a slot
)

// Type is the solution-wide name of an action, with its schema and policy.
// Each change makes a new version; a command keeps the one it was issued with.
type Type struct {
	Name    string
	Version int // from 1; 0: it was never declared

	Policy       Policy
	Clocks       TypeClocks
	Params       json.RawMessage // JSON Schema 2020-12; nil: anything goes
	Result       json.RawMessage // likewise
	Slot         []string        // JSON pointers into params: with the device, what a command sets
	Significance Significance
	Approval     *ApprovalRule // nil: nobody has to agree
	Rollback     *RollbackRule // nil: there is no way back

	CreatedAt time.Time // of this version
	CreatedBy string
	Retired   bool // nothing is issued under it any more
}

// Significance says how much a command type matters. It decides nothing by
// itself; consoles and policies go by it.
type Significance uint8

const (
	Routine Significance = iota
	Elevated
	Critical
	significanceEnd
)

var significanceNames = [...]string{"routine", "elevated", "critical"}

func (s Significance) String() string { return nameOf(significanceNames[:], s) }

// ParseSignificance is the significance with that name.
func ParseSignificance(name string) (Significance, bool) {
	return parseName[Significance](significanceNames[:], name)
}

// ParseRedelivery is the redelivery with that name.
func ParseRedelivery(name string) (Redelivery, bool) {
	return parseName[Redelivery](redeliveryNames[:], name)
}

func parseName[T ~uint8](names []string, name string) (T, bool) {
	for i, n := range names {
		if n == name {
			return T(i), true
		}
	}
	return 0, false
}

// TypeClocks are what a type says about the clocks of its commands. A zero
// Bound leaves a clock to the server.
type TypeClocks struct {
	ApproveWithin, UseWithin, HoldWithin, DeliverWithin, RunFor, ReportEvery, CancelFor, SettleFor Bound
}

// Bound is a clock's default, and how far a command may move it. Zero Min and
// Max leave that to the limits of all clocks.
type Bound struct{ Default, Min, Max time.Duration }

// each visits the clocks by their names in the API.
func (c *TypeClocks) each(f func(name string, b *Bound)) {
	f("approve_within_seconds", &c.ApproveWithin)
	f("use_within_seconds", &c.UseWithin)
	f("hold_within_seconds", &c.HoldWithin)
	f("deliver_within_seconds", &c.DeliverWithin)
	f("run_for_seconds", &c.RunFor)
	f("report_every_seconds", &c.ReportEvery)
	f("cancel_for_seconds", &c.CancelFor)
	f("settle_for_seconds", &c.SettleFor)
}

// Each visits the clocks that the type says something about, by their names in
// the API.
func (c TypeClocks) Each(f func(name string, b Bound)) {
	c.each(func(name string, b *Bound) {
		if *b != (Bound{}) {
			f(name, *b)
		}
	})
}

// Set says something about the clock of that name; it answers false if there
// is none.
func (c *TypeClocks) Set(name string, b Bound) (known bool) {
	c.each(func(n string, at *Bound) {
		if n == name {
			*at, known = b, true
		}
	})
	return known
}

// CheckTypeName says what is wrong with the name of a command type, or nothing.
func CheckTypeName(name string) string {
	switch {
	case name == "":
		return "is missing"
	case len(name) > TypeNameBytesMax:
		return fmt.Sprintf("is over %d bytes", TypeNameBytesMax)
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, "/"):
		return "holds a slash or a control character"
	case name == "." || name == "..":
		return "is a dot segment, which no path can hold" // [RFC 3986 5.2.4]
	}
	return ""
}

// Check names every fault of a type, except those of its schemas.
func (t *Type) Check() []Field {
	var faults []Field
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	if what := CheckTypeName(t.Name); what != "" {
		fault("/name", "%s", what)
	}
	if len(t.Params) > SchemaBytesMax {
		fault("/params", "is over %d bytes", SchemaBytesMax)
	}
	if len(t.Result) > SchemaBytesMax {
		fault("/result", "is over %d bytes", SchemaBytesMax)
	}
	if len(t.Slot) > SlotMax {
		fault("/slot", "are %d pointers; at most %d are allowed", len(t.Slot), SlotMax)
	}
	for i, p := range t.Slot {
		if !strings.HasPrefix(p, "/") {
			fault(fmt.Sprintf("/slot/%d", i), "%.64q is no JSON pointer to a param", p)
		}
	}
	t.Clocks.Each(func(name string, b Bound) { b.check("/clocks/"+name, fault) })
	if b := t.Clocks.CancelFor; max(b.Default, b.Max) > CancelForMax {
		fault("/clocks/cancel_for_seconds", "is over %d", CancelForMax/time.Second)
	}
	t.Approval.check(fault)
	t.Rollback.check(t.Name, fault)
	if t.Policy.Parallel && t.Policy.Urgent {
		fault("/urgent", "an urgent type never waits, so parallel means nothing to it")
	}
	return faults
}

func (b Bound) check(pointer string, fault func(pointer, format string, args ...any)) {
	for _, d := range []time.Duration{b.Default, b.Min, b.Max} {
		if d != 0 && (d < ClockMin || d > ClockMax) {
			fault(pointer, "is not between %d and %d", ClockMin/time.Second, ClockMax/time.Second)
			return
		}
	}
	switch {
	case b.Max != 0 && b.Min > b.Max:
		fault(pointer, "has a min above its max")
	case b.Default != 0 && (b.Default < b.Min || b.Max != 0 && b.Default > b.Max):
		fault(pointer, "has a default outside its bounds")
	}
}

// ClocksFor are the clocks of a command of this type: what the command asks
// for within the type's bounds, else the type's default, else the server's.
func (t *Type) ClocksFor(server Clocks, in Intent) (Clocks, []Field) {
	var faults []Field
	pick := func(pointer string, b Bound, server, asked time.Duration) time.Duration {
		lo, hi := max(b.Min, ClockMin), ClockMax
		if b.Max != 0 {
			hi = b.Max
		}
		switch {
		case asked != 0 && (asked < lo || asked > hi):
			faults = append(faults, Field{Pointer: pointer, Detail: fmt.Sprintf("is not between %d and %d", lo/time.Second, hi/time.Second)})
		case asked != 0:
			return asked
		case b.Default != 0:
			return b.Default
		}
		if server == 0 {
			return 0 // a clock that is off
		}
		return min(max(server, b.Min), hi)
	}
	c := t.Clocks
	return Clocks{
		ApproveWithin: pick("", c.ApproveWithin, server.ApproveWithin, 0),
		UseWithin:     pick("", c.UseWithin, server.UseWithin, 0),
		HoldWithin:    pick("", c.HoldWithin, server.HoldWithin, 0),
		DeliverWithin: pick("/deliver_within_seconds", c.DeliverWithin, server.DeliverWithin, in.DeliverWithin),
		RunFor:        pick("/run_for_seconds", c.RunFor, server.RunFor, in.RunFor),
		ReportEvery:   pick("", c.ReportEvery, server.ReportEvery, 0),
		CancelFor:     pick("", c.CancelFor, server.CancelFor, 0),
		SettleFor:     pick("", c.SettleFor, server.SettleFor, 0),
	}, faults
}
