package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// story is what a script is about: a server that lives and dies, people who
// ask, what they asked for, and devices that do as they are told.
//
//	serve [FLAGS]                     starts the server on data/, at the addresses it had before
//	crash | shutdown                  kills it; ends it in order
//	declare TYPE JSON                 makes a command type, or another version of it
//	person NAME ROLE [LOGIN]          makes a user, with a token or a login
//	provider ... | login ...          see identity
//	as NAME                           from here on, that user asks ("root": who the server made)
//	issue NAME TYPE to DEVICE,.. [FIELD=JSON|+DURATION ...]
//	cancel|deny|rollback|... NAME     POSTs that; with !, it must be a conflict
//	is NAME STATE [FACT=VALUE ...]    how a command stands now; $NAME_seq is its number
//	becomes NAME STATE [FACT=VALUE]   how it comes to stand
//	events NAME|device:NAME           prints what the log has about it, a line each
//	device NAME VERB ...              see puppet
//
// A command is called in the script by a name of its own.
type story struct {
	dir        string
	server     *exec.Cmd
	log        *os.File
	http, coap string
	token      string
	tokens     map[string]string
	commands   map[string]string // ids
	puppets    map[string]*puppet
	identity   identity
}

// tell adds what a story needs to a script.
func tell(e *testscript.Env) error {
	log, err := os.Create(filepath.Join(e.WorkDir, "server.log"))
	if err != nil {
		return err
	}
	s := &story{
		dir: e.WorkDir, log: log, http: "127.0.0.1:0", coap: "127.0.0.1:0",
		tokens: map[string]string{}, commands: map[string]string{}, puppets: map[string]*puppet{},
	}
	e.Values[storyKey{}] = s
	e.Defer(func() {
		for _, p := range s.puppets {
			p.close()
		}
		if s.server != nil {
			_ = s.server.Process.Kill() // the script failed before it said shutdown
			_ = s.server.Wait()
		}
		s.identity.down()
		_ = log.Close()
	})
	return nil
}

type storyKey struct{}

// inStory makes a command of a method of the story.
func inStory(f func(*story, *testscript.TestScript, bool, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		f(ts.Value(storyKey{}).(*story), ts, neg, args)
	}
}

var storyCommands = map[string]func(*testscript.TestScript, bool, []string){
	"serve":    inStory((*story).serve),
	"crash":    inStory((*story).crash),
	"shutdown": inStory((*story).shutdown),
	"declare":  inStory((*story).declare),
	"person":   inStory((*story).person),
	"provider": inStory((*story).provider),
	"login":    inStory((*story).login),
	"as":       inStory((*story).as),
	"issue":    inStory((*story).issue),
	"is":       inStory((*story).is),
	"becomes":  inStory((*story).becomes),
	"events":   inStory((*story).events),
	"told":     inStory((*story).told),
	"device":   inStory((*story).device),
	"cancel":   inStory(post("cancel")),
	"approve":  inStory(post("approve")),
	"deny":     inStory(post("deny")),
}

// want holds a command's arguments against how it is written.
func want(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func (s *story) serve(ts *testscript.TestScript, neg bool, flags []string) {
	want(ts, neg, flags, 0, "serve [FLAGS]")
	if s.server != nil {
		ts.Fatalf("it serves already")
	}
	data := filepath.Join(s.dir, "data")
	if err := os.Remove(filepath.Join(data, addressesFile)); err != nil && !os.IsNotExist(err) {
		ts.Check(err)
	}
	s.server = exec.Command("server", append([]string{"--dev", "--data", data, "--http", s.http, "--coap", s.coap}, flags...)...)
	s.server.Stdout, s.server.Stderr = s.log, s.log
	ts.Check(s.server.Start())
	ready(ts, false, []string{"data"})
	s.http, s.coap = ts.Getenv("HTTP"), ts.Getenv("COAP")
	s.token = ts.Getenv("TOKEN")
	s.tokens["root"] = s.token
}

func (s *story) crash(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "crash")
	ts.Check(s.server.Process.Kill())
	_ = s.server.Wait() // it was killed
	s.server = nil
}

