package cbor

import (
	"bytes"
	"math"
	"time"
	"unicode/utf8"

	"behest/command"
)

// Keys of an entry of the open list.
const (
	entrySeq         = 1
	entryType        = 2
	entryParams      = 3
	entrySecondsLeft = 4
	entryRunFor      = 5
	entryReportEvery = 6
	entryCancel      = 7
	entryFresh       = 8
)

const (
	// listDepthMax: params of DepthMax, in an entry, in the list.
	listDepthMax = DepthMax + 2
	// listBytesMax: the 50 commands that a device may have open and the ten
	// urgent ones beside them, all large, with 1 KiB for the rest of each.
	listBytesMax = (50 + 10) * (command.LargeParamsBytesMax + 1<<10)
)

// AppendList appends the open list as a device sees it at now. The seconds left
// are computed here, so that each datagram says what is true when it leaves:
// rounded down, and never below 0. The other durations are rounded down too,
// but not below one second, since 0 would say "not sent".
//
// The entries are in ascending seq. On an error, dst is returned as it came.
func AppendList(dst []byte, list []command.Entry, now time.Time) ([]byte, error) {
	out := appendHead(dst, majorArray, uint64(len(list)))
	last := uint32(0)
	for i := range list {
		e := &list[i]
		if err := checkEntry(e); err != nil {
			return dst, err
		}
		if e.Seq <= last { // seq 0 is none
			return dst, command.Errorf(command.CodeInternal, "list: seq %d after %d", e.Seq, last)
		}
		last = e.Seq
		out = appendEntry(out, e, now)
	}
	return out, nil
}

// checkEntry refuses what DecodeList would not give back as it is.
func checkEntry(e *command.Entry) error {
	bad := func(what string) error {
		return command.Errorf(command.CodeInternal, "list: seq %d: %s", e.Seq, what)
	}
	switch {
	case e.Cancel:
		return nil
	case e.WireCode == 0 && (e.Type == "" || len(e.Type) > command.TypeNameBytesMax || !utf8.ValidString(e.Type)):
		return bad("no type, or a name past its limit, or not UTF-8")
	case len(e.Params) > command.LargeParamsBytesMax:
		return bad("params too long")
	case e.RunFor < 0 || e.ReportEvery < 0:
		return bad("a negative duration")
	case e.Params == nil:
		return nil
	}
	if err := check(e.Params, DepthMax); err != nil {
		return &command.Error{Code: command.CodeInternal, Msg: "list: params are no sound item", Err: err}
	}
	return nil
}

func appendEntry(dst []byte, e *command.Entry, now time.Time) []byte {
	start := len(dst)
	fields := byte(0)
	field := func(key byte) { fields++; dst = append(dst, key) }

	dst = append(dst, 0) // the map's head comes last
	field(entrySeq)
	dst = appendHead(dst, majorUint, uint64(e.Seq))
	if e.Cancel {
		field(entryCancel)
		dst = appendBool(dst, true)
		dst[start] = majorMap<<5 | fields
		return dst
	}
	field(entryType)
	if e.WireCode != 0 {
		dst = appendHead(dst, majorUint, uint64(e.WireCode))
	} else {
		dst = appendText(dst, e.Type)
	}
	if e.Params != nil {
		field(entryParams)
		dst = append(dst, e.Params...)
	}
	field(entrySecondsLeft)
	dst = appendHead(dst, majorUint, secondsLeft(e.StartBy, now))
	if e.RunFor > 0 {
		field(entryRunFor)
		dst = appendHead(dst, majorUint, wholeSeconds(e.RunFor))
	}
	if e.ReportEvery > 0 {
		field(entryReportEvery)
		dst = appendHead(dst, majorUint, wholeSeconds(e.ReportEvery))
	}
	if e.Fresh {
		field(entryFresh)
		dst = appendBool(dst, true)
	}
	dst[start] = majorMap<<5 | fields // seven at most: one byte
	return dst
}

// secondsLeft is how long a command may still be started, as of now.
func secondsLeft(startBy, now time.Time) uint64 {
	return uint64(max(startBy.Sub(now), 0) / time.Second)
}

