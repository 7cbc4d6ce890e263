package main

import (
	"strings"

	"github.com/anishathalye/porcupine"

	"behest/firmware-sim/wire"
)

// stand is how one command on one device stands, as histories are held
// against it.
type stand struct {
	sight
	needs int       // approvals
	said  [2]string // what each of the people decided
	done  uint32    // the changes that have taken effect, by number
}

var ended = map[string]bool{"succeeded": true, "failed": true, "rejected": true, "denied": true, "canceled": true, "expired": true, "timed_out": true}

// lifecycle is DESIGN's table of moves, as far as the histories go, written
// without a look at the server's.
var lifecycle = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{stand{}} },
	Step: func(state, in, out any) (next []any) {
		for _, s := range drift(state.(stand)) {
			if after, ok := s.step(in.(input), out.(output)); ok {
				next = append(next, after)
			}
		}
		return next
	},
	Equal: func(a, b any) bool { return a == b },
}).ToModel()

// drift is all that can become of a command while nobody does anything.
func drift(s stand) []stand {
	all := []stand{s}
	for n := 0; n < len(all); n++ {
		at := all[n]
		switch at.State {
		case "awaiting_approval":
			all = append(all, at.in("expired", "approval_lapsed"))
		case "queued":
			all = append(all, at.in("sent", ""))
		case "sent":
			all = append(all, at.in("delivered", ""))
		case "delivered", "running":
			all = append(all, at.in("timed_out", "no_report"))
		case "canceling":
			all = append(all, at.in("timed_out", "not_canceled"))
		}
	}
	return all
}

func (s stand) in(state, cause string) stand {
	s.State, s.Cause = state, cause
	return s
}

// step says what becomes of a command when that is asked and so answered, or
// that it cannot be answered so.
func (s stand) step(in input, out output) (stand, bool) {
	if in.kind == "read" {
		return s, s.sight == out.sight && (in.write == 0 || s.done>>in.write&1 == 1)
	}
	if strings.HasPrefix(out.code, "20") {
		s.done |= 1 << in.write
	}
	switch in.kind {
	case "issue":
		if s.needs = in.needs; s.needs > 0 {
			return s.in("awaiting_approval", ""), s.State == "" && out.code == "201"
		}
		return s.in("queued", ""), s.State == "" && out.code == "201"
	case "approve", "deny":
		return s.decide(in, out.code)
	case "cancel":
		return s.cancel(out.code)
	}
	return s.report(in.report, out.code)
}

// decide: distinct people, one deny is final, the same again changes nothing.
func (s stand) decide(in input, code string) (stand, bool) {
	who := 0
	if in.who == people[1] {
		who = 1
	}
	switch {
	case s.said[who] == in.kind:
		return s, code == "200"
	case s.said[who] != "" || s.State != "awaiting_approval":
		return s, code == "409"
	}
	s.said[who] = in.kind
	given := 0
	for _, said := range s.said {
		if said == "approve" {
			given++
		}
	}
	switch {
	case in.kind == "deny":
		s = s.in("denied", "")
	case given == s.needs:
		s = s.in("queued", "")
	}
	return s, code == "200"
}

func (s stand) cancel(code string) (stand, bool) {
	switch s.State {
	case "awaiting_approval", "queued":
		return s.in("canceled", ""), code == "200"
	case "sent", "delivered", "running":
		return s.in("canceling", ""), code == "200"
	}
	return s, code == "409"
}

// report: the first outcome wins, and what timed out is not over.
func (s stand) report(r wire.Report, code string) (stand, bool) {
	const kept, contradicts = "2.04", "4.09"
	outcome := map[wire.Status]string{wire.Success: "succeeded", wire.Failure: "failed", wire.Rejected: "rejected", wire.Canceled: "canceled"}[r.Status]
	switch {
	case s.State == "sent" || s.State == "delivered" || s.State == "running" || s.State == "canceling":
	case s.State == "timed_out" && r.Status != wire.Running:
		s.Late = true
	case ended[s.State] && (r.Status == wire.Running || s.State == outcome):
		return s, code == kept
	case ended[s.State]:
		return s, code == contradicts
	default:
		return s, false // it has no number yet, so nobody can report on it
	}
	switch {
	case r.Status == wire.Running && s.State == "canceling" && r.Code == nil:
		return s, code == kept
	case r.Status == wire.Running:
		return s.in("running", ""), code == kept
	case r.Status == wire.Rejected && s.State == "running":
		return s, code == contradicts
	}
	return s.in(outcome, ""), code == kept
}
