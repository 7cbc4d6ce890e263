package device

import (
	"fmt"
	"strings"
	"time"

	"behest/firmware-sim/exchange"
	"behest/firmware-sim/message"
)

// session is the registration.
type session struct {
	handle []string  // Location-Path; nil: not registered
	due    time.Time // to register, or to refresh
	known  time.Time // when the server last knew us
	retry  backoff
}

// checkEvery bounds how often an answer that puts the registration in doubt
// leads to a refresh.
const checkEvery = 30 * time.Second

// check brings the next refresh forward.
func (s *session) check(now time.Time) {
	if soon := s.known.Add(checkEvery); soon.Before(s.due) {
		s.due = soon
	}
	if s.due.Before(now) {
		s.due = now
	}
}

// purpose is what a request is for.
type purpose uint8

const (
	registering purpose = iota + 1
	refreshing
	observing
	fetching
	reporting
)

// String is the word for people.
func (p purpose) String() string {
	return [...]string{"nothing", "registration", "refresh", "observation", "list", "report"}[p]
}

// flight is the request under way.
type flight struct {
	purpose  purpose
	delivery *delivery // of a report
	fetch    *fetch    // of a later block
}

const (
	mediaLinkFormat = 40
	mediaCBOR       = 60
	// retryAfter is what a 4.29 or 5.03 without Max-Age means [RFC 7252 5.10.5].
	retryAfter = 60 * time.Second
	// refreshAfter is the part of the lifetime after which the registration is
	// refreshed: enough is left for a request and its repeats.
	refreshAfter = 3.0 / 4
)

// request starts what is due, the most needed first.
func (d *Device) request(now time.Time) {
	switch report := d.outbox.ready(now); {
	case d.session.handle == nil && !now.Before(d.session.due):
		d.register(now)
	case d.session.handle == nil: // nothing is heard from who is not registered
	case !now.Before(d.session.due):
		d.start(now, flight{purpose: refreshing}, exchange.Request{Code: message.POST, Options: path(d.session.handle...)})
	case d.watch.fetch != nil:
		d.fetchMore(now)
	case report != nil:
		d.report(now, report)
	case !now.Before(d.watch.due):
		options := append(path("c", d.options.Name), message.Uint(message.Observe, 0))
		d.start(now, flight{purpose: observing}, exchange.Request{Code: message.GET, Options: options, Token: d.watch.token})
	}
}

func (d *Device) start(now time.Time, f flight, r exchange.Request) {
	d.flight = f
	d.endpoint.Start(now, r)
}

func (d *Device) register(now time.Time) {
	options := append(path("rd"),
		message.Text(message.URIQuery, "ep="+d.options.Name),
		message.Text(message.URIQuery, fmt.Sprintf("lt=%d", d.options.Lifetime/time.Second)),
		message.Text(message.URIQuery, fmt.Sprintf("last=%d", d.options.Store.Memory().Last)))
	if d.options.Window > 0 {
		options = append(options, message.Text(message.URIQuery, fmt.Sprintf("w=%d", d.options.Window)))
	}
	d.start(now, flight{purpose: registering}, exchange.Request{Code: message.POST, Options: options})
}

// happened takes what the message layer says.
func (d *Device) happened(now time.Time, e exchange.Event) {
	f := d.flight
	switch e.Kind {
	case exchange.Answered:
		d.flight = flight{}
		d.answered(now, f, e.Message)
	case exchange.Notified:
		d.notified(now, e.Message)
	case exchange.Repeated:
		d.tell(Event{Kind: Waiting, Seq: f.seq(), Text: fmt.Sprintf("%v: no answer from %v yet, sent again", f.purpose, d.options.Server)})
	case exchange.Lost, exchange.Reset:
		d.flight = flight{}
		wait := d.postpone(now, f, d.random.Float64())
		why := "no answer"
		if e.Kind == exchange.Reset {
			why = "reset"
		}
		d.tell(Event{Kind: Unheard, Seq: f.seq(), Text: fmt.Sprintf("%v: %s from %v, again in %v", f.purpose, why, d.options.Server, rounded(wait))})
	}
}

