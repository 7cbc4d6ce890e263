package cbor

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	fx "github.com/fxamacker/cbor/v2"

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
	entries := make([]entry, len(list))
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
		entries[i] = entryOf(e, now)
	}
	b, err := deterministic.Marshal(entries)
	if err != nil {
		return dst, &command.Error{Code: command.CodeInternal, Msg: "list: cannot be encoded", Err: err}
	}
	return append(dst, b...), nil
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
	if err := sound(e.Params); err != nil {
		return &command.Error{Code: command.CodeInternal, Msg: "list: params are no sound item", Err: err}
	}
	return nil
}

// entry is an entry as the library writes it.
type entry struct {
	Seq         uint32        `cbor:"1,keyasint"`
	Type        any           `cbor:"2,keyasint,omitempty"` // its name or its wire code
	Params      fx.RawMessage `cbor:"3,keyasint,omitempty"`
	SecondsLeft *uint64       `cbor:"4,keyasint,omitempty"` // 0 is said, too
	RunFor      uint64        `cbor:"5,keyasint,omitempty"`
	ReportEvery uint64        `cbor:"6,keyasint,omitempty"`
	Cancel      bool          `cbor:"7,keyasint,omitempty"`
	Fresh       bool          `cbor:"8,keyasint,omitempty"`
}

func entryOf(e *command.Entry, now time.Time) entry {
	if e.Cancel {
		return entry{Seq: e.Seq, Cancel: true}
	}
	w := entry{
		Seq: e.Seq, Type: e.Type, Params: e.Params, SecondsLeft: new(secondsLeft(e.StartBy, now)),
		RunFor: wholeSeconds(e.RunFor), ReportEvery: wholeSeconds(e.ReportEvery), Fresh: e.Fresh,
	}
	if e.WireCode != 0 {
		w.Type = e.WireCode
	}
	return w
}

// secondsLeft is how long a command may still be started, as of now.
func secondsLeft(startBy, now time.Time) uint64 {
	return uint64(max(startBy.Sub(now), 0) / time.Second)
}

// wholeSeconds is d in seconds; of no duration, none.
func wholeSeconds(d time.Duration) uint64 {
	if d == 0 {
		return 0
	}
	return max(uint64(d/time.Second), 1)
}

// DecodeList reads an open list that was received at now, as a device would.
// StartBy is now and the seconds left.
func DecodeList(b []byte, now time.Time) ([]command.Entry, error) {
	if len(b) > listBytesMax {
		return nil, command.Errorf(command.CodeTooLarge, "a list has at most %d bytes", listBytesMax)
	}
	var items []fx.RawMessage
	if _, err := decode(listMode, b, &items); err != nil {
		return nil, err
	}
	if !isA(majorArray, b) {
		return nil, malformed("a list is an array")
	}
	list := make([]command.Entry, len(items))
	last := uint32(0)
	for i, item := range items {
		e, fault := decodeEntry(item, now)
		if fault == "" && e.Seq <= last {
			fault = "seq (key 1) does not ascend"
		}
		if fault != "" {
			return nil, malformed(fmt.Sprintf("entry %d: %s", i, fault))
		}
		last = e.Seq
		list[i] = e
	}
	return list, nil
}

// decodeEntry reads a well-formed item as an entry, or says what is wrong with
// it.
func decodeEntry(b []byte, now time.Time) (e command.Entry, fault string) {
	if !isA(majorMap, b) {
		return e, "not a map"
	}
	said, whole, err := decodeFields(b)
	if err != nil {
		return e, err.(*command.Error).Msg
	}
	if !whole {
		return e, "a tag around what it is not for"
	}
	var has [entryFresh + 1]bool
	for k := range said {
		number, named := k.value.(uint64)
		if !named {
			return e, "a key is no unsigned integer"
		}
		if number < uint64(len(has)) { // others are how the protocol grows
			has[number] = true
		}
	}
	for number := range has {
		if !has[number] {
			continue
		}
		if fault := setEntryField(&e, number, said[key{uint64(number)}], now); fault != "" {
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
func setEntryField(e *command.Entry, number int, f field, now time.Time) (fault string) {
	n, isUint := f.uint(math.MaxUint64)
	switch number {
	case entrySeq:
		if !isUint || n == 0 || n > math.MaxUint32 {
			return "seq (key 1) is not 1 to 4294967295"
		}
		e.Seq = uint32(n)
	case entryType:
		name, _ := f.value.(string)
		switch {
		case n >= 1 && n <= math.MaxUint16:
			e.WireCode = uint16(n)
		case len(name) >= 1 && len(name) <= command.TypeNameBytesMax:
			e.Type = name
		default:
			return "type (key 2) is no name and no wire code"
		}
	case entryParams:
		switch {
		case f.raw == nil:
			return "a tag around what it is not for"
		case len(f.raw) > command.LargeParamsBytesMax:
			return "params (key 3) are too long"
		}
		e.Params = f.raw
	case entrySecondsLeft:
		if !isUint {
			return "seconds left (key 4) is no unsigned integer"
		}
		e.StartBy = now.Add(seconds(n))
	case entryRunFor:
		if !isUint {
			return "run_for (key 5) is no unsigned integer"
		}
		e.RunFor = seconds(n)
	case entryReportEvery:
		if !isUint {
			return "report_every (key 6) is no unsigned integer"
		}
		e.ReportEvery = seconds(n)
	case entryCancel:
		if f.value != true {
			return "cancel (key 7) is not true"
		}
		e.Cancel = true
	case entryFresh:
		if f.value != true {
			return "fresh (key 8) is not true"
		}
		e.Fresh = true
	}
	return ""
}
