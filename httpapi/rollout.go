package httpapi

import (
	"time"

	"behest/command"
)

// rolloutOf turns the shape of a rollout into what it means.
func rolloutOf(b *Rollout) *command.Rollout {
	if b == nil {
		return nil
	}
	r := &command.Rollout{
		RatePerMinute: b.RatePerMinute, WaveWithin: time.Duration(b.WaveWithinSeconds) * time.Second,
		AdvancePercent: b.AdvancePercent, Halt: (*command.Threshold)(b.Halt), RollbackOnHalt: b.RollbackOnHalt,
	}
	for _, w := range b.Waves {
		r.Waves = append(r.Waves, command.Wave(w))
	}
	if w := b.Window; w != nil {
		r.Window = &command.Window{Cron: w.Cron, Duration: time.Duration(w.DurationSeconds) * time.Second, Zone: w.TimeZone}
	}
	return r
}

// viewRollout is the inverse.
func viewRollout(r *command.Rollout) *Rollout {
	if r == nil {
		return nil
	}
	out := &Rollout{
		RatePerMinute: r.RatePerMinute, WaveWithinSeconds: int64(r.WaveWithin / time.Second),
		AdvancePercent: r.AdvancePercent, Halt: (*Threshold)(r.Halt), RollbackOnHalt: r.RollbackOnHalt,
	}
	for _, w := range r.Waves {
		out.Waves = append(out.Waves, Wave(w))
	}
	if w := r.Window; w != nil {
		out.Window = &Window{Cron: w.Cron, DurationSeconds: int64(w.Duration / time.Second), TimeZone: w.Zone}
	}
	return out
}

// viewApprovals is what a command needs before it goes, and what was said.
func viewApprovals(v command.View) *Approvals {
	a := v.Command.Approval
	if a == nil {
		return nil
	}
	out := &Approvals{
		ApproversRequired: a.Approvers, Role: Role(a.Role), Solo: a.Solo, Decisions: make([]Decision, len(v.Decisions)),
		Deadline: timeOf(v.Command.CreatedAt.Add(v.Command.Clocks.ApproveWithin)),
	}
	for i, one := range v.Decisions {
		out.Decisions[i] = Decision{User: one.User, Decision: "deny", Comment: one.Comment, At: Time(one.At)}
		if one.Approve {
			out.Decisions[i].Decision = "approve"
			out.Decisions[i].Solo = one.User == v.Command.RequestedBy
		}
	}
	return out
}

func idOf(id command.ID) CommandID {
	if id == (command.ID{}) {
		return ""
	}
	return id.String()
}
