package sqlite

import (
	"encoding/binary"
	"encoding/json"
	"strings"

	"behest/command"
)

// The column `events` of the log is the events of one commit, one after the
// other. Each is
//
//	flags      four bits for what follows, and above them the type's code
//	type       text, when the code is 0
//	at         milliseconds after the row's time, either way
//	actor      text, and behind a zero byte where he was, if that is known
//	command    its row, less that of the event before
//	device     its handle
//	data       JSON
const (
	eventActor = iota
	eventCommand
	eventDevice
	eventData
	eventCode // the first bit of the code
)

// actorEnd is in no user's id.
const actorEnd = "\x00"

// eventTypes are the types that have a code: their place here. A place is
// never given to another type. What is not here is written in full.
var eventTypes = [...]command.EventType{
	1: "command.created", 2: "command.ended", 3: "command.settled",
	4: "device.registered", 5: "device.deregistered", 6: "device.observing", 7: "device.unreachable",
	8: "device.two_devices", 9: "device.reset", 10: "device.store_rolled_back", 11: "device.last_refused",
	12: "execution.report_orphaned", 13: "execution.progress", 14: "execution.report_noted",
	15: "execution.report_contradicted", 16: "execution.closed_unknown",
	17: "execution.awaiting_approval", 18: "execution.scheduled", 19: "execution.queued", 20: "execution.sent",
	21: "execution.delivered", 22: "execution.running", 23: "execution.canceling", 24: "execution.succeeded",
	25: "execution.failed", 26: "execution.rejected", 27: "execution.denied", 28: "execution.canceled",
	29: "execution.expired", 30: "execution.timed_out", 31: "device.edited", 32: "device.removed",
	33: "type.declared", 34: "type.retired",
}

// eventCodes is the inverse of eventTypes.
var eventCodes = func() map[command.EventType]uint64 {
	m := make(map[command.EventType]uint64, len(eventTypes))
	for code, name := range eventTypes {
		if name != "" {
			m[name] = uint64(code)
		}
	}
	return m
}()

// appendEvents packs the events of a row that is sealed at at.
func appendEvents(b []byte, at int64, events []command.Event) []byte {
	var before int64
	for i := range events {
		e := &events[i]
		code := eventCodes[e.Type]
		flags := code << eventCode
		for bit, set := range [...]bool{eventActor: e.Actor != "", eventCommand: e.CommandN != 0, eventDevice: e.Device != 0, eventData: e.Data != nil} {
			if set {
				flags |= 1 << bit
			}
		}
		b = binary.AppendUvarint(b, flags)
		if code == 0 {
			b = appendBytes(b, e.Type)
		}
		b = binary.AppendVarint(b, e.At.UnixMilli()-at)
		if e.Actor != "" {
			who := e.Actor
			if e.From != "" {
				who += actorEnd + e.From
			}
			b = appendBytes(b, who)
		}
		if e.CommandN != 0 {
			b = binary.AppendVarint(b, e.CommandN-before)
			before = e.CommandN
		}
		if e.Device != 0 {
			b = binary.AppendVarint(b, e.Device)
		}
		if e.Data != nil {
			b = appendBytes(b, e.Data)
		}
	}
	return b
}

// unpackEvents is the inverse, with the numbers filled in that the row gives.
func unpackEvents(r *sealed) ([]command.Event, error) {
	u := unpacker{b: r.events}
	var events []command.Event
	var before int64
	for len(u.b) > 0 && !u.bad {
		u.flags = u.nextUint()
		var e command.Event
		switch code := u.flags >> eventCode; {
		case code == 0:
			e.Type = command.EventType(u.nextBytes())
		case code < uint64(len(eventTypes)):
			e.Type = eventTypes[code]
		default:
			u.bad = true
		}
		e.At = fromMillis(r.at + u.nextInt())
		var where bool
		e.Actor, e.From, where = strings.Cut(u.text(eventActor), actorEnd)
		u.bad = u.bad || where && (e.Actor == "" || e.From == "") // nobody is somewhere, and nowhere is not told
		if u.has(eventCommand) {
			before += u.nextInt()
			e.CommandN = before
		}
		e.Device = u.int(eventDevice)
		if u.has(eventData) {
			e.Data = json.RawMessage(u.bytes(eventData))
		}
		e.Epoch, e.N = r.epoch, r.n+int64(len(events))
		events = append(events, e)
	}
	if int64(len(events)) != r.count {
		u.bad = true
	}
	return events, u.end()
}
