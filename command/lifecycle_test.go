package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

//go:generate go test -run "Golden|Fresh|Stories" . -update

// TestLifecyclePageIsFresh holds docs/lifecycle.md against the tables that it
// is made from.
func TestLifecyclePageIsFresh(t *testing.T) {
	var b strings.Builder
	b.WriteString(lifecycleHead)
	statesSection(&b)
	diagramSection(&b)
	clocksSection(&b)
	causesSection(t, &b)
	b.WriteString(lifecycleTail)
	golden(t, b.String(), "../docs/lifecycle.md")
}

const lifecycleHead = `# The lifecycle of an execution

<!-- Written by the code from the table in command/moves.go: make gen. Edits here are lost. -->

An execution is a command on one device. It is always in one of the states below, each state has a clock that ends it,
and **only a report of the device leads to succeeded, failed or rejected.** What every state makes of every kind of
trigger is in [moves.txt](../command/testdata/moves.txt); whole lives, step by step, are in
[stories](../command/testdata/stories).
`

const lifecycleTail = `
## What a report is worth

| the execution is | the report says | the device is answered | what happens |
| --- | --- | --- | --- |
| open | something that the table lists | 2.04 | it moves, or its progress is kept |
| open | an older running (by its number n) | 2.04 | kept as an event, moves nothing |
| running | rejected | 4.09 | it had said that it started: kept as an event |
| ended by the device | the same status again | 2.04 | a repeat: the content that came first stays |
| ended by the device | another outcome | 4.09 | the first outcome wins: kept as an event |
| ended | running | 2.04 | kept as an event, moves nothing |
| timed_out, not settled | an outcome | 2.04 | late truth: it moves there, marked late |
| timed_out (silent), run_for left | running | 2.04 | it runs again, marked late, beside the head |
| timed_out, settled | anything | 2.04 | kept as an event: closed as unknown |
| fresh, not started; ended, being canceled, or past its start deadline | running | 4.09 | it must not start |

A completion implies delivery: UDP may bring it before the ACK. The effect of success is applied, whatever the report
adds. The effect of a rejection, and of a cancel that is not known to have started, is none. Everything else is what the
device says, and unknown if it does not say.
`

type stateText struct {
	state                  State
	setBy, meaning, effect string
}

var stateTexts = []stateText{
	{AwaitingApproval, "server", "held; its bytes never reach the wire", "none"},
	{Scheduled, "server", "allowed; waits for a time, a window, a wave, or the end of what it rolls back", "none"},
	{Queued, "server", "eligible; waits for its device or for its turn", "none"},
	{Sent, "server", "a transmission that carries it was released, no ACK yet", "unknown"},
	{Delivered, "transport", "the device's CoAP ACK came: a fact of the transport, nothing more", "unknown"},
	{Running, "**device**", "started; carries progress, code and text", "unknown"},
	{Canceling, "server", "somebody asked to stop it after its first transmission", "unknown"},
	{Succeeded, "**device only**", "acknowledged success", "applied"},
	{Failed, "**device only**", "attempted, without success", "as reported, else unknown"},
	{Rejected, "**device only**", "refused before it started; another try is a new command", "none"},
	{Denied, "person", "approval refused", "none"},
	{Canceled, "server if never sent, else **device**", "stopped", "none if it never started; else as reported, else unknown"},
	{Expired, "server", "a deadline passed and not one byte was ever released", "none, provably"},
	{TimedOut, "server", "sent, but no completion in time; late truth still counts until it is settled", "unknown"},
}

