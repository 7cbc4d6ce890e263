package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"behest/command"
)

// digestIn is a digest as a decision names it. The contract has checked its
// form.
func digestIn(text string) (sum [32]byte) {
	_, _ = hex.Decode(sum[:], []byte(strings.TrimPrefix(text, "sha256:")))
	return sum
}

func (h handlers) ApproveCommand(ctx context.Context, r ApproveCommandRequestObject) (ApproveCommandResponseObject, error) {
	v, err := h.decide(ctx, h.use.Approve, r.ID, r.Body)
	return ApproveCommand200JSONResponse(v), err
}

func (h handlers) DenyCommand(ctx context.Context, r DenyCommandRequestObject) (DenyCommandResponseObject, error) {
	v, err := h.decide(ctx, h.use.Deny, r.ID, r.Body)
	return DenyCommand200JSONResponse(v), err
}

type decision func(ctx context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error)

func (h handlers) decide(ctx context.Context, f decision, id CommandID, b *Decide) (Command, error) {
	return h.move(ctx, id, func(id command.ID) (command.View, error) {
		return f(ctx, id, digestIn(b.Digest), b.Comment, userOf(ctx))
	})
}

// move does something to a command, and answers with it as it then is; a
// refusal comes with it as it stands.
func (h handlers) move(ctx context.Context, id CommandID, f func(command.ID) (command.View, error)) (Command, error) {
	parsed, err := command.ParseID(id)
	if err != nil {
		return Command{}, err
	}
	if err := h.visible(ctx, parsed); err != nil {
		return Command{}, err
	}
	v, err := f(parsed)
	if err != nil {
		return Command{}, h.stands(ctx, err, v)
	}
	if v, err = h.shown(ctx, v); err != nil {
		return Command{}, err
	}
	return viewCommand(v), nil
}

func (h handlers) PauseCommand(ctx context.Context, r PauseCommandRequestObject) (PauseCommandResponseObject, error) {
	v, err := h.move(ctx, r.ID, func(id command.ID) (command.View, error) { return h.use.Pause(ctx, id, userOf(ctx)) })
	return PauseCommand200JSONResponse(v), err
}

func (h handlers) ResumeCommand(ctx context.Context, r ResumeCommandRequestObject) (ResumeCommandResponseObject, error) {
	v, err := h.move(ctx, r.ID, func(id command.ID) (command.View, error) { return h.use.Resume(ctx, id, userOf(ctx)) })
	return ResumeCommand200JSONResponse(v), err
}

func (h handlers) RollBackCommand(ctx context.Context, r RollBackCommandRequestObject) (RollBackCommandResponseObject, error) {
	id, err := command.ParseID(r.ID)
	if err != nil {
		return nil, err
	}
	in := command.RollbackIntent{By: userOf(ctx)}
	if r.Body != nil {
		in.Devices, in.Force, in.Reason = r.Body.Devices, r.Body.Force, r.Body.Reason
	}
	if err := h.visible(ctx, id); err != nil {
		return nil, err
	}
	c, err := h.rollBack(ctx, id, in, r.Params.IdempotencyKey)
	if err != nil && command.CodeOf(err) == command.CodeConflict {
		if v, lost := h.look(ctx, id); lost == nil {
			err = standing{err, v}
		}
	}
	return RollBackCommand201JSONResponse{Body: c, Headers: RollBackCommand201ResponseHeaders{Location: "/v1/commands/" + c.ID}}, err
}

// rollBack undoes a command, once under a key if there is one.
func (h handlers) rollBack(ctx context.Context, id command.ID, in command.RollbackIntent, key *IdempotencyKey) (c Command, err error) {
	if key == nil {
		issued, err := h.use.Rollback(ctx, id, in)
		if err != nil {
			return Command{}, err
		}
		return viewIssued(issued), nil
	}
	claim := claimOf(ctx, "POST /v1/commands/{id}/rollback", *key)
	claim.Request = sha256.Sum256(append(id[:], claim.Request[:]...)) // of another command it is another request
	body, _, err := h.use.RollbackOnce(ctx, claim, id, in, func(issued command.Issued) []byte {
		b, _ := json.Marshal(viewIssued(issued)) // of our own making
		return b
	})
	if err != nil {
		return Command{}, err
	}
	return keptCommand(body)
}

func (h handlers) PreviewCommand(ctx context.Context, r PreviewCommandRequestObject) (PreviewCommandResponseObject, error) {
	in, err := intentOf(r.Body, userOf(ctx))
	if err != nil {
		return nil, err
	}
	p, err := h.use.Preview(ctx, in)
	if err != nil {
		return nil, err
	}
	return PreviewCommand200JSONResponse{
		DeviceCount: p.Devices, OfflineCount: p.Away, Offline: p.Offline, Refused: viewRefused(p.Refused),
		Approvals: viewApprovals(command.View{Command: p.Command}), Digest: "sha256:" + hex.EncodeToString(p.Digest),
	}, nil
}

func (h handlers) ListApprovals(ctx context.Context, r ListApprovalsRequestObject) (ListApprovalsResponseObject, error) {
	list := "approvals " + userOf(ctx)
	place, err := h.pages.open(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	views, next, more, err := h.use.Approvals(ctx, userOf(ctx), rowIn(place), pageSize(r.Params.PageSize))
	if err != nil {
		return nil, err
	}
	page := ListApprovals200JSONResponse{Items: make([]Command, len(views))}
	for i, v := range views {
		page.Items[i] = viewCommand(v)
	}
	if more {
		page.NextPageToken = h.pages.seal(list, rowPlace(next))
	}
	return page, nil
}
