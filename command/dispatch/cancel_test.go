package dispatch_test

import (
	"sync"
	"testing"

	"behest/command"
)

// Many cancel the same command at the same time: one of them did it, and the
// others are told that nothing was left.
func TestOneCancels(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range fleet(8) { // now and then, nobody is in anybody's way
			w.ready(name)
			i := w.issue(name)
			const many = 8
			answers := make([]error, many)
			var wg sync.WaitGroup
			for n := range answers {
				wg.Go(func() { _, answers[n] = w.Cancel(w.ctx(), i.Command.ID, nil, "ann") })
			}
			wg.Wait()
			did := 0
			for _, err := range answers {
				switch {
				case err == nil:
					did++
				case command.CodeOf(err) != command.CodeConflict:
					t.Error(err)
				}
			}
			if did != 1 {
				t.Errorf("%d of %d were told that they canceled it", did, many)
			}
			w.check(i.Command.ID, command.Canceling, command.NoCause)
		}
	})
}
