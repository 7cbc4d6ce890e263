package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// hookDesk stands for the webhooks. There is one, erp; what it is asked to do
// it notes.
type hookDesk struct {
	hooks      []command.Hook // nil: erp alone
	refuses    error          // whatever would change something
	deliveries func(before int64, limit int) ([]command.HookDelivery, bool, error)
	did        []string
}

// whsec is a secret as it is told.
const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="

// erp is the webhook of most tests.
func erp() command.Hook {
	return command.Hook{
		N: 1, ID: "erp", Version: 2, URL: "https://erp.example.org/in", Types: []command.EventType{"execution.*"}, Generation: 2,
		RotatedAt: noon.Add(-time.Hour), CreatedAt: noon.AddDate(0, -1, 0), CreatedBy: "ann", ChangedAt: noon.Add(-time.Hour), ChangedBy: "ben",
		Cursor: command.Place{Epoch: 1, N: 41}, Delivered: 30, GivenUp: 1, TakenAt: noon,
	}
}

func (d *hookDesk) Hooks(context.Context) ([]command.Hook, error) {
	if d.hooks != nil {
		return d.hooks, nil
	}
	return []command.Hook{erp()}, nil
}

func (d *hookDesk) Hook(_ context.Context, id string) (command.Hook, error) {
	if id != "erp" {
		return command.Hook{}, command.Errorf(command.CodeNotFound, "no webhook is called %q", id)
	}
	return erp(), nil
}

func (d *hookDesk) note(format string, args ...any) error {
	d.did = append(d.did, fmt.Sprintf(format, args...))
	return d.refuses
}

func (d *hookDesk) Put(_ context.Context, id string, spec command.HookSpec, ifVersion int64, by string) (h command.Hook, secret string, created bool, err error) {
	if err := d.note("put %s %+v %d %s", id, spec, ifVersion, by); err != nil {
		return h, "", false, err
	}
	if faults := spec.Check(id); len(faults) > 0 {
		return h, "", false, &command.Error{Code: command.CodeInvalid, Msg: "the webhook cannot be declared like that", Fields: faults}
	}
	if id == "erp" {
		h = erp()
		h.Version++
	} else {
		h, secret = command.Hook{ID: id, Version: 1, CreatedAt: noon, CreatedBy: by, Cursor: command.Place{Epoch: 1, N: 41}}, whsec
	}
	h.URL, h.Types, h.AllowPrivate, h.Disabled, h.ChangedAt, h.ChangedBy = spec.URL, spec.Types, spec.AllowPrivate, spec.Disabled, noon, by
	if h.Disabled {
		h.Reason = command.HookByHand
	}
	return h, secret, secret != "", nil
}

func (d *hookDesk) Delete(_ context.Context, id string, ifVersion int64, by string) error {
	return d.note("delete %s %d %s", id, ifVersion, by)
}

func (d *hookDesk) Rotate(_ context.Context, id string, ifVersion int64, by string) (command.Hook, string, error) {
	h := erp()
	h.Version, h.Generation, h.RotatedAt = 3, 3, noon
	return h, whsec, d.note("rotate %s %d %s", id, ifVersion, by)
}

func (d *hookDesk) Deliveries(ctx context.Context, id string, before int64, limit int) ([]command.HookDelivery, bool, error) {
	if _, err := d.Hook(ctx, id); err != nil {
		return nil, false, err
	}
	if d.deliveries != nil {
		return d.deliveries(before, limit)
	}
	return []command.HookDelivery{
		{Hook: id, Event: command.Place{Epoch: 1, N: 40}, Type: "execution.sent", State: command.DeliveryPending, Attempts: 1, Status: 503,
			Error: "answered 503", FirstAt: noon, LastAt: noon, NextAt: noon.Add(5 * time.Second)},
		{Hook: id, Event: command.Place{Epoch: 1, N: 12}, Type: "command.ended", State: command.DeliveryGivenUp, Attempts: 10,
			Error: "refused: 127.0.0.1 is private", FirstAt: noon.Add(-75 * time.Hour), LastAt: noon},
	}, false, nil
}

