package cbor

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	fxcbor "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// library is the second opinion: the library, told to be as strict about form
// as we are. What it cannot judge (keys of any kind, text in parts that are not
// decoded) it is not asked.
func library(t testing.TB, depth int) fxcbor.DecMode {
	t.Helper()
	mode, err := fxcbor.DecOptions{
		MaxNestedLevels: depth, IndefLength: fxcbor.IndefLengthForbidden, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30,
		DupMapKey: fxcbor.DupMapKeyEnforcedAPF, UTF8: fxcbor.UTF8RejectInvalid, IntDec: fxcbor.IntDecConvertNone,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

// judge compares our verdict on b with the library's: what we take it takes,
// and what we alone refuse has a text or a key that only we look at, or tags in
// tags, which the library counts as one level.
func judge(t *testing.T, library fxcbor.DecMode, b []byte, ours error) {
	t.Helper()
	theirs := library.Wellformed(b)
	if ours == nil && theirs != nil {
		t.Fatalf("%x is taken; the library says %v", b, theirs)
	}
	if ours == nil || theirs != nil {
		return
	}
	e, _ := errors.AsType[*command.Error](ours)
	tagged := slices.ContainsFunc(b, func(c byte) bool { return c>>5 == majorTag })
	if strings.HasSuffix(e.Msg, faultUTF8) || strings.HasSuffix(e.Msg, faultDuplicate) ||
		strings.HasSuffix(e.Msg, faultDeep) && tagged {
		return
	}
	t.Fatalf("%x is refused, %v; the library takes it", b, ours)
}

// seed gives the fuzzer all vectors of a kind. It fails unless some are taken
// and some are refused: a target whose good half is never reached proves
// nothing.
func seed(f *testing.F, kind string, taken func([]byte) bool) {
	f.Helper()
	good, bad := 0, 0
	for _, v := range vectors(f, kind) {
		if taken(v.Hex) {
			good++
		} else {
			bad++
		}
		f.Add(v.Hex)
	}
	if good < 10 || bad < 5 {
		f.Fatalf("of the seeds, %d are taken and %d are not", good, bad)
	}
}

func FuzzDecodeReport(f *testing.F) {
	seed(f, "report", func(b []byte) bool { _, err := DecodeReport(b); return err == nil })
	library := library(f, DepthMax)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeReport(b)
		checkDiagnostic(t, err)
		if err != nil {
			if len(b) <= command.ReportBytesMax && check(b, DepthMax) != nil {
				judge(t, library, b, err)
			}
			return
		}
		judge(t, library, b, nil)
		if r.Odd != nil && !bytes.Equal(r.Odd, b) {
			t.Fatalf("odd is %x, of %x", r.Odd, b)
		}
		written, err := AppendReport(nil, r)
		if err != nil {
			t.Fatalf("%x was read and cannot be written: %v", b, err)
		}
		again, err := DecodeReport(written)
		r.Odd = nil
		if diff := cmp.Diff(r, again); diff != "" || err != nil {
			t.Fatalf("%x, written %x, reads differently (-first +again), %v:\n%s", b, written, err, diff)
		}
		if len(written) > len(b) {
			t.Fatalf("%x takes more than %x", written, b)
		}
	})
}

func FuzzDecodeList(f *testing.F) {
	seed(f, "list", func(b []byte) bool { _, err := DecodeList(b, now); return err == nil })
	library := library(f, listDepthMax)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeList(b, now)
		checkDiagnostic(t, err)
		if err != nil {
			if check(b, listDepthMax) != nil {
				judge(t, library, b, err)
			}
			return
		}
		judge(t, library, b, nil)
		for i := range list {
			// A reader takes any duration, and params as deep as the list may
			// be; both are a writer's to bound.
			if check(list[i].Params, DepthMax) != nil && list[i].Params != nil {
				return
			}
		}
		written, err := AppendList(nil, list, now)
		if err != nil {
			t.Fatalf("%x was read and cannot be written: %v", b, err)
		}
		again, err := DecodeList(written, now)
		if diff := cmp.Diff(list, again); diff != "" || err != nil {
			t.Fatalf("%x, written %x, reads differently (-first +again), %v:\n%s", b, written, err, diff)
		}
	})
}

