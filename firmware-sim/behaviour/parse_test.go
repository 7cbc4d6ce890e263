package behaviour

import (
	"strings"
	"testing"
	"time"

	"behest/firmware-sim/wire"

	"github.com/google/go-cmp/cmp"
)

func TestTheLanguage(t *testing.T) {
	success := wire.Report{Status: wire.Success}
	ok := wire.Report{Status: wire.Success, Result: []byte{0xa1, 0x62, 'o', 'k', 0xf5}}
	rows := []struct {
		text string
		want Plan
	}{
		{"success", DefaultPlan()},
		{"success:", DefaultPlan()},
		{`success:after=2s,result={"ok":true}`, Plan{Outcome: ok, After: 2 * time.Second}},
		{`success:result={"ok":true},after=2s`, Plan{Outcome: ok, After: 2 * time.Second}},
		{`success:result=12`, Plan{Outcome: wire.Report{Status: wire.Success, Result: []byte{12}}}},
		{`success:prev=[1,2],effect=partial,progress=40`, Plan{Outcome: wire.Report{
			Status: wire.Success, Prev: []byte{0x82, 1, 2}, Effect: new(wire.EffectPartial), Progress: new(uint8(40)),
		}}},
		{"failure:code=32,text=stuck", Plan{Outcome: wire.Report{Status: wire.Failure, Code: new(int64(32)), Text: "stuck"}}},
		{`failure:text="a, b",code=-1`, Plan{Outcome: wire.Report{Status: wire.Failure, Code: new(int64(-1)), Text: "a, b"}}},
		{"reject", Plan{Outcome: wire.Report{Status: wire.Rejected, Code: new(int64(2))}}},
		{"reject:code=4", Plan{Outcome: wire.Report{Status: wire.Rejected, Code: new(int64(4))}}},
		{"running", Plan{Outcome: success, Every: time.Second}},
		{"running:every=1s,for=5s,then=success", Plan{Outcome: success, Every: time.Second, After: 5 * time.Second}},
		{"running:for=5s,then=failure:code=32,after=1s", Plan{
			Outcome: wire.Report{Status: wire.Failure, Code: new(int64(32))}, Every: time.Second, After: 6 * time.Second,
		}},
		{"busy:for=5s,then=silent", Plan{Outcome: success, Busy: 5 * time.Second, Silent: true}},
		{"silent", Plan{Outcome: success, Silent: true}},
		{"crash", Plan{Outcome: success, Crash: Stored}},
		{"crash:at=acted", Plan{Outcome: success, Crash: Acted}},
		{"crash:at=outcome,after=1s", Plan{Outcome: success, Crash: Concluded, After: time.Second}},
		{"refuse-cancel", Plan{Outcome: success, RefuseCancel: true}},
		{"refuse-cancel:then=running:for=1m,then=failure", Plan{
			Outcome: wire.Report{Status: wire.Failure}, Every: time.Second, After: time.Minute, RefuseCancel: true,
		}},
	}
	for _, row := range rows {
		t.Run(row.text, func(t *testing.T) {
			got, err := Parse(row.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, row.want); diff != "" {
				t.Errorf("plan (-got +want):\n%s", diff)
			}
		})
	}
}

func TestMistakesAreNamedInOneLine(t *testing.T) {
	rows := []struct{ text, want string }{
		{"", `unknown behaviour ""`},
		{"succes", `unknown behaviour "succes"`},
		{"success:every=1s", `success does not take "every"`},
		{"success:after", `"after" is no KEY=VALUE`},
		{"success:after=2", "success: after=2: no duration"},
		{"success:after=-2s", "no duration"},
		{"running:every=0s", "no duration"},
		{"success:after=1s,after=2s", "after comes twice"},
		{`success:result={"ok":`, "not JSON"},
		{`success:result={"ok":true}x`, "a comma is missing"},
		{"success:result=yes", "not JSON"},
		{"success:effect=much", "none of none"},
		{"success:progress=101", "no percentage"},
		{"failure:code=1.5", "no integer"},
		{"failure:text=" + strings.Repeat("x", 65), "longer than 64 bytes"},
		{"crash:at=lunch", "none of stored"},
		{"running:then=walk", "running: then: unknown behaviour"},
		{strings.Repeat("running:then=", 9) + "success", "more than 8 behaviours"},
	}
	for _, row := range rows {
		t.Run(row.text, func(t *testing.T) {
			plan, err := Parse(row.text)
			if err == nil {
				t.Fatalf("became %+v", plan)
			}
			if !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, row.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`success:after=2s,result={"ok":true}`)
	f.Add("running:every=1s,for=5s,then=failure:code=32,text=stuck")
	f.Fuzz(func(t *testing.T, s string) {
		plan, err := Parse(s)
		if err == nil && (plan.After < 0 || plan.Busy < 0) {
			t.Errorf("%q became %+v", s, plan)
		}
	})
}
