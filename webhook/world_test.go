package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
	"behest/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. Nothing waits that long when all is well.
const patience = 60 * time.Second

var ctx = context.Background()

// world is a store with a log, and a Service on it.
type world struct {
	t     testing.TB
	dir   string
	key   webhook.Key
	o     webhook.Options
	store *sqlite.Store
	*webhook.Service

	over []func() // the service, then the store
}

// quick is for tests that are not about time.
func quick() webhook.Options {
	return webhook.Options{
		Schedule: []time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond},
		Timeout:  10 * time.Second, Pause: 10 * time.Millisecond, Pace: time.Millisecond, Settle: 50 * time.Millisecond,
		Poll: time.Hour, // nobody waits for it: the use cases tell
	}
}

func newWorld(t testing.TB, o webhook.Options) *world {
	w := &world{t: t, dir: t.TempDir(), key: webhook.NewKey(), o: o}
	w.open()
	w.serve(w.store)
	t.Cleanup(func() {
		w.stop()
		r, err := sqlite.Check(ctx, w.file())
		if err != nil {
			t.Error(err)
		}
		for _, f := range r.Faults {
			t.Error(f)
		}
	})
	return w
}

func (w *world) file() string { return filepath.Join(w.dir, "behest.db") }

// open opens the store and runs it.
func (w *world) open() {
	w.t.Helper()
	s, err := sqlite.Open(ctx, w.file(), sqlite.Options{Logger: slog.New(slog.DiscardHandler), RideAlong: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	w.run(s.Run, func() error { return s.Close() })
}

// serve runs a Service on a store.
func (w *world) serve(s webhook.Store) {
	w.Service = webhook.New(s, w.store, w.key, w.o)
	w.run(w.Service.Run, func() error { return nil })
}

func (w *world) run(run func(context.Context) error, close func() error) {
	own, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- run(own) }()
	w.over = append(w.over, sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ran, close()); err != nil {
			w.t.Error(err)
		}
	}))
}

// end ends the Service alone, stop the store too.
func (w *world) end() { w.over[len(w.over)-1]() }

func (w *world) stop() {
	for _, end := range slices.Backward(w.over) {
		end()
	}
	w.over = nil
}

func (w *world) restart() {
	w.stop()
	w.open()
	w.serve(w.store)
}

// happen logs n events of a type, and answers with the id of the last.
func (w *world) happen(kind command.EventType, n int) command.Place {
	w.t.Helper()
	for n > 0 {
		some := min(n, 100)
		n -= some
		err := w.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			for range some {
				if err := tx.Log(command.Event{Type: kind, At: time.Now(), Actor: "ann", Data: json.RawMessage(`{"a":"<ü>"}`)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	end, err := w.store.End(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return end
}

// put declares a webhook that may be private, and answers with its secret.
func (w *world) put(id, url string, types ...command.EventType) string {
	w.t.Helper()
	_, secret, _, err := w.Put(ctx, id, command.HookSpec{URL: url, Types: types, AllowPrivate: true}, 0, "ann")
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

func (w *world) hook(id string) command.Hook {
	w.t.Helper()
	h, err := w.Hook(ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// rows are all deliveries of a hook that have one.
func (w *world) rows(id string) (all []command.HookDelivery) {
	w.t.Helper()
	for before, more := int64(0), true; more; {
		page, left, err := w.Deliveries(ctx, id, before, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if all, more = append(all, page...), left; len(page) > 0 {
			before = page[len(page)-1].Event.N
		}
	}
	return all
}

// settled waits until the place of a hook is that, and no delivery waits.
func (w *world) settled(id string, at command.Place) command.Hook {
	w.t.Helper()
	until(w.t, fmt.Sprintf("%s to be at %s", id, at), func() bool {
		pending := slices.ContainsFunc(w.rows(id), func(d command.HookDelivery) bool { return d.State == command.DeliveryPending })
		return w.hook(id).Cursor == at && !pending
	})
	return w.hook(id)
}

func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// told is a message as its receiver read it.
type told struct {
	ID   string
	Head http.Header
	Body []byte

	Type      string
	Timestamp string
	Data      struct {
		ID, Actor, Command, Device string
		Data                       json.RawMessage
	}
}

// receiver is a real HTTP server on loopback. Until it is told otherwise it
// takes everything.
type receiver struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	answer func(m told, again int) int // status; again: how often the event came before. Below 0: hang up
	took   map[string]int              // ids to how often it took them
	seen   map[string]int              // and to how often they came
	came   []told                      // all that came
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t, took: make(map[string]int), seen: make(map[string]int)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// answers sets what it answers from now on.
func (r *receiver) answers(f func(m told, again int) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func always(status int) func(told, int) int { return func(told, int) int { return status } }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	m := told{ID: req.Header.Get("webhook-id"), Head: req.Header, Body: body}
	if err := errors.Join(err, json.Unmarshal(body, &m)); err != nil || req.Method != http.MethodPost {
		r.t.Errorf("%s, %q: %v", req.Method, body, err)
	}
	r.mu.Lock()
	again := r.seen[m.ID]
	r.seen[m.ID]++
	r.came = append(r.came, m)
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		status = answer(m, again)
	}
	if status < 0 {
		panic(http.ErrAbortHandler)
	}
	r.mu.Lock()
	if status < 300 {
		r.took[m.ID]++
	}
	r.mu.Unlock()
	w.WriteHeader(status)
}

// has are the ids that it took, and how often, all that came, and how many.
func (r *receiver) has() (took map[string]int, came []told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	took = make(map[string]int)
	for id, n := range r.took {
		took[id] = n
	}
	return took, slices.Clone(r.came)
}

// wantOnce fails the test unless every event of from to to was taken once.
func (r *receiver) wantOnce(from, to int64) {
	r.t.Helper()
	took, _ := r.has()
	for n := from; n <= to; n++ {
		if id := fmt.Sprintf("1-%d", n); took[id] != 1 {
			r.t.Errorf("%s was taken %d times", id, took[id])
		}
	}
	if len(took) != int(to-from+1) {
		r.t.Errorf("%d events were taken, want %d to %d", len(took), from, to)
	}
}

// verify is a receiver's side of Standard Webhooks, written from its text and
// sharing nothing with what signs: one of the signatures must be the HMAC of
// id, time and body, and the time must be near.
func verify(secret string, m told, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || !strings.HasPrefix(secret, "whsec_") || len(key) < 24 {
		return fmt.Errorf("%q is no secret", secret)
	}
	stamp := m.Head.Get("webhook-timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("the time %q is far away", stamp)
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, m.Head.Get("webhook-id")+"."+stamp+".")
	mac.Write(m.Body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, got := range strings.Split(m.Head.Get("webhook-signature"), " ") {
		if subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 {
			return nil
		}
	}
	return errors.New("no signature is right")
}
