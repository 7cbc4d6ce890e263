package coap

import (
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/cbor"
	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// maxAge is how long a device may believe a list at most, unless its
// registration ends before.
const maxAge = 900 * time.Second

// notice is one exchange that carries a list: a notification, the answer that
// begins an observation, or, without an observation, the answer to a GET. It
// is guarded by the presenter's mu.
type notice struct {
	p           *presenter
	handle      int64
	begun       time.Time
	to          device.Endpoint
	observation device.Observation // zero: the answer to a GET
	lifetime    time.Duration      // of the registration

	exchange *endpoint.Exchange  // nil: the endpoint's own, as for all answers
	sent     [][]command.Carried // by attempt
	over     bool
}

// Build makes one transmission: from the list as it is now, with the seconds
// that are left now, under the next number of its observation.
func (n *notice) Build(int, time.Time) (endpoint.Response, bool) {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	now := n.p.now()
	if n.over {
		return endpoint.Response{}, false
	}
	b := n.p.boards[n.handle]
	observing := n.observation.Remote.IsValid()
	if observing {
		if b == nil || b.notice != n || !b.dev.Observation.Same(n.observation) || !n.p.lines.reach(b.dev.Name, n.observation) {
			return endpoint.Response{}, false // it is over, or another one is where notifications go
		}
		b.dirty = false
	}
	list := b.listFor(n)
	payload, err := cbor.AppendList(nil, list, now)
	if err != nil {
		n.p.log.Error("encoding an open list", "device", n.handle, "err", err)
		return endpoint.Response{}, false
	}
	n.sent = append(n.sent, carries(list))
	b.left(n, list)
	r := endpoint.Response{
		Code: codes.Content, Format: endpoint.Some(formatCBOR), MaxAge: endpoint.Some(0), Payload: payload,
	}
	if observing {
		n.observing(&r, b, now)
	}
	return r, true
}

// observing makes r part of the observation. [mu held]
func (n *notice) observing(r *endpoint.Response, b *board, now time.Time) {
	b.number = max(b.number+1, observeNumber(now))
	r.Observe = endpoint.Some(uint32(b.number & observeMask))
	r.MaxAge = endpoint.Some(uint32(min(maxAge, n.lifetime) / time.Second))
}

// Done says what became of the exchange.
func (n *notice) Done(o endpoint.Outcome, attempt int) {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	if n.over {
		return
	}
	b := n.p.boards[n.handle] // it stays as long as something is under way
	switch o {
	case endpoint.Acked:
		n.p.finish(b, n, command.DeliveryAcked, n.sent[attempt])
	case endpoint.Reset:
		n.p.finish(b, n, command.DeliveryReset, n.everything())
	case endpoint.Silent:
		n.p.finish(b, n, command.DeliverySilent, n.everything())
	default:
		n.p.abandon(n)
		if b.drop(n) {
			n.p.later(b, retryAfter)
		}
	}
	n.p.advance(b)
}

// abandon ends an exchange that nobody need answer any more. What it carried
// may be there or not; of the observation that says nothing. [mu held]
func (p *presenter) abandon(n *notice) {
	n.stop()
	if len(n.sent) > 0 {
		p.uses.Arrived(n.handle, device.Observation{}, command.Arrival{
			Carried: n.everything(), Attempts: len(n.sent), Outcome: command.DeliverySilent,
		})
	}
}

// stop ends the exchange without a word. [mu held]
func (n *notice) stop() {
	n.over = true
	if n.exchange != nil {
		n.exchange.Stop()
	}
}

// carries is what a list carries.
func carries(list []command.Entry) []command.Carried {
	c := make([]command.Carried, len(list))
	for i, e := range list {
		c[i] = command.Carried{Seq: e.Seq, Cancel: e.Cancel}
	}
	return c
}

// everything is what any of the transmissions carried, once.
func (n *notice) everything() []command.Carried {
	var all []command.Carried
	seen := map[command.Carried]bool{}
	for _, attempt := range n.sent {
		for _, c := range attempt {
			if !seen[c] {
				seen[c] = true
				all = append(all, c)
			}
		}
	}
	return all
}

// carriedBy is what the first transmission carried that carried seq: the least
// that a device has which knows seq.
func (n *notice) carriedBy(seq uint32) []command.Carried {
	for _, attempt := range n.sent {
		for _, c := range attempt {
			if c.Seq == seq {
				return attempt
			}
		}
	}
	return nil
}

// observeMask: an Observe number has 24 bits [RFC 7641 3.4].
const observeMask = 1<<24 - 1

// observeNumber is the number that the clock gives: units of 64 microseconds,
// in the steps in which the clock goes.
// The numbers of an observation only ever grow, within a burst because each is
// at least one above the last, and over a restart because no burst outruns the
// clock: a notification takes longer than one unit. A device takes the larger
// of two as the newer one within 2^23 units, which is 536 s, and after 128 s
// takes any [RFC 7641 3.4].
func observeNumber(now time.Time) int64 { return now.UnixMicro() >> 6 }
