package cbor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

func TestJSONVectors(t *testing.T) {
	for _, v := range vectors(t, "json") {
		t.Run(v.Name, func(t *testing.T) {
			o := JSONOptions{Float32: v.Fields["float32"] == "yes"}
			if v.refused() {
				got, err := FromJSON([]byte(v.Fields["json"]), o)
				checkFaults(t, got, err, v.Fields["fault"])
				return
			}
			raw, valid := ToJSON(v.Hex)
			if diff := cmp.Diff(v.Fields["meaning"], string(raw)); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			if want := v.Fields["valid"] != "no"; valid != want {
				t.Errorf("valid = %v, want %v", valid, want)
			}
			text, ok := v.Fields["json"]
			if !ok {
				text = v.Fields["meaning"]
			}
			if !valid {
				_, err := FromJSON([]byte(text), o)
				checkFaults(t, nil, err, `"/$cbor"`)
				return
			}
			got, err := FromJSON([]byte(text), o)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if same := bytes.Equal(got, v.Hex); same == v.decodeOnly() {
				t.Errorf("written: %x\nvector:  %x", got, v.Hex)
			}
		})
	}
}

// checkFaults compares the pointers of err with a list of quoted ones.
func checkFaults(t *testing.T, b []byte, err error, quoted string) {
	t.Helper()
	if b != nil || command.CodeOf(err) != command.CodeInvalid {
		t.Fatalf("got %x, %v, want a refusal", b, err)
	}
	var want, got []string
	for pointer := range strings.FieldsSeq(quoted) {
		want = append(want, strings.Trim(pointer, `"`))
	}
	for _, f := range err.(*command.Error).Fields {
		got = append(got, f.Pointer)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}

func TestFromJSONSaysWhatIsWrongAndWhere(t *testing.T) {
	invalid := func(fields ...command.Field) error {
		return &command.Error{Code: command.CodeInvalid, Msg: "a value does not map to CBOR", Fields: fields}
	}
	tests := []struct {
		name, text string
		want       error
	}{
		{"a deep value between sound ones", `{"a":[[[[[[[[{"\"]":"}"}]]]]]]]],"b":1e999}`, invalid(
			command.Field{Pointer: "/a/0/0/0/0/0/0/0", Detail: "nested deeper than 8"},
			command.Field{Pointer: "/b", Detail: "more digits than a float64 keeps, or past its range"})},
		{"a name that is not UTF-8", "{\"\xff\":1}", invalid(
			command.Field{Pointer: "/\uFFFD", Detail: "name: not UTF-8"})},
		{"text that is not UTF-8", "[\"\xc3(\"]", invalid(
			command.Field{Pointer: "/0", Detail: "not UTF-8"})},
		{"a name that is half of a pair", `{"\ude80":1}`, invalid(
			command.Field{Pointer: "/\uFFFD", Detail: "name: half of a surrogate pair"})},
		{"a name as long as a text", `{"` + strings.Repeat("k", 300) + `":1e999}`, invalid(
			command.Field{Pointer: "/" + strings.Repeat("k", 256) + "…", Detail: "more digits than a float64 keeps, or past its range"})},
		{"bytes that are none", `{"$bytes":"*"}`, invalid(
			command.Field{Pointer: "/$bytes", Detail: "not base64url without padding"})},
		{"CBOR", `{"$cbor":"00"}`, invalid(
			command.Field{Pointer: "/$cbor", Detail: "not taken, only shown; as a name, write $$cbor"})},
		{"bytes in company", `{"a":1,"$bytes":"AA"}`, invalid(
			command.Field{Pointer: "/$bytes", Detail: "stands alone and holds base64url; as a name, write $$bytes"})},
		{"a name twice", `{"a":1,"a":1}`, invalid(command.Field{Pointer: "/a", Detail: "name said twice"})},
		{"an integer past 64 bits", `[0,-9999999999999999999]`, invalid(
			command.Field{Pointer: "/1", Detail: "an integer past 64 bits"})},
		{"one byte too many", `"` + strings.Repeat("x", 1022) + `"`, invalid(
			command.Field{Detail: "takes 1025 bytes of CBOR, at most 1024"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromJSON([]byte(tt.text), JSONOptions{})
			if diff := cmp.Diff(tt.want, err); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if got != nil {
				t.Errorf("got %x beside an error", got)
			}
		})
	}
}

func TestFromJSONRefusesWhatIsNoJSON(t *testing.T) {
	for _, text := range []string{
		"", " ", "{", "[1,]", `{"a"}`, `{"a":1,}`, "01", "+1", "1.", ".5", "NaN", "nul", `"`, `"\x41"`, "\"\n\"", "1 2",
		"{'a':1}", "[1]]", strings.Repeat("[", 20_000),
	} {
		t.Run(fmt.Sprintf("%.10q", text), func(t *testing.T) {
			got, err := FromJSON([]byte(text), JSONOptions{})
			if got != nil || command.CodeOf(err) != command.CodeMalformed {
				t.Fatalf("got %x, %v, want malformed", got, err)
			}
			if fields := err.(*command.Error).Fields; len(fields) != 1 || fields[0].Detail == "" {
				t.Errorf("fields = %+v, want one that says why", fields)
			}
		})
	}
}

func TestFromJSONKeepsToTheLimitOfTheType(t *testing.T) {
	tests := []struct {
		name string
		most int // JSONOptions.BytesMax
		size int // of the text in the JSON
		want bool
	}{
		{"small, the most", 0, 1024 - 3, true},
		{"small, one more", 0, 1024 - 2, false},
		{"large, the most", command.LargeParamsBytesMax, 65536 - 3, true},
		{"large, one more", command.LargeParamsBytesMax, 65536 - 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := `  "` + strings.Repeat(`\u0061`, tt.size) + `"  ` // long text, short CBOR
			b, err := FromJSON([]byte(text), JSONOptions{BytesMax: tt.most})
			if got := err == nil; got != tt.want {
				t.Errorf("taken = %v with %d bytes, want %v: %v", got, len(b), tt.want, err)
			}
		})
	}
}

func TestFromJSONNamesAtMost32Faults(t *testing.T) {
	for _, bad := range []string{"1e999", "99999999999999999999", `"\ud800"`, `{"a":1,"a":1}`, `{"$bytes":""," ":0}`} {
		_, err := FromJSON([]byte("["+strings.Repeat(bad+",", 1000)+"0]"), JSONOptions{})
		if got := len(err.(*command.Error).Fields); got != faultsMax {
			t.Errorf("%s: %d faults, want %d", bad, got, faultsMax)
		}
	}
}

func TestToJSONIsJSONWhateverTheText(t *testing.T) {
	for c := range rune(0x250) {
		want := "a" + string(c) + "b"
		raw, valid := ToJSON(appendText(nil, want))
		var got string
		if err := json.Unmarshal(raw, &got); err != nil || !valid || got != want {
			t.Errorf("U+%04X shows as %s: %v", c, raw, err)
		}
	}
}

func TestNamesLikeOursSurviveBothWays(t *testing.T) {
	for _, name := range []string{"$bytes", "$cbor", "$$bytes", "$$$cbor", "$", "$$", "bytes", "$Bytes", "$bytesx", "x$cbor", ""} {
		t.Run(name, func(t *testing.T) {
			want := appendText(append([]byte{majorMap<<5 | 1}, appendText(nil, name)...), "AA")
			raw, valid := ToJSON(want)
			if !valid {
				t.Fatalf("not shown: %s", raw)
			}
			got, err := FromJSON(raw, JSONOptions{})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s came back as %x, %v, want %x", raw, got, err, want)
			}
		})
	}
}

