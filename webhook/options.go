package webhook

import (
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// Bounds of one delivery.
const (
	answerBytesMax     = 4 << 10 // of a body, which nobody reads: enough to use the connection again
	answerHeadBytesMax = 16 << 10
	retryAfterMax      = 24 * time.Hour // longer than the longest wait of the schedule is another way to say 410
	jitterShare        = 5              // a wait is prolonged by up to a fifth, so that what failed together does not come back together
)

// AttemptsMax bounds the attempts to deliver one event.
const AttemptsMax = 100

// Schedule is how long is waited after each attempt unless Options say
// otherwise: the one that Standard Webhooks recommends, ten attempts over 75
// hours.
func Schedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// Options of a Service. The zero value is the default.
type Options struct {
	Logger   *slog.Logger
	Schedule []time.Duration // waits between attempts; nil: Schedule(). When it is over, an event is given up
	Timeout  time.Duration   // of an attempt as a whole; 0: 15 s
	InFlight int             // attempts to one hook at a time; 0: 8
	Batch    int             // events that a hook is told before its place moves on; 0: 64
	Overlap  time.Duration   // after a rotation, for so long the former secret signs too; 0: 24 h
	Settle   time.Duration   // what was taken is stored at least so often; 0: 1 s
	Pace     time.Duration   // least time between two looks into the log; 0: 50 ms, or 100 hooks on a busy log do nothing but look
	Pause    time.Duration   // after the store failed; 0: 1 s
	Poll     time.Duration   // between two looks at what hooks there are, beside being told; 0: 30 s
	Grace    time.Duration   // for what is under way at the end; 0: 5 s

	Resolver *net.Resolver  // nil: the system's
	Roots    *x509.CertPool // who may vouch for receivers; nil: whom the system trusts
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Schedule == nil {
		o.Schedule = Schedule()
	}
	o.Schedule = slices.Clone(o.Schedule[:min(len(o.Schedule), AttemptsMax-1)])
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{
		{&o.Timeout, 15 * time.Second}, {&o.Overlap, 24 * time.Hour}, {&o.Settle, time.Second},
		{&o.Pace, 50 * time.Millisecond}, {&o.Pause, time.Second}, {&o.Poll, 30 * time.Second}, {&o.Grace, 5 * time.Second},
	} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if o.InFlight <= 0 {
		o.InFlight = 8
	}
	if o.Batch <= 0 {
		o.Batch = 64
	}
}

// next is when an event is tried again after so many attempts, the last of
// them just now, if it is.
func (o *Options) next(attempts int, asked time.Duration, now time.Time) (at time.Time, again bool) {
	if attempts > len(o.Schedule) {
		return time.Time{}, false
	}
	wait := o.Schedule[attempts-1]
	wait += rand.N(wait/jitterShare + 1)
	return now.Add(max(wait, min(asked, retryAfterMax))), true
}
