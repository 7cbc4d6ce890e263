package main

import (
	"context"
	"net/http"

	"behest/bench/operator"
)

// inspect looks at a sample of what was acknowledged, until ctx ends: what is
// asked of a server that is killed meanwhile proves nothing either way. It
// answers with how much it could look at.
func inspect(ctx context.Context, c *operator.Client, s sample, f *findings) (looked int) {
	for _, a := range s.commands {
		got, err := c.Command(ctx, a.id)
		switch {
		case operator.Is(err, http.StatusNotFound):
			f.lost("command %d (%s) was acknowledged, and is not there", a.mark, a.id)
		case err != nil:
			return looked
		default:
			f.checkCommand(a, got)
		}
		looked++
	}
	for _, r := range s.reports {
		if r.id == "" {
			continue // its operator has no answer yet, or never will
		}
		got, err := c.Execution(ctx, r.id, r.device)
		switch {
		case operator.Is(err, http.StatusNotFound):
			f.lost("%s: the report %v on number %d was acknowledged, and command %d is not there", r.device, r.final, r.seq, r.mark)
		case err != nil:
			return looked
		default:
			f.checkReport(r, got)
		}
		looked++
	}
	for _, a := range s.arrivals {
		got, err := c.Device(ctx, a.device)
		switch {
		case operator.Is(err, http.StatusNotFound):
			f.lost("%s: its registration was acknowledged, and the device is not there", a.device)
		case err != nil:
			return looked
		default:
			f.checkArrival(a, got)
		}
		looked++
	}
	return looked
}
