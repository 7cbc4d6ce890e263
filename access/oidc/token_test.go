package oidc

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"behest/access"
)

// is reports whether err is what is wanted: a refusal to the letter.
func is(err, want error) bool {
	var got access.Refusal
	if r, ok := want.(access.Refusal); ok {
		return errors.As(err, &got) && got == r
	}
	return errors.Is(err, want)
}

func seconds(d time.Duration) int64 { return noon.Add(d).Unix() }

func TestWhatIsTakenAndWhatIsNot(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url})
	for _, row := range []struct {
		name   string
		change func(*draft)
		want   error
	}{
		{"good", nil, nil},
		{"one audience of several", claim("aud", []string{"others", audience}), nil},
		{"of another audience", claim("aud", "others"), refusedOthers},
		{"of other audiences", claim("aud", []string{"others", audience + "2"}), refusedOthers},
		{"of no audience", claim("aud", nil), refusedOthers},
		{"of another issuer", claim("iss", "https://login.example.org"), refusedOthers},
		{"of an issuer with a slash more", claim("iss", i.url+"/"), refusedOthers},
		{"of no issuer", claim("iss", nil), refusedOthers},

		{"that has ended, within the leeway", claim("exp", seconds(-leeway+time.Second)), nil},
		{"that has ended", claim("exp", seconds(-leeway)), refusedLate},
		{"that ended long ago", claim("exp", 1), refusedLate},
		{"without an end", claim("exp", nil), refusedLate},
		{"whose end is text", claim("exp", "tomorrow"), refusedOthers},
		{"that lasts as long as may be", claim("exp", seconds(lifetimeMax)), nil},
		{"that lasts longer", claim("exp", seconds(lifetimeMax+time.Second)), refusedLasting},
		{"that lasts for ever", claim("exp", json.Number("1e15")), refusedLasting},
		{"whose end is past all time", claim("exp", json.Number("1e300")), refusedLate},
		{"that begins soon", claim("nbf", seconds(leeway)), nil},
		{"that begins later", claim("nbf", seconds(leeway+time.Second)), refusedEarly},
		{"that begins never", claim("nbf", json.Number("1e300")), refusedEarly},
		{"whose beginning is text", claim("nbf", "today"), refusedOthers},

		{"an access token", header("typ", "at+jwt"), nil},
		{"an access token, at length", header("typ", "application/at+JWT"), nil},
		{"a JWT", header("typ", "JWT"), nil},
		{"a logout token", header("typ", "logout+jwt"), refusedKind},
		{"a proof of possession", header("typ", "dpop+jwt"), refusedKind},
		{"of a type that is a number", header("typ", 1), refusedForm},
		{"a logout token that does not say so", claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}), refusedKind},

		{"without a subject", claim("sub", nil), refusedNameless},
		{"of an empty subject", claim("sub", ""), refusedNameless},
		{"of a subject that is a number", claim("sub", 7), refusedOthers},
		{"with a second subject", claim("Sub", "bob"), refusedClaims},
		{"with a second audience", func(d *draft) { d.claims["aud"], d.claims["AUD"] = "others", audience }, refusedOthers},
		{"with a second audience that counts", func(d *draft) { d.claims["Aud"], d.claims["aud"] = "others", audience }, refusedClaims},
		{"with another end", claim("Exp", seconds(time.Hour)), refusedClaims},

		{"without a kid", header("kid", nil), nil},
		{"signed by somebody else", func(d *draft) { d.key = otherKey }, refusedSignature},
		{"signed by somebody else, without a kid", func(d *draft) { d.key = otherKey; delete(d.header, "kid") }, refusedSignature},
		{"signed for another algorithm of the key", func(d *draft) { d.alg = "PS256" }, refusedKey},
		{"that brings its key", func(d *draft) {
			d.key, d.header["jwk"] = otherKey, jose.JSONWebKey{Key: otherKey.Public(), KeyID: "first"}
		}, refusedSignature},
		{"that brings its key, and names another", func(d *draft) {
			d.key, d.header["jwk"], d.header["kid"] = otherKey, jose.JSONWebKey{Key: otherKey.Public(), KeyID: "mine"}, "mine"
		}, refusedKey},
		{"that says where its key is", func(d *draft) {
			d.key, d.header["jku"], d.header["x5u"] = otherKey, i.url+"/mine", i.url+"/mine"
		}, refusedSignature},
		{"whose kid is a path", header("kid", "../../../../dev/null"), refusedKey},
		{"with a header that must be understood", func(d *draft) { d.header["crit"], d.header["x"] = []string{"x"}, 1 }, refusedSignature},
	} {
		d := i.good()
		if row.change != nil {
			row.change(&d)
		}
		g.is(row.name, d.sign(t), row.want)
	}
	if n := i.askings(); n != 1 {
		t.Errorf("the provider was asked %d times for its keys", n)
	}
	if l, until, err := g.Verify(t.Context(), i.good().sign(t)); err != nil || !until.Equal(noon.Add(time.Hour+leeway)) {
		t.Errorf("until: %+v %v %v", l, until, err)
	}
}

