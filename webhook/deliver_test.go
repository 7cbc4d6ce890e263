package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/webhook"
)

func TestEveryEventIsToldSignedAndOnceWhileAllIsWell(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.happen("device.edited", 3) // before it was declared: none of its business
	secret := w.put("erp", r.URL+"/in?x=1")
	end := w.happen("command.created", 300)
	h := w.settled("erp", end)
	r.wantOnce(4, end.N)
	if h.Delivered != 301 || h.GivenUp != 0 || len(w.rows("erp")) > 0 || h.TakenAt.IsZero() {
		t.Errorf("the hook: %+v", h)
	}
	_, came := r.has()
	for _, m := range came {
		if err := verify(secret, m, time.Now()); err != nil {
			t.Errorf("%s: %v", m.ID, err)
		}
		if m.Data.ID != m.ID || m.Head.Get("Content-Type") != "application/json" || m.Head.Get("User-Agent") != "Behest" {
			t.Errorf("%s: %s, %v", m.ID, m.Body, m.Head)
		}
		if at, err := time.Parse("2006-01-02T15:04:05.000Z", m.Timestamp); err != nil || time.Since(at).Abs() > time.Hour {
			t.Errorf("%s: the time %q", m.ID, m.Timestamp)
		}
		if m.ID == "1-5" && (m.Type != "command.created" || m.Data.Actor != "ann" || string(m.Data.Data) != `{"a":"\u003cü\u003e"}`) {
			t.Errorf("the message is %s", m.Body)
		}
	}
	// The first that it is told is that it was declared; some go at a time, so
	// that need not be the first to arrive.
	at := slices.IndexFunc(came, func(m told) bool { return m.ID == "1-4" })
	says := fmt.Sprintf(`{"allow_private":true,"disabled":false,"host":%q,"webhook":"erp"}`, strings.TrimPrefix(r.URL, "http://"))
	if at < 0 || came[at].Type != "webhook.declared" || string(came[at].Data.Data) != says {
		t.Errorf("no message tells that it was declared: %+v", came)
	}
}

func TestAHookIsToldOfWhatItWantsAlone(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.put("family", r.URL, "execution.*", "device.edited")
	exact := newReceiver(t)
	w.put("exact", exact.URL, "device.edited", "execution.sent")
	for _, kind := range []command.EventType{"execution.sent", "execution.running", "device.edited", "device.removed", "executions.x", "command.created"} {
		w.happen(kind, 40)
	}
	end := w.happen("command.ended", 1)
	w.settled("family", end)
	w.settled("exact", end)
	r.wantOnce(3, 122)
	took, _ := exact.has()
	if len(took) != 80 || took["1-3"] != 1 || took["1-43"] != 0 || took["1-83"] != 1 {
		t.Errorf("by exact types %d were taken", len(took))
	}
}

func TestWhatFailedIsToldAgainUnderTheSameID(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	r.answers(func(m told, again int) int { // everything but its declaration fails in its own way at first
		if ways := []int{500, 429, 302, -1, 404}; m.Type != "webhook.declared" && again < 3 {
			return ways[(len(m.ID)+again)%len(ways)]
		}
		return 200
	})
	secret := w.put("erp", r.URL)
	end := w.happen("command.created", 150)
	w.settled("erp", end)
	r.wantOnce(1, end.N)
	rows := w.rows("erp")
	for _, d := range rows {
		if d.State != command.DeliveryDone || d.Attempts != 4 || d.Status != 200 || d.Error != "" || d.Type != "command.created" {
			t.Errorf("the row %+v", d)
		}
	}
	if len(rows) != 150 {
		t.Errorf("%d rows", len(rows))
	}
	bodies := map[string][]byte{}
	_, came := r.has()
	for _, m := range came {
		if before, ok := bodies[m.ID]; ok && !bytes.Equal(before, m.Body) {
			t.Errorf("%s was %s and became %s", m.ID, before, m.Body)
		}
		bodies[m.ID] = m.Body
		if err := verify(secret, m, time.Now()); err != nil {
			t.Errorf("%s: %v", m.ID, err)
		}
	}
	stats, err := w.Stats(ctx)
	if want := (webhook.Stats{Delivered: 151, Failed: 450, Lag: map[string]int64{"erp": 0}}); err != nil || !cmp.Equal(stats, want) {
		t.Errorf("the counts: %+v, %v", stats, err)
	}
}

