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

// A row of users; the logins of one are an array of arrays.
const (
	userColumns = `SELECT u.id, u.version, u.disabled, u.about, u.created_at, u.changed_at, w.name, `
	userTables  = ` FROM user u LEFT JOIN who w ON w.n = u.who `
	userLogins  = `(SELECT json_group_array(json_array(l.issuer, l.claim, l.subject) ORDER BY l.k) FROM login l WHERE l.user = u.n)`
	userSelect  = userColumns + userLogins + userTables
)

// readUser reads a row of userSelect.
func readUser(r row) (access.User, error) {
	u := access.User{
		ID: r.text(0), Version: r.int(1), Disabled: r.int(2) != 0,
		CreatedAt: fromMillis(r.int(4)), ChangedAt: fromMillis(r.int(5)), ChangedBy: r.text(6),
	}
	if err := readAbout(r.text(3), &u); err != nil {
		return access.User{}, fmt.Errorf("user %q: %w", u.ID, err)
	}
	var logins [][3]string
	if err := json.Unmarshal([]byte(r.text(7)), &logins); err != nil {
		return access.User{}, fmt.Errorf("user %q: his logins: %w", u.ID, err)
	}
	for _, l := range logins {
		u.Logins = append(u.Logins, access.Login{Issuer: l[0], Claim: l[1], Subject: l[2]})
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
	if err := t.putLogins(u); err != nil {
		return err
	}
	u.Version++
	return nil
}

// putLogins makes a user's logins those that he has.
func (t *tx) putLogins(u *access.User) error {
	_, _, err := t.write(`DELETE FROM login WHERE user = (SELECT n FROM user WHERE id = +?)`, u.ID)
	for i, l := range u.Logins {
		if err != nil {
			break
		}
		_, _, err = t.write(`INSERT INTO login (user, k, issuer, claim, subject) SELECT n, ?, ?, ?, ? FROM user WHERE id = +?`,
			int64(i+1), l.Issuer, l.Claim, l.Subject, u.ID)
		if isDuplicate(err) {
			return t.taken(i, l)
		}
	}
	if err != nil {
		return fmt.Errorf("put the logins of user %q: %w", u.ID, err)
	}
	return nil
}

// taken is the refusal of a login that is another user's.
func (t *tx) taken(i int, l access.Login) error {
	r, err := t.w.conn.one(context.Background(), `SELECT u.id FROM login l JOIN user u ON u.n = l.user
		WHERE l.issuer = +? AND l.claim = +? AND l.subject = +?`, l.Issuer, l.Claim, l.Subject)
	if err != nil {
		return t.failed(fmt.Errorf("look whose a login is: %w", err))
	}
	return &command.Error{Code: command.CodeConflict, Msg: fmt.Sprintf("a login is that of user %q already", r.text(0)),
		Fields: []command.Field{{Pointer: fmt.Sprintf("/logins/%d", i), Detail: "is another user's"}}}
}

func (t *tx) RemoveUser(id string) error {
	var changed int64
	_, _, err := t.write(`DELETE FROM token WHERE user = (SELECT n FROM user WHERE id = +?)`, id)
	if err == nil {
		_, _, err = t.write(`DELETE FROM login WHERE user = (SELECT n FROM user WHERE id = +?)`, id)
	}
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
