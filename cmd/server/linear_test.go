package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/spf13/pflag"

	"behest/firmware-sim/message"
	"behest/firmware-sim/wire"
)

var seed = flag.Uint64("seed", 0, "of the random histories; 0: another each time")

// office is a server in this process, and people who ask it over HTTP.
type office struct {
	t      *testing.T
	dir    string
	at     addresses
	client *http.Client
	tokens map[string]string
}

// openOffice starts a server, which is closed when the test ends.
func openOffice(t *testing.T, args ...string) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), tokens: map[string]string{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	configFlags(flags)
	err := flags.Parse(append([]string{"--dev", "--data", o.dir, "--http", "127.0.0.1:0", "--coap", "127.0.0.1:0", "--http-rate", "0"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(flags)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- serve(ctx, c, io.Discard) }()
	t.Cleanup(func() {
		o.client.CloseIdleConnections()
		cancel()
		if err := <-over; err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(o.dir, addressesFile))
		if err == nil && json.Unmarshal(b, &o.at) == nil && o.at.HTTP != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not serve")
		}
	}
	token, err := os.ReadFile(filepath.Join(o.dir, devTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	o.tokens["admin"] = strings.TrimSpace(string(token))
	return o
}

// ask asks as somebody. What cannot be asked fails the test.
func (o *office) ask(who, method, path, body string) (int, []byte) {
	req, err := http.NewRequest(method, "http://"+*o.at.HTTP+path, strings.NewReader(body))
	if err != nil {
		o.t.Error(err)
		return 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+o.tokens[who])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := o.client.Do(req)
	if err != nil {
		o.t.Error(err)
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Error(err)
	}
	return res.StatusCode, answer
}

// done is ask where only success will do.
func (o *office) done(who, method, path, body string, into any) {
	o.t.Helper()
	status, answer := o.ask(who, method, path, body)
	if status < 200 || status >= 300 {
		o.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			o.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// hire makes a user.
func (o *office) hire(name, role string) {
	o.t.Helper()
	o.done("admin", "PUT", "/v1/users/"+name, fmt.Sprintf(`{"roles":[{"role":%q}]}`, role), nil)
	var token struct{ Token string }
	o.done("admin", "POST", "/v1/users/"+name+"/tokens", `{}`, &token)
	o.tokens[name] = token.Token
}

// puppet is a device of that name that registered and observes.
func (o *office) puppet(name string) *puppet {
	o.t.Helper()
	p, err := newPuppet(name, *o.at.CoAP)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(p.close)
	for _, step := range []func() (message.Message, error){
		func() (message.Message, error) { return p.register(nil) },
		func() (message.Message, error) { return p.get(true) },
	} {
		if m, err := step(); err != nil || m.Code.Class() != 2 {
			o.t.Fatalf("%s: %v %v", name, m.Code, err)
		}
	}
	return p
}

const (
	histories   = 48
	readsOfEach = 7
	checkFor    = time.Second // a history; milliseconds when the machine is not busy
	asksAtOnce  = 2           // of a device
	missingMax  = 3           // kinds of sight that chance may leave out of a run
)

// TestHistoriesAreLinearizable lets people and devices get in each other's way:
// each command is issued, approved, denied, canceled, reported on and read by
// many at the same time, and as its clocks lapse. However that went, it can be
// told as one thing after the other, each at some moment while it was asked,
// by the moves of the lifecycle as they are written down here once more.
func TestHistoriesAreLinearizable(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	o := openOffice(t)
	for _, name := range people {
		o.hire(name, "approver")
	}
	clocks := `"clocks":{"approve_within_seconds":1,"run_for_seconds":1,"cancel_for_seconds":1}`
	o.done("admin", "PUT", "/v1/types/asks0", `{`+clocks+`}`, nil)
	for n := 1; n <= len(people); n++ {
		o.done("admin", "PUT", fmt.Sprintf("/v1/types/asks%d", n), fmt.Sprintf(`{"approval":{"approvers":%d,"role":"approver"},%s}`, n, clocks), nil)
	}
	var wg sync.WaitGroup
	all := make([]*history, histories)
	for n := range all {
		h := &history{office: o, puppet: o.puppet(fmt.Sprintf("d%d", n)), approvers: n % 3, random: rand.New(rand.NewPCG(*seed, uint64(n)))}
		h.plan()
		all[n] = h
	}
	began := time.Now()
	for _, h := range all {
		h.began = began
		wg.Go(h.live)
	}
	wg.Wait()
	operations, undecided, kinds := 0, 0, map[string]int{}
	for n, h := range all {
		operations += len(h.operations)
		for _, op := range h.operations {
			kinds[describe(op.Input, op.Output)]++
			if op.Output.(output).sight.Late {
				kinds["late"]++
			}
		}
		switch porcupine.CheckOperationsTimeout(lifecycle, h.operations, checkFor) {
		case porcupine.Illegal:
			t.Errorf("seed %d, history %d cannot be told one thing after the other:\n%s", *seed, n, h)
		case porcupine.Unknown:
			undecided++ // everything overlaps everything, because the machine is busy
		}
	}
	t.Logf("seed %d: %d operations in %d histories, %d undecided, in %v", *seed, operations, histories, undecided, time.Since(began).Round(time.Millisecond))
	if undecided > histories/2 {
		t.Errorf("seed %d: %d of %d histories were not decided in %v each", *seed, undecided, histories, checkFor)
	}
	var missing []string
	for _, kind := range []string{ // that the histories are worth something
		"approve 200", "approve 409", "deny 200", "deny 409", "cancel 200", "cancel 409",
		"report success 2.04", "report failure 4.09", "report canceled 2.04",
		"read expired approval_lapsed", "read denied", "read canceled", "read running", "read timed_out no_report", "late",
	} {
		if kinds[kind] == 0 {
			missing = append(missing, kind)
		}
	}
	if len(missing) > missingMax {
		t.Errorf("seed %d: no history has any of %q: %v", *seed, missing, kinds)
	}
}

var people = []string{"anna", "bert"}

// history is what was asked about one command on a device of its own.
type history struct {
	*office
	puppet    *puppet
	approvers int
	random    *rand.Rand
	began     time.Time
	plans     []plan

	turns      chan struct{} // bounds what the device asks at once
	issued     chan struct{} // closed when id and digest are known
	id, digest string

	mu         sync.Mutex
	writes     uint
	operations []porcupine.Operation
}

// plan is something to do, so long after the beginning.
type plan struct {
	after time.Duration
	do    func()
}

// at plans to do something within a few milliseconds after a moment.
func (h *history) at(moment time.Duration, do ...func()) {
	for _, f := range do {
		h.plans = append(h.plans, plan{moment + time.Duration(h.random.Int64N(int64(4*time.Millisecond))), f})
	}
}

// plan decides what happens when: there are moments at which everybody wants
// something, some of them as a clock lapses.
func (h *history) plan() {
	h.issued, h.turns = make(chan struct{}), make(chan struct{}, asksAtOnce)
	within := func(d time.Duration) time.Duration { return time.Duration(h.random.Int64N(int64(d))) }
	some := func(most int, list []func()) []func() {
		h.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:h.random.IntN(most+1)]
	}
	const issue = 50 * time.Millisecond
	h.at(issue, h.issue)
	first := issue + 100*time.Millisecond + within(300*time.Millisecond)
	if h.approvers > 0 && h.random.IntN(3) == 0 {
		first = issue + time.Second + within(400*time.Millisecond) // approve_within lapses
	}
	moments := []time.Duration{first}
	if h.approvers > 0 {
		for _, who := range people[:h.approvers] {
			h.at(first, func() { h.decide("approve", who) })
		}
		h.at(first, some(4, []func(){
			func() { h.decide("approve", people[0]) },
			func() { h.decide("deny", people[0]) }, func() { h.decide("deny", people[1]) },
			h.cancel,
		})...)
		first += 50 * time.Millisecond
	}
	says := func(r wire.Report) func() { return func() { h.report(r) } }
	begins := []func(){h.cancel, says(wire.Report{Status: wire.Running}), says(wire.Report{Status: wire.Success})}
	ends := []func(){h.cancel, h.cancel, says(wire.Report{Status: wire.Running, Code: new(int64(wire.CodeCannotCancel))})}
	for s := wire.Running; s <= wire.Canceled; s++ {
		ends = append(ends, says(wire.Report{Status: s}))
	}
	second := first + within(200*time.Millisecond)
	third := second + time.Second - 10*time.Millisecond + within(20*time.Millisecond) // a clock that second started lapses
	h.at(second, some(2, begins)...)
	if h.random.IntN(3) > 0 {
		h.at(third, some(4, ends)...)
	}
	last := third + 30*time.Millisecond + within(300*time.Millisecond)
	h.at(last, some(4, ends)...)
	h.at(last, says(wire.Report{Status: wire.Success}))
	moments = append(moments, second, third, last)
	for n := range readsOfEach {
		moment := moments[h.random.IntN(len(moments))]
		if n%3 == 0 {
			moment = within(last)
		}
		h.at(moment, func() { h.read(n % 4) })
	}
	h.at(within(2*issue), func() { h.read(3) })
}

// live does what was planned, each in its own time.
func (h *history) live() {
	var wg sync.WaitGroup
	for _, p := range h.plans {
		wg.Go(func() {
			time.Sleep(time.Until(h.began.Add(p.after)))
			p.do()
		})
	}
	wg.Wait()
}

// input is what was asked.
type input struct {
	kind   string
	who    string
	report wire.Report
	needs  int  // issue: approvers
	write  uint // which change it is; of a read: the change whose answer it is; 0: none
}

// output is what was answered. Of a change it is the code alone: how the
// command stands in that answer was read after it, and is a read of its own.
type output struct {
	code  string
	sight sight
}

// sight is how a command stands to who looks at it. Empty: there is none.
type sight struct {
	State, Cause string
	Late         bool
}

// moment is a time in a history.
func (h *history) moment() int64 { return int64(time.Since(h.began)) }

func (h *history) note(call int64, in input, out output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: len(h.operations), Input: in, Call: call, Output: out, Return: h.moment()})
}

// number numbers a change.
func (h *history) number() uint {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes++
	return h.writes
}

// commandSeen is as much as is looked at of what the API shows: a command, its
// execution, a list of commands, or a problem with a command in it.
type commandSeen struct {
	sight
	ID, Digest string
	Execution  *sight
	Command    json.RawMessage // of a problem; of an execution, an id
	Items      []commandSeen
}

// seen reads a command out of an answer of any kind.
func (h *history) seen(answer []byte) (commandSeen, sight) {
	var c commandSeen
	if err := json.Unmarshal(answer, &c); err != nil {
		h.t.Errorf("%v: %s", err, answer)
	}
	if bytes.HasPrefix(c.Command, []byte("{")) {
		return h.seen(c.Command)
	}
	if len(c.Items) > 0 {
		c = c.Items[0]
	}
	if c.Execution != nil {
		c.sight = *c.Execution
	}
	return c, c.sight
}

// change asks for a change, and notes its answer as two operations.
func (h *history) change(who, path, body string, in input) commandSeen {
	in.who, in.write = who, h.number()
	call := h.moment()
	status, answer := h.ask(who, "POST", path, body)
	c, s := h.seen(answer)
	h.note(call, in, output{code: fmt.Sprint(status)})
	if status >= 300 {
		in.write = 0 // nothing was changed that could be seen in what came with the answer
	}
	h.note(call, input{kind: "read", write: in.write}, output{sight: s})
	return c
}

func (h *history) issue() {
	body := fmt.Sprintf(`{"type":"asks%d","targets":{"devices":[%q]}}`, h.approvers, h.puppet.name)
	c := h.change("admin", "/v1/commands", body, input{kind: "issue", needs: h.approvers})
	h.id, h.digest = c.ID, c.Digest
	close(h.issued)
}

func (h *history) decide(what, who string) {
	<-h.issued
	h.change(who, "/v1/commands/"+h.id+"/"+what, fmt.Sprintf(`{"digest":%q}`, h.digest), input{kind: what})
}

func (h *history) cancel() {
	<-h.issued
	h.change("admin", "/v1/commands/"+h.id+"/cancel", "", input{kind: "cancel"})
}

// report reports on the command, if the device has ever seen it.
func (h *history) report(r wire.Report) {
	<-h.issued
	seq := h.puppet.numbered()
	if seq == 0 {
		return
	}
	h.turns <- struct{}{}
	call := h.moment()
	m, err := h.puppet.report(seq, r)
	<-h.turns
	if err != nil {
		h.t.Error(err)
		return
	}
	if m.Code == message.Unavailable { // refused before it was looked at: again after Max-Age
		return
	}
	h.note(call, input{kind: "report", report: r}, output{code: m.Code.String()})
}

// read looks at the command in one of the ways that there are.
func (h *history) read(way int) {
	path := "/v1/commands?device=" + h.puppet.name // also before it was issued
	if way < 3 {
		<-h.issued
		path = "/v1/commands/" + h.id + []string{"", "/executions/" + h.puppet.name, "?wait_seconds=1"}[way]
	}
	call := h.moment()
	_, answer := h.ask("admin", "GET", path, "")
	_, s := h.seen(answer)
	if way == 2 && !ended[s.State] { // it was to wait, and then to say how it stands
		if waited := h.moment() - call; waited < int64(time.Second) {
			h.t.Errorf("somebody waited for %v, and was told %s", time.Duration(waited), s.State)
		}
		call += int64(time.Second)
	}
	h.note(call, input{kind: "read"}, output{sight: s})
}

// numbered is the number of the only command that this device ever saw; 0: none.
func (p *puppet) numbered() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

func (h *history) String() string {
	slices.SortFunc(h.operations, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range h.operations {
		in := op.Input.(input)
		fmt.Fprintf(&b, "%12v %12v  %s %s #%d\n", time.Duration(op.Call), time.Duration(op.Return), describe(op.Input, op.Output), in.who, in.write)
	}
	return b.String()
}

func describe(in, out any) string {
	i, o := in.(input), out.(output)
	words := []string{i.kind}
	if i.kind == "report" {
		words = append(words, i.report.Status.String())
		if i.report.Code != nil {
			words = append(words, "cannot cancel")
		}
	}
	if o.code != "" {
		words = append(words, o.code)
	}
	for _, word := range []string{o.sight.State, o.sight.Cause} {
		if word != "" {
			words = append(words, word)
		}
	}
	if o.sight.Late {
		words = append(words, "late")
	}
	return strings.Join(words, " ")
}