func (d *hookDesk) Redeliver(_ context.Context, id string, event command.Place, by string) (command.HookDelivery, error) {
	return command.HookDelivery{Hook: id, Event: event, Type: "command.ended", State: command.DeliveryPending, FirstAt: noon, NextAt: noon, AskedBy: by},
		d.note("redeliver %s %s %s", id, event, by)
}

func TestAWebhookArrivesAsItWasWritten(t *testing.T) {
	d, hooks := &desk{}, &hookDesk{}
	s := serve(t, d, d, Options{Webhooks: hooks})
	match := func(v string) map[string]string { return map[string]string{"If-Match": v} }
	const all = `{"url":"http://10.0.0.7:9000/in?x=1","types":["execution.*","command.ended"],"allow_private":true,"disabled":true}`
	for _, tt := range []struct {
		a      ask
		status int
		etag   string
		did    string
	}{
		{ask{name: "made", method: "PUT", path: "/v1/webhooks/caf%C3%A9%2042", body: `{"url":"https://example.org/"}`}, 201, `"1"`,
			"put café 42 {URL:https://example.org/ Types:[] AllowPrivate:false Disabled:false} 0 admin-1"},
		{ask{name: "changed", method: "PUT", path: "/v1/webhooks/erp", body: all, header: match(`"2"`)}, 200, `"3"`,
			"put erp {URL:http://10.0.0.7:9000/in?x=1 Types:[execution.* command.ended] AllowPrivate:true Disabled:true} 2 admin-1"},
		{ask{name: "matched, and not there", method: "PUT", path: "/v1/webhooks/mes", body: all, header: match("*")}, 412, "", ""},
		{ask{name: "looked at", path: "/v1/webhooks/erp"}, 200, `"2"`, ""},
		{ask{name: "not there", path: "/v1/webhooks/mes"}, 404, "", ""},
		{ask{name: "no such deliveries", path: "/v1/webhooks/mes/deliveries"}, 404, "", ""},
		{ask{name: "rotated", method: "POST", path: "/v1/webhooks/erp/secret", header: match(`"2"`)}, 200, `"3"`, "rotate erp 2 admin-1"},
		{ask{name: "again", method: "POST", path: "/v1/webhooks/erp/deliveries/1-42/redeliver"}, 200, "", "redeliver erp 1-42 admin-1"},
		{ask{name: "an event past any", method: "POST", path: "/v1/webhooks/erp/deliveries/9999999999-1/redeliver"}, 400, "", ""},
		{ask{name: "removed", method: "DELETE", path: "/v1/webhooks/erp", header: match(`"2"`)}, 204, "", "delete erp 2 admin-1"},
	} {
		hooks.did, tt.a.as = nil, "admin"
		r := s.do(tt.a)
		if did := strings.Join(hooks.did, "\n"); r.status != tt.status || r.header.Get("ETag") != tt.etag || did != tt.did {
			t.Errorf("%s: %d %v %s\ndid %s", tt.a.name, r.status, r.header, r.body, did)
		}
		if told, want := strings.Contains(r.body, whsec), tt.a.name == "made" || tt.a.name == "rotated"; told != want {
			t.Errorf("%s: its secret is told: %v", tt.a.name, told)
		}
		if r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %v", tt.a.name, r.header)
		}
	}
	if strings.Contains(s.log.String(), whsec) {
		t.Error("the log holds a secret")
	}
}

// What the use cases refuse is told as it is, and no secret beside it.
func TestARefusedWebhookTellsNoSecret(t *testing.T) {
	d := &desk{}
	hooks := &hookDesk{refuses: &command.Error{Code: command.CodeTooMany, Msg: "there are 100", RetryAfter: time.Minute}}
	s := serve(t, d, d, Options{Webhooks: hooks})
	for _, a := range []ask{
		{name: "put", method: "PUT", path: "/v1/webhooks/mes", body: `{"url":"https://example.org/"}`},
		{name: "rotate", method: "POST", path: "/v1/webhooks/erp/secret"},
		{name: "redeliver", method: "POST", path: "/v1/webhooks/erp/deliveries/1-42/redeliver"},
		{name: "delete", method: "DELETE", path: "/v1/webhooks/erp"},
	} {
		a.as = "admin"
		if r := s.do(a); r.status != 429 || strings.Contains(r.body, whsec) || r.header.Get("Retry-After") != "60" {
			t.Errorf("%s: %d %v %s", a.name, r.status, r.header, r.body)
		}
	}
}

