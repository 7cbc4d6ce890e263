package coap

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// register answers POST /rd [RFC 9176 5].
func (s *Server) register(ctx context.Context, r *endpoint.Request) endpoint.Response {
	if r.Code != codes.POST {
		return wrongMethod(r)
	}
	reg, err := readRegistering(r, s.lines.speaker(r.Peer))
	if err != nil {
		return refusal(r, err)
	}
	handle, err := s.uses.Register(ctx, reg)
	if err != nil {
		return refusal(r, err)
	}
	return endpoint.Response{Code: codes.Created, Location: []string{"rd", fmt.Sprint(handle)}}
}

// registration answers POST and DELETE /rd/HANDLE.
func (s *Server) registration(ctx context.Context, r *endpoint.Request, text string) endpoint.Response {
	handle, ok := decimal(text, math.MaxInt64)
	who := s.lines.speaker(r.Peer)
	switch {
	case r.Code != codes.POST && r.Code != codes.DELETE:
		return wrongMethod(r)
	case !ok || handle == 0:
		return refusal(r, command.Errorf(command.CodeNotFound, "no such registration"))
	case r.Code == codes.DELETE:
		if err := s.uses.Deregister(ctx, int64(handle), who); err != nil {
			return refusal(r, err)
		}
		return endpoint.Response{Code: codes.Deleted}
	}
	lifetime, err := readRefresh(r.Query)
	if err != nil {
		return refusal(r, err)
	}
	if err := s.uses.Refresh(ctx, int64(handle), who, lifetime); err != nil {
		return refusal(r, err)
	}
	return endpoint.Response{Code: codes.Changed}
}

// readRegistering reads what a device says about itself. Whoever has shown who
// he is need not say it.
func readRegistering(r *endpoint.Request, who device.Speaker) (device.Registering, error) {
	reg := device.Registering{Name: who.Identity, From: who, Lifetime: device.LifetimeDefault, Window: command.WindowDefault}
	params, err := readQuery(r.Query)
	if err != nil {
		return reg, err
	}
	for name, value := range params {
		if err := readParam(&reg, name, value); err != nil {
			return reg, err
		}
	}
	if what := device.CheckName(reg.Name); what != "" {
		return reg, malformed("%s", what)
	}
	if len(reg.Params) > device.ParamsMax {
		return reg, malformed("over %d registration parameters", device.ParamsMax)
	}
	if len(r.Payload) == 0 {
		return reg, nil
	}
	if f, said := r.Format.Get(); said && f != formatLinks {
		return reg, command.Errorf(command.CodeMediaType, "the body is not of content format %d", formatLinks)
	}
	reg.Links = strings.ToValidUTF8(string(r.Payload), "\uFFFD")
	return reg, nil
}

// readParam reads one registration parameter. Those that mean nothing to us
// are kept.
func readParam(reg *device.Registering, name, value string) error {
	switch name {
	case "ep":
		reg.Name = value
	case "lt":
		n, ok := decimal(value, math.MaxUint32)
		if !ok || n == 0 {
			return malformed("lt is not 1 to 4294967295")
		}
		reg.Lifetime = time.Duration(n) * time.Second
	case "w":
		n, ok := decimal(value, math.MaxUint32)
		if !ok || n == 0 {
			return malformed("w is not a number from 1")
		}
		reg.Window = int(min(n, command.WindowMax))
	case "last":
		n, ok := decimal(value, math.MaxUint32)
		if !ok {
			return malformed("last is not 0 to 4294967295")
		}
		last := uint32(n)
		reg.Last = &last
	case "d":
		return malformed("sectors are not served")
	default:
		if reg.Params == nil {
			reg.Params = map[string]string{}
		}
		reg.Params[name] = value
	}
	return nil
}

// readRefresh reads the one parameter that a refresh may change; 0 if it does
// not.
func readRefresh(query []string) (time.Duration, error) {
	params, err := readQuery(query)
	if err != nil {
		return 0, err
	}
	var reg device.Registering
	if value, said := params["lt"]; said {
		err = readParam(&reg, "lt", value)
	}
	return reg.Lifetime, err
}

// readQuery splits a query into its parameters. None may come twice.
func readQuery(query []string) (map[string]string, error) {
	params := make(map[string]string, len(query))
	for _, q := range query {
		name, value, _ := strings.Cut(q, "=")
		if _, twice := params[name]; twice {
			return nil, malformed("%.32q comes twice", name)
		}
		if len(q) > device.ParamBytesMax {
			return nil, malformed("%.24q is over %d bytes", name, device.ParamBytesMax)
		}
		params[name] = value
	}
	return params, nil
}

func malformed(format string, args ...any) error {
	return command.Errorf(command.CodeMalformed, format, args...)
}
