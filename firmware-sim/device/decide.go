package device

import (
	"time"

	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"
)

// List is an open list, and when it came.
type List struct {
	Entries  []wire.Entry
	Received time.Time
}

// Expires is when an entry may no longer be started: its seconds count from
// receipt, on the device's own clock.
func (l List) Expires(e wire.Entry) time.Time { return l.Received.Add(wire.Seconds(e.Seconds)) }

// Move is what to do with an entry.
type Move uint8

// The moves, named for the rule that asks for them.
const (
	Stop      Move = iota + 1 // rule 1: a cancel of what is being worked on
	Repeat                    // rule 1: report the stored outcome again
	Interrupt                 // rule 1: it was taken on, and nobody knows what became of it
	Forgo                     // rule 2: canceled before it was started
	Expire                    // rule 3: its seconds have passed
	Start                     // rule 5
)

// String is the word for people and tests.
func (m Move) String() string {
	return [...]string{"none", "stop", "repeat", "interrupt", "forgo", "expire", "start"}[m]
}

// Action is a move on an entry.
type Action struct {
	Move  Move
	Entry wire.Entry
}

// Situation is what Decide looks at beside the list.
type Situation struct {
	Memory  storage.Memory
	Working func(seq uint32) bool   // is it being worked on?
	Ready   func(e wire.Entry) bool // could it be started now?
	Now     time.Time
}

// Decide says what to do with a list, by the rules of the contract.
func Decide(list List, s Situation) []Action {
	var actions []Action
	last := s.Memory.Last
	for _, e := range list.Entries {
		move := Move(0)
		switch _, concluded := s.Memory.Outcome(e.Seq); {
		case e.Seq <= last && s.Working(e.Seq):
			if !e.Cancel {
				continue
			}
			move = Stop
		case e.Seq <= last && concluded:
			move = Repeat
		case e.Seq <= last:
			move = Interrupt
		case e.Cancel:
			move = Forgo
		case !s.Now.Before(list.Expires(e)): // also 0 seconds: do not start
			move = Expire
		case !s.Ready(e):
			return actions // higher ones wait as well: last may not pass this one by
		default:
			move = Start
		}
		last = max(last, e.Seq)
		actions = append(actions, Action{Move: move, Entry: e})
	}
	return actions
}
