package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"behest/firmware-sim/link"
	"behest/firmware-sim/servertest"
	"behest/firmware-sim/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// scripted starts a scripted server on a real socket and says its URL.
func scripted(t *testing.T) (*servertest.Server, string) {
	t.Helper()
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	conn, err := link.UDP(loopback, loopback)
	if err != nil {
		t.Fatal(err)
	}
	server := servertest.New(t, conn)
	t.Cleanup(server.Close)
	return server, fmt.Sprintf("coap://%v", conn.Local())
}

// sim runs the program to its end.
func sim(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongCommandLinesSayWhyInOneLine(t *testing.T) {
	rows := []struct{ args, want string }{
		{"", "--ep NAME is missing"},
		{"--ep", "flag needs an argument"},
		{"--ep a/b", "slashes"},
		{"--ep a b", `unexpected argument "b"`},
		{"--ep a --bogus", "not defined: -bogus"},
		{"--ep a --lt 0", "--lt 0: 1 to 4294967295 seconds"},
		{"--ep a --lt 4294967296", "--lt 4294967296"},
		{"--ep a --w 9", "window"},
		{"--ep a --count -1", "negative"},
		{"--ep a --loss 2", "loss is a chance from 0 to 1"},
		{"--ep a --delay -1s", "delay is negative"},
		{"--ep a --server coaps://127.0.0.1", "coaps is not spoken here"},
		{"--ep a --server 127.0.0.1:5683", "coap://HOST[:PORT]"},
		{"--ep a --server coap://127.0.0.1/rd", "the path /rd is too much"},
		{"--ep a --server coap://127.0.0.1:99999", "port"},
		{"--ep a --local here", "no ADDRESS:PORT"},
		{"--ep a --default walk", `--default: unknown behaviour "walk"`},
		{"--ep a --on x", "TYPE=BEHAVIOUR"},
		{"--ep a --on x=crash:at=lunch", "none of stored, acted, outcome"},
	}
	for _, row := range rows {
		t.Run(row.args, func(t *testing.T) {
			code, stdout, stderr := sim(t, strings.Fields(row.args)...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, row.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q; want one line with %q", code, stdout, stderr, row.want)
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	code, stdout, _ := sim(t, "--help")
	if code != exitDone {
		t.Errorf("exit %d", code)
	}
	for _, name := range []string{
		"server", "ep", "lt", "w", "state", "local", "on", "default", "loss", "dup", "reorder", "delay", "seed", "once", "count", "json", "help",
	} {
		if !strings.Contains(stdout, "--"+name) {
			t.Errorf("--%s is not explained", name)
		}
	}
}

func TestAStateFileThatCannotBeUsedIsAFailure(t *testing.T) {
	code, _, stderr := sim(t, "--ep", "a", "--state", t.TempDir())
	if code != exitFailed || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

// TestOneCommandForAScript is the program as a script sees it.
func TestOneCommandForAScript(t *testing.T) {
	server, url := scripted(t)
	server.Lock()
	server.Open = []wire.Entry{{Seq: 7, Type: "pump.start", Params: []byte{0xa1, 0x61, 'n', 1}, Seconds: 60}}
	server.Due[7] = time.Now().Add(time.Hour)
	server.Unlock()
	code, stdout, stderr := sim(t, "--server", url, "--ep", "pump-7", "--once", "--json", "--on", `pump.start=success:result={"ok":true}`, "--default", "reject")
	if code != exitDone || stderr != "" {
		t.Fatalf("exit %d, stderr %q", code, stderr)
	}
	var got []line
	for text := range strings.Lines(stdout) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got = append(got, l)
	}
	ok := json.RawMessage(`{"ok":true}`)
	want := []line{
		{Event: "booted", Note: "last=0 server=" + strings.TrimPrefix(url, "coap://")},
		{Event: "registered", Note: "handle=rd/h1 lt=3600 last=0"},
		{Event: "observing", Note: "path=/c/pump-7"},
		{Event: "listed", List: &[]entry{{Seq: 7, Type: "pump.start", Params: json.RawMessage(`{"n":1}`), Seconds: 3599}}},
		{Event: "started", Seq: 7, Type: "pump.start"},
		{Event: "concluded", Seq: 7, Type: "pump.start", Status: "success", Result: ok},
		{Event: "reported", Seq: 7, Status: "success", Result: ok},
		{Event: "answered", Seq: 7, Status: "success", Result: ok, Answer: "2.04"},
		{Event: "stopped", Note: "commands done, the registration is left to lapse, 1 effects on 1 commands so far"},
	}
	for i := range want {
		want[i].Device = "pump-7"
	}
	// The server may show the list again, or the empty one, at any time.
	seen := 0
	got = deleteLists(got, &seen)
	want = deleteLists(want, new(int))
	if seen == 0 {
		t.Error("no list was shown")
	}
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(line{}, "Time")); diff != "" {
		t.Errorf("lines (-got +want):\n%s", diff)
	}
}

func deleteLists(lines []line, seen *int) []line {
	var kept []line
	for _, l := range lines {
		if l.List != nil {
			*seen++
			continue
		}
		kept = append(kept, l)
	}
	return kept
}

func TestPowerLossAndTheLifeAfter(t *testing.T) {
	server, url := scripted(t)
	server.Lock()
	server.Open = []wire.Entry{{Seq: 7, Type: "a", Seconds: 60}}
	server.Due[7] = time.Now().Add(time.Hour)
	server.Unlock()
	state := filepath.Join(t.TempDir(), "state")
	code, stdout, _ := sim(t, "--server", url, "--ep", "a", "--state", state, "--default", "crash:at=acted")
	if code != exitPowerLost || !strings.Contains(stdout, "power-lost seq=7 at acted") {
		t.Errorf("exit %d, stdout %q", code, stdout)
	}
	code, stdout, _ = sim(t, "--server", url, "--ep", "a", "--state", state, "--once", "--loss", "0.05", "--delay", "10ms", "--seed", "3")
	if code != exitDone || !strings.Contains(stdout, "1 effects on 1 commands") {
		t.Errorf("exit %d, stdout %q", code, stdout)
	}
	server.Lock()
	defer server.Unlock()
	interrupted := wire.Report{Status: wire.Failure, Code: new(int64(wire.CodeInterrupted)), Effect: new(wire.EffectUnknown)}
	if diff := cmp.Diff(server.Outcome, map[uint32]wire.Report{7: interrupted}); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
}

// signaling gives a signal when it is told a word.
type signaling struct {
	bytes.Buffer
	word   string
	signal func()
}

func (s *signaling) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(s.word)) {
		s.signal()
	}
	return s.Buffer.Write(b)
}

func TestASignalEndsItAndLeavesTheRegistration(t *testing.T) {
	server, url := scripted(t)
	ctx, signal := context.WithCancel(t.Context())
	out := &signaling{word: "observing", signal: signal}
	var errs bytes.Buffer
	code := run(ctx, []string{"--server", url, "--ep", "a"}, out, &errs)
	if code != exitDone || !strings.Contains(out.String(), "signal, the registration is left to lapse") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, &errs)
	}
	server.Lock()
	defer server.Unlock()
	if diff := cmp.Diff(server.Posts, []string{"rd?ep=a&lt=3600&last=0"}); diff != "" {
		t.Errorf("registrations (-got +want):\n%s", diff)
	}
}

