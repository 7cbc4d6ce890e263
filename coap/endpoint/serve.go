package endpoint

import (
	"context"
	"runtime/debug"
	"strings"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// segmentsInline is how many path and query segments of a request need no
// allocation of their own.
const segmentsInline = 8

// job is a request on its way through the pool.
type job struct {
	req       Request
	g         origin
	timer     uint32 // until the empty ACK goes out; 0: not running
	slot      uint32 // in jobTable
	bodyBytes int    // of its payload, which the handler may change
	acked     bool   // the empty ACK is out: the answer will be separate
	segments  [segmentsInline]string
}

// jobTable finds the job of a timer.
type jobTable struct {
	slots []*job
	free  []uint32
	n     int
	bytes int // of their bodies
}

func (t *jobTable) add(j *job) {
	if len(t.free) == 0 {
		t.free = append(t.free, uint32(len(t.slots)))
		t.slots = append(t.slots, nil)
	}
	j.slot = t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.slots[j.slot] = j
	t.n++
	j.bodyBytes = len(j.req.Payload)
	t.bytes += j.bodyBytes
}

func (t *jobTable) remove(j *job) {
	t.slots[j.slot] = nil
	t.free = append(t.free, j.slot)
	t.n--
	t.bytes -= j.bodyBytes
}

// signalIfDrained tells drain when the last job is done.
func (t *jobTable) signalIfDrained(e *Endpoint) {
	if e.closing && t.n == 0 {
		select {
		case <-e.drained:
		default:
			close(e.drained)
		}
	}
}

// newJobLocked copies what the handler may keep out of the datagram.
func (e *Endpoint) newJobLocked(g *origin, payload []byte) *job {
	m := &e.in
	j := &job{g: *g}
	r := &j.req
	r.Peer = e.peers.peer(&e.peers.at(g.peer).key) // as Idle will name it
	r.Confirmable, r.Code, r.Token = g.con, m.code, m.token
	r.Format, r.Accept, r.Observe = m.format, m.accept, m.observe
	r.IfMatch, r.IfNoneMatch, r.BlockSize, r.Payload = m.ifMatch, m.ifNoneMatch, g.blockSize, payload
	var text strings.Builder
	size := 0
	for _, o := range m.options {
		if o.ID == message.URIPath || o.ID == message.URIQuery {
			size += len(o.Value)
		}
	}
	text.Grow(size)
	segments := j.segments[:0]
	paths := 0
	for _, o := range m.options {
		if o.ID != message.URIPath && o.ID != message.URIQuery {
			continue
		}
		at := text.Len()
		text.Write(o.Value)
		segments = append(segments, text.String()[at:])
		if o.ID == message.URIPath {
			paths++
		}
	}
	r.Path, r.Query = segments[:paths:paths], segments[paths:]
	return j
}

// admitLocked gives a whole request to the pool, or refuses it.
func (e *Endpoint) admitLocked(g *origin, body []byte, now time.Duration) {
	p := e.peers.at(g.peer)
	if int(p.running) >= e.o.RequestsPerPeer || len(e.pool) == cap(e.pool) || e.jobs.bytes+len(body) > e.o.TransferBytesMax {
		e.overloadLocked(g, now)
		return
	}
	if _, blockwise := g.block1.Get(); !blockwise {
		body = append([]byte(nil), body...) // the buffer is the reader's
	}
	j := e.newJobLocked(g, body)
	if limit := e.bodyLimit(&j.req); len(body) > limit {
		e.answerLocked(g, &outbound{code: codes.RequestEntityTooLarge, size1: Some(uint32(limit))})
		return
	}
	p.running++
	e.peers.pin(g.peer)
	e.jobs.add(j)
	if g.con {
		j.timer = e.scheduleLocked(now+e.o.ProcessingDelay, timerAnswer, j.slot)
	}
	e.stats.Requests.Add(1)
	e.pool <- j // there is room: only the reader sends
}

// overloadLocked refuses a request for now. It is not remembered: a repeat may
// find room.
func (e *Endpoint) overloadLocked(g *origin, now time.Duration) {
	e.stats.Refused.Add(1)
	e.answerLocked(g, e.unavailable())
	if e.rememberedLocked(g) != nil {
		e.repeats.drop(g.repeat)
	}
}

func (e *Endpoint) unavailable() *outbound {
	return &outbound{code: codes.ServiceUnavailable, maxAge: Some(uint32((e.o.OverloadMaxAge + time.Second - 1) / time.Second))}
}

// bodyLimit returns the largest body of a request with this head.
func (e *Endpoint) bodyLimit(head *Request) int {
	if e.o.BodyLimit == nil {
		return e.o.BodyMax
	}
	payload := head.Payload
	head.Payload = nil
	defer func() { head.Payload = payload }()
	return max(e.o.BodyLimit(head), 0)
}

// serve runs one request in a worker.
func (e *Endpoint) serve(base context.Context, j *job) {
	ctx := &requestContext{parent: base, deadline: time.Now().Add(e.o.HandlerTimeout)}
	r := e.callHandler(ctx, &j.req)
	ctx.end()

	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	e.wheel.remove(j.timer)
	e.jobs.remove(j)
	e.finishJobLocked(j, &r, now)
	e.peers.at(j.g.peer).running--
	e.peers.unpin(j.g.peer, now+e.o.ExchangeLifetime)
	e.jobs.signalIfDrained(e)
}

// callHandler calls Serve; a panic is 5.00.
func (e *Endpoint) callHandler(ctx context.Context, r *Request) (answer Response) {
	defer func() {
		if v := recover(); v != nil {
			e.panicked("handler", v, debug.Stack())
			answer = Response{Code: codes.InternalServerError}
		}
	}()
	answer = e.h.Serve(ctx, r)
	if answer.Separate == nil && (isRequest(answer.Code) || answer.Code == codes.Empty) {
		e.log.Error("handler gave no response code", "code", int(answer.Code), "path", r.Path)
		answer = Response{Code: codes.InternalServerError}
	}
	return answer
}

// finishJobLocked sends the handler's answer on the way that is still open.
func (e *Endpoint) finishJobLocked(j *job, r *Response, now time.Duration) {
	c := r.Separate
	if c == nil && !j.acked {
		e.respondLocked(&j.g, r, now)
		return
	}
	if c == nil {
		c = &lateAnswer{*r}
	}
	if !e.separateLocked(&j.g, c, now) {
		e.stats.Refused.Add(1)
		if !j.acked {
			e.answerLocked(&j.g, e.unavailable())
		}
		return
	}
	if !j.acked {
		e.ackNowLocked(j)
	}
}

// ackNowLocked sends the empty ACK of a CON whose answer takes longer
// [RFC 7252 5.2.2].
func (e *Endpoint) ackNowLocked(j *job) {
	j.acked, j.timer = true, 0
	if r := e.rememberedLocked(&j.g); r != nil {
		r.state = repeatAcked
	}
	if j.g.con {
		e.emptyLocked(j.g.peer, message.Acknowledgement, j.g.mid)
	}
}

// respondLocked answers a request with a response, in blocks when it is large.
func (e *Endpoint) respondLocked(g *origin, r *Response, now time.Duration) {
	out := outbound{typ: message.Acknowledgement, mid: g.mid, token: g.token, block1: g.block1}
	if !g.con {
		out.typ, out.mid = message.NonConfirmable, e.nextIDLocked(g.peer) // [RFC 7252 5.2.3]
	}
	k := e.out.packet()
	n, err := e.composeLocked(&out, r, g.peer, g.body, g.blockSize, k, now)
	if err != nil {
		e.log.Error("response does not encode", "code", r.Code, "err", err)
		e.answerLocked(g, &outbound{code: codes.InternalServerError})
		return
	}
	if n == 0 {
		e.answerLocked(g, e.unavailable())
		return
	}
	e.dispatchLocked(g, k, n)
}

// answerLocked answers a request with a message of the endpoint's own, which
// always is one that encodes.
func (e *Endpoint) answerLocked(g *origin, out *outbound) {
	out.typ, out.mid, out.token = message.Acknowledgement, g.mid, g.token
	if !g.con {
		out.typ, out.mid = message.NonConfirmable, e.nextIDLocked(g.peer)
	}
	k := e.out.packet()
	n, err := e.enc.encode(out, k.buf[:])
	if err != nil {
		panic(err)
	}
	if n > e.roomLocked(g.peer) {
		e.stats.Throttled.Add(1)
		e.out.pool.Put(k)
		return
	}
	e.dispatchLocked(g, k, n)
}

// dispatchLocked sends an answer, and keeps it for repeats of the request.
func (e *Endpoint) dispatchLocked(g *origin, k *packet, n int) {
	if r := e.rememberedLocked(g); r != nil {
		r.state, r.answer = repeatAnswered, answerRef{}
		if n <= e.o.AnswerMax {
			r.answer = e.answers.put(k.buf[:n])
		}
	}
	e.postLocked(g.peer, k, n)
}

// lateAnswer is an answer that came after the empty ACK.
type lateAnswer struct{ r Response }

func (a *lateAnswer) Build(int, time.Time) (Response, bool) { return a.r, true }
func (a *lateAnswer) Done(Outcome, int)                     {}
