package endpoint

import "sync/atomic"

// Stats are counters since New, and sizes now.
type Stats struct {
	Received, Sent                uint64 // datagrams
	Malformed                     uint64 // format errors, answered or not
	Truncated                     uint64 // larger than the read buffer
	Pings                         uint64
	Requests                      uint64 // that reached the handler
	Duplicates                    uint64 // repeats of a remembered request
	BadOptions                    uint64 // 4.02, 5.05 or 4.00 for an option, or the NON's silence
	Refused                       uint64 // 5.03: the pool, the peer's places or a table was full
	Challenged                    uint64 // 4.01 with an Echo: the address had not proven itself
	Panics                        uint64 // in a handler, a Confirmable, or here
	Strays                        uint64 // ACK, RST or response that belongs to nothing
	Confirmables, Retransmissions uint64 // first transmissions; later ones
	Acked, Reset, Silent, Stopped uint64 // ends of exchanges
	Throttled                     uint64 // not sent, or sent smaller: three times the bytes that came
	Overflowed                    uint64 // not sent: the outbox was full
	SendErrors                    uint64 // the socket refused it
	ReadErrors                    uint64 // that did not end the endpoint
	TransfersExpired              uint64 // request or response bodies given up

	Peers, Exchanges, Repeats     int // now
	RequestBodies, ResponseBodies int
	RequestBytes, ResponseBytes   int
}

// counters are the atomic half of Stats.
type counters struct {
	Received, Sent, Malformed, Truncated, Pings, Requests, Duplicates, BadOptions, Refused, Challenged, Panics, Strays,
	Confirmables, Retransmissions, Acked, Reset, Silent, Stopped,
	Throttled, Overflowed, SendErrors, ReadErrors, TransfersExpired atomic.Uint64
}

// Stats returns the counters and sizes.
func (e *Endpoint) Stats() Stats {
	c := &e.stats
	s := Stats{
		Received: c.Received.Load(), Sent: c.Sent.Load(), Malformed: c.Malformed.Load(), Truncated: c.Truncated.Load(),
		Pings: c.Pings.Load(), Requests: c.Requests.Load(), Duplicates: c.Duplicates.Load(),
		BadOptions: c.BadOptions.Load(), Refused: c.Refused.Load(), Panics: c.Panics.Load(), Strays: c.Strays.Load(),
		Challenged: c.Challenged.Load(), Confirmables: c.Confirmables.Load(), Retransmissions: c.Retransmissions.Load(),
		Acked: c.Acked.Load(), Reset: c.Reset.Load(), Silent: c.Silent.Load(), Stopped: c.Stopped.Load(),
		Throttled: c.Throttled.Load(), Overflowed: c.Overflowed.Load(), SendErrors: c.SendErrors.Load(),
		ReadErrors: c.ReadErrors.Load(), TransfersExpired: c.TransfersExpired.Load(),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Peers, s.Exchanges, s.Repeats = e.peers.len(), e.exchanges.len(), e.repeats.len()
	s.RequestBodies, s.RequestBytes = e.uploads.len(), e.uploads.bytes
	s.ResponseBodies, s.ResponseBytes = e.downloads.len(), e.downloads.bytes
	return s
}

// Plus returns the sums of the counters and sizes of two endpoints.
func (s Stats) Plus(t Stats) Stats {
	s.Received += t.Received
	s.Sent += t.Sent
	s.Malformed += t.Malformed
	s.Truncated += t.Truncated
	s.Pings += t.Pings
	s.Requests += t.Requests
	s.Duplicates += t.Duplicates
	s.BadOptions += t.BadOptions
	s.Refused += t.Refused
	s.Challenged += t.Challenged
	s.Panics += t.Panics
	s.Strays += t.Strays
	s.Confirmables += t.Confirmables
	s.Retransmissions += t.Retransmissions
	s.Acked += t.Acked
	s.Reset += t.Reset
	s.Silent += t.Silent
	s.Stopped += t.Stopped
	s.Throttled += t.Throttled
	s.Overflowed += t.Overflowed
	s.SendErrors += t.SendErrors
	s.ReadErrors += t.ReadErrors
	s.TransfersExpired += t.TransfersExpired
	s.Peers += t.Peers
	s.Exchanges += t.Exchanges
	s.Repeats += t.Repeats
	s.RequestBodies += t.RequestBodies
	s.ResponseBodies += t.ResponseBodies
	s.RequestBytes += t.RequestBytes
	s.ResponseBytes += t.ResponseBytes
	return s
}
