package endpoint

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// Endpoint speaks CoAP over one PacketConn.
type Endpoint struct {
	// Set once.
	conn   PacketConn
	h      Handler
	o      Options
	log    *slog.Logger
	seed   maphash.Seed
	echoes echoes
	epoch  time.Time // all clocks here are durations since
	out    *outbox
	pool   chan *job     // bound QueueMax: what waits for a worker
	wake   chan struct{} // one token: the clocks have something to do
	stats  counters

	// Owned by the reader.
	in inbound

	mu        sync.Mutex // guards all below; never held across I/O or a call out
	began     bool
	closing   bool // no new request is let in
	closed    bool // no new exchange either
	drained   chan struct{}
	sweeping  bool          // a sweep is on the wheel
	armed     time.Duration // when the clocks will look by themselves
	rand      *rand.Rand
	enc       encoder
	peers     *peerTable
	repeats   *repeatTable
	answers   *answerLog
	wheel     *wheel
	exchanges *exchangeTable
	uploads   *transferTable
	downloads *transferTable
	jobs      jobTable
	finished  []uint32 // exchanges whose Done is due
	idle      []Peer   // peers whose Idle is due
}

// New returns an endpoint; nothing starts before Run. The endpoint owns conn.
func New(conn PacketConn, h Handler, o Options) (*Endpoint, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	source := o.Rand
	if source == nil {
		var seed [32]byte
		crand.Read(seed[:]) // never fails [crypto/rand]
		source = rand.NewChaCha8(seed)
	}
	e := &Endpoint{
		conn: conn, h: h, o: o, log: o.Logger, seed: maphash.MakeSeed(), echoes: newEchoes(), epoch: time.Now(),
		out:     newOutbox(conn, o.OutboxMax, o.BatchSize),
		pool:    make(chan *job, o.QueueMax),
		wake:    make(chan struct{}, 1),
		drained: make(chan struct{}),
		armed:   math.MaxInt64,
		rand:    rand.New(source),
		peers:   newPeerTable(), answers: newAnswerLog(o.AnswerBytesMax), wheel: newWheel(),
		exchanges: newExchangeTable(o.ExchangesMax),
	}
	e.repeats = newRepeatTable(e.peers, o.RepeatsMax)
	e.uploads = newTransferTable(e.peers, uploading, o.TransfersMax, o.TransfersPerPeer, o.TransferBytesMax)
	e.downloads = newTransferTable(e.peers, downloading, o.TransfersMax, o.TransfersPerPeer, o.TransferBytesMax)
	return e, nil
}

// now is the time since the endpoint's epoch, on the monotonic clock.
func (e *Endpoint) now() time.Duration { return time.Since(e.epoch) }

// Run serves until ctx ends or the connection fails. Then it lets no request
// in, gives handlers up to Grace to finish and sends their answers, ends all
// exchanges (Stopped), and returns after all its goroutines. It closes the
// connection. An endpoint runs once.
func (e *Endpoint) Run(ctx context.Context) error {
	e.mu.Lock()
	again := e.began
	e.began = true
	e.mu.Unlock()
	if again {
		return errors.New("endpoint: ran already")
	}
	base, cancelHandlers := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelHandlers()
	var workers, clocks, writer sync.WaitGroup
	for range e.o.Workers {
		workers.Go(func() {
			for j := range e.pool {
				e.serve(base, j)
			}
		})
	}
	stopClocks := make(chan struct{})
	clocks.Go(func() { e.runClocks(stopClocks) })
	stopWriter := make(chan struct{})
	writer.Go(func() { e.out.run(stopWriter, &e.stats) })
	failed := make(chan error, 1)
	go func() { failed <- e.read() }()

	var err error
	reading := true
	select {
	case <-ctx.Done():
	case err = <-failed:
		reading = false
	}
	e.drain(cancelHandlers)
	close(stopClocks)
	clocks.Wait()
	close(stopWriter)
	writer.Wait()
	closeErr := e.conn.Close()
	if reading {
		<-failed
	}
	close(e.pool)
	workers.Wait()
	return errors.Join(err, closeErr)
}

// drain lets the requests in the pool finish: by themselves for Grace, then
// with their contexts canceled.
func (e *Endpoint) drain(cancel context.CancelFunc) {
	e.mu.Lock()
	e.closing = true
	e.jobs.signalIfDrained(e)
	e.mu.Unlock()
	grace := time.NewTimer(e.o.Grace)
	defer grace.Stop()
	select {
	case <-e.drained:
		return
	case <-grace.C:
	}
	cancel()
	<-e.drained
}

