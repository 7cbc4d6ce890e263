package cbor

import (
	"bytes"
	"math"
	"time"
	"unicode/utf8"

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
	if err := check(b, DepthMax); err != nil {
		return command.Report{}, err
	}
	h, at, _ := readHead(b)
	if h.major != majorMap {
		return command.Report{}, command.Errorf(command.CodeMalformed, "a report is a map")
	}
	var r command.Report
	status, sound := false, true
	for range h.arg {
		key, keyBytes, _ := readHead(b[at:])
		named := key.major == majorUint
		if !named {
			keyBytes = skip(b[at:])
		}
		at += keyBytes
		value := b[at : at+skip(b[at:])]
		at += len(value)
		switch {
		case !named:
			sound = false
		case key.arg == reportStatus:
			if r.Status, status = decodeStatus(value); !status {
				return command.Report{}, command.Errorf(command.CodeMalformed, "status (key 1) is not 0 to 4")
			}
		default:
			sound = setField(&r, key.arg, value) && sound
		}
	}
	if !status {
		return command.Report{}, command.Errorf(command.CodeMalformed, "no status (key 1)")
	}
	if !sound {
		r.Odd = bytes.Clone(b)
	}
	return r, nil
}

func decodeStatus(value []byte) (command.Status, bool) {
	h, _, _ := readHead(value)
	if h.major != majorUint || h.arg > uint64(command.StatusCanceled) {
		return 0, false
	}
	return command.Status(h.arg), true
}

// setField puts a field into r and says whether it is as the contract has it;
// if not, r is left as it was. A key that the contract does not name is none of
// our business.
func setField(r *command.Report, key uint64, value []byte) bool {
	h, n, _ := readHead(value)
	isUint := h.major == majorUint
	switch key {
	case reportProgress:
		if !isUint || h.arg > progressMax {
			return false
		}
		r.Progress = new(uint8(h.arg))
	case reportCode:
		if h.major > majorNint || h.arg > math.MaxInt64 {
			return false
		}
		r.Code = new(int64(h.arg))
		if h.major == majorNint {
			*r.Code = -1 - *r.Code
		}
	case reportText:
		if h.major != majorText || h.arg > command.TextBytesMax {
			return false
		}
		r.Text = string(value[n:])
	case reportResult:
		return setItem(&r.Result, value)
	case reportEffect:
		if !isUint || h.arg > uint64(command.EffectUnknown) {
			return false
		}
		r.Effect = new(command.Effect(h.arg))
	case reportNext:
		if !isUint {
			return false
		}
		r.Next = seconds(h.arg)
	case reportPrev:
		return setItem(&r.Prev, value)
	case reportN:
		if !isUint || h.arg > math.MaxUint32 {
			return false
		}
		r.N = new(uint32(h.arg))
	}
	return true
}

func setItem(dst *[]byte, value []byte) bool {
	if len(value) > command.LargeResultBytesMax {
		return false
	}
	*dst = bytes.Clone(value)
	return true
}

// seconds is a count of seconds off the wire.
func seconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(secondsMax))) * time.Second
}

// AppendReport appends r as a device would send it. Result and Prev go as they
// are. Odd does not go: what was odd has no value to write. On an error, dst is
// returned as it came.
func AppendReport(dst []byte, r command.Report) ([]byte, error) {
	if err := checkReport(r); err != nil {
		return dst, err
	}
	start := len(dst)
	fields := byte(1)
	field := func(key byte) { fields++; dst = append(dst, key) }

	dst = append(dst, 0, reportStatus, byte(r.Status)) // the map's head comes last
	if r.Progress != nil {
		field(reportProgress)
		dst = appendHead(dst, majorUint, uint64(*r.Progress))
	}
	if r.Code != nil {
		field(reportCode)
		dst = appendInt(dst, *r.Code)
	}
	if r.Text != "" {
		field(reportText)
		dst = appendText(dst, r.Text)
	}
	if r.Result != nil {
		field(reportResult)
		dst = append(dst, r.Result...)
	}
	if r.Effect != nil {
		field(reportEffect)
		dst = append(dst, byte(*r.Effect))
	}
	if r.Next > 0 {
		field(reportNext)
		dst = appendHead(dst, majorUint, uint64(r.Next/time.Second))
	}
	if r.Prev != nil {
		field(reportPrev)
		dst = append(dst, r.Prev...)
	}
	if r.N != nil {
		field(reportN)
		dst = appendHead(dst, majorUint, uint64(*r.N))
	}
	dst[start] = majorMap<<5 | fields // nine at most: one byte
	return dst, nil
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
		if err := check(item, DepthMax-1); err != nil { // the report's map is a level
			return &command.Error{Code: command.CodeInternal, Msg: "report: result or prev is no sound item", Err: err}
		}
	}
	return nil
}
