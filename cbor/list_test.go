package cbor

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

func TestSecondsLeftAreRoundedDownAndNeverBelowZero(t *testing.T) {
	tests := []struct {
		name string
		left time.Duration
		want string // the value of key 4
	}{
		{"a minute", time.Minute, "183c"},
		{"just under a minute", time.Minute - 1, "183b"},
		{"one second", time.Second, "01"},
		{"just under a second", time.Second - 1, "00"},
		{"none", 0, "00"},
		{"just passed", -1, "00"},
		{"long passed", -time.Hour, "00"},
		{"a year", 365 * 24 * time.Hour, "1a01e13380"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := command.Entry{Seq: 1, WireCode: 1, StartBy: now.Add(tt.left)}
			got, err := AppendList(nil, []command.Entry{e}, now)
			if diff := cmp.Diff(unhex(t, "81a30101020104"+tt.want), got); diff != "" || err != nil {
				t.Errorf("list (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

func TestSecondsLeftAreComputedAfresh(t *testing.T) {
	list := []command.Entry{{Seq: 1, Type: "a", StartBy: now.Add(10 * time.Second)}}
	for gone := range 12 {
		got, err := AppendList(nil, list, now.Add(time.Duration(gone)*time.Second))
		if want := byte(max(10-gone, 0)); err != nil || got[len(got)-1] != want {
			t.Errorf("after %d s: %d s left, want %d (%v)", gone, got[len(got)-1], want, err)
		}
	}
}

func TestACommandWithoutADeadlineIsNotToBeStarted(t *testing.T) {
	got, err := AppendList(nil, []command.Entry{{Seq: 1, WireCode: 1}}, now)
	if diff := cmp.Diff(unhex(t, "81a3010102010400"), got); diff != "" || err != nil {
		t.Errorf("list (-want +got), %v:\n%s", err, diff)
	}
}

func TestOtherDurationsAreRoundedDownToOneSecondAtLeast(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{{1, "01"}, {time.Second, "01"}, {2*time.Second - 1, "01"}, {5 * time.Minute, "19012c"}} {
		t.Run(tt.d.String(), func(t *testing.T) {
			e := command.Entry{Seq: 1, WireCode: 1, RunFor: tt.d, ReportEvery: tt.d}
			got, err := AppendList(nil, []command.Entry{e}, now)
			if diff := cmp.Diff(unhex(t, "81a501010201040005"+tt.want+"06"+tt.want), got); diff != "" || err != nil {
				t.Errorf("list (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

func TestACancelIsExactlyThat(t *testing.T) {
	e := command.Entry{
		Seq: 7, Cancel: true, Type: "a", WireCode: 1, Params: []byte{0xff}, StartBy: now,
		RunFor: time.Second, ReportEvery: time.Second, Fresh: true,
	}
	got, err := AppendList(nil, []command.Entry{e}, now)
	if diff := cmp.Diff(unhex(t, "81a2010707f5"), got); diff != "" || err != nil {
		t.Errorf("list (-want +got), %v:\n%s", err, diff)
	}
}

func TestAppendListRefusesWhatTheWireCannotCarry(t *testing.T) {
	a := command.Entry{Seq: 5, Type: "a"}
	with := func(change func(*command.Entry)) []command.Entry {
		e := a
		change(&e)
		return []command.Entry{e}
	}
	deep := append(bytes.Repeat([]byte{0x81}, DepthMax+1), 0x00)
	tests := []struct {
		name string
		list []command.Entry
		want string
	}{
		{"seq zero", with(func(e *command.Entry) { e.Seq = 0 }), "list: seq 0 after 0"},
		{"a seq twice", []command.Entry{a, a}, "list: seq 5 after 5"},
		{"descending", []command.Entry{a, {Seq: 4, Cancel: true}}, "list: seq 4 after 5"},
		{"no type", with(func(e *command.Entry) { e.Type = "" }), "list: seq 5: no type, or a name past its limit, or not UTF-8"},
		{"a name of 64 bytes", with(func(e *command.Entry) { e.Type = strings.Repeat("x", 64) }), "list: seq 5: no type, or a name past its limit, or not UTF-8"},
		{"a name that is not UTF-8", with(func(e *command.Entry) { e.Type = "\xff" }), "list: seq 5: no type, or a name past its limit, or not UTF-8"},
		{"a negative run_for", with(func(e *command.Entry) { e.RunFor = -1 }), "list: seq 5: a negative duration"},
		{"a negative report_every", with(func(e *command.Entry) { e.ReportEvery = -1 }), "list: seq 5: a negative duration"},
		{"params of two items", with(func(e *command.Entry) { e.Params = []byte{0, 0} }), "list: params are no sound item"},
		{"empty params", with(func(e *command.Entry) { e.Params = []byte{} }), "list: params are no sound item"},
		{"params with a key twice", with(func(e *command.Entry) { e.Params = []byte{0xa2, 0x00, 0x00, 0x00, 0x00} }), "list: params are no sound item"},
		{"params that are not UTF-8", with(func(e *command.Entry) { e.Params = []byte{0x61, 0xff} }), "list: params are no sound item"},
		{"params too deep", with(func(e *command.Entry) { e.Params = deep }), "list: params are no sound item"},
		{"params too long", with(func(e *command.Entry) { e.Params = make([]byte, command.LargeParamsBytesMax+1) }), "list: seq 5: params too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendList([]byte("kept"), tt.list, now)
			if command.CodeOf(err) != command.CodeInternal || err.(*command.Error).Msg != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if string(got) != "kept" {
				t.Errorf("dst is now %q", got)
			}
		})
	}
}

func TestAppendListAppends(t *testing.T) {
	got, err := AppendList([]byte{0xff}, nil, now)
	if diff := cmp.Diff([]byte{0xff, 0x80}, got); diff != "" || err != nil {
		t.Errorf("appended (-want +got), %v:\n%s", err, diff)
	}
}

func TestTheFullestListGoesRound(t *testing.T) {
	params := appendText(nil, strings.Repeat("x", command.LargeParamsBytesMax-3))
	var want []command.Entry
	for seq := range uint32(60) {
		want = append(want, command.Entry{
			Seq: seq + 1, Type: strings.Repeat("t", command.TypeNameBytesMax), Params: params, StartBy: now.Add(time.Hour),
			RunFor: time.Hour, ReportEvery: time.Minute, Fresh: true,
		})
	}
	b, err := AppendList(nil, want, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeList(b, now)
	if err != nil || !reflect.DeepEqual(got, want) { // 4 MB are too much for a diff
		t.Errorf("list of %d bytes did not come back: %v", len(b), err)
	}
	_, err = DecodeList(make([]byte, listBytesMax+1), now)
	if want := fmt.Sprintf("a list has at most %d bytes", listBytesMax); command.CodeOf(err) != command.CodeTooLarge || err.(*command.Error).Msg != want {
		t.Errorf("one byte past the limit: %v, want %q", err, want)
	}
}

func BenchmarkAppendListOfOne(b *testing.B) {
	list := []command.Entry{{
		Seq: 1758835648, Type: "pump.start", Params: unhex(b, "a16372706d1904b0"), StartBy: now.Add(time.Hour), RunFor: time.Minute,
	}}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendList(dst[:0], list, now)
	}
}

func BenchmarkDecodeReport(b *testing.B) {
	in := unhex(b, "a2010105a1626f6bf5")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeReport(in); err != nil {
			b.Fatal(err)
		}
	}
}