func TestWhatNeverSucceedsIsGivenUpAndHoldsNothingUp(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	r.answers(func(m told, _ int) int {
		if m.Type == "device.reset" {
			return 500
		}
		return 200
	})
	w.put("erp", r.URL)
	bad := w.happen("device.reset", 1)
	end := w.happen("command.created", 50)
	h := w.settled("erp", end)
	rows := w.rows("erp")
	if len(rows) != 1 || rows[0].Event != bad || rows[0].State != command.DeliveryGivenUp || rows[0].Attempts != 6 ||
		rows[0].Error != "answered 500" || !rows[0].NextAt.IsZero() || h.Disabled || h.GivenUp != 1 {
		t.Errorf("the hook %+v with %+v", h, rows)
	}
}

func TestAHookThatTakesNothingForTooLongIsDisabled(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	r.answers(always(503))
	w.put("erp", r.URL)
	w.happen("command.created", 20)
	until(t, "the hook to be disabled", func() bool { return w.hook("erp").Disabled })
	if h := w.hook("erp"); h.Reason != command.HookFailing {
		t.Errorf("it is disabled: %s", h.Reason)
	}
}

// TestGoneMeansGone has a receiver answer 410 to the third event.
func TestGoneMeansGone(t *testing.T) {
	o := quick()
	o.InFlight = 1
	w, r := newWorld(t, o), newReceiver(t)
	w.put("erp", r.URL)
	w.settled("erp", w.happen("command.created", 2))
	r.answers(always(http.StatusGone))
	gone := w.happen("command.created", 10)
	until(t, "the hook to be disabled", func() bool { return w.hook("erp").Disabled })
	h := w.hook("erp")
	if h.Reason != command.HookGone || h.Cursor.N != 4 {
		t.Errorf("the hook %+v", h)
	}
	events, _, err := w.store.Events(ctx, gone, command.EventFilter{}, 10)
	if err != nil || len(events) != 1 || events[0].Type != command.EventHookDisabled || string(events[0].Data) != `{"reason":"gone","webhook":"erp"}` {
		t.Errorf("logged %+v, %v", events, err)
	}
	_, came := r.has()
	if len(came) != 4 {
		t.Errorf("%d came, want 3 and the one that was too many", len(came))
	}
	w.restart()
	r.answers(nil)
	w.put("erp", r.URL+"/new") // says so again: it goes on from its place
	end := w.happen("command.created", 1)
	w.settled("erp", end)
	r.wantOnce(1, end.N)
	if h := w.hook("erp"); h.Disabled || h.Reason != "" {
		t.Errorf("the hook %+v", h)
	}
}

// TestTheTroubleOfOneIsNoneOfTheOthers has 10,000 events happen while one
// receiver does not answer at all: they are committed, and the other takes
// them, before the first has taken one.
func TestTheTroubleOfOneIsNoneOfTheOthers(t *testing.T) {
	o := quick()
	o.Timeout, o.InFlight = time.Hour, 8
	w, stuck, well := newWorld(t, o), newReceiver(t), newReceiver(t)
	came, hold := make(chan struct{}, o.InFlight), make(chan struct{})
	stuck.answers(func(told, int) int { came <- struct{}{}; <-hold; return 200 })
	w.put("stuck", stuck.URL)
	w.put("well", well.URL)
	<-came
	end := w.happen("command.created", 10_000)
	until(t, "the other one to be there", func() bool { return w.hook("well").Cursor == end })
	well.wantOnce(2, end.N)
	if took, _ := stuck.has(); len(took) > 0 || w.hook("stuck").Cursor.N != 0 || len(w.rows("stuck")) > 0 {
		t.Errorf("the one that is stuck took %d", len(took))
	}
	if s, err := w.Stats(ctx); err != nil || s.Lag["stuck"] != end.N {
		t.Errorf("the counts: %+v, %v", s, err)
	}
	stuck.answers(nil)
	close(hold)
	until(t, "the first one to go on", func() bool { return w.hook("stuck").Cursor.N > 0 })
}

