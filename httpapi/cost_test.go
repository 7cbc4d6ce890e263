package httpapi

import (
	"fmt"
	"strings"
	"testing"
)

// What it costs to refuse the worst that fits into a body, beside taking a
// usual command: a reader looks at the ratio, and a hostile client at a wall.
func BenchmarkHostileBodies(b *testing.B) {
	many := func(item string) string {
		list := []string{}
		size := 0
		for i := 0; size < 250_000; i++ {
			list = append(list, fmt.Sprintf(item, i))
			size += len(list[i]) + 1
		}
		return strings.Join(list, ",")
	}
	for name, body := range map[string]string{
		"usual":           anIntent,
		"unknown members": `{` + many(`"%d":1`) + `}`,
		"repeated keys":   `{` + many(`"a":%d`) + `}`,
		"devices":         `{"type":"t","targets":{"devices":[` + many(`"%d"`) + `]}}`,
		"the same device": `{"type":"t","targets":{"devices":[` + many(`"a/%.0d"`) + `]}}`,
		"labels":          with(`"labels":{` + many(`"%d":1`) + `}`),
		"deep":            params(strings.Repeat("[", 100_000)),
		"numbers":         params(`[` + many(`1e%d`) + `]`),
	} {
		b.Run(name, func(b *testing.B) {
			d := &desk{}
			srv := bare(b, d)
			srv.people = anybody{}
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				post(srv, "/v1/commands", body)
			}
		})
	}
}
