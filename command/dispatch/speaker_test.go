package dispatch_test

import (
	"net/netip"
	"testing"
	"time"

	"behest/command"
	"behest/device"
)

// port is an endpoint of plain UDP.
func port(n uint16) device.Speaker {
	return device.Speaker{Endpoint: device.Endpoint{Remote: netip.AddrPortFrom(there.Remote.Addr(), n)}}
}

// over is the device with that name in a session.
func over(session uint32, name string) device.Speaker {
	s := there
	s.Session, s.Identity = session, name
	return s
}

// says is everything that somebody can say in a device's name, each as often
// as it is asked for. seq is of an execution of its.
func (w *world) says(by device.Speaker, name string, handle int64, seq uint32) map[string]error {
	o := device.Observation{Token: []byte{1}}
	said := map[string]error{}
	_, said["register"] = w.Register(w.ctx(), device.Registering{Name: name, From: by, Lifetime: time.Hour, Window: 1})
	said["refresh"] = w.Refresh(w.ctx(), handle, by, time.Hour)
	_, _, said["list"] = w.List(w.ctx(), name, by)
	_, _, said["observe"] = w.Observe(w.ctx(), name, by, o)
	said["report"] = w.Report(w.ctx(), name, by, seq, command.Report{Status: command.StatusRunning})
	_, _, said["forget"] = w.Forget(w.ctx(), name, by, o)
	said["deregister"] = w.Deregister(w.ctx(), handle, by)
	return said
}

// events counts the events of a type about a device.
func (w *world) events(name string, kind command.EventType) int {
	w.t.Helper()
	events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Device: name, Types: []command.EventType{kind}}, 500)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(events)
}

// TestNobodySpeaksForAnother: a device with a session is who it has shown to
// be, and once it came over one, nobody without a session is it.
func TestNobodySpeaksForAnother(t *testing.T) {
	inWorld(t, func(w *world) {
		its := over(7, "pump")
		h, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: its, Lifetime: time.Hour, Window: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Observe(w.ctx(), "pump", its, device.Observation{Token: []byte{1}}); err != nil {
			t.Fatal(err)
		}
		i := w.issue("pump")
		before, err := w.store.Device(w.ctx(), "pump")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			who  string
			by   device.Speaker
			code command.Code
		}{
			{"another device", over(8, "valve"), command.CodeForbidden},
			{"somebody without a session, from its very address", there, command.CodeUnauthenticated},
			{"a session that is over", over(7, ""), command.CodeUnauthenticated},
		} {
			for what, err := range w.says(tt.by, "pump", h, i.Only.Seq) {
				if code := command.CodeOf(err); code != tt.code {
					t.Errorf("%s may %s: %q, want %q", tt.who, what, code, tt.code)
				}
			}
		}
		// Whether there is a device is not told to another one either.
		for what, err := range w.says(over(8, "valve"), "nowhere", h, i.Only.Seq) {
			if code := command.CodeOf(err); code != command.CodeForbidden {
				t.Errorf("%s of a device that is not there: %q, want forbidden", what, code)
			}
		}
		if _, err := w.store.Device(w.ctx(), "nowhere"); command.CodeOf(err) != command.CodeNotFound {
			t.Errorf("it was made known: %v", err)
		}
		w.check(i.Command.ID, command.Sent, command.NoCause)
		after, err := w.store.Device(w.ctx(), "pump")
		if err != nil || after.Version != before.Version {
			t.Errorf("its row went from version %d to %d: %v", before.Version, after.Version, err)
		}
		for what, err := range w.says(its, "pump", h, i.Only.Seq) {
			if err != nil {
				t.Errorf("itself may not %s: %v", what, err)
			}
		}
		// It left by itself: the name is free again.
		if _, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: there, Lifetime: time.Hour, Window: 1}); err != nil {
			t.Errorf("without a session, after it left: %v", err)
		}
	})
}