func TestLinesForPeople(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5_000_000, time.UTC)
	rows := []struct {
		name string
		line line
		want string
	}{
		{"booted", line{Event: "booted", Note: "last=0"}, "12:00:00.005 pump-7 booted     last=0"},
		{"empty list", line{Event: "listed", List: &[]entry{}}, "12:00:00.005 pump-7 listed     nothing to do"},
		{"list", line{Event: "listed", List: &[]entry{
			{Seq: 5, Cancel: true}, {Seq: 6, Type: "a", Params: json.RawMessage(`{"n":1}`), Seconds: 9}, {Seq: 7, Type: "#3", Fresh: true},
		}}, `12:00:00.005 pump-7 listed     5 cancel, 6 a {"n":1} 9s, 7 #3 0s fresh`},
		{"report", line{Event: "reported", Seq: 6, Status: "running", Percent: new(uint8(50)), Number: new(int64(10)), Text: "a b"},
			`12:00:00.005 pump-7 reported   seq=6 status=running progress=50% code=10 text="a b"`},
		{"long result", line{Event: "answered", Seq: 6, Result: json.RawMessage(`"` + strings.Repeat("x", 998) + `"`), Answer: "2.04"},
			`12:00:00.005 pump-7 answered   seq=6 result="` + strings.Repeat("x", 79) + `... (1000 bytes) answer=2.04`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.line.Time, row.line.Device = at, "pump-7"
			if got := row.line.String(); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}
