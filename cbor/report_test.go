package cbor

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

func TestResultAndPrevMayBeAsLongAsALargeOne(t *testing.T) {
	item := func(size int) []byte { // a byte string of size bytes, its head included
		b := appendHead(nil, majorBytes, uint64(size-3))
		return append(b, make([]byte, size-len(b))...)
	}
	const most = command.LargeResultBytesMax
	if got := len(item(most - 1)); got != most-1 {
		t.Fatalf("the test's item has %d bytes", got)
	}
	longest := appendText(nil, strings.Repeat("x", most-3)) // three bytes of head
	report := func(key byte, item []byte) []byte {
		return append([]byte{0xa2, 0x01, 0x01, key}, item...)
	}
	tests := []struct {
		name string
		in   []byte
		want command.Report
	}{
		{"a result, the longest", report(5, longest), command.Report{Status: command.StatusSuccess, Result: longest}},
		{"a prev, the longest", report(8, longest), command.Report{Status: command.StatusSuccess, Prev: longest}},
		{"a result, one byte more", report(5, item(most+2)),
			command.Report{Status: command.StatusSuccess, Odd: report(5, item(most+2))}},
		{"a prev, one byte more", report(8, item(most+2)),
			command.Report{Status: command.StatusSuccess, Odd: report(8, item(most+2))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeReport(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("decoded (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

func TestAReportPastItsLimitIsTooLarge(t *testing.T) {
	report := func(size int) []byte { // an unknown key holds the rest
		b := append([]byte{0xa2, 0x01, 0x01, 0x0a}, appendHead(nil, majorBytes, uint64(size-9))...)
		return append(b, make([]byte, size-9)...)
	}
	most := report(command.ReportBytesMax)
	if len(most) != command.ReportBytesMax {
		t.Fatalf("the test's report has %d bytes", len(most))
	}
	if _, err := DecodeReport(most); err != nil {
		t.Errorf("the longest report: %v", err)
	}
	_, err := DecodeReport(report(command.ReportBytesMax + 1))
	want := error(&command.Error{Code: command.CodeTooLarge, Msg: "a report has at most 131072 bytes"})
	if diff := cmp.Diff(want, err); diff != "" {
		t.Errorf("one byte more (-want +got):\n%s", diff)
	}
}

func TestAppendReportRefusesWhatTheWireCannotCarry(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x81}, DepthMax+1), 0x00)
	tests := []struct {
		name string
		r    command.Report
		want string
	}{
		{"a status past the last", command.Report{Status: 5}, "report: no such status"},
		{"progress past 100", command.Report{Progress: new(uint8(101))}, "report: progress past 100 percent"},
		{"a text of 65 bytes", command.Report{Text: strings.Repeat("x", 65)}, "report: text too long, or not UTF-8"},
		{"a text that is not UTF-8", command.Report{Text: "\xff"}, "report: text too long, or not UTF-8"},
		{"an effect past the last", command.Report{Effect: new(command.Effect(4))}, "report: no such effect"},
		{"a next below zero", command.Report{Next: -time.Second}, "report: next is no whole number of seconds"},
		{"a next of half a second", command.Report{Next: time.Second / 2}, "report: next is no whole number of seconds"},
		{"an empty result", command.Report{Result: []byte{}}, "report: result or prev is no sound item"},
		{"a result of two items", command.Report{Result: []byte{0, 0}}, "report: result or prev is no sound item"},
		{"a result too deep", command.Report{Result: deep}, "report: result or prev is no sound item"},
		{"a result with a key twice", command.Report{Result: []byte{0xa2, 0x00, 0x00, 0x00, 0x00}}, "report: result or prev is no sound item"},
		{"a result that is not UTF-8", command.Report{Result: []byte{0x61, 0xff}}, "report: result or prev is no sound item"},
		{"a prev cut short", command.Report{Prev: []byte{0x61}}, "report: result or prev is no sound item"},
		{"a prev too long", command.Report{Prev: make([]byte, command.LargeResultBytesMax+1)}, "report: result or prev too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendReport([]byte("kept"), tt.r)
			if command.CodeOf(err) != command.CodeInternal || err.(*command.Error).Msg != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if string(got) != "kept" {
				t.Errorf("dst is now %q", got)
			}
		})
	}
}

func TestAppendReportAppends(t *testing.T) {
	got, err := AppendReport([]byte{0xff}, command.Report{Status: command.StatusRunning, N: new(uint32(1))})
	if diff := cmp.Diff([]byte{0xff, 0xa2, 0x01, 0x00, 0x09, 0x01}, got); diff != "" || err != nil {
		t.Errorf("appended (-want +got), %v:\n%s", err, diff)
	}
}

func TestATagAroundWhatItIsNotForIsOdd(t *testing.T) {
	tests := []struct {
		name, in string
		want     command.Report // less Odd; of a refusal, nothing
		refused  string
	}{
		{"a result that is no time", "a2 0101 05c080", command.Report{Status: 1}, ""},
		{"a result with a text that is no date", "a2 0101 0581c06161", command.Report{Status: 1}, ""},
		{"a result with a time past Go's", "a2 0101 0581c11bffffffffffffffff", command.Report{Status: 1}, ""},
		{"a prev with a bignum of text", "a3 0101 05f5 0881c26161", command.Report{Status: 1, Result: []byte{0xf5}}, ""},
		{"a key that is no time", "a2 0101 c08001", command.Report{Status: 1}, ""},
		{"beside a prev with a key twice", "a3 0101 05c080 08a200000000", command.Report{Status: 1}, ""},
		{"within, beside a prev with a key twice", "a3 0101 0581c080 08a200000000", command.Report{}, "a map says a key twice"},
		{"within, beside a prev that is not UTF-8", "a3 0101 0581c080 0861ff", command.Report{}, "invalid UTF-8 string"},
		{"a status that is no time", "a1 01c080", command.Report{}, "no status (key 1)"},
		{"a status that is no time, then one that is", "a2 01c080 0101", command.Report{}, "a map says a key twice"},
		{"a result that is no time, then one that is", "a3 0101 05c080 05f5", command.Report{}, "a map says a key twice"},
		{"and then an end", "a3 0101 05c080", command.Report{}, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, strings.ReplaceAll(tt.in, " ", ""))
			got, err := DecodeReport(b)
			if tt.refused != "" {
				checkRefusal(t, err, tt.refused)
				return
			}
			tt.want.Odd = b
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("decoded (-want +got), %v:\n%s", err, diff)
			}
			if written, err := AppendReport(nil, got); err != nil || len(written) >= len(b) {
				t.Errorf("written %x, %v", written, err)
			}
		})
	}
	for _, params := range []string{"c080", "81c080"} {
		_, err := DecodeList(unhex(t, "81a401070201040503"+params), now)
		checkRefusal(t, err, "entry 0: a tag around what it is not for")
	}
}

func TestTheTagThatDescribesCBORIsTakenOff(t *testing.T) {
	got, err := DecodeReport(unhex(t, "a3"+"01d9d9f701"+"05d9d9f7f5"+"d9d9f70902"))
	want := command.Report{Status: command.StatusSuccess, Result: []byte{0xf5}, N: new(uint32(2))}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("decoded (-want +got), %v:\n%s", err, diff)
	}
}
