package dispatch

import (
	"context"
	"errors"
	"slices"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Report takes what device name says about its execution seq. When it answers
// nil, that is on disk, and the device may forget it. A contradiction is kept
// as an event, and refused.
func (d *Dispatcher) Report(ctx context.Context, name string, from device.Speaker, seq uint32, r command.Report) error {
	answer, err := d.take(ctx, name, from, seq, r, false)
	if large := new(unjudged); errors.As(err, &large) {
		if r.Invalid, err = d.invalid(large.command, r.Result); err != nil {
			return err
		}
		answer, err = d.take(ctx, name, from, seq, r, true)
	}
	if err != nil {
		return err
	}
	return answer
}

// take takes a report in a commit, with its result judged before or not.
func (d *Dispatcher) take(ctx context.Context, name string, from device.Speaker, seq uint32, r command.Report, judged bool) (answer, err error) {
	_, err = d.visit(ctx, ledger.Reports, claimed(name, from, byName(name)), func(v *visit) (err error) {
		if err := v.heard(from); err != nil {
			return err
		}
		answer, err = v.report(seq, r, judged)
		return err
	})
	return answer, err
}

// unjudged is why a report with a large result left no trace: to hold it against
// its type may take a second, for which no commit waits. Which command a number
// stands for never changes, so what is found out holds in the next commit.
type unjudged struct{ command *command.Command }

func (u *unjudged) Error() string { return "a large result is to be judged first" }

// report steps the execution by r. The answer is the device's; what it is
// told no about can still have left an event.
func (v *visit) report(seq uint32, r command.Report, judged bool) (answer, err error) {
	x, err := v.bySeq(seq)
	if command.CodeOf(err) == command.CodeNotFound {
		return command.Errorf(command.CodeNotFound, "no such sequence"), v.orphan(seq, r)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case judged:
	case x.Command.Policy.Large && len(r.Result) > command.ResultBytesMax:
		return nil, &unjudged{x.Command}
	default:
		if r.Invalid, err = v.d.invalid(x.Command, r.Result); err != nil {
			return nil, err
		}
	}
	if seq > v.dev.ReportedSeq {
		v.dev.ReportedSeq, v.dirty = seq, true
	}
	v.reported = seq
	after, verdict := x.Step(command.Reported(r, x.State), v.now)
	switch verdict {
	case command.Moved, command.Kept:
		return nil, v.accept(x, after)
	case command.Noted:
		return nil, v.logReport(command.EventLateReport, x, r)
	case command.Contradicted:
		return command.Errorf(command.CodeContradiction, "it is %s", x.State), v.logReport(command.EventContradicted, x, r)
	case command.Refused:
		return command.Errorf(command.CodeNotFound, "no such sequence"), nil
	}
	return nil, nil // repeated
}

// bySeq finds an execution among what is open, which the turn needs anyway,
// else among what has ended.
func (v *visit) bySeq(seq uint32) (command.Execution, error) {
	open, err := v.tx.Open(v.dev.Handle)
	if err != nil {
		return command.Execution{}, err
	}
	v.open = slices.Grow(open, 1)
	at := slices.IndexFunc(v.open, func(x command.Execution) bool { return seq != 0 && x.Seq == seq })
	if at < 0 {
		return v.tx.ExecutionBySeq(v.dev.Handle, seq)
	}
	return v.open[at], nil
}

// accept stores a report that counts. The one before it goes to the history.
func (v *visit) accept(before, after command.Execution) error {
	if !before.ReportedAt.IsZero() {
		if err := v.tx.AddReport(before.N, command.PastReport{At: before.ReportedAt, Report: before.Last}); err != nil {
			return err
		}
	}
	if err := v.store(before, &after, ""); err != nil {
		return err
	}
	if after.State != before.State {
		return nil // the move is an event
	}
	return v.logReport(command.EventProgress, after, after.Last)
}

// logReport keeps a report as an event.
func (v *visit) logReport(kind command.EventType, x command.Execution, r command.Report) error {
	m := map[string]any{"status": r.Status.String()}
	reportFacts(m, r)
	return v.log(kind, x, "", m)
}

// orphan keeps word of a report on a number that nobody knows: a sign that
// the store was rolled back, if the device is not just confused.
func (v *visit) orphan(seq uint32, r command.Report) error {
	if !v.d.orphans.AllowN(v.now, 1) {
		return nil
	}
	return v.logDevice(command.EventOrphaned, "", map[string]any{"seq": seq, "status": r.Status.String()})
}

// invalid reports whether a result is not what the command's type allows. It
// counts all the same, and is kept: the device did act.
func (d *Dispatcher) invalid(c *command.Command, result []byte) (bool, error) {
	switch {
	case result == nil:
		return false, nil
	case !c.Policy.Large && len(result) > command.ResultBytesMax:
		return true, nil
	}
	t, err := d.typeOf(context.Background(), c)
	if err != nil {
		return false, err
	}
	return t.Result != nil && !d.schemas.Result(t, result), nil
}
