package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"behest/command"
	"behest/device"
)

// Readers who see a part of the devices are rare, and their lists are found by
// looking: in chunks, between which nobody keeps a connection. What is said
// here is never asked for a reader who sees everything.
const (
	sightChunk = 1000    // rows between two turns of a connection: about a millisecond
	sightMax   = 100_000 // devices and commands whose answer is kept during one read
)

// sight is what one reader sees, as it is found out during one read.
//
// A device that was removed has no labels any more, so nothing says whose it
// was: only who sees everything sees what it did.
type sight struct {
	sees     command.Sees
	devices  map[int64]bool // by handle
	commands map[int64]bool // by row
}

func newSight(sees command.Sees) *sight {
	return &sight{sees: sees, devices: make(map[int64]bool), commands: make(map[int64]bool)}
}

// device reports whether the reader sees the device of that handle.
func (s *sight) device(ctx context.Context, c *conn, handle int64) (seen bool, err error) {
	if seen, known := s.devices[handle]; known {
		return seen, nil
	}
	r, err := c.one(ctx, `SELECT labels FROM device WHERE handle = +? AND removed_at IS NULL`, handle)
	if err != nil {
		return false, err
	}
	if r != nil {
		if seen, err = s.labels(r.text(0)); err != nil {
			return false, fmt.Errorf("device %d: %w", handle, err)
		}
	}
	if len(s.devices) >= sightMax {
		clear(s.devices)
	}
	s.devices[handle] = seen
	return seen, nil
}

// named is device, by its name.
func (s *sight) named(ctx context.Context, c *conn, name string) (bool, error) {
	r, err := c.one(ctx, `SELECT handle FROM device WHERE name = +?`, name)
	if err != nil || r == nil {
		return false, err
	}
	return s.device(ctx, c, r.int(0))
}

// labels reports whether the reader sees a device with the labels that its
// column holds.
func (s *sight) labels(column string) (bool, error) {
	labels, err := mapOf(column)
	return err == nil && s.sees(labels), err
}

// command reports whether the reader sees the command in row n: one on many
// devices if he sees any of them.
func (s *sight) command(ctx context.Context, c *conn, n int64) (seen bool, err error) {
	if seen, known := s.commands[n]; known {
		return seen, nil
	}
	r, err := c.one(ctx, `SELECT device FROM command WHERE n = +? AND id IS NOT NULL`, n)
	switch {
	case err != nil:
		return false, err
	case r == nil: // it is not there any more
	case !r.null(0):
		seen, err = s.device(ctx, c, r.int(0))
	default:
		seen, err = s.fleet(ctx, c, n)
	}
	if err != nil {
		return false, err
	}
	if len(s.commands) >= sightMax {
		clear(s.commands)
	}
	s.commands[n] = seen
	return seen, nil
}

// errSeen ends a look that has found what it looked for.
var errSeen = errors.New("seen")

// fleet looks for a device that the reader sees among those of a command on
// many: those that it reached, those that wait, and those that had no room.
func (s *sight) fleet(ctx context.Context, c *conn, n int64) (bool, error) {
	look := func(handles ...int64) error {
		for _, h := range handles {
			seen, err := s.device(ctx, c, h)
			if err != nil {
				return err
			}
			if seen {
				return errSeen
			}
		}
		return nil
	}
	for _, q := range []string{`SELECT device FROM command WHERE head = +?`, `SELECT device FROM refused WHERE command = +?`} {
		if err := c.each(ctx, q, func(r row) error { return look(r.int(0)) }, n); err != nil {
			return found(err)
		}
	}
	return found(c.each(ctx, `SELECT handles FROM pending WHERE command = +?`, func(r row) error {
		handles, err := unpackHandles(r.bytes(0))
		if err != nil {
			return err
		}
		return look(handles...)
	}, n))
}

// found tells the end of a look from a fault.
func found(err error) (bool, error) {
	if errors.Is(err, errSeen) {
		return true, nil
	}
	return false, err
}

