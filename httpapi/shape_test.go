package httpapi

import (
	"context"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/device"
)

// What the use case gets is what was written, and nothing rounded.
func TestAnIntentArrivesAsItWasWritten(t *testing.T) {
	var got command.Intent
	d := &desk{issue: func(_ context.Context, in command.Intent) (command.Issued, error) {
		got = in
		return command.Issued{View: pumpCommand(command.Queued), Refused: []command.Refusal{{Device: "b", Code: command.CodeDeviceFull}}}, nil
	}}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "all of it", path: "/v1/commands",
		body: `{"type":"valve.set","params":{"n":9007199254740993,"u":18446744073709551615,"f":0.1,"b":{"$bytes":"3q2-7w"}},` +
			`"targets":{"devices":["b","a"],"groups":["g"],"selector":"site=a","all":true},"reason":"night","labels":{"site":"ä","x":""},` +
			`"not_before":"2026-11-24T22:00:00.0009+01:00","deliver_within_seconds":1,"run_for_seconds":31536000,"expect_targets":2,"allow_unregistered":true}`})
	if r.status != 201 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	want := command.Intent{
		Type:      "valve.set",
		Params:    json.RawMessage(`{"n":9007199254740993,"u":18446744073709551615,"f":0.1,"b":{"$bytes":"3q2-7w"}}`),
		Targets:   command.Targets{Devices: []string{"b", "a"}, Groups: []string{"g"}, Selector: "site=a", All: true},
		NotBefore: time.Date(2026, 11, 24, 21, 0, 0, 0, time.UTC), DeliverWithin: time.Second, RunFor: 365 * 24 * time.Hour,
		Labels: map[string]string{"site": "ä", "x": ""}, Reason: "night", RequestedBy: "operator-1",
		ExpectTargets: new(2), AllowUnregistered: true,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("intent (-got +want):\n%s", diff)
	}
	var answer Command
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answer.Refused, []Refusal{{Device: "b", Code: "device_full"}}); diff != "" {
		t.Errorf("refused (-got +want):\n%s", diff)
	}
	for _, body := range []string{anIntent, params("null")} {
		if r := s.do(ask{name: "the least", path: "/v1/commands", body: body}); r.status != 201 {
			t.Fatalf("got %d %s", r.status, r.body)
		}
		least := command.Intent{Type: "t", Targets: command.Targets{Devices: []string{"pump-7"}}, RequestedBy: "operator-1"}
		if diff := cmp.Diff(got, least); diff != "" {
			t.Errorf("%s (-got +want):\n%s", body, diff)
		}
	}
}

func TestAnEditArrivesAsItWasWritten(t *testing.T) {
	var got device.Edit
	d := &desk{
		edit: func(_ string, e device.Edit, by string) (device.View, error) { got = e; return pump(), nil },
		put: func(_ string, e device.Edit, by string) (device.View, bool, error) {
			got = e
			return pump(), false, nil
		},
	}
	s := serve(t, d, d, Options{})
	match := map[string]string{"If-Match": `"12"`}
	for _, tt := range []struct {
		a    ask
		want device.Edit
	}{
		{ask{name: "patch nothing", method: "PATCH", body: `{}`}, device.Edit{}},
		{ask{name: "patch labels away", method: "PATCH", body: `{"labels":{}}`, header: match}, device.Edit{Labels: map[string]string{}, Version: 12}},
		{ask{name: "patch all", method: "PATCH", body: `{"labels":{"a":"b"},"ack_timeout_seconds":0.5,"awake_seconds":30}`},
			device.Edit{Labels: map[string]string{"a": "b"}, AckTimeoutSeconds: new(0.5), AwakeSeconds: new(30)}},
		{ask{name: "put nothing", method: "PUT", body: `{}`},
			device.Edit{Labels: map[string]string{}, AckTimeoutSeconds: new(0.0), AwakeSeconds: new(0)}},
		{ask{name: "put all", method: "PUT", body: `{"labels":{"a":"b"},"ack_timeout_seconds":2,"awake_seconds":30}`, header: map[string]string{"If-Match": "*"}},
			device.Edit{Labels: map[string]string{"a": "b"}, AckTimeoutSeconds: new(2.0), AwakeSeconds: new(30)}},
	} {
		tt.a.path = "/v1/devices/pump-7"
		if r := s.do(tt.a); r.status != 200 {
			t.Errorf("%s: %d %s", tt.a.name, r.status, r.body)
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.a.name, diff)
		}
	}
}

