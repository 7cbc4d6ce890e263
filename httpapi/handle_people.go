package httpapi

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"behest/access"
	"behest/command"
)

func (h handlers) ListUsers(ctx context.Context, r ListUsersRequestObject) (ListUsersResponseObject, error) {
	items, next, err := pageOf(ctx, h.pages, asked{"users", r.Params.PageToken, r.Params.PageSize},
		h.reads.Users, func(u access.User) string { return u.ID }, viewUser)
	return ListUsers200JSONResponse{Items: items, NextPageToken: next}, err
}

func (h handlers) GetUser(ctx context.Context, r GetUserRequestObject) (GetUserResponseObject, error) {
	u, err := h.reads.User(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return GetUser200JSONResponse{Body: viewUser(u), Headers: GetUser200ResponseHeaders{ETag: etag(u.Version)}}, nil
}

func (h handlers) PutUser(ctx context.Context, r PutUserRequestObject) (PutUserResponseObject, error) {
	u, err := userIn(r.ID, r.Body)
	if err != nil {
		return nil, err
	}
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if r.Params.IfMatch != nil { // then it must be there [RFC 9110 13.1.1]
		if _, err := h.reads.User(ctx, r.ID); err != nil {
			return nil, unmatched(err)
		}
	}
	u, created, err := h.use.PutUser(ctx, u, version, userOf(ctx))
	if err != nil {
		return nil, err
	}
	if created {
		where := "/v1/users/" + url.PathEscape(r.ID)
		return PutUser201JSONResponse{Body: viewUser(u), Headers: PutUser201ResponseHeaders{ETag: etag(u.Version), Location: where}}, nil
	}
	return PutUser200JSONResponse{Body: viewUser(u), Headers: PutUser200ResponseHeaders{ETag: etag(u.Version)}}, nil
}

func (h handlers) RemoveUser(ctx context.Context, r RemoveUserRequestObject) (RemoveUserResponseObject, error) {
	version, err := versionOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := h.use.RemoveUser(ctx, r.ID, version, userOf(ctx)); err != nil {
		return nil, err
	}
	return RemoveUser204Response{}, nil
}

func (h handlers) ListTokens(ctx context.Context, r ListTokensRequestObject) (ListTokensResponseObject, error) {
	tokens, err := h.reads.UserTokens(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	list := ListTokens200JSONResponse{Items: make([]Token, len(tokens))}
	for i, t := range tokens {
		list.Items[i] = Token{
			N: t.N, Works: t.Works(h.now()), Note: t.Note, CreatedAt: Time(t.CreatedAt), CreatedBy: t.CreatedBy,
			ExpiresAt: timeOf(t.ExpiresAt), LastUsedAt: timeOf(t.LastUsedAt), RevokedAt: timeOf(t.RevokedAt),
		}
	}
	return list, nil
}

func (h handlers) AddToken(ctx context.Context, r AddTokenRequestObject) (AddTokenResponseObject, error) {
	var expires time.Time
	if r.Body.ExpiresAt != nil {
		expires = time.Time(*r.Body.ExpiresAt)
	}
	t, text, err := h.use.AddToken(ctx, r.ID, r.Body.Note, expires, userOf(ctx))
	if err != nil {
		return nil, err
	}
	return AddToken201JSONResponse{N: t.N, Token: text, Note: t.Note, CreatedAt: Time(t.CreatedAt), ExpiresAt: timeOf(t.ExpiresAt)}, nil
}

func (h handlers) RevokeToken(ctx context.Context, r RevokeTokenRequestObject) (RevokeTokenResponseObject, error) {
	if err := h.use.RevokeToken(ctx, r.ID, r.N, userOf(ctx)); err != nil {
		return nil, err
	}
	return RevokeToken204Response{}, nil
}

// userIn turns the shape of a user into what it means.
func userIn(id string, b *UserRule) (access.User, error) {
	u := access.User{ID: id, Name: b.Name, Email: b.Email, Disabled: b.Disabled}
	for _, g := range b.Roles {
		role, err := access.ParseRole(string(g.Role))
		if err != nil { // the contract knows the same ones
			return u, command.Errorf(command.CodeInvalid, "%v", err)
		}
		u.Grants = append(u.Grants, access.Grant{Role: role, Groups: g.Groups, Selector: g.Selector})
	}
	for _, l := range b.Logins {
		u.Logins = append(u.Logins, access.Login{Issuer: l.Issuer, Claim: cmp.Or(l.Claim, access.ClaimSubject), Subject: l.Subject})
	}
	return u, nil
}

func viewUser(u access.User) User {
	out := User{
		ID: u.ID, Name: u.Name, Email: u.Email, Roles: viewGrants(u.Grants), Disabled: u.Disabled,
		CreatedAt: Time(u.CreatedAt), ChangedAt: Time(u.ChangedAt), ChangedBy: u.ChangedBy,
	}
	for _, l := range u.Logins {
		out.Logins = append(out.Logins, Login{Issuer: l.Issuer, Claim: l.Claim, Subject: l.Subject})
	}
	return out
}

func viewGrants(grants []access.Grant) []Grant {
	out := make([]Grant, len(grants))
	for i, g := range grants {
		out[i] = Grant{Role: Role(g.Role.String()), Groups: g.Groups, Selector: g.Selector}
	}
	return out
}
