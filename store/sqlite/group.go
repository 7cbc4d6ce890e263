package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"behest/command"
	"behest/device"
)

// groups answers with the groups that the rest of the query finds.
func (c *conn) groups(ctx context.Context, rest string, args ...driver.Value) (groups []device.Group, err error) {
	const q = `SELECT g.name, g.selector, g.version, g.created_at, g.changed_at, w.name FROM device_group g LEFT JOIN who w ON w.n = g.who `
	err = c.each(ctx, q+rest, func(r row) error {
		groups = append(groups, device.Group{
			Name: r.text(0), Selector: r.text(1), Version: r.int(2),
			CreatedAt: fromMillis(r.int(3)), ChangedAt: fromMillis(r.int(4)), ChangedBy: r.text(5),
		})
		return nil
	}, args...)
	return groups, err
}

func (c *conn) group(ctx context.Context, name string) (device.Group, error) {
	groups, err := c.groups(ctx, `WHERE g.name = +?`, name)
	if err == nil && len(groups) == 0 {
		return device.Group{}, command.Errorf(command.CodeNotFound, "no group is called %.64q", name)
	}
	if err != nil {
		return device.Group{}, err
	}
	return groups[0], nil
}

func (t *tx) Group(name string) (device.Group, error) {
	g, err := t.w.conn.group(context.Background(), name)
	return g, t.failed(err)
}

func (t *tx) PutGroup(g *device.Group) error {
	who, err := t.who(g.ChangedBy)
	if err != nil {
		return fmt.Errorf("put group %q: %w", g.Name, err)
	}
	changed := int64(1)
	if g.Version == 0 {
		_, _, err = t.write(`INSERT INTO device_group (name, version, selector, created_at, changed_at, who) VALUES (?, 1, ?, ?, ?, ?)`,
			g.Name, g.Selector, g.CreatedAt.UnixMilli(), g.ChangedAt.UnixMilli(), who)
	} else {
		changed, _, err = t.write(`UPDATE device_group SET (version, selector, created_at, changed_at, who) = (version + 1, ?, ?, ?, ?)
			WHERE name = +? AND version = +?`, g.Selector, g.CreatedAt.UnixMilli(), g.ChangedAt.UnixMilli(), who, g.Name, g.Version)
	}
	if isDuplicate(err) || err == nil && changed == 0 {
		return command.Errorf(command.CodeConflict, "group %q was changed meanwhile", g.Name)
	}
	if err != nil {
		return fmt.Errorf("put group %q: %w", g.Name, err)
	}
	g.Version++
	return nil
}

func (t *tx) RemoveGroup(name string) error {
	changed, _, err := t.write(`DELETE FROM device_group WHERE name = +?`, name)
	if err != nil {
		return fmt.Errorf("remove group %q: %w", name, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeNotFound, "no group is called %.64q", name)
	}
	return nil
}

// Groups lists all groups, in the order of their names.
func (s *Store) Groups(ctx context.Context) (groups []device.Group, err error) {
	err = s.read(ctx, func(c *conn) error {
		groups, err = c.groups(ctx, `WHERE g.name > '' ORDER BY g.name`)
		return err
	})
	return groups, err
}

// GroupPage lists groups after a name, in the order of their names.
func (s *Store) GroupPage(ctx context.Context, after string, limit int) (groups []device.Group, more bool, err error) {
	limit = page(limit, command.PageMax)
	err = s.read(ctx, func(c *conn) error {
		groups, err = c.groups(ctx, `WHERE g.name > ? ORDER BY g.name LIMIT +?`, after, int64(limit)+1)
		return err
	})
	if len(groups) > limit {
		return groups[:limit], true, err
	}
	return groups, false, err
}

// GroupNamed is the group of that name.
func (s *Store) GroupNamed(ctx context.Context, name string) (g device.Group, err error) {
	err = s.read(ctx, func(c *conn) error {
		g, err = c.group(ctx, name)
		return err
	})
	return g, err
}
