package dispatch

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"behest/command"
)

// windowsMax bounds the windows that are kept parsed.
const windowsMax = 1024

// windows knows when windows open, and whom they keep waiting.
type windows struct {
	mu      sync.Mutex
	parsed  map[command.Window]cron.Schedule
	waiting map[int64]time.Time // devices with something queued, by handle, until when
}

func newWindows() windows {
	return windows{parsed: make(map[command.Window]cron.Schedule), waiting: make(map[int64]time.Time)}
}

// checkWindow says what is wrong with a window, or nothing. now is when the
// question is asked: a window that never opens after it is none.
func checkWindow(w *command.Window, now time.Time) (pointer, what string) {
	if w == nil {
		return "", ""
	}
	if len(w.Cron) > command.CronBytesMax {
		return "/rollout/window/cron", fmt.Sprintf("is over %d bytes", command.CronBytesMax)
	}
	if len(strings.Fields(w.Cron)) != 5 || strings.Contains(w.Cron, "=") {
		return "/rollout/window/cron", "is not five fields: minute, hour, day, month, weekday"
	}
	if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
		return "/rollout/window/time_zone", fmt.Sprintf("no time zone is called %.64q", w.Zone)
	}
	if w.Duration < time.Minute || w.Duration > command.WindowMaxLength {
		return "/rollout/window/duration_seconds", fmt.Sprintf("is not between 60 and %d", command.WindowMaxLength/time.Second)
	}
	s, err := schedule(w)
	if err != nil {
		return "/rollout/window/cron", err.Error()
	}
	if s.Next(now).IsZero() {
		return "/rollout/window/cron", "comes at no time within five years"
	}
	return "", ""
}

func schedule(w *command.Window) (cron.Schedule, error) {
	zone := w.Zone
	if zone == "" {
		zone = "UTC"
	}
	return cron.ParseStandard("CRON_TZ=" + zone + " " + w.Cron)
}

// opens is when w opens next; zero: it is open, or there is none.
func (k *windows) opens(w *command.Window, now time.Time) time.Time {
	if w == nil {
		return time.Time{}
	}
	s := k.schedule(*w)
	if s == nil {
		return time.Time{} // it was one when it was accepted: better at any time than never
	}
	if at := s.Next(now.Add(-w.Duration)); at.After(now) {
		return at.Truncate(time.Millisecond).UTC()
	}
	return time.Time{}
}

func (k *windows) schedule(w command.Window) cron.Schedule {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.parsed[w]
	if !ok {
		s, _ = schedule(&w)
		if len(k.parsed) >= windowsMax {
			clear(k.parsed)
		}
		k.parsed[w] = s
	}
	return s
}

// wait notes that a device has something that may leave at that time.
func (k *windows) wait(device int64, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if until, ok := k.waiting[device]; !ok || at.Before(until) {
		k.waiting[device] = at
	}
}

// open takes the devices whose windows are open at now.
func (k *windows) open(now time.Time) (devices []int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for device, at := range k.waiting {
		if !now.Before(at) {
			devices = append(devices, device)
			delete(k.waiting, device)
		}
	}
	return devices
}

// windowEvery is how often somebody looks whether a window has opened: they do
// on the minute.
const windowEvery = time.Second

// runWindows gives devices their turn as the windows open that kept what is
// queued on them. Who waits is known again after a restart: every device that
// has something open gets a turn then.
func (d *Dispatcher) runWindows(ctx context.Context) error {
	for {
		sleep(ctx, windowEvery)
		if ctx.Err() != nil {
			return nil
		}
		now := d.now()
		for _, h := range d.windows.open(now) {
			if err := d.giveTurn(ctx, h, nothing); err != nil && ctx.Err() == nil {
				d.log.Warn("a window opened", "err", err)
				d.windows.wait(h, now.Add(pause))
			}
		}
	}
}
