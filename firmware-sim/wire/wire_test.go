package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestListsAreReadAndWritten(t *testing.T) {
	rows := []struct {
		name, hex string
		want      []Entry
	}{
		{"nothing to do", "80", nil},
		{
			"a command and a cancel",
			"82 a3 01 05 02 6161 04 00 a2 01 06 07 f5",
			[]Entry{{Seq: 5, Type: "a"}, {Seq: 6, Cancel: true}},
		},
		{
			"everything that a command can have",
			"81 a7 01 1a6593f000 02 19012c 03 a1 6372706d 1904b0 04 190e10 05 19012c 06 1818 08 f5",
			[]Entry{{
				Seq: 0x6593f000, Code: 300, Params: unhex(t, "a1 6372706d 1904b0"), Seconds: 3600,
				RunFor: 5 * time.Minute, ReportEvery: 24 * time.Second, Fresh: true,
			}},
		},
		{
			"largest seq",
			"81 a3 01 1affffffff 02 6161 04 01",
			[]Entry{{Seq: math.MaxUint32, Type: "a", Seconds: 1}},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := DecodeList(unhex(t, row.hex))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, row.want, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decoded (-got +want):\n%s", diff)
			}
			if encoded := AppendList(nil, row.want); !bytes.Equal(encoded, unhex(t, row.hex)) {
				t.Errorf("encoded %x, want %s", encoded, row.hex)
			}
			everyPrefixIsRefused(t, unhex(t, row.hex), func(b []byte) error { _, err := DecodeList(b); return err })
		})
	}
}

func TestListsThatGrewAreUnderstood(t *testing.T) {
	want := []Entry{{Seq: 5, Type: "a", Seconds: 9}}
	for name, encoded := range map[string]string{
		"unknown key":        "81 a4 01 05 02 6161 04 09 1863 83010203",
		"unsorted keys":      "81 a3 04 09 02 6161 01 05",
		"longer heads":       "9801 b803 1801 1a00000005 02 780161 04 1b0000000000000009",
		"unknown inner item": "81 a4 01 05 02 6161 04 09 0a c1 a1 f6 fb3ff199999999999a",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeList(unhex(t, encoded))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("decoded (-got +want):\n%s", diff)
			}
		})
	}
}

func TestBrokenListsAreRefused(t *testing.T) {
	rows := []struct{ name, hex string }{
		{"nothing", ""},
		{"no array", "a0"},
		{"entry no map", "8101"},
		{"no seq", "81 a2 02 6161 04 09"},
		{"seq 0", "81 a3 01 00 02 6161 04 09"},
		{"seq over 32 bits", "81 a3 01 1b0000000100000000 02 6161 04 09"},
		{"seq negative", "81 a3 01 20 02 6161 04 09"},
		{"no type", "81 a2 01 05 04 09"},
		{"empty type", "81 a3 01 05 02 60 04 09"},
		{"no seconds", "81 a2 01 05 02 6161"},
		{"seconds text", "81 a3 01 05 02 6161 04 6161"},
		{"cancel false", "81 a2 01 05 07 f4"},
		{"cancel with a type", "81 a3 01 05 02 6161 07 f5"},
		{"fresh one", "81 a4 01 05 02 6161 04 09 08 01"},
		{"text key", "81 a4 01 05 02 6161 04 09 6161 01"},
		{"key twice", "81 a4 01 05 02 6161 04 09 04 09"},
		{"key twice, once with a longer head", "81 a4 01 05 02 6161 04 09 1804 09"},
		{"key twice in params", "81 a4 01 05 02 6161 03 a2 01 02 01 02 04 09"},
		{"not ascending", "82 a2 01 06 07 f5 a2 01 05 07 f5"},
		{"seq twice", "82 a2 01 05 07 f5 a2 01 05 07 f5"},
		{"bytes behind", "80 00"},
		{"indefinite array", "9f ff"},
		{"indefinite map", "81 bf 01 05 07 f5 ff"},
		{"indefinite text", "81 a3 01 05 02 7f 6161 ff 04 09"},
		{"reserved head", "81 a3 01 1c 02 6161 04 09"},
		{"bad UTF-8", "81 a3 01 05 02 61ff 04 09"},
		{"bad UTF-8 in params", "81 a4 01 05 02 6161 03 61ff 04 09"},
		{"short simple value in two bytes", "81 a4 01 05 02 6161 03 f814 04 09"},
		{"nine levels", "81 a4 01 05 02 6161 03 " + strings.Repeat("81", 9) + "01 04 09"},
		{"map that claims 2^64-1 pairs", "81 bbffffffffffffffff"},
		{"array that claims 2^64-1 entries", "9bffffffffffffffff"},
		{"text that claims 2^64-1 bytes", "81 a3 01 05 02 7bffffffffffffffff"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := DecodeList(unhex(t, row.hex))
			if !errors.Is(err, ErrMalformed) || got != nil {
				t.Errorf("got %+v, error %v; want only ErrMalformed", got, err)
			}
		})
	}
	eight := "81 a4 01 05 02 6161 03 " + strings.Repeat("81", 8) + "01 04 09"
	if _, err := DecodeList(unhex(t, eight)); err != nil {
		t.Errorf("eight levels are refused: %v", err)
	}
}