// event reports whether the reader sees an event: by its device, or else by
// its command. What is about neither is about people, unless it is of a kind
// that every reader may look up.
func (s *sight) event(ctx context.Context, c *conn, e *command.Event) (bool, error) {
	switch {
	case e.Device != 0:
		return s.device(ctx, c, e.Device)
	case e.CommandN != 0:
		if e.Type == command.EventGate || e.Type == command.EventWave {
			e.Data = withoutCount(e.Data)
		}
		return s.command(ctx, c, e.CommandN)
	}
	kind, _, _ := strings.Cut(string(e.Type), ".")
	return kind == "type" || kind == "group" || kind == "clock", nil
}

// withoutCount is the data of an event about a gate, less how many devices are
// through it.
func withoutCount(data json.RawMessage) json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return nil
	}
	delete(m, "through")
	data, _ = json.Marshal(m) // of what was JSON before
	return data
}

// trim leaves of a command on many devices what the reader sees of them: it
// counts those that he sees, as if there were no others. That costs a look at
// each.
func (s *sight) trim(ctx context.Context, c *conn, v *command.View) error {
	if v.Only != nil {
		return nil
	}
	var shown []command.Refusal
	for _, f := range v.Refused {
		seen, err := s.named(ctx, c, f.Device)
		if err != nil {
			return err
		}
		if seen {
			shown = append(shown, f)
		}
	}
	var own []command.Target
	for _, t := range v.Own {
		seen, err := s.named(ctx, c, t.Device)
		if err != nil {
			return err
		}
		if seen {
			own = append(own, t)
		}
	}
	v.Own = own
	tally, err := s.tally(ctx, c, v.Command.N)
	if err != nil {
		return err
	}
	trimmed := *v.Command
	trimmed.Devices = tally.Total() + tally.Pending + len(shown)
	if trimmed.Targets.Devices, err = s.targets(ctx, c, v.Command.Targets.Devices); err != nil {
		return err
	}
	if v.Gate != nil {
		gate := *v.Gate
		gate.Command, gate.Through = &trimmed, trimmed.Devices-tally.Pending
		v.Gate = &gate
	}
	v.Command, v.Refused, v.Tally = &trimmed, shown, tally
	return nil
}

