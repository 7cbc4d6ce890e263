package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
)

const (
	// usedEvery is how exactly it is kept when a token was last used.
	usedEvery = time.Hour
	// noteUsedEvery is how long a first use waits to be noted.
	noteUsedEvery = time.Minute
)

// amend commits a change to what the book of people holds, and then writes it
// into the book. One goes after the other, so that the book follows the
// commits in their order.
func (d *Dispatcher) amend(ctx context.Context, f func(ledger.Tx) error, enter func() error) error {
	d.amending.Lock()
	defer d.amending.Unlock()
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, f)
	if err == nil {
		err = enter()
	}
	if err != nil && (command.CodeOf(err) == command.CodeOutcomeUnknown || command.CodeOf(err) == command.CodeInternal) {
		d.readPeopleAnew() // it may be committed, and not in the book
	}
	return d.failed(err)
}

// readPeopleAnew asks for the book to be read from the store.
func (d *Dispatcher) readPeopleAnew() {
	select {
	case d.bookAnew <- struct{}{}:
	default: // asked already
	}
}

// LoadPeople fills the book from the store. Run does so before anything else;
// who lets people in before that calls it.
func (d *Dispatcher) LoadPeople(ctx context.Context) error {
	d.amending.Lock()
	defer d.amending.Unlock()
	var users []access.User
	for after, more := "", true; more; {
		page, left, err := d.store.Users(ctx, after, command.PageMax)
		if err != nil {
			return fmt.Errorf("read the users: %w", err)
		}
		users, more = append(users, page...), left && len(page) > 0
		if more {
			after = page[len(page)-1].ID
		}
	}
	tokens, err := d.store.AllTokens(ctx)
	if err != nil {
		return fmt.Errorf("read the tokens: %w", err)
	}
	groups, err := d.store.Groups(ctx)
	if err != nil {
		return fmt.Errorf("read the groups: %w", err)
	}
	if err := d.book.Load(users, tokens, groups); err != nil {
		return fmt.Errorf("read the book of people: %w", err)
	}
	return nil
}

// runPeople reads the book anew when it may not be what the store has, and
// notes which tokens were used.
func (d *Dispatcher) runPeople(ctx context.Context) error {
	tick := time.NewTicker(noteUsedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.bookAnew:
			if err := d.LoadPeople(ctx); err != nil && ctx.Err() == nil {
				d.log.Warn("reading who may do what", "err", err)
				d.readPeopleAnew()
				sleep(ctx, pause)
			}
		case <-tick.C:
			if err := d.noteUsed(ctx); err != nil && ctx.Err() == nil {
				d.log.Warn("noting which tokens were used", "err", err)
			}
		}
	}
}

// noteUsed keeps when tokens were last used. What is not kept now is the next
// time.
func (d *Dispatcher) noteUsed(ctx context.Context) error {
	for used := range slices.Chunk(d.book.Used(usedEvery), groupMax) {
		err := d.store.Update(ctx, ledger.Retention, func(tx ledger.Tx) error {
			for _, u := range used {
				all, err := tx.Tokens(u.User)
				if err != nil {
					return err
				}
				// By what it is now: it may have been revoked, or be gone with its user.
				at := slices.IndexFunc(all, func(t access.TokenRecord) bool { return t.ID == u.ID })
				if at < 0 {
					continue
				}
				all[at].LastUsedAt = u.LastUsedAt.Truncate(time.Millisecond)
				if err := tx.SaveToken(all[at]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		d.book.NoteUsed(used)
	}
	return nil
}
