package httpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"behest/command"
)

// issueAtOnce is how many intents of a batch are at the store at a time where
// the use cases do not take them together: as many as share a commit.
const issueAtOnce = 512

func (h handlers) IssueBatch(ctx context.Context, r IssueBatchRequestObject) (IssueBatchResponseObject, error) {
	shapes := r.Body.Commands
	results := make([]BatchResult, len(shapes))
	var intents []command.Intent
	var at []int // the place of each intent in the batch
	for i := range shapes {
		results[i].Index = i
		in, err := intentOf(&shapes[i], userOf(ctx))
		if err != nil {
			results[i].Problem = h.refused(ctx, i, err)
			continue
		}
		intents, at = append(intents, in), append(at, i)
	}
	issued, errs := h.issueAll(ctx, intents)
	for k, i := range at {
		if errs[k] != nil {
			results[i].Problem = h.refused(ctx, i, errs[k])
			continue
		}
		c := viewCommand(issued[k].View)
		c.Refused = viewRefused(issued[k].Refused)
		results[i].Command = &c
	}
	return IssueBatch200JSONResponse{Results: results}, nil
}

// refused is the problem of the i-th command of a batch.
func (h handlers) refused(ctx context.Context, i int, err error) *Problem {
	a := aboutOf(ctx)
	e := *h.refusal(err, a.echo)
	e.Fields = below(fmt.Sprintf("/commands/%d", i), e.Fields)
	if e.Code == command.CodeInternal {
		h.log.ErrorContext(ctx, "command of a batch failed", "request_id", a.id, "index", i, "err", err)
	}
	p := problemOf(&e, a.echo.Request().URL.Path, a.id)
	return &p
}

// issueAll issues intents together if the use cases can, and otherwise side
// by side, so that they share commits all the same.
func (h handlers) issueAll(ctx context.Context, intents []command.Intent) ([]command.Issued, []error) {
	if b, ok := h.use.(Batcher); ok {
		return b.IssueBatch(ctx, intents)
	}
	issued, errs := make([]command.Issued, len(intents)), make([]error, len(intents))
	places := make(chan struct{}, issueAtOnce)
	var wg sync.WaitGroup
	for i, in := range intents {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			defer func() {
				if p := recover(); p != nil {
					errs[i] = errors.Join(errs[i], fmt.Errorf("panic: %v", p))
				}
			}()
			issued[i], errs[i] = h.use.Issue(ctx, in)
		})
	}
	wg.Wait()
	return issued, errs
}
