package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"behest/cbor"
	"behest/command"
	"behest/device"
)

// targetsShown is how many of a command's targets an answer repeats. A page of
// 500 commands to 100,000 devices each would be half a gigabyte.
const targetsShown = 500

// viewCommand is a command as the contract shows it.
func viewCommand(v command.View) Command {
	c := v.Command
	out := Command{
		ID: c.ID.String(), Type: c.Type, TypeVersion: c.TypeVersion,
		Targets: Targets{
			Devices: c.Targets.Devices[:min(len(c.Targets.Devices), targetsShown)], Groups: c.Targets.Groups,
			Selector: c.Targets.Selector, All: TargetsAll(c.Targets.All),
		},
		DeviceCount: c.Devices,
		Labels:      c.Labels, State: CommandState(v.State()), Settled: v.Tally.Settled(),
		Effect: Effect(effectOf(v).String()), Digest: digestOf(v),
		RequestedBy: c.RequestedBy, Reason: c.Reason,
		CreatedAt: Time(c.CreatedAt), ExpiresAt: Time(c.ExpiresAt()), NotBefore: timeOf(c.NotBefore),
		DeliverWithinSeconds: int64(c.Clocks.DeliverWithin / time.Second),
		RunForSeconds:        int64(c.Clocks.RunFor / time.Second),
		Counts:               Counts{},
	}
	out.Params = paramsOf(c.Params)
	if o := v.Tally.Outcome(); o != command.Open {
		out.Outcome = new(Outcome(o))
	}
	if v.Tally.Pending > 0 {
		out.Pending = &v.Tally.Pending
	}
	out.Refused = viewRefused(v.Refused)
	out.Rollout, out.Approvals = viewRollout(c.Rollout), viewApprovals(v)
	if g := v.Gate; g != nil && c.Rollout != nil && g.State < command.GateClosed {
		out.RolloutProgress = &Progress{Wave: g.Wave + 1, DevicesThrough: g.Through}
	}
	out.RollbackOf, out.RolledBackBy = idOf(c.RollbackOf), idOf(v.RolledBackBy)
	for _, t := range v.Own {
		out.Restores = append(out.Restores, Restore{Device: t.Device, Params: paramsOf(t.Params)})
	}
	for _, s := range command.States {
		if n := v.Tally.Count[s]; n > 0 {
			out.Counts[s.String()] = n
		}
	}
	if v.Only != nil {
		out.Execution = new(viewExecution(*v.Only))
	}
	return out
}

// paramsOf are params as JSON says them; nil: there are none.
func paramsOf(item []byte) json.RawMessage {
	if len(item) == 0 {
		return nil
	}
	raw, _ := cbor.ToJSON(item)
	return raw
}

// effectOf sums up what is known of the effect on all devices, of the open
// ones included: what is on its way may have acted already.
func effectOf(v command.View) command.Effect {
	if v.Only != nil {
		return v.Only.Effect
	}
	n := v.Tally.Effects
	for _, s := range command.States {
		switch {
		case s.OnWire():
			n[command.EffectUnknown] += v.Tally.Count[s]
		case s.Unsent():
			n[command.EffectNone] += v.Tally.Count[s]
		}
	}
	n[command.EffectNone] += v.Tally.Pending
	all := v.Tally.Total() + v.Tally.Pending
	switch {
	case n[command.EffectUnknown] > 0:
		return command.EffectUnknown
	case n[command.EffectNone] == all:
		return command.EffectNone
	case n[command.EffectApplied] == all:
		return command.EffectApplied
	}
	return command.EffectPartial
}

// digestOf is the command's digest as approvers name it.
func digestOf(v command.View) string {
	sum := v.Digest()
	if sum == nil {
		return "" // accepted by a version that kept none
	}
	return "sha256:" + hex.EncodeToString(sum)
}

// viewIssued is a command that was just accepted.
func viewIssued(i command.Issued) Command {
	out := viewCommand(i.View)
	out.Refused = viewRefused(i.Refused)
	return out
}

