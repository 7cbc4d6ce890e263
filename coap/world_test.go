package coap_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"behest/coap"
	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
	"behest/coap/udp"
	"behest/command"
	"behest/command/dispatch"
	"behest/firmware-sim/device"
	"behest/firmware-sim/storage"
	"behest/store/sqlite"
)

// world is a server with all its real rooms, and devices with a code base of
// their own, on a simulated network, in fake time.
type world struct {
	t    *testing.T
	net  *simnet.Network
	path string
	seed uint64

	options  coap.Options // of the server's next life
	store    *sqlite.Store
	dispatch *dispatch.Dispatcher
	server   *coap.Server
	addr     netip.AddrPort // where it listens
	stop     func()
	lives    int // of the server

	devices []*life
}

var serverAddr = netip.MustParseAddrPort("10.0.0.1:5683")

// inWorld runs f in a bubble, on a network with these conditions.
func inWorld(t *testing.T, seed uint64, c simnet.Conditions, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(seed, c), path: filepath.Join(t.TempDir(), "db"), seed: seed}
		w.start()
		f(w)
		for _, l := range w.devices {
			l.end()
		}
		w.stop()
		report, err := sqlite.Check(context.Background(), w.path)
		if err != nil || len(report.Faults) > 0 {
			t.Errorf("the database does not hold: %v %v", err, report.Faults)
		}
	})
}

// onLoopback runs f with a server on a real socket, in real time.
func onLoopback(t *testing.T, f func(w *world), as ...func(*world)) {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "db"), seed: 1}
	for _, set := range as {
		set(w)
	}
	w.start()
	defer w.stop()
	f(w)
}

// stranger takes away what loopback is exempt from.
func stranger(w *world) { w.options.Endpoint.BoundLoopback = true }

// start starts the server.
func (w *world) start() {
	w.t.Helper()
	must := func(err error) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	store, err := sqlite.Open(context.Background(), w.path, sqlite.Options{})
	must(err)
	conn, err := w.listen()
	must(err)
	w.lives++
	w.options.Endpoint.Workers = 8
	server, err := coap.New(conn, w.options)
	must(err)
	w.store, w.server, w.addr = store, server, conn.LocalAddr()
	w.dispatch = dispatch.New(store, server, dispatch.Options{Dev: true, Schemas: asIs{}})
	server.Bind(w.dispatch)

	ends := make([]func(), 0, 3)
	for _, run := range []func(context.Context) error{store.Run, w.dispatch.Run, server.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := run(ctx); err != nil {
				w.t.Error(err)
			}
		}()
		ends = append(ends, func() { cancel(); <-done })
	}
	w.stop = func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
		if err := store.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// listen opens the server's socket: on the simulated network, if there is one.
func (w *world) listen() (endpoint.PacketConn, error) {
	if w.net != nil {
		return w.net.Listen(serverAddr)
	}
	return udp.Listen("127.0.0.1:0", udp.Options{})
}

// restart starts the server again. No real one is there in less time.
func (w *world) restart() {
	w.stop()
	time.Sleep(10 * time.Millisecond)
	w.start()
}

// asIs takes params as the CBOR that they are already: these tests are about
// the wire, not about JSON.
type asIs struct{}

func (asIs) JSON(item []byte) (json.RawMessage, bool) { return item, true }
func (asIs) Compile(command.Type) []command.Field     { return nil }

func (asIs) Params(_ command.Type, raw json.RawMessage) ([]byte, []command.Field, error) {
	return raw, nil, nil
}

func (asIs) Result(command.Type, []byte) bool { return true }

// life is a device over its reboots: one memory, one address.
type life struct {
	w     *world
	name  string
	at    netip.AddrPort
	store *storage.Store
	plan  device.Options

	cancel context.CancelFunc
	done   chan struct{} // closed when it is off for good

	mu  sync.Mutex
	now *device.Device
}

