package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/device"
	"behest/firmware-sim/exchange"
	"behest/firmware-sim/link"
	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"
)

// fleet is the devices. Their memories outlive them.
type fleet struct {
	server netip.AddrPort
	record *record
	names  []string
	stores map[string]*storage.Store
	lives  atomic.Int64 // boots, of the fleet's devices
	comers atomic.Int64 // newcomers so far
}

const (
	devices     = 24
	newcomers   = 2                     // registering at a time
	lifetime    = 3600                  // seconds, of the fleet's registrations
	lifeMost    = 3 * time.Second       // until a device that is prone to it loses power
	lifeProne   = 3                     // one device in so many is
	darkMost    = 40 * time.Millisecond // between two lives
	newcomerFor = 400 * time.Millisecond
	newcomerGap = 15 * time.Millisecond
)

// timing lets a device notice within a second that the server died, so that a
// life of half a second has traffic. The doubling is the RFC's.
var timing = exchange.Timing{AckTimeout: 40 * time.Millisecond, Retransmits: 5, ResponseWait: 400 * time.Millisecond}

func newFleet(server netip.AddrPort, r *record) *fleet {
	f := &fleet{server: server, record: r, stores: map[string]*storage.Store{}}
	for i := range devices {
		name := fmt.Sprintf("pump-%d", i)
		f.names = append(f.names, name)
		f.stores[name] = storage.NewRAM()
		r.arrives(name, lifetime)
	}
	return f
}

// live lets one device of the fleet live, life after life, until ctx ends.
func (f *fleet) live(ctx context.Context, i int, random *rand.Rand) error {
	name := f.names[i]
	var at netip.AddrPort // half of the devices keep their port over a reboot
	for ctx.Err() == nil {
		conn, err := link.UDP(at, f.server)
		if err != nil && at.IsValid() { // somebody else took the port while the device was dark
			conn, err = link.UDP(netip.AddrPort{}, f.server)
		}
		if err != nil {
			return err
		}
		if i%2 == 0 {
			at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), conn.Local().Port())
		}
		d, err := device.New(conn, device.Options{
			Name: name, Server: f.server, Lifetime: lifetime * time.Second, Window: 1 + i%3,
			Plan: plan, Store: f.stores[name], Timing: timing, Notify: f.note,
		})
		if err != nil {
			return err
		}
		life := time.Hour
		if i%lifeProne == 0 {
			life = time.Duration(random.Int64N(int64(lifeMost)))
		}
		timer := time.AfterFunc(life, d.Crash)
		f.lives.Add(1)
		err = d.Run(ctx)
		timer.Stop()
		if err != nil && !errors.Is(err, device.ErrPowerLoss) {
			return fmt.Errorf("%s: %w", name, err)
		}
		pause(ctx, time.Duration(random.Int64N(int64(darkMost))))
	}
	return nil
}

// arrive lets newcomers register, one after the other, each for a moment.
func (f *fleet) arrive(ctx context.Context) error {
	for ctx.Err() == nil {
		k := f.comers.Add(1)
		name, lt := fmt.Sprintf("new-%d", k), 1000+k
		conn, err := link.UDP(netip.AddrPort{}, f.server)
		if err != nil {
			return err
		}
		var d *device.Device
		here, cancel := context.WithTimeout(ctx, newcomerFor)
		d, err = device.New(conn, device.Options{
			Name: name, Server: f.server, Lifetime: time.Duration(lt) * time.Second, Timing: timing,
			Notify: func(e device.Event) {
				f.note(e)
				if e.Kind == device.Registered {
					cancel()
				}
			},
		})
		if err != nil {
			cancel()
			return err
		}
		f.record.arrives(name, lt)
		err = d.Run(here)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		pause(ctx, newcomerGap)
	}
	return nil
}

// note writes down what a device says of its life.
func (f *fleet) note(e device.Event) {
	switch e.Kind {
	case device.Registered:
		f.record.registered(e.Device)
	case device.Listed:
		f.record.listed(e.Device, e.List)
	case device.Reported:
		f.record.reports(e.Device, e.Seq, e.Report.Status)
	case device.Answered:
		f.record.heard(e.Device, e.Seq, e.Report.Status, e.Code, e.Text)
	}
}

// plan is what a device does with a command: the same for the same command,
// whatever happens in between.
func plan(e wire.Entry) behaviour.Plan {
	mark := markOf([]byte(wire.ToJSON(e.Params)))
	item, err := wire.FromJSON(result(mark))
	if err != nil {
		panic(err) // it is of our own making
	}
	p := behaviour.Plan{
		Outcome: wire.Report{Status: wire.Success, Result: item},
		After:   time.Duration(mark%8) * time.Millisecond,
	}
	switch draw := mark % 50; {
	case draw < 4:
		p.Outcome.Status = wire.Failure
	case draw < 6:
		p.Outcome.Status = wire.Rejected
	case draw < 14:
		p.After, p.Every, p.RefuseCancel = 30*time.Millisecond, 10*time.Millisecond, draw%2 == 0
	case draw < 17:
		p.Crash = behaviour.Stored + behaviour.Point(draw-14)
	}
	return p
}

// result is what a device answers, and nobody else could.
func result(mark uint64) json.RawMessage { return fmt.Appendf(nil, `{"did":%d}`, mark) }
