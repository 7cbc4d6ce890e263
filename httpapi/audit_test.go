package httpapi

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"behest/access"
	"behest/command"
)

// silent are the routes that may change nothing, and why.
var silent = map[string]string{
	"POST /v1/commands/preview":                           "it writes nothing",
	"PUT /v1/webhooks/{id}":                               "webhooks are not the real ones here: package webhook has it",
	"DELETE /v1/webhooks/{id}":                            "likewise",
	"POST /v1/webhooks/{id}/secret":                       "likewise",
	"POST /v1/webhooks/{id}/deliveries/{event}/redeliver": "it tells what was told before",
	"POST /v1/credentials/import":                         "the file has no line; each line is as if it were added alone",
}

// Every change that is asked for over HTTP is in the log, with who asked for it
// and from where: the routes are those of the rules, so that a new one is asked
// after by itself.
func TestEveryChangeSaysWhoAskedForIt(t *testing.T) {
	c := newCells(t)
	const who = "admin of all"
	for _, pattern := range slices.Sorted(maps.Keys(access.Rules)) {
		if method, _, _ := strings.Cut(pattern, " "); method == "GET" || silent[pattern] != "" {
			continue
		}
		method, path, body := c.request(pattern, c.fill(pattern, false))
		before, err := c.store.End(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := c.send(method, path, body, "Bearer "+c.tokens[who]); status >= 300 {
			t.Errorf("%s: %d %.300s", pattern, status, answer)
			continue
		}
		events, _, err := c.store.Events(t.Context(), before, command.EventFilter{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(events, func(e command.Event) bool { return e.Actor == who && e.From == "127.0.0.1" }) {
			t.Errorf("%s left no event of who asked: %+v", pattern, events)
		}
	}
}
