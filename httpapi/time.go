package httpapi

import (
	"fmt"
	"time"
)

// timeLayout is how the API writes moments: RFC 3339, UTC, always three
// digits of milliseconds, so that they sort as text.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Time is a moment on its way in or out. It is read in any RFC 3339 form and
// written in the one of timeLayout.
type Time time.Time

// MarshalJSON writes t in UTC with milliseconds.
func (t Time) MarshalJSON() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, `"`+timeLayout+`"`), nil
}

// UnmarshalJSON reads a quoted RFC 3339 moment.
func (t *Time) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return fmt.Errorf("a moment is a string, not %.20s", b)
	}
	return t.UnmarshalText(b[1 : len(b)-1])
}

// UnmarshalText reads an RFC 3339 moment, as a query parameter has it.
func (t *Time) UnmarshalText(b []byte) error {
	got, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return fmt.Errorf("a moment is written like 2026-11-24T06:42:00.000Z: %w", err)
	}
	*t = Time(got.UTC())
	return nil
}

// Bind reads a moment for the generated code that takes parameters apart.
func (t *Time) Bind(s string) error { return t.UnmarshalText([]byte(s)) }

// timeOf is t as an optional field: nothing for the zero time.
func timeOf(t time.Time) *Moment {
	if t.IsZero() {
		return nil
	}
	return new(Time(t))
}
