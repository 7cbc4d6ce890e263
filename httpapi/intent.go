package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"behest/command"
)

// intentOf turns the shape of a command into an intent. Params stay as they
// were written: their type says what becomes of them. Labels that no filter
// could name are refused.
func intentOf(b *Intent, user string) (command.Intent, error) {
	in := command.Intent{
		Type: b.Type,
		Targets: command.Targets{
			Devices: b.Targets.Devices, Groups: b.Targets.Groups, Selector: b.Targets.Selector, All: bool(b.Targets.All),
		},
		Labels: b.Labels, Reason: b.Reason, RequestedBy: user,
		DeliverWithin: seconds(b.DeliverWithinSeconds), RunFor: seconds(b.RunForSeconds),
		ExpectTargets: b.ExpectTargets, AllowUnregistered: b.AllowUnregistered, Rollout: rolloutOf(b.Rollout),
	}
	if b.NotBefore != nil {
		in.NotBefore = time.Time(*b.NotBefore).Truncate(time.Millisecond)
	}
	in.Params = unlessNull(b.Params)
	if faults := labelFaults(b.Labels); len(faults) > 0 {
		return in, &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
	}
	return in, nil
}

// unlessNull is raw, or nil for null, which says that there is none.
func unlessNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return raw
}

// below puts a prefix before the pointers of faults.
func below(prefix string, faults []command.Field) []command.Field {
	out := make([]command.Field, len(faults))
	for i, f := range faults {
		out[i] = command.Field{Pointer: prefix + f.Pointer, Detail: f.Detail}
	}
	return out
}

func labelFaults(labels map[string]string) (faults []command.Field) {
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if strings.Contains(k, "=") {
			faults = append(faults, command.Field{Pointer: "/labels/" + escapePointer(k), Detail: "holds a ="})
		}
	}
	return faults
}

// seconds are within the contract's bounds, so that they fit a duration.
func seconds(n *int64) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}

// filterOf turns the query of a list of commands into a filter.
func filterOf(p ListCommandsParams) (command.Filter, error) {
	var f command.Filter
	var err error
	if f.Label, err = labelsOf(p.Label); err != nil {
		return f, err
	}
	if p.State != nil {
		f.State = string(*p.State)
	}
	if p.Outcome != nil {
		f.Outcome = command.Outcome(*p.Outcome)
	}
	if p.Type != nil {
		f.Type = *p.Type
	}
	if p.Device != nil {
		if err := checkDevice("device", *p.Device); err != nil {
			return f, err
		}
		f.Device = *p.Device
	}
	if p.RequestedBy != nil {
		f.RequestedBy = *p.RequestedBy
	}
	if p.CreatedAfter != nil {
		f.CreatedAfter = time.Time(*p.CreatedAfter)
	}
	if p.CreatedBefore != nil {
		f.CreatedBefore = time.Time(*p.CreatedBefore)
	}
	return f, nil
}

// filterText is a filter as one text, the same for the same filter.
func filterText(f command.Filter) string {
	return fmt.Sprintf("%q %q %q %q %q %d %d %s", f.State, f.Outcome, f.Type, f.Device, f.RequestedBy,
		f.CreatedAfter.UnixNano(), f.CreatedBefore.UnixNano(), labelsText(f.Label))
}

func executionFilterOf(p ListAllExecutionsParams) (f command.ExecutionFilter, err error) {
	if p.State != nil {
		for _, name := range *p.State {
			s, err := command.ParseState(string(name))
			if err != nil {
				return f, err
			}
			f.States = append(f.States, s)
		}
	}
	if p.Effect != nil {
		for _, name := range *p.Effect {
			e, err := command.ParseEffect(string(name))
			if err != nil {
				return f, err
			}
			f.Effects = append(f.Effects, e)
		}
	}
	if p.Type != nil {
		f.Type = *p.Type
	}
	if p.Device != nil {
		if err := checkDevice("device", *p.Device); err != nil {
			return f, err
		}
		f.Device = *p.Device
	}
	if p.CreatedAfter != nil {
		f.CreatedAfter = time.Time(*p.CreatedAfter)
	}
	if p.CreatedBefore != nil {
		f.CreatedBefore = time.Time(*p.CreatedBefore)
	}
	return f, nil
}

func executionFilterText(f command.ExecutionFilter) string {
	return fmt.Sprintf("%d %d %q %q %d %d", f.States, f.Effects, f.Type, f.Device, f.CreatedAfter.UnixNano(), f.CreatedBefore.UnixNano())
}

// labelsOf takes KEY=VALUE apart. The contract has checked that there is a =.
func labelsOf(list *Label) (map[string]string, error) {
	if list == nil {
		return nil, nil
	}
	m := make(map[string]string, len(*list))
	for _, s := range *list {
		k, v, _ := strings.Cut(s, "=")
		if old, twice := m[k]; twice && old != v {
			return nil, malformed(command.Field{Pointer: "label", Detail: fmt.Sprintf("asks for two values of %q", cut(k))})
		}
		m[k] = v
	}
	return m, nil
}

func labelsText(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%q=%q ", k, m[k])
	}
	return b.String()
}
