package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/device"
)

func TestGroupsAreKeptByVersion(t *testing.T) {
	var put []string
	d := &desk{}
	d.putGroup = func(g device.Group, ifVersion int64, by string) (device.Group, bool, error) {
		put = append(put, fmt.Sprint(g.Name, " ", g.Selector, " ", ifVersion, " ", by))
		if ifVersion == 1 {
			return g, false, command.Errorf(command.CodePrecondition, "the group is not of version 1")
		}
		created := g.Name != "north"
		g.Version, g.CreatedAt, g.ChangedAt, g.ChangedBy = 3, noon, noon, by
		return g, created, nil
	}
	var removed []string
	d.removeGroup = func(name string, ifVersion int64, by string) error {
		removed = append(removed, fmt.Sprint(name, " ", ifVersion, " ", by))
		return nil
	}
	s := serve(t, d, d, Options{})
	const body = `{"selector":"site=a"}`
	match := func(v string) map[string]string { return map[string]string{"If-Match": v} }
	for _, tt := range []struct {
		a      ask
		status int
		etag   string
		where  string
	}{
		{ask{name: "made", method: "PUT", path: "/v1/groups/caf%C3%A9%2042", body: body}, 201, `"3"`, "/v1/groups/caf%C3%A9%2042"},
		{ask{name: "changed", method: "PUT", path: "/v1/groups/north", body: body, header: match(`"2"`)}, 200, `"3"`, ""},
		{ask{name: "changed meanwhile", method: "PUT", path: "/v1/groups/north", body: body, header: match(`"1"`)}, 412, "", ""},
		{ask{name: "matched, and not there", method: "PUT", path: "/v1/groups/south", body: body, header: match("*")}, 412, "", ""},
		{ask{name: "seen", as: "viewer", path: "/v1/groups/north"}, 200, `"2"`, ""},
		{ask{name: "not there", path: "/v1/groups/south"}, 404, "", ""},
		{ask{name: "removed", method: "DELETE", path: "/v1/groups/north", header: match(`"2"`)}, 204, "", ""},
		{ask{name: "a viewer who names", as: "viewer", method: "PUT", path: "/v1/groups/north", body: body}, 403, "", ""},
		{ask{name: "an approver who removes", as: "approver", method: "DELETE", path: "/v1/groups/north"}, 403, "", ""},
	} {
		r := s.do(tt.a)
		if r.status != tt.status || r.header.Get("ETag") != tt.etag || r.header.Get("Location") != tt.where {
			t.Errorf("%s: %d %v %s", tt.a.name, r.status, r.header, r.body)
		}
	}
	if diff := cmp.Diff(put, []string{"café 42 site=a 0 operator-1", "north site=a 2 operator-1", "north site=a 1 operator-1"}); diff != "" {
		t.Errorf("put (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(removed, []string{"north 2 operator-1"}); diff != "" {
		t.Errorf("removed (-got +want):\n%s", diff)
	}
}

func TestGroupsComeInPages(t *testing.T) {
	var asked []string
	d := &desk{}
	d.groups = func(after string, limit int) ([]device.Group, bool, error) {
		asked = append(asked, fmt.Sprint(after, " ", limit))
		g := north()
		g.Name += after
		return []device.Group{g}, after == "", nil
	}
	s := serve(t, d, d, Options{})
	var page GroupPage
	if err := json.Unmarshal([]byte(s.do(ask{name: "first", path: "/v1/groups?page_size=1"}).body), &page); err != nil || page.NextPageToken == "" {
		t.Fatalf("%v %+v", err, page)
	}
	r := s.do(ask{name: "second", path: "/v1/groups?page_token=" + page.NextPageToken})
	if r.status != 200 || strings.Contains(r.body, "next_page_token") {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	if diff := cmp.Diff(asked, []string{" 1", "north 100"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}
