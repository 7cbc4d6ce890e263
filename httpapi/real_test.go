package httpapi

import (
	"context"
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/command/dispatch"
	"behest/device"
	"behest/schema"
	"behest/store/sqlite"
)

// The ports are what the real parts offer.
var (
	_ UseCases = (*dispatch.Dispatcher)(nil)
	_ Reads    = (*sqlite.Store)(nil)
	_ Log      = (*sqlite.Store)(nil)
)

// nowhere is a presenter without a network: what is presented is committed,
// and the test plays the device.
type nowhere struct{}

func (nowhere) Ready(device.Device) bool                    { return true }
func (nowhere) Present(device.Device, command.Presentation) {}

// house is the real use cases on the real store, behind the real server.
type house struct {
	*service
	d     *dispatch.Dispatcher
	store *sqlite.Store
}

var there = device.Speaker{Endpoint: device.Endpoint{Remote: netip.MustParseAddrPort("127.0.0.1:40000")}}

// inHouse opens a house in dir, and answers how to close it.
func inHouse(t *testing.T, dir string) (*house, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := dispatch.New(store, nowhere{}, dispatch.Options{Dev: true, Schemas: schema.New()})
	var stored, ran sync.WaitGroup
	storeCtx, stopStore := context.WithCancel(context.Background())
	stored.Go(func() {
		if err := store.Run(storeCtx); err != nil {
			t.Error(err)
		}
	})
	ran.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	h := &house{serve(t, d, store, Options{Now: time.Now, Log: store, PageKey: []byte("0123456789abcdef")}), d, store}
	stop := sync.OnceFunc(func() {
		h.stop()
		cancel()
		ran.Wait()
		stopStore()
		stored.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if report, err := sqlite.Check(context.Background(), filepath.Join(dir, "db")); err != nil || len(report.Faults) > 0 {
			t.Errorf("the database does not hold: %v %+v", err, report)
		}
	})
	t.Cleanup(stop)
	return h, stop
}

// arrive lets a device register and observe.
func (h *house) arrive(name string) {
	h.t.Helper()
	if _, err := h.d.Register(h.t.Context(), device.Registering{Name: name, From: there, Lifetime: time.Hour, Window: 1}); err != nil {
		h.t.Fatal(err)
	}
	if _, _, err := h.d.Observe(h.t.Context(), name, there, device.Observation{Token: []byte{1}}); err != nil {
		h.t.Fatal(err)
	}
}

