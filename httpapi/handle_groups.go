package httpapi

import (
	"context"
	"net/url"

	"behest/device"
)

func (h handlers) ListGroups(ctx context.Context, r ListGroupsRequestObject) (ListGroupsResponseObject, error) {
	items, next, err := pageOf(ctx, h.pages, asked{"groups", r.Params.PageToken, r.Params.PageSize},
		h.reads.GroupPage, func(g device.Group) string { return g.Name }, viewGroup)
	return ListGroups200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) GetGroup(ctx context.Context, r GetGroupRequestObject) (GetGroupResponseObject, error) {
	if err := checkType(r.Name); err != nil { // a group's name obeys the same rule
		return nil, err
	}
	g, err := h.reads.GroupNamed(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return GetGroup200JSONResponse{Body: viewGroup(g), Headers: GetGroup200ResponseHeaders{ETag: etag(g.Version)}}, nil
}

func (h handlers) PutGroup(ctx context.Context, r PutGroupRequestObject) (PutGroupResponseObject, error) {
	if err := checkType(r.Name); err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if r.Params.IfMatch != nil { // then it must be there [RFC 9110 13.1.1]
		if _, err := h.reads.GroupNamed(ctx, r.Name); err != nil {
			return nil, unmatched(err)
		}
	}
	g, created, err := h.use.PutGroup(ctx, device.Group{Name: r.Name, Selector: r.Body.Selector}, version, userOf(ctx))
	if err != nil {
		return nil, err
	}
	if created {
		where := "/v1/groups/" + url.PathEscape(r.Name)
		return PutGroup201JSONResponse{Body: viewGroup(g), Headers: PutGroup201ResponseHeaders{ETag: etag(g.Version), Location: where}}, nil
	}
	return PutGroup200JSONResponse{Body: viewGroup(g), Headers: PutGroup200ResponseHeaders{ETag: etag(g.Version)}}, nil
}

func (h handlers) RemoveGroup(ctx context.Context, r RemoveGroupRequestObject) (RemoveGroupResponseObject, error) {
	if err := checkType(r.Name); err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := h.use.RemoveGroup(ctx, r.Name, version, userOf(ctx)); err != nil {
		return nil, err
	}
	return RemoveGroup204Response{}, nil
}

func viewGroup(g device.Group) Group {
	return Group{Name: g.Name, Selector: g.Selector, CreatedAt: Time(g.CreatedAt), ChangedAt: Time(g.ChangedAt), ChangedBy: g.ChangedBy}
}
