package device

import (
	"fmt"
	"time"

	"behest/firmware-sim/exchange"
	"behest/firmware-sim/message"
	"behest/firmware-sim/wire"
)

// watch is the observation, and the newest list that it showed.
type watch struct {
	token  []byte
	active bool
	number uint32 // of the newest notification [RFC 7641 3.4]
	at     time.Time
	due    time.Time // to observe, again or anew
	retry  backoff

	fetch *fetch // a list that comes in blocks
	list  List
	seen  map[uint32]time.Time // when each listed seq first came
}

// fetch is a list under way.
type fetch struct {
	body     *exchange.Body
	received time.Time // of its first block: seconds count from there
}

const (
	// numberHalf is half of the numbers that Observe has, and orderWindow how
	// long they can be compared [RFC 7641 3.4].
	numberHalf  = 1 << 23
	orderWindow = 128 * time.Second
	// staleSlack is waited beyond Max-Age before asking again [RFC 7641 3.3.1].
	staleSlack = 10 * time.Second
	// pollEvery is how often a list is asked for when the server does not let
	// it be observed.
	pollEvery = 30 * time.Second
)

// observed takes the answer to an observe request: the list as it is, whatever
// its number, since it was asked for.
func (d *Device) observed(now time.Time, m message.Message) {
	d.watch.retry = backoff{}
	number, ok := m.Options.Uint(message.Observe)
	if ok && !d.watch.active {
		d.tell(Event{Kind: Observing, Text: fmt.Sprintf("path=/c/%s", d.options.Name)})
	}
	d.watch.active = ok
	d.watch.number, d.watch.at = number, now
	d.watch.due = now.Add(pollEvery)
	if ok {
		d.watch.due = now.Add(maxAge(m) + staleSlack)
	}
	d.arrived(now, m)
}

// notified takes a notification. One that was overtaken says nothing new.
func (d *Device) notified(now time.Time, m message.Message) {
	number, ok := m.Options.Uint(message.Observe)
	if m.Code != message.Content || !ok { // the observation is over [RFC 7641 4.2]
		d.watch.active, d.watch.due = false, now
		d.tell(Event{Kind: Refused, Code: m.Code.String(), Text: "observation: ended by the server"})
		return
	}
	if d.watch.active && !newer(d.watch.number, number, now.Sub(d.watch.at)) {
		return
	}
	d.watch.number, d.watch.at = number, now
	d.watch.due = now.Add(maxAge(m) + staleSlack)
	d.arrived(now, m)
}

// newer says whether a notification is newer than the one before [RFC 7641 3.4].
func newer(before, number uint32, since time.Duration) bool {
	return (before < number && number-before < numberHalf) ||
		(before > number && before-number > numberHalf) || since > orderWindow
}

// arrived takes a list, or the first block of one.
func (d *Device) arrived(now time.Time, m message.Message) {
	body, err := exchange.NewBody(m)
	if err != nil {
		d.tell(Event{Kind: Malformed, Text: err.Error()})
		return
	}
	d.watch.fetch = &fetch{body: body, received: now}
	d.whole(now)
}

// fetchMore asks for the next block, without Observe: a list is one body,
// however its start came [RFC 7959 3.4].
func (d *Device) fetchMore(now time.Time) {
	block, _ := d.watch.fetch.body.Next()
	options := append(path("c", d.options.Name), block.Option(message.Block2))
	d.start(now, flight{purpose: fetching, fetch: d.watch.fetch}, exchange.Request{Code: message.GET, Options: options})
}

// fetched takes a later block, unless a newer list has begun meanwhile.
func (d *Device) fetched(now time.Time, of *fetch, m message.Message) {
	if of != d.watch.fetch {
		return
	}
	if err := d.watch.fetch.body.Add(m); err != nil {
		wait := d.postpone(now, flight{purpose: fetching}, d.random.Float64())
		d.tell(Event{Kind: Refused, Code: m.Code.String(), Text: fmt.Sprintf("list: %v, again in %v", err, rounded(wait))})
		return
	}
	d.whole(now)
}

// whole takes the list once all of it is there.
func (d *Device) whole(now time.Time) {
	f := d.watch.fetch
	if _, more := f.body.Next(); more {
		return
	}
	d.watch.fetch = nil
	entries, err := wire.DecodeList(f.body.Bytes())
	if err != nil {
		d.tell(Event{Kind: Malformed, Text: "list: " + err.Error()})
		return
	}
	d.watch.list = List{Entries: entries, Received: f.received}
	d.tell(Event{Kind: Listed, List: entries})
	seen := make(map[uint32]time.Time, len(entries))
	for _, e := range entries {
		seen[e.Seq] = f.received
		if before, ok := d.watch.seen[e.Seq]; ok {
			seen[e.Seq] = before
		}
	}
	d.watch.seen = seen
	for seq, j := range d.jobs { // who is silent ends when nobody asks any more
		if _, listed := seen[seq]; !listed && j.mute() {
			delete(d.jobs, seq)
		}
	}
	d.decide(now, true)
}