// watches has somebody observe with a token.
func (w *world) watches(by device.Speaker, token byte) {
	w.t.Helper()
	if _, _, err := w.Observe(w.ctx(), "pump", by, device.Observation{Token: []byte{token}}); err != nil {
		w.t.Fatal(err)
	}
}

// lists has somebody ask for the list.
func (w *world) lists(by device.Speaker) {
	w.t.Helper()
	if _, _, err := w.List(w.ctx(), "pump", by); err != nil {
		w.t.Fatal(err)
	}
}

// twice holds how often it was told that two devices are at it.
func (w *world) twice(want int, when string) {
	w.t.Helper()
	if n := w.events("pump", command.EventTwoDevices); n != want {
		w.t.Errorf("%s: told %d times, want %d", when, n, want)
	}
}

// TestTwoSessionsAreTold: one that was replaced as the observer, and speaks
// again, is told once for each time that it was replaced.
func TestTwoSessionsAreTold(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b, third := over(1, "pump"), over(2, "pump"), over(3, "pump")
		h, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: a, Lifetime: 24 * time.Hour, Window: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.watches(a, 1)
		w.lists(third)
		w.watches(b, 1)
		w.lists(b)
		w.lists(third)
		w.twice(0, "it moved, and others asked in its name")
		time.Sleep(time.Hour)
		w.restart()
		w.lists(a)
		w.twice(1, "the replaced one spoke, after a restart")
		w.lists(a)
		w.twice(1, "and went on")
		w.watches(a, 1)
		w.twice(1, "and observed again")
		w.watches(b, 1)
		w.twice(2, "and was replaced again, by one that was")
		if err := w.Refresh(w.ctx(), h, a, 0); err != nil {
			t.Fatal(err)
		}
		w.twice(3, "both are at it")
		w.watches(a, 1)
		if err := w.Deregister(w.ctx(), h, a); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: b, Lifetime: time.Hour, Window: 1}); err != nil {
			t.Fatal(err)
		}
		w.twice(3, "one left, and the other came anew")
	})
}

// TestTwoAddressesAreNoTwoDevices: over plain UDP it takes an observer that
// comes back with the very observation that was replaced.
func TestTwoAddressesAreNoTwoDevices(t *testing.T) {
	a, b := port(1), port(2)
	for name, tt := range map[string]struct {
		tokens [3]byte // at a, at b, at a again
		does   func(w *world, h int64)
		told   int
	}{
		"one that takes its observation along":     {tokens: [3]byte{1, 1, 1}},
		"one that makes another at each address":   {tokens: [3]byte{1, 2, 3}},
		"two, each with its own":                   {tokens: [3]byte{1, 2, 1}, told: 1},
		"two, also over a restart":                 {tokens: [3]byte{1, 2, 1}, does: func(w *world, _ int64) { w.restart() }, told: 1},
		"one that has left the other address":      {tokens: [3]byte{1, 2, 1}, does: func(w *world, _ int64) { w.falls(b) }},
		"one that has said that it leaves it":      {tokens: [3]byte{1, 2, 1}, does: func(w *world, _ int64) { w.leaves(b) }},
		"one that reports and refreshes at both":   {tokens: [3]byte{1, 1, 1}, does: func(w *world, h int64) { w.speaks(h, a, b, a, b) }},
		"two that report and refresh, and observe": {tokens: [3]byte{1, 2, 1}, does: func(w *world, h int64) { w.speaks(h, a, b, a, b) }, told: 1},
		"words alone say nothing over plain UDP":   {tokens: [3]byte{1, 2, 3}, does: func(w *world, h int64) { w.speaks(h, a, b, a, b) }},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				h, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: a, Lifetime: 24 * time.Hour, Window: 1})
				if err != nil {
					t.Fatal(err)
				}
				w.watches(a, tt.tokens[0])
				w.watches(b, tt.tokens[1])
				if tt.does != nil {
					tt.does(w, h)
				}
				w.watches(a, tt.tokens[2])
				w.twice(tt.told, "back at the first address")
				w.watches(a, tt.tokens[2])
				w.twice(tt.told, "and observing on")
			})
		})
	}
}

