package coap

import (
	"context"
	"math"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/cbor"
	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// report answers POST /c/NAME/SEQ. Its 2.04 says that the report is on disk.
func (s *Server) report(ctx context.Context, r *endpoint.Request, name, text string) endpoint.Response {
	seq, ok := decimal(text, math.MaxUint32)
	switch {
	case r.Code != codes.POST:
		return wrongMethod(r)
	case !ok || seq == 0 || device.CheckName(name) != "":
		return refusal(r, command.Errorf(command.CodeNotFound, "no such sequence"))
	}
	if f, said := r.Format.Get(); !said || f != formatCBOR {
		return refusal(r, command.Errorf(command.CodeMediaType, "a report has content format %d", formatCBOR))
	}
	said, err := cbor.DecodeReport(r.Payload)
	if err != nil {
		return refusal(r, err)
	}
	if err := s.uses.Report(ctx, name, s.lines.speaker(r.Peer), uint32(seq), said); err != nil {
		return refusal(r, err)
	}
	return endpoint.Response{Code: codes.Changed}
}

// bodyLimit bounds a request's body by what it is for.
func bodyLimit(head *endpoint.Request) int {
	if len(head.Path) > 0 && head.Path[0] == "c" {
		return command.ReportBytesMax
	}
	return device.LinksBytesMax
}
