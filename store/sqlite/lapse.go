package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"behest/command"
)

// lapse is a row of command as retention sees it: a command on one device, a
// head, or an execution of one.
type lapse struct {
	n       int64
	of      int64 // its head; 0: it has an intent
	device  int64 // 0: it is a head
	seq     int64 // 0: it never left, or nobody knows
	state   command.State
	effect  command.Effect
	over    bool  // nothing can move it any more
	created int64 // when the command was
	touched int64 // when something last became of it
	slot    int64 // what it sets; 0: nothing that anybody lists
	parts   bool  // other tables have rows about it
}

// lapseSelect reads one. What is pending or behind a gate is not over.
var lapseSelect = `SELECT c.n, c.head, c.device, c.state, c.effect, c.settled, c.course, h.created_at,
	(SELECT slot FROM slot WHERE execution = c.n),
	c.seq, CASE WHEN c.state = 14 THEN (SELECT terms FROM kind WHERE n = h.kind) END,
	` + anyOf(holds) + `, ` + anyOf(parts) + `
	FROM command c JOIN command h ON h.n = coalesce(c.head, c.n) `

func readLapse(r row) (lapse, error) {
	l := lapse{
		n: r.int(0), of: r.int(1), device: r.int(2), state: command.State(r.int(3)), effect: command.Effect(r.int(4)),
		created: r.int(7), touched: r.int(7), slot: r.int(8), seq: r.int(9), parts: r.int(12) != 0,
	}
	held := r.int(11) != 0
	if l.many() {
		l.over = !held
		return l, nil
	}
	timedOut := l.state == command.TimedOut
	l.over = !held && l.state.Ended() && (!timedOut || r.int(5) != 0)
	c := &command.Command{CreatedAt: fromMillis(l.created)}
	x := command.Execution{Command: c}
	err := unpackCourse(r.bytes(6), &x)
	if err == nil && timedOut {
		err = unpackTerms(r.bytes(10), c)
	}
	if err != nil {
		return l, fmt.Errorf("execution %d: %w", l.n, err)
	}
	for _, t := range timesOf(&x) {
		if !t.IsZero() && t != &x.DueAt { // which may never come
			l.touched = max(l.touched, t.UnixMilli())
		}
	}
	if timedOut { // its truth could come until then, and that it did not is an event
		l.touched = max(l.touched, x.EndedAt.Add(c.Clocks.SettleFor).UnixMilli())
	}
	return l, nil
}

// row is that of its command.
func (l *lapse) row() int64 {
	if l.of != 0 {
		return l.of
	}
	return l.n
}

func (l *lapse) many() bool { return l.device == 0 }

// before reports whether it was over before a time.
func (l *lapse) before(t int64) bool { return l.over && l.touched < t }

// lapses calls f with what lapseSelect and the rest of the query find, until it
// answers errEnough.
func (c *conn) lapses(ctx context.Context, rest string, f func(*lapse) error, args ...driver.Value) error {
	err := c.each(ctx, lapseSelect+rest, func(r row) error {
		l, err := readLapse(r)
		if err != nil {
			return err
		}
		return f(&l)
	}, args...)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// lapse is row n of command; nil: it is not there.
func (c *conn) lapse(ctx context.Context, n int64) (found *lapse, err error) {
	err = c.lapses(ctx, `WHERE c.n = +?`, func(l *lapse) error {
		found = l
		return nil
	}, n)
	return found, err
}

// members are executions of the head in row n, on devices after one.
func (c *conn) members(ctx context.Context, n, after int64, limit int) (list []lapse, err error) {
	err = c.lapses(ctx, `WHERE c.head = +? AND c.device > ? ORDER BY c.device LIMIT +?`, func(l *lapse) error {
		list = append(list, *l)
		return nil
	}, n, after, int64(limit))
	return list, err
}

// younger are the executions in the slot of x that left after it, in that
// order, as many as are looked at. What has not left yet will do so after
// those.
func (c *conn) younger(ctx context.Context, x *lapse) (list []lapse, err error) {
	const rest = `WHERE c.n IN (
		SELECT s.execution FROM slot s JOIN command y ON y.n = s.execution
		WHERE s.device = +? AND s.slot = +? AND y.seq > +? ORDER BY y.seq LIMIT +?) ORDER BY c.seq`
	err = c.lapses(ctx, rest, func(l *lapse) error {
		list = append(list, *l)
		return nil
	}, x.device, x.slot, x.seq, int64(slotLook))
	return list, err
}

// slotLook bounds how far after an execution its slot is looked at. Those past
// it are not lost: what lies between goes by and by, and is not in the way then.
const slotLook = 256

// verdicts says what may go, during one pass. What it found to be over for long
// enough stays so.
type verdicts struct {
	before int64          // the time before which it was over
	newest int64          // the row of command that stays, and all that come after it
	heads  map[int64]bool // what was found out about heads
}

// headsMax bounds how many heads are remembered.
const headsMax = 100_000

// over reports whether a command, its head or its one execution, was wholly over
// before the time.
func (v *verdicts) over(ctx context.Context, c *conn, l *lapse) (bool, error) {
	if !l.before(v.before) || !l.many() {
		return l.before(v.before), nil
	}
	over, known := v.heads[l.n]
	if known {
		return over, nil
	}
	const open = `SELECT 1 FROM command WHERE head = +?1 AND state < 8
		UNION ALL SELECT 1 FROM command WHERE head = +?1 AND state = 14 AND settled = 0 LIMIT 1`
	r, err := c.one(ctx, open, l.n)
	if over = r == nil; err == nil && over {
		err = v.each(ctx, c, l.n, func(x *lapse) (bool, error) {
			over = x.before(v.before)
			return over, nil
		})
	}
	if len(v.heads) >= headsMax {
		clear(v.heads)
	}
	v.heads[l.n] = over
	return over, err
}

// each calls f with the executions of the head in row n, until it says that
// this is enough.
func (v *verdicts) each(ctx context.Context, c *conn, n int64, f func(*lapse) (bool, error)) error {
	for after := int64(0); ; {
		list, err := c.members(ctx, n, after, lookRows)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			if more, err := f(&list[i]); err != nil || !more {
				return err
			}
		}
		after = list[len(list)-1].device
	}
}

