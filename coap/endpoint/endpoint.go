package endpoint

import "context"

// Endpoint speaks CoAP over one PacketConn.
type Endpoint struct {
	conn PacketConn
	h    Handler
	o    Options
}

// New returns an endpoint; nothing starts before Run. The endpoint owns conn.
func New(conn PacketConn, h Handler, o Options) (*Endpoint, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return &Endpoint{conn: conn, h: h, o: o}, nil
}

// Run serves until ctx ends, and returns after all its goroutines.
func (e *Endpoint) Run(ctx context.Context) error {
	<-ctx.Done()
	return e.conn.Close()
}

// Confirm sends a notification until it is answered.
func (e *Endpoint) Confirm(p Peer, t Token, c Confirmable, o ConfirmOptions) (*Exchange, error) {
	return nil, ErrClosed
}

// Exchange is a running Confirm.
type Exchange struct{}

// Stop ends the exchange at once; true: it was still running, and Done will not
// be called.
func (x *Exchange) Stop() bool { return false }

// Stats returns the counters.
func (e *Endpoint) Stats() Stats { return Stats{} }