func TestNoAnswerInTimeIsNone(t *testing.T) {
	o := quick()
	o.Timeout, o.Schedule = 50*time.Millisecond, []time.Duration{time.Hour}
	w, r := newWorld(t, o), newReceiver(t)
	hold := make(chan struct{})
	defer close(hold)
	r.answers(func(told, int) int { <-hold; return 200 })
	w.put("erp", r.URL)
	until(t, "a row", func() bool { return len(w.rows("erp")) > 0 })
	if d := w.rows("erp")[0]; d.Error != "no answer in time" || d.Status != 0 || d.State != command.DeliveryPending {
		t.Errorf("the row %+v", d)
	}
}

// TestTheRowsOfAHookAreBounded has nothing taken for long: so many rows are
// made, and then the place stays.
func TestTheRowsOfAHookAreBounded(t *testing.T) {
	o := quick()
	o.Schedule = []time.Duration{time.Hour}
	w, r := newWorld(t, o), newReceiver(t)
	r.answers(always(500))
	w.put("erp", r.URL)
	end := w.happen("command.created", command.HookFailuresMax+500)
	until(t, "the rows", func() bool { return len(w.rows("erp")) >= command.HookFailuresMax })
	w.restart() // it looks again, and still has no room
	r.answers(nil)
	end = w.happen("command.created", 100)
	until(t, "a look", func() bool {
		s, err := w.Stats(ctx)
		return err == nil && s.Lag["erp"] == end.N-command.HookFailuresMax
	})
	if n := len(w.rows("erp")); n != command.HookFailuresMax || w.hook("erp").Cursor.N != command.HookFailuresMax {
		t.Errorf("%d rows, place %s", n, w.hook("erp").Cursor)
	}
	if _, err := w.Redeliver(ctx, "erp", end, "ann"); command.CodeOf(err) != command.CodeTooMany {
		t.Errorf("one more by hand: %v", err)
	}
	// It is asked to take one of them: then there is room for one that is new,
	// though nothing new happens.
	first := w.rows("erp")[0]
	first.NextAt = time.Now()
	if err := w.store.MoveHook(ctx, w.hook("erp").N, command.HookProgress{Deliveries: []command.HookDelivery{first}}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	until(t, "the place to move", func() bool { return w.hook("erp").Cursor.N > command.HookFailuresMax })
}

func TestRetryAfterIsHeeded(t *testing.T) {
	w := newWorld(t, quick())
	var later atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", later.Load().(string))
		rw.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	for i, row := range []struct {
		later    string
		min, max time.Duration
	}{
		{"3600", time.Hour, time.Hour + time.Minute},
		{time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), time.Hour, 2*time.Hour + time.Minute},
		{"99999999999999999999", 0, time.Minute}, // no number, no date: the schedule stands
		{"9999999", 24 * time.Hour, 24*time.Hour + time.Minute},
		{"-5", 0, time.Minute},
		{"soon", 0, time.Minute},
	} {
		later.Store(row.later)
		id := fmt.Sprint("hook-", i)
		w.put(id, server.URL, "webhook.declared")
		until(t, "a row of "+id, func() bool { return len(w.rows(id)) > 0 })
		d := w.rows(id)[0]
		if wait := d.NextAt.Sub(d.LastAt); !d.NextAt.IsZero() && (wait < row.min || wait > row.max) {
			t.Errorf("after %q it waits %s", row.later, wait)
		}
		if err := w.Delete(ctx, id, 0, "ann"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	w, trap := newWorld(t, quick()), newReceiver(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		id := fmt.Sprint("to-", status)
		server := httptest.NewServer(http.RedirectHandler(trap.URL, status))
		w.put(id, server.URL, "webhook.declared")
		until(t, "a row", func() bool { return len(w.rows(id)) > 0 })
		if d := w.rows(id)[0]; d.Status != status {
			t.Errorf("the row %+v", d)
		}
		if err := w.Delete(ctx, id, 0, "ann"); err != nil {
			t.Fatal(err)
		}
		server.Close()
	}
	if _, came := trap.has(); len(came) > 0 {
		t.Errorf("%d were followed", len(came))
	}
}

func TestALongAnswerIsNotRead(t *testing.T) {
	w := newWorld(t, quick())
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		for b := make([]byte, 64<<10); ; {
			n, err := rw.Write(b)
			if sent.Add(int64(n)); err != nil || sent.Load() > 1<<30 {
				return
			}
		}
	}))
	defer server.Close()
	w.put("erp", server.URL)
	w.settled("erp", command.Place{Epoch: 1, N: 1}) // its status was the answer
	server.Close()
	if n := sent.Load(); n > 64<<20 { // what sockets hold
		t.Errorf("%d bytes were taken", n)
	}
}

