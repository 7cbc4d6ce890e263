package sqlite

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// commitBounds are the upper bounds of the classes that commits fall into by
// the time that COMMIT took: an NVMe disk is in the first ones, a memory card
// in the last.
var commitBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, time.Second,
}

// Stats are counts since the store was opened.
type Stats struct {
	Commits  int64 // groups that are on disk
	Members  int64 // units of work in them
	Events   int64 // events in them
	Refused  int64 // units of work that failed by themselves
	Doubts   int64 // commits whose outcome was unknown
	Waiting  [ledger.LaneEnd]int
	Removed  ledger.Removed              // by retention
	InCommit time.Duration               // time spent in COMMIT
	ByTime   []Class                     // commits by the time that COMMIT took
	ByType   map[command.EventType]int64 // events by what happened
}

// Class counts the commits that took at most Bound, those of the classes
// before it not included. The last one has no bound, which zero says.
type Class struct {
	Bound time.Duration
	Count int64
}

type stats struct {
	commits, members, events, refused, doubts, inCommit atomic.Int64
	byTime                                              [len(commitBounds) + 1]atomic.Int64

	mu     sync.Mutex
	gone   ledger.Removed
	byType map[command.EventType]int64
}

// removed counts what retention took.
func (s *stats) removed(r ledger.Removed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone.Add(r)
}

// committed counts a group that is on disk.
func (s *stats) committed(members int, events []command.Event, took time.Duration) {
	s.commits.Add(1)
	s.members.Add(int64(members))
	s.events.Add(int64(len(events)))
	s.count(events)
	s.inCommit.Add(int64(took))
	class := 0
	for class < len(commitBounds) && took > commitBounds[class] {
		class++
	}
	s.byTime[class].Add(1)
}

func (s *stats) count(events []command.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byType == nil {
		s.byType = map[command.EventType]int64{}
	}
	for i := range events {
		s.byType[events[i].Type]++
	}
}

// Stats answers with the counts as they are.
func (s *Store) Stats() Stats {
	out := Stats{
		Commits: s.stats.commits.Load(), Members: s.stats.members.Load(), Events: s.stats.events.Load(),
		Refused: s.stats.refused.Load(), Doubts: s.stats.doubts.Load(),
		Waiting: s.queue.length(), InCommit: time.Duration(s.stats.inCommit.Load()),
	}
	s.stats.mu.Lock()
	out.Removed, out.ByType = s.stats.gone, maps.Clone(s.stats.byType)
	s.stats.mu.Unlock()
	for i := range s.stats.byTime {
		var bound time.Duration
		if i < len(commitBounds) {
			bound = commitBounds[i]
		}
		out.ByTime = append(out.ByTime, Class{Bound: bound, Count: s.stats.byTime[i].Load()})
	}
	return out
}
