package cbor

import (
	"bytes"
	"math"
	"time"
	"unicode/utf8"

	fx "github.com/fxamacker/cbor/v2"

	"behest/command"
)

// Keys of a report.
const (
	reportStatus   = 1
	reportProgress = 2
	reportCode     = 3
	reportText     = 4
	reportResult   = 5
	reportEffect   = 6
	reportNext     = 7
	reportPrev     = 8
	reportN        = 9
)

// progressMax is all of it, in percent.
const progressMax = 100

// secondsMax is the longest time that a time.Duration holds in whole seconds,
// 292 years. What is longer means as much: no clock of ours runs past one.
const secondsMax = math.MaxInt64 / int64(time.Second)

// DecodeReport reads a report from a device. It is strict about CBOR and about
// key 1, and lenient about all else: see Report.Odd.
//
// Result and Prev may be as long as command.LargeResultBytesMax. Whether a type
// allows that much is for the caller to check, who has len(r.Result) and b for
// it.
func DecodeReport(b []byte) (command.Report, error) {
	if len(b) > command.ReportBytesMax {
		return command.Report{}, command.Errorf(command.CodeTooLarge, "a report has at most %d bytes", command.ReportBytesMax)
	}
	said, whole, err := decodeFields(b)
	if err != nil {
		return command.Report{}, err
	}
	if !isA(majorMap, b) {
		return command.Report{}, malformed("a report is a map")
	}
	status, ok := said[key{uint64(reportStatus)}]
	if !ok {
		return command.Report{}, malformed("no status (key 1)")
	}
	n, ok := status.uint(uint64(command.StatusCanceled))
	if !ok {
		return command.Report{}, malformed("status (key 1) is not 0 to 4")
	}
	r := command.Report{Status: command.Status(n)}
	for k, f := range said {
		number, named := k.value.(uint64)
		whole = named && setField(&r, number, f) && whole
	}
	if !whole {
		r.Odd = bytes.Clone(b)
	}
	return r, nil
}

// setField puts a field into r and says whether it is as the contract has it;
// if not, r is left as it was. A key that the contract does not name is none of
// our business.
func setField(r *command.Report, number uint64, f field) (ok bool) {
	var n uint64
	switch number {
	case reportProgress:
		if n, ok = f.uint(progressMax); ok {
			r.Progress = new(uint8(n))
		}
	case reportCode:
		code, negative := f.value.(int64)
		if n, ok = f.uint(math.MaxInt64); ok {
			code = int64(n)
		}
		if ok = ok || negative; ok {
			r.Code = &code
		}
	case reportText:
		text, isText := f.value.(string)
		if ok = isText && len(text) <= command.TextBytesMax; ok {
			r.Text = text
		}
	case reportResult:
		if ok = f.raw != nil && len(f.raw) <= command.LargeResultBytesMax; ok {
			r.Result = f.raw
		}
	case reportEffect:
		if n, ok = f.uint(uint64(command.EffectUnknown)); ok {
			r.Effect = new(command.Effect(n))
		}
	case reportNext:
		if n, ok = f.uint(math.MaxUint64); ok {
			r.Next = seconds(n)
		}
	case reportPrev:
		if ok = f.raw != nil && len(f.raw) <= command.LargeResultBytesMax; ok {
			r.Prev = f.raw
		}
	case reportN:
		if n, ok = f.uint(math.MaxUint32); ok {
			r.N = new(uint32(n))
		}
	default:
		ok = true
	}
	return ok
}

// seconds is a count of seconds off the wire.
func seconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(secondsMax))) * time.Second
}

// report is a report as the library writes it.
type report struct {
	Status   uint8         `cbor:"1,keyasint"`
	Progress *uint8        `cbor:"2,keyasint,omitempty"`
	Code     *int64        `cbor:"3,keyasint,omitempty"`
	Text     string        `cbor:"4,keyasint,omitempty"`
	Result   fx.RawMessage `cbor:"5,keyasint,omitempty"`
	Effect   *uint8        `cbor:"6,keyasint,omitempty"`
	Next     int64         `cbor:"7,keyasint,omitempty"`
	Prev     fx.RawMessage `cbor:"8,keyasint,omitempty"`
	N        *uint32       `cbor:"9,keyasint,omitempty"`
}

// AppendReport appends r as a device would send it. Result and Prev go as they
// are. Odd does not go: what was odd has no value to write. On an error, dst is
// returned as it came.
func AppendReport(dst []byte, r command.Report) ([]byte, error) {
	if err := checkReport(r); err != nil {
		return dst, err
	}
	b, err := deterministic.Marshal(report{
		Status: uint8(r.Status), Progress: r.Progress, Code: r.Code, Text: r.Text, Result: r.Result,
		Effect: (*uint8)(r.Effect), Next: int64(r.Next / time.Second), Prev: r.Prev, N: r.N,
	})
	if err != nil {
		return dst, &command.Error{Code: command.CodeInternal, Msg: "report: cannot be encoded", Err: err}
	}
	return append(dst, b...), nil
}

// checkReport refuses what DecodeReport would not give back as it is.
func checkReport(r command.Report) error {
	bad := func(what string) error {
		return command.Errorf(command.CodeInternal, "report: %s", what)
	}
	switch {
	case !r.Status.Valid():
		return bad("no such status")
	case r.Progress != nil && *r.Progress > progressMax:
		return bad("progress past 100 percent")
	case len(r.Text) > command.TextBytesMax || !utf8.ValidString(r.Text):
		return bad("text too long, or not UTF-8")
	case r.Effect != nil && !r.Effect.Valid():
		return bad("no such effect")
	case r.Next < 0 || r.Next%time.Second != 0:
		return bad("next is no whole number of seconds")
	}
	for _, item := range [][]byte{r.Result, r.Prev} {
		if item == nil {
			continue
		}
		if len(item) > command.LargeResultBytesMax {
			return bad("result or prev too long")
		}
		if err := sound(item); err != nil {
			return &command.Error{Code: command.CodeInternal, Msg: "report: result or prev is no sound item", Err: err}
		}
	}
	return nil
}
