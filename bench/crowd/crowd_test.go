package crowd

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"behest/bench/child"
	"behest/bench/operator"
	"behest/firmware-sim/wire"
)

func TestAddressesAreOneForEachDevice(t *testing.T) {
	for i, want := range map[int]string{0: "127.1.0.0", 1: "127.1.0.1", 256: "127.1.1.0", 100_000: "127.2.134.160", Most - 1<<16 - 1: "127.255.255.255"} {
		a := address(i)
		if a != netip.MustParseAddr(want) || indexOf(a) != i {
			t.Errorf("device %d has %v (and that is device %d), want %s", i, a, indexOf(a), want)
		}
	}
}

func TestACrowdHasBounds(t *testing.T) {
	for _, n := range []int{0, -1, Most} {
		if _, err := New(netip.MustParseAddrPort("127.0.0.1:9"), "x", n, Hooks{}); err == nil {
			t.Errorf("%d devices are accepted", n)
		}
	}
}

// heard is what the hooks were told.
type heard struct {
	mu     sync.Mutex
	listed map[int]int
	done   map[int]int
	all    chan struct{}
	want   int
}

func (h *heard) hooks() Hooks {
	return Hooks{
		Listed: func(i int, _ wire.Entry, _ time.Time) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.listed[i]++
		},
		Done: func(i int, _ uint32, _ time.Time) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.done[i]++; len(h.done) == h.want {
				close(h.all)
			}
		},
	}
}

// TestEveryDeviceGoesItsRound lets a crowd join the real server in two steps,
// and gives each device a command.
func TestEveryDeviceGoesItsRound(t *testing.T) {
	const n = 60
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	program, err := child.Build(ctx, "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	server, err := program.Start(child.Options{Data: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	where, err := server.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{listed: map[int]int{}, done: map[int]int{}, all: make(chan struct{}), want: n}
	c, err := New(where.CoAP, "crowd", n, h.hooks())
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- c.Run(running) }()
	for _, k := range []int{n / 3, n} {
		if err := c.Join(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	client := operator.New(where.HTTP, where.Token, 1)
	defer client.Close()
	there := 0
	err = client.Devices(ctx, func(d operator.Device) error {
		if d.Registration != nil && d.Observation != nil {
			there++
		}
		return nil
	})
	if err != nil || there != n {
		t.Errorf("%d devices are registered and observe, want %d: %v", there, n, err)
	}
	var ins []operator.Intent
	for i := range n {
		ins = append(ins, operator.Intent{Type: "t", Targets: operator.Targets{Devices: []string{c.Name(i)}}})
	}
	if results, fate, err := client.Batch(ctx, ins); fate != operator.Done || len(results) != n {
		t.Fatalf("%d results, %v: %v", len(results), fate, err)
	}
	select {
	case <-h.all:
	case <-ctx.Done():
		t.Fatalf("%d of %d devices are done", len(h.done), n)
	}
	h.mu.Lock()
	for i := range n {
		if h.listed[i] != 1 || h.done[i] < 1 {
			t.Errorf("device %d was given %d commands, and answered for %d", i, h.listed[i], h.done[i])
		}
	}
	h.mu.Unlock()
	err = client.Commands(ctx, func(cmd operator.Command) error {
		if cmd.State != "succeeded" || string(cmd.Execution.Result) != `{"ok":true}` {
			t.Errorf("%s on %s is %s with %s", cmd.ID, cmd.Execution.Device, cmd.State, cmd.Execution.Result)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if c.Refused() > 0 {
		t.Errorf("%d answers were refusals", c.Refused())
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