// speaks has the device refresh, ask and report from several places in turn.
func (w *world) speaks(h int64, from ...device.Speaker) {
	w.t.Helper()
	for _, by := range from {
		if err := w.Refresh(w.ctx(), h, by, 0); err != nil {
			w.t.Fatal(err)
		}
		w.lists(by)
		if err := w.Report(w.ctx(), "pump", by, 5, command.Report{}); command.CodeOf(err) != command.CodeNotFound {
			w.t.Fatal(err)
		}
	}
}

// falls has nobody answer where the device observes.
func (w *world) falls(at device.Speaker) {
	w.t.Helper()
	v, err := w.store.Device(w.ctx(), "pump")
	if err != nil || v.Observation.Endpoint != at.Endpoint {
		w.t.Fatalf("it observes at %+v, %v", v.Observation, err)
	}
	w.Arrived(v.Handle, v.Observation, command.Arrival{Outcome: command.DeliverySilent})
	time.Sleep(10 * time.Second)
}

// leaves has the device take back its observation.
func (w *world) leaves(at device.Speaker) {
	w.t.Helper()
	if _, _, err := w.Forget(w.ctx(), "pump", at, device.Observation{Token: []byte{2}}); err != nil {
		w.t.Fatal(err)
	}
}

// TestAnObservationEndsWithItsSession: it is suspended, over a restart too, and
// only a new one takes its place.
func TestAnObservationEndsWithItsSession(t *testing.T) {
	observation := func(w *world) device.Device {
		w.t.Helper()
		v, err := w.store.Device(w.ctx(), "pump")
		if err != nil {
			w.t.Fatal(err)
		}
		return v.Device
	}
	in := func(w *world, session uint32) {
		w.t.Helper()
		its := over(session, "pump")
		if _, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: its, Lifetime: 24 * time.Hour, Window: 1}); err != nil {
			w.t.Fatal(err)
		}
		if _, _, err := w.Observe(w.ctx(), "pump", its, device.Observation{Token: []byte{1}}); err != nil {
			w.t.Fatal(err)
		}
	}
	settle := func() { time.Sleep(10 * time.Second) }
	inWorld(t, func(w *world) {
		in(w, 7)
		w.Parted("nobody", 7, "closed")
		w.Parted("pump", 6, "closed") // an older one
		settle()
		if d := observation(w); d.Observation.Suspended {
			t.Error("suspended by another's end")
		}
		w.Parted("pump", 7, "idle")
		w.Parted("pump", 7, "idle")
		settle()
		if d := observation(w); !d.Observation.Suspended || d.Observation.Session != 7 {
			t.Errorf("after its session: %+v", d.Observation)
		}
		if n := w.events("pump", command.EventSuspended); n != 1 {
			t.Errorf("told %d times", n)
		}
		i := w.issue("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		in(w, 8)
		if d := observation(w); d.Observation.Suspended {
			t.Error("the new one is suspended")
		}
		if err := w.Report(w.ctx(), "pump", over(8, "pump"), w.now(i.Command.ID).Seq, command.Report{Status: command.StatusSuccess}); err != nil {
			t.Errorf("the new session got nothing to report on: %v", err)
		}

		settle()
		w.restart()
		settle()
		if d := observation(w); !d.Observation.Suspended {
			t.Error("a session survived the restart")
		}
		i = w.issue("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		// Not that of a session of this life, though its number be the same.
		in(w, 8)
		w.check(i.Command.ID, command.Sent, command.NoCause)
		if d := observation(w); d.Observation.Suspended {
			t.Error("the one of this life is suspended")
		}
	})
}

// TestPlainObservationsOutliveARestart, as they did.
func TestPlainObservationsOutliveARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		time.Sleep(10 * time.Second)
		w.restart()
		time.Sleep(10 * time.Second)
		i := w.issue("pump")
		w.check(i.Command.ID, command.Sent, command.NoCause)
	})
}
