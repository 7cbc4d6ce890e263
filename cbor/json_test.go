package cbor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
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
