package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"behest/bench/operator"
)

// line counts one kind of operation by what its client was told.
type line struct {
	kind                             string
	acknowledged, refused, unreached int
	unknown, happened                int // unknown to the client; of these, there in the end
}

// summary is what a campaign came to.
type summary struct {
	kills, early  int
	took          time.Duration
	lines         []line
	again         int // requests under a key that were sent again
	looked        int // comparisons after restarts
	lives         int // of the fleet's devices
	effects       int
	executions    int
	faults        [classes]int
	first         []string
	ready         []time.Duration // sorted
	sound         string
	least, kinds  int // acknowledged operations that there must be, in all and of each kind
	wantsUnknowns bool
}

// What must have happened before "0 lost" says anything. A kill that meets no
// traffic tests nothing; the figures are a tenth of what a loaded machine does.
const (
	acknowledgedPerKill = 10
	kindKills           = 4 // one of each kind in so many kills
	// Below so many kills it may be by chance that no unknown request happened.
	killsForUnknowns = 40
)

// summarise counts.
func (c *campaign) summarise(a *audit, f *fleet, sound string, took time.Duration) summary {
	s := summary{
		kills: c.kills, early: c.early, took: took, looked: c.looked, lives: int(f.lives.Load()),
		faults: c.found.counts(), first: c.found.first(), ready: slices.Sorted(slices.Values(c.readied)), sound: sound,
		least: acknowledgedPerKill * c.kills, kinds: max(1, c.kills/kindKills), wantsUnknowns: c.kills >= killsForUnknowns,
		executions: len(a.executions),
	}
	r := c.record
	r.mu.Lock()
	defer r.mu.Unlock()
	s.again = r.again
	s.lines = []line{a.issues(), a.cancels(), a.registrations(), a.reports()}
	for _, effects := range a.effects {
		s.effects += len(effects)
	}
	return s
}

func (l *line) add(fate operator.Fate, happened bool) {
	switch fate {
	case operator.Done:
		l.acknowledged++
	case operator.Refused:
		l.refused++
	case operator.Unreached:
		l.unreached++
	default:
		l.unknown++
		if happened {
			l.happened++
		}
	}
}

func (a *audit) issues() line {
	l := line{kind: "commands issued"}
	for _, k := range a.record.asks {
		l.add(k.fate, len(a.byMark[k.mark]) > 0)
	}
	return l
}

func (a *audit) cancels() line {
	l := line{kind: "cancels"}
	for _, k := range a.record.asks {
		if k.cancel.tried {
			c := a.byID[k.id]
			l.add(k.cancel.fate, c.Counts["canceled"]+c.Counts["canceling"] > 0)
		}
	}
	return l
}

func (a *audit) registrations() line {
	l := line{kind: "registrations"}
	for _, ar := range a.record.arrivals {
		fate := operator.Unknown
		if ar.acked {
			fate = operator.Done
		}
		d, there := a.devices[ar.device]
		l.add(fate, there && d.Registration != nil)
	}
	return l
}

func (a *audit) reports() line {
	l := line{kind: "final reports"}
	for k, s := range a.record.numbers {
		switch {
		case s.acked:
			l.add(operator.Done, true)
		case s.tried:
			l.add(operator.Unknown, a.executions[k].State == ended[s.final])
		}
	}
	return l
}

// print says it all.
func (s summary) print(w io.Writer) {
	fmt.Fprintf(w, "%d kills, %d of them during a start, in %v\n\n", s.kills, s.early, s.took.Round(time.Second))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tacknowledged\trefused\tnot reached\tunknown\tof which had happened\t")
	for _, l := range s.lines {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t\n", l.kind, l.acknowledged, l.refused, l.unreached, l.unknown, l.happened)
	}
	t.Flush()
	fmt.Fprintf(w, "\n%d requests sent again under their key; %d device lives; %d executions sent, %d effects on the world\n",
		s.again, s.lives, s.executions, s.effects)
	fmt.Fprintf(w, "%d comparisons right after a restart, and everything at the end\n", s.looked)
	if n := len(s.ready); n > 0 {
		fmt.Fprintf(w, "time to ready: p50 %v, p99 %v, longest %v, of %d starts\n",
			s.ready[n/2].Round(time.Millisecond), s.ready[n*99/100].Round(time.Millisecond), s.ready[n-1].Round(time.Millisecond), n)
	}
	fmt.Fprintf(w, "\nserver check:\n%s\n", s.sound)
	fmt.Fprintf(w, "\nlost %d, wrong %d, double %d\n", s.faults[lost], s.faults[wrong], s.faults[double])
	for _, text := range s.first {
		fmt.Fprintln(w, "  "+text)
	}
}

// verdict is nil if nothing was lost and enough happened to say so.
func (s summary) verdict() error {
	var errs []error
	for c := range classes {
		if n := s.faults[c]; n > 0 {
			errs = append(errs, fmt.Errorf("%d %v", n, c))
		}
	}
	return errors.Join(append(errs, s.enough())...)
}

// enough says what did not happen often enough.
func (s summary) enough() error {
	var errs []error
	all, unknown, happened := 0, 0, 0
	for _, l := range s.lines {
		all, unknown, happened = all+l.acknowledged, unknown+l.unknown, happened+l.happened
		if l.acknowledged < s.kinds {
			errs = append(errs, fmt.Errorf("too little to judge by: %d %s acknowledged, at least %d are needed", l.acknowledged, l.kind, s.kinds))
		}
	}
	if all < s.least {
		errs = append(errs, fmt.Errorf("too little to judge by: %d operations acknowledged, at least %d are needed", all, s.least))
	}
	if s.wantsUnknowns && (unknown == 0 || happened == 0) {
		errs = append(errs, fmt.Errorf("the kills hit nothing: %d unknowns, of which %d had happened", unknown, happened))
	}
	return errors.Join(errs...)
}
