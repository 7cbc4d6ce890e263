package httpapi

import (
	"encoding/json"
	"net/url"
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
