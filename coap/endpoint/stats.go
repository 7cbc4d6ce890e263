package endpoint

// Stats are counters since New, and a few sizes now.
type Stats struct {
	Received, Sent                 uint64 // datagrams
	Malformed                      uint64 // format errors, answered or not
	Truncated                      uint64 // larger than the read buffer
	Pings                          uint64
	Requests                       uint64 // that reached the handler
	Duplicates                     uint64 // repeats of a remembered request
	BadOptions                     uint64 // 4.02 or 5.05, or the NON's silence
	Refused                        uint64 // 5.03: the pool, the peer's places or a table was full
	Panics                         uint64 // in a handler or a Confirmable
	Strays                         uint64 // ACK, RST or response that belongs to nothing
	Confirmables, Retransmissions  uint64 // first transmissions; later ones
	Acked, Reset, Silent, Stopped  uint64 // ends of exchanges
	Throttled                      uint64 // not sent, or sent smaller: three times the bytes that came
	Overflowed                     uint64 // not sent: the outbox was full
	SendErrors                     uint64 // the socket refused it
	TransfersExpired               uint64 // request or response bodies given up
	Peers, Exchanges, Repeats      int    // now
	RequestBodies, ResponseBodies  int    // now
	RequestBodyBytes, BodiesFrozen int    // now
}