// targets are those of the devices that were named which the reader sees, as
// many as any page shows.
func (s *sight) targets(ctx context.Context, c *conn, names []string) (shown []string, err error) {
	for _, name := range names {
		seen, err := s.named(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if seen {
			shown = append(shown, name)
		}
		if len(shown) == command.PageMax {
			break
		}
	}
	return shown, nil
}

// tally counts the devices of the command on many in row n that the reader
// sees.
func (s *sight) tally(ctx context.Context, c *conn, n int64) (t command.Tally, err error) {
	err = c.each(ctx, `SELECT device, state, effect, settled FROM command WHERE head = +?`, func(r row) error {
		seen, err := s.device(ctx, c, r.int(0))
		if seen {
			t.AddN(command.State(r.int(1)), command.Effect(r.int(2)), r.int(3) != 0, 1)
		}
		return err
	}, n)
	if err != nil {
		return t, err
	}
	err = c.each(ctx, `SELECT handles FROM pending WHERE command = +?`, func(r row) error {
		handles, err := unpackHandles(r.bytes(0))
		for _, h := range handles {
			seen, err := s.device(ctx, c, h)
			if err != nil {
				return err
			}
			if seen {
				t.Pending++
			}
		}
		return err
	}, n)
	return t, err
}

// CommandSeen is Command for a reader: what he does not see is not there.
func (s *Store) CommandSeen(ctx context.Context, id command.ID, sees command.Sees) (v command.View, err error) {
	if sees == nil {
		return s.Command(ctx, id)
	}
	look := newSight(sees)
	err = s.snapshot(ctx, func(c *conn) error {
		if v.Command, v.Only, err = c.command(ctx, id); err != nil {
			return err
		}
		seen, err := look.command(ctx, c, v.Command.N)
		switch {
		case err != nil:
			return err
		case !seen:
			v = command.View{}
			return command.Errorf(command.CodeNotFound, "no command %s", id)
		}
		if err := c.count(ctx, &v); err != nil {
			return err
		}
		return look.trim(ctx, c, &v)
	})
	return v, err
}

// ExecutionsSeen is Executions for a reader.
func (s *Store) ExecutionsSeen(ctx context.Context, id command.ID, state string, after int64, limit int, sees command.Sees) (xs []command.Execution, more bool, err error) {
	if sees == nil {
		return s.Executions(ctx, id, state, after, limit)
	}
	if _, err := s.CommandSeen(ctx, id, sees); err != nil {
		return nil, false, err
	}
	limit = page(limit, command.PageMax)
	look := newSight(sees)
	for left := true; left && len(xs) <= limit; {
		some, rest, err := s.Executions(ctx, id, state, after, command.PageMax)
		if err != nil {
			return nil, false, err
		}
		err = s.read(ctx, func(c *conn) error {
			for _, x := range some {
				after = x.N
				seen, err := look.device(ctx, c, x.Device)
				if err != nil {
					return err
				}
				if seen {
					xs = append(xs, x)
				}
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
		left = rest
	}
	return xs[:min(len(xs), limit)], len(xs) > limit, nil
}

// commandsSeen is Commands for a reader.
func (s *Store) commandsSeen(ctx context.Context, f command.Filter, limit int) (views []command.View, err error) {
	q := newHistory(f)
	look := newSight(f.Sees)
	for more := true; more && len(views) <= limit; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := s.snapshot(ctx, func(c *conn) error {
			rows, err := look.rows(ctx, c, f, q)
			if err != nil {
				return err
			}
			if more = len(rows) == sightChunk; more {
				q.args[0] = rows[len(rows)-1]
			}
			for _, n := range rows {
				if len(views) > limit {
					return nil
				}
				if err := look.add(ctx, c, f, n, &views); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return views, nil
}

// rows are the next rows of commands that the filter asks for. Who asks for a
// device that he does not see asks for nothing.
func (s *sight) rows(ctx context.Context, c *conn, f command.Filter, q history) (rows []int64, err error) {
	if f.Device != "" {
		if seen, err := s.named(ctx, c, f.Device); err != nil || !seen {
			return nil, err
		}
	}
	err = c.each(ctx, `SELECT h.n FROM command h `+q.text, func(r row) error {
		rows = append(rows, r.int(0))
		return nil
	}, append(slices.Clone(q.args), int64(sightChunk))...)
	return rows, err
}

// add adds the command in row n to views, if the reader sees it and it is what
// the filter asks for.
func (s *sight) add(ctx context.Context, c *conn, f command.Filter, n int64, views *[]command.View) error {
	seen, err := s.command(ctx, c, n)
	if err != nil || !seen {
		return err
	}
	got, err := c.viewsOf(ctx, `WHERE h.n = +?`, n)
	if err != nil || len(got) == 0 {
		return err
	}
	if err := s.trim(ctx, c, &got[0]); err != nil {
		return err
	}
	if matches(got[0], f) {
		*views = append(*views, got[0])
	}
	return nil
}

// devicesSeen is Devices for a reader.
func (s *Store) devicesSeen(ctx context.Context, f device.Filter, limit int) (views []device.View, err error) {
	look := newSight(f.Sees)
	where, args := `WHERE removed_at IS NULL AND name > ?`, []driver.Value{f.After}
	where, args = withLabels(where, args, "labels", "$", f.Label)
	for more := true; more && len(views) <= limit; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := s.snapshot(ctx, func(c *conn) error {
			var names []string
			looked := 0
			err := c.each(ctx, `SELECT name, labels FROM device `+where+` ORDER BY name LIMIT +?`, func(r row) error {
				looked++
				args[0] = r.text(0)
				seen, err := look.labels(r.text(1))
				if seen {
					names = append(names, r.text(0))
				}
				return err
			}, append(slices.Clone(args), int64(sightChunk))...)
			if err != nil {
				return err
			}
			more = looked == sightChunk
			for _, name := range names[:min(len(names), limit+1-len(views))] {
				got, err := c.devices(ctx, `WHERE name = +? AND removed_at IS NULL`, name)
				if err != nil {
					return err
				}
				views = append(views, got...)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return views, nil
}
