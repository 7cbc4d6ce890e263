package dispatch_test

import (
	"context"
	"testing"
	"time"

	"behest/command"
)

// Who waits in vain hears how the command stands now, not how it stood.
func TestAWaitThatEndsSaysHowItStands(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		i := w.issue("pump")
		time.AfterFunc(time.Second, func() {
			if err := w.report("pump", i.Only.Seq, command.StatusRunning); err != nil {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithTimeout(w.ctx(), 2*time.Second)
		defer cancel()
		v, err := w.Wait(ctx, i.Command.ID)
		if err != nil || v.Only.State != command.Running {
			t.Errorf("it is %s, %v; want running", v.State(), err)
		}
	})
}