func TestEveryFloat16ComesBack(t *testing.T) {
	shown := 0
	for v := range 1 << 16 {
		want := []byte{0xf9, byte(v >> 8), byte(v)}
		raw, valid := ToJSON(want)
		if finite := v>>10&0x1f != 0x1f; valid != finite {
			t.Fatalf("%x shows as %s, %v", want, raw, valid)
		}
		if !valid {
			continue
		}
		shown++
		got, err := FromJSON(raw, JSONOptions{})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x shows as %s and comes back as %x, %v", want, raw, got, err)
		}
		long, err := FromJSON(raw, JSONOptions{Float32: true})
		if err != nil || len(long) != 5 || long[0] != 0xfa || !bytes.Equal(normal(long), want) {
			t.Errorf("%s is %x as a float32, %v", raw, long, err)
		}
	}
	if want := 1<<16 - 2<<10; shown != want {
		t.Errorf("%d were shown, want %d", shown, want)
	}
}

func TestFloatsTakeTheShortestFormThatIsExact(t *testing.T) {
	n := 0
	// Each exponent, with fractions at and beside each width's last bit.
	for exponent := range uint64(2047) {
		for _, bit := range []uint64{0, 28, 29, 30, 41, 42, 43, 51, 52} {
			for _, fraction := range []uint64{0, 1<<bit - 1, 1 << bit, 1<<52 - 1<<bit} {
				f := math.Float64frombits(exponent<<52 | fraction&(1<<52-1))
				raw := strconv.FormatFloat(f, 'e', -1, 64)
				got, err := FromJSON([]byte(raw), JSONOptions{})
				if err != nil {
					t.Fatalf("%s: %v", raw, err)
				}
				n++
				want := 9
				if float64(float32(f)) == f {
					want = 5
				}
				if h, _ := readHead(got); h.major != majorSimple || want == 9 && len(got) != 9 || len(got) > want || !bytes.Equal(normal(got), got) {
					t.Errorf("%s is %x", raw, got)
				}
			}
		}
	}
	t.Logf("%d floats", n)
}

