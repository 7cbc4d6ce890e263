package coap_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"behest/command"
	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/device"
	"behest/firmware-sim/wire"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the lossy worlds; 0: of the day")

// TestServerAndDevicesAgree plays commands over bad networks, with devices that
// lose power and a server that restarts, and holds at the end what the server
// says against what the devices did.
func TestServerAndDevicesAgree(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().Unix() / 86400)
	}
	t.Logf("to play this again: go test ./coap -run TestServerAndDevicesAgree -seed %d", seed)
	sum := map[string]int{}
	for _, loss := range []float64{0, 0.1, 0.3, 0.5} {
		for _, duplicate := range []float64{0, 0.2} {
			for _, delay := range []time.Duration{0, 3 * time.Second} {
				name := fmt.Sprintf("loss %.0f%% duplicates %.0f%% delay %v", loss*100, duplicate*100, delay)
				t.Run(name, func(t *testing.T) {
					inWorld(t, seed, hostile(loss, duplicate, delay), func(w *world) { playFleet(w, sum) })
				})
			}
		}
	}
	t.Logf("outcomes: %v", sum)
	if sum["succeeded"] == 0 {
		t.Error("nothing ever succeeded: this proves nothing")
	}
}

// Numbers of one world. The whole matrix is 16 of them.
const (
	fleetDevices  = 12
	fleetCommands = 8
	fleetHours    = 6 // by then, every clock has run out
)

func playFleet(w *world, sum map[string]int) {
	dice := chance(w.seed)
	plans := []string{
		"success", "success:after=2s", "running:every=1s,for=4s,then=success", "failure:code=32",
		"reject:code=4", "silent", "crash:at=stored", "crash:at=acted", "crash:at=outcome", "busy:for=5s",
	}
	of := make([]behaviour.Plan, len(plans))
	for i, text := range plans {
		plan, err := behaviour.Parse(text)
		if err != nil {
			w.t.Fatal(err)
		}
		of[i] = plan
	}
	for i := range fleetDevices {
		w.device(device.Options{
			Name: fmt.Sprintf("pump-%d", i), Lifetime: 10 * time.Minute, Window: 1 + i%3,
			Plan: func(e wire.Entry) behaviour.Plan { return of[int(e.Seq)%len(of)] },
		})
	}
	var ids []command.ID
	owner := map[command.ID]int{}
	for range fleetCommands {
		for i := range fleetDevices {
			id := w.issue(w.devices[i].name, command.Intent{DeliverWithin: 30 * time.Minute, RunFor: 2 * time.Minute})
			ids, owner[id] = append(ids, id), i
		}
		time.Sleep(time.Duration(dice.IntN(60)) * time.Second)
		switch dice.IntN(4) {
		case 0:
			w.devices[dice.IntN(fleetDevices)].crash()
		case 1:
			w.restart()
		case 2:
			id := ids[dice.IntN(len(ids))]
			_, _ = w.dispatch.Cancel(context.Background(), id, nil, "") // it may have ended
		}
	}
	time.Sleep(fleetHours * time.Hour)
	for _, id := range ids {
		x := w.execution(id)
		sum[x.State.String()]++
		if !x.State.Ended() {
			w.t.Errorf("%s seq %d is still %s", x.Name, x.Seq, x.State)
		}
		if err := agree(x, w.devices[owner[id]].effects()); err != nil {
			w.t.Error(err)
		}
	}
}
