package behaviour

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"behest/firmware-sim/wire"
)

// nestingMax bounds how many then= may follow each other.
const nestingMax = 8

// codeUnsupported is what reject says unless told otherwise.
const codeUnsupported = wire.CodeUnsupportedType

// everyDefault is how often running reports unless told otherwise.
const everyDefault = time.Second

// durationMax is the contract's longest clock; sums of a few stay in range.
const durationMax = 366 * 24 * time.Hour

// names are the behaviours and the keys that each takes.
var names = map[string][]string{
	"success":       {"after", "result", "prev", "code", "text", "progress", "effect"},
	"failure":       {"after", "result", "prev", "code", "text", "progress", "effect"},
	"reject":        {"code", "text"},
	"running":       {"every", "for", "then"},
	"busy":          {"for", "then"},
	"silent":        {},
	"crash":         {"at", "after"},
	"refuse-cancel": {"then"},
}

// Parse reads a behaviour.
func Parse(s string) (Plan, error) { return parse(s, nestingMax) }

func parse(s string, levels int) (Plan, error) {
	if levels == 0 {
		return Plan{}, fmt.Errorf("more than %d behaviours in one", nestingMax)
	}
	name, rest, _ := strings.Cut(s, ":")
	keys, known := names[name]
	if !known {
		return Plan{}, fmt.Errorf("unknown behaviour %q (there are %s)", name, listed())
	}
	pairs, err := split(rest)
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", name, err)
	}
	for key := range pairs {
		if !slices.Contains(keys, key) {
			return Plan{}, fmt.Errorf("%s does not take %q", name, key)
		}
	}
	plan, err := begin(name, pairs, levels)
	if err != nil {
		return Plan{}, err
	}
	for _, key := range keys { // in a fixed order, so that the same mistake gives the same error
		value, ok := pairs[key]
		if !ok || key == "then" {
			continue
		}
		if err := plan.set(name, key, value); err != nil {
			return Plan{}, fmt.Errorf("%s: %s=%s: %w", name, key, value, err)
		}
	}
	return plan, nil
}

// begin makes the plan that the keys of name then change.
func begin(name string, pairs map[string]string, levels int) (Plan, error) {
	plan := DefaultPlan()
	if then, ok := pairs["then"]; ok {
		var err error
		if plan, err = parse(then, levels-1); err != nil {
			return Plan{}, fmt.Errorf("%s: then: %w", name, err)
		}
	}
	switch name {
	case "failure":
		plan.Outcome.Status = wire.Failure
	case "reject":
		plan.Outcome = wire.Report{Status: wire.Rejected, Code: new(int64(codeUnsupported))}
	case "silent":
		plan.Silent = true
	case "crash":
		plan.Crash = Stored
	case "refuse-cancel":
		plan.RefuseCancel = true
	case "running":
		plan.Every = cmp.Or(plan.Every, everyDefault)
	}
	return plan, nil
}

// set applies one key.
func (p *Plan) set(name, key, value string) error {
	switch key {
	case "after", "every", "for":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > durationMax || (key == "every" && d == 0) {
			return errors.New("no duration such as 300ms, 5s or 1m30s (a year at most)")
		}
		p.setDuration(name, key, d)
	case "result", "prev":
		item, err := wire.FromJSON([]byte(value))
		if err != nil {
			return err
		}
		if key == "result" {
			p.Outcome.Result = item
		} else {
			p.Outcome.Prev = item
		}
	case "code":
		code, err := strconv.ParseInt(value, 10, 64)
		p.Outcome.Code = &code
		return plain(err)
	case "progress":
		progress, err := strconv.ParseUint(value, 10, 8)
		if err != nil || progress > wire.ProgressMax {
			return fmt.Errorf("no percentage from 0 to %d", wire.ProgressMax)
		}
		p.Outcome.Progress = new(uint8(progress))
	case "text":
		return p.setText(value)
	case "effect":
		effect := slices.Index([]string{"none", "partial", "applied", "unknown"}, value)
		if effect < 0 {
			return errors.New("none of none, partial, applied, unknown")
		}
		p.Outcome.Effect = new(wire.Effect(effect))
	case "at":
		at := slices.Index([]string{"", Stored.String(), Acted.String(), Concluded.String()}, value)
		if at <= 0 {
			return errors.New("none of stored, acted, outcome")
		}
		p.Crash = Point(at)
	}
	return nil
}

func (p *Plan) setDuration(name, key string, d time.Duration) {
	switch {
	case key == "every":
		p.Every = d
	case name == "busy":
		p.Busy += d
	default:
		p.After += d
	}
}

// setText takes plain text, or a JSON string where commas are wanted.
func (p *Plan) setText(value string) error {
	if strings.HasPrefix(value, `"`) {
		if err := json.Unmarshal([]byte(value), &value); err != nil {
			return errors.New("no JSON string")
		}
	}
	if len(value) > wire.TextBytesMax {
		return fmt.Errorf("longer than %d bytes", wire.TextBytesMax)
	}
	p.Outcome.Text = value
	return nil
}

// plain is an error that a person can read.
func plain(err error) error {
	if err != nil {
		return errors.New("no integer of 64 bits")
	}
	return nil
}

// split cuts KEY=VALUE,KEY=VALUE apart.
func split(s string) (map[string]string, error) {
	pairs := map[string]string{}
	for s != "" {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no KEY=VALUE", s)
		}
		if _, twice := pairs[key]; twice {
			return nil, fmt.Errorf("%s comes twice", key)
		}
		length, err := valueBytes(key, rest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		pairs[key] = rest[:length]
		s = strings.TrimPrefix(rest[length:], ",")
	}
	return pairs, nil
}

// valueBytes is how long the value at the start of s is: to the comma, or to the
// end of a JSON text, or for then all of it.
func valueBytes(key, s string) (int, error) {
	if key == "then" {
		return len(s), nil
	}
	if !strings.HasPrefix(s, "{") && !strings.HasPrefix(s, "[") && !strings.HasPrefix(s, `"`) {
		if comma := strings.IndexByte(s, ','); comma >= 0 {
			return comma, nil
		}
		return len(s), nil
	}
	decoder := json.NewDecoder(strings.NewReader(s))
	var document json.RawMessage
	if err := decoder.Decode(&document); err != nil {
		return 0, fmt.Errorf("not JSON: %w", err)
	}
	length := int(decoder.InputOffset())
	if length < len(s) && s[length] != ',' {
		return 0, fmt.Errorf("a comma is missing before %q", s[length:])
	}
	return length, nil
}

func listed() string {
	var all []string
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
