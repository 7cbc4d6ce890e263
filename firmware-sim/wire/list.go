package wire

import (
	"fmt"
	"math"
	"time"
)

// Entry is one line of the open list: a command, or the wish to stop one.
type Entry struct {
	Seq    uint32
	Cancel bool // the other fields are then empty

	Type        string // the command type's name; empty when Code stands for it
	Code        uint64 // its wire code
	Params      []byte // one CBOR item, or nil
	Seconds     uint64 // left in which it may be started; 0: do not start
	RunFor      time.Duration
	ReportEvery time.Duration
	Fresh       bool // report running first, start only on its 2.04
}

// Name is the command type as the behaviours of a device name it: a wire code
// is written as #7.
func (e Entry) Name() string {
	if e.Type != "" || e.Cancel {
		return e.Type
	}
	return fmt.Sprintf("#%d", e.Code)
}

// secondsMax bounds durations from the wire to what a time.Duration holds with
// room for sums: about 68 years, past every clock of the contract.
const secondsMax = math.MaxInt32

// Seconds makes a duration of a number from the wire.
func Seconds(n uint64) time.Duration {
	return time.Duration(min(n, secondsMax)) * time.Second
}

// wireCodeMax is the contract's.
const wireCodeMax = math.MaxUint16

// The keys of an entry.
const (
	entrySeq = iota + 1
	entryType
	entryParams
	entrySeconds
	entryRunFor
	entryReportEvery
	entryCancel
	entryFresh
)

// DecodeList reads an open list. Entries alias b.
func DecodeList(b []byte) ([]Entry, error) {
	h, rest, err := readHead(b)
	if err != nil {
		return nil, err
	}
	if h.major != majorArray {
		return nil, fmt.Errorf("%w: the list is no array", ErrMalformed)
	}
	var list []Entry
	for range h.arg {
		var e Entry
		if e, rest, err = decodeEntry(rest); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(list), err)
		}
		if n := len(list); n > 0 && list[n-1].Seq >= e.Seq {
			return nil, fmt.Errorf("%w: seq %d behind seq %d", ErrMalformed, e.Seq, list[n-1].Seq)
		}
		list = append(list, e)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the list", ErrMalformed, len(rest))
	}
	return list, nil
}

// decodeEntry reads one entry and returns what is behind it.
func decodeEntry(b []byte) (Entry, []byte, error) {
	h, rest, err := readHead(b)
	if err != nil {
		return Entry{}, nil, err
	}
	if h.major != majorMap {
		return Entry{}, nil, fmt.Errorf("%w: the entry is no map", ErrMalformed)
	}
	var e Entry
	var has [entryFresh + 1]bool
	// The levels of params are counted by themselves, as who issues them does.
	rest, err = eachPair(rest, h.arg, depthMax, func(key, value []byte) error {
		k, ok := whole(key, majorUint)
		if !ok {
			return fmt.Errorf("%w: the key %x is no unsigned integer", ErrMalformed, key)
		}
		if k < entrySeq || k > entryFresh { // how the protocol grows: unknown keys do no harm
			return nil
		}
		has[k] = true
		if !e.set(k, value) {
			return fmt.Errorf("%w: key %d", ErrMalformed, k)
		}
		return nil
	})
	if err != nil {
		return Entry{}, nil, err
	}
	switch {
	case !has[entrySeq]:
		return Entry{}, nil, fmt.Errorf("%w: no seq", ErrMalformed)
	case e.Cancel && has != [entryFresh + 1]bool{entrySeq: true, entryCancel: true}:
		return Entry{}, nil, fmt.Errorf("%w: a cancel that is also a command", ErrMalformed)
	case !e.Cancel && (!has[entryType] || !has[entrySeconds]):
		return Entry{}, nil, fmt.Errorf("%w: a command without type or seconds", ErrMalformed)
	}
	return e, rest, nil
}

// set stores the value of one known key and says whether it was of its type.
func (e *Entry) set(key uint64, value []byte) bool {
	n, isUint := whole(value, majorUint)
	isTrue := len(value) == 1 && value[0] == itemTrue
	switch key {
	case entrySeq:
		e.Seq = uint32(n)
		return isUint && n >= 1 && n <= math.MaxUint32
	case entryType:
		if isUint {
			e.Code = n
			return n >= 1 && n <= wireCodeMax
		}
		var ok bool
		e.Type, ok = text(value)
		return ok && e.Type != ""
	case entryParams:
		e.Params = value
		return true
	case entrySeconds:
		e.Seconds = n
	case entryRunFor:
		e.RunFor = Seconds(n)
	case entryReportEvery:
		e.ReportEvery = Seconds(n)
	case entryCancel:
		e.Cancel = true
		return isTrue
	case entryFresh:
		e.Fresh = true
		return isTrue
	}
	return isUint
}

// AppendList writes an open list, as a server would: tests of devices use it.
func AppendList(dst []byte, list []Entry) []byte {
	dst = appendHead(dst, majorArray, uint64(len(list)))
	for _, e := range list {
		dst = e.append(dst)
	}
	return dst
}

func (e Entry) append(dst []byte) []byte {
	var m mapping
	m.uint(entrySeq, uint64(e.Seq))
	if e.Cancel {
		m.raw(entryCancel, []byte{itemTrue})
		return m.append(dst)
	}
	if e.Type != "" {
		m.raw(entryType, appendText(nil, e.Type))
	} else {
		m.uint(entryType, e.Code)
	}
	m.raw(entryParams, e.Params)
	m.uint(entrySeconds, e.Seconds)
	if e.RunFor > 0 {
		m.uint(entryRunFor, uint64(e.RunFor/time.Second))
	}
	if e.ReportEvery > 0 {
		m.uint(entryReportEvery, uint64(e.ReportEvery/time.Second))
	}
	if e.Fresh {
		m.raw(entryFresh, []byte{itemTrue})
	}
	return m.append(dst)
}

// mapping collects the pairs of a map whose keys are small and come in order.
type mapping struct {
	pairs uint64
	body  []byte
}

// raw adds a pair; a nil value adds none.
func (m *mapping) raw(key uint64, value []byte) {
	if value == nil {
		return
	}
	m.pairs++
	m.body = append(appendHead(m.body, majorUint, key), value...)
}

func (m *mapping) uint(key, value uint64) { m.raw(key, appendHead(nil, majorUint, value)) }

func (m *mapping) append(dst []byte) []byte {
	return append(appendHead(dst, majorMap, m.pairs), m.body...)
}
