package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"behest/command"
)

// The column `rules` of a type is what its version says, except for what has
// a column of its own. Clocks are in milliseconds.
const (
	typeRetired = iota
	typeRedelivery
	typeParallel
	typeUrgent
	typeFresh
	typeLarge
	typeFloat32
	typeSignificance
	typeParams
	typeResult
	typeSlot     // how many pointers, and each
	typeClocks   // the first of three for each of eight: default, min, max
	typeApproval = typeClocks + 3*8
	typeRollback = typeApproval + 1
	typeEnd      = typeRollback + 1
)

// boundsOf lists what a type says about clocks, in the order of the column.
func boundsOf(c *command.TypeClocks) [8]*command.Bound {
	return [8]*command.Bound{&c.ApproveWithin, &c.UseWithin, &c.HoldWithin, &c.DeliverWithin,
		&c.RunFor, &c.ReportEvery, &c.CancelFor, &c.SettleFor}
}

func partsOf(b *command.Bound) [3]*time.Duration {
	return [3]*time.Duration{&b.Default, &b.Min, &b.Max}
}

func appendRules(b []byte, t *command.Type) []byte {
	p := packer{body: make([]byte, 0, 64+len(t.Params)+len(t.Result))}
	p.flag(typeRetired, t.Retired)
	p.uint(typeRedelivery, uint64(t.Policy.Redelivery))
	p.flag(typeParallel, t.Policy.Parallel)
	p.flag(typeUrgent, t.Policy.Urgent)
	p.flag(typeFresh, t.Policy.Fresh)
	p.flag(typeLarge, t.Policy.Large)
	p.flag(typeFloat32, t.Policy.Float32)
	p.uint(typeSignificance, uint64(t.Significance))
	p.text(typeParams, string(t.Params))
	p.text(typeResult, string(t.Result))
	p.uint(typeSlot, uint64(len(t.Slot)))
	for _, pointer := range t.Slot {
		p.body = appendBytes(p.body, pointer)
	}
	for i, bound := range boundsOf(&t.Clocks) {
		for j, d := range partsOf(bound) {
			p.int(typeClocks+3*i+j, d.Milliseconds())
		}
	}
	p.text(typeApproval, approvalText(t.Approval))
	p.text(typeRollback, rollbackText(t.Rollback))
	return p.appendTo(b)
}

// unpackRules fills t, except for what has a column of its own.
func unpackRules(b []byte, t *command.Type) error {
	u := unpack(b, typeEnd)
	t.Retired = u.has(typeRetired)
	t.Policy.Redelivery = command.Redelivery(u.enum(typeRedelivery))
	t.Policy.Parallel, t.Policy.Urgent, t.Policy.Fresh = u.has(typeParallel), u.has(typeUrgent), u.has(typeFresh)
	t.Policy.Large, t.Policy.Float32 = u.has(typeLarge), u.has(typeFloat32)
	t.Significance = command.Significance(u.enum(typeSignificance))
	t.Params = u.bytes(typeParams)
	t.Result = u.bytes(typeResult)
	for n := u.uint(typeSlot); n > 0 && !u.bad; n-- {
		t.Slot = append(t.Slot, string(u.nextBytes()))
	}
	for i, bound := range boundsOf(&t.Clocks) {
		for j, d := range partsOf(bound) {
			*d = u.duration(typeClocks + 3*i + j)
		}
	}
	approval, rollback := u.text(typeApproval), u.text(typeRollback)
	if err := u.end(); err != nil {
		return err
	}
	var err error
	if t.Approval, err = readApproval(approval); err != nil {
		return fmt.Errorf("its approval: %w", err)
	}
	if t.Rollback, err = readRollback(rollback); err != nil {
		return fmt.Errorf("its way back: %w", err)
	}
	return nil
}

const typeSelect = `SELECT t.name, t.version, t.live, t.wire_code, w.name, t.created_at, t.rules FROM type t LEFT JOIN who w ON w.n = t.who `

// readType reads a row of typeSelect.
func readType(r row) (command.Type, error) {
	t := command.Type{Name: r.text(0), Version: int(r.int(1)), CreatedBy: r.text(4), CreatedAt: fromMillis(r.int(5))}
	t.Policy.WireCode = uint16(r.int(3))
	if err := unpackRules(r.bytes(6), &t); err != nil {
		return command.Type{}, fmt.Errorf("type %q, version %d: %w", t.Name, t.Version, err)
	}
	return t, nil
}

