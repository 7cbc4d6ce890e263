package sqlite

import (
	"context"
	"encoding/json"
	"math"

	"behest/command"
)

// typesSince is the version of the tables that began to have types. A file
// that an older program left is sound without them.
const typesSince = 3

// checkTypes walks the versions of every type, in order.
func checkTypes(ctx context.Context, c *conn, report *Report) error {
	if report.Schema < typesSince {
		return nil
	}
	w := typeWalk{report: report, claims: make(map[uint16]string)}
	err := c.each(ctx, typeSelect+`ORDER BY t.name, t.version`, func(r row) error {
		report.Types++
		w.number(r.text(0), r.int(1))
		w.columns(r.int(2), r.int(3), r.null(3))
		t, err := readType(r)
		if err != nil {
			report.fault("%v", err)
			t = command.Type{Retired: r.int(2) == 0} // as much as is known
			t.Policy.WireCode = uint16(r.int(3))
		}
		w.content(&t)
		w.live, w.retired, w.wireCode = r.int(2) != 0, t.Retired, t.Policy.WireCode
		return nil
	})
	w.last()
	return err
}

// typeWalk is where the walk is: at a version, which is the youngest of its
// name unless another one follows.
type typeWalk struct {
	report *Report
	claims map[uint16]string // the types that are live, by wire code

	name     string
	version  int64 // 0: the walk has not begun
	live     bool  // as its row says
	retired  bool
	wireCode uint16
}

// number goes on to a version, which must be the next one.
func (w *typeWalk) number(name string, version int64) {
	if w.version == 0 || name != w.name {
		w.last()
		w.version = 0
	} else if w.live {
		w.report.fault("type %q: version %d is live, and version %d came after it", name, w.version, version)
	}
	if version != w.version+1 {
		w.report.fault("type %q goes on with version %d after version %d", name, version, w.version)
	}
	w.name, w.version = name, version
}

// last holds the youngest version of a type against those of the others.
func (w *typeWalk) last() {
	if w.version == 0 {
		return
	}
	if w.live == w.retired {
		w.report.fault("type %q: its youngest version, %d, has live = %v and retired = %v", w.name, w.version, w.live, w.retired)
	}
	if w.retired || w.wireCode == 0 {
		return
	}
	if other, taken := w.claims[w.wireCode]; taken {
		w.report.fault("the types %q and %q have the wire code %d", other, w.name, w.wireCode)
	}
	w.claims[w.wireCode] = w.name
}

// columns holds the constraints of the table: SQLite leaves them out when it
// checks what it may not write to.
func (w *typeWalk) columns(live, wireCode int64, none bool) {
	if live != 0 && live != 1 {
		w.report.fault("type %q, version %d: live is %d", w.name, w.version, live)
	}
	if !none && (wireCode < 1 || wireCode > math.MaxUint16) {
		w.report.fault("type %q, version %d: its wire code is %d", w.name, w.version, wireCode)
	}
}

// content looks at what the rules of the version that the walk is at say.
func (w *typeWalk) content(t *command.Type) {
	if name := t.Policy.Redelivery.String(); !isName(command.ParseRedelivery(name)) {
		w.report.fault("type %q, version %d: its redelivery is %d", w.name, w.version, t.Policy.Redelivery)
	}
	if name := t.Significance.String(); !isName(command.ParseSignificance(name)) {
		w.report.fault("type %q, version %d: its significance is %d", w.name, w.version, t.Significance)
	}
	for _, schema := range []json.RawMessage{t.Params, t.Result} {
		if len(schema) > 0 && !json.Valid(schema) {
			w.report.fault("type %q, version %d: a schema is no JSON", w.name, w.version)
		}
	}
}

func isName[T any](_ T, known bool) bool { return known }
