package httpapi

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"behest/access"
	"behest/command"
)

// scansMax bounds how far one page looks for events that a filter picks. The
// next page goes on from there.
const scansMax = 32

// eventQuery is what a request for events asks.
type eventQuery struct {
	filter EventFilter
	after  *Place // nil: not said
	limit  int
}

func (h handlers) ListEvents(ctx context.Context, r ListEventsRequestObject) (ListEventsResponseObject, error) {
	p := r.Params
	q, err := eventQueryOf(p.After, p.LastEventID, p.Type, p.PageSize)
	if err != nil {
		return nil, err
	}
	if p.Device != nil {
		if err := checkDevice("device", *p.Device); err != nil {
			return nil, err
		}
		q.filter.Device = *p.Device
	}
	if p.Command != nil {
		if q.filter.Command, err = command.ParseID(*p.Command); err != nil {
			return nil, err
		}
	}
	return h.eventsFor(ctx, q)
}

func (h handlers) ListCommandEvents(ctx context.Context, r ListCommandEventsRequestObject) (ListCommandEventsResponseObject, error) {
	p := r.Params
	q, err := eventQueryOf(p.After, p.LastEventID, p.Type, p.PageSize)
	if err != nil {
		return nil, err
	}
	if q.filter.Command, err = command.ParseID(r.ID); err != nil {
		return nil, err
	}
	if _, err := h.look(ctx, q.filter.Command); err != nil { // or it would be empty for ever
		return nil, err
	}
	return h.eventsFor(ctx, q)
}

func eventQueryOf(after, lastID *EventID, types *[]string, size *PageSize) (eventQuery, error) {
	q := eventQuery{limit: pageSize(size)}
	if types != nil {
		for _, t := range *types {
			q.filter.Types = append(q.filter.Types, command.EventType(t))
		}
	}
	name, id := "Last-Event-ID", lastID // who comes back knows better than the address that it uses again
	if id == nil {
		name, id = "after", after
	}
	if id == nil {
		return q, nil
	}
	p, err := command.ParsePlace(*id)
	if err != nil {
		return q, malformed(command.Field{Pointer: name, Detail: "is no event id"})
	}
	q.after = &p
	return q, nil
}

// eventAnswer answers both operations.
type eventAnswer interface {
	ListEventsResponseObject
	ListCommandEventsResponseObject
}

// eventsFor answers with a page or a stream, as the request prefers.
func (h handlers) eventsFor(ctx context.Context, q eventQuery) (eventAnswer, error) {
	if h.events == nil {
		return nil, command.Errorf(command.CodeNotFound, "this server keeps no log of events")
	}
	q.filter.Sees = h.sees(ctx)
	if acceptsStream(aboutOf(ctx).echo.Request().Header.Values("Accept")) {
		return h.stream(ctx, q)
	}
	return h.eventPage(ctx, q)
}

// acceptsStream reports whether server-sent events are asked for by name.
func acceptsStream(accept []string) bool {
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			kind, params, err := mime.ParseMediaType(part)
			if err == nil && kind == "text/event-stream" && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}

// eventPage fills a page: a filter may need several looks into the log.
func (h handlers) eventPage(ctx context.Context, q eventQuery) (eventAnswer, error) {
	page := eventPage{Items: []Event{}}
	var at Place
	if q.after != nil {
		at = *q.after
	}
	for range scansMax {
		events, next, err := h.events.Events(ctx, at, q.filter, q.limit-len(page.Items))
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			page.Items = append(page.Items, viewEvent(ctx, e))
		}
		ended := next == at
		at = next
		if ended || len(page.Items) >= q.limit {
			break
		}
	}
	page.NextAfter = at.String()
	return page, nil
}

// eventPage is the contract's EventPage, for both operations.
type eventPage EventPage

func (p eventPage) VisitListEventsResponse(w http.ResponseWriter) error        { return answer(w, p) }
func (p eventPage) VisitListCommandEventsResponse(w http.ResponseWriter) error { return answer(w, p) }

// viewEvent is an event as the contract shows it to who asks.
func viewEvent(ctx context.Context, e command.Event) Event {
	return EventView(e, aboutOf(ctx).who.Everywhere.Any(access.Admin))
}

// EventView is an event as the contract has it; from: also where its actor was,
// and by which way he came.
func EventView(e command.Event, from bool) Event {
	out := Event{
		ID: Place{Epoch: e.Epoch, N: e.N}.String(), Type: string(e.Type), Time: Time(e.At), Actor: e.Actor,
		Device: e.Name, Data: e.Data,
	}
	if e.Command != (command.ID{}) {
		out.Command = e.Command.String()
	}
	if from {
		out.From, out.Via = access.CutOrigin(e.From)
	}
	return out
}

func (h handlers) GetCheckpoint(ctx context.Context, _ GetCheckpointRequestObject) (GetCheckpointResponseObject, error) {
	if h.events == nil {
		return nil, command.Errorf(command.CodeNotFound, "this server keeps no log of events")
	}
	c, err := h.events.Checkpoint(ctx, h.now())
	if err != nil {
		return nil, err
	}
	line, err := c.MarshalJSON()
	return checkpointAnswer(append(line, '\n')), err
}

// checkpointAnswer is a checkpoint in the one way to write it.
type checkpointAnswer []byte

func (b checkpointAnswer) VisitGetCheckpointResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(b)
	return err
}
