package httpapi

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"behest/command"
	"behest/device"
)

func (h handlers) ListDevices(ctx context.Context, r ListDevicesRequestObject) (ListDevicesResponseObject, error) {
	label, err := labelsOf(r.Params.Label)
	if err != nil {
		return nil, err
	}
	items, next, err := pageOf(ctx, h.pages, asked{"devices " + labelsText(label), r.Params.PageToken, r.Params.PageSize},
		func(ctx context.Context, after string, limit int) ([]device.View, bool, error) {
			return h.reads.Devices(ctx, device.Filter{Label: label, After: after, Limit: limit, Sees: h.sees(ctx)})
		},
		func(v device.View) string { return v.Name }, func(v device.View) Device { return viewDevice(v, h.now()) })
	return ListDevices200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) GetDevice(ctx context.Context, r GetDeviceRequestObject) (GetDeviceResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	v, err := h.reads.Device(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	if sees := h.sees(ctx); sees != nil && !sees(v.Labels) {
		return nil, command.Errorf(command.CodeNotFound, "no device is called %q", r.Device)
	}
	return GetDevice200JSONResponse{Body: viewDevice(v, h.now()), Headers: GetDevice200ResponseHeaders{ETag: etag(v.Version)}}, nil
}

func (h handlers) PutDevice(ctx context.Context, r PutDeviceRequestObject) (PutDeviceResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	// What is left out goes back to its default.
	e := device.Edit{Labels: map[string]string{}, AckTimeoutSeconds: new(0.0), AwakeSeconds: new(0)}
	err := merge(&e, r.Body)
	if err != nil {
		return nil, err
	}
	if e.Version, err = versionOf(r.Params.IfMatch); err != nil {
		return nil, err
	}
	if r.Params.IfMatch != nil { // then it must be there [RFC 9110 13.1.1]
		if _, err := h.reads.Device(ctx, r.Device); err != nil {
			return nil, unmatched(err)
		}
	}
	v, created, err := h.use.PutDevice(ctx, r.Device, e, userOf(ctx))
	if err != nil {
		return nil, err
	}
	shape := viewDevice(v, h.now())
	if created {
		where := "/v1/devices/" + url.PathEscape(r.Device)
		return PutDevice201JSONResponse{Body: shape, Headers: PutDevice201ResponseHeaders{ETag: etag(v.Version), Location: where}}, nil
	}
	return PutDevice200JSONResponse{Body: shape, Headers: PutDevice200ResponseHeaders{ETag: etag(v.Version)}}, nil
}

func (h handlers) EditDevice(ctx context.Context, r EditDeviceRequestObject) (EditDeviceResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	var e device.Edit
	err := merge(&e, r.Body)
	if err != nil {
		return nil, err
	}
	if e.Version, err = versionOf(r.Params.IfMatch); err != nil {
		return nil, err
	}
	v, err := h.use.EditDevice(ctx, r.Device, e, userOf(ctx))
	if err != nil {
		return nil, err
	}
	return EditDevice200JSONResponse{Body: viewDevice(v, h.now()), Headers: EditDevice200ResponseHeaders{ETag: etag(v.Version)}}, nil
}

func (h handlers) RemoveDevice(ctx context.Context, r RemoveDeviceRequestObject) (RemoveDeviceResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := h.use.RemoveDevice(ctx, r.Device, version, userOf(ctx)); err != nil {
		return nil, err
	}
	return RemoveDevice204Response{}, nil
}

func (h handlers) CancelDevice(ctx context.Context, r CancelDeviceRequestObject) (CancelDeviceResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	n, err := h.use.CancelDevice(ctx, r.Device, userOf(ctx))
	if err != nil {
		return nil, err
	}
	return CancelDevice200JSONResponse{Canceled: n}, nil
}

// checkDevice holds a name in a path or a query against the rule of names,
// which counts bytes where the contract's schema counts characters.
func checkDevice(where, name string) error {
	if what := device.CheckName(name); what != "" {
		return malformed(command.Field{Pointer: where, Detail: what})
	}
	return nil
}

// merge puts what the body says into e. Labels that no filter could name are
// refused.
func merge(e *device.Edit, b *DeviceEdit) error {
	if faults := labelFaults(b.Labels); len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the device cannot be changed like that", Fields: faults}
	}
	if b.Labels != nil {
		e.Labels = b.Labels
	}
	if b.AckTimeoutSeconds != nil {
		e.AckTimeoutSeconds = b.AckTimeoutSeconds
	}
	if b.AwakeSeconds != nil {
		e.AwakeSeconds = b.AwakeSeconds
	}
	return nil
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// versionOf is the version that If-Match asks for; 0: any.
func versionOf(match *IfMatch) (int64, error) {
	if match == nil || *match == "*" {
		return 0, nil
	}
	v, err := strconv.ParseInt(strings.Trim(*match, `"`), 10, 64)
	if err != nil || v == 0 { // nothing ever has that
		return 0, command.Errorf(command.CodePrecondition, "it has another version")
	}
	return v, nil
}

// unmatched turns "no such thing" into what If-Match makes of it.
func unmatched(err error) error {
	if command.CodeOf(err) == command.CodeNotFound {
		return command.Errorf(command.CodePrecondition, "it is not there")
	}
	return err
}
