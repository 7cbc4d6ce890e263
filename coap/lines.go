package coap

import (
	"context"

	"golang.org/x/sync/errgroup"

	"behest/coap/endpoint"
	"behest/device"
)

// lines are the two ways to devices, each with a message layer of its own: what
// strangers do to the plain one costs the other nothing.
type lines struct {
	plain    *endpoint.Endpoint
	secure   *endpoint.Endpoint // nil: there is none
	sessions Sessions           // under secure
}

func newLines(conn endpoint.PacketConn, sessions Sessions, h endpoint.Handler, o endpoint.Options) (l lines, err error) {
	if l.plain, err = endpoint.New(conn, h, o); err != nil || sessions == nil {
		return l, err
	}
	l.sessions = sessions
	l.secure, err = endpoint.New(sessions, h, o)
	return l, err
}

// run serves until ctx ends, or one of the two fails.
func (l *lines) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.plain.Run(ctx) })
	if l.secure != nil {
		g.Go(func() error { return l.secure.Run(ctx) }) // closes the sessions, which ends their Run
		g.Go(l.sessions.Run)
	}
	return g.Wait()
}

// to is the message layer that leads to a peer.
func (l *lines) to(p endpoint.Peer) *endpoint.Endpoint {
	if p.Session != 0 && l.secure != nil {
		return l.secure
	}
	return l.plain
}

// speaker is who makes a request from a peer.
func (l *lines) speaker(p endpoint.Peer) device.Speaker {
	s := device.Speaker{Endpoint: device.Endpoint{Remote: p.Remote, Session: p.Session}}
	if p.Session != 0 && l.sessions != nil {
		s.Identity, _ = l.sessions.Identity(p.Session) // "": it is over, and nobody will read the answer
	}
	return s
}

// reach reports whether an observation of the device with this name can still
// be served. A session's number from another life of the server may be somebody
// else's by now.
func (l *lines) reach(name string, o device.Observation) bool {
	if o.Session == 0 {
		return true
	}
	if l.sessions == nil {
		return false
	}
	identity, there := l.sessions.Identity(o.Session)
	return there && identity == name
}

// stats are the counters of both message layers.
func (l *lines) stats() endpoint.Stats {
	s := l.plain.Stats()
	if l.secure != nil {
		s = s.Plus(l.secure.Stats())
	}
	return s
}