// A hook goes over TLS, to whom the roots vouch for.
func TestAReceiverMustShowWhoItIs(t *testing.T) {
	r := &receiver{t: t, took: make(map[string]int), seen: make(map[string]int)}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = nil
	r.EnableHTTP2 = true
	r.StartTLS()
	defer r.Close()
	o := quick()
	o.Schedule = []time.Duration{time.Hour}
	w := newWorld(t, o)
	w.put("erp", r.URL)
	until(t, "a row", func() bool { return len(w.rows("erp")) > 0 })
	if d := w.rows("erp")[0]; d.Status != 0 || !strings.Contains(d.Error, "certificate") {
		t.Errorf("the row %+v", d)
	}
	w.end()
	w.o.Roots = r.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	w.serve(w.store)
	end := w.happen("command.created", 20)
	until(t, "the rest", func() bool { took, _ := r.has(); return len(took) == 20 && w.hook("erp").Cursor == end })
}

// lossy is a store that forgets to move: the service dies between a delivery
// and the commit of its place.
type lossy struct {
	webhook.Store
	lose atomic.Bool
}

func (l *lossy) MoveHook(ctx context.Context, n int64, p command.HookProgress, events ...command.Event) error {
	if l.lose.Load() {
		return command.Errorf(command.CodeOutcomeUnknown, "nobody knows")
	}
	return l.Store.MoveHook(ctx, n, p, events...)
}

func TestADeathBeforeTheCommitTellsAgainAndLeavesNothingOut(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.end()
	store := &lossy{Store: w.store}
	w.serve(store)
	w.put("erp", r.URL)
	w.settled("erp", command.Place{Epoch: 1, N: 1})
	store.lose.Store(true)
	end := w.happen("command.created", 40)
	until(t, "all to come", func() bool { took, _ := r.has(); return int64(len(took)) == end.N })
	w.end() // with its last words lost
	if at := w.hook("erp").Cursor; at.N != 1 {
		t.Errorf("the place moved to %s", at)
	}
	store.lose.Store(false)
	w.serve(store)
	w.settled("erp", end)
	took, _ := r.has()
	for n := int64(2); n <= end.N; n++ {
		if took[fmt.Sprintf("1-%d", n)] < 2 {
			t.Errorf("1-%d was taken %d times, want again", n, took[fmt.Sprintf("1-%d", n)])
		}
	}
}

func TestAStoreThatFailsForAWhileIsWaitedOut(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.end()
	store := &lossy{Store: w.store}
	w.serve(store)
	w.put("erp", r.URL)
	store.lose.Store(true)
	end := w.happen("command.created", 10)
	until(t, "repeats", func() bool { took, _ := r.has(); return took["1-11"] > 1 })
	store.lose.Store(false)
	w.settled("erp", end)
}

func TestAPlaceOutlivesTheServer(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.put("erp", r.URL)
	w.settled("erp", w.happen("command.created", 30))
	w.end()
	end := w.happen("command.created", 30) // while nobody tells
	w.restart()
	w.settled("erp", end)
	r.wantOnce(1, end.N)
}

// TestWhatIsUnderWayIsFinished stops the service while a receiver has not
// answered yet: its answer counts.
func TestWhatIsUnderWayIsFinished(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	came, hold := make(chan struct{}, 1), make(chan struct{})
	r.answers(func(told, int) int { came <- struct{}{}; <-hold; return 200 })
	w.put("erp", r.URL)
	<-came
	time.AfterFunc(20*time.Millisecond, func() { close(hold) })
	w.restart()
	r.answers(nil)
	end := w.happen("command.created", 1)
	w.settled("erp", end)
	r.wantOnce(1, end.N)
}

func TestTheEndDoesNotWaitForEver(t *testing.T) {
	o := quick()
	o.Grace, o.Timeout = 20*time.Millisecond, time.Hour
	w, r := newWorld(t, o), newReceiver(t)
	came, hold := make(chan struct{}, 1), make(chan struct{})
	r.answers(func(told, int) int { came <- struct{}{}; <-hold; return 200 })
	w.put("erp", r.URL)
	<-came
	w.end()
	if h := w.hook("erp"); h.Cursor.N != 0 || len(w.rows("erp")) > 0 {
		t.Errorf("what was broken off counted: %+v", h)
	}
	close(hold)
}

