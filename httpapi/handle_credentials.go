package httpapi

import (
	"context"
	"encoding/hex"
	"slices"

	"behest/command"
	"behest/device"
)

func (h handlers) ListCredentials(ctx context.Context, r ListCredentialsRequestObject) (ListCredentialsResponseObject, error) {
	all, err := h.credentialsOf(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	list := ListCredentials200JSONResponse{Items: make([]Credential, len(all))}
	for i := range all {
		list.Items[i] = h.viewCredential(&all[i])
	}
	return list, nil
}

func (h handlers) GetCredential(ctx context.Context, r GetCredentialRequestObject) (GetCredentialResponseObject, error) {
	all, err := h.credentialsOf(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(c device.Credential) bool { return c.N == r.N })
	if i < 0 {
		return nil, command.Errorf(command.CodeNotFound, "device %q has no credential %d", r.Device, r.N)
	}
	return GetCredential200JSONResponse(h.viewCredential(&all[i])), nil
}

// credentialsOf are those of a device that the caller sees.
func (h handlers) credentialsOf(ctx context.Context, name string) ([]device.Credential, error) {
	if err := checkDevice("device", name); err != nil {
		return nil, err
	}
	switch seen, err := h.seesDevice(ctx, name); {
	case err != nil:
		return nil, err
	case !seen:
		return nil, command.Errorf(command.CodeNotFound, "no device is called %q", name)
	}
	return h.reads.Credentials(ctx, name)
}

func (s *Server) viewCredential(c *device.Credential) Credential {
	v := Credential{
		N: c.N, Kind: CredentialKind(c.Kind.String()), Counts: c.Counts(s.now()), CreatedAt: Time(c.CreatedAt), CreatedBy: c.CreatedBy,
		ExpiresAt: timeOf(c.ExpiresAt), LastUsedAt: timeOf(c.UsedAt), RevokedAt: timeOf(c.RevokedAt), RevokedBy: c.RevokedBy,
	}
	if c.Kind == device.Certificate {
		v.Fingerprint = hex.EncodeToString(c.Digest[:])
	}
	return v
}

func (h handlers) AddCredential(ctx context.Context, r AddCredentialRequestObject) (AddCredentialResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	p, err := proofIn(r.Device, *r.Body)
	if err != nil {
		return nil, err
	}
	c, made, err := h.use.AddCredential(ctx, p, userOf(ctx))
	if err != nil {
		return nil, err
	}
	return AddCredential201JSONResponse{N: c.N, Kind: CredentialKind(c.Kind.String()), Secret: made.Text(), CreatedAt: Time(c.CreatedAt)}, nil
}

func (h handlers) RevokeCredential(ctx context.Context, r RevokeCredentialRequestObject) (RevokeCredentialResponseObject, error) {
	if err := checkDevice("device", r.Device); err != nil {
		return nil, err
	}
	if err := h.use.RevokeCredential(ctx, r.Device, r.N, userOf(ctx)); err != nil {
		return nil, err
	}
	return RevokeCredential204Response{}, nil
}

// proofIn turns the shape of a credential into what it means. What it says of a
// secret that cannot be read never repeats it.
func proofIn(name string, b CredentialRule) (device.Proof, error) {
	p := device.Proof{Device: name, Kind: kindsOfCredentials[b.Kind], Certificate: b.Pem}
	if b.Secret != nil {
		s, what := device.ParseSecret(*b.Secret)
		if what != "" {
			return p, &command.Error{Code: command.CodeInvalid, Msg: "the credential cannot be as it is",
				Fields: []command.Field{{Pointer: "/secret", Detail: what}}}
		}
		p.Secret = s
	}
	return p, nil
}

var kindsOfCredentials = map[CredentialKind]device.CredentialKind{
	CredentialKindPsk: device.PSK, CredentialKindCertificate: device.Certificate,
}
