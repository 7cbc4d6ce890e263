package httpapi

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"behest/command"
)

// Webhooks are the use cases of who is told of events by HTTP. secret is set by
// Put if it made the webhook, and by Rotate, and is kept nowhere. A version of
// 0 is whatever the webhook has.
type Webhooks interface {
	// Hooks lists all, by name: at most command.HooksMax.
	Hooks(ctx context.Context) ([]command.Hook, error)
	Hook(ctx context.Context, id string) (command.Hook, error)
	Put(ctx context.Context, id string, spec command.HookSpec, ifVersion int64, by string) (h command.Hook, secret string, created bool, err error)
	Delete(ctx context.Context, id string, ifVersion int64, by string) error
	Rotate(ctx context.Context, id string, ifVersion int64, by string) (h command.Hook, secret string, err error)
	// Deliveries lists those of a webhook, the youngest event first, only of
	// events before a number if that is not 0.
	Deliveries(ctx context.Context, id string, before int64, limit int) (list []command.HookDelivery, more bool, err error)
	Redeliver(ctx context.Context, id string, event command.Place, by string) (command.HookDelivery, error)
}

// hooks are the webhooks, of a server that has any.
func (s *Server) hooks() (Webhooks, error) {
	if s.webhooks == nil {
		return nil, command.Errorf(command.CodeNotFound, "this server tells nobody of events")
	}
	return s.webhooks, nil
}

func (h handlers) ListWebhooks(ctx context.Context, r ListWebhooksRequestObject) (ListWebhooksResponseObject, error) {
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	items, next, err := pageOf(ctx, h.pages, asked{"webhooks", r.Params.PageToken, r.Params.PageSize},
		func(ctx context.Context, after string, limit int) ([]command.Hook, bool, error) {
			all, err := hooks.Hooks(ctx)
			from, is := slices.BinarySearchFunc(all, after, func(h command.Hook, name string) int { return strings.Compare(h.ID, name) })
			if is {
				from++
			}
			to := min(from+limit, len(all))
			return all[from:to], to < len(all), err
		},
		func(h command.Hook) string { return h.ID }, viewWebhook)
	return ListWebhooks200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) GetWebhook(ctx context.Context, r GetWebhookRequestObject) (GetWebhookResponseObject, error) {
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	hook, err := hooks.Hook(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return GetWebhook200JSONResponse{Body: viewWebhook(hook), Headers: GetWebhook200ResponseHeaders{ETag: etag(hook.Version)}}, nil
}

func (h handlers) PutWebhook(ctx context.Context, r PutWebhookRequestObject) (PutWebhookResponseObject, error) {
	if err := checkNamed("id", r.ID); err != nil {
		return nil, err
	}
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if r.Params.IfMatch != nil { // then it must be there [RFC 9110 13.1.1]
		if _, err := hooks.Hook(ctx, r.ID); err != nil {
			return nil, unmatched(err)
		}
	}
	spec := command.HookSpec{URL: r.Body.URL, AllowPrivate: r.Body.AllowPrivate, Disabled: r.Body.Disabled}
	for _, t := range r.Body.Types {
		spec.Types = append(spec.Types, command.EventType(t))
	}
	hook, secret, created, err := hooks.Put(ctx, r.ID, spec, version, userOf(ctx))
	if err != nil {
		return nil, err
	}
	body := viewWebhook(hook)
	if created {
		body.Secret = secret
		where := "/v1/webhooks/" + url.PathEscape(r.ID)
		return PutWebhook201JSONResponse{Body: body, Headers: PutWebhook201ResponseHeaders{ETag: etag(hook.Version), Location: where}}, nil
	}
	return PutWebhook200JSONResponse{Body: body, Headers: PutWebhook200ResponseHeaders{ETag: etag(hook.Version)}}, nil
}

func (h handlers) RemoveWebhook(ctx context.Context, r RemoveWebhookRequestObject) (RemoveWebhookResponseObject, error) {
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := hooks.Delete(ctx, r.ID, version, userOf(ctx)); err != nil {
		return nil, err
	}
	return RemoveWebhook204Response{}, nil
}

func (h handlers) RotateWebhookSecret(ctx context.Context, r RotateWebhookSecretRequestObject) (RotateWebhookSecretResponseObject, error) {
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	hook, secret, err := hooks.Rotate(ctx, r.ID, version, userOf(ctx))
	if err != nil {
		return nil, err
	}
	body := viewWebhook(hook)
	body.Secret = secret
	return RotateWebhookSecret200JSONResponse{Body: body, Headers: RotateWebhookSecret200ResponseHeaders{ETag: etag(hook.Version)}}, nil
}

func (h handlers) ListDeliveries(ctx context.Context, r ListDeliveriesRequestObject) (ListDeliveriesResponseObject, error) {
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	items, next, err := pageOf(ctx, h.pages, asked{"deliveries " + r.ID, r.Params.PageToken, r.Params.PageSize},
		func(ctx context.Context, before string, limit int) ([]command.HookDelivery, bool, error) {
			return hooks.Deliveries(ctx, r.ID, rowIn(before), limit)
		},
		func(d command.HookDelivery) string { return rowPlace(d.Event.N) }, viewDelivery)
	return ListDeliveries200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) RedeliverEvent(ctx context.Context, r RedeliverEventRequestObject) (RedeliverEventResponseObject, error) {
	hooks, err := h.hooks()
	if err != nil {
		return nil, err
	}
	event, err := command.ParsePlace(r.Event)
	if err != nil {
		return nil, malformed(command.Field{Pointer: "event", Detail: "is no event id"})
	}
	d, err := hooks.Redeliver(ctx, r.ID, event, userOf(ctx))
	return RedeliverEvent200JSONResponse(viewDelivery(d)), err
}

func viewWebhook(h command.Hook) Webhook {
	out := Webhook{
		ID: h.ID, URL: h.URL, AllowPrivate: h.AllowPrivate, Disabled: h.Disabled, Reason: WebhookReason(h.Reason),
		RotatedAt: timeOf(h.RotatedAt), Cursor: h.Cursor.String(), Delivered: h.Delivered, GivenUp: h.GivenUp, LastTakenAt: timeOf(h.TakenAt),
		CreatedAt: Time(h.CreatedAt), CreatedBy: h.CreatedBy, ChangedAt: Time(h.ChangedAt), ChangedBy: h.ChangedBy,
	}
	for _, t := range h.Types {
		out.Types = append(out.Types, string(t))
	}
	return out
}

func viewDelivery(d command.HookDelivery) Delivery {
	return Delivery{
		Event: d.Event.String(), Type: string(d.Type), State: DeliveryState(d.State.String()), Attempts: d.Attempts, Status: d.Status,
		Error: d.Error, FirstAt: Time(d.FirstAt), LastAt: timeOf(d.LastAt), NextAt: timeOf(d.NextAt), AskedBy: d.AskedBy,
	}
}
