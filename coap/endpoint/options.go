package endpoint

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Options are the constants of an endpoint. Zero values are the defaults.
type Options struct {
	// Transmission parameters of RFC 7252 4.8; settable so that tests need not
	// wait. Their defaults are the RFC's.
	AckTimeout       time.Duration // 2 s
	AckRandomFactor  float64       // 1.5
	MaxRetransmit    int           // 4; negative: none
	ExchangeLifetime time.Duration // 247 s
	NonLifetime      time.Duration // 145 s

	ProcessingDelay time.Duration // 1 s: then an empty ACK goes out and the answer becomes separate
	HandlerTimeout  time.Duration // 30 s: a device asks again after 30 s without the separate response
	Grace           time.Duration // 5 s: how long Run lets handlers finish when its ctx ends

	Workers         int           // 128 handlers at a time: enough to fill a group commit
	QueueMax        int           // 4096 requests waiting for a worker
	RequestsPerPeer int           // 8 requests of one peer waiting or running
	BatchSize       int           // 32 datagrams a read or write
	OutboxMax       int           // 8192 datagrams waiting for the socket
	OverloadMaxAge  time.Duration // 5 s: Max-Age of a 5.03

	BlockSize        int                     // 1024: 16 to 1024, a power of two
	BodyMax          int                     // 128 KiB: the largest body of a request
	BodyLimit        func(head *Request) int // overrides BodyMax by request; must not block; the head has no payload
	TransfersMax     int                     // 1024 request bodies, and as many response bodies, at a time
	TransfersPerPeer int                     // 4 of each
	TransferBytesMax int                     // 32 MiB in each direction
	TransferTimeout  time.Duration           // 60 s

	PeersMax       int // 1,048,576 peers heard of within ExchangeLifetime
	ExchangesMax   int // 262,144 outstanding
	RepeatsMax     int // 1,048,576 requests remembered; about 80 bytes each when full
	AnswerMax      int // 1280: an answer above it is not kept for repeats
	AnswerBytesMax int // 16 MiB of answers kept

	// Costly tells which requests an address must have proven itself for: one that
	// has not gets a 4.01 with an Echo option. nil: none. It must not block; the
	// head has no payload.
	Costly func(head *Request) bool
	// BoundLoopback asks loopback addresses to prove themselves too, and bounds
	// what goes there until they have.
	BoundLoopback bool

	Logger *slog.Logger // nil: none
	// Rand gives message ids, jitter and seeds; nil: ChaCha8 from the system's
	// entropy. It must be unpredictable where it matters: an ACK proves an address
	// because its message id could not be guessed.
	Rand rand.Source
}

const (
	// attemptsMax bounds the message ids that an exchange remembers.
	attemptsMax  = 16
	blockSizeMin = 16   // [RFC 7959 2.2] SZX 0
	blockSizeMax = 1024 // [RFC 7959 2.2] SZX 6
	// datagramBytesMax takes a block of 1024 with generous options: RFC 7252 4.6
	// asks for messages of at most 1152 bytes.
	datagramBytesMax = 2048
)

func orDefault[T int | float64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// complete returns o with its defaults, checked.
func (o Options) complete() (Options, error) {
	orDefault(&o.AckTimeout, 2*time.Second)
	orDefault(&o.AckRandomFactor, 1.5)
	orDefault(&o.MaxRetransmit, 4)
	o.MaxRetransmit = max(o.MaxRetransmit, 0)
	orDefault(&o.ExchangeLifetime, 247*time.Second)
	orDefault(&o.NonLifetime, 145*time.Second)
	orDefault(&o.ProcessingDelay, time.Second)
	orDefault(&o.HandlerTimeout, 30*time.Second)
	orDefault(&o.Grace, 5*time.Second)
	orDefault(&o.Workers, 128)
	orDefault(&o.QueueMax, 4096)
	orDefault(&o.RequestsPerPeer, 8)
	orDefault(&o.BatchSize, 32)
	orDefault(&o.OutboxMax, 8192)
	orDefault(&o.OverloadMaxAge, 5*time.Second)
	orDefault(&o.BlockSize, blockSizeMax)
	orDefault(&o.BodyMax, 128<<10)
	orDefault(&o.TransfersMax, 1024)
	orDefault(&o.TransfersPerPeer, 4)
	orDefault(&o.TransferBytesMax, 32<<20)
	orDefault(&o.TransferTimeout, 60*time.Second)
	orDefault(&o.PeersMax, 1<<20)
	orDefault(&o.ExchangesMax, 1<<18)
	orDefault(&o.RepeatsMax, 1<<20)
	orDefault(&o.AnswerMax, 1280)
	orDefault(&o.AnswerBytesMax, 16<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, o.check()
}

func (o Options) check() error {
	if o.AckTimeout < 0 || o.AckRandomFactor < 1 || o.MaxRetransmit >= attemptsMax {
		return fmt.Errorf("endpoint: transmission parameters out of range: ack timeout %v, random factor %v, retransmissions %d (at most %d)",
			o.AckTimeout, o.AckRandomFactor, o.MaxRetransmit, attemptsMax-1)
	}
	if s := o.BlockSize; s < blockSizeMin || s > blockSizeMax || s&(s-1) != 0 {
		return fmt.Errorf("endpoint: block size %d is none of 16, 32, ..., 1024", s)
	}
	for _, n := range []int{o.Workers, o.QueueMax, o.RequestsPerPeer, o.BatchSize, o.OutboxMax, o.BodyMax, o.TransfersMax,
		o.TransfersPerPeer, o.TransferBytesMax, o.PeersMax, o.ExchangesMax, o.RepeatsMax, o.AnswerMax, o.AnswerBytesMax} {
		if n < 0 {
			return fmt.Errorf("endpoint: a bound is negative: %d", n)
		}
	}
	for _, d := range []time.Duration{o.ExchangeLifetime, o.NonLifetime, o.ProcessingDelay, o.HandlerTimeout, o.Grace,
		o.OverloadMaxAge, o.TransferTimeout} {
		if d < 0 {
			return fmt.Errorf("endpoint: a duration is negative: %v", d)
		}
	}
	return nil
}