// get asks for a command.
func (h *house) get(a ask, status int) Command {
	h.t.Helper()
	r := h.do(a)
	if r.status != status {
		h.t.Fatalf("%s: %d %s", a.name, r.status, r.body)
	}
	var c Command
	if err := json.Unmarshal([]byte(r.body), &c); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// The round of the README: issue, sent, a wait, the report, the answer; and
// all of it again after a restart on the same database.
func TestACommandGoesRound(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	h.arrive("pump-7")
	c := h.get(ask{name: "issue", path: "/v1/commands", body: `{"type":"pump.start","params":{"rpm":1200},"targets":{"devices":["pump-7"]}}`}, 201)
	if c.State != "sent" || c.Execution == nil || c.Execution.Seq == nil || c.Outcome != nil || c.Effect != "unknown" {
		t.Fatalf("issued: %+v", c)
	}
	path := "/v1/commands/" + c.ID
	var wg sync.WaitGroup
	wg.Go(func() {
		got := h.get(ask{name: "wait", path: path + "?wait_seconds=30"}, 200)
		if got.State != "succeeded" || string(got.Execution.Result) != `{"ok":true}` || !*got.Execution.ResultValid {
			t.Errorf("waited for: %+v", got)
		}
	})
	report := command.Report{Status: command.StatusSuccess, Result: []byte{0xa1, 0x62, 'o', 'k', 0xf5}}
	if err := h.d.Report(t.Context(), "pump-7", there, uint32(*c.Execution.Seq), report); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	stop()

	h, _ = inHouse(t, dir)
	after := h.get(ask{name: "after a restart", path: path}, 200)
	if after.State != "succeeded" || *after.Outcome != "all_succeeded" || !after.Settled || after.Effect != "applied" || string(after.Params) != `{"rpm":1200}` {
		t.Errorf("after a restart: %+v", after)
	}
	if r := h.do(ask{name: "its reports", path: path + "/executions/pump-7"}); r.status != 200 || strings.Count(r.body, `"status":"success"`) != 1 {
		t.Errorf("its reports: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "cancel what has ended", method: "POST", path: path + "/cancel"}); r.status != 409 || !strings.Contains(r.body, `"state":"succeeded"`) {
		t.Errorf("cancel: %d %s", r.status, r.body)
	}
}

func TestRealListsPageThroughEverythingOnce(t *testing.T) {
	h, stop := inHouse(t, t.TempDir())
	const many = 25
	want := make(map[string]bool)
	for range many {
		c := h.get(ask{name: "issue", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["a","b"]},"labels":{"site":"a"}}`}, 201)
		want[c.ID] = true
	}
	seen := make(map[string]bool)
	token := ""
	for range many {
		r := h.do(ask{name: "page", path: "/v1/commands?label=site%3Da&page_size=7" + token})
		var page CommandPage
		if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.status != 200 {
			t.Fatalf("%d %v %s", r.status, err, r.body)
		}
		for _, c := range page.Items {
			if seen[c.ID] || !want[c.ID] || c.Counts["queued"]+c.Counts["sent"] != 2 || c.Execution != nil {
				t.Errorf("in a page: %+v", c)
			}
			seen[c.ID] = true
		}
		if page.NextPageToken == "" {
			break
		}
		token = "&page_token=" + page.NextPageToken
		// What comes between two pages is not in the later ones.
		h.get(ask{name: "between", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["c"]},"labels":{"site":"a"}}`}, 201)
	}
	if len(seen) != many {
		t.Errorf("%d commands were seen of %d", len(seen), many)
	}
	stop()
}

