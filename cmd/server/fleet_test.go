package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/device"
	"behest/firmware-sim/link"
	"behest/firmware-sim/wire"
	"behest/httpapi"
)

// house is the whole server, as its program runs it.
type house struct {
	t     *testing.T
	http  string
	coap  netip.AddrPort
	token string
}

// opened starts the server; it ends with the test.
func opened(t *testing.T) *house {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--dev", "--data", dir, "--http", "127.0.0.1:0", "--coap", "127.0.0.1:0", "--log-level", "warn"}, io.Discard, t.Output())
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("the server ended with %d", code)
		}
	})
	h := &house{t: t}
	h.until("the server serves", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, addressesFile))
		token, err2 := os.ReadFile(filepath.Join(dir, devTokenFile))
		var a addresses
		if err != nil || err2 != nil || json.Unmarshal(b, &a) != nil || a.HTTP == nil || a.CoAP == nil {
			return false
		}
		h.http, h.token = "http://"+*a.HTTP, strings.TrimSpace(string(token))
		h.coap, err = netip.ParseAddrPort(*a.CoAP)
		return err == nil
	})
	return h
}

// until waits for something to become so.
func (h *house) until(what string, so func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ask calls the server, and wants a status.
func (h *house) ask(method, path, body string, status int, into any) {
	h.t.Helper()
	r, err := http.NewRequest(method, h.http+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		h.t.Fatalf("%s %s: %d %s, %v, want %d", method, path, answer.StatusCode, b, err, status)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			h.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
}

// command is a command as it stands, or as it stands when it has ended.
func (h *house) command(id string, wait int) (c httpapi.Command) {
	h.t.Helper()
	h.ask("GET", fmt.Sprintf("/v1/commands/%s?wait_seconds=%d", id, wait), "", 200, &c)
	return c
}

// valve is a simulated device with something that can be set.
type valve struct {
	name  string
	tells bool // what it was set to before

	mu     sync.Mutex
	silent bool // it acts, and says nothing
	asked  map[uint32][]byte
	now    []byte
}

// plan is what it does with a command.
func (v *valve) plan(e wire.Entry) behaviour.Plan {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked[e.Seq] = append([]byte(nil), e.Params...)
	p := behaviour.DefaultPlan()
	p.Silent = v.silent
	if v.tells {
		p.Outcome.Prev = v.now
	}
	return p
}

// acts hears that it begins to do what it was asked.
func (v *valve) acts(e device.Event) {
	if e.Kind != device.Started {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = v.asked[e.Seq]
}

func (v *valve) stands() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return wire.ToJSON(v.now)
}

// install brings valves to life; they end with the test.
func (h *house) install(n int) []*valve {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var lives sync.WaitGroup
	h.t.Cleanup(func() { cancel(); lives.Wait() })
	valves := make([]*valve, n)
	for i := range valves {
		v := &valve{name: fmt.Sprintf("valve-%02d", i), tells: i%2 == 0, asked: map[uint32][]byte{}}
		valves[i] = v
		conn, err := link.UDP(netip.AddrPort{}, h.coap)
		if err != nil {
			h.t.Fatal(err)
		}
		d, err := device.New(conn, device.Options{Name: v.name, Server: h.coap, Plan: v.plan, Notify: v.acts})
		if err != nil {
			h.t.Fatal(err)
		}
		lives.Go(func() {
			if err := d.Run(ctx); err != nil {
				h.t.Error(err)
			}
		})
	}
	h.until("all observe", func() bool {
		var page httpapi.DevicePage
		h.ask("GET", "/v1/devices?page_size=500", "", 200, &page)
		observing := 0
		for _, d := range page.Items {
			if d.Observation != nil {
				observing++
			}
		}
		return observing == n
	})
	return valves
}

// counts holds how many executions of a command are in which states.
func (h *house) counts(what string, c httpapi.Command, want httpapi.Counts) {
	h.t.Helper()
	if fmt.Sprint(c.Counts) != fmt.Sprint(want) {
		h.t.Errorf("%s: %v, want %v", what, c.Counts, want)
	}
}

// A rollout to fifty devices, some of which are never heard of, halts, is shown
// halted, and is rolled back. Every device is set as before; where nobody can
// know, that is what is said.
func TestARolloutHaltsOnUnknownsAndIsRolledBack(t *testing.T) {
	const devices, first, silent = 50, 10, 4
	h := opened(t)
	h.ask("PUT", "/v1/types/valve.set", `{"rollback":{"kind":"restore"},"clocks":{"run_for_seconds":2}}`, 201, nil)
	valves := h.install(devices)

	var intents []string
	for i, v := range valves {
		intents = append(intents, fmt.Sprintf(`{"type":"valve.set","params":{"to":%d},"targets":{"devices":[%q]}}`, 100+i, v.name))
	}
	h.ask("POST", "/v1/commands/batch", `{"commands":[`+strings.Join(intents, ",")+`]}`, 200, nil)
	h.until("each is set to its own", func() bool {
		var page httpapi.CommandPage
		h.ask("GET", "/v1/commands?state=succeeded&page_size=500", "", 200, &page)
		return len(page.Items) == devices
	})

	for _, v := range valves[first-silent : first] {
		v.mu.Lock()
		v.silent = true
		v.mu.Unlock()
	}
	var c, back httpapi.Command
	h.ask("POST", "/v1/commands", fmt.Sprintf(`{"type":"valve.set","params":{"to":7},"targets":{"all":true},"expect_targets":%d,
		"rollout":{"waves":[{"count":%d},{"percent":50}],"halt":{"percent":30,"minimum":%d}}}`, devices, first, first), 201, &c)
	h.until("it has halted", func() bool { return h.command(c.ID, 0).State == "halted" })
	c = h.command(c.ID, 0)
	h.counts("halted", c, httpapi.Counts{"succeeded": first - silent, "timed_out": silent})
	if c.Outcome != nil || c.Pending == nil || *c.Pending != devices-first || c.Effect != "unknown" {
		t.Errorf("halted: outcome %v, pending %v, effect %s", c.Outcome, c.Pending, c.Effect)
	}
	var page httpapi.CommandPage
	h.ask("GET", "/v1/commands?state=halted", "", 200, &page)
	if len(page.Items) != 1 || page.Items[0].ID != c.ID {
		t.Errorf("%d are halted", len(page.Items))
	}
	for i, v := range valves {
		if want := fmt.Sprintf(`{"to":%d}`, 100+i); i >= first && v.stands() != want {
			t.Errorf("%s, behind the halt, is set to %s", v.name, v.stands())
		}
	}

	h.ask("POST", "/v1/commands/"+c.ID+"/rollback", `{"reason":"four are not heard of"}`, 201, &back)
	back, c = h.command(back.ID, 30), h.command(c.ID, 0)
	h.counts("rolled back", c, httpapi.Counts{"succeeded": first - silent, "timed_out": silent, "canceled": devices - first})
	h.counts("the way back", back, httpapi.Counts{"succeeded": first - silent, "timed_out": silent})
	for name, is := range map[string]httpapi.Command{"the command": c, "its way back": back} {
		if is.State != "ended" || is.Outcome == nil || *is.Outcome != "some_unknown" || is.Effect != "unknown" || is.Settled {
			t.Errorf("%s: %s, outcome %v, effect %s, settled %t", name, is.State, is.Outcome, is.Effect, is.Settled)
		}
	}
	if c.RolledBackBy != back.ID || back.RollbackOf != c.ID {
		t.Errorf("%s is undone by %q, %s undoes %q", c.ID, c.RolledBackBy, back.ID, back.RollbackOf)
	}
	h.asBefore(valves, back, first, silent)
}

// asBefore looks at what each device is set to, and at what is said of it.
func (h *house) asBefore(valves []*valve, back httpapi.Command, first, silent int) {
	h.t.Helper()
	for i, v := range valves {
		want := fmt.Sprintf(`{"to":%d}`, 100+i)
		if got := v.stands(); got != want {
			h.t.Errorf("%s is set to %s, was %s", v.name, got, want)
		}
		if i >= first {
			continue
		}
		var x httpapi.ExecutionWithReports
		h.ask("GET", "/v1/commands/"+back.ID+"/executions/"+v.name, "", 200, &x)
		state, effect := httpapi.ExecutionState("succeeded"), httpapi.Effect("applied")
		if i >= first-silent {
			state, effect = "timed_out", "unknown"
		}
		if x.State != state || x.Effect != effect || string(x.Params) != want {
			h.t.Errorf("the way back on %s is %s, effect %s, with %s", v.name, x.State, x.Effect, x.Params)
		}
	}
}
