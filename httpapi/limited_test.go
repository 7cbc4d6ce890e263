package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
)

// inStreet is a town where two sites share devices, types and commands, and of
// which rita reads one.
func inStreet(t *testing.T) *town {
	c := inTown(t)
	c.user("rita", access.Grant{Role: access.Viewer, Selector: "site=mine"})
	c.user("olga", access.Grant{Role: access.Operator, Selector: "site=mine"})
	c.user("alex", access.Grant{Role: access.Approver, Selector: "site=mine"})
	for _, name := range []string{"mine-1", "mine-2", "mine-3"} {
		c.device(name, map[string]string{"site": "mine"})
	}
	for n := range 9 {
		c.device(fmt.Sprint(hidden, "-", n), map[string]string{"site": hidden})
	}
	for _, typ := range []command.Type{{Name: "plain"}, {Name: "held", Approval: &command.ApprovalRule{Approvers: 1}}} {
		if _, _, err := c.d.PutType(t.Context(), typ, 0, "admin"); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// issue issues a command for the administrator.
func (c *town) issue(kind string, devices ...string) string {
	c.t.Helper()
	in := command.Intent{Type: kind, Targets: command.Targets{Devices: devices}, RequestedBy: "admin"}
	i, err := c.d.Issue(c.t.Context(), in)
	if err != nil {
		c.t.Fatal(err)
	}
	return i.Command.ID.String()
}

// read asks as somebody, and sees to it that nothing hidden is in the answer.
func (c *town) read(as, path string, into any) {
	c.t.Helper()
	r := c.do(ask{name: path, as: as, path: path})
	if r.status != 200 || strings.Contains(r.body, hidden) {
		c.t.Errorf("%s: %d %s", path, r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		c.t.Fatal(err)
	}
}

// turn turns the pages of a list, and answers with what name finds in it. Every
// page but the last must be full, and the last must be the last: a page that is
// not would tell how much there is between.
func (c *town) turn(as, path string, size int, name string) (all []string) {
	c.t.Helper()
	between := "?"
	if strings.Contains(path, "?") {
		between = "&"
	}
	token := ""
	for range 1000 {
		var page struct {
			Items []map[string]any `json:"items"`
			Next  string           `json:"next_page_token"`
		}
		c.read(as, fmt.Sprint(path, between, "page_size=", size, token), &page)
		for _, item := range page.Items {
			all = append(all, fmt.Sprint(item[name]))
		}
		if page.Next == "" {
			if len(page.Items) == 0 && len(all) > 0 {
				c.t.Errorf("%s: a page of nothing came after the last", path)
			}
			return all
		}
		if len(page.Items) != size {
			c.t.Errorf("%s: a page of %d has %d", path, size, len(page.Items))
		}
		token = "&page_token=" + page.Next
	}
	return all
}

// Who is limited to some devices reads as if there were no others.
func TestALimitedReaderSeesHisDevicesAlone(t *testing.T) {
	c := inStreet(t)
	var mine, waits []string
	for n := range 8 {
		for range n % 3 {
			c.issue("plain", fmt.Sprint(hidden, "-", n))
			c.issue("held", fmt.Sprint(hidden, "-", n))
			c.issue("plain", hidden+"-7", hidden+"-8")
		}
		mine = append(mine, c.issue("plain", fmt.Sprint("mine-", 1+n%3)))
		if n < 3 {
			waits = append(waits, c.issue("held", "mine-1"))
			mine = append(mine, waits[n])
			c.issue("held", "mine-1", hidden+"-1") // which alex may not decide on
		}
	}
	if held := c.turn("rita", "/v1/commands?type=held", 2, "id"); len(held) != 6 {
		t.Errorf("she sees %d commands that wait, want 6", len(held))
	}
	slices.Reverse(mine)
	own := func(id string) bool { return !slices.Contains(mine, id) }
	for _, size := range []int{1, 3, 11, 14, 15, 500} {
		all := c.turn("rita", "/v1/commands", size, "id")
		if diff := cmp.Diff(slices.DeleteFunc(slices.Clone(all), own), mine); diff != "" || len(all) != len(mine)+3 {
			t.Errorf("pages of %d: %d commands (-got +want):\n%s", size, len(all), diff)
		}
		if diff := cmp.Diff(c.turn("rita", "/v1/devices", size, "id"), []string{"mine-1", "mine-2", "mine-3"}); diff != "" {
			t.Errorf("devices (-got +want):\n%s", diff)
		}
		if diff := cmp.Diff(c.turn("alex", "/v1/approvals", size, "id"), waits); diff != "" {
			t.Errorf("what waits for alex (-got +want):\n%s", diff)
		}
		if list := c.turn("rita", "/v1/approvals", size, "id"); len(list) > 0 {
			t.Errorf("rita decides on %q", list)
		}
	}
	for _, filter := range []string{"", "?state=queued", "?state=queued&state=awaiting_approval&device=mine-1"} {
		for _, size := range []int{1, 5, 500} {
			for _, name := range c.turn("rita", "/v1/executions"+filter, size, "device") {
				if !strings.HasPrefix(name, "mine-") {
					t.Fatalf("an execution on %s, by %q", name, filter)
				}
			}
		}
	}
	if list := c.turn("rita", "/v1/executions", 7, "device"); len(list) != len(mine) {
		t.Errorf("she sees %d executions, want %d", len(list), len(mine))
	}
	if list := c.turn("rita", "/v1/executions?device="+hidden+"-1", 7, "device"); len(list) > 0 {
		t.Errorf("of a device of others she sees %q", list)
	}
	for _, filter := range []string{"device=" + hidden + "-1", "state=running", "outcome=all_succeeded"} {
		if list := c.turn("rita", "/v1/commands?"+filter, 5, "id"); len(list) > 0 {
			t.Errorf("%s picks %q", filter, list)
		}
	}
	if list := c.turn("rita", "/v1/commands?device=mine-2", 2, "id"); len(list) != 3 {
		t.Errorf("of a device of hers she sees %d", len(list))
	}
}

// A command over devices of both sites is, for a reader of one, over hers: its
// counts, its executions, its progress and what it came to.
func TestACommandOverManyIsOverTheReadersDevices(t *testing.T) {
	c := inStreet(t)
	in := command.Intent{Type: "plain", Targets: command.Targets{Devices: []string{"mine-1", "mine-2", hidden + "-1", hidden + "-2", hidden + "-3"}},
		RequestedBy: "admin", Rollout: &command.Rollout{Waves: []command.Wave{{Count: 4}}}}
	i, err := c.d.Issue(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/commands/" + i.Command.ID.String()
	c.until(path, func(v Command) bool { return v.RolloutProgress != nil && v.RolloutProgress.DevicesThrough == 4 })
	if _, err := c.d.Pause(t.Context(), i.Command.ID, "admin"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.d.Cancel(t.Context(), i.Command.ID, []string{"mine-1"}, "admin"); err != nil {
		t.Fatal(err)
	}
	check := func(when string, counts Counts, pending int) {
		t.Helper()
		for _, p := range []string{path, "/v1/commands?page_size=1"} {
			var v Command
			if strings.Contains(p, "?") {
				var page CommandPage
				c.read("rita", p, &page)
				v = page.Items[0]
			} else {
				c.read("rita", p, &v)
			}
			got := 0
			if v.Pending != nil {
				got = *v.Pending
			}
			if diff := cmp.Diff(v.Counts, counts); diff != "" || v.DeviceCount != 2 || got != pending || len(v.Targets.Devices) != 2 {
				t.Errorf("%s, %s: %d devices, %d pending, targets %q, counts (-got +want):\n%s", when, p, v.DeviceCount, got, v.Targets.Devices, diff)
			}
			if v.RolloutProgress != nil && v.RolloutProgress.DevicesThrough > 2 {
				t.Errorf("%s: %d are through", when, v.RolloutProgress.DevicesThrough)
			}
		}
	}
	check("one is asked back", Counts{"canceling": 1}, 1)
	if _, err := c.d.Cancel(t.Context(), i.Command.ID, []string{"mine-2"}, "admin"); err != nil {
		t.Fatal(err)
	}
	check("the other never left", Counts{"canceling": 1, "canceled": 1}, 0)
	if diff := cmp.Diff(c.turn("rita", path+"/executions", 1, "device"), []string{"mine-1", "mine-2"}); diff != "" {
		t.Errorf("executions (-got +want):\n%s", diff)
	}
	for _, a := range []ask{
		{path: path + "/cancel", method: "POST"}, {path: path + "/pause", method: "POST"},
		{path: "/v1/commands/preview", body: `{"type":"plain","targets":{"all":true}}`},
		{path: "/v1/commands", body: `{"type":"plain","targets":{"selector":"site in (mine,` + hidden + `)"}}`},
	} {
		a.name, a.as = a.path, "olga"
		if r := c.do(a); r.status != 403 || strings.Contains(r.body, hidden) {
			t.Errorf("%s as olga: %d %s", a.path, r.status, r.body)
		}
	}
	c.read("rita", "/v1/groups", new(any))
	if r := c.do(ask{name: "its events", as: "rita", path: path + "/events?type=command.gate&type=command.wave"}); r.status != 200 || strings.Contains(r.body, hidden) || strings.Contains(r.body, "through") || !strings.Contains(r.body, `"state":"paused"`) {
		t.Errorf("its events: %d %s", r.status, r.body)
	}
	for _, a := range []ask{{path: path + "/executions/" + hidden + "-1"}, {path: "/v1/devices/" + hidden + "-1"}} {
		a.name, a.as = a.path, "rita"
		if r := c.do(a); r.status != 404 {
			t.Errorf("%s: %d %s", a.path, r.status, r.body)
		}
	}
}

// until looks at a command until it is as it should be.
func (c *town) until(path string, is func(Command) bool) {
	c.t.Helper()
	for range 10_000 {
		changed := c.store.Changed()
		var v Command
		if err := json.Unmarshal([]byte(c.do(ask{name: path, as: "admin", path: path}).body), &v); err != nil {
			c.t.Fatal(err)
		}
		if is(v) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		}
	}
	c.t.Fatalf("%s never was as it should be", path)
}

// The events of a part of the devices: in pages and in a stream, the same.
func TestALimitedReaderHearsOfHisDevicesAlone(t *testing.T) {
	c := inStreet(t)
	start := "1-0"
	own := make(map[string]bool)
	for n := range 5 {
		c.issue("plain", fmt.Sprint(hidden, "-", n))
		own[c.issue("plain", "mine-1")] = true
		own[c.issue("held", "mine-2", hidden+"-1")] = true
		c.device(fmt.Sprint(hidden, "-new-", n), map[string]string{"site": hidden})
	}
	last := c.issue("plain", "mine-3")
	own[last] = true
	all, _, err := c.store.Events(t.Context(), command.Place{}, command.EventFilter{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range all {
		kind, _, _ := strings.Cut(string(e.Type), ".")
		if strings.HasPrefix(e.Name, "mine") || e.Name == "" && own[e.Command.String()] || kind == "type" || kind == "group" {
			want = append(want, fmt.Sprintf("%d-%d", e.Epoch, e.N))
		}
	}
	ids := make(map[string][]string)
	for _, size := range []int{1, 4, 500} {
		after := start
		for {
			var page struct {
				Items []Event `json:"items"`
			}
			c.read("rita", fmt.Sprint("/v1/events?after=", after, "&page_size=", size), &page)
			if len(page.Items) == 0 {
				break
			}
			for _, e := range page.Items {
				ids[fmt.Sprint(size)] = append(ids[fmt.Sprint(size)], e.ID)
				after = e.ID
			}
		}
	}
	ids["stream"] = c.hear("rita", "/v1/events?after="+start, last)
	for how, list := range ids {
		if how == "stream" { // it ends with the command, before what becomes of it
			list = append(list, want[min(len(list), len(want)):]...)
		}
		if diff := cmp.Diff(list, want); diff != "" || len(want) < 20 {
			t.Errorf("%s: %d events (-got +want):\n%s", how, len(list), diff)
		}
	}
}

// hear reads a stream up to the last event of a command, and answers with the
// ids of its events.
func (c *town) hear(as, path, last string) (ids []string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.tokens[as])
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		text := lines.Text()
		if strings.Contains(text, hidden) {
			c.t.Errorf("she hears %s", text)
		}
		if id, ok := strings.CutPrefix(text, "id: "); ok {
			ids = append(ids, id)
		}
		if strings.Contains(text, last) && strings.Contains(text, `"command.created"`) {
			return ids
		}
	}
	c.t.Fatal("the stream ended before")
	return nil
}
