package coap

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// How fast one device may ask for what is costly. Hundreds of times what a busy
// device needs: a bound for one that is broken, or that somebody drives.
const (
	deviceRate  = 50 // requests a second
	deviceBurst = 200
	paceMax     = 1 << 16 // devices that are told apart, twice
)

// pace bounds how fast each device may ask. Who was idle long enough to have its
// whole burst again is forgotten, and when there are too many, everybody.
type pace struct {
	each    rate.Limit
	burst   int
	keep    time.Duration // an idle one has its burst again after that
	limited atomic.Uint64

	mu     sync.Mutex
	young  map[string]*rate.Limiter // asked since turned
	old    map[string]*rate.Limiter // asked before
	turned time.Time
}

// newPace makes one; a negative rate is no bound.
func newPace(perSecond, burst int) *pace {
	if perSecond < 0 {
		return &pace{each: rate.Inf}
	}
	return &pace{
		each: rate.Limit(perSecond), burst: burst, young: make(map[string]*rate.Limiter),
		keep: time.Duration(math.Ceil(float64(burst) / float64(perSecond) * float64(time.Second))),
	}
}

// ask refuses a device that asks too fast. What was refused does not count.
func (p *pace) ask(who string) error {
	if p.each == rate.Inf || p.limiter(who).Allow() {
		return nil
	}
	p.limited.Add(1)
	return &command.Error{Code: command.CodeTooMany, Msg: "you ask too fast", RetryAfter: time.Second}
}

// limiter is that of a device.
func (p *pace) limiter(who string) *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); len(p.young) >= paceMax || now.Sub(p.turned) >= p.keep {
		p.old, p.young, p.turned = p.young, make(map[string]*rate.Limiter), now
	}
	l := p.young[who]
	if l == nil {
		if l = p.old[who]; l == nil {
			l = rate.NewLimiter(p.each, p.burst)
		}
		p.young[who] = l
	}
	return l
}

// paced names who makes a costly request: the identity that it has shown, else
// the name that it gives itself, else the registration that it names.
func paced(r *endpoint.Request, who device.Speaker) string {
	if who.Identity != "" {
		return "identity " + who.Identity
	}
	if r.Path[0] == "c" && len(r.Path) > 1 {
		return "name " + r.Path[1]
	}
	for _, q := range r.Query {
		if name, said := strings.CutPrefix(q, "ep="); said {
			return "name " + name
		}
	}
	return strings.Join(r.Path, "/")
}