func checkDiagnostic(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	e, ok := errors.AsType[*command.Error](err)
	if !ok || e.Code != command.CodeMalformed && e.Code != command.CodeTooLarge || len(e.Msg) > DiagnosticBytesMax {
		t.Fatalf("no error for a device: %v", err)
	}
}

func FuzzFromJSON(f *testing.F) {
	taken, texts := 0, 0
	for _, v := range vectors(f, "json") {
		text, ok := v.Fields["json"]
		if !ok {
			text = v.Fields["meaning"]
		}
		if _, err := FromJSON([]byte(text), JSONOptions{}); err == nil {
			taken++
		}
		texts++
		f.Add([]byte(text), v.Fields["float32"] == "yes")
	}
	if taken < 40 || texts-taken < 20 {
		f.Fatalf("of %d seeds, %d are taken", texts, taken)
	}
	library := library(f, DepthMax)
	f.Fuzz(func(t *testing.T, text []byte, float32s bool) {
		b, err := FromJSON(text, JSONOptions{Float32: float32s, BytesMax: len(text)})
		if err != nil {
			e, ok := errors.AsType[*command.Error](err)
			if !ok || len(e.Fields) == 0 || e.Code == command.CodeMalformed == json.Valid(text) {
				t.Fatalf("%q: %+v", text, err)
			}
			return
		}
		judge(t, library, b, check(b, DepthMax))
		raw, valid := ToJSON(b)
		back, err := FromJSON(raw, JSONOptions{Float32: float32s, BytesMax: len(b)})
		if !valid || err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q is %x, shown as %s (%v), is %x, %v", text, b, raw, valid, back, err)
		}
		if !float32s {
			checkDeterministic(t, library, b)
		}
	})
}

// checkDeterministic fails unless the library, which decodes b strictly, writes
// the same bytes for what it found.
func checkDeterministic(t *testing.T, library fxcbor.DecMode, b []byte) {
	t.Helper()
	var v any
	if err := library.Unmarshal(b, &v); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	mode, err := fxcbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	if want := must(mode.Marshal(v)); !bytes.Equal(b, want) {
		t.Fatalf("%x is not deterministic, %x is", b, want)
	}
}

func FuzzToJSON(f *testing.F) {
	seed(f, "json", func(b []byte) bool { _, valid := ToJSON(b); return valid })
	library := library(f, DepthMax)
	f.Fuzz(func(t *testing.T, b []byte) {
		judge(t, library, b, check(b, DepthMax))
		raw, valid := ToJSON(b)
		if !json.Valid(raw) {
			t.Fatalf("%x shows as %s", b, raw)
		}
		if !valid {
			if want := must(json.Marshal(map[string]string{"$cbor": hexOf(b)})); !slices.Equal(raw, want) {
				t.Fatalf("%x shows as %s, want %s", b, raw, want)
			}
			return
		}
		want := must(normal(nil, b, DepthMax))
		got, err := FromJSON(raw, JSONOptions{BytesMax: max(len(b), 1)})
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x shows as %s and comes back as %x, %v, want %x", b, raw, got, err, want)
		}
		checkDeterministic(t, library, got)
	})
}

func FuzzDiagnose(f *testing.F) {
	for _, kind := range []string{"report", "list", "json"} {
		seed(f, kind, func(b []byte) bool { return check(b, DepthMax) == nil })
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := Diagnose(b); got == "" || len(got) > 2*diagnoseBytesMax+DiagnosticBytesMax || bytes.ContainsAny([]byte(got), "\n\r\x1b\x00") {
			t.Fatalf("%x shows as %q", b, got)
		}
	})
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&0xf])
	}
	return string(s)
}

// TestSecondsSaturate is beside the fuzz targets because they found it worth
// saying: no count of seconds wraps around.
func TestSecondsSaturate(t *testing.T) {
	if got, want := seconds(1<<64-1), time.Duration(secondsMax)*time.Second; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
