package dispatch_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"behest/command"
	"behest/command/dispatch"
	"behest/command/ledger"
	"behest/device"
)

// What is accepted while the clock is held lasts as long as it was to, neither
// longer nor shorter, whatever the wall was and is when it is trusted.
func TestWhatIsAcceptedWhileTheClockIsHeldLastsAsLong(t *testing.T) {
	const far = 30 * time.Hour
	for what, wall := range map[string]struct{ held, trusted time.Duration }{
		"ahead, and right":          {far, far},
		"ahead, and put right":      {far, 0},
		"behind, and put right":     {-far, 0},
		"behind, and put far ahead": {-far, far},
		"behind, and stays":         {-far, -far},
	} {
		inWorld(t, func(w *world) {
			var off atomic.Int64
			var sure atomic.Bool
			sure.Store(true)
			w.wall = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
			w.sure = sure.Load
			w.restart()
			old := w.issue("forgotten") // its clock is a day
			w.stop()
			off.Store(int64(wall.held))
			sure.Store(false)
			w.start()
			time.Sleep(time.Second)
			h := w.ready("pump")
			i, err := w.Issue(w.ctx(), command.Intent{Type: "set", Targets: command.Targets{Devices: []string{"valve"}}, DeliverWithin: 2 * time.Minute, RequestedBy: "op"})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			off.Store(int64(wall.trusted))
			sure.Store(true)
			time.Sleep(50 * time.Second)
			synctest.Wait()
			w.check(i.Command.ID, command.Queued, command.NoCause)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if x := w.now(i.Command.ID); x.State != command.Expired {
				t.Errorf("%s: it is %s after 130 s", what, x.State)
			}
			if x := w.now(old.Command.ID); (x.State == command.Expired) != (wall.trusted > 0) {
				t.Errorf("%s: what was there before is %s", what, x.State)
			}
			if d := w.device(h); !d.Online(time.Now().Add(max(0, wall.trusted))) {
				t.Errorf("%s: a device that came meanwhile is gone: %+v", what, d.Registration)
			}
		})
	}
}

// Held, the clock says no time that may be ahead of the truth; what people are
// let in by does.
func TestAHeldClockIsNeverAhead(t *testing.T) {
	inWorld(t, func(w *world) {
		mark := time.Now().UTC()
		c := dispatch.NewClock(dispatch.ClockOptions{Mark: mark, Wall: func() time.Time { return mark.Add(48 * time.Hour) }})
		if !c.Held() || c.Now().After(mark.Add(time.Second)) || c.Latest().Before(mark.Add(47*time.Hour)) {
			t.Errorf("held %t, it is %s, %s at the latest", c.Held(), c.Now(), c.Latest())
		}
	})
}

// What the log says last has happened, also if the mark is older: a crash takes
// back nothing.
func TestTheMarkIsNotBehindTheLog(t *testing.T) {
	inWorld(t, func(w *world) {
		last := time.Now().Add(time.Hour).UTC()
		err := w.store.Update(w.ctx(), ledger.Issues, func(tx ledger.Tx) error {
			return tx.Log(command.Event{Type: command.EventClockHeld, At: last})
		})
		if err != nil {
			t.Fatal(err)
		}
		if mark, err := w.store.Mark(w.ctx()); err != nil || !mark.Equal(last) {
			t.Errorf("the mark is %s, %v; the log ends at %s", mark, err, last)
		}
	})
}

// device is a device as it is stored.
func (w *world) device(handle int64) (d device.Device) {
	w.t.Helper()
	err := w.store.Update(w.ctx(), ledger.Issues, func(tx ledger.Tx) (err error) {
		d, err = tx.Device(handle)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}
