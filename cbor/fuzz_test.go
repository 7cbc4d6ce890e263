package cbor

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// judge compares the verdict on b, an item of at most depth levels, with that of
// the second opinion.
func judge(t *testing.T, b []byte, depth int, verdict error) {
	t.Helper()
	_, corner, err := walk(b, depth)
	if (err == nil) != (verdict == nil) && !corner {
		t.Fatalf("%x: %v; the second opinion: %v", b, verdict, err)
	}
}

// form is why a report was refused, unless that is for its status: then its CBOR
// is sound.
func form(err error) error {
	if err == nil || strings.Contains(err.Error(), "status") {
		return nil
	}
	return err
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
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeReport(b)
		checkDiagnostic(t, err)
		// Nobody looks into what is no map.
		if len(b) <= command.ReportBytesMax && isA(majorMap, b) {
			judge(t, b, DepthMax+1, form(err))
		}
		if err != nil {
			return
		}
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
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeList(b, now)
		checkDiagnostic(t, err)
		if err != nil {
			return
		}
		judge(t, b, DepthMax+2, nil)
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
	f.Fuzz(func(t *testing.T, text []byte, float32s bool) {
		b, err := FromJSON(text, JSONOptions{Float32: float32s, BytesMax: len(text)})
		if err != nil {
			e, ok := errors.AsType[*command.Error](err)
			if !ok || len(e.Fields) == 0 || e.Code == command.CodeMalformed == json.Valid(text) {
				t.Fatalf("%q: %+v", text, err)
			}
			return
		}
		raw, valid := ToJSON(b)
		back, err := FromJSON(raw, JSONOptions{Float32: float32s, BytesMax: len(b)})
		if !valid || err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q is %x, shown as %s (%v), is %x, %v", text, b, raw, valid, back, err)
		}
		if !float32s {
			checkDeterministic(t, b)
		}
	})
}

// checkDeterministic fails unless the second opinion would write b so.
func checkDeterministic(t *testing.T, b []byte) {
	t.Helper()
	if want := normal(b); !bytes.Equal(b, want) {
		t.Fatalf("%x is not deterministic, %x is", b, want)
	}
}

func FuzzToJSON(f *testing.F) {
	seed(f, "json", func(b []byte) bool { _, valid := ToJSON(b); return valid })
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := decode(itemMode, b, new(any))
		judge(t, b, DepthMax, err)
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
		want := normal(b)
		got, err := FromJSON(raw, JSONOptions{BytesMax: max(len(b), 1)})
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x shows as %s and comes back as %x, %v, want %x", b, raw, got, err, want)
		}
		checkDeterministic(t, got)
	})
}

func FuzzDiagnose(f *testing.F) {
	for _, kind := range []string{"report", "list", "json"} {
		seed(f, kind, func(b []byte) bool { return sound(b) == nil })
	}
	f.Add(append([]byte("\x5b"), bytes.Repeat([]byte("\xff"), diagnoseBytesMax-1)...)) // the longest bytes with the longest fault
	longest := len("h'' /  /") + 2*diagnoseBytesMax + DiagnosticBytesMax
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := Diagnose(b); got == "" || len(got) > longest || bytes.ContainsAny([]byte(got), "\n\r\x1b\x00") {
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