func TestRealDevicesAreEditedByVersion(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	made := h.do(ask{name: "make", method: "PUT", path: "/v1/devices/pump%207", body: `{"labels":{"site":"a"}}`})
	if made.status != 201 || made.header.Get("Location") != "/v1/devices/pump%207" {
		t.Fatalf("made: %d %s", made.status, made.body)
	}
	match := func(r reply) map[string]string { return map[string]string{"If-Match": r.header.Get("ETag")} }
	edited := h.do(ask{name: "edit", method: "PATCH", path: "/v1/devices/pump%207", body: `{"awake_seconds":5}`, header: match(made)})
	if edited.status != 200 || !strings.Contains(edited.body, `"labels":{"site":"a"}`) || !strings.Contains(edited.body, `"awake_seconds":5`) {
		t.Fatalf("edited: %d %s", edited.status, edited.body)
	}
	for _, a := range []ask{
		{name: "edit again", method: "PATCH", path: "/v1/devices/pump%207", body: `{"labels":{}}`, header: match(made)},
		{name: "replace", method: "PUT", path: "/v1/devices/pump%207", body: `{"labels":{}}`, header: match(made)},
		{name: "remove", as: "admin", method: "DELETE", path: "/v1/devices/pump%207", header: match(made)},
	} {
		if r := h.do(a); r.status != 412 {
			t.Errorf("%s with an old version: %d %s", a.name, r.status, r.body)
		}
	}
	if r := h.do(ask{name: "values", method: "PATCH", path: "/v1/devices/pump%207", body: `{"ack_timeout_seconds":0.1}`}); r.status != 422 {
		t.Errorf("a tenth of a second: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "list", path: "/v1/devices?label=site%3Da"}); r.status != 200 || strings.Count(r.body, `"id"`) != 1 {
		t.Errorf("list: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "remove", as: "admin", method: "DELETE", path: "/v1/devices/pump%207", header: match(edited)}); r.status != 204 {
		t.Fatalf("remove: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "gone", path: "/v1/devices/pump%207"}); r.status != 404 {
		t.Errorf("gone: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "remove again", as: "admin", method: "DELETE", path: "/v1/devices/pump%207"}); r.status != 404 {
		t.Errorf("removed again: %d %s", r.status, r.body)
	}
}

func TestRealRefusalsSayWhy(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	for _, tt := range []struct {
		a      ask
		status int
		want   string
	}{
		{ask{name: "targets", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["a"]},"expect_targets":2}`}, 409, "conflict"},
		{ask{name: "groups", path: "/v1/commands", body: `{"type":"t","targets":{"groups":["a"]}}`}, 422, "/targets"},
		{ask{name: "params over the type's limit", path: "/v1/commands", body: params(`"` + strings.Repeat("x", 2000) + `"`)}, 422, "/params"},
		{ask{name: "a name of 64 bytes", path: "/v1/commands", body: `{"type":"` + strings.Repeat("é", 32) + `","targets":{"devices":["a"]}}`}, 422, "/type"},
		{ask{name: "no such command", path: commandPath}, 404, "not_found"},
		{ask{name: "no such command to wait for", path: commandPath + "?wait_seconds=60"}, 404, "not_found"},
		{ask{name: "no executions", path: commandPath + "/executions"}, 404, "not_found"},
		{ask{name: "no execution", path: commandPath + "/executions/a"}, 404, "not_found"},
		{ask{name: "nothing to cancel", method: "POST", path: commandPath + "/cancel"}, 404, "not_found"},
		{ask{name: "no such queue", method: "POST", path: "/v1/devices/a/cancel"}, 404, "not_found"},
		{ask{name: "no such device", method: "PATCH", path: "/v1/devices/a", body: `{}`}, 404, "not_found"},
	} {
		if r := h.do(tt.a); r.status != tt.status || !strings.Contains(r.body, tt.want) {
			t.Errorf("%s: %d %s", tt.a.name, r.status, r.body)
		}
	}
	for range command.OpenMax {
		h.get(ask{name: "fill", path: "/v1/commands", body: anIntent}, 201)
	}
	r := h.do(ask{name: "full", path: "/v1/commands", body: anIntent})
	if r.status != 429 || r.header.Get("Retry-After") != "30" || !strings.Contains(r.body, "device_full") {
		t.Errorf("full: %d %s", r.status, r.body)
	}
	r = h.do(ask{name: "full among others", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["pump-7","b"]}}`})
	if r.status != 201 || !strings.Contains(r.body, `"refused":[{"device":"pump-7","code":"device_full"}]`) {
		t.Errorf("full among others: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "empty", method: "POST", path: "/v1/devices/pump-7/cancel"}); r.status != 200 || !strings.Contains(r.body, `{"canceled":50}`) {
		t.Errorf("emptied: %d %s", r.status, r.body)
	}
}

// A client that lost its answer asks again, after a restart even, and nothing
// is done twice.
func TestRealKeysOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	key := map[string]string{"Idempotency-Key": "8f14e45f"}
	one := ask{name: "one", path: "/v1/commands", body: anIntent, header: key}
	many := ask{name: "many", path: "/v1/commands/batch", header: key,
		body: `{"commands":[` + anIntent + `,{"type":"t","params":1e999,"targets":{"devices":["a"]}},` + anIntent + `]}`}
	first, firstMany := h.do(one), h.do(many)
	if first.status != 201 || firstMany.status != 200 || strings.Count(firstMany.body, `"command":{`) != 2 {
		t.Fatalf("%d %s\n%d %s", first.status, first.body, firstMany.status, firstMany.body)
	}
	token := h.tokens["operator"]
	stop()

	h, _ = inHouse(t, dir)
	h.adopt(token)
	if r := h.do(one); r.status != 201 || r.body != first.body || r.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("one again: %d %s, first %s", r.status, r.body, first.body)
	}
	if r := h.do(many); r.status != 200 || r.body != firstMany.body {
		t.Errorf("many again: %d %s, first %s", r.status, r.body, firstMany.body)
	}
	if r := h.do(ask{name: "another", path: "/v1/commands", body: params("1"), header: key}); r.status != 409 {
		t.Errorf("another body: %d %s", r.status, r.body)
	}
	r := h.do(ask{name: "all", path: "/v1/commands"})
	if n := strings.Count(r.body, `"type_version"`); n != 3 {
		t.Errorf("%d commands were made, want 3", n)
	}
}

// Whoever follows the log by pages and whoever streams it see the same, over
// a restart, each event once.
func TestRealEventsAreToldOnce(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	h.arrive("pump-7")
	c := h.get(ask{name: "issue", path: "/v1/commands", body: anIntent}, 201)
	r := h.follow("/v1/events?after=1-0", nil)
	var streamed []string
	last := ""
	take := func(r *reader, until string) {
		for range 100 {
			e := r.next()
			streamed = append(streamed, e)
			last, _, _ = strings.Cut(e, " ")
			if strings.HasSuffix(e, " "+until) {
				return
			}
		}
		t.Fatalf("no %s in %v", until, streamed)
	}
	take(r, "execution.sent")
	stop()
	if got := r.next(); got != "end" {
		t.Errorf("after the shutdown: %s", got)
	}

	h, _ = inHouse(t, dir)
	r = h.follow("/v1/events", map[string]string{"Last-Event-Id": last})
	if err := h.d.Report(t.Context(), "pump-7", there, uint32(*c.Execution.Seq), command.Report{Status: command.StatusSuccess}); err != nil {
		t.Fatal(err)
	}
	take(r, "command.ended")

	var paged []string
	for after := "1-0"; ; {
		r := h.do(ask{name: "page", path: "/v1/events?page_size=2&after=" + after})
		var page EventPage
		if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.status != 200 {
			t.Fatalf("%d %v %s", r.status, err, r.body)
		}
		for _, e := range page.Items {
			paged = append(paged, e.ID+" "+e.Type)
		}
		if page.NextAfter == after {
			break
		}
		after = page.NextAfter
	}
	if diff := cmp.Diff(streamed, paged[:len(streamed)]); diff != "" {
		t.Errorf("streamed and paged (-streamed +paged):\n%s", diff)
	}
	of := h.do(ask{name: "of the command", path: "/v1/commands/" + c.ID + "/events?type=execution.succeeded"})
	if of.status != 200 || strings.Count(of.body, `"id"`) != 1 || !strings.Contains(of.body, `"device":"pump-7"`) {
		t.Errorf("of the command: %d %s", of.status, of.body)
	}
	gone := h.follow("/v1/events", map[string]string{"Last-Event-Id": "2-1"})
	if got := gone.next(); !strings.HasSuffix(got, " reset") {
		t.Errorf("from another epoch: %s", got)
	}
}

// A command on more devices than one commit takes is answered at once.
func TestRealFleetsAreIssuedWhole(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	c := h.get(ask{name: "issue", path: "/v1/commands", body: `{"type":"t","targets":{"devices":[` + names(1000) + `]},"expect_targets":1000}`}, 201)
	if c.DeviceCount != 1000 || c.Execution != nil || len(c.Targets.Devices) != targetsShown {
		t.Fatalf("issued: %d devices, %d shown", c.DeviceCount, len(c.Targets.Devices))
	}
	seen, token := 0, ""
	for range 1000 { // a group of executions and their events come in one commit
		changed := h.store.Changed()
		if c = h.get(ask{name: "look", path: "/v1/commands/" + c.ID}, 200); c.Pending == nil {
			break
		}
		<-changed
	}
	for range 10 {
		r := h.do(ask{name: "page", path: "/v1/commands/" + c.ID + "/executions?page_size=300" + token})
		var page ExecutionPage
		if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.status != 200 {
			t.Fatalf("%d %v %s", r.status, err, r.body)
		}
		seen += len(page.Items)
		if page.NextPageToken == "" {
			break
		}
		token = "&page_token=" + page.NextPageToken
	}
	if seen != 1000 {
		t.Errorf("%d executions were seen of 1000", seen)
	}
}
