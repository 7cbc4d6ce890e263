package device

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/link"
	"behest/firmware-sim/servertest"
	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	serverAt = netip.MustParseAddrPort("10.0.0.1:5683")
	deviceAt = netip.MustParseAddrPort("10.0.0.2:40000")
)

// bench is a server, a network and one device that can be rebooted.
type bench struct {
	t       *testing.T
	network *link.Network
	server  *servertest.Server
	options Options
	faults  link.Faults

	device *Device
	ended  chan error
	mu     sync.Mutex
	events []Event
}

// with runs a story in no time at all.
func with(t *testing.T, o Options, story func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, network: link.NewNetwork(), options: o}
		conn, err := b.network.Listen(serverAt)
		if err != nil {
			t.Fatal(err)
		}
		b.server = servertest.New(t, conn)
		b.options.Name, b.options.Server = "pump-7", serverAt
		if b.options.Store == nil {
			b.options.Store = storage.NewRAM()
		}
		if b.options.Seed == 0 {
			b.options.Seed = 1
		}
		b.options.Notify = func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		}
		story(b)
		b.off()
		b.server.Close()
	})
}

// boot switches the device on.
func (b *bench) boot() {
	b.t.Helper()
	conn, err := b.network.Listen(deviceAt)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.faults != (link.Faults{}) {
		conn = link.Impair(conn, b.faults)
	}
	if b.device, err = New(conn, b.options); err != nil {
		b.t.Fatal(err)
	}
	b.ended = make(chan error, 1)
	go func(d *Device, ended chan<- error) { ended <- d.Run(b.t.Context()) }(b.device, b.ended)
}

// off takes the power away, if it is on.
func (b *bench) off() {
	b.t.Helper()
	if b.device == nil {
		return
	}
	b.device.Crash()
	if err := <-b.ended; err != nil && !errors.Is(err, ErrPowerLoss) {
		b.t.Error(err)
	}
	b.device = nil
}

// wait lets time pass, until all is quiet at its end.
func (b *bench) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// mustTell checks all reports that the server got.
func (b *bench) mustTell(want ...servertest.Told) {
	b.t.Helper()
	b.server.Lock()
	defer b.server.Unlock()
	if diff := cmp.Diff(b.server.Reports, want, cmpopts.EquateEmpty()); diff != "" {
		b.t.Errorf("reports (-got +want):\n%s", diff)
	}
}

// mustHaveRegistered checks all registrations and refreshes.
func (b *bench) mustHaveRegistered(want ...string) {
	b.t.Helper()
	b.server.Lock()
	defer b.server.Unlock()
	if diff := cmp.Diff(b.server.Posts, want); diff != "" {
		b.t.Errorf("registrations (-got +want):\n%s", diff)
	}
}

// peek reads something of the server's.
func peek[T any](s *servertest.Server, field *T) T {
	s.Lock()
	defer s.Unlock()
	return *field
}

func (b *bench) mustHaveActed(want map[uint32]int) {
	b.t.Helper()
	if diff := cmp.Diff(b.options.Store.Effects(), want, cmpopts.EquateEmpty()); diff != "" {
		b.t.Errorf("effects (-got +want):\n%s", diff)
	}
}

// count is how many events of a kind there were.
func (b *bench) count(kind Kind) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// planned makes a device that follows a behaviour, whatever the command.
func planned(t *testing.T, text string) Options {
	t.Helper()
	plan, err := behaviour.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Plan: func(wire.Entry) behaviour.Plan { return plan }}
}

func command(seq uint32) wire.Entry { return wire.Entry{Seq: seq, Type: "pump.start", Seconds: 60} }

func outcome(seq uint32, s wire.Status) servertest.Told {
	return servertest.Told{Seq: seq, Report: wire.Report{Status: s}}
}

func running(seq uint32, percent uint8, n uint64) servertest.Told {
	return servertest.Told{Seq: seq, Report: wire.Report{Status: wire.Running, Progress: &percent, Next: new(uint64(1)), N: &n}}
}

// told with a code and an effect.
func coded(seq uint32, s wire.Status, code int64, effect wire.Effect) servertest.Told {
	return servertest.Told{Seq: seq, Report: wire.Report{Status: s, Code: &code, Effect: &effect}}
}
