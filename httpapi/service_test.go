package httpapi

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestThePageOfTheContractLoadsNothing(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "docs", as: "nobody", path: "/docs"})
	if r.status != 200 || r.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", r.status, r.header)
	}
	for _, bad := range []string{"<script", "src=", "@import", "url(", "ZgotmplZ", "&lt;code", "<no value>"} {
		if i := strings.Index(r.body, bad); i >= 0 {
			t.Errorf("the page holds %q: %s", bad, r.body[max(0, i-60):i+60])
		}
	}
	policy := r.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("policy %s", policy)
	}
	anchors := make(map[string]bool)
	for _, m := range regexp.MustCompile(`id="([^"]+)"`).FindAllStringSubmatch(r.body, -1) {
		if anchors[m[1]] {
			t.Errorf("two places are called %s", m[1])
		}
		anchors[m[1]] = true
	}
	links := regexp.MustCompile(`href="?([^">]+)`).FindAllStringSubmatch(r.body, -1)
	for _, m := range links {
		if to, within := strings.CutPrefix(m[1], "#"); m[1] != "/openapi.json" && (!within || !anchors[to]) {
			t.Errorf("a link to %s, which is not on the page", m[1])
		}
	}
	for pattern := range s.srv.routes {
		method, path, _ := strings.Cut(pattern, " ")
		if !anchors[anchorOf(method, path)] {
			t.Errorf("%s is not on the page", pattern)
		}
	}
	t.Logf("%d bytes, %d anchors, %d links", len(r.body), len(anchors), len(links))
}

func TestMetricsAreSomebodyElsesAnswer(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, "behest_up 1\n")
	})})
	if r := s.do(ask{name: "metrics", as: "nobody", path: "/metrics"}); r.status != 200 || r.body != "behest_up 1\n" {
		t.Errorf("%d %s", r.status, r.body)
	}
	none := serve(t, d, d, Options{})
	if r := none.do(ask{name: "no metrics", path: "/metrics"}); r.status != 404 {
		t.Errorf("without metrics: %d", r.status)
	}
}
