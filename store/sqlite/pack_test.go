package sqlite

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"behest/command"
)

// TestNumbersInTheFileStand holds every number that a file keeps. A row that
// changes here changes the meaning of every store that exists: add at the end
// instead.
func TestNumbersInTheFileStand(t *testing.T) {
	names := func(n int, name func(int) string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(i, "=", name(i)))
		}
		return strings.Join(all, " ")
	}
	rows := []struct{ name, got, want string }{
		{"states", names(15, func(i int) string { return command.State(i).String() }),
			"0= 1=awaiting_approval 2=scheduled 3=queued 4=sent 5=delivered 6=running 7=canceling 8=succeeded 9=failed 10=rejected 11=denied 12=canceled 13=expired 14=timed_out"},
		{"effects", names(4, func(i int) string { return command.Effect(i).String() }), "0=none 1=partial 2=applied 3=unknown"},
		{"statuses", names(5, func(i int) string { return command.Status(i).String() }), "0=running 1=success 2=failure 3=rejected 4=canceled"},
		{"significance", names(4, func(i int) string { return command.Significance(i).String() }), "0=routine 1=elevated 2=critical 3=unknown"},
		{"redelivery", names(3, func(i int) string { return command.Redelivery(i).String() }), "0=dedup 1=safe 2=once"},
		{"causes", names(22, func(i int) string { return command.Cause(i).String() }),
			"0= 1=never_registered 2=not_observing 3=unreachable 4=asleep 5=behind_other_command 6=outside_window 7=held 8=approval_lapsed 9=approval_unused " +
				"10=no_report 11=silent 12=unacknowledged 13=not_canceled 14=device_removed 15=not_entitled 16=restored 17=device_reset 18=integrity_failed " +
				"19=nothing_to_undo 20=outcome_unknown 21=superseded"},
		{"gates", names(8, func(i int) string { return command.GateState(i).String() }), "0= 1=awaiting_approval 2=scheduled 3=open 4=paused 5=halted 6=closed 7=done"},
		{"what closes a gate", fmt.Sprint(uint8(command.Deny), uint8(command.Cancel), uint8(command.ApproveLapse), uint8(command.UseLapse), uint8(command.HoldLapse), uint8(command.Withdraw)), "2 3 15 16 17 25"},
		{"event types", names(len(eventTypes), func(i int) string { return string(eventTypes[i]) }),
			"0= 1=command.created 2=command.ended 3=command.settled 4=device.registered 5=device.deregistered 6=device.observing 7=device.unreachable " +
				"8=device.two_devices 9=device.reset 10=device.store_rolled_back 11=device.last_refused 12=execution.report_orphaned 13=execution.progress " +
				"14=execution.report_noted 15=execution.report_contradicted 16=execution.closed_unknown 17=execution.awaiting_approval 18=execution.scheduled " +
				"19=execution.queued 20=execution.sent 21=execution.delivered 22=execution.running 23=execution.canceling 24=execution.succeeded " +
				"25=execution.failed 26=execution.rejected 27=execution.denied 28=execution.canceled 29=execution.expired 30=execution.timed_out " +
				"31=device.edited 32=device.removed 33=type.declared 34=type.retired"},
		{"the SQL's idea of an end", fmt.Sprint(command.Succeeded.Ended(), command.Canceling.Ended(), uint8(command.Succeeded)), "true false 8"},
	}
	for _, row := range rows {
		if d := cmp.Diff(row.got, row.want); d != "" {
			t.Errorf("%s: got (-) and want (+) differ:\n%s", row.name, d)
		}
	}
}

