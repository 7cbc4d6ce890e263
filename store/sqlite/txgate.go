package sqlite

import (
	"context"
	"errors"
	"time"

	"behest/command"
	"behest/device"
)

var errNotYet = errors.New("not yet")

func (t *tx) Gate(commandN int64) (command.Gate, error)            { return command.Gate{}, errNotYet }
func (t *tx) AddGate(g *command.Gate, look time.Time) error        { return errNotYet }
func (t *tx) SaveGate(g *command.Gate, look time.Time) error       { return errNotYet }
func (t *tx) Decisions(commandN int64) ([]command.Decision, error) { return nil, errNotYet }
func (t *tx) AddDecision(commandN int64, d command.Decision) error { return errNotYet }
func (t *tx) Rollbacks(commandN int64) ([]int64, error)            { return nil, errNotYet }
func (t *tx) Latest(device, slot, n int64) (command.Execution, error) {
	return command.Execution{}, errNotYet
}
func (t *tx) Succeeded(device, slot, n int64) (command.Execution, error) {
	return command.Execution{}, errNotYet
}
func (t *tx) ExecutionOf(commandN, device int64) (command.Execution, error) {
	return command.Execution{}, errNotYet
}
func (t *tx) Group(name string) (device.Group, error) { return device.Group{}, errNotYet }
func (t *tx) PutGroup(g *device.Group) error          { return errNotYet }
func (t *tx) RemoveGroup(name string) error           { return errNotYet }

func (s *Store) GatesDue(ctx context.Context, now time.Time, limit int) ([]int64, time.Time, error) {
	return nil, time.Time{}, nil
}
func (s *Store) Gates(ctx context.Context, after int64, limit int) ([]int64, error) { return nil, nil }
func (s *Store) GateTally(ctx context.Context, commandN int64) (command.Gate, command.Tally, error) {
	return command.Gate{}, command.Tally{}, errNotYet
}
func (s *Store) Groups(ctx context.Context) ([]device.Group, error)              { return nil, nil }
func (s *Store) Pick(ctx context.Context, visit func(device.Device) error) error { return errNotYet }

func (s *Store) Held(ctx context.Context, commandN int64, visit func(device.Device) error) error {
	return errNotYet
}