func TestReportsAreWrittenAndRead(t *testing.T) {
	rows := []struct {
		name, hex string
		want      Report
	}{
		{"success, the least report", "a1 01 01", Report{Status: Success}},
		{
			"success with a result", "a2 01 01 05 a1 62 6f6b f5",
			Report{Status: Success, Result: unhex(t, "a1 62 6f6b f5")},
		},
		{
			"everything",
			"a9 01 00 02 1864 03 38ff 04 626869 05 01 06 01 07 05 08 f6 09 03",
			Report{
				Status: Running, Progress: new(uint8(100)), Code: new(int64(-256)), Text: "hi", Result: []byte{1},
				Effect: new(EffectPartial), Next: new(uint64(5)), Prev: []byte{itemNull}, N: new(uint64(3)),
			},
		},
		{
			"interrupted", "a3 01 02 03 07 06 03",
			Report{Status: Failure, Code: new(int64(CodeInterrupted)), Effect: new(EffectUnknown)},
		},
		{
			"least code", "a2 01 02 03 3b7fffffffffffffff",
			Report{Status: Failure, Code: new(int64(math.MinInt64))},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			encoded := row.want.Append(nil)
			if !bytes.Equal(encoded, unhex(t, row.hex)) {
				t.Errorf("encoded %x, want %s", encoded, row.hex)
			}
			got, odd, err := DecodeReport(encoded)
			if err != nil || odd {
				t.Fatalf("odd %v, error %v", odd, err)
			}
			if diff := cmp.Diff(got, row.want); diff != "" {
				t.Errorf("decoded (-got +want):\n%s", diff)
			}
			everyPrefixIsRefused(t, encoded, func(b []byte) error { _, _, err := DecodeReport(b); return err })
		})
	}
}

