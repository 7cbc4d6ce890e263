package webhook_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"behest/command"
	"behest/webhook"
)

func raw(t *testing.T, secret string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(b) != 32 || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("the secret %q: %v", secret, err)
	}
	return b
}

func TestASecretIsOfOneHookOneGenerationAndOneServer(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	seen := map[string]string{}
	note := func(what, secret string) {
		t.Helper()
		raw(t, secret)
		if other, ok := seen[secret]; ok {
			t.Errorf("the secrets of %s and %s are the same", what, other)
		}
		seen[secret] = what
	}
	note("a", w.put("a", r.URL, "none.x"))
	note("b", w.put("b", r.URL, "none.x"))
	_, second, err := w.Rotate(ctx, "a", 0, "ann")
	if err != nil {
		t.Fatal(err)
	}
	note("a, rotated", second)
	if err := w.Delete(ctx, "a", 0, "ann"); err != nil {
		t.Fatal(err)
	}
	note("another a", w.put("a", r.URL, "none.x"))
	if again := w.put("a", r.URL+"/2", "none.x"); again != "" {
		t.Error("a change tells the secret")
	}
	other := newWorld(t, quick())
	note("a of another server", other.put("a", r.URL, "none.x"))
}

// TestARotationHasAnOverlap rotates twice. Each secret is good until its
// overlap is over.
func TestARotationHasAnOverlap(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	first := w.put("erp", r.URL)
	w.settled("erp", w.happen("command.created", 1))
	next := func() told { // what tells of the next event; the rotation's own may come later
		t.Helper()
		at := w.happen("command.created", 1)
		w.settled("erp", at)
		_, came := r.has()
		n := slices.IndexFunc(came, func(m told) bool { return m.ID == at.String() })
		if n < 0 {
			t.Fatalf("event %s did not come", at)
		}
		return came[n]
	}
	good := func(secrets ...string) {
		t.Helper()
		m := next()
		for i, s := range secrets {
			if err := verify(s, m, time.Now()); (err == nil) != (s != "" && i < 2) {
				t.Errorf("secret %d: %v", i, err)
			}
		}
		if n := len(strings.Fields(m.Head.Get("webhook-signature"))); n != min(len(secrets), 2) {
			t.Errorf("%d signatures", n)
		}
	}
	good(first)
	h, second, err := w.Rotate(ctx, "erp", 0, "ann")
	if err != nil || h.Generation != 2 {
		t.Fatal(h, err)
	}
	good(second, first)
	_, third, err := w.Rotate(ctx, "erp", h.Version, "ann")
	if err != nil {
		t.Fatal(err)
	}
	good(third, second, first) // the last one no more
	w.end()
	w.o.Overlap = time.Nanosecond
	w.serve(w.store)
	m := next()
	if verify(third, m, time.Now()) != nil || verify(second, m, time.Now()) == nil {
		t.Error("after the overlap the former secret is still good")
	}
}

// between is a store that calls then before the next round reads the log, when
// its loop has long read the hook.
type between struct {
	webhook.Store
	then atomic.Pointer[func()]
}

func (b *between) DeliveriesDue(ctx context.Context, n int64, now time.Time, limit int) ([]command.HookDelivery, int, time.Time, error) {
	if then := b.then.Swap(nil); then != nil {
		(*then)()
	}
	return b.Store.DeliveriesDue(ctx, n, now, limit)
}

// TestARotationIsHeededFromItsOwnEventOn rotates between the two looks of a
// loop, at the hook and at the log, and nobody wakes the loop.
func TestARotationIsHeededFromItsOwnEventOn(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.end()
	store := &between{Store: w.store}
	w.serve(store)
	first := w.put("erp", r.URL)
	w.settled("erp", w.happen("command.created", 1))
	var second string
	var from command.Place
	rotated := make(chan error, 1)
	rotate := func() {
		h, err := w.store.Hook(ctx, "erp")
		if err == nil {
			from, err = w.store.End(ctx)
		}
		if err == nil {
			_, second, err = webhook.New(w.store, w.store, w.key, w.o).Rotate(ctx, "erp", h.Version, "ann")
		}
		rotated <- err
	}
	store.then.Store(&rotate)
	w.happen("command.created", 1) // has it look
	if err := <-rotated; err != nil {
		t.Fatal(err)
	}
	end := w.happen("command.created", 5)
	w.settled("erp", end)
	_, came := r.has()
	told := 0
	for _, m := range came {
		n, err := strconv.ParseInt(strings.TrimPrefix(m.ID, "1-"), 10, 64)
		if err != nil || verify(first, m, time.Now()) != nil {
			t.Errorf("%s (%v) is not signed with the first secret", m.ID, err)
		}
		if n > from.N {
			told++
			if err := verify(second, m, time.Now()); err != nil {
				t.Errorf("%s, which came with the rotation or after it: %v", m.ID, err)
			}
		}
	}
	if want := int(end.N - from.N); told != want || want < 6 {
		t.Errorf("%d events came from the rotation on, want %d", told, want)
	}
	r.wantOnce(1, end.N)
}