// TestBytesInTheFileStand holds the packed columns byte for byte.
func TestBytesInTheFileStand(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	c := &command.Command{Clocks: command.DefaultClocks, CreatedAt: at, Devices: 1, Params: []byte{0xa0}, NotBefore: at.Add(time.Second)}
	c.Policy = command.Policy{WireCode: 7, Redelivery: command.Once, Fresh: true}
	k := kindOf(c)
	code, effect, n := int64(-3), command.EffectPartial, uint32(2)
	report := command.Report{Status: command.StatusFailure, Code: &code, Text: "no", Result: []byte{0xf6}, Effect: &effect, N: &n, Next: time.Second}
	invalid := command.Report{Status: command.StatusSuccess, Invalid: true}
	typ := aPackedType()
	x := command.Execution{Command: c, Cause: command.Silent, Late: true, Attempts: 2, QueuedAt: at, SentAt: at.Add(time.Second), EndedAt: at.Add(500 * time.Millisecond)}
	late := command.Execution{Command: c, State: command.Scheduled, DueAt: at.Add(time.Second), Params: []byte{0xf5}}
	set := &command.Command{Clocks: command.Clocks{}, CreatedAt: at, Devices: 2, Slot: -3}
	ruled := aRuledType()
	row := sealed{n: 9, count: 2, epoch: 1, at: at.UnixMilli()}
	row.events = appendEvents(nil, row.at, []command.Event{
		{Type: command.EventIssued, At: at, Actor: "ann", CommandN: 300, Device: 4},
		{Type: "new.one", At: at.Add(-time.Millisecond), CommandN: 299, Data: json.RawMessage("{}")},
	})
	rows := []struct {
		name string
		got  []byte
		want string
	}{
		{"terms", appendTerms(nil, &k), "9337" + "07" + "02" + "80f0b252" + "80f0b252" + "80a0f6a713" + "c0a907" + "8090e4c004"},
		{"intent", appendIntent(nil, c, true), "37" + "80f0b252" + "c0cf24" + "d00f" + "01a0"},
		{"report", appendReport(nil, &report), "f20b" + "05" + "026e6f" + "01f6" + "01" + "d00f" + "02"},
		{"report that is invalid", appendReport(nil, &invalid), "8120"},
		{"rules", appendRules(nil, &typ), "d39f809840" + "01" + "02" + "027b7d" + "0474727565" + "02" + "022f61" + "042f622f63" + "d00f" + "a01f" + "f02e" + "c03e"},
		{"course", appendCourse(nil, &x), "b708" + "0b" + "04" + "00" + "d00f" + "e707"},
		{"course of one that is due later", appendCourse(nil, &late), "8030" + "d00f" + "01f5"},
		{"intent that sets a slot", appendIntent(nil, set, false), "48" + "02" + "05"},
		{"rules on approval and the way back", appendRules(nil, &ruled), "8080808080" + "03" + packedText(ruledApproval) + packedText(ruledRollback)},
		{"an event of somebody who was somewhere", appendEvents(nil, row.at, []command.Event{{Type: command.EventIssued, At: at, Actor: "ann", From: "::1"}}), "11" + "00" + "07616e6e003a3a31"},
		{"events", row.events, "17" + "00" + "03616e6e" + "d804" + "08" + "0a" + "076e65772e6f6e65" + "01" + "01" + "027b7d"},
		{"hash", row.chained(bytes.Repeat([]byte{1}, 32)), "b0699948ddff316879c196039d0f16442a58c4dbf6343cf9a47d9c135fbb5b9d"},
	}
	for _, row := range rows {
		if got := fmt.Sprintf("%x", row.got); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// aPackedType has some of everything.
func aPackedType() command.Type {
	t := command.Type{Name: "not in the column", Version: 9, Retired: true, Significance: command.Critical}
	t.Policy = command.Policy{WireCode: 9, Redelivery: command.Safe, Fresh: true, Float32: true}
	t.Params, t.Result, t.Slot = json.RawMessage(`{}`), json.RawMessage(`true`), []string{"/a", "/b/c"}
	t.Clocks.ApproveWithin.Default = time.Second
	t.Clocks.RunFor = command.Bound{Min: 2 * time.Second, Max: 3 * time.Second}
	t.Clocks.SettleFor.Max = 4 * time.Second
	return t
}

// aRuledType has nothing but rules.
func aRuledType() command.Type {
	above := 1.5
	return command.Type{
		Approval: &command.ApprovalRule{Approvers: 2, Role: "admin", Groups: []string{"g"}, When: []command.Condition{
			{Pointer: "/a", Above: &above}, {Pointer: "/b", Equals: json.RawMessage(`{ "x": "<" }`)},
		}},
		Rollback: &command.RollbackRule{Kind: command.Inverse, Type: "t", Params: map[string]json.RawMessage{"p": json.RawMessage(` "/q"`)},
			Automatic: &command.Threshold{Percent: 5, Minimum: 6}},
	}
}

const (
	ruledApproval = `{"approvers":2,"role":"admin","when":[{"pointer":"/a","above":1.5},{"pointer":"/b","equals":"{ \"x\": \"\u003c\" }"}],"groups":["g"]}`
	ruledRollback = `{"kind":"inverse","type":"t","params":{"p":" \"/q\""},"automatic":{"percent":5,"minimum":6}}`
)

// packedText is a text as a packed column has it.
func packedText(s string) string { return fmt.Sprintf("%x", appendBytes(nil, s)) }

// TestTextsInTheFileStand holds what is kept as JSON.
func TestTextsInTheFileStand(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	c := &command.Command{Labels: map[string]string{"k": "v"}, Reason: "r", RollbackOf: command.ID{1}, Forced: true, Restores: true, Resolved: []byte{0xab}}
	c.Approval = &command.Demand{Approvers: 2, Role: "admin", Solo: true}
	c.Automatic = &command.Threshold{Percent: 5, Minimum: 6}
	c.Rollout = &command.Rollout{
		Waves: []command.Wave{{Count: 1}, {Percent: 10}}, RatePerMinute: 60, WaveWithin: 90 * time.Second, AdvancePercent: 80,
		Halt: &command.Threshold{Percent: 7, Minimum: 8}, RollbackOnHalt: true,
		Window: &command.Window{Cron: "0 2 * * *", Duration: 2 * time.Hour, Zone: "Europe/Berlin"},
	}
	text, err := extraOf(c)
	want := `{"labels":{"k":"v"},"reason":"r","approval":{"approvers":2,"role":"admin","solo":true},` +
		`"rollout":{"waves":[{"count":1},{"percent":10}],"rate_per_minute":60,"wave_within":"1m30s","advance_percent":80,` +
		`"halt":{"percent":7,"minimum":8},"rollback_on_halt":true,"window":{"cron":"0 2 * * *","duration":"2h0m0s","time_zone":"Europe/Berlin"}},` +
		`"automatic":{"percent":5,"minimum":6},"rollback_of":"01000000-0000-0000-0000-000000000000","forced":true,"restores":true,"resolved":"qw=="}`
	if d := cmp.Diff(text, want); err != nil || d != "" {
		t.Errorf("extra: %v, got (-) and want (+) differ:\n%s", err, d)
	}
	if text, err := extraOf(new(command.Command)); text != "" || err != nil {
		t.Errorf("nothing is %q, %v", text, err)
	}
	g := command.Gate{Command: c, Version: 9, State: command.GateClosed, ApprovedAt: at, Through: 3, Wave: 1, WaveAt: at, PacedAt: at.Add(time.Microsecond),
		Undone: true, Forgiven: command.Toll{Ended: 4, Bad: 2}, Ending: command.HoldLapse, Cause: command.Held, From: command.Scheduled, By: "ann"}
	text, err = gateBody(&g)
	want = `{"state":6,"approved_at":"2023-11-14T22:13:20Z","through":3,"wave":1,"wave_at":"2023-11-14T22:13:20Z","paced_at":"2023-11-14T22:13:20.000001Z",` +
		`"undone":true,"forgiven":{"ended":4,"bad":2},"ending":17,"cause":7,"from":"scheduled","by":"ann"}`
	if d := cmp.Diff(text, want); err != nil || d != "" {
		t.Errorf("gate: %v, got (-) and want (+) differ:\n%s", err, d)
	}
}

// columns are the decoders, each with a column that an encoder wrote.
func columns() map[string]struct {
	b      []byte
	unpack func([]byte) error
} {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	c := &command.Command{Clocks: command.DefaultClocks, CreatedAt: at, Devices: 3, Params: []byte{1, 2, 3}, NotBefore: at}
	c.Policy = command.Policy{WireCode: 300, Redelivery: command.Safe}
	k := kindOf(c)
	x := command.Execution{Command: c, Cause: command.Silent, Attempts: 200, QueuedAt: at, SentAt: at.Add(time.Hour)}
	progress, code := uint8(200), int64(math.MinInt64)
	r := command.Report{Status: command.StatusRunning, Progress: &progress, Code: &code, Text: "text", Prev: []byte{1}, Odd: []byte{}, Invalid: true}
	x.DueAt, x.Params, c.Slot = at.Add(time.Minute), []byte{1, 2}, 1<<40
	typ, ruled := aPackedType(), aRuledType()
	events := sealed{n: 1, count: 2, at: at.UnixMilli(), events: appendEvents(nil, at.UnixMilli(), []command.Event{
		{Type: "new.one", At: at, Actor: "ann", CommandN: 300, Device: 4, Data: json.RawMessage("{}")}, {Type: command.EventIssued, At: at, Device: 300},
	})}
	type column = struct {
		b      []byte
		unpack func([]byte) error
	}
	return map[string]column{
		"terms":  {appendTerms(nil, &k), func(b []byte) error { return unpackTerms(b, new(command.Command)) }},
		"intent": {appendIntent(nil, c, false), func(b []byte) error { _, err := unpackIntent(b, new(command.Command)); return err }},
		"course": {appendCourse(nil, &x), func(b []byte) error { return unpackCourse(b, &command.Execution{Command: c}) }},
		"report": {appendReport(nil, &r), func(b []byte) error { _, err := unpackReport(b); return err }},
		"rules":  {appendRules(nil, &typ), func(b []byte) error { return unpackRules(b, new(command.Type)) }},
		"ruled":  {appendRules(nil, &ruled), func(b []byte) error { return unpackRules(b, new(command.Type)) }},
		"events": {events.events, func(b []byte) error {
			r := events
			r.events = b
			_, err := unpackEvents(&r)
			return err
		}},
	}
}

func TestEveryShorterColumnIsRefused(t *testing.T) {
	n := 0
	for name, c := range columns() {
		if err := c.unpack(c.b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range c.b {
			n++
			if c.unpack(c.b[:i]) == nil {
				t.Errorf("%s: the first %d of %d bytes are taken", name, i, len(c.b))
			}
		}
		if c.unpack(append(bytes.Clone(c.b), 0)) == nil {
			t.Errorf("%s: a byte too many is taken", name)
		}
		if c.unpack([]byte{0xff, 0xff, 0xff, 0x7f}) == nil {
			t.Errorf("%s: flags that nobody knows are taken", name)
		}
	}
	t.Logf("%d prefixes", n)
}

// TestNumbersPastTheirRangeAreRefused where a cut would make another number.
func TestNumbersPastTheirRangeAreRefused(t *testing.T) {
	long := binary.AppendVarint(nil, math.MaxInt64/int64(time.Millisecond)+1) // in milliseconds
	flag := func(bit int) []byte { return binary.AppendUvarint(nil, 1<<bit) }
	rules := func(b []byte) error { return unpackRules(b, new(command.Type)) }
	rows := []struct {
		name   string
		column []byte
		unpack func([]byte) error
	}{
		{"a type's clock", append(flag(typeClocks), long...), rules},
		{"a type's redelivery", append(flag(typeRedelivery), 0x80, 0x02), rules},
		{"a type's significance", append(flag(typeSignificance), 0x80, 0x02), rules},
		{"a command's clock", append(flag(termClocks), long...), func(b []byte) error { return unpackTerms(b, new(command.Command)) }},
		{"a command's run_for", append(flag(intentRunFor), long...), func(b []byte) error { _, err := unpackIntent(b, new(command.Command)); return err }},
		{"a report's next", append(flag(reportNext), long...), func(b []byte) error { _, err := unpackReport(b); return err }},
	}
	for _, row := range rows {
		if row.unpack(row.column) == nil {
			t.Errorf("%s is taken from %x", row.name, row.column)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, c := range columns() {
		f.Add(c.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range columns() {
			c.unpack(b) // must come back
		}
		if r, err := unpackReport(b); err == nil {
			again, err := unpackReport(appendReport(nil, &r))
			if d := cmp.Diff(again, r); err != nil || d != "" {
				t.Errorf("a report changed on its way: %v\n%s", err, d)
			}
		}
		var typ, same command.Type
		if unpackRules(b, &typ) == nil {
			err := unpackRules(appendRules(nil, &typ), &same)
			if d := cmp.Diff(same, typ, cmpopts.EquateEmpty()); err != nil || d != "" {
				t.Errorf("a type changed on its way: %v\n%s", err, d)
			}
		}
		row := sealed{n: 1, at: 5, events: b}
		for row.count = range 4 {
			if events, err := unpackEvents(&row); err == nil {
				second := sealed{n: 1, count: row.count, at: 5, events: appendEvents(nil, 5, events)}
				again, err := unpackEvents(&second)
				if d := cmp.Diff(again, events, cmpopts.EquateEmpty()); err != nil || d != "" {
					t.Errorf("events changed on their way: %v\n%s", err, d)
				}
			}
		}
	})
}

func TestTheLogGoesBackInTimeNever(t *testing.T) {
	events := []command.Event{{Type: command.EventIssued, At: time.UnixMilli(7)}}
	first, end := chain{hash: make([]byte, 32)}.seal(1, 1000, events)
	second, end := end.seal(1, 400, events) // the wall clock was set back
	if first.at != 1000 || second.at != 1000 || end.n != 2 || end.at != 1000 {
		t.Errorf("sealed at %d and %d, the end is %+v", first.at, second.at, end)
	}
	got, err := unpackEvents(&second)
	if err != nil || len(got) != 1 || !got[0].At.Equal(events[0].At) || got[0].N != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if bytes.Equal(first.hash, second.hash) {
		t.Error("two rows have one hash")
	}
}

func TestNetworkFilesystemsAreRefused(t *testing.T) {
	for magic, want := range map[uint32]string{
		0x6969: "NFS", 0xff534d42: "SMB", 0xfe534d42: "SMB", 0x00c36400: "Ceph", 0x5346414f: "AFS",
		0xef53: "", 0x9123683e: "", 0x58465342: "", 0x01021994: "", 0x794c7630: "", // ext4, btrfs, xfs, tmpfs, overlay
	} {
		if got := filesystemName(magic); got != want {
			t.Errorf("%#x is %q, want %q", magic, got, want)
		}
	}
}

func TestEverySettingIsReadBack(t *testing.T) {
	for _, m := range []mode{writing, reading} {
		path := t.TempDir() + "/x.db"
		if m == reading {
			w, err := connect(path, writing)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
		}
		c, err := connect(path, m)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range settings(m) {
			wrong := settings(m)
			wrong[name] = value + "0"
			if err := c.verify(wrong); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s is not looked at: %v", name, err)
			}
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}