// The algorithm is said by who sends the token: what is on the list needs a
// private key, whatever is done with the public one.
func TestOnlyWhoHasAPrivateKeySigns(t *testing.T) {
	i := newIssuer(t)
	i.publish("any", otherKey.Public(), "")
	for alg, key := range ecKeys {
		i.publish(alg, key.Public(), alg)
	}
	i.publish("ed", edKey.Public(), "EdDSA")
	g := enter(t, Options{Issuer: i.url})
	for _, alg := range algorithms {
		d := i.good(header("kid", "any"), func(d *draft) { d.alg, d.key = alg, otherKey })
		switch {
		case ecKeys[alg] != nil:
			d.key, d.header["kid"] = ecKeys[alg], alg
		case alg == "EdDSA":
			d.key, d.header["kid"] = edKey, "ed"
		}
		g.is(alg, d.sign(t), nil)
	}
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "the modulus": rsaKey.N.Bytes(),
	} {
		for _, alg := range []string{"HS256", "HS384", "HS512"} {
			d := i.good(func(d *draft) { d.alg, d.key = alg, secret })
			g.is(alg+" with "+name, d.sign(t), refusedAlgorithm)
		}
	}
	_, rest, _ := strings.Cut(i.good().sign(t), ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "HS256", "rs256", "RS256 ", "ES256K", "RSA1_5"} {
		for _, end := range []string{"", signature} {
			head := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"kid":"first"}`, alg))
			g.is(fmt.Sprintf("%q", alg), head+"."+payload+"."+end, refusedAlgorithm)
		}
	}
	// Two names for one: ours is looked at last, the library's is what counts.
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","ALG":"RS256","kid":"first"}`))
	for _, end := range []string{"", signature} {
		if _, _, err := g.Verify(t.Context(), head+"."+payload+"."+end); !errors.Is(err, access.ErrUnknownToken) {
			t.Errorf("none behind another name: %v", err)
		}
	}
}

func TestWhatIsNoTokenIsTold(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url})
	token := i.good().sign(t)
	g.is("it", token, nil)
	full, err := jose.ParseSigned(token, joseAlgorithms)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "dots": "..", "one more part": token + ".x", "a blank": " " + token, "a line break": token + "\n", "a line break inside": strings.Replace(token, ".", ".\n", 1),
		"padded": token + "==", "as JSON": full.FullSerialize(), "not ASCII": token[:len(token)-2] + "é", "NUL": token + "\x00",
	} {
		g.is(name, text, refusedForm)
	}
	long := i.good(claim("pad", strings.Repeat("x", TokenBytesMax))).sign(t)
	g.is("over the limit", long, refusedLength)
	pad := (TokenBytesMax - len(token)) * 3 / 4
	fits := i.good(claim("pad", strings.Repeat("x", pad-12))).sign(t)
	if len(fits) > TokenBytesMax || len(fits) < TokenBytesMax-16 {
		t.Fatalf("it has %d bytes", len(fits))
	}
	g.is("at the limit", fits, nil)
	g.is("no object", i.good().signs(t, []byte(`"x"`)), refusedOthers)
	g.is("no JSON", i.good().signs(t, []byte(`x`)), refusedOthers)
	for n := range len(token) {
		if _, _, err := g.Verify(t.Context(), token[:n]); !errors.Is(err, access.ErrUnknownToken) {
			t.Fatalf("the first %d characters: %v", n, err)
		}
	}
	for n, c := range []byte(token) {
		changed := byte('A')
		if c == changed {
			changed = 'Q' // another bit, also in the last character of a part, of which not all count
		}
		if _, _, err := g.Verify(t.Context(), token[:n]+string(changed)+token[n+1:]); err == nil && token[n+1:] != "" {
			t.Errorf("with character %d changed it is taken", n)
		}
	}
}