// device adds a device to the world and switches it on.
func (w *world) device(o device.Options) *life {
	w.t.Helper()
	l := &life{
		w: w, name: o.Name, store: storage.NewRAM(), plan: o, done: make(chan struct{}),
		at: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(len(w.devices) >> 8), byte(len(w.devices))}), 5000),
	}
	l.plan.Server, l.plan.Store = serverAddr, l.store
	w.devices = append(w.devices, l)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		defer close(l.done)
		for boot := uint64(1); l.boot(ctx, boot); boot++ {
			time.Sleep(time.Duration(boot%7) * time.Second) // it takes a while to come up again
		}
	}()
	return l
}

// boot lives one life; it answers whether another one follows.
func (l *life) boot(ctx context.Context, boot uint64) bool {
	conn, err := l.w.net.Listen(l.at)
	if err != nil {
		l.w.t.Error(err)
		return false
	}
	o := l.plan
	o.Seed = l.w.seed<<20 + uint64(len(l.name))<<10 + boot
	d, err := device.New(radio{conn}, o)
	if err != nil {
		l.w.t.Error(err)
		return false
	}
	l.mu.Lock()
	l.now = d
	l.mu.Unlock()
	err = d.Run(ctx)
	if err != nil && !errors.Is(err, device.ErrPowerLoss) {
		l.w.t.Error(err)
	}
	return ctx.Err() == nil
}

// crash takes the device's power away. It comes back by itself.
func (l *life) crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.now.Crash()
	}
}

func (l *life) end() {
	l.cancel()
	<-l.done
}

// effects is what the device did to the world, by seq.
func (l *life) effects() map[uint32]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.Effects()
}

// radio is a simulated conn as a device wants it.
type radio struct{ *simnet.Conn }

func (c radio) ReadFrom(p []byte) (int, netip.AddrPort, error) {
	batch := []endpoint.Datagram{{Data: p[:0:len(p)]}}
	if _, err := c.ReadBatch(batch); err != nil {
		return 0, netip.AddrPort{}, err
	}
	return len(batch[0].Data), batch[0].Peer.Remote, nil
}

func (c radio) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	return len(p), c.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: to}, Data: p})
}

// issue asks for a command on a device.
func (w *world) issue(name string, in command.Intent) command.ID {
	w.t.Helper()
	in.Targets.Devices = []string{name}
	if in.Type == "" {
		in.Type = "act"
	}
	i, err := w.dispatch.Issue(context.Background(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return i.Command.ID
}

// execution is how a command on one device stands.
func (w *world) execution(id command.ID) command.Execution {
	w.t.Helper()
	v, err := w.store.Command(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return *v.Only
}

// agree holds what the server says of a command against what its device did.
// Unknown is allowed, wrong is not, and twice is never.
func agree(x command.Execution, effects map[uint32]int) error {
	n := effects[x.Seq]
	switch {
	case x.Seq == 0 && x.Effect != command.EffectNone && x.State.Ended():
		return fmt.Errorf("%s %s: it never left, and its effect is %s", x.Name, x.State, x.Effect)
	case n > 1:
		return fmt.Errorf("%s seq %d, %s: it was done %d times", x.Name, x.Seq, x.State, n)
	case x.State == command.Succeeded && n != 1:
		return fmt.Errorf("%s seq %d: success without its effect", x.Name, x.Seq)
	case x.State.Ended() && x.Effect == command.EffectNone && n != 0:
		return fmt.Errorf("%s seq %d, %s %s: it took effect, and none is said", x.Name, x.Seq, x.State, x.Cause)
	}
	return nil
}

// hostile are the conditions of a bad network.
func hostile(loss, duplicate float64, delay time.Duration) simnet.Conditions {
	return simnet.Conditions{Loss: loss, Duplicate: duplicate, DelayMin: time.Millisecond, DelayMax: time.Millisecond + delay}
}

// chance is a generator that a seed names.
func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
