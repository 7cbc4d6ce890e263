package cbor

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// vector is a paragraph of testdata/vectors; README.md there explains it.
type vector struct {
	Name, Kind string
	Hex        []byte
	Fields     map[string]string // all others
}

func (v vector) refused() bool    { _, ok := v.Fields["fault"]; return ok }
func (v vector) decodeOnly() bool { return v.Fields["only"] == "decode" }

// vectors reads all vectors of a kind. It fails the test if a file is not in
// the format, so that other readers can rely on it.
func vectors(t testing.TB, kind string) []vector {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for paragraph := range strings.SplitSeq(string(text), "\n\n") {
			v, ok := parseVector(t, paragraph)
			if !ok {
				continue
			}
			if seen[v.Name] {
				t.Fatalf("%s: two vectors are named %s", file, v.Name)
			}
			seen[v.Name] = true
			if v.Kind == kind {
				all = append(all, v)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no vector of kind %s", kind)
	}
	return all
}

func parseVector(t testing.TB, paragraph string) (vector, bool) {
	t.Helper()
	v := vector{Fields: map[string]string{}}
	field, digits := "", ""
	for line := range strings.SplitSeq(paragraph, "\n") {
		value := ""
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == ' ':
			if field != "hex" {
				t.Fatalf("only hex goes on over lines: %q", line)
			}
			value = line
		default:
			var ok bool
			if field, value, ok = strings.Cut(line, ":"); !ok {
				t.Fatalf("no field: %q", line)
			}
		}
		switch value = strings.TrimSpace(value); field {
		case "name":
			v.Name = value
		case "kind":
			v.Kind = value
		case "hex":
			value, _, _ = strings.Cut(value, ";")
			digits += strings.ReplaceAll(value, " ", "")
			v.Fields["hex"] = digits
		case "only", "meaning", "fault", "json", "float32", "valid":
			v.Fields[field] = value
		default:
			t.Fatalf("no such field: %q", line)
		}
	}
	var err error
	if v.Hex, err = hex.DecodeString(digits); err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return v, v.Name != ""
}

func TestVectorsCoverTheContract(t *testing.T) {
	for kind, least := range map[string]int{"list": 40, "report": 90, "json": 80} {
		if got := len(vectors(t, kind)); got < least {
			t.Errorf("%d vectors of kind %s, there were at least %d", got, kind, least)
		}
	}
}

// now is when the lists of the vectors are written and read.
var now = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

type entryMeaning struct {
	Seq         uint32 `json:"seq"`
	Cancel      bool   `json:"cancel,omitempty"`
	Type        string `json:"type,omitempty"`
	WireCode    uint16 `json:"wire_code,omitempty"`
	Params      string `json:"params,omitempty"`
	SecondsLeft int64  `json:"seconds_left,omitempty"`
	RunFor      int64  `json:"run_for,omitempty"`
	ReportEvery int64  `json:"report_every,omitempty"`
	Fresh       bool   `json:"fresh,omitempty"`
}

func (m entryMeaning) entry(t *testing.T) command.Entry {
	e := command.Entry{
		Seq: m.Seq, Cancel: m.Cancel, Type: m.Type, WireCode: m.WireCode, Params: unhex(t, m.Params),
		RunFor:      time.Duration(m.RunFor) * time.Second,
		ReportEvery: time.Duration(m.ReportEvery) * time.Second,
		Fresh:       m.Fresh,
	}
	if !m.Cancel {
		e.StartBy = now.Add(time.Duration(m.SecondsLeft) * time.Second)
	}
	return e
}

type reportMeaning struct {
	Status   string  `json:"status"`
	Progress *uint8  `json:"progress"`
	Code     *int64  `json:"code"`
	Text     string  `json:"text"`
	Result   string  `json:"result"`
	Effect   string  `json:"effect"`
	Next     int64   `json:"next"`
	Prev     string  `json:"prev"`
	N        *uint32 `json:"n"`
	Odd      bool    `json:"odd"`
}

func (m reportMeaning) report(t *testing.T, raw []byte) command.Report {
	r := command.Report{
		Progress: m.Progress, Code: m.Code, Text: m.Text, N: m.N,
		Result: unhex(t, m.Result), Prev: unhex(t, m.Prev),
		Next: time.Duration(m.Next) * time.Second,
	}
	statuses := []string{"running", "success", "failure", "rejected", "canceled"}
	r.Status = command.Status(index(t, statuses, m.Status))
	if m.Effect != "" {
		r.Effect = new(command.Effect(index(t, []string{"none", "partial", "applied", "unknown"}, m.Effect)))
	}
	if m.Odd {
		r.Odd = raw
	}
	return r
}

func index(t *testing.T, names []string, name string) int {
	t.Helper()
	i := slices.Index(names, name)
	if i < 0 {
		t.Fatalf("no such word: %q", name)
	}
	return i
}

// unhex is the bytes of s; of "" it is nil.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// meaning reads the vector's meaning into m, and no field may be unknown.
func (v vector) meaning(t *testing.T, m any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(v.Fields["meaning"]))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
}

func TestListVectors(t *testing.T) {
	for _, v := range vectors(t, "list") {
		t.Run(v.Name, func(t *testing.T) {
			got, err := DecodeList(v.Hex, now)
			if v.refused() {
				checkRefusal(t, err, v.Fields["fault"])
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var m struct {
				Entries []entryMeaning `json:"entries"`
			}
			v.meaning(t, &m)
			want := []command.Entry{}
			for _, e := range m.Entries {
				want = append(want, e.entry(t))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			written, err := AppendList(nil, want, now)
			checkWritten(t, v, written, err)
			if diff := cmp.Diff(want, must(DecodeList(written, now))); diff != "" {
				t.Errorf("decoded again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReportVectors(t *testing.T) {
	for _, v := range vectors(t, "report") {
		t.Run(v.Name, func(t *testing.T) {
			got, err := DecodeReport(v.Hex)
			if v.refused() {
				checkRefusal(t, err, v.Fields["fault"])
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var m reportMeaning
			v.meaning(t, &m)
			want := m.report(t, v.Hex)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			written, err := AppendReport(nil, want)
			checkWritten(t, v, written, err)
			want.Odd = nil // nothing odd is ever written
			if diff := cmp.Diff(want, must(DecodeReport(written))); diff != "" {
				t.Errorf("decoded again (-want +got):\n%s", diff)
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, fault string) {
	t.Helper()
	want := &command.Error{Code: command.CodeMalformed, Msg: fault}
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
	if len(fault) > DiagnosticBytesMax {
		t.Errorf("the refusal has %d bytes: %q", len(fault), fault)
	}
}

func checkWritten(t *testing.T, v vector, written []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if same := slices.Equal(written, v.Hex); same == v.decodeOnly() {
		t.Errorf("written: %x\nvector:  %x", written, v.Hex)
	}
}
