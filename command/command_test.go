package command

import (
	"testing"
	"time"
)

// An approval is for exactly what it was shown: whatever differs in that, the
// digest differs.
func TestDigestDiffersWhenAnythingInItDiffers(t *testing.T) {
	type asked struct {
		c       Command
		devices []string
	}
	base := func() asked {
		return asked{
			Command{Type: "pump.start", TypeVersion: 3, Params: []byte{0xa1, 0x61, 'r', 0x01}, Clocks: DefaultClocks, NotBefore: epoch},
			[]string{"pump-1", "pump-2"},
		}
	}
	clock := func(pick func(*Clocks) *time.Duration) func(*asked) {
		return func(a *asked) { *pick(&a.c.Clocks) += time.Second }
	}
	seen := map[[32]byte]string{}
	b := base()
	seen[b.c.Digest(DigestTargets(Named(b.devices...)))] = "as it was"
	for name, change := range map[string]func(*asked){
		"type":                func(a *asked) { a.c.Type = "pump.stop" },
		"type version":        func(a *asked) { a.c.TypeVersion = 4 },
		"params":              func(a *asked) { a.c.Params[3] = 0x02 },
		"no params":           func(a *asked) { a.c.Params = nil },
		"one device more":     func(a *asked) { a.devices = append(a.devices, "pump-3") },
		"one device less":     func(a *asked) { a.devices = a.devices[:1] },
		"another device":      func(a *asked) { a.devices[1] = "pump-9" },
		"two names run on":    func(a *asked) { a.devices = []string{"pump-1pump-2"} },
		"a byte moves over":   func(a *asked) { a.devices = []string{"pump-1p", "ump-2"} },
		"type takes a byte":   func(a *asked) { a.c.Type, a.c.Params = "pump.start\xa1", a.c.Params[1:] },
		"not before":          func(a *asked) { a.c.NotBefore = epoch.Add(time.Millisecond) },
		"no not before":       func(a *asked) { a.c.NotBefore = time.Time{} },
		"approve_within":      clock(func(c *Clocks) *time.Duration { return &c.ApproveWithin }),
		"use_within":          clock(func(c *Clocks) *time.Duration { return &c.UseWithin }),
		"hold_within":         clock(func(c *Clocks) *time.Duration { return &c.HoldWithin }),
		"deliver_within":      clock(func(c *Clocks) *time.Duration { return &c.DeliverWithin }),
		"run_for":             clock(func(c *Clocks) *time.Duration { return &c.RunFor }),
		"report_every":        clock(func(c *Clocks) *time.Duration { return &c.ReportEvery }),
		"cancel_for":          clock(func(c *Clocks) *time.Duration { return &c.CancelFor }),
		"settle_for":          clock(func(c *Clocks) *time.Duration { return &c.SettleFor }),
		"two clocks swapped":  func(a *asked) { c := &a.c.Clocks; c.HoldWithin, c.SettleFor = c.SettleFor, c.HoldWithin },
		"devices are a param": func(a *asked) { a.c.Params, a.devices = append(a.c.Params, "\x06pump-1"...), a.devices[1:] },
	} {
		a := base()
		change(&a)
		d := a.c.Digest(DigestTargets(Named(a.devices...)))
		if was := seen[d]; was != "" {
			t.Errorf("%s has the digest of %s", name, was)
		}
		seen[d] = name
	}
	for name, same := range map[string]func(*asked){
		"the order of the devices": func(a *asked) { a.devices = []string{"pump-2", "pump-1"} },
		"who asks":                 func(a *asked) { a.c.RequestedBy, a.c.Reason = "ann", "maintenance" },
		"its id":                   func(a *asked) { a.c.N, a.c.ID, a.c.CreatedAt = 7, ID{7}, epoch },
		"its labels":               func(a *asked) { a.c.Labels = map[string]string{"site": "a"} },
	} {
		a := base()
		same(&a)
		if got := seen[a.c.Digest(DigestTargets(Named(a.devices...)))]; got != "as it was" {
			t.Errorf("%s changes the digest", name)
		}
	}
}

func TestExpiresAt(t *testing.T) {
	c := Command{CreatedAt: epoch, Clocks: DefaultClocks}
	if got, want := c.ExpiresAt(), epoch.Add(24*time.Hour); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.NotBefore = epoch.Add(time.Hour)
	if got, want := c.ExpiresAt(), epoch.Add(25*time.Hour); !got.Equal(want) {
		t.Errorf("not before: got %v, want %v", got, want)
	}
}
