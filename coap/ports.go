package coap

import (
	"context"
	"time"

	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// UseCases are what devices can do. Their refusals are *command.Error.
type UseCases interface {
	Register(ctx context.Context, r device.Registering) (handle int64, err error)
	Refresh(ctx context.Context, handle int64, from device.Speaker, lifetime time.Duration) error
	Deregister(ctx context.Context, handle int64, from device.Speaker) error
	Observe(ctx context.Context, name string, from device.Speaker, o device.Observation) (device.Device, command.Presentation, error)
	Forget(ctx context.Context, name string, from device.Speaker, o device.Observation) (device.Device, command.Presentation, error)
	List(ctx context.Context, name string, from device.Speaker) (device.Device, command.Presentation, error)
	Report(ctx context.Context, name string, from device.Speaker, seq uint32, r command.Report) error
	// Pull presents what waited for nothing but a notification that can leave.
	Pull(ctx context.Context, handle int64) error
	// Arrived takes what became of an exchange. It must not block.
	Arrived(handle int64, o device.Observation, a command.Arrival)
	// Parted takes that a session of a device's is over. It must not block.
	Parted(name string, session uint32, why string)
}

// Sessions are a packet connection whose peers are DTLS sessions.
type Sessions interface {
	endpoint.PacketConn
	// Run serves until Close, or until the network fails.
	Run() error
	// Identity returns the name that the device at the far end of a session has
	// shown to have; false: the session is over.
	Identity(session uint32) (string, bool)
}