// answered takes the response to a request.
func (d *Device) answered(now time.Time, f flight, m message.Message) {
	switch {
	case f.purpose == reporting:
		d.reportAnswered(now, f.delivery, m)
	case f.purpose == registering && m.Code == message.Created:
		d.registered(now, m.Options.Strings(message.LocationPath))
	case f.purpose == refreshing && m.Code == message.Changed:
		d.tell(Event{Kind: Refreshed, Text: "handle=" + strings.Join(d.session.handle, "/")})
		d.registered(now, d.session.handle)
	case f.purpose == observing && m.Code == message.Content:
		d.observed(now, m)
	case f.purpose == fetching && m.Code == message.Content:
		d.fetched(now, f.fetch, m)
	default:
		d.refused(now, f, m)
	}
}

// registered notes a registration or its refresh. The observation is asked for
// anew with the same token, so that it lives as long.
func (d *Device) registered(now time.Time, handle []string) {
	if d.session.handle == nil {
		d.tell(Event{Kind: Registered, Text: fmt.Sprintf("handle=%s lt=%d last=%d",
			strings.Join(handle, "/"), d.options.Lifetime/time.Second, d.options.Store.Memory().Last)})
	}
	d.session.handle, d.session.retry, d.session.known = handle, backoff{}, now
	d.session.due = now.Add(time.Duration(float64(d.options.Lifetime) * refreshAfter))
	d.watch.due = now
}

// refused takes an error that is worth another try.
func (d *Device) refused(now time.Time, f flight, m message.Message) {
	wait := d.postpone(now, f, d.random.Float64())
	if m.Code == message.NotFound && f.purpose != registering { // the server does not know us: say who we are
		d.session.handle, d.session.due = nil, now.Add(wait)
	}
	if m.Code == message.TooManyRequests || m.Code == message.Unavailable {
		wait = maxAge(m)
		d.delay(now.Add(wait), f)
	}
	d.tell(Event{Kind: Refused, Code: m.Code.String(), Seq: f.seq(), Text: fmt.Sprintf("%v: %sagain in %v", f.purpose, diagnostic(m), rounded(wait))})
}

// postpone puts a request off by its back-off.
func (d *Device) postpone(now time.Time, f flight, jitter float64) time.Duration {
	retry := &d.session.retry
	switch f.purpose {
	case observing, fetching:
		retry = &d.watch.retry
	case reporting:
		retry = &f.delivery.retry
	}
	wait := retry.next(jitter)
	d.delay(now.Add(wait), f)
	return wait
}

// delay makes a request due later.
func (d *Device) delay(until time.Time, f flight) {
	switch f.purpose {
	case registering, refreshing:
		d.session.due = until
	case observing, fetching:
		d.watch.due, d.watch.fetch = until, nil
	case reporting:
		f.delivery.notBefore = until
	}
}

// seq is the command that a request is about.
func (f flight) seq() uint32 {
	if f.delivery == nil {
		return 0
	}
	return f.delivery.seq
}

// path makes the options of a request path.
func path(segments ...string) message.Options {
	var options message.Options
	for _, segment := range segments {
		options = append(options, message.Text(message.URIPath, segment))
	}
	return options
}

// maxAge is when the server wants to hear again.
func maxAge(m message.Message) time.Duration {
	if seconds, ok := m.Options.Uint(message.MaxAge); ok {
		return time.Duration(seconds) * time.Second
	}
	return retryAfter
}

// diagnosticBytesMax is what a line for people shows of a diagnostic payload.
const diagnosticBytesMax = 64

// diagnostic shows the text that came with an error [RFC 7252 5.5.2].
func diagnostic(m message.Message) string {
	if len(m.Payload) == 0 {
		return ""
	}
	return fmt.Sprintf("%q, ", m.Payload[:min(len(m.Payload), diagnosticBytesMax)])
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// backoff doubles a wait, from seconds to minutes.
type backoff struct{ wait time.Duration }

const (
	backoffMin = 2 * time.Second // as long as a message layer waits for an ACK
	backoffMax = 2 * time.Minute // a server that is back finds its devices soon
)

// next is the next wait, with up to half as much again.
func (b *backoff) next(jitter float64) time.Duration {
	b.wait = min(max(2*b.wait, backoffMin), backoffMax)
	return b.wait + time.Duration(jitter*float64(b.wait)/2)
}
