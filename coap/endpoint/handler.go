package endpoint

import (
	"context"
	"errors"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// Request is a request as the handler sees it: options checked, body whole.
type Request struct {
	Peer        Peer
	Confirmable bool
	Code        codes.Code
	Token       Token
	Path, Query []string // decoded Uri-Path and Uri-Query, one entry an option

	Format, Accept, Observe Opt // Content-Format, Accept, Observe
	IfMatch, IfNoneMatch    bool

	BlockSize int    // the block size that the peer asked for in Block2; 0: not said
	Payload   []byte // whole, blocks put together; the handler owns it
}

// Response is the answer to a request, or what a Confirmable builds. Its slices
// belong to the endpoint from then on.
type Response struct {
	Code                           codes.Code
	Format, Observe, MaxAge, Size1 Opt
	ETag                           []byte   // at most 8 bytes; a block-wise response without one gets one
	Location                       []string // Location-Path
	Payload                        []byte

	// Separate, when not nil, makes all else ignored: a CON request is answered
	// with an empty ACK now, and then, CON or NON, with what Separate builds as a
	// separate confirmable response [RFC 7252 5.2.2].
	Separate Confirmable
}

// Handler is what the endpoint serves.
type Handler interface {
	// Serve answers a request. It runs in a bounded pool and may take as long as
	// ctx lasts. It must answer a repeated request from state (see the package
	// comment).
	Serve(ctx context.Context, r *Request) Response
	// Idle tells that the peer's outstanding exchange is over (after Done, or
	// after Stop), or that its block-wise transfer ended: it is free for a new
	// Confirm. It must not block.
	Idle(p Peer)
}

// Confirmable is a message that is sent until it is answered. Its methods are
// called one after the other, with no lock of the endpoint held; they must not
// block.
type Confirmable interface {
	// Build returns what transmission attempt (from 0) carries. The message id is
	// the endpoint's and always new. false: give up now, Done(Stopped) follows.
	Build(attempt int, now time.Time) (Response, bool)
	// Done is called once. attempt is the one that was answered (Acked, Reset),
	// else the last one that was sent, -1 for none.
	Done(o Outcome, attempt int)
}

// Outcome is how an exchange ended.
type Outcome uint8

const (
	Acked   Outcome = iota + 1 // the peer acknowledged it
	Reset                      // the peer refused it
	Silent                     // all transmissions stayed unanswered
	Stopped                    // Build gave up, or the endpoint ended
)

func (o Outcome) String() string {
	switch o {
	case Acked:
		return "acked"
	case Reset:
		return "reset"
	case Silent:
		return "silent"
	case Stopped:
		return "stopped"
	}
	return "outcome?"
}

// ConfirmOptions says how a notification is sent. The zero value is good.
type ConfirmOptions struct {
	AckTimeout time.Duration // 0: Options.AckTimeout
	BlockSize  int           // the block size of the observe request; 0: Options.BlockSize
	Proven     bool          // the address is known to receive what is sent to it
	Path       []string      // of the request that it answers, for later blocks of it
	Query      []string      // likewise
}

var (
	// ErrBusy: the peer has an exchange outstanding or a transfer frozen. Idle
	// tells when to try again.
	ErrBusy = errors.New("endpoint: the peer has an exchange outstanding")
	// ErrOverloaded: a table is full. Try again after a while; Idle will not tell.
	ErrOverloaded = errors.New("endpoint: too many exchanges")
	// ErrClosed: the endpoint has ended.
	ErrClosed = errors.New("endpoint: closed")
)