// shutdown ends the server in order, and holds its database against itself.
func (s *story) shutdown(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "shutdown")
	ts.Check(s.server.Process.Signal(syscall.SIGTERM))
	err := s.server.Wait()
	s.server = nil
	ts.Check(err)
	ts.Check(ts.Exec("server", "check", "--data", "data"))
}

// afresh opens a connection for each request: the server behind an old one may
// have been killed.
var afresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// ask asks the server over HTTP, and answers with what it said.
func (s *story) ask(ts *testscript.TestScript, method, path, body string) (int, []byte) {
	req, err := http.NewRequest(method, "http://"+s.http+path, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := afresh.Do(req)
	ts.Check(err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	ts.Check(err)
	return res.StatusCode, answer
}

// done is ask where only success will do.
func (s *story) done(ts *testscript.TestScript, method, path, body string) map[string]any {
	status, answer := s.ask(ts, method, path, body)
	if status >= 300 {
		ts.Fatalf("%s %s %s: %d %s", method, path, body, status, answer)
	}
	return object(ts, answer)
}

func object(ts *testscript.TestScript, raw []byte) map[string]any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m map[string]any
	ts.Check(dec.Decode(&m))
	return m
}

func (s *story) declare(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "declare TYPE JSON")
	s.done(ts, "PUT", "/v1/types/"+args[0], args[1])
}

func (s *story) person(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "person NAME ROLE [LOGIN]")
	if len(args) > 2 {
		s.done(ts, "PUT", "/v1/users/"+args[0], fmt.Sprintf(`{"roles":[{"role":%q}],"logins":[{"issuer":%q,"subject":%q}]}`, args[1], s.identity.issuer(), args[2]))
		s.login(ts, false, []string{args[0], args[2]})
		return
	}
	s.done(ts, "PUT", "/v1/users/"+args[0], fmt.Sprintf(`{"roles":[{"role":%q}]}`, args[1]))
	s.tokens[args[0]] = s.done(ts, "POST", "/v1/users/"+args[0]+"/tokens", `{}`)["token"].(string)
}

func (s *story) as(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "as NAME")
	token, ok := s.tokens[args[0]]
	if !ok {
		ts.Fatalf("nobody is called %s", args[0])
	}
	s.token = token
	ts.Setenv("TOKEN", token)
}

func (s *story) issue(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 4, "issue NAME TYPE to DEVICE,.. [FIELD=JSON ...]")
	body := map[string]json.RawMessage{}
	for _, field := range args[4:] {
		name, value, _ := strings.Cut(field, "=")
		body[name] = json.RawMessage(value)
		if in, ok := strings.CutPrefix(value, "+"); ok {
			d, err := time.ParseDuration(in)
			ts.Check(err)
			body[name], _ = json.Marshal(time.Now().Add(d).UTC().Format(time.RFC3339))
		}
	}
	body["type"], _ = json.Marshal(args[1])
	body["targets"], _ = json.Marshal(map[string]any{"devices": strings.Split(args[3], ",")})
	raw, err := json.Marshal(body)
	ts.Check(err)
	c := s.done(ts, "POST", "/v1/commands", string(raw))
	s.commands[args[0]] = c["id"].(string)
	ts.Setenv(args[0], c["id"].(string))
}

// path is where a command of the script is.
func (s *story) path(ts *testscript.TestScript, name string) string {
	id, ok := s.commands[name]
	if !ok {
		ts.Fatalf("nothing was issued as %s", name)
	}
	return "/v1/commands/" + id
}

// post makes a command of an action.
func post(action string) func(*story, *testscript.TestScript, bool, []string) {
	return func(s *story, ts *testscript.TestScript, neg bool, args []string) {
		want(ts, false, args, 1, action+" NAME")
		path, body := s.path(ts, args[0]), ""
		if action == "approve" || action == "deny" {
			body = fmt.Sprintf(`{"digest":%q}`, s.done(ts, "GET", path, "")["digest"])
		}
		status, answer := s.ask(ts, "POST", path+"/"+action, body)
		fmt.Fprintf(ts.Stdout(), "%d %s\n", status, answer)
		if expected := map[bool]int{false: 200, true: 409}[neg]; status != expected {
			ts.Fatalf("%s %s: %d %s", action, args[0], status, answer)
		}
	}
}

