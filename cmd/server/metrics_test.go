package main

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/firmware-sim/wire"
)

// metrics are the counters at /metrics that begin so, by the rest of their names.
func (o *office) metrics(prefix string) map[string]int {
	o.t.Helper()
	_, page := o.ask("admin", "GET", "/metrics", "")
	found := map[string]int{}
	for line := range strings.Lines(string(page)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				o.t.Fatalf("%s: %v", line, err)
			}
			found[rest] = int(n)
		}
	}
	return found
}

// history counts what the log has, by type.
func (o *office) history() map[string]int {
	o.t.Helper()
	found, after := map[string]int{}, "1-0"
	for {
		var page struct {
			Items []struct{ ID, Type string }
			Next  string `json:"next_after"`
		}
		o.done("admin", "GET", "/v1/events?page_size=500&after="+after, "", &page)
		if len(page.Items) == 0 {
			return found
		}
		for _, e := range page.Items {
			found[fmt.Sprintf("{type=%q}", e.Type)]++
			after = e.ID
		}
	}
}

// fate is what becomes of a command in a mixed load.
type fate struct {
	kind, state string // of command, and how it stands in the end
	does        func(o *office, p *puppet, path, digest string)
}

func says(s wire.Status) func(*office, *puppet, string, string) {
	return func(o *office, p *puppet, _, _ string) {
		for deadline := time.Now().Add(patience); p.numbered() == 0 && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		if m, err := p.report(p.numbered(), wire.Report{Status: s}); err != nil || m.Code.Class() != 2 {
			o.t.Errorf("%s reports %v: %v %v", p.name, s, m.Code, err)
		}
	}
}

// TestMetricsEqualTheHistory runs a mixed load: what is counted at /metrics is
// what the log has, event by event, and what the devices asked.
func TestMetricsEqualTheHistory(t *testing.T) {
	const rounds = 4
	o := openOffice(t)
	o.hire("anna", "approver")
	o.done("admin", "PUT", "/v1/types/brief", `{"clocks":{"run_for_seconds":1,"deliver_within_seconds":1}}`, nil)
	o.done("admin", "PUT", "/v1/types/guarded", `{"approval":{"approvers":1,"role":"approver"}}`, nil)
	deny := func(o *office, _ *puppet, path, digest string) {
		o.done("anna", "POST", path+"/deny", fmt.Sprintf(`{"digest":%q}`, digest), nil)
	}
	fates := []fate{
		{"job", "succeeded", says(wire.Success)}, {"job", "failed", says(wire.Failure)}, {"job", "rejected", says(wire.Rejected)},
		{"job", "canceled", says(wire.Canceled)}, {"job", "running", says(wire.Running)},
		{"guarded", "denied", deny}, {"brief", "timed_out", nil}, {"brief", "expired", nil},
	}
	var wg sync.WaitGroup
	asked := 0
	for n := range rounds * len(fates) {
		f, name := fates[n%len(fates)], fmt.Sprintf("d%d", n)
		var p *puppet
		if f.state != "expired" { // its device never comes
			p = o.puppet(name)
			asked += 2
		}
		wg.Go(func() {
			var c struct{ ID, Digest, State string }
			o.done("admin", "POST", "/v1/commands", fmt.Sprintf(`{"type":%q,"targets":{"devices":[%q]}}`, f.kind, name), &c)
			path := "/v1/commands/" + c.ID
			if f.does != nil {
				f.does(o, p, path, c.Digest)
			}
			for deadline := time.Now().Add(patience); c.State != f.state; time.Sleep(10 * time.Millisecond) {
				if o.done("admin", "GET", path, "", &c); time.Now().After(deadline) {
					t.Errorf("%s is %s, want %s", name, c.State, f.state)
					return
				}
			}
		})
		if p != nil && f.kind == "job" {
			asked++
		}
	}
	wg.Wait()
	for deadline := time.Now().Add(patience); ; { // a fact of the transport comes within a second
		history, counted := o.history(), o.metrics("behest_events_total")
		diff := cmp.Diff(counted, history)
		if diff != "" && time.Now().Before(deadline) && !maps.Equal(o.history(), history) {
			continue // something happened between the two
		}
		if diff != "" {
			t.Errorf("events at /metrics (-counted +history):\n%s", diff)
		}
		total := 0
		for _, n := range history {
			total += n
		}
		if got := o.metrics("behest_store_events_total")[""]; got != total {
			t.Errorf("%d events at /metrics, %d in the history", got, total)
		}
		for _, f := range fates {
			if kind := fmt.Sprintf("{type=%q}", "execution."+f.state); history[kind] != rounds {
				t.Errorf("the history has %d %s, want %d", history[kind], kind, rounds)
			}
		}
		t.Logf("%d events of %d types, %d requests of devices", total, len(history), asked)
		break
	}
	if got := o.metrics("behest_coap_requests_total")[""]; got != asked {
		t.Errorf("%d requests of devices at /metrics, %d were made", got, asked)
	}
}