func TestANumberMayBeWrittenToItsLastDigit(t *testing.T) {
	least := strconv.FormatFloat(math.SmallestNonzeroFloat64, 'f', 1074, 64)
	tests := []struct {
		name, text string
		want       bool
	}{
		{"the least float", least, true},
		{"the least float, negative", "-" + least, true},
		{"the least float, almost", least[:len(least)-1] + "4", false},
		{"the greatest float", strconv.FormatFloat(math.MaxFloat64, 'f', 1, 64), true},
		{"a float with many zeros", "1." + strings.Repeat("0", numberBytesMax) + "e0", true},
		{"a float with too many digits", "1." + strings.Repeat("0", numberBytesMax) + "1", false},
		{"fifteen digits", "0.123456789012345e-300", true},
		{"sixteen digits, all needed", "0.1234567890123456", true},
		{"twenty digits, four too many", "0.12345678901234560001", false},
		{"two digits of the least float", "4.9e-324", false},
		{"one digit of the least float", "5E-324", true},
		{"zero with the longest exponent", "0.0e-999999999999999999999", true},
		{"next to zero with the longest exponent", "0.1e-999999999999999999999", false},
		{"one, far from its point", "0." + strings.Repeat("0", 299) + "1e300", true},
		{"a rounded one", "1.00000000000000001", false},
		{"an integer that rounds", "9007199254740993e0", false},
		{"an integer that does not", "9007199254740994e0", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromJSON([]byte(tt.text), JSONOptions{})
			if taken := err == nil; taken != tt.want {
				t.Errorf("taken as %x = %v, want %v: %v", got, taken, tt.want, err)
			}
		})
	}
}

func TestWhatJSONCannotCarryShowsWhole(t *testing.T) {
	for name, item := range map[string]string{
		"a null key":           "a1f600",
		"an undefined key":     "a1f700",
		"a false key":          "a1f400",
		"a simple key":         "a1e500",
		"a byte string key":    "a1416100",
		"an array key":         "a18000",
		"undefined, far in":    "81a1616181f7",
		"NaN, far in":          "81a1616181f97e00",
		"a simple value":       "81e0",
		"a self-described one": "d9d9f700",
		"a key twice":          "a2616100616100",
		"nine levels":          "81818181818181818100",
	} {
		t.Run(name, func(t *testing.T) {
			raw, valid := ToJSON(unhex(t, item))
			if want := `{"$cbor":"` + item + `"}`; string(raw) != want || valid {
				t.Errorf("shows as %s, %v, want %s", raw, valid, want)
			}
		})
	}
}