// standing is how a command stands, with the facts of its one execution.
func (s *story) standing(ts *testscript.TestScript, name string) map[string]string {
	c := s.done(ts, "GET", s.path(ts, name), "")
	facts := map[string]string{}
	execution, _ := c["execution"].(map[string]any)
	for _, from := range []map[string]any{execution, c} {
		for key, value := range from {
			switch value.(type) {
			case string, bool, json.Number:
				facts[key] = fmt.Sprint(value)
			}
		}
	}
	return facts
}

// missing are those of the wanted facts that are not so.
func (s *story) missing(ts *testscript.TestScript, args []string) (missing []string, facts map[string]string) {
	facts = s.standing(ts, args[0])
	if facts["seq"] != "" {
		ts.Setenv(args[0]+"_seq", facts["seq"])
	}
	for n, fact := range args[1:] {
		key, value, ok := strings.Cut(fact, "=")
		if n == 0 && !ok {
			key, value = "state", fact
		}
		if facts[key] != value {
			missing = append(missing, fmt.Sprintf("%s=%s, not %s", key, facts[key], value))
		}
	}
	return missing, facts
}

func (s *story) is(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "is NAME STATE [FACT=VALUE ...]")
	if missing, facts := s.missing(ts, args); len(missing) > 0 {
		ts.Fatalf("%s is %s: %v", args[0], strings.Join(missing, ", "), facts)
	}
}

func (s *story) becomes(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "becomes NAME STATE [FACT=VALUE ...]")
	var missing []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var facts map[string]string
		if missing, facts = s.missing(ts, args); len(missing) == 0 {
			return
		} else if facts["settled"] == "true" {
			break // nothing comes after that
		}
	}
	ts.Fatalf("%s is %s", args[0], strings.Join(missing, ", "))
}

// lines are the events about a command or a device, less what differs each time.
func (s *story) lines(ts *testscript.TestScript, name string) []string {
	path := "/v1/events?device="
	if device, ok := strings.CutPrefix(name, "device:"); ok {
		path += device
	} else {
		path = s.path(ts, name) + "/events"
	}
	var lines []string
	for _, item := range s.done(ts, "GET", path, "")["items"].([]any) {
		event := item.(map[string]any)
		line := []string{event["type"].(string)}
		if event["actor"] != nil {
			line = append(line, "by", event["actor"].(string))
		}
		data, _ := event["data"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if !slices.Contains([]string{"seq", "address", "digest", "last", "given", "reported"}, key) {
				line = append(line, fmt.Sprintf("%s=%v", key, data[key]))
			}
		}
		lines = append(lines, strings.Join(line, " "))
	}
	return lines
}

func (s *story) events(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "events NAME|device:NAME")
	for _, line := range s.lines(ts, args[0]) {
		fmt.Fprintln(ts.Stdout(), line)
	}
}

// told NAME|device:NAME EVENT waits until the log has it.
func (s *story) told(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "told NAME|device:NAME EVENT ...")
	event := strings.Join(args[1:], " ")
	poll(ts, event, func() bool { return slices.Contains(s.lines(ts, args[0]), event) })
}

// seq is the number on the wire of a command of the script, or a number.
func (s *story) seq(ts *testscript.TestScript, name string) uint32 {
	text := name
	if _, ok := s.commands[name]; ok {
		text = s.standing(ts, name)["seq"]
	}
	seq, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		ts.Fatalf("%s has no number yet", name)
	}
	return uint32(seq)
}

// name is what the script calls the command with that number.
func (s *story) name(ts *testscript.TestScript, device string, seq uint32) string {
	for name, id := range s.commands {
		status, answer := s.ask(ts, "GET", "/v1/commands/"+id+"/executions/"+device, "")
		if status == http.StatusOK && fmt.Sprint(object(ts, answer)["seq"]) == fmt.Sprint(seq) {
			return name
		}
	}
	return fmt.Sprint(seq)
}