func wholeSeconds(d time.Duration) uint64 {
	return max(uint64(d/time.Second), 1)
}

// DecodeList reads an open list that was received at now, as a device would.
// StartBy is now and the seconds left.
func DecodeList(b []byte, now time.Time) ([]command.Entry, error) {
	if len(b) > listBytesMax {
		return nil, command.Errorf(command.CodeTooLarge, "a list has at most %d bytes", listBytesMax)
	}
	if err := check(b, listDepthMax); err != nil {
		return nil, err
	}
	h, at, _ := readHead(b)
	if h.major != majorArray {
		return nil, command.Errorf(command.CodeMalformed, "a list is an array")
	}
	list := []command.Entry{}
	last := uint32(0)
	for i := range h.arg {
		item := b[at : at+skip(b[at:])]
		at += len(item)
		e, fault := decodeEntry(item, now)
		if fault == "" && e.Seq <= last {
			fault = "seq (key 1) does not ascend"
		}
		if fault != "" {
			return nil, command.Errorf(command.CodeMalformed, "entry %d: %s", i, fault)
		}
		last = e.Seq
		list = append(list, e)
	}
	return list, nil
}

// decodeEntry reads a sound item as an entry, or says what is wrong with it.
func decodeEntry(b []byte, now time.Time) (e command.Entry, fault string) {
	h, at, _ := readHead(b)
	if h.major != majorMap {
		return e, "not a map"
	}
	var has [entryFresh + 1]bool
	for range h.arg {
		key, _, _ := readHead(b[at:])
		at += skip(b[at:])
		value := b[at : at+skip(b[at:])]
		at += len(value)
		if key.major != majorUint {
			return e, "a key is no unsigned integer"
		}
		if key.arg >= uint64(len(has)) {
			continue // how the protocol grows
		}
		has[key.arg] = true
		if fault := setEntryField(&e, key.arg, value, now); fault != "" {
			return e, fault
		}
	}
	switch {
	case !has[entrySeq]:
		return e, "no seq (key 1)"
	case e.Cancel:
		has[0], has[entrySeq], has[entryCancel] = false, false, false
		if has != [len(has)]bool{} {
			return e, "a cancel (key 7) with a command's keys"
		}
	case !has[entryType]:
		return e, "no type (key 2)"
	case !has[entrySecondsLeft]:
		return e, "no seconds left (key 4)"
	}
	return e, ""
}

// setEntryField puts a field into e, or says what is wrong with it.
func setEntryField(e *command.Entry, key uint64, value []byte, now time.Time) (fault string) {
	h, n, _ := readHead(value)
	isUint := h.major == majorUint
	isTrue := h.major == majorSimple && h.info == simpleTrue
	switch key {
	case entrySeq:
		if !isUint || h.arg == 0 || h.arg > math.MaxUint32 {
			return "seq (key 1) is not 1 to 4294967295"
		}
		e.Seq = uint32(h.arg)
	case entryType:
		switch {
		case isUint && h.arg >= 1 && h.arg <= math.MaxUint16:
			e.WireCode = uint16(h.arg)
		case h.major == majorText && h.arg >= 1 && h.arg <= command.TypeNameBytesMax:
			e.Type = string(value[n:])
		default:
			return "type (key 2) is no name and no wire code"
		}
	case entryParams:
		if len(value) > command.LargeParamsBytesMax {
			return "params (key 3) are too long"
		}
		e.Params = bytes.Clone(value)
	case entrySecondsLeft:
		if !isUint {
			return "seconds left (key 4) is no unsigned integer"
		}
		e.StartBy = now.Add(seconds(h.arg))
	case entryRunFor:
		if !isUint {
			return "run_for (key 5) is no unsigned integer"
		}
		e.RunFor = seconds(h.arg)
	case entryReportEvery:
		if !isUint {
			return "report_every (key 6) is no unsigned integer"
		}
		e.ReportEvery = seconds(h.arg)
	case entryCancel:
		if !isTrue {
			return "cancel (key 7) is not true"
		}
		e.Cancel = true
	case entryFresh:
		if !isTrue {
			return "fresh (key 8) is not true"
		}
		e.Fresh = true
	}
	return ""
}
