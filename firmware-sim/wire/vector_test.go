package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// vectors is all that is shared with the server.
const vectors = "../../cbor/testdata/vectors/*.txt"

// vector is one paragraph of a vector file, its fields by name.
type vector map[string]string

// TestVectors holds this codec to the vectors that the server's codec is held
// to, by the format of the README beside them.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob(vectors)
	if err != nil || len(files) == 0 {
		t.Fatalf("no vector files at %s (%v)", vectors, err)
	}
	done := map[string]int{}
	for _, file := range files {
		for _, v := range readVectors(t, file) {
			check := map[string]func(*testing.T, vector){
				"list": checkListVector, "report": checkReportVector, "json": checkJSONVector,
			}[v["kind"]]
			if check == nil {
				continue
			}
			t.Run(v["name"], func(t *testing.T) { check(t, v) })
			done[v["kind"]]++
		}
	}
	t.Logf("vectors: %v", done)
	if done["list"] == 0 || done["report"] == 0 {
		t.Error("a kind of this device has no vector")
	}
}

func readVectors(t *testing.T, file string) []vector {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := []vector{{}}
	last := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\r\n")
		now := all[len(all)-1]
		switch field, value, ok := strings.Cut(line, ":"); {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			all = append(all, vector{})
		case strings.HasPrefix(line, " ") && last == "hex":
			now[last] += withoutRemark(line)
		case !ok:
			t.Fatalf("%s: a line that is no field: %q", file, line)
		case field == "hex":
			now[field], last = withoutRemark(value), field
		default:
			now[field], last = strings.TrimSpace(value), field
		}
	}
	return slices.DeleteFunc(all, func(v vector) bool { return len(v) == 0 })
}

func withoutRemark(s string) string {
	digits, _, _ := strings.Cut(s, ";")
	return strings.Join(strings.Fields(digits), "")
}

// meaning reads the JSON of a vector, strictly: a field that we do not know is
// a field that we do not check.
func meaning[T any](t *testing.T, v vector) T {
	t.Helper()
	var m T
	decoder := json.NewDecoder(strings.NewReader(v["meaning"]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func checkListVector(t *testing.T, v vector) {
	item := unhex(t, v["hex"])
	got, err := DecodeList(item)
	if _, refuse := v["fault"]; refuse {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v, error %v", got, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Seq         uint32 `json:"seq"`
		Cancel      bool   `json:"cancel"`
		Type        string `json:"type"`
		WireCode    uint64 `json:"wire_code"`
		Params      string `json:"params"`
		SecondsLeft uint64 `json:"seconds_left"`
		RunFor      int64  `json:"run_for"`
		ReportEvery int64  `json:"report_every"`
		Fresh       bool   `json:"fresh"`
	}
	var want []Entry
	for _, e := range meaning[struct{ Entries []entry }](t, v).Entries {
		want = append(want, Entry{
			Seq: e.Seq, Cancel: e.Cancel, Type: e.Type, Code: e.WireCode, Params: unhex(t, e.Params), Seconds: e.SecondsLeft,
			RunFor: time.Duration(e.RunFor) * time.Second, ReportEvery: time.Duration(e.ReportEvery) * time.Second, Fresh: e.Fresh,
		})
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("list (-got +want):\n%s", diff)
	}
	if encoded := AppendList(nil, got); v["only"] != "decode" && !bytes.Equal(encoded, item) {
		t.Errorf("encoded %x, want %x", encoded, item)
	}
}

func checkReportVector(t *testing.T, v vector) {
	item := unhex(t, v["hex"])
	got, odd, err := DecodeReport(item)
	if _, refuse := v["fault"]; refuse {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v, error %v", got, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m := meaning[struct {
		Status, Text, Result, Effect, Prev string
		Progress                           *uint8
		Code                               *int64
		Next, N                            *uint64
		Odd                                bool
	}](t, v)
	want := Report{Progress: m.Progress, Code: m.Code, Text: m.Text, Next: m.Next, N: m.N}
	want.Status = Status(slices.Index([]string{"running", "success", "failure", "rejected", "canceled"}, m.Status))
	want.Result, want.Prev = unhex(t, m.Result), unhex(t, m.Prev)
	if effect := slices.Index([]string{"none", "partial", "applied", "unknown"}, m.Effect); effect >= 0 {
		want.Effect = new(Effect(effect))
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("report (-got +want):\n%s", diff)
	}
	if odd != m.Odd {
		t.Errorf("odd: %v, want %v", odd, m.Odd)
	}
	if encoded := got.Append(nil); v["only"] != "decode" && !bytes.Equal(encoded, item) {
		t.Errorf("encoded %x, want %x", encoded, item)
	}
}

// checkJSONVector checks what a device makes of the JSON in its behaviours. The
// refusals and the shown form are the server's own affair.
func checkJSONVector(t *testing.T, v vector) {
	_, refused := v["fault"]
	if refused || v["valid"] == "no" || v["only"] == "decode" || v["float32"] == "yes" {
		t.Skip("the server's side of the mapping")
	}
	document, ok := v["json"]
	if !ok {
		document = v["meaning"]
	}
	item, err := FromJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(item); got != v["hex"] {
		t.Errorf("%s became %s, want %s", document, got, v["hex"])
	}
}
