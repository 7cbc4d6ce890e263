package main

import (
	"bytes"
	"encoding/json"
	"slices"

	"behest/bench/operator"
	"behest/firmware-sim/wire"
)

// ended are the states after a final report, by its status.
var ended = map[wire.Status]string{
	wire.Success: "succeeded", wire.Failure: "failed", wire.Rejected: "rejected", wire.Canceled: "canceled",
}

// checkCommand holds a command against what was asked for.
func (f *findings) checkCommand(a asked, c operator.Command) {
	if !sameJSON(c.Params, params(a.mark)) {
		f.wrong("command %d (%s) has params %s", a.mark, c.ID, c.Params)
	}
	there, want := slices.Sorted(slices.Values(c.Targets.Devices)), slices.Sorted(slices.Values(a.devices))
	if !slices.Equal(there, want) {
		f.wrong("command %d (%s) is for %v, not for %v", a.mark, c.ID, there, want)
	}
	f.checkCancel(a, c)
}

// checkCancel holds a command against the answer to its cancel: what was
// canceled without having left stays so, and a wish to stop is not forgotten.
func (f *findings) checkCancel(a asked, c operator.Command) {
	if !a.cancel.tried || a.cancel.fate != operator.Done {
		return
	}
	if c.Counts["canceled"] < a.cancel.unsent {
		f.lost("command %d (%s): %d executions were canceled, now %d are", a.mark, c.ID, a.cancel.unsent, c.Counts["canceled"])
	}
	if x := c.Execution; x != nil && a.cancel.canceled == "canceling" && (x.State == "sent" || x.State == "delivered" || x.State == "queued") {
		f.lost("command %d (%s): it was canceling, now it is %s", a.mark, c.ID, x.State)
	}
}

// checkReport holds an execution against a final report that was acknowledged.
func (f *findings) checkReport(s said, x operator.Execution) {
	want := ended[s.final]
	switch {
	case x.State == want:
	case slices.Contains([]string{"succeeded", "failed", "rejected", "canceled", "expired", "denied"}, x.State):
		f.wrong("%s: number %d was reported %v, and is %s", s.device, s.seq, s.final, x.State)
		return
	default: // open, or given up
		f.lost("%s: the report %v on number %d was acknowledged, and it is %s", s.device, s.final, s.seq, x.State)
		return
	}
	if s.final == wire.Success && !sameJSON(x.Result, result(s.mark)) {
		f.wrong("%s: number %d has the result %s", s.device, s.seq, x.Result)
	}
}

// checkArrival holds a device against its registration.
func (f *findings) checkArrival(a arrival, d operator.Device) {
	switch {
	case d.Registration == nil:
		f.lost("%s: its registration was acknowledged, and is not there", a.device)
	case d.Registration.Lifetime != a.lifetime:
		f.wrong("%s: registered for %d s, and has %d s", a.device, a.lifetime, d.Registration.Lifetime)
	}
}

// unknownNumber is the loss of a number that a device was given.
func (f *findings) unknownNumber(k number) {
	f.lost("%s: number %d was given to it, and the server does not know it", k.device, k.seq)
}

// sameJSON reports whether two documents have the same value.
func sameJSON(a, b json.RawMessage) bool {
	return bytes.Equal(canonical(a), canonical(b))
}

// canonical writes a document anew: keys in order, numbers as they stand.
func canonical(a json.RawMessage) []byte {
	dec := json.NewDecoder(bytes.NewReader(a))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}
