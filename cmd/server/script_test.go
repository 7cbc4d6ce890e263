package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(wide{m}, map[string]func(){
		"server": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
		},
		"receiver": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			if err := receive(ctx, os.Args[1]); err != nil {
				fmt.Fprintln(os.Stderr, "receiver:", err)
				os.Exit(1)
			}
		},
	})
}

// wide runs more scripts at a time than there are processors: stories mostly
// wait for clocks.
type wide struct{ *testing.M }

func (w wide) Run() int {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
	return w.M.Run()
}

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

// TestScripts runs the stories in testdata/script: the real server, libcoap's
// client and curl, as their users type them.
func TestScripts(t *testing.T) {
	for _, tool := range []string{"coap-client-notls", "coap-client-openssl", "coap-client-gnutls", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed and not here: make test installs it", tool)
		}
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "../../firmware-sim").CombinedOutput(); err != nil {
		t.Fatalf("building firmware-sim: %v\n%s", err, out)
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"ready":   ready,
		"until":   until,
		"field":   field,
		"certify": certify,
		"took":    took,
	}
	maps.Copy(commands, storyCommands)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Cmds:                commands,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			return tell(e)
		},
	})
}

// patience bounds every wait of a script. It is for a loaded machine; nothing
// waits that long when all is well.
const patience = 30 * time.Second

// poll tries until f says true, or fails the script.
func poll(ts *testscript.TestScript, what string, f func() bool) {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}

// ready DATA waits until the server on that directory serves, and sets $HTTP,
// $COAP, $COAPS and $TOKEN.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready DATA")
	}
	dir := ts.MkAbs(args[0])
	var a addresses
	poll(ts, "addresses.json", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, addressesFile))
		return err == nil && json.Unmarshal(b, &a) == nil && a.HTTP != nil && a.CoAP != nil
	})
	ts.Setenv("HTTP", *a.HTTP)
	ts.Setenv("COAP", *a.CoAP)
	if a.CoAPS != nil {
		ts.Setenv("COAPS", *a.CoAPS)
	}
	for _, name := range []string{devTokenFile, adminTokenFile} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			ts.Setenv("TOKEN", strings.TrimSpace(string(b)))
		}
	}
}

// until REGEXP FILE, or until REGEXP exec COMMAND ...: waits until the file, or
// what the command prints, matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP FILE | until REGEXP exec COMMAND ...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var last []byte
	defer func() {
		fmt.Fprintf(ts.Stdout(), "%s", last)
	}()
	poll(ts, fmt.Sprintf("%s in %s", args[0], strings.Join(args[1:], " ")), func() bool {
		if args[1] != "exec" {
			last, _ = os.ReadFile(ts.MkAbs(args[1]))
			return re.Match(last)
		}
		cmd := exec.Command(args[2], args[3:]...)
		cmd.Dir = ts.MkAbs(".")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // what it prints decides
		last = out.Bytes()
		return re.Match(last)
	})
}

// field NAME PATH FILE sets $NAME to what stands at a path of keys in a JSON
// file: field SEQ execution.seq answer.json.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field NAME PATH FILE")
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[2])))
	dec.UseNumber()
	var v any
	ts.Check(dec.Decode(&v))
	for _, key := range strings.Split(args[1], ".") {
		m, ok := v.(map[string]any)
		if !ok || m[key] == nil {
			ts.Fatalf("%s has no %s", args[2], args[1])
		}
		v = m[key]
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}
