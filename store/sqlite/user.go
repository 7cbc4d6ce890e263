package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"behest/access"
	"behest/command"
)

// aboutUser is the column `about` of a user.
type aboutUser struct {
	Name   string        `json:"name,omitempty"`
	Email  string        `json:"email,omitempty"`
	Grants []storedGrant `json:"grants,omitempty"`
}

// storedGrant is a grant with its role by name.
type storedGrant struct {
	Role     string   `json:"role"`
	Groups   []string `json:"groups,omitempty"`
	Selector string   `json:"selector,omitempty"`
}

// aboutOf is the column for u.
func aboutOf(u *access.User) (string, error) {
	about := aboutUser{Name: u.Name, Email: u.Email}
	for _, g := range u.Grants {
		about.Grants = append(about.Grants, storedGrant{Role: g.Role.String(), Groups: g.Groups, Selector: g.Selector})
	}
	b, err := json.Marshal(about)
	return string(b), err
}

// readAbout fills u with what the column says.
func readAbout(text string, u *access.User) error {
	var about aboutUser
	if err := json.Unmarshal([]byte(text), &about); err != nil {
		return err
	}
	u.Name, u.Email = about.Name, about.Email
	for _, g := range about.Grants {
		role, err := access.ParseRole(g.Role)
		if err != nil {
			return err
		}
		u.Grants = append(u.Grants, access.Grant{Role: role, Groups: g.Groups, Selector: g.Selector})
	}
	return nil
}

const userSelect = `SELECT u.id, u.version, u.disabled, u.about, u.created_at, u.changed_at, w.name FROM user u LEFT JOIN who w ON w.n = u.who `

// readUser reads a row of userSelect.
func readUser(r row) (access.User, error) {
	u := access.User{
		ID: r.text(0), Version: r.int(1), Disabled: r.int(2) != 0,
		CreatedAt: fromMillis(r.int(4)), ChangedAt: fromMillis(r.int(5)), ChangedBy: r.text(6),
	}
	if err := readAbout(r.text(3), &u); err != nil {
		return access.User{}, fmt.Errorf("user %q: %w", u.ID, err)
	}
	return u, nil
}

// users answers with what userSelect and the rest of the query find.
func (c *conn) users(ctx context.Context, rest string, args ...driver.Value) (users []access.User, err error) {
	err = c.each(ctx, userSelect+rest, func(r row) error {
		u, err := readUser(r)
		users = append(users, u)
		return err
	}, args...)
	return users, err
}

func (c *conn) user(ctx context.Context, id string) (access.User, error) {
	users, err := c.users(ctx, `WHERE u.id = +?`, id)
	if err == nil && len(users) == 0 {
		err = noUser(id)
	}
	if err != nil {
		return access.User{}, err
	}
	return users[0], nil
}

func noUser(id string) error {
	return command.Errorf(command.CodeNotFound, "no user is called %.64q", id)
}

func (t *tx) User(id string) (access.User, error) {
	u, err := t.w.conn.user(context.Background(), id)
	return u, t.failed(err)
}

func (t *tx) PutUser(u *access.User) error {
	about, err := aboutOf(u)
	if err != nil {
		return fmt.Errorf("put user %q: %w", u.ID, err)
	}
	who, err := t.who(u.ChangedBy)
	if err != nil {
		return fmt.Errorf("put user %q: %w", u.ID, err)
	}
	disabled, changed := int64(0), int64(1)
	if u.Disabled {
		disabled = 1
	}
	values := []driver.Value{disabled, about, u.CreatedAt.UnixMilli(), u.ChangedAt.UnixMilli(), who, u.ID}
	if u.Version == 0 {
		_, _, err = t.write(`INSERT INTO user (version, disabled, about, created_at, changed_at, who, id) VALUES (1, ?, ?, ?, ?, ?, ?)`, values...)
	} else {
		changed, _, err = t.write(`UPDATE user SET (version, disabled, about, created_at, changed_at, who) = (version + 1, ?, ?, ?, ?, ?)
			WHERE id = +? AND version = +?`, append(values, u.Version)...)
	}
	if isDuplicate(err) || err == nil && changed == 0 {
		return command.Errorf(command.CodeConflict, "user %q was changed meanwhile", u.ID)
	}
	if err != nil {
		return fmt.Errorf("put user %q: %w", u.ID, err)
	}
	u.Version++
	return nil
}

func (t *tx) RemoveUser(id string) error {
	_, _, err := t.write(`DELETE FROM token WHERE user = (SELECT n FROM user WHERE id = +?)`, id)
	var changed int64
	if err == nil {
		changed, _, err = t.write(`DELETE FROM user WHERE id = +?`, id)
	}
	if err != nil {
		return fmt.Errorf("remove user %q: %w", id, err)
	}
	if changed == 0 {
		return noUser(id)
	}
	return nil
}

// User is the user of that name.
func (s *Store) User(ctx context.Context, id string) (u access.User, err error) {
	err = s.read(ctx, func(c *conn) error {
		u, err = c.user(ctx, id)
		return err
	})
	return u, err
}

// Users lists users after a name, in the order of their names.
func (s *Store) Users(ctx context.Context, after string, limit int) (users []access.User, more bool, err error) {
	limit = page(limit, command.PageMax)
	err = s.read(ctx, func(c *conn) error {
		users, err = c.users(ctx, `WHERE u.id > ? ORDER BY u.id LIMIT +?`, after, int64(limit)+1)
		return err
	})
	if len(users) > limit {
		return users[:limit], true, err
	}
	return users, false, err
}