// TestACutLogIsSaidToBe gives a hook a place that the log does not have.
func TestACutLogIsSaidToBe(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.end()
	w.happen("command.created", 5)
	h := command.Hook{
		ID: "erp", URL: r.URL, AllowPrivate: true, Generation: 1, CreatedAt: time.Now(), ChangedAt: time.Now(),
		Cursor: command.Place{Epoch: 0, N: 3},
	}
	if err := w.store.PutHook(ctx, &h, command.Event{Type: command.EventHookDeclared, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	lost := command.HookDelivery{Event: command.Place{Epoch: 0, N: 2}, Type: "device.reset", State: command.DeliveryPending, Attempts: 1, FirstAt: time.Now(), NextAt: time.Now()}
	if err := w.store.MoveHook(ctx, h.N, command.HookProgress{Deliveries: []command.HookDelivery{lost}}); err != nil {
		t.Fatal(err)
	}
	w.serve(w.store)
	w.settled("erp", command.Place{Epoch: 1, N: 7})
	r.wantOnce(1, 7) // from the first that is there
	_, came := r.has()
	last := came[len(came)-1]
	if last.Type != "webhook.reset" || string(last.Data.Data) != `{"after":"0-3","webhook":"erp"}` {
		t.Errorf("the last message is %s", last.Body)
	}
	rows := w.rows("erp")
	if len(rows) != 1 || rows[0].State != command.DeliveryGivenUp || rows[0].Error != "the event was cut from the log" || w.hook("erp").Disabled {
		t.Errorf("the rows %+v", rows)
	}
}

// TestStorms has receivers that fail at random and a service that is ended at
// random. In the end every event that a hook wanted was taken, and no other.
func TestStorms(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	o := quick()
	o.Schedule = make([]time.Duration, 50)
	for i := range o.Schedule {
		o.Schedule[i] = time.Millisecond
	}
	w := newWorld(t, o)
	kinds := []command.EventType{"command.created", "execution.sent", "execution.succeeded", "device.edited"}
	wants := [][]command.EventType{nil, {"execution.*"}, {"command.created", "device.edited"}}
	var receivers []*receiver
	var mu sync.Mutex
	for i, types := range wants {
		r := newReceiver(t)
		r.answers(func(told, int) int {
			mu.Lock()
			defer mu.Unlock()
			return []int{200, 204, 500, -1, 429, 301}[rnd.IntN(6)]
		})
		receivers = append(receivers, r)
		w.put(fmt.Sprint("hook-", i), r.URL, types...)
	}
	for range 12 {
		mu.Lock()
		kind, n, what := kinds[rnd.IntN(len(kinds))], 1+rnd.IntN(40), rnd.IntN(4)
		mu.Unlock()
		w.happen(kind, n)
		switch what {
		case 0:
			w.restart()
		case 1:
			w.end()
			w.serve(w.store)
		}
	}
	for _, r := range receivers {
		r.answers(nil)
	}
	end := w.happen(kinds[0], 1)
	for i, r := range receivers {
		h := w.settled(fmt.Sprint("hook-", i), end)
		took, _ := r.has()
		events, _, err := w.store.Events(ctx, command.Place{}, command.EventFilter{}, 1000)
		if err != nil || h.GivenUp > 0 {
			t.Fatalf("%d given up, %v", h.GivenUp, err)
		}
		for _, e := range events {
			id := command.Place{Epoch: e.Epoch, N: e.N}.String()
			if want := h.Wants(e.Type) && e.N > int64(i); (took[id] > 0) != want {
				t.Errorf("hook %d took %s, %s, %d times", i, id, e.Type, took[id])
			}
		}
	}
}

// TestSecretsAreNowhereInTheStore looks for them in its files.
func TestSecretsAreNowhereInTheStore(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	secrets := []string{w.put("erp", r.URL)}
	_, second, err := w.Rotate(ctx, "erp", 0, "ann")
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, second)
	w.settled("erp", w.happen("command.created", 5))
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(w.file() + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range secrets {
			if bytes.Contains(b, []byte(s[len("whsec_"):][:16])) || bytes.Contains(b, raw(t, s)) || bytes.Contains(b, w.key[:]) {
				t.Errorf("secret %d is in the store", i+1)
			}
		}
	}
}
