package endpoint

import (
	"context"
	"sync"
	"time"
)

// requestContext is a context with a deadline that costs nothing until somebody
// waits on it: most handlers are done before they would.
type requestContext struct {
	parent   context.Context
	deadline time.Time

	mu     sync.Mutex
	ended  bool
	inner  context.Context
	cancel context.CancelFunc
}

func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, true }
func (c *requestContext) Value(key any) any           { return c.parent.Value(key) }
func (c *requestContext) Done() <-chan struct{}       { return c.waitable().Done() }

func (c *requestContext) Err() error {
	c.mu.Lock()
	inner, ended := c.inner, c.ended
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case c.parent.Err() != nil:
		return c.parent.Err()
	case ended:
		return context.Canceled
	case !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// waitable returns the context that has a timer, making it at first need.
func (c *requestContext) waitable() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.parent, c.deadline)
		if c.ended {
			c.cancel()
		}
	}
	return c.inner
}

// end cancels the context after its request.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