// goes reports whether a command may go: it was over long enough ago, and so was
// whatever undoes it, and no slot needs it.
func (v *verdicts) goes(ctx context.Context, c *conn, l *lapse) (bool, error) {
	over, err := v.over(ctx, c, l)
	if err != nil || !over {
		return false, err
	}
	if over, err = v.undone(ctx, c, l.n); err != nil || !over {
		return false, err
	}
	if !l.many() {
		wanted, err := v.wanted(ctx, c, l)
		return !wanted, err
	}
	free := true
	err = v.each(ctx, c, l.n, func(x *lapse) (bool, error) {
		if free = x.n < v.newest; !free {
			return false, nil
		}
		wanted, err := v.wanted(ctx, c, x)
		free = !wanted
		return free, err
	})
	return free, err
}

// undone reports whether whatever undoes the command in row n was over before
// the time.
func (v *verdicts) undone(ctx context.Context, c *conn, n int64) (over bool, err error) {
	var rows []int64
	err = c.each(ctx, `SELECT command FROM rollback WHERE original = +?`, func(r row) error {
		rows = append(rows, r.int(0))
		return nil
	}, n)
	for i := 0; i < len(rows) && err == nil; i++ {
		if over, err = v.overRow(ctx, c, rows[i]); err == nil && !over {
			return false, nil
		}
	}
	return err == nil, err
}

func (v *verdicts) overRow(ctx context.Context, c *conn, n int64) (bool, error) {
	l, err := c.lapse(ctx, n)
	if err != nil || l == nil {
		return err == nil, err
	}
	return v.over(ctx, c, l)
}

// wanted reports whether somebody may still ask for x, which is over, by its
// slot:
//
//   - what may have had an effect says that nothing older can be undone any
//     more, until something younger says so for good;
//   - a success is what undoing a younger one brings back, up to the next
//     success, while that can be undone at all. Once both are old, it goes.
//
// So the last success in a slot stays, and whatever came after it that still
// counts.
func (v *verdicts) wanted(ctx context.Context, c *conn, x *lapse) (bool, error) {
	if x.slot == 0 || x.effect == command.EffectNone {
		return false, nil
	}
	// Nobody undoes anything on a device that was removed.
	there, err := c.one(ctx, `SELECT 1 FROM device WHERE handle = +? AND removed_at IS NULL`, x.device)
	if err != nil || there == nil {
		return false, err
	}
	younger, err := c.younger(ctx, x)
	if err != nil {
		return false, err
	}
	if passed, err := v.passed(ctx, c, x, younger); err != nil || !passed {
		return true, err
	}
	if x.state != command.Succeeded {
		return false, nil
	}
	for i := range younger {
		y := &younger[i]
		if !y.state.Ended() || y.effect != command.EffectNone {
			if old, err := v.overWhole(ctx, c, y); err != nil || !old {
				return true, err
			}
		}
		if y.state == command.Succeeded {
			return false, nil
		}
	}
	return true, nil
}

// passed reports whether something that came after x stands in the way of all
// that x stands in the way of, for good: it may have had an effect, nothing has
// undone it, and it undoes nothing but x. What undoes another that is gone
// stands by itself.
func (v *verdicts) passed(ctx context.Context, c *conn, x *lapse, younger []lapse) (bool, error) {
	const q = `SELECT EXISTS (SELECT 1 FROM rollback WHERE original = +?1) OR EXISTS (SELECT 1 FROM rollback WHERE command = +?1 AND original <> ?2)`
	for i := range younger {
		y := &younger[i]
		if !y.over || y.effect == command.EffectNone || x.seq == 0 && y.n < x.n {
			continue
		}
		r, err := c.one(ctx, q, y.row(), x.row())
		if err != nil || r.int(0) == 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// overWhole is over for the command that an execution belongs to.
func (v *verdicts) overWhole(ctx context.Context, c *conn, x *lapse) (bool, error) {
	if x.of == 0 {
		return v.over(ctx, c, x)
	}
	if over, known := v.heads[x.of]; known {
		return over, nil
	}
	return v.overRow(ctx, c, x.of)
}