func TestTheClaimNamesWhoItIs(t *testing.T) {
	i := newIssuer(t)
	full := func(change ...func(*draft)) string {
		all := []func(*draft){claim("sub", "s"), claim("oid", "o"), claim("email", "e@example.org"), claim("preferred_username", "p")}
		return i.good(append(all, change...)...).sign(t)
	}
	for _, row := range []struct {
		claim, token, want string
		err                error
	}{
		{"", full(), "s", nil},
		{"sub", full(claim("email_verified", false)), "s", nil},
		{"oid", full(), "o", nil},
		{"oid", i.good().sign(t), "", refusedNameless},
		{"preferred_username", full(), "p", nil},
		{"preferred_username", i.good(claim("Preferred_Username", "ann")).sign(t), "", refusedNameless},
		{"email", full(claim("email_verified", true)), "e@example.org", nil},
		{"email", full(claim("email_verified", "true")), "e@example.org", nil},
		{"email", full(claim("email_verified", false)), "", refusedEmail},
		{"email", full(claim("email_verified", "false")), "", refusedEmail},
		{"email", full(claim("email_verified", 1)), "", refusedEmail},
		{"email", full(claim("email_verified", []bool{true})), "", refusedEmail},
		{"email", full(), "", refusedEmail},
		{"email", i.good(claim("email_verified", true)).sign(t), "", refusedNameless},
	} {
		p, err := New(Options{Issuer: i.url, Audience: audience, Claim: row.claim, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		p.hold(keysOf(t, i), nil)
		l, _, err := p.Verify(t.Context(), row.token)
		if row.err == nil && (err != nil || l.Subject != row.want) || row.err != nil && !is(err, row.err) {
			t.Errorf("%+v: %+v %v", row, l, err)
		}
	}
}

// keysOf fetches an issuer's keys.
func keysOf(t *testing.T, i *issuer) keys {
	t.Helper()
	p, err := New(Options{Issuer: i.url, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	k, err := p.fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// FuzzVerify: what is not signed by the issuer stands for nobody, whatever it is.
func FuzzVerify(f *testing.F) {
	p, err := New(Options{Issuer: "https://login.example.org", Audience: audience, Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	p.hold(keys{{Key: rsaKey.Public(), KeyID: "first"}}, nil)
	d := draft{key: rsaKey, alg: "RS256", header: map[jose.HeaderKey]any{"kid": "first"}, claims: map[string]any{"sub": "ann"}}
	f.Add(d.sign(f))
	d.key, d.claims = otherKey, map[string]any{"iss": "https://login.example.org", "aud": audience, "sub": "ann", "exp": noon.Add(time.Hour).Unix()}
	f.Add(d.sign(f))
	f.Add("e30.e30.e30")
	f.Add(`{"payload":"e30","signatures":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		if l, _, err := p.Verify(t.Context(), text); err == nil {
			t.Errorf("%q stands for %+v", text, l)
		}
	})
}

// What a request costs more by a login, and what a forged one does.
func BenchmarkVerify(b *testing.B) {
	p, err := New(Options{Issuer: "https://login.example.org", Audience: audience, Now: func() time.Time { return noon }})
	if err != nil {
		b.Fatal(err)
	}
	p.hold(keys{{Key: rsaKey.Public(), KeyID: "first"}, {Key: ecKeys["ES256"].Public(), KeyID: "ec"}}, nil)
	i := issuer{url: p.o.Issuer}
	pad := claim("pad", strings.Repeat("x", 800))
	for name, d := range map[string]draft{
		"RS256": i.good(pad), "ES256": i.good(pad, header("kid", "ec"), func(d *draft) { d.alg, d.key = "ES256", ecKeys["ES256"] }),
		"forged": i.good(pad, func(d *draft) { d.key = otherKey }),
	} {
		token := d.sign(b)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := p.Verify(b.Context(), token); (err == nil) == (name == "forged") {
					b.Fatal(err)
				}
			}
		})
	}
}
