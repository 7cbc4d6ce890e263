package sqlite

import (
	"encoding/binary"

	"behest/command"
)

// The column `report`, and `body` in the table of that name, is a report. Its
// status takes the lowest three flags.
const (
	reportProgress = 3 + iota
	reportCode
	reportText
	reportResult
	reportEffect
	reportNext // milliseconds
	reportPrev
	reportN
	reportOdd
	reportInvalid
	reportEnd
)

const reportStatusMask = 1<<reportProgress - 1

func appendReport(b []byte, r *command.Report) []byte {
	p := packer{flags: uint64(r.Status), body: make([]byte, 0, 64+len(r.Result)+len(r.Prev)+len(r.Odd))}
	if p.flag(reportProgress, r.Progress != nil) {
		p.body = binary.AppendUvarint(p.body, uint64(*r.Progress))
	}
	if p.flag(reportCode, r.Code != nil) {
		p.body = binary.AppendVarint(p.body, *r.Code)
	}
	p.text(reportText, r.Text)
	p.bytes(reportResult, r.Result)
	if p.flag(reportEffect, r.Effect != nil) {
		p.body = binary.AppendUvarint(p.body, uint64(*r.Effect))
	}
	p.int(reportNext, r.Next.Milliseconds())
	p.bytes(reportPrev, r.Prev)
	if p.flag(reportN, r.N != nil) {
		p.body = binary.AppendUvarint(p.body, uint64(*r.N))
	}
	p.bytes(reportOdd, r.Odd)
	p.flag(reportInvalid, r.Invalid)
	return p.appendTo(b)
}

func unpackReport(b []byte) (command.Report, error) {
	u := unpack(b, reportEnd)
	r := command.Report{Status: command.Status(u.flags & reportStatusMask)}
	if u.has(reportProgress) {
		v := uint8(u.nextUint())
		r.Progress = &v
	}
	if u.has(reportCode) {
		v := u.nextInt()
		r.Code = &v
	}
	r.Text = u.text(reportText)
	r.Result = u.bytes(reportResult)
	if u.has(reportEffect) {
		v := command.Effect(u.nextUint())
		r.Effect = &v
	}
	r.Next = u.duration(reportNext)
	r.Prev = u.bytes(reportPrev)
	if u.has(reportN) {
		v := uint32(u.nextUint())
		r.N = &v
	}
	r.Odd = u.bytes(reportOdd)
	r.Invalid = u.has(reportInvalid)
	if !r.Status.Valid() {
		u.bad = true
	}
	return r, u.end()
}