// types answers with what typeSelect and the rest of the query find.
func (c *conn) types(ctx context.Context, rest string, args ...driver.Value) (types []command.Type, err error) {
	err = c.each(ctx, typeSelect+rest, func(r row) error {
		t, err := readType(r)
		types = append(types, t)
		return err
	}, args...)
	return types, err
}

// youngest is the youngest version of a type.
func (c *conn) youngest(ctx context.Context, name string) (command.Type, error) {
	types, err := c.types(ctx, `WHERE t.name = +? ORDER BY t.version DESC LIMIT 1`, name)
	if err != nil {
		return command.Type{}, err
	}
	if len(types) == 0 {
		return command.Type{}, command.Errorf(command.CodeNotFound, "no command type is called %q", name)
	}
	return types[0], nil
}

func (t *tx) Type(name string) (command.Type, error) {
	found, err := t.w.conn.youngest(context.Background(), name)
	return found, t.failed(err)
}

// AddType lets a retired type keep a wire code that another has by now: it
// claims nothing, because nothing is issued under it.
func (t *tx) AddType(typ *command.Type) error {
	if err := t.claim(typ); err != nil {
		return err
	}
	r, err := t.w.conn.one(context.Background(), `SELECT max(version) FROM type WHERE name = +?`, typ.Name)
	if err != nil {
		return t.failed(err)
	}
	version := r.int(0) + 1
	who, err := t.who(typ.CreatedBy)
	if err == nil {
		_, _, err = t.write(`UPDATE type SET live = 0 WHERE name = +? AND live = 1`, typ.Name)
	}
	if err == nil {
		_, _, err = t.write(addType, typ.Name, version, isLive(typ), orNull(int64(typ.Policy.WireCode)), who,
			typ.CreatedAt.UnixMilli(), appendRules(nil, typ))
	}
	if err != nil {
		return fmt.Errorf("add type %q: %w", typ.Name, err)
	}
	typ.Version = int(version)
	return nil
}

const addType = `INSERT INTO type (name, version, live, wire_code, who, created_at, rules) VALUES (?, ?, ?, ?, ?, ?, ?)`

// isLive is the column `live` of the youngest version.
func isLive(t *command.Type) int64 {
	if t.Retired {
		return 0
	}
	return 1
}

// claim refuses a wire code that another type has.
func (t *tx) claim(typ *command.Type) error {
	if typ.Retired || typ.Policy.WireCode == 0 {
		return nil
	}
	r, err := t.w.conn.one(context.Background(), `SELECT name FROM type WHERE wire_code = +? AND live = 1 AND name <> +?`,
		int64(typ.Policy.WireCode), typ.Name)
	if err != nil {
		return t.failed(err)
	}
	if r != nil {
		return command.Errorf(command.CodeConflict, "the wire code %d is that of type %q", typ.Policy.WireCode, r.text(0))
	}
	return nil
}

// Type is the youngest version of a command type, retired or not.
func (s *Store) Type(ctx context.Context, name string) (t command.Type, err error) {
	err = s.read(ctx, func(c *conn) error {
		t, err = c.youngest(ctx, name)
		return err
	})
	return t, err
}

// TypeVersion is one version of a command type.
func (s *Store) TypeVersion(ctx context.Context, name string, version int) (t command.Type, err error) {
	err = s.read(ctx, func(c *conn) error {
		types, err := c.types(ctx, `WHERE t.name = +? AND t.version = +?`, name, int64(version))
		if err == nil && len(types) == 0 {
			return command.Errorf(command.CodeNotFound, "command type %q has no version %d", name, version)
		}
		if err == nil {
			t = types[0]
		}
		return err
	})
	return t, err
}

// Types lists the youngest versions of command types that are not retired, in
// the order of their names, from the one after a name.
func (s *Store) Types(ctx context.Context, after string, limit int) (types []command.Type, more bool, err error) {
	limit = page(limit, command.PageMax)
	err = s.read(ctx, func(c *conn) error {
		types, err = c.types(ctx, `WHERE t.live = 1 AND t.name > ? ORDER BY t.name LIMIT +?`, after, int64(limit)+1)
		return err
	})
	if len(types) > limit {
		return types[:limit], true, err
	}
	return types, false, err
}
