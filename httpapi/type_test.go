package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

func TestATypeArrivesAsItWasWritten(t *testing.T) {
	var got command.Type
	var gotVersion int
	var gotBy string
	d := &desk{putType: func(typ command.Type, ifVersion int, by string) (command.Type, bool, error) {
		got, gotVersion, gotBy = typ, ifVersion, by
		typ.Version = 4
		return typ, false, nil
	}}
	s := serve(t, d, d, Options{})
	whole := command.Type{
		Name:   "pump.start",
		Policy: command.Policy{WireCode: 65535, Redelivery: command.Once, Parallel: true, Urgent: true, Fresh: true, Large: true, Float32: true},
		Params: json.RawMessage(`{"maximum":9007199254740993.10}`), Result: json.RawMessage(`false`),
		Slot: []string{"/a~1b", ""}, Significance: command.Critical,
	}
	bound := func(seconds ...int) command.Bound {
		return command.Bound{Default: time.Duration(seconds[0]) * time.Second, Min: time.Duration(seconds[1]) * time.Second, Max: time.Duration(seconds[2]) * time.Second}
	}
	whole.Clocks = command.TypeClocks{
		ApproveWithin: bound(1, 0, 0), UseWithin: bound(2, 1, 31536000), HoldWithin: bound(0, 3, 0), DeliverWithin: bound(0, 0, 4),
		RunFor: bound(31536000, 0, 0), ReportEvery: bound(6, 0, 0), CancelFor: bound(7, 0, 0), SettleFor: bound(8, 0, 0),
	}
	for _, tt := range []struct {
		a       ask
		want    command.Type
		version int
	}{
		{ask{name: "nothing", body: `{}`}, command.Type{Name: "pump.start"}, 0},
		{ask{name: "nulls", body: `{"params":null,"result":null}`, header: map[string]string{"If-Match": "*"}}, command.Type{Name: "pump.start"}, 0},
		{ask{name: "all of it", header: map[string]string{"If-Match": `"3"`}, body: `{"params": {"maximum": 9007199254740993.10 }, "result": false,
			"wire_code":65535,"large":true,"float32":true,"redelivery":"once","parallel":true,"urgent":true,"fresh":true,
			"slot":["/a~1b",""],"significance":"critical","clocks":{"approve_within_seconds":1,"use_within_seconds":{"default":2,"min":1,"max":31536000},
			"hold_within_seconds":{"min":3},"deliver_within_seconds":{"max":4},"run_for_seconds":31536000,"report_every_seconds":{"default":6},
			"cancel_for_seconds":7,"settle_for_seconds":8}}`}, whole, 3},
	} {
		tt.a.as, tt.a.method, tt.a.path = "admin", "PUT", "/v1/types/pump.start"
		r := s.do(tt.a)
		if r.status != 200 || r.header.Get("ETag") != `"4"` || gotVersion != tt.version || gotBy != "admin-1" {
			t.Errorf("%s: %d %s; version %d by %q", tt.a.name, r.status, r.body, gotVersion, gotBy)
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.a.name, diff)
		}
	}
}

// Whatever a type is, what is shown of it can be sent back, and makes the same
// type.
func TestATypeThatIsShownCanBeSentBack(t *testing.T) {
	want := pumpType()
	want.Clocks.CancelFor = command.Bound{Min: time.Second, Max: time.Minute}
	want.Result = json.RawMessage(`true`)
	raw, err := json.Marshal(viewType(want))
	if err != nil {
		t.Fatal(err)
	}
	var rules CommandTypeRules
	if err := json.Unmarshal(raw, &rules); err != nil {
		t.Fatal(err)
	}
	got, err := typeOf(want.Name, &rules)
	if err != nil {
		t.Fatal(err)
	}
	got.Version, got.CreatedAt, got.CreatedBy = want.Version, want.CreatedAt, want.CreatedBy
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestTypesComeInPages(t *testing.T) {
	var asked []string
	d := &desk{types: func(after string, limit int) ([]command.Type, bool, error) {
		asked = append(asked, fmt.Sprint(after, " ", limit))
		typ := pumpType()
		typ.Name += after
		return []command.Type{typ}, after == "", nil
	}}
	s := serve(t, d, d, Options{})
	var page CommandTypePage
	if err := json.Unmarshal([]byte(s.do(ask{name: "first", path: "/v1/types?page_size=1"}).body), &page); err != nil || page.NextPageToken == "" {
		t.Fatalf("%v %+v", err, page)
	}
	r := s.do(ask{name: "second", path: "/v1/types?page_token=" + page.NextPageToken})
	if r.status != 200 || strings.Contains(r.body, "next_page_token") {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	if diff := cmp.Diff(asked, []string{" 1", "pump.start 100"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if r := s.do(ask{name: "of another list", path: "/v1/devices?page_token=" + page.NextPageToken}); r.status != 400 {
		t.Errorf("of another list: %d", r.status)
	}
}

// A schema may have more members than anything else in the contract, and lie
// deeper.
func TestSchemasMayBeCrowded(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	members := strings.ReplaceAll(labels(200), `"v"`, `{}`)
	deep := strings.Repeat(`{"items":`, 20) + `{}` + strings.Repeat(`}`, 20)
	for name, body := range map[string]string{
		"crowded params": `{"params":{"properties":{` + members + `}}}`, "crowded result": `{"result":{"properties":{` + members + `}}}`,
		"deep": `{"params":` + deep + `}`,
	} {
		if r := s.do(ask{name: name, as: "admin", method: "PUT", path: "/v1/types/t", body: body}); r.status != 201 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	r := s.do(ask{name: "over 512 KiB", as: "admin", method: "PUT", path: "/v1/types/t", body: `{}` + strings.Repeat(" ", typeBodyMax)})
	if r.status != 413 {
		t.Errorf("over 512 KiB: %d", r.status)
	}
}
