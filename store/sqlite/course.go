package sqlite

import (
	"encoding/binary"
	"time"

	"behest/command"
)

// The column `course` is how an execution went, as far as no query asks:
//
//	cause, attempts           numbers
//	approved, queued, sent, delivered, started, reported, cancel acked, ended,
//	due                       milliseconds after the time before it, the
//	                          first after the command's creation
//	params                    bytes
const (
	courseLate = iota
	courseCause
	courseAttempts
	courseTimes  // the first of nine
	courseParams = courseTimes + 9
	courseEnd    = courseParams + 1
)

// timesOf lists the times of x in the order of the column.
func timesOf(x *command.Execution) [9]*time.Time {
	return [9]*time.Time{&x.ApprovedAt, &x.QueuedAt, &x.SentAt, &x.DeliveredAt,
		&x.StartedAt, &x.ReportedAt, &x.CancelAckedAt, &x.EndedAt, &x.DueAt}
}

// appendCourse packs x, whose command is there.
func appendCourse(b []byte, x *command.Execution) []byte {
	var scratch [64]byte
	p := packer{body: scratch[:0]}
	p.flag(courseLate, x.Late)
	p.uint(courseCause, uint64(x.Cause))
	p.int(courseAttempts, int64(x.Attempts))
	last := x.Command.CreatedAt.UnixMilli()
	for i, t := range timesOf(x) {
		if p.flag(courseTimes+i, !t.IsZero()) {
			p.body = binary.AppendVarint(p.body, t.UnixMilli()-last)
			last = t.UnixMilli()
		}
	}
	p.bytes(courseParams, x.Params)
	return p.appendTo(b)
}

// unpackCourse fills x, whose command is there.
func unpackCourse(b []byte, x *command.Execution) error {
	u := unpack(b, courseEnd)
	x.Late = u.has(courseLate)
	x.Cause = command.Cause(u.uint(courseCause))
	x.Attempts = int(u.int(courseAttempts))
	last := x.Command.CreatedAt.UnixMilli()
	for i, t := range timesOf(x) {
		if u.has(courseTimes + i) {
			last += u.nextInt()
			*t = fromMillis(last)
		}
	}
	x.Params = u.bytes(courseParams)
	return u.end()
}

// stored is x with its times as a reader will find them.
func stored(x command.Execution) command.Execution {
	for _, t := range timesOf(&x) {
		if !t.IsZero() {
			*t = fromMillis(t.UnixMilli())
		}
	}
	return x
}