func viewRefused(list []command.Refusal) []Refusal {
	var out []Refusal
	for _, r := range list {
		out = append(out, Refusal{Device: r.Device, Code: ErrorCode(r.Code)})
	}
	return out
}

// viewExecution is an execution as the contract shows it.
func viewExecution(x command.Execution) Execution {
	out := Execution{
		Command: x.Command.ID.String(), Device: x.Name, State: ExecutionState(x.State.String()),
		Effect: Effect(x.Effect.String()), Late: x.Late,
		Settled:  x.State.Ended() && (x.State != command.TimedOut || x.Settled),
		Attempts: x.Attempts, Text: x.Last.Text, Code: x.Last.Code, Progress: progressOf(x.Last),
		QueuedAt: timeOf(x.QueuedAt), SentAt: timeOf(x.SentAt), DeliveredAt: timeOf(x.DeliveredAt),
		StartedAt: timeOf(x.StartedAt), ReportedAt: timeOf(x.ReportedAt), EndedAt: timeOf(x.EndedAt),
	}
	if x.Seq != 0 {
		out.Seq = new(int64(x.Seq))
	}
	if x.Cause != command.NoCause {
		out.Cause = new(Cause(x.Cause.String()))
	}
	out.Result, out.ResultValid = resultOf(x.Last)
	out.Params = paramsOf(x.Params)
	return out
}

// viewReports are the reports on x as the contract shows them.
func viewReports(x command.Execution, list []command.PastReport) []Report {
	out := make([]Report, len(list))
	for i, p := range list {
		r := Report{
			At: Time(p.At), Status: ReportStatus(p.Status.String()), Progress: progressOf(p.Report),
			Code: p.Code, Text: p.Text, Late: x.Late && !x.EndedAt.IsZero() && !p.At.Before(x.EndedAt),
		}
		if p.N != nil {
			r.N = new(int64(*p.N))
		}
		if p.Effect != nil {
			r.Effect = new(Effect(p.Effect.String()))
		}
		if p.Next > 0 {
			r.NextSeconds = new(int64(p.Next / time.Second))
		}
		if p.Prev != nil {
			r.Prev, _ = cbor.ToJSON(p.Prev)
		}
		r.Result, r.ResultValid = resultOf(p.Report)
		out[i] = r
	}
	return out
}

func progressOf(r command.Report) *int {
	if r.Progress == nil {
		return nil
	}
	return new(int(*r.Progress))
}

// resultOf is the result in a report, and whether it is what the device meant
// and its type allows. Of a report that was off in some field, the whole is
// shown.
func resultOf(r command.Report) (json.RawMessage, *bool) {
	switch {
	case r.Odd != nil:
		return json.RawMessage(`{"$cbor":"` + hex.EncodeToString(r.Odd) + `"}`), new(false)
	case r.Result == nil:
		return nil, nil
	}
	raw, valid := cbor.ToJSON(r.Result)
	return raw, new(valid && !r.Invalid)
}

// viewDevice is a device as the contract shows it at now.
func viewDevice(v device.View, now time.Time) Device {
	out := Device{
		ID: v.Name, Online: v.Online(now), SeenAt: timeOf(v.SeenAt), Open: v.Open, LastSeq: int64(v.LastSeq),
		Labels: v.Labels, CreatedAt: Time(v.CreatedAt),
	}
	if v.AckTimeout > 0 {
		out.AckTimeoutSeconds = new(v.AckTimeout.Seconds())
	}
	if v.Awake > 0 {
		out.AwakeSeconds = new(int(v.Awake / time.Second))
	}
	if v.Registered() {
		reg := v.Registration
		out.Registration = &Registration{
			At: Time(reg.At), LifetimeSeconds: int64(reg.Lifetime / time.Second),
			ExpiresAt: Time(reg.At.Add(reg.Lifetime)), Window: v.Window(), Params: reg.Params, Links: reg.Links,
		}
	}
	if v.Observing() {
		o := v.Observation
		out.Observation = &Observation{At: Time(o.At), Remote: o.Remote.String(), Suspended: o.Suspended}
	}
	return out
}
