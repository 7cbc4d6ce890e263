package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"behest/command"
)

func (h handlers) IssueBatch(ctx context.Context, r IssueBatchRequestObject) (IssueBatchResponseObject, error) {
	b := h.batchOf(ctx, r.Body.Commands)
	if r.Params.IdempotencyKey == nil {
		issued, errs, err := h.use.IssueBatch(ctx, b.intents)
		if err != nil {
			return nil, err
		}
		return IssueBatch200JSONResponse(b.results(issued, errs)), nil
	}
	claim := claimOf(ctx, "POST /v1/commands/batch", *r.Params.IdempotencyKey)
	body, _, err := h.use.IssueOnce(ctx, claim, b.intents, func(issued []command.Issued, errs []error) []byte {
		kept, _ := json.Marshal(b.results(issued, errs)) // of our own making
		return kept
	})
	if err != nil {
		return nil, err
	}
	return keptBatch(body), nil
}

// batch is a batch on its way: the intents that can be asked for, and what is
// refused already.
type batch struct {
	h       handlers
	ctx     context.Context
	intents []command.Intent
	at      []int            // the place of each intent in the batch
	refused map[int]*Problem // by place
	size    int
}

func (h handlers) batchOf(ctx context.Context, shapes []Intent) *batch {
	b := &batch{h: h, ctx: ctx, refused: make(map[int]*Problem), size: len(shapes)}
	for i := range shapes {
		in, err := intentOf(&shapes[i], userOf(ctx))
		if err != nil {
			b.refused[i] = b.problem(i, err)
			continue
		}
		b.intents, b.at = append(b.intents, in), append(b.at, i)
	}
	return b
}

// results puts what became of the intents beside what was refused before.
func (b *batch) results(issued []command.Issued, errs []error) BatchResults {
	out := BatchResults{Results: make([]BatchResult, b.size)}
	for i := range out.Results {
		out.Results[i] = BatchResult{Index: i, Problem: b.refused[i]}
	}
	for k, i := range b.at {
		if errs[k] != nil {
			out.Results[i].Problem = b.problem(i, errs[k])
			continue
		}
		out.Results[i].Command = new(viewIssued(issued[k]))
	}
	return out
}

// problem is why the i-th command was refused. Its pointers are into the
// batch.
func (b *batch) problem(i int, err error) *Problem {
	a := aboutOf(b.ctx)
	e := *b.h.refusal(err, a.echo)
	e.Fields = below(fmt.Sprintf("/commands/%d", i), e.Fields)
	if e.Code == command.CodeInternal {
		b.h.log.ErrorContext(b.ctx, "command of a batch failed", "request_id", a.id, "index", i, "err", err)
	}
	p := problemOf(&e, a.echo.Request().URL.Path, a.id)
	return &p
}

// keptBatch is the answer to a batch as it was kept.
type keptBatch []byte

func (b keptBatch) VisitIssueBatchResponse(w http.ResponseWriter) error {
	return answer(w, json.RawMessage(b))
}
