package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"behest/command"
	"behest/command/ledger"
)

// PutType declares a command type, or changes it: each change is a new
// version. What would change nothing makes none. A version to hold the type
// against may be given; 0 is whatever it is. An approval rule must be one that
// known users could meet, and its wire code none that a device may still read as
// something else.
func (d *Dispatcher) PutType(ctx context.Context, t command.Type, ifVersion int, by string) (out command.Type, created bool, err error) {
	faults := t.Check()
	if max(len(t.Params), len(t.Result)) <= command.SchemaBytesMax { // else it is not worth the time
		faults = append(faults, d.schemas.Compile(t)...)
	}
	if len(faults) > 0 {
		return command.Type{}, false, &command.Error{Code: command.CodeInvalid, Msg: "the type cannot be declared like that", Fields: faults}
	}
	if err := d.checkWireCode(ctx, t); err != nil {
		return command.Type{}, false, err
	}
	if t.Approval != nil { // who is known does not change meanwhile
		d.amending.Lock()
		defer d.amending.Unlock()
	}
	err = d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		if err := d.checkRule(tx, t.Approval); err != nil {
			return err
		}
		before, err := currentType(tx, t.Name, ifVersion)
		created = err != nil && command.CodeOf(err) == command.CodeNotFound
		switch {
		case err != nil && !created:
			return err
		case !created && sameType(before, t):
			out = before
			return nil
		}
		out = t
		out.CreatedAt, out.CreatedBy, out.Retired = d.now(), by, false
		if err := tx.AddType(&out); err != nil {
			return err
		}
		return logType(tx, command.EventTypeDeclared, out, by)
	})
	return out, created, err
}

// checkWireCode refuses a code under which something of another type is on the
// wire, or may come there: the device would be told one thing, and do another.
// What a type has already it keeps. It is looked at before the commit, which it
// would hold up: nothing is issued under a code that no type has.
func (d *Dispatcher) checkWireCode(ctx context.Context, t command.Type) error {
	code := t.Policy.WireCode
	if code == 0 {
		return nil
	}
	before, err := d.store.Type(ctx, t.Name)
	if err != nil && command.CodeOf(err) != command.CodeNotFound {
		return err
	}
	if err == nil && !before.Retired && before.Policy.WireCode == code {
		return nil
	}
	other, err := d.store.OpenUnder(ctx, code, t.Name)
	if err == nil && other != "" {
		err = command.Errorf(command.CodeConflict, "commands of type %q are open under the wire code %d: take it when they have ended, or cancel them", other, code)
	}
	return err
}

// RetireType sees to it that nothing is issued under a type any more. Its
// versions stay, for the commands that have them.
func (d *Dispatcher) RetireType(ctx context.Context, name string, ifVersion int, by string) error {
	return d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		t, err := currentType(tx, name, ifVersion)
		if err != nil {
			return err
		}
		t.CreatedAt, t.CreatedBy, t.Retired = d.now(), by, true
		if err := tx.AddType(&t); err != nil {
			return err
		}
		return logType(tx, command.EventTypeRetired, t, by)
	})
}

// currentType is a type that can be issued under, of the version that is
// wished for. A retired one is as good as none.
func currentType(tx ledger.Tx, name string, version int) (command.Type, error) {
	t, err := tx.Type(name)
	if err == nil && t.Retired {
		t, err = command.Type{}, command.Errorf(command.CodeNotFound, "no command type is called %q", name)
	}
	if version != 0 && (err == nil && t.Version != version || err != nil && command.CodeOf(err) == command.CodeNotFound) {
		err = command.Errorf(command.CodePrecondition, "the type is not of version %d", version)
	}
	return t, err
}

// sameType reports whether two types say the same.
func sameType(a, b command.Type) bool {
	return a.Policy == b.Policy && a.Clocks == b.Clocks && a.Significance == b.Significance &&
		bytes.Equal(a.Params, b.Params) && bytes.Equal(a.Result, b.Result) && slices.Equal(a.Slot, b.Slot) &&
		reflect.DeepEqual(a.Approval, b.Approval) && reflect.DeepEqual(a.Rollback, b.Rollback)
}

func logType(tx ledger.Tx, kind command.EventType, t command.Type, by string) error {
	return logChange(tx, kind, t.CreatedAt, by, map[string]any{"type": t.Name, "version": t.Version})
}

// typeFor is the type that an intent names. In development mode a type that
// nobody declared is one that allows everything.
func (d *Dispatcher) typeFor(ctx context.Context, name string) (command.Type, error) {
	if what := command.CheckTypeName(name); what != "" {
		return command.Type{}, faulty("/type", what)
	}
	t, err := d.store.Type(ctx, name)
	known := err == nil && !t.Retired
	switch {
	case err != nil && command.CodeOf(err) != command.CodeNotFound:
		return t, err
	case known:
		d.types.keep(t)
		return t, nil
	case d.dev && err != nil:
		return command.Type{Name: name}, nil
	case d.dev || err == nil:
		return t, faulty("/type", fmt.Sprintf("the command type %q was retired", name))
	}
	return t, faulty("/type", fmt.Sprintf("no command type %q is declared; undeclared types are allowed in development mode only", name))
}

func faulty(pointer, what string) error {
	return &command.Error{
		Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is",
		Fields: []command.Field{{Pointer: pointer, Detail: what}},
	}
}

// typeOf is the type that a command was issued with.
func (d *Dispatcher) typeOf(ctx context.Context, c *command.Command) (command.Type, error) {
	if c.TypeVersion == 0 {
		return command.Type{Name: c.Type}, nil
	}
	if t, ok := d.types.find(c.Type, c.TypeVersion); ok {
		return t, nil
	}
	t, err := d.store.TypeVersion(ctx, c.Type, c.TypeVersion)
	if err == nil {
		d.types.keep(t)
	}
	return t, err
}

// typesMax bounds the versions of types that are kept at hand. A solution has
// some dozens.
const typesMax = 1024

// types keeps versions of types at hand. A version never changes.
type types struct {
	mu sync.Mutex
	of map[typeKey]command.Type
}

type typeKey struct {
	name    string
	version int
}

func newTypes() types { return types{of: make(map[typeKey]command.Type)} }

func (k *types) find(name string, version int) (command.Type, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.of[typeKey{name, version}]
	return t, ok
}

func (k *types) keep(t command.Type) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.of) >= typesMax {
		clear(k.of)
	}
	k.of[typeKey{t.Name, t.Version}] = t
}