// TestAChangedByteIsNoticed changes one byte of what a receiver holds to be
// signed, at every place and in every way.
func TestAChangedByteIsNoticed(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	secret := w.put("erp", r.URL)
	w.settled("erp", command.Place{Epoch: 1, N: 1})
	_, came := r.has()
	m := came[0]
	if err := verify(secret, m, time.Now()); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature", ""} {
		text := string(m.Body)
		if name != "" {
			text = m.Head.Get(name)
		}
		for i := range len(text) {
			for d := 1; d < 256; d++ {
				b := []byte(text)
				b[i] ^= byte(d)
				forged := told{Head: m.Head.Clone(), Body: m.Body}
				if name == "" {
					forged.Body = b
				} else {
					forged.Head.Set(name, string(b))
				}
				tried++
				if verify(secret, forged, time.Now()) == nil {
					t.Fatalf("byte %d of %q may be %q", i, name, b[i])
				}
			}
		}
	}
	t.Logf("%d changes", tried)
}

func TestPutSaysWhatIsFromNowOn(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	spec := command.HookSpec{URL: r.URL, Types: []command.EventType{"command.*"}, AllowPrivate: true}
	h, secret, created, err := w.Put(ctx, "erp", spec, 0, "ann")
	if err != nil || !created || secret == "" || h.Version != 1 || h.CreatedBy != "ann" || h.ChangedBy != "ann" {
		t.Fatalf("%+v, created %t: %v", h, created, err)
	}
	h, secret, created, err = w.Put(ctx, "erp", spec, 1, "bob")
	if err != nil || created || secret != "" || h.Version != 1 || h.ChangedBy != "ann" {
		t.Errorf("the same again: %+v, created %t: %v", h, created, err)
	}
	spec.Disabled = true
	h, _, _, err = w.Put(ctx, "erp", spec, 1, "bob")
	if err != nil || h.Version != 2 || !h.Disabled || h.Reason != command.HookByHand || h.ChangedBy != "bob" || h.CreatedBy != "ann" {
		t.Errorf("disabled: %+v, %v", h, err)
	}
	end := w.happen("command.created", 3)
	if _, err := w.Redeliver(ctx, "erp", end, "ann"); command.CodeOf(err) != command.CodeConflict {
		t.Errorf("a delivery to a disabled one: %v", err)
	}
	spec.Disabled = false
	if _, _, _, err := w.Put(ctx, "erp", spec, 0, "ann"); err != nil {
		t.Fatal(err)
	}
	w.settled("erp", command.Place{Epoch: 1, N: end.N + 1})
	r.wantOnce(3, end.N) // what happened meanwhile

	for name, code := range map[string]command.Code{"of version 9": command.CodePrecondition, "of no version": ""} {
		version := map[bool]int64{true: 9}[code != ""]
		_, _, _, err := w.Put(ctx, "erp", command.HookSpec{URL: r.URL + "/" + fmt.Sprint(version), AllowPrivate: true}, version, "ann")
		if (err != nil) != (code != "") || err != nil && command.CodeOf(err) != code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t, quick())
	put := func(id, url string, private bool, version int64) error {
		_, _, _, err := w.Put(ctx, id, command.HookSpec{URL: url, AllowPrivate: private}, version, "ann")
		return err
	}
	for name, row := range map[string]struct {
		err  error
		code command.Code
	}{
		"no name":                     {put("", "https://example.org/", false, 0), command.CodeInvalid},
		"an address inside":           {put("a", "https://10.0.0.1/", false, 0), command.CodeInvalid},
		"the same, mapped":            {put("a", "https://[::ffff:10.0.0.1]/", false, 0), command.CodeInvalid},
		"metadata, though private":    {put("a", "http://169.254.169.254/latest", true, 0), command.CodeInvalid},
		"a public address, plain":     {put("a", "http://8.8.8.8/", true, 0), command.CodeInvalid},
		"a change of what is not":     {put("a", "https://example.org/", false, 1), command.CodePrecondition},
		"to remove what is not":       {w.Delete(ctx, "a", 0, "ann"), command.CodeNotFound},
		"to remove a version that is": {w.Delete(ctx, "a", 3, "ann"), command.CodePrecondition},
	} {
		if row.err == nil || command.CodeOf(row.err) != row.code {
			t.Errorf("%s: %v, want %s", name, row.err, row.code)
		}
	}
	if _, _, err := w.Rotate(ctx, "a", 0, "ann"); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("to rotate what is not: %v", err)
	}
	if _, _, err := w.Deliveries(ctx, "a", 0, 0); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("the deliveries of what is not: %v", err)
	}
	if hooks, err := w.Hooks(ctx); err != nil || len(hooks) > 0 {
		t.Errorf("there are %v, %v", hooks, err)
	}
}

