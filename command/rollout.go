package command

import "time"

// Limits of a rollout.
const (
	WavesMax         = 100
	RatePerMinuteMax = 1_000_000
	WindowMaxLength  = 7 * 24 * time.Hour
	CronBytesMax     = 128
)

// Rollout says how a command goes out to its devices: when, in which waves,
// how fast, and when to stop.
type Rollout struct {
	Waves          []Wave        `json:"waves,omitempty"` // what they leave over goes in a last one
	RatePerMinute  int           `json:"rate_per_minute,omitempty"`
	WaveWithin     time.Duration `json:"wave_within,omitempty"`     // 0: a wave may take as long as it takes
	AdvancePercent int           `json:"advance_percent,omitempty"` // of those let through, that must have ended; 0: all
	Halt           *Threshold    `json:"halt,omitempty"`
	RollbackOnHalt bool          `json:"rollback_on_halt,omitempty"`
	Window         *Window       `json:"window,omitempty"`
}

// Wave is a number of devices, or a share of all.
type Wave struct {
	Count   int `json:"count,omitempty"`
	Percent int `json:"percent,omitempty"`
}

// Threshold is a share of failures and unknowns among those that have ended,
// looked at once that many have.
type Threshold struct {
	Percent int `json:"percent"`
	Minimum int `json:"minimum"`
}

// Passed reports whether what a command came to is past the threshold.
func (t *Threshold) Passed(c Tally) bool { return t.passed(c.Toll()) }

func (t *Threshold) passed(n Toll) bool {
	return t != nil && n.Ended > 0 && n.Ended >= t.Minimum && n.Bad*100 >= t.Percent*n.Ended
}

// Toll is what a threshold looks at: how many have ended, and how many of them
// badly. What failed, was rejected or is unknown counts; what never reached a
// device says nothing about the command.
type Toll struct {
	Ended int `json:"ended,omitempty"`
	Bad   int `json:"bad,omitempty"`
}

// Toll is that of all executions.
func (t *Tally) Toll() Toll {
	return Toll{Ended: t.ended(), Bad: t.Count[Failed] + t.Count[Rejected] + t.Count[TimedOut]}
}

// since is the part of n that came after before. Late truth may have made it
// less.
func (n Toll) since(before Toll) Toll {
	return Toll{Ended: max(0, n.Ended-before.Ended), Bad: max(0, n.Bad-before.Bad)}
}

// Window is a time that comes again in which commands may leave: from each
// moment of a cron line, for a while.
type Window struct {
	Cron     string        `json:"cron"` // five fields
	Duration time.Duration `json:"duration"`
	Zone     string        `json:"time_zone,omitempty"` // IANA; empty: UTC
}

// Check names every fault of a rollout to that many devices, except those of
// its window, which whoever reads cron lines must judge.
func (r *Rollout) Check(fault func(pointer, format string, args ...any)) {
	if r == nil {
		return
	}
	if len(r.Waves) > WavesMax {
		fault("/rollout/waves", "are %d; at most %d are allowed", len(r.Waves), WavesMax)
	}
	percent := 0
	for _, w := range r.Waves {
		switch {
		case (w.Count > 0) == (w.Percent > 0), w.Count < 0, w.Percent < 0, w.Percent > 100, w.Count > TargetsMax:
			fault("/rollout/waves", "a wave is a count from 1, or a percent from 1 to 100")
		}
		percent += w.Percent
	}
	if percent > 100 {
		fault("/rollout/waves", "come to %d percent", percent)
	}
	if r.RatePerMinute < 0 || r.RatePerMinute > RatePerMinuteMax {
		fault("/rollout/rate_per_minute", "is not between 1 and %d", RatePerMinuteMax)
	}
	if r.WaveWithin < 0 || r.WaveWithin > ClockMax {
		fault("/rollout/wave_within_seconds", "is not between 1 and %d", ClockMax/time.Second)
	}
	if r.AdvancePercent < 0 || r.AdvancePercent > 100 {
		fault("/rollout/advance_percent", "is not between 1 and 100")
	}
	r.Halt.check("/rollout/halt", fault)
	if r.RollbackOnHalt && r.Halt == nil {
		fault("/rollout/rollback_on_halt", "nothing says when to halt")
	}
}

func (t *Threshold) check(at string, fault func(pointer, format string, args ...any)) {
	if t == nil {
		return
	}
	if t.Percent < 1 || t.Percent > 100 {
		fault(at+"/percent", "is not between 1 and 100")
	}
	if t.Minimum < 1 || t.Minimum > TargetsMax {
		fault(at+"/minimum", "is not between 1 and %d", TargetsMax)
	}
}
