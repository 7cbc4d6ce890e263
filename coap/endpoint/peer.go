package endpoint

import "net/netip"

// Peer is the far end of a message. It is comparable, and what a peer's state is
// keyed by: the same device behind another address is another peer.
type Peer struct {
	Remote  netip.AddrPort
	Local   netip.Addr // the address of ours that was asked; replies leave from it. Zero: the socket's own
	Session uint32     // 0: plain UDP; else a DTLS session
}

// Datagram is one message as it came or as it shall go.
type Datagram struct {
	Peer      Peer
	Data      []byte
	Truncated bool // read only: it was larger than Data could take
}

// PacketConn is the network under an endpoint.
type PacketConn interface {
	// ReadBatch blocks until there is at least one datagram and returns how many
	// it read. It fills each Data up to its capacity and sets its length.
	ReadBatch([]Datagram) (int, error)
	// WriteBatch sends the datagrams in order and returns how many it has
	// disposed of; an error concerns the one after these.
	WriteBatch([]Datagram) (int, error)
	LocalAddr() netip.AddrPort
	// Close unblocks ReadBatch, which then fails with net.ErrClosed.
	Close() error
}

// Opt is the unsigned value of an option, or none, which is its zero value.
type Opt uint64

// optSet is above the 32 bits of every uint option [RFC 7252 5.10].
const optSet = Opt(1) << 32

// Some is the option with value v.
func Some(v uint32) Opt { return optSet | Opt(v) }

// Get returns the value and whether there is one.
func (o Opt) Get() (uint32, bool) { return uint32(o), o&optSet != 0 }

// Or returns the value, or v when there is none.
func (o Opt) Or(v uint32) uint32 {
	if o&optSet == 0 {
		return v
	}
	return uint32(o)
}

// tokenBytesMax is the longest token of RFC 7252 3.
const tokenBytesMax = 8

// Token names a request or an observation of one peer. The empty token is as
// good as any other.
type Token struct {
	n uint8
	b [tokenBytesMax]byte
}

// TokenOf returns the token with these bytes; more than eight are no token, and
// a mistake of the caller.
func TokenOf(b []byte) Token {
	if len(b) > tokenBytesMax {
		panic("endpoint: a token has at most 8 bytes")
	}
	t := Token{n: uint8(len(b))}
	copy(t.b[:], b)
	return t
}

// Bytes returns a copy of the token's bytes.
func (t Token) Bytes() []byte { return append([]byte(nil), t.b[:t.n]...) }