func TestWebhooksComeInPages(t *testing.T) {
	hooks := &hookDesk{}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		h := erp()
		h.ID = id
		hooks.hooks = append(hooks.hooks, h)
	}
	d := &desk{}
	s := serve(t, d, d, Options{Webhooks: hooks})
	var got []string
	turn := func() (pages int) {
		got = nil
		for path := "/v1/webhooks?page_size=2"; path != ""; pages++ {
			var page WebhookPage
			if err := json.Unmarshal([]byte(s.do(ask{name: path, as: "admin", path: path}).body), &page); err != nil || pages > 9 {
				t.Fatalf("page %d: %v", pages, err)
			}
			for _, h := range page.Items {
				got = append(got, h.ID)
			}
			path = ""
			if page.NextPageToken != "" {
				path = "/v1/webhooks?page_size=2&page_token=" + page.NextPageToken
			}
			if pages == 0 { // the one that the page ended with goes meanwhile
				hooks.hooks = append(hooks.hooks[:1:1], hooks.hooks[2:]...)
			}
		}
		return pages
	}
	if n := turn(); n != 3 {
		t.Errorf("%d pages", n)
	}
	if diff := cmp.Diff(got, []string{"a", "b", "c", "d", "e"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	hooks.hooks = []command.Hook{}
	if r := s.do(ask{name: "none", as: "admin", path: "/v1/webhooks"}); strings.TrimSpace(r.body) != `{"items":[]}` {
		t.Errorf("none: %s", r.body)
	}
}

func TestDeliveriesComeInPages(t *testing.T) {
	var asked []string
	hooks := &hookDesk{deliveries: func(before int64, limit int) ([]command.HookDelivery, bool, error) {
		asked = append(asked, fmt.Sprint(before, " ", limit))
		return []command.HookDelivery{{Event: command.Place{Epoch: 1, N: 77}, Type: "t", State: command.DeliveryDone, FirstAt: noon}}, before == 0, nil
	}}
	d := &desk{}
	s := serve(t, d, d, Options{Webhooks: hooks})
	var page DeliveryPage
	const path = "/v1/webhooks/erp/deliveries"
	if err := json.Unmarshal([]byte(s.do(ask{name: "first", as: "admin", path: path + "?page_size=1"}).body), &page); err != nil || page.NextPageToken == "" {
		t.Fatalf("%v %+v", err, page)
	}
	if r := s.do(ask{name: "second", as: "admin", path: path + "?page_token=" + page.NextPageToken}); r.status != 200 || strings.Contains(r.body, "next_page_token") {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	if r := s.do(ask{name: "another list's", as: "admin", path: "/v1/webhooks?page_token=" + page.NextPageToken}); r.status != 400 {
		t.Errorf("another list's: %d %s", r.status, r.body)
	}
	if diff := cmp.Diff(asked, []string{"0 1", "77 100"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestAServerWithoutWebhooksSaysSo(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	s.srv.webhooks = nil
	for _, a := range []ask{
		{path: "/v1/webhooks"}, {path: "/v1/webhooks/erp"}, {path: "/v1/webhooks/erp/deliveries"},
		{method: http.MethodPut, path: "/v1/webhooks/erp", body: `{"url":"https://example.org/"}`},
		{method: http.MethodDelete, path: "/v1/webhooks/erp"}, {method: http.MethodPost, path: "/v1/webhooks/erp/secret"},
		{method: http.MethodPost, path: "/v1/webhooks/erp/deliveries/1-1/redeliver"},
	} {
		a.name, a.as = a.path, "admin"
		if r := s.do(a); r.status != 404 || !strings.Contains(r.body, "tells nobody") {
			t.Errorf("%s %s: %d %s", a.method, a.path, r.status, r.body)
		}
	}
}
