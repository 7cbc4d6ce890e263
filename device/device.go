package device

import (
	"bytes"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what a device may say about itself.
const (
	NameBytesMax  = 63      // one DNS label; fits a PSK identity and a path segment
	LinksBytesMax = 4 << 10 // a constrained device has few resources
	ParamsMax     = 16      // registration parameters that we only store
	ParamBytesMax = 128     // each
	LabelsMax     = 32
	LabelBytesMax = 63
	TokenBytesMax = 8 // RFC 7252

	LifetimeMin     = time.Second
	LifetimeDefault = 90000 * time.Second // RFC 9176: 25 hours
	LifetimeMax     = math.MaxUint32 * time.Second
)

// Device is an endpoint that registered, or that an operator made known.
type Device struct {
	Handle  int64 // 0: not stored yet
	Name    string
	Version int64 // grows with each save, so that a stale copy cannot be saved

	Registration Registration // zero: it never registered, or took it back
	Observation  Observation  // zero: it does not observe
	Replaced     Replaced     // its observation before; zero: none, or it was told that two are at it
	SeenAt       time.Time    // the last request that changed something, or that came a minute after the one before

	LastSeq     uint32 // the greatest number ever given to one of its executions
	ReportedSeq uint32 // the greatest number that it reported on

	Labels     map[string]string // the operator's
	AckTimeout time.Duration     // 0: the server's
	Awake      time.Duration     // how long it listens after a sign of life; 0: always
	CreatedAt  time.Time
	RemovedAt  time.Time // an operator removed it; its handle and history stay. Zero: it is there
}

// Registration is a device's word that it is there.
type Registration struct {
	At       time.Time // registered or refreshed
	Lifetime time.Duration
	Window   int               // how many commands it takes at once
	Params   map[string]string // other parameters of its registration
	Links    string            // its own links, RFC 6690
	Secured  bool              // it was made over a session: nobody speaks for the device without one
}

// Registering is a device's request to be registered.
type Registering struct {
	Name     string
	From     Speaker
	Lifetime time.Duration
	Window   int
	Last     *uint32 // the last sequence number that it remembers; nil: it does not say
	Params   map[string]string
	Links    string
}

// Observation is where the notifications of a device's open list go.
type Observation struct {
	At time.Time
	Endpoint
	Local     netip.Addr // the address of ours that was asked; zero: any
	Token     []byte
	BlockSize int  // that it asked for; 0: the default
	Suspended bool // nobody answered there; a sign of life revives it
}

// Replaced is what is kept of an observation in whose place another one came.
type Replaced struct {
	Endpoint
	Token []byte
}

// Registered reports whether the device ever registered and did not leave.
func (d *Device) Registered() bool { return !d.Registration.At.IsZero() }

// Alive reports whether its registration has not lapsed at now.
func (d *Device) Alive(now time.Time) bool {
	return d.Registered() && now.Before(d.Registration.At.Add(d.Registration.Lifetime))
}

// Same reports whether p is the observation o: the same token at the same
// endpoint and, if p says when it was made, made at that time.
func (o Observation) Same(p Observation) bool {
	return o.Endpoint == p.Endpoint && bytes.Equal(o.Token, p.Token) && (p.At.IsZero() || o.At.Equal(p.At))
}

// Observing reports whether it has an observation, suspended or not.
func (d *Device) Observing() bool { return d.Observation.Remote.IsValid() }

// Online reports whether a notification sent at now has somewhere to go where
// somebody was heard of.
func (d *Device) Online(now time.Time) bool {
	return d.Alive(now) && d.Observing() && !d.Observation.Suspended
}

// Asleep reports whether the device has said how long it listens after a sign
// of life, and that time is over.
func (d *Device) Asleep(now time.Time) bool {
	return d.Awake > 0 && now.Sub(d.SeenAt) > d.Awake
}

// Window is how many commands it works on at once, at least one.
func (d *Device) Window() int { return max(1, d.Registration.Window) }

// CheckName says what is wrong with a device name, or nothing.
func CheckName(name string) string {
	switch {
	case name == "":
		return "the endpoint name is empty"
	case len(name) > NameBytesMax:
		return "the endpoint name is over 63 bytes"
	case !utf8.ValidString(name):
		return "the endpoint name is not UTF-8"
	case strings.Contains(name, "/"):
		return "the endpoint name holds a slash"
	case name == "." || name == "..":
		return "the endpoint name is a dot segment, which no path can hold" // [RFC 7252 5.10.1]
	case strings.ContainsFunc(name, unicode.IsControl):
		return "the endpoint name holds a control character"
	}
	return ""
}
