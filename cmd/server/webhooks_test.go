package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"behest/webhook"
)

// receive is the program receiver DIR: somebody who is told of events, and who
// checks signatures with the library of Standard Webhooks. Where it listens is
// in DIR/receiver.json.
//
// It answers what DIR/answer says, and 204 if there is no such file. Whose
// message is not signed by one of the secrets in DIR/secrets, a line each, is
// answered 401, as receivers do. DIR/log has a line for each message:
//
//	ID TYPE STATUS LINES
//
// with the numbers of the secrets that signed it, and one for each connection:
//
//	connected
func receive(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := &receiver{dir: dir}
	server := &http.Server{Handler: r, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			r.note("connected")
		}
	}}
	where, err := json.Marshal(map[string]any{"url": "http://" + l.Addr().String(), "port": l.Addr().(*net.TCPAddr).Port})
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(dir, "receiver.json"), where, 0o600); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type receiver struct {
	dir string

	mu sync.Mutex // one line at a time
}

func (r *receiver) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
	}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var m struct {
		Type string
		Data struct{ ID string }
	}
	id := req.Header.Get("webhook-id")
	if err := errors.Join(err, json.Unmarshal(body, &m)); err != nil || m.Data.ID != id {
		m.Type = "broken"
	}
	signed := r.signedBy(body, req.Header)
	status := http.StatusNoContent
	if text, err := os.ReadFile(filepath.Join(r.dir, "answer")); err == nil {
		_, _ = fmt.Sscan(string(text), &status)
	}
	if len(signed) == 0 {
		status = http.StatusUnauthorized
	}
	r.note(fmt.Sprintf("%s %s %d %s", id, m.Type, status, strings.Join(signed, ",")))
	w.WriteHeader(status)
}

// signedBy are the numbers of the secrets that signed a message.
func (r *receiver) signedBy(body []byte, head http.Header) (lines []string) {
	text, _ := os.ReadFile(filepath.Join(r.dir, "secrets")) // none yet: nothing is signed
	for i, secret := range strings.Fields(string(text)) {
		check, err := standardwebhooks.NewWebhook(secret)
		if err == nil && check.Verify(body, head) == nil {
			lines = append(lines, fmt.Sprint(i+1))
		}
	}
	return lines
}

// took DIR AFTER waits until the receiver in DIR took every event of the log
// after that one, or fails when it took one that the log does not have.
func took(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: took DIR AFTER")
	}
	var missing, foreign []string
	defer func() { fmt.Fprintln(ts.Stdout(), "missing", missing, "foreign", foreign) }()
	poll(ts, args[0]+" to take every event after "+args[1], func() bool {
		ids, err := taken(ts.MkAbs(filepath.Join(args[0], "log")))
		ts.Check(err)
		happened, err := eventsAfter(ts.Getenv("HTTP"), ts.Getenv("TOKEN"), args[1])
		ts.Check(err)
		missing, foreign = without(happened, ids), without(ids, happened)
		return len(missing) == 0
	})
	if len(foreign) > 0 {
		ts.Fatalf("%s was told of %v", args[0], foreign)
	}
}

// taken are the ids of the events that a receiver took.
func taken(log string) (ids []string, err error) {
	text, err := os.ReadFile(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "204" {
			ids = append(ids, f[0])
		}
	}
	return ids, err
}

// eventsAfter are the ids of all events after one, as the API has them.
func eventsAfter(addr, token, after string) (ids []string, err error) {
	for {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/v1/events?page_size=500&after="+after, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		var page struct {
			Items     []struct{ ID string }
			NextAfter string `json:"next_after"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return nil, err
		}
		for _, e := range page.Items {
			ids = append(ids, e.ID)
		}
		if page.NextAfter == after || page.NextAfter == "" {
			return ids, nil
		}
		after = page.NextAfter
	}
}

// without are those of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(id string) bool { return slices.Contains(b, id) })
}

// Every change of one character of the file is noticed, and every file that
// ends too early.
func TestADamagedSecretKeyIsNoticed(t *testing.T) {
	key := webhook.NewKey()
	text := secretKeyText(key)
	for _, good := range []string{text, strings.TrimSpace(text), " " + text + "\n"} {
		if got, ok := parseSecretKey(good); !ok || got != key {
			t.Errorf("%q is refused", good)
		}
	}
	for n := range len(text) - 1 {
		if _, ok := parseSecretKey(text[:n]); ok {
			t.Errorf("the first %d characters are a key", n)
		}
		for _, c := range []byte("Aa0_-=\n") {
			if other := text[:n] + string(c) + text[n+1:]; other != text {
				if _, ok := parseSecretKey(other); ok {
					t.Errorf("with %q at %d it is a key", c, n)
				}
			}
		}
	}
	for _, bad := range []string{text + text, text + "x", strings.ToUpper(text), secretKeyPrefix, ""} {
		if _, ok := parseSecretKey(bad); ok {
			t.Errorf("%q is a key", bad)
		}
	}
}

func TestTheSecretKeyIsKeptFromOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), secretKeyFile)
	if err := os.WriteFile(path+".new", []byte("left behind"), 0o644); err != nil {
		t.Fatal(err)
	}
	key, made, err := secretKey(path, 0, false)
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if again, made, err := secretKey(path, 3, true); err != nil || made || again != key {
		t.Errorf("read again it is the same: %v, made %v, %v", again == key, made, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := secretKey(path, 0, true); err == nil {
			t.Errorf("it is read with mode %o", mode)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := secretKey(path, 1, false); err == nil {
		t.Error("another one is made beside a webhook")
	}
	if other, made, err := secretKey(path, 1, true); err != nil || !made || other == key {
		t.Errorf("made %v, the same %v, %v", made, other == key, err)
	}
}

func TestAScheduleHasBounds(t *testing.T) {
	for name, waits := range map[string][]time.Duration{
		"none": {}, "zero": {time.Second, 0}, "below zero": {-1}, "over a year": {366 * 24 * time.Hour}, "too many": make([]time.Duration, webhook.AttemptsMax),
	} {
		if checkSchedule(waits) == nil {
			t.Errorf("%s: it is allowed", name)
		}
	}
	if err := checkSchedule(webhook.Schedule()); err != nil {
		t.Error(err)
	}
}
