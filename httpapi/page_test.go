package httpapi

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/device"
)

// page asks for a page and answers with the token of the next one.
func (s *service) page(path, token string) string {
	s.t.Helper()
	if token != "" {
		path += "&page_token=" + url.QueryEscape(token)
	}
	r := s.do(ask{name: "a page", path: path})
	var page struct {
		Next string `json:"next_page_token"`
	}
	if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.status != 200 {
		s.t.Fatalf("%d %v %s", r.status, err, r.body)
	}
	return page.Next
}

func TestPagesGoOnWhereTheLastOneEnded(t *testing.T) {
	var filters []command.Filter
	d := &desk{commands: func(f command.Filter) ([]command.View, bool, error) {
		filters = append(filters, f)
		v := pumpCommand(command.Queued)
		v.Command.N = 100 - int64(len(filters))
		return []command.View{v}, len(filters) < 3, nil
	}}
	s := serve(t, d, d, Options{})
	const path = "/v1/commands?page_size=1&type=t&device=pump-7&state=queued&outcome=none_done&requested_by=ann" +
		"&created_after=2026-11-24T12:00:00%2B01:00&created_before=2026-11-24T12:00:00Z&label=a%3Db&label=c%3D"
	token := ""
	for range 3 {
		token = s.page(path, token)
	}
	if token != "" {
		t.Errorf("the last page has a next one: %s", token)
	}
	want := command.Filter{
		State: "queued", Outcome: command.NoneDone, Type: "t", Device: "pump-7", RequestedBy: "ann", Limit: 1,
		CreatedAfter: noon.Add(-time.Hour), CreatedBefore: noon, Label: map[string]string{"a": "b", "c": ""},
	}
	second, third := want, want
	second.Before, third.Before = 99, 98
	if diff := cmp.Diff(filters, []command.Filter{want, second, third}); diff != "" {
		t.Errorf("filters (-got +want):\n%s", diff)
	}
}

func TestPagesOfDevicesAndExecutionsGoOn(t *testing.T) {
	var after []string
	var afterN []int64
	d := &desk{
		devices: func(f device.Filter) ([]device.View, bool, error) {
			after = append(after, f.After)
			return []device.View{pump()}, true, nil
		},
		executions: func(_ command.ID, state string, n int64, limit int) ([]command.Execution, bool, error) {
			afterN = append(afterN, n)
			if state != "queued" || limit != 100 {
				t.Errorf("asked for %d in state %q", limit, state)
			}
			return []command.Execution{*pumpCommand(command.Queued).Only}, true, nil
		},
	}
	s := serve(t, d, d, Options{})
	s.page("/v1/devices?page_size=500", s.page("/v1/devices?page_size=7", ""))
	s.page(commandPath+"/executions?state=queued", s.page(commandPath+"/executions?state=queued", ""))
	if diff := cmp.Diff(after, []string{"", "pump-7"}); diff != "" {
		t.Errorf("devices (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(afterN, []int64{0, 42}); diff != "" {
		t.Errorf("executions (-got +want):\n%s", diff)
	}
}

// A page of executions may be empty, and there are more.
func TestPagesOfAllExecutionsGoOn(t *testing.T) {
	var asked []command.ExecutionFilter
	d := &desk{allExecutions: func(f command.ExecutionFilter) ([]command.Execution, int64, error) {
		asked = append(asked, f)
		switch f.Before {
		case 0:
			return []command.Execution{*pumpCommand(command.Queued).Only}, 17, nil
		case 17:
			return nil, 5, nil
		}
		return []command.Execution{*pumpCommand(command.Queued).Only}, 0, nil
	}}
	s := serve(t, d, d, Options{})
	const path = "/v1/executions?state=queued&state=sent&effect=unknown&type=pump.start&device=pump-7&created_after=2026-11-24T00:00:00Z&page_size=3"
	second := s.page(path, s.page(path, ""))
	r := s.do(ask{path: path + "&page_token=" + second})
	if r.status != 200 || strings.Contains(r.body, "next_page_token") {
		t.Errorf("the last page: %d %s", r.status, r.body)
	}
	want := command.ExecutionFilter{
		States: []command.State{command.Queued, command.Sent}, Effects: []command.Effect{command.EffectUnknown}, Type: "pump.start", Device: "pump-7",
		CreatedAfter: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Limit: 3,
	}
	for i, before := range []int64{0, 17, 5} {
		want.Before = before
		if diff := cmp.Diff(asked[i], want); diff != "" {
			t.Errorf("page %d (-got +want):\n%s", i, diff)
		}
	}
	for _, other := range []string{"state=queued", "state=sent&state=queued&effect=unknown", "type=pump.start"} {
		if r := s.do(ask{path: "/v1/executions?" + other + "&page_token=" + second}); r.status != 400 {
			t.Errorf("the token of another list, %s: %d", other, r.status)
		}
	}
	for _, bad := range []string{"state=gone", "effect=some", "device=a%2Fb", "created_after=today", "page_size=501", "state="} {
		if r := s.do(ask{path: "/v1/executions?" + bad}); r.status != 400 {
			t.Errorf("%s: %d %s", bad, r.status, r.body)
		}
	}
}

// A token is good for the list and the filters that it came from, and for
// nothing else; another page size is no other list.
func TestPageTokensFitNowhereElse(t *testing.T) {
	d := &desk{commands: func(command.Filter) ([]command.View, bool, error) {
		return []command.View{pumpCommand(command.Queued)}, true, nil
	}}
	key := []byte("0123456789abcdef")
	s := serve(t, d, d, Options{PageKey: key})
	token := s.page("/v1/commands?type=t", "")
	s.page("/v1/commands?type=t&page_size=5", token)
	for name, path := range map[string]string{
		"another filter": "/v1/commands?type=u", "one filter more": "/v1/commands?type=t&state=queued",
		"no filter": "/v1/commands?", "another list": "/v1/devices?", "executions": commandPath + "/executions?",
		"changed": "/v1/commands?type=t&page_size=5&x=",
	} {
		use := token
		if name == "changed" {
			path, use = "/v1/commands?type=t", token[:len(token)-2]+"AA"
		}
		if r := s.do(ask{name: name, path: path + "&page_token=" + use}); r.status != 400 {
			t.Errorf("%s: answered %d", name, r.status)
		}
	}
	again := serve(t, d, d, Options{PageKey: key})
	again.page("/v1/commands?type=t", token)
	other := serve(t, d, d, Options{})
	if r := other.do(ask{name: "another server", path: "/v1/commands?type=t&page_token=" + token}); r.status != 400 {
		t.Errorf("a server with another key answered %d", r.status)
	}
}