func statesSection(b *strings.Builder) {
	b.WriteString("\n## States\n\n| state | ended | set by | meaning | effect |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range stateTexts {
		ended := "no"
		if s.state.Ended() {
			ended = "yes"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", s.state, ended, s.setBy, s.meaning, s.effect)
	}
}

// diagramSection draws the table. What may happen anywhere, and what keeps
// the state, is said in words: arrows for it would hide the others.
func diagramSection(b *strings.Builder) {
	b.WriteString("\n## Moves\n\n```mermaid\nstateDiagram-v2\n    [*] --> awaiting_approval\n    [*] --> scheduled\n    [*] --> queued\n")
	for _, from := range States {
		for _, to := range States {
			var on []string
			for _, k := range Kinds {
				if moves[edge{from, k}] == to && from != to && k != Withdraw && k != Lose {
					on = append(on, k.String())
				}
			}
			if len(on) > 0 {
				fmt.Fprintf(b, "    %s --> %s : %s\n", from, to, strings.Join(on, ", "))
			}
		}
	}
	for _, s := range States {
		if s.Ended() {
			fmt.Fprintf(b, "    %s --> [*]\n", s)
		}
	}
	b.WriteString("```\n\nNot drawn:\n\n")
	for _, k := range []Kind{Withdraw, Lose} {
		into := map[State][]string{}
		for _, from := range States {
			if to, ok := moves[edge{from, k}]; ok {
				into[to] = append(into[to], "`"+from.String()+"`")
			}
		}
		for _, to := range []State{Canceled, TimedOut} {
			if len(into[to]) > 0 {
				fmt.Fprintf(b, "* %s: from %s to `%s`\n", k, strings.Join(into[to], ", "), to)
			}
		}
	}
	for _, from := range States {
		var on []string
		for _, k := range Kinds {
			if moves[edge{from, k}] == from {
				on = append(on, k.String())
			}
		}
		if len(on) > 0 {
			fmt.Fprintf(b, "* `%s` stays `%s` on: %s\n", from, from, strings.Join(on, ", "))
		}
	}
	b.WriteString("\nA pair of state and trigger that is not in the table is refused.\n")
}

type clockText struct {
	name   string
	value  time.Duration
	starts string
	lapse  Kind
}

var clockTexts = []clockText{
	{"approve_within", DefaultClocks.ApproveWithin, "creation", ApproveLapse},
	{"use_within", DefaultClocks.UseWithin, "approval; runs until the first release", UseLapse},
	{"hold_within", DefaultClocks.HoldWithin, "creation or approval, the later", HoldLapse},
	{"deliver_within", DefaultClocks.DeliverWithin, "the first time it is queued", DeliverLapse},
	{"deliver_within + run_for", DefaultClocks.DeliverWithin + DefaultClocks.RunFor, "the first time it is queued", UnreachedLapse},
	{"run_for", DefaultClocks.RunFor, "the first sign that the device has it: ACK or report", RunLapse},
	{"report_every", DefaultClocks.ReportEvery, "each running report, which may name its `next`; a grace of half of it, " +
		"at least 5 s, is added, and run_for still ends it", SilenceLapse},
	{"cancel_for", DefaultClocks.CancelFor, "the first ACK of a list that carries the cancel, at most 24 h; " +
		"until that ACK: deliver_within + run_for", CancelLapse},
	{"settle_for", DefaultClocks.SettleFor, "timed_out", SettleLapse},
}

func clocksSection(b *strings.Builder) {
	b.WriteString("\n## Clocks\n\nA type sets its own, a command may within the type's bounds. The least is ")
	fmt.Fprintf(b, "%s, the longest %s.\n\n", spell(ClockMin), spell(ClockMax))
	b.WriteString("| clock | default | starts | ends | in |\n| --- | --- | --- | --- | --- |\n")
	for _, c := range clockTexts {
		var from []string
		to := NoState
		for _, s := range States {
			if next, ok := moves[edge{s, c.lapse}]; ok {
				from, to = append(from, "`"+s.String()+"`"), next
			}
		}
		end := "`" + to.String() + "`"
		if cause := causeOf(from0(c.lapse), sample(c.lapse)); c.lapse == DeliverLapse {
			end += " with a cause"
		} else if cause != NoCause {
			end += " (" + cause.String() + ")"
		}
		if c.lapse == SettleLapse {
			end += ", closed as unknown"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", c.name, spell(c.value), c.starts, strings.Join(from, ", "), end)
	}
	b.WriteString("\n`not_before` is a gate, not an end: a scheduled execution is queued when it comes.\n")
}

// from0 is the first state that has a move on k.
func from0(k Kind) State {
	return States[slices.IndexFunc(States, func(s State) bool { _, ok := moves[edge{s, k}]; return ok })]
}

// spell is a duration as a person says it.
func spell(d time.Duration) string {
	switch {
	case d == 0:
		return "off"
	case d%(24*time.Hour) == 0 && d > 24*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d > time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

var causeTexts = map[Cause][2]string{
	NeverRegistered:    {"expired", "the device never registered"},
	NotObserving:       {"expired", "it registered, and observed nothing"},
	Unreachable:        {"expired, timed_out", "nobody answered there until the clocks had lapsed"},
	Asleep:             {"expired", "it sleeps, and gave no sign of life"},
	BehindOtherCommand: {"expired", "another command kept its place until then"},
	OutsideWindow:      {"expired", "no window opened in time"},
	Held:               {"expired", "it was scheduled for longer than hold_within"},
	ApprovalLapsed:     {"expired", "nobody approved it in time"},
	ApprovalUnused:     {"expired", "it was approved, and did not go out in time"},
	NoReport:           {"timed_out", "run_for lapsed without a completion"},
	Silent:             {"timed_out", "a running device missed its heartbeat"},
	Unacknowledged:     {"timed_out", "it goes once, and that exchange brought neither ACK nor report"},
	NotCanceled:        {"timed_out", "the cancel brought no completion in time"},
	DeviceRemoved:      {"canceled if never sent, else timed_out", "an operator removed the device"},
	NotEntitled:        {"canceled if never sent, else timed_out", "requester or device lost the right to it"},
	Restored:           {"timed_out", "the store was restored from a backup: what happened since is not known"},
	DeviceReset:        {"timed_out", "the device lost its memory; what never left stays in its queue"},
	IntegrityFailed:    {"canceled if never sent, else timed_out", "the stored bytes are not those that were accepted"},
	NothingToUndo:      {"canceled, of a rollback", "what it was to undo had no effect, or nobody knows the value before"},
	OutcomeUnknown:     {"canceled, of a rollback", "nobody knows what it was to undo, and it would change a value, not set one"},
	Superseded:         {"canceled, of a rollback", "a newer command has set the same"},
}

func causesSection(t *testing.T, b *strings.Builder) {
	b.WriteString("\n## Causes\n\n| cause | of | means |\n| --- | --- | --- |\n")
	for c := NeverRegistered; c < causeEnd; c++ {
		text, ok := causeTexts[c]
		if !ok {
			t.Errorf("cause %s is not explained", c)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", c, text[0], text[1])
	}
}

func TestThePageHasEveryStateAndClock(t *testing.T) {
	for i, s := range States {
		if i >= len(stateTexts) || stateTexts[i].state != s {
			t.Errorf("state %s is not explained in its place", s)
		}
	}
	for _, k := range Kinds {
		if k.isLapse() && !slices.ContainsFunc(clockTexts, func(c clockText) bool { return c.lapse == k }) {
			t.Errorf("no clock is shown for %q", k)
		}
	}
}
