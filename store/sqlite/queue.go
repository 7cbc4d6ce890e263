package sqlite

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"behest/command/ledger"
)

// laneShare is how many of each lane have a place in every group, so that a
// busy lane cannot starve those after it.
const laneShare = 8

// member is one unit of work on its way through a commit.
type member struct {
	f    func(ledger.Tx) error
	lane ledger.Lane
	from string // where it was asked for
	at   time.Time
	done chan error // has room for the answer

	taken atomic.Bool // by the writer, or by the caller who no longer wants it
	err   error       // the writer's: what f came to
}

// queue is what waits for the writer.
type queue struct {
	// Set once.
	groupMax  int
	laneMax   int
	rideAlong time.Duration
	wake      chan struct{} // one token: look again

	mu     sync.Mutex
	lanes  [ledger.LaneEnd][]*member // oldest first
	closed error                     // why nothing more is accepted
}

func newQueue(o Options) *queue {
	return &queue{groupMax: o.GroupMax, laneMax: o.LaneMax, rideAlong: o.RideAlong, wake: make(chan struct{}, 1)}
}

// put accepts m, or says why not.
func (q *queue) put(m *member) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	if len(q.lanes[m.lane]) >= q.laneMax {
		return unavailable(retryAfter, nil, "%d requests of this kind wait for the store already", q.laneMax)
	}
	q.lanes[m.lane] = append(q.lanes[m.lane], m)
	q.nudge()
	return nil
}

func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// take waits for work and answers with a group of it, in the order in which
// it is to be done. It answers with nothing once the queue is closed and
// empty.
func (q *queue) take(ctx context.Context, group []*member) []*member {
	done := ctx.Done()
	for {
		var wait time.Duration
		group, wait = q.pick(group[:0])
		if len(group) > 0 || wait < 0 {
			return group
		}
		var later <-chan time.Time
		if wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-q.wake:
		case <-later:
		case <-done:
			q.close(shutDown())
			done = nil
		}
	}
}

// pick fills a group. When there is none yet, it says how long to wait: 0
// for a nudge, and below 0 for nothing more.
func (q *queue) pick(group []*member) ([]*member, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := 0
	for i := range q.lanes {
		waiting += len(q.lanes[i])
	}
	rides := q.lanes[ledger.Deliveries]
	switch {
	case waiting == 0 && q.closed != nil:
		return group, -1
	case waiting == 0:
		return group, 0
	case waiting == len(rides) && waiting < q.groupMax && q.closed == nil:
		if left := q.rideAlong - time.Since(rides[0].at); left > 0 {
			return group, left
		}
	}
	for _, share := range []int{laneShare, q.groupMax} {
		for i := range q.lanes {
			n := min(share, q.groupMax-len(group), len(q.lanes[i]))
			group = append(group, q.lanes[i][:n]...)
			q.lanes[i] = q.lanes[i][n:]
		}
	}
	return group, 0
}

// putBack returns members that the group had no time for, in the order in
// which they were taken.
func (q *queue) putBack(group []*member) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var back [ledger.LaneEnd][]*member
	for _, m := range group {
		back[m.lane] = append(back[m.lane], m)
	}
	for i := range back {
		if len(back[i]) > 0 {
			q.lanes[i] = append(back[i], q.lanes[i]...)
		}
	}
	q.nudge()
}

// close accepts nothing more, for the reason of the first who closed.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = why
	}
	q.nudge()
}

// refuse answers what still waits when nobody will do it.
func (q *queue) refuse() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		for _, m := range q.lanes[i] {
			m.done <- q.closed
		}
		q.lanes[i] = nil
	}
}

// length is how many wait, by lane.
func (q *queue) length() (n [ledger.LaneEnd]int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		n[i] = len(q.lanes[i])
	}
	return n
}

func shutDown() error { return unavailable(retryAfter, nil, "the server is shutting down") }
