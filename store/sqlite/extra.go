package sqlite

import (
	"encoding/json"
	"fmt"
	"time"

	"behest/command"
)

// The column `extra` is what few commands have, as JSON: who looks into the
// file can read it. Its shapes are its own, so that the file stays as it is
// when the API changes.
type extra struct {
	Labels     map[string]string `json:"labels,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Approval   *demand           `json:"approval,omitempty"`
	Rollout    *rollout          `json:"rollout,omitempty"`
	Automatic  *threshold        `json:"automatic,omitempty"`
	RollbackOf string            `json:"rollback_of,omitempty"`
	Forced     bool              `json:"forced,omitempty"`
	Restores   bool              `json:"restores,omitempty"`
	Resolved   []byte            `json:"resolved,omitempty"` // nil and empty are one
}

type demand struct {
	Approvers int    `json:"approvers"`
	Role      string `json:"role"`
	Solo      bool   `json:"solo,omitempty"`
}

type threshold struct {
	Percent int `json:"percent"`
	Minimum int `json:"minimum"`
}

type wave struct {
	Count   int `json:"count,omitempty"`
	Percent int `json:"percent,omitempty"`
}

type window struct {
	Cron     string `json:"cron"`
	Duration span   `json:"duration"`
	Zone     string `json:"time_zone,omitempty"`
}

type rollout struct {
	Waves          []wave     `json:"waves,omitempty"`
	RatePerMinute  int        `json:"rate_per_minute,omitempty"`
	WaveWithin     span       `json:"wave_within,omitempty"`
	AdvancePercent int        `json:"advance_percent,omitempty"`
	Halt           *threshold `json:"halt,omitempty"`
	RollbackOnHalt bool       `json:"rollback_on_halt,omitempty"`
	Window         *window    `json:"window,omitempty"`
}

// span is a duration as one writes it: 1h30m0s.
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*s = span(d)
	return err
}

// extraOf is the column's text, or nothing: most commands have none of it.
func extraOf(c *command.Command) (string, error) {
	undoes := c.RollbackOf != (command.ID{})
	if len(c.Labels) == 0 && c.Reason == "" && c.Approval == nil && c.Rollout == nil && c.Automatic == nil &&
		!undoes && !c.Forced && !c.Restores && len(c.Resolved) == 0 {
		return "", nil
	}
	e := extra{
		Labels: c.Labels, Reason: c.Reason, Approval: (*demand)(c.Approval), Rollout: rolloutOf(c.Rollout),
		Automatic: (*threshold)(c.Automatic), Forced: c.Forced, Restores: c.Restores,
		Resolved: c.Resolved,
	}
	if undoes {
		e.RollbackOf = c.RollbackOf.String()
	}
	text, err := json.Marshal(e)
	return string(text), err
}

func readExtra(text string, c *command.Command) error {
	if text == "" {
		return nil
	}
	var e extra
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return fmt.Errorf("column extra: %w", err)
	}
	c.Labels, c.Reason = e.Labels, e.Reason
	c.Approval, c.Automatic = (*command.Demand)(e.Approval), (*command.Threshold)(e.Automatic)
	c.Rollout, c.Forced, c.Restores, c.Resolved = e.Rollout.read(), e.Forced, e.Restores, e.Resolved
	if e.RollbackOf == "" {
		return nil
	}
	var err error
	if c.RollbackOf, err = command.ParseID(e.RollbackOf); err != nil {
		return fmt.Errorf("column extra: %w", err)
	}
	return nil
}

func rolloutOf(r *command.Rollout) *rollout {
	if r == nil {
		return nil
	}
	out := &rollout{
		RatePerMinute: r.RatePerMinute, WaveWithin: span(r.WaveWithin), AdvancePercent: r.AdvancePercent,
		Halt: (*threshold)(r.Halt), RollbackOnHalt: r.RollbackOnHalt,
	}
	for _, w := range r.Waves {
		out.Waves = append(out.Waves, wave(w))
	}
	if w := r.Window; w != nil {
		out.Window = &window{Cron: w.Cron, Duration: span(w.Duration), Zone: w.Zone}
	}
	return out
}

func (r *rollout) read() *command.Rollout {
	if r == nil {
		return nil
	}
	out := &command.Rollout{
		RatePerMinute: r.RatePerMinute, WaveWithin: time.Duration(r.WaveWithin), AdvancePercent: r.AdvancePercent,
		Halt: (*command.Threshold)(r.Halt), RollbackOnHalt: r.RollbackOnHalt,
	}
	for _, w := range r.Waves {
		out.Waves = append(out.Waves, command.Wave(w))
	}
	if w := r.Window; w != nil {
		out.Window = &command.Window{Cron: w.Cron, Duration: time.Duration(w.Duration), Zone: w.Zone}
	}
	return out
}
