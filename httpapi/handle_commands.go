package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"behest/command"
)

// handlers answer the operations of the contract. They are the last stop
// before the use cases: what they get has the contract's shape.
type handlers struct{ *Server }

var _ StrictServerInterface = handlers{}

func (h handlers) IssueCommand(ctx context.Context, r IssueCommandRequestObject) (IssueCommandResponseObject, error) {
	in, err := intentOf(r.Body, userOf(ctx))
	if err != nil {
		return nil, err
	}
	w, err := h.place(ctx, r.Params.WaitSeconds) // before, because afterwards there is no refusing
	if err != nil {
		return nil, err
	}
	defer w.leave()
	if r.Params.IdempotencyKey != nil {
		return h.issueOnce(ctx, *r.Params.IdempotencyKey, in, w)
	}
	issued, err := h.use.Issue(ctx, in)
	if err != nil {
		return nil, err
	}
	shape := viewIssued(issued)
	if w.seconds > 0 {
		// It is accepted, whatever becomes of the wait.
		if v, err := w.wait(ctx, issued.Command.ID); err == nil {
			shape = viewIssued(command.Issued{View: v, Refused: issued.Refused})
		}
	}
	return issuedAnswer(shape), nil
}

func issuedAnswer(c Command) IssueCommand201JSONResponse {
	return IssueCommand201JSONResponse{Body: c, Headers: IssueCommand201ResponseHeaders{Location: "/v1/commands/" + c.ID}}
}

func (h handlers) GetCommand(ctx context.Context, r GetCommandRequestObject) (GetCommandResponseObject, error) {
	id, err := command.ParseID(r.ID)
	if err != nil {
		return nil, err
	}
	w, err := h.place(ctx, r.Params.WaitSeconds)
	if err != nil {
		return nil, err
	}
	defer w.leave()
	v, err := h.look(ctx, id)
	if err == nil && w.seconds > 0 {
		v, err = w.wait(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return GetCommand200JSONResponse(viewCommand(v)), nil
}

func (h handlers) ListCommands(ctx context.Context, r ListCommandsRequestObject) (ListCommandsResponseObject, error) {
	f, err := filterOf(r.Params)
	if err != nil {
		return nil, err
	}
	items, next, err := pageOf(ctx, h.pages, asked{"commands " + filterText(f), r.Params.PageToken, r.Params.PageSize},
		func(ctx context.Context, before string, limit int) ([]command.View, bool, error) {
			f.Before, f.Limit, f.Sees = rowIn(before), limit, h.sees(ctx)
			return h.reads.Commands(ctx, f)
		},
		func(v command.View) string { return rowPlace(v.Command.N) }, viewCommand)
	return ListCommands200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) ListExecutions(ctx context.Context, r ListExecutionsRequestObject) (ListExecutionsResponseObject, error) {
	id, err := command.ParseID(r.ID)
	if err != nil {
		return nil, err
	}
	var state string
	if r.Params.State != nil {
		state = string(*r.Params.State)
	}
	items, next, err := pageOf(ctx, h.pages, asked{"executions " + id.String() + " " + state, r.Params.PageToken, r.Params.PageSize},
		func(ctx context.Context, after string, limit int) ([]command.Execution, bool, error) {
			return h.reads.ExecutionsSeen(ctx, id, state, rowIn(after), limit, h.sees(ctx))
		},
		func(x command.Execution) string { return rowPlace(x.N) }, viewExecution)
	return ListExecutions200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) ListAllExecutions(ctx context.Context, r ListAllExecutionsRequestObject) (ListAllExecutionsResponseObject, error) {
	f, err := executionFilterOf(r.Params)
	if err != nil {
		return nil, err
	}
	list := "executions " + executionFilterText(f)
	before, err := h.pages.open(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	f.Before, f.Limit, f.Sees = rowIn(before), pageSize(r.Params.PageSize), h.sees(ctx)
	xs, next, err := h.reads.AllExecutions(ctx, f)
	if err != nil {
		return nil, err
	}
	page := ListAllExecutions200JSONResponse{Items: make([]Execution, len(xs))}
	for i, x := range xs {
		page.Items[i] = viewExecution(x)
	}
	if next > 0 {
		page.NextPageToken = h.pages.seal(list, rowPlace(next))
	}
	return page, nil
}

func (h handlers) GetExecution(ctx context.Context, r GetExecutionRequestObject) (GetExecutionResponseObject, error) {
	id, err := command.ParseID(r.ID)
	if err != nil {
		return nil, err
	}
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	if err := h.visible(ctx, id); err != nil {
		return nil, err
	}
	if seen, err := h.seesDevice(ctx, r.Device); err != nil || !seen {
		if err == nil { // in the words of who finds no such execution
			err = command.Errorf(command.CodeNotFound, "command %s is not for device %q", id, r.Device)
		}
		return nil, err
	}
	x, reports, err := h.reads.Execution(ctx, id, r.Device)
	if err != nil {
		return nil, err
	}
	return executionWithReports{viewExecution(x), viewReports(x, reports)}, nil
}

// executionWithReports is the contract's ExecutionWithReports, put together
// from its two parts.
type executionWithReports struct {
	Execution
	Reports []Report `json:"reports"`
}

func (x executionWithReports) VisitGetExecutionResponse(w http.ResponseWriter) error {
	return answer(w, x)
}

func (h handlers) CancelCommand(ctx context.Context, r CancelCommandRequestObject) (CancelCommandResponseObject, error) {
	var devices []string
	if r.Body != nil {
		devices = r.Body.Devices
	}
	out, err := h.move(ctx, r.ID, func(id command.ID) (command.View, error) { return h.use.Cancel(ctx, id, devices, userOf(ctx)) })
	return CancelCommand200JSONResponse(out), err
}

// answer writes v with status 200.
func answer(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(append(b, '\n'))
	return err
}

// retryWait is when an answer that may wait should be asked for again: places
// come free all the time.
const retryWait = 5 * time.Second

// place is room for an answer that waits, if it is to.
func (s *Server) place(ctx context.Context, seconds *WaitSeconds) (*waiter, error) {
	w := &waiter{s: s, user: userOf(ctx)}
	if seconds == nil || *seconds == 0 {
		return w, nil
	}
	if !s.waiting.take(w.user) {
		return nil, &command.Error{Code: command.CodeTooMany, RetryAfter: retryWait,
			Msg: "too many answers wait already; ask without wait_seconds, or later"}
	}
	w.seconds = *seconds
	return w, nil
}

type waiter struct {
	s       *Server
	user    string
	seconds int // 0: it does not wait, and holds no place
}

func (w *waiter) leave() {
	if w.seconds > 0 {
		w.s.waiting.leave(w.user)
	}
}

// wait answers with the command when it has ended, or with its present state
// when the time is over or the server shuts down. Who may not ask any more is
// not answered.
func (w *waiter) wait(ctx context.Context, id command.ID) (command.View, error) {
	within, cancel := context.WithTimeout(ctx, time.Duration(w.seconds)*time.Second)
	defer cancel()
	defer context.AfterFunc(w.s.closing, cancel)()
	v, err := w.s.use.Wait(within, id)
	if err == nil {
		_, err = w.s.identity(aboutOf(ctx).echo.Request())
	}
	if err != nil {
		return command.View{}, err
	}
	return w.s.shown(ctx, v)
}
