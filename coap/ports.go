package coap

import (
	"context"
	"net/netip"
	"time"

	"behest/command"
	"behest/device"
)

// UseCases are what devices can do. Their refusals are *command.Error.
type UseCases interface {
	Register(ctx context.Context, r device.Registering) (handle int64, err error)
	Refresh(ctx context.Context, handle int64, from netip.AddrPort, lifetime time.Duration) error
	Deregister(ctx context.Context, handle int64) error
	Observe(ctx context.Context, name string, o device.Observation) (device.Device, command.Presentation, error)
	Forget(ctx context.Context, name string, o device.Observation) (device.Device, command.Presentation, error)
	List(ctx context.Context, name string, from netip.AddrPort) (device.Device, command.Presentation, error)
	Report(ctx context.Context, name string, from netip.AddrPort, seq uint32, r command.Report) error
	// Pull presents what waited for nothing but a notification that can leave.
	Pull(ctx context.Context, handle int64) error
	// Arrived takes what became of an exchange. It must not block.
	Arrived(handle int64, o device.Observation, a command.Arrival)
}
