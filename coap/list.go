package coap

import (
	"context"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// Observe's two values in a request [RFC 7641 2].
const (
	observeBegin = 0
	observeEnd   = 1
)

// list answers GET /c/NAME: with the open list, and from then on with each
// change of it if the device asked to observe.
//
// An empty list is in the answer itself. One that is not goes out as a
// separate confirmable response, so that its ACK says that the device has it.
func (s *Server) list(ctx context.Context, r *endpoint.Request, name string) endpoint.Response {
	switch f, asked := r.Accept.Get(); {
	case r.Code != codes.GET:
		return wrongMethod(r)
	case asked && f != formatCBOR:
		return refuse(r, codes.NotAcceptable, "not_acceptable", "it is to be had in another format alone")
	case device.CheckName(name) != "":
		return refusal(r, command.Errorf(command.CodeNotFound, "no such device"))
	}
	observe, asked := r.Observe.Get()
	who := s.lines.speaker(r.Peer)
	here := device.Observation{
		Endpoint: who.Endpoint, Local: r.Peer.Local, Token: r.Token.Bytes(), BlockSize: r.BlockSize,
	}
	var d device.Device
	var shown command.Presentation
	var err error
	switch {
	case asked && observe == observeBegin:
		d, shown, err = s.uses.Observe(ctx, name, who, here)
	case asked && observe == observeEnd:
		d, shown, err = s.uses.Forget(ctx, name, who, here)
	default:
		d, shown, err = s.uses.List(ctx, name, who)
	}
	switch {
	case err != nil:
		return refusal(r, err)
	case asked && observe == observeBegin:
		if !s.lines.reach(name, here) {
			s.uses.Parted(name, here.Session, "closed") // it ended while this was on its way to the disk
		}
		return s.presenter.begin(d, shown)
	}
	if len(shown.List) == 0 {
		s.presenter.Present(d, shown)
		return emptyList()
	}
	return endpoint.Response{Separate: s.presenter.answer(d, shown, who.Endpoint)}
}

func emptyList() endpoint.Response {
	return endpoint.Response{
		Code: codes.Content, Format: endpoint.Some(formatCBOR), MaxAge: endpoint.Some(0),
		Payload: []byte{emptyArray},
	}
}

// emptyArray is the CBOR of a list with nothing in it.
const emptyArray = 0x80

// peerOf is where an observation's notifications go.
func peerOf(o device.Observation) endpoint.Peer {
	return endpoint.Peer{Remote: o.Remote, Local: o.Local, Session: o.Session}
}
