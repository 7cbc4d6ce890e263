package httpapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"behest/command"
)

// typeOf turns the rules in a body into a type.
func typeOf(name string, b *CommandTypeRules) (command.Type, error) {
	t := command.Type{
		Name: name,
		Policy: command.Policy{
			WireCode: uint16(b.WireCode), // the contract has checked the bounds
			Parallel: b.Parallel, Urgent: b.Urgent, Fresh: b.Fresh, Large: b.Large, Float32: b.Float32,
		},
		Params: schemaOf(b.Params), Result: schemaOf(b.Result), Slot: b.Slot,
	}
	t.Policy.Redelivery, _ = command.ParseRedelivery(string(b.Redelivery)) // likewise; left out, it is the first
	t.Significance, _ = command.ParseSignificance(string(b.Significance))
	var faults []command.Field
	for _, clock := range slices.Sorted(maps.Keys(b.Clocks)) {
		bound, what := boundOf(b.Clocks[clock])
		if !t.Clocks.Set(clock, bound) {
			what = "is no clock"
		}
		if what != "" {
			faults = append(faults, command.Field{Pointer: "/clocks/" + clock, Detail: what})
		}
	}
	if len(faults) > 0 {
		return t, malformed(faults...)
	}
	t.Approval, faults = partOf[command.ApprovalRule]("/approval", b.Approval, faults)
	t.Rollback, faults = partOf[command.RollbackRule]("/rollback", b.Rollback, faults)
	if len(faults) > 0 {
		return t, malformed(faults...)
	}
	return t, nil
}

// partOf reads a part of a type whose shape the contract has checked.
func partOf[T any](pointer string, raw json.RawMessage, faults []command.Field) (*T, []command.Field) {
	if raw = unlessNull(raw); raw == nil {
		return nil, faults
	}
	part := new(T)
	if err := json.Unmarshal(raw, part); err != nil { // 1e999, which the contract takes
		return nil, append(faults, command.Field{Pointer: pointer, Detail: "holds a number that is too large"})
	}
	return part, faults
}

// schemaOf is a schema without the space between its tokens, which makes no
// other version of it.
func schemaOf(raw json.RawMessage) json.RawMessage {
	if raw = unlessNull(raw); raw == nil {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw // it was JSON a moment ago
	}
	return b.Bytes()
}

// rule is a clock's rule with all that can be said of it, in seconds.
type rule struct {
	Default int64 `json:"default,omitempty"`
	Min     int64 `json:"min,omitempty"`
	Max     int64 `json:"max,omitempty"`
}

// boundOf is a clock's rule, or what is wrong with it. The contract has
// checked the bounds.
func boundOf(raw json.RawMessage) (command.Bound, string) {
	var r rule
	var err error
	if raw[0] == '{' {
		err = json.Unmarshal(raw, &r)
	} else {
		err = json.Unmarshal(raw, &r.Default)
	}
	if err != nil {
		return command.Bound{}, "must be written as an integer, or as an object of them"
	}
	return command.Bound{
		Default: time.Duration(r.Default) * time.Second,
		Min:     time.Duration(r.Min) * time.Second,
		Max:     time.Duration(r.Max) * time.Second,
	}, ""
}

// viewType is a command type as the contract shows it.
func viewType(t command.Type) CommandType {
	out := CommandType{
		Name: t.Name, Version: t.Version, Params: t.Params, Result: t.Result, WireCode: int(t.Policy.WireCode),
		Large: t.Policy.Large, Float32: t.Policy.Float32, Redelivery: Redelivery(t.Policy.Redelivery.String()),
		Parallel: t.Policy.Parallel, Urgent: t.Policy.Urgent, Fresh: t.Policy.Fresh, Slot: t.Slot,
		Significance: Significance(t.Significance.String()), Retired: CommandTypeRetired(t.Retired),
		CreatedAt: Time(t.CreatedAt), CreatedBy: t.CreatedBy,
	}
	if t.Approval != nil {
		out.Approval, _ = json.Marshal(t.Approval) // of plain values
	}
	if t.Rollback != nil {
		out.Rollback, _ = json.Marshal(t.Rollback) // likewise
	}
	t.Clocks.Each(func(name string, b command.Bound) {
		if out.Clocks == nil {
			out.Clocks = make(TypeClocks)
		}
		out.Clocks[name] = viewBound(b)
	})
	return out
}

// viewBound is a clock's rule as short as it can be said.
func viewBound(b command.Bound) json.RawMessage {
	r := rule{int64(b.Default / time.Second), int64(b.Min / time.Second), int64(b.Max / time.Second)}
	var v any = r
	if b.Min == 0 && b.Max == 0 {
		v = r.Default
	}
	raw, _ := json.Marshal(v) // of integers
	return raw
}
