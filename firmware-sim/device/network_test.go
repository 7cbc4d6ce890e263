package device

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/link"
	"behest/firmware-sim/wire"
)

// TestBadNetworks is the promise: whatever is lost, doubled, held back or
// switched off, nothing happens twice, every success is true, and every command
// is told of in the end.
func TestBadNetworks(t *testing.T) {
	for _, loss := range []float64{0, 0.1, 0.3, 0.5} {
		for seed := range uint64(4) {
			name := fmt.Sprintf("loss %v seed %d", loss, seed)
			t.Run(name, func(t *testing.T) { badNetwork(t, loss, seed) })
		}
	}
}

func badNetwork(t *testing.T, loss float64, seed uint64) {
	const commands = 25
	points := seed // every so many points the power fails
	o := Options{
		Seed: seed + 1,
		Plan: func(e wire.Entry) behaviour.Plan {
			plan := behaviour.DefaultPlan()
			plan.After = time.Duration(e.Seq%3) * 2 * time.Second
			plan.Every = time.Duration(e.Seq%2) * time.Second
			return plan
		},
	}
	passed := uint64(0)
	o.PowerLoss = func(behaviour.Point, uint32) bool {
		passed++
		return points > 0 && passed%(7+points) == 0
	}
	with(t, o, func(b *bench) {
		b.faults = link.Faults{Loss: loss, Duplicate: loss / 2, Reorder: loss / 2, Delay: time.Second, Seed: seed + 1}
		b.boot()
		for i := range uint32(commands) {
			e := command(100 + i)
			e.Seconds, e.Fresh = 120, i%5 == 4
			b.server.Issue(e)
			for range 20 {
				b.wait(time.Second)
				select {
				case err := <-b.ended:
					if !errors.Is(err, ErrPowerLoss) {
						b.t.Fatal(err)
					}
					b.boot()
				default:
				}
			}
			if i%8 == 7 {
				b.server.Cancel(100 + i)
			}
		}
		for range 7200 { // two hours to settle: half of the datagrams lost, each way, is slow
			b.wait(time.Second)
			select {
			case <-b.ended:
				b.boot()
			default:
			}
			b.server.Lock()
			settled := len(b.server.Open) == 0
			b.server.Unlock()
			if settled {
				b.t.Logf("settled, after %d passed points", passed)
				break
			}
		}
		b.agree(commands)
	})
}

// agree checks the server's truth against the world's.
func (b *bench) agree(commands int) {
	b.t.Helper()
	effects := b.options.Store.Effects()
	b.server.Lock()
	defer b.server.Unlock()
	if len(b.server.Open) > 0 || len(b.server.Outcome) != commands {
		b.t.Errorf("%d of %d commands have an outcome, open: %+v", len(b.server.Outcome), commands, b.server.Open)
	}
	for seq, r := range b.server.Outcome {
		switch n := effects[seq]; {
		case n > 1:
			b.t.Errorf("%d took effect %d times", seq, n)
		case r.Status == wire.Success && n != 1:
			b.t.Errorf("%d is a success without effect", seq)
		case r.Effect != nil && *r.Effect == wire.EffectNone && n != 0:
			b.t.Errorf("%d says none and took effect", seq)
		}
	}
}