// TestAnEventIsToldAgainByHand: one that was taken, one that was given up, and
// one that the hook does not want.
func TestAnEventIsToldAgainByHand(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	unwanted := w.happen("device.edited", 1)
	w.put("erp", r.URL, "command.*")
	taken := w.happen("command.created", 1)
	w.settled("erp", taken)
	r.answers(func(m told, _ int) int {
		if m.Type == "command.ended" {
			return 500
		}
		return 200
	})
	bad := w.happen("command.ended", 1)
	end := w.happen("command.created", 1)
	until(t, "it to be given up", func() bool {
		rows := w.rows("erp")
		return len(rows) == 1 && rows[0].State == command.DeliveryGivenUp
	})
	r.answers(nil)
	for _, id := range []command.Place{unwanted, taken, bad} {
		d, err := w.Redeliver(ctx, "erp", id, "bob")
		if err != nil || d.State != command.DeliveryPending || d.AskedBy != "bob" || d.Event != id {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	w.settled("erp", end)
	took, _ := r.has()
	if took[unwanted.String()] != 1 || took[taken.String()] != 2 || took[bad.String()] != 1 {
		t.Errorf("taken: %v", took)
	}
	for _, d := range w.rows("erp") {
		if d.State != command.DeliveryDone || d.AskedBy != "bob" || d.Attempts != 1 || d.Status != http.StatusNoContent {
			t.Errorf("the row %+v", d)
		}
	}
	if _, err := w.Redeliver(ctx, "erp", command.Place{Epoch: 1, N: 999}, "bob"); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("an event that is not: %v", err)
	}
}

func TestARemovedHookIsToldNothing(t *testing.T) {
	w, r := newWorld(t, quick()), newReceiver(t)
	w.put("erp", r.URL)
	w.settled("erp", w.happen("command.created", 1))
	if err := w.Delete(ctx, "erp", 1, "ann"); err != nil {
		t.Fatal(err)
	}
	until(t, "its loop to end", func() bool { s, err := w.Stats(ctx); return err == nil && len(s.Lag) == 0 })
	_, before := r.has()
	w.happen("command.created", 5)
	other := newReceiver(t)
	w.put("erp", other.URL) // of the same name: its own from the start
	end := w.happen("command.created", 1)
	w.settled("erp", end)
	if _, after := r.has(); len(after) != len(before) {
		t.Errorf("%d more came", len(after)-len(before))
	}
	other.wantOnce(end.N-1, end.N)
}

// TestNoProxyOfTheEnvironmentIsUsed sets one that would see everything.
func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	proxy, r := newReceiver(t), newReceiver(t)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	o := quick()
	o.Resolver = webhook.Loopback(t)
	w := newWorld(t, o)
	_, port, _ := strings.Cut(strings.TrimPrefix(r.URL, "http://"), ":")
	w.put("erp", "http://receiver.example.org:"+port+"/")
	end := w.happen("command.created", 3)
	w.settled("erp", end)
	r.wantOnce(1, end.N)
	if _, came := proxy.has(); len(came) > 0 {
		t.Errorf("%d went through the proxy", len(came))
	}
}
