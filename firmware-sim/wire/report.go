package wire

import (
	"fmt"
	"math"
	"time"
)

// Status is what a report says of its execution.
type Status uint8

// The closed set: a device that knows only success and failure conforms.
const (
	Running Status = iota
	Success
	Failure
	Rejected
	Canceled
)

// String is the word that the contract uses.
func (s Status) String() string {
	words := [...]string{"running", "success", "failure", "rejected", "canceled"}
	if int(s) < len(words) {
		return words[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Final says whether a report of this status ends the execution.
func (s Status) Final() bool { return s != Running }

// Effect is what a device knows about what it did to the world.
type Effect uint8

// The four answers.
const (
	EffectNone Effect = iota
	EffectPartial
	EffectApplied
	EffectUnknown
)

// The generic codes that a device of this kind says by itself.
const (
	CodeExpired         = 1
	CodeUnsupportedType = 2
	CodeInterrupted     = 7
	CodeCannotCancel    = 10
)

// The contract's limits of a report.
const (
	TextBytesMax = 64
	ProgressMax  = 100
)

// nextMax is what a time.Duration holds, 292 years in seconds.
const nextMax = math.MaxInt64 / uint64(time.Second)

// Report is what a device says about an execution. Nil means absent.
type Report struct {
	Status   Status
	Progress *uint8 // percent
	Code     *int64
	Text     string
	Result   []byte // one CBOR item
	Effect   *Effect
	Next     *uint64 // seconds until the next report
	Prev     []byte  // one CBOR item: the value before
	N        *uint64 // number of the report in this execution
}

// The keys of a report.
const (
	reportStatus = iota + 1
	reportProgress
	reportCode
	reportText
	reportResult
	reportEffect
	reportNext
	reportPrev
	reportN
)

// Append writes the report.
func (r Report) Append(dst []byte) []byte {
	var m mapping
	m.uint(reportStatus, uint64(r.Status))
	if r.Progress != nil {
		m.uint(reportProgress, uint64(*r.Progress))
	}
	if r.Code != nil {
		m.raw(reportCode, appendInt(nil, *r.Code))
	}
	if r.Text != "" {
		m.raw(reportText, appendText(nil, r.Text))
	}
	m.raw(reportResult, r.Result)
	if r.Effect != nil {
		m.uint(reportEffect, uint64(*r.Effect))
	}
	if r.Next != nil {
		m.uint(reportNext, *r.Next)
	}
	m.raw(reportPrev, r.Prev)
	if r.N != nil {
		m.uint(reportN, *r.N)
	}
	return m.append(dst)
}

// DecodeReport reads a report. As the contract wants of a receiver, only the
// status decides whether a report counts: what else is of the wrong type or out
// of its range is left out of the value, and odd says that there was some.
func DecodeReport(b []byte) (r Report, odd bool, err error) {
	h, rest, err := readHead(b)
	if err != nil {
		return Report{}, false, err
	}
	if h.major != majorMap {
		return Report{}, false, fmt.Errorf("%w: the report is no map", ErrMalformed)
	}
	hasStatus := false
	rest, err = eachPair(rest, h.arg, depthMax-1, func(key, value []byte) error {
		k, ok := whole(key, majorUint)
		hasStatus = hasStatus || (ok && k == reportStatus)
		switch good := ok && r.set(k, value); {
		case !good && ok && k == reportStatus:
			return fmt.Errorf("%w: status", ErrMalformed)
		case !good:
			odd = true
		}
		return nil
	})
	switch {
	case err != nil:
		return Report{}, false, err
	case len(rest) > 0:
		return Report{}, false, fmt.Errorf("%w: %d bytes behind the report", ErrMalformed, len(rest))
	case !hasStatus:
		return Report{}, false, fmt.Errorf("%w: no status", ErrMalformed)
	}
	return r, odd, nil
}

// set stores the value of one key and says whether it was of its type and in
// its range. Unknown keys are ignored.
func (r *Report) set(key uint64, value []byte) bool {
	n, isUint := whole(value, majorUint)
	switch key {
	case reportStatus:
		r.Status = Status(n)
		return isUint && n <= uint64(Canceled)
	case reportProgress:
		return isUint && n <= ProgressMax && store(&r.Progress, uint8(n))
	case reportCode:
		if minus, ok := whole(value, majorNegative); ok {
			return minus <= math.MaxInt64 && store(&r.Code, -1-int64(minus))
		}
		return isUint && n <= math.MaxInt64 && store(&r.Code, int64(n))
	case reportText:
		s, ok := text(value)
		if ok = ok && len(s) <= TextBytesMax; ok {
			r.Text = s
		}
		return ok
	case reportResult:
		r.Result = value
	case reportEffect:
		return isUint && n <= uint64(EffectUnknown) && store(&r.Effect, Effect(n))
	case reportNext:
		if isUint && n > 0 { // 0 says nothing
			r.Next = new(min(n, nextMax))
		}
		return isUint
	case reportPrev:
		r.Prev = value
	case reportN:
		return isUint && n <= math.MaxUint32 && store(&r.N, n)
	}
	return true
}

// store keeps a value that was found to be good.
func store[T any](field **T, value T) bool {
	*field = &value
	return true
}