func TestOnlyTheStatusDecidesWhetherAReportCounts(t *testing.T) {
	got, odd, err := DecodeReport(unhex(t, "a6 01 02 02 1865 03 6161 04 01 06 04 1863 01"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, Report{Status: Failure}); diff != "" {
		t.Errorf("report (-got +want):\n%s", diff)
	}
	if !odd {
		t.Error("nothing is odd about it")
	}
	for name, encoded := range map[string]string{
		"no status": "a1 02 05", "status 5": "a1 01 05", "status text": "a1 01 6131", "array": "81 01",
		"empty": "a0", "status twice": "a2 01 01 01 01", "bytes behind": "a1 01 01 00",
	} {
		if r, _, err := DecodeReport(unhex(t, encoded)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %+v, error %v", name, r, err)
		}
	}
}

func TestJSONBecomesCBORAndIsShown(t *testing.T) {
	rows := []struct{ name, json, hex, shown string }{
		{"null", "null", "f6", "null"},
		{"booleans", "[true,false]", "82f5f4", "[true,false]"},
		{"integers", "[0,23,24,255,256,65536,4294967296,-1,-25]", "89 00 17 1818 18ff 190100 1a00010000 1b0000000100000000 20 3818", "[0,23,24,255,256,65536,4294967296,-1,-25]"},
		{"largest integers", "[18446744073709551615,-9223372036854775808]", "82 1bffffffffffffffff 3b7fffffffffffffff", "[18446744073709551615,-9223372036854775808]"},
		{"half floats", "[1.0,1.5,-2.5,65504.0,5.960464477539063e-8,0.0]", "86 f93c00 f93e00 f9c100 f97bff f90001 f90000", "[1,1.5,-2.5,65504,5.960464477539063e-8,0]"},
		{"single float", "100000.0", "fa47c35000", "100000"},
		{"half exponent, too many bits", "1.0009765625e0", "f93c01", "1.0009765625"},
		{"double float", "1.1", "fb3ff199999999999a", "1.1"},
		{"exponent makes a float", "1e2", "f95640", "100"},
		{"text", `"ü\n"`, "63c3bc0a", `"ü\n"`},
		{"keys sorted by their bytes", `{"bb":1,"a":{"c":[]}}`, "a2 6161 a1 6163 80 626262 01", `{"a":{"c":[]},"bb":1}`},
		{"bytes", `{"$bytes":"AQL_"}`, "430102ff", `{"$bytes":"AQL_"}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			item, err := FromJSON([]byte(row.json))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(item, unhex(t, row.hex)) {
				t.Errorf("encoded %x, want %s", item, row.hex)
			}
			if shown := ToJSON(item); shown != row.shown {
				t.Errorf("shown %s, want %s", shown, row.shown)
			}
		})
	}
	for name, document := range map[string]string{
		"nothing": "", "two values": "1 2", "cut": `{"a":`, "integer past 64 bits": "18446744073709551616",
		"number past doubles": "1e999", "bad base64": `{"$bytes":"!"}`, "nine levels": "[[[[[[[[[]]]]]]]]]",
	} {
		if item, err := FromJSON([]byte(document)); err == nil {
			t.Errorf("%s became %x", name, item)
		}
	}
	for item, want := range map[string]string{
		"a10102": `{"$cbor":"a10102"}`, "c101": `{"$cbor":"c101"}`, "f7": `{"$cbor":"f7"}`,
		"f97c00": `{"$cbor":"f97c00"}`, "3bffffffffffffffff": `{"$cbor":"3bffffffffffffffff"}`, "81": `{"$cbor":"81"}`,
	} {
		if shown := ToJSON(unhex(t, item)); shown != want {
			t.Errorf("%s is shown as %s", item, shown)
		}
	}
}

func TestEveryHalfFloatSurvives(t *testing.T) {
	for bits := range 1 << 16 {
		v := halfValue(uint16(bits))
		encoded := appendFloat(nil, v)
		h, rest, err := readHead(encoded)
		if err != nil || len(rest) != 0 || h.info != infoWord {
			t.Fatalf("%#04x (%v) was written as %x", bits, v, encoded)
		}
		if back := floatOf(h); back != v && !(math.IsNaN(back) && math.IsNaN(v)) {
			t.Fatalf("%#04x: %v came back as %v", bits, v, back)
		}
		if !math.IsNaN(v) && h.arg != uint64(bits) {
			t.Fatalf("%#04x was written as %#04x", bits, h.arg)
		}
	}
}

func FuzzDecodeList(f *testing.F) {
	for _, seed := range []string{"80", "82a301050261610400a2010607f5", "81a7011a6593f0000219012c03a16372706d1904b004190e100519012c06181808f5"} {
		b, _ := hex.DecodeString(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeList(b)
		if err != nil {
			return
		}
		again, err := DecodeList(AppendList(nil, list))
		if err != nil {
			t.Fatalf("own bytes refused: %v", err)
		}
		if diff := cmp.Diff(again, list, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("not the same after a round trip:\n%s", diff)
		}
	})
}

func FuzzDecodeReport(f *testing.F) {
	for _, seed := range []string{"a10101", "a90100021864033800046268690501060107 0508f60903", "a3010203070603"} {
		b, _ := hex.DecodeString(strings.ReplaceAll(seed, " ", ""))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := DecodeReport(b)
		if err != nil {
			return
		}
		again, odd, err := DecodeReport(r.Append(nil))
		if err != nil || odd {
			t.Fatalf("own bytes refused: odd %v, error %v", odd, err)
		}
		if diff := cmp.Diff(again, r, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("not the same after a round trip:\n%s", diff)
		}
	})
}

func FuzzShow(f *testing.F) {
	f.Add([]byte{0xa1, 0x62, 'o', 'k', 0xf5})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, item []byte) {
		if Check(item) != nil {
			return
		}
		if shown := ToJSON(item); shown == "" {
			t.Errorf("%x is shown as nothing", item)
		}
	})
}

func everyPrefixIsRefused(t *testing.T, whole []byte, decode func([]byte) error) {
	t.Helper()
	for n := range whole {
		if err := decode(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("prefix of %d bytes: error %v", n, err)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
