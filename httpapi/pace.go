package httpapi

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"behest/command"
)

// How fast who is not known by a token may ask, by address: what is public, and
// what turns out to be nobody's token. Whole networks of IPv6 are one address.
const (
	strangerRate   = 100 // requests a second
	strangerBurst  = 300
	strangerPrefix = 64 // bits of IPv6 that one subscriber has [RFC 6177]
	burstSeconds   = 2  // of its rate a user may use at once
	paceMax        = 10_000
)

// pace bounds how fast each of many may ask. Who was idle long enough to have
// his whole burst again is forgotten, and when there are too many, everybody.
type pace struct {
	each  rate.Limit // rate.Inf: no bound
	burst int
	keep  time.Duration // an idle one has its burst again after that
	now   func() time.Time

	mu     sync.Mutex
	young  map[string]*rate.Limiter // asked since turned
	old    map[string]*rate.Limiter // asked before
	turned time.Time
}

// newPace makes one; a rate of 0 is none.
func newPace(perSecond, burst int, now func() time.Time) *pace {
	if perSecond == 0 {
		return &pace{each: rate.Inf}
	}
	return &pace{
		each: rate.Limit(perSecond), burst: burst, now: now, young: make(map[string]*rate.Limiter),
		keep: time.Duration(burst) * time.Second / time.Duration(perSecond),
	}
}

// ask refuses who asks too fast. What was refused does not count.
func (p *pace) ask(who string) error {
	if p.each == rate.Inf {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if len(p.young) >= paceMax || now.Sub(p.turned) >= p.keep {
		p.old, p.young, p.turned = p.young, make(map[string]*rate.Limiter), now
	}
	l := p.young[who]
	if l == nil {
		if l = p.old[who]; l == nil {
			l = rate.NewLimiter(p.each, p.burst)
		}
		p.young[who] = l
	}
	r := l.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return &command.Error{Code: command.CodeTooMany, Msg: "you ask too fast", RetryAfter: wait}
	}
	return nil
}

// neighbourhood is the part of an address that has a pace of its own.
func neighbourhood(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(strangerPrefix) // of an IPv6 address: it fits
	return p.String()
}
