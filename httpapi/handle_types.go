package httpapi

import (
	"context"
	"net/url"

	"behest/command"
)

func (h handlers) ListTypes(ctx context.Context, r ListTypesRequestObject) (ListTypesResponseObject, error) {
	items, next, err := pageOf(ctx, h.pages, asked{"types", r.Params.PageToken, r.Params.PageSize},
		h.reads.Types, func(t command.Type) string { return t.Name }, viewType)
	return ListTypes200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) GetType(ctx context.Context, r GetTypeRequestObject) (GetTypeResponseObject, error) {
	t, err := h.standingType(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return GetType200JSONResponse{Body: viewType(t), Headers: GetType200ResponseHeaders{ETag: typeETag(t)}}, nil
}

func (h handlers) GetTypeVersion(ctx context.Context, r GetTypeVersionRequestObject) (GetTypeVersionResponseObject, error) {
	if err := checkType(r.Name); err != nil {
		return nil, err
	}
	t, err := h.reads.TypeVersion(ctx, r.Name, r.N)
	if err != nil {
		return nil, err
	}
	return GetTypeVersion200JSONResponse(viewType(t)), nil
}

func (h handlers) PutType(ctx context.Context, r PutTypeRequestObject) (PutTypeResponseObject, error) {
	if err := checkType(r.Name); err != nil {
		return nil, err
	}
	t, err := typeOf(r.Name, r.Body)
	if err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if r.Params.IfMatch != nil { // then it must be there [RFC 9110 13.1.1]
		if _, err := h.standingType(ctx, r.Name); err != nil {
			return nil, unmatched(err)
		}
	}
	t, created, err := h.use.PutType(ctx, t, int(version), userOf(ctx))
	if err != nil {
		return nil, err
	}
	if created {
		where := "/v1/types/" + url.PathEscape(r.Name)
		return PutType201JSONResponse{Body: viewType(t), Headers: PutType201ResponseHeaders{ETag: typeETag(t), Location: where}}, nil
	}
	return PutType200JSONResponse{Body: viewType(t), Headers: PutType200ResponseHeaders{ETag: typeETag(t)}}, nil
}

func (h handlers) RetireType(ctx context.Context, r RetireTypeRequestObject) (RetireTypeResponseObject, error) {
	if err := checkType(r.Name); err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := h.use.RetireType(ctx, r.Name, int(version), userOf(ctx)); err != nil {
		return nil, err
	}
	return RetireType204Response{}, nil
}

// standingType is a type that commands can be issued under.
func (h handlers) standingType(ctx context.Context, name string) (command.Type, error) {
	if err := checkType(name); err != nil {
		return command.Type{}, err
	}
	t, err := h.reads.Type(ctx, name)
	if err == nil && t.Retired {
		return command.Type{}, command.Errorf(command.CodeNotFound, "the command type %q was retired by its version %d", name, t.Version)
	}
	return t, err
}

func checkType(name string) error { return checkNamed("name", name) }

// checkNamed holds a name in a path against the rule of names, which counts
// bytes where the contract's schema counts characters.
func checkNamed(where, name string) error {
	if what := command.CheckTypeName(name); what != "" {
		return malformed(command.Field{Pointer: where, Detail: what})
	}
	return nil
}

func typeETag(t command.Type) string { return etag(int64(t.Version)) }