// heardLocked returns the peer that a datagram came from, making it known, or 0
// when all peers in a full table are busy.
func (e *Endpoint) heardLocked(p Peer, now time.Duration) uint32 {
	k := e.peers.key(p)
	if i := e.peers.find(k); i != 0 {
		e.peers.touch(i, now+e.o.ExchangeLifetime)
		return i
	}
	if e.peers.len() >= e.o.PeersMax {
		if e.peers.oldest == 0 {
			return 0
		}
		e.forgetPeerLocked(e.peers.oldest)
	}
	i := e.peers.add(k, now+e.o.ExchangeLifetime)
	n := e.peers.at(i)
	n.salt, n.mid = e.rand.Uint64(), uint16(e.rand.Uint32()) // [RFC 7252 4.4]
	n.proven = p.Session != 0 || !e.o.BoundLoopback && p.Remote.Addr().Unmap().IsLoopback()
	if !e.sweeping {
		e.sweeping = true
		e.scheduleLocked(now+e.o.ExchangeLifetime, timerSweep, 0)
	}
	return i
}

// forgetPeerLocked drops an unpinned peer and all that is its own. Who waits for
// the end of its transfer is told.
func (e *Endpoint) forgetPeerLocked(i uint32) {
	if p := e.peers.at(i); p.frozen > 0 {
		p.frozen = 0
		e.idleLocked(i)
	}
	e.repeats.dropOf(i)
	for _, t := range []*transferTable{e.uploads, e.downloads} {
		for head := e.peers.at(i).transfers[t.direction]; head != 0; head = e.peers.at(i).transfers[t.direction] {
			e.wheel.remove(t.at(head).timer)
			t.drop(head)
		}
	}
	e.peers.drop(i)
}

// sweepLocked forgets peers that have been quiet for EXCHANGE_LIFETIME, and
// their requests with them.
func (e *Endpoint) sweepLocked(now time.Duration) {
	for i := e.peers.oldest; i != 0 && e.peers.at(i).expires <= now; i = e.peers.oldest {
		e.forgetPeerLocked(i)
	}
	e.repeats.expire(now)
	if e.sweeping = e.peers.len() > 0; !e.sweeping {
		return
	}
	// No sooner than a twentieth of a lifetime, so that a crowd is swept at once.
	next := now + max(e.o.ExchangeLifetime/20, tick)
	if i := e.peers.oldest; i != 0 {
		next = max(next, e.peers.at(i).expires)
	}
	e.scheduleLocked(next, timerSweep, 0)
}

// scheduleLocked sets a timer, and wakes the clocks when it is before what they
// wait for.
func (e *Endpoint) scheduleLocked(at time.Duration, kind timerKind, ref uint32) uint32 {
	if at < e.armed {
		e.wakeClocks()
	}
	return e.wheel.add(at, kind, ref)
}

func (e *Endpoint) wakeClocks() {
	select {
	case e.wake <- struct{}{}:
	default: // a token is there already
	}
}

// origin is what an answer needs to know of its request.
type origin struct {
	peer      uint32
	repeat    uint32 // its memory, if it still is hash's
	hash      uint64
	con       bool
	mid       uint16
	code      codes.Code
	token     Token
	block1    Opt    // the block that the answer acknowledges
	blockSize int    // what Block2 asked for; 0: nothing
	body      uint64 // key of its response body, should it be large
}

// rememberedLocked returns the memory of a request, unless it was pushed out.
func (e *Endpoint) rememberedLocked(g *origin) *repeat {
	if r := e.repeats.slab.at(g.repeat); g.repeat != 0 && r.hash == g.hash {
		return r
	}
	return nil
}

// nextIDLocked returns a message id for a peer.
func (e *Endpoint) nextIDLocked(i uint32) uint16 {
	p := e.peers.at(i)
	p.mid++
	return p.mid
}

// roomLocked returns how many bytes may go to a peer [RFC 9175 2.4].
func (e *Endpoint) roomLocked(i uint32) int {
	const factor = 3
	p := e.peers.at(i)
	if p.proven {
		return packetBytesMax
	}
	return int(min(max(factor*int64(p.bytesIn)-int64(p.bytesOut), 0), packetBytesMax))
}

// postLocked hands n bytes of k to the writer, counted.
func (e *Endpoint) postLocked(i uint32, k *packet, n int) {
	p := e.peers.at(i)
	if !p.proven {
		p.bytesOut = uint32(min(uint64(p.bytesOut)+uint64(n), math.MaxUint32))
	}
	k.peer, k.n = e.peers.peer(&p.key), n
	e.post(k)
}

// post hands a packet to the writer; it is lost when the outbox is full, as it
// would be in the socket.
func (e *Endpoint) post(k *packet) {
	if !e.out.put(k) {
		e.stats.Overflowed.Add(1)
	}
}

// emptyLocked sends an empty ACK or RST to a peer.
func (e *Endpoint) emptyLocked(i uint32, typ message.Type, mid uint16) {
	if e.roomLocked(i) < emptyBytes {
		e.stats.Throttled.Add(1)
		return
	}
	k := e.out.packet()
	e.postLocked(i, k, encodeEmpty(k.buf[:], typ, mid))
}

// panicked logs what would have ended the process.
func (e *Endpoint) panicked(where string, v any, stack []byte) {
	e.stats.Panics.Add(1)
	e.log.Error("panic", "in", where, "value", fmt.Sprint(v), "stack", string(stack))
}