// Names reach the use case as they are, whatever a path makes of them.
func TestNamesAreDecodedOnce(t *testing.T) {
	var got string
	d := &desk{device: func(name string) (device.View, error) {
		got = name
		v := pump()
		v.Name = name
		return v, nil
	}}
	s := serve(t, d, d, Options{})
	for path, want := range map[string]string{
		"pump-7": "pump-7", "a%20b": "a b", "a%2520b": "a%20b", "%C3%A9": "é", "a+b": "a+b", "a%2Bb": "a+b",
		"%25": "%", "..%5C": `..\`, ":id": ":id", "a%3Fb%23c": "a?b#c", "a;b,c=d": "a;b,c=d", "%2A": "*",
	} {
		got = ""
		if r := s.do(ask{name: path, path: "/v1/devices/" + path}); r.status != 200 || got != want {
			t.Errorf("%s: %d, name %q, want %q", path, r.status, got, want)
		}
	}
}

func TestEffectOfManyIsWhatIsKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		count   map[command.State]int
		effects map[command.Effect]int
		pending int
		want    command.Effect
	}{
		"nothing left yet":       {map[command.State]int{command.Queued: 2, command.Scheduled: 1}, nil, 0, command.EffectNone},
		"one is on its way":      {map[command.State]int{command.Queued: 2, command.Sent: 1}, nil, 0, command.EffectUnknown},
		"all did":                {map[command.State]int{command.Succeeded: 2}, map[command.Effect]int{command.EffectApplied: 2}, 0, command.EffectApplied},
		"some did, some cannot":  {map[command.State]int{command.Succeeded: 1, command.Rejected: 1}, map[command.Effect]int{command.EffectApplied: 1, command.EffectNone: 1}, 0, command.EffectPartial},
		"one nobody knows of":    {map[command.State]int{command.Succeeded: 1, command.TimedOut: 1}, map[command.Effect]int{command.EffectApplied: 1, command.EffectUnknown: 1}, 0, command.EffectUnknown},
		"the others are pending": {map[command.State]int{command.Succeeded: 1}, map[command.Effect]int{command.EffectApplied: 1}, 9, command.EffectPartial},
		"some did, some wait":    {map[command.State]int{command.Succeeded: 1, command.Queued: 1}, map[command.Effect]int{command.EffectApplied: 1}, 0, command.EffectPartial},
	} {
		v := command.View{Command: pumpCommand(command.Queued).Command}
		v.Tally.Pending = tt.pending
		for s, n := range tt.count {
			v.Tally.Count[s] = n
		}
		for e, n := range tt.effects {
			v.Tally.Effects[e] = n
		}
		if got := effectOf(v); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// A digest that is not of the very devices would be worse than none.
func TestDigestIsOfTheDevicesOrNone(t *testing.T) {
	one := pumpCommand(command.Queued)
	if digestOf(one) == "" {
		t.Error("a command on one device has no digest")
	}
	many := command.View{Command: pumpCommand(command.Queued).Command}
	many.Command.Targets.Devices, many.Command.Devices = []string{"a", "b"}, 2
	many.Command.Resolved = command.DigestTargets(command.Named("a", "b"))
	if digestOf(many) == "" || digestOf(many) == digestOf(one) {
		t.Errorf("two devices: %q", digestOf(many))
	}
	many.Command.Resolved = nil // accepted by a version that kept none
	if got := digestOf(many); got != "" {
		t.Errorf("the list of devices is not at hand: %q", got)
	}
}

// A result that its type does not allow is shown as it is, and said to be
// off: the device did act.
func TestAResultThatBreaksItsSchemaIsShown(t *testing.T) {
	for _, invalid := range []bool{false, true} {
		raw, valid := resultOf(command.Report{Result: []byte{0xf5}, Invalid: invalid})
		if string(raw) != "true" || *valid == invalid {
			t.Errorf("invalid %v is shown as %s, valid %v", invalid, raw, *valid)
		}
	}
}

func TestAReportThatWasOffIsShownWhole(t *testing.T) {
	d := &desk{execution: func(command.ID, string) (command.Execution, []command.PastReport, error) {
		x := *pumpCommand(command.Succeeded).Only
		x.Late, x.Cause = true, command.NoCause
		early := command.PastReport{At: x.EndedAt.Add(-time.Second), Report: command.Report{
			Status: command.StatusRunning, Progress: new(uint8(40)), Code: new(int64(-7)), Text: "warm", N: new(uint32(3)), Next: 10 * time.Second,
		}}
		last := command.PastReport{At: x.EndedAt, Report: command.Report{
			Status: command.StatusSuccess, Odd: []byte{0xa2, 0x01, 0x01, 0x04, 0x07}, Effect: new(command.EffectPartial), Prev: []byte{0x18, 0x2a},
		}}
		nan := command.PastReport{At: x.EndedAt, Report: command.Report{Status: command.StatusSuccess, Result: []byte{0xf9, 0x7e, 0x00}}}
		x.Last = last.Report
		return x, []command.PastReport{early, last, nan}, nil
	}}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "an execution", path: commandPath + "/executions/pump-7"})
	var got ExecutionWithReports
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatal(err)
	}
	end := Time(noon.Add(3127 * time.Millisecond))
	want := []Report{
		{At: Time(noon.Add(2127 * time.Millisecond)), N: new(int64(3)), Status: "running", Progress: new(40), Code: new(int64(-7)), Text: "warm", NextSeconds: new(int64(10))},
		{At: end, Status: "success", Result: json.RawMessage(`{"$cbor":"a201010407"}`), ResultValid: new(false), Effect: new(Effect("partial")), Prev: json.RawMessage("42"), Late: true},
		{At: end, Status: "success", Result: json.RawMessage(`{"$cbor":"f97e00"}`), ResultValid: new(false), Late: true},
	}
	equal := cmp.Comparer(func(a, b Time) bool { return time.Time(a).Equal(time.Time(b)) })
	if diff := cmp.Diff(got.Reports, want, equal); diff != "" {
		t.Errorf("reports (-got +want):\n%s", diff)
	}
	if string(got.Result) != `{"$cbor":"a201010407"}` || *got.ResultValid || !got.Late {
		t.Errorf("the execution shows %s, late %v", got.Result, got.Late)
	}
}

func TestADeviceThatNeverCameHasNoRegistration(t *testing.T) {
	got := viewDevice(device.View{Device: device.Device{Name: "x", CreatedAt: noon}}, noon)
	if diff := cmp.Diff(got, Device{ID: "x", CreatedAt: Time(noon)}, cmp.Comparer(func(a, b Time) bool { return a == b })); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	v := pump()
	v.Observation.Suspended, v.Observation.Remote = true, netip.MustParseAddrPort("[2001:db8::7]:5683")
	if got := viewDevice(v, noon); got.Online || !got.Observation.Suspended || got.Observation.Remote != "[2001:db8::7]:5683" {
		t.Errorf("suspended: %+v", got)
	}
	if got := viewDevice(pump(), noon.Add(48*time.Hour)); got.Online {
		t.Error("online after its lifetime")
	}
}

func TestMomentsAreWrittenOneWay(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-11-24T12:00:00Z"`: `"2026-11-24T12:00:00.000Z"`, `"2026-11-24T13:30:00.1239+01:30"`: `"2026-11-24T12:00:00.123Z"`,
	} {
		var m Time
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(m); string(got) != want {
			t.Errorf("%s is written %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{`1`, `""`, `"now"`, `"2026-11-24"`, `"2026-11-24T12:00:00"`, `"2026-13-24T12:00:00Z"`, `null "`} {
		var m Time
		if err := m.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is a moment", text)
		}
	}
}

func TestACommandOnManyIsShownInPart(t *testing.T) {
	v := pumpCommand(command.Queued)
	v.Only, v.Tally = nil, command.Tally{Pending: 1200}
	v.Command.Targets.Devices = make([]string, 1300)
	v.Command.Devices = 1300
	v.Refused = []command.Refusal{{Device: "x", Code: command.CodeDeviceFull}}
	got := viewCommand(v)
	if len(got.Targets.Devices) != targetsShown || got.DeviceCount != 1300 || *got.Pending != 1200 || len(got.Refused) != 1 ||
		got.State != "open" || got.Outcome != nil || got.Settled || got.Effect != "none" {
		t.Errorf("%d of %d are shown, %d pending: %+v", len(got.Targets.Devices), got.DeviceCount, *got.Pending, got.State)
	}
}
