package access

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokenFormIsFixed(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		text := NewToken()
		if len(text) != 50 || !strings.HasPrefix(text, "bh_") {
			t.Fatalf("%q is not 50 characters behind bh_", text)
		}
		token, err := ParseToken(text)
		if err != nil {
			t.Fatalf("ParseToken(%q): %v", text, err)
		}
		if seen[token.ID] {
			t.Fatalf("the id %s came twice in a thousand", token.ID)
		}
		seen[token.ID] = true
	}
}

func TestTokenOfRecordStillParses(t *testing.T) {
	// Tokens are in files and password managers: their form cannot change.
	token, err := ParseToken("bh_0a1b2c3d00112233445566778899aabbccddeeff3jpspsg")
	if err != nil {
		t.Fatal(err)
	}
	if token.ID != "0a1b2c3d" {
		t.Errorf("got id %s", token.ID)
	}
	const want = "5947d7c3"
	if got := hex.EncodeToString(token.Hash[:4]); got != want {
		t.Errorf("got a hash that begins with %s, want %s", got, want)
	}
}

func TestAnyChangedCharacterIsNoToken(t *testing.T) {
	text := NewToken()
	for i := range text {
		for _, c := range []byte{'0', '1', 'z', 'i', 'A', '_', 0, 0xff} {
			changed := text[:i] + string([]byte{c}) + text[i+1:]
			if changed == text {
				continue
			}
			if _, err := ParseToken(changed); !errors.Is(err, ErrNoToken) {
				t.Errorf("ParseToken with byte %d set to %q: %v", i, c, err)
			}
		}
	}
	for i := range text {
		if _, err := ParseToken(text[:i]); !errors.Is(err, ErrNoToken) {
			t.Errorf("the first %d characters are a token: %v", i, err)
		}
	}
	for name, text := range map[string]string{
		"trailing space": text + " ", "upper case": strings.ToUpper(text), "another prefix": "gh" + text[2:],
		"twice": text + text, "newline": text[:49] + "\n",
	} {
		if _, err := ParseToken(text); !errors.Is(err, ErrNoToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRoleNamesRoundTrip(t *testing.T) {
	if got, want := everyRole.String(), "viewer,operator,approver,admin"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, name := range everyRole.Names() {
		r, err := ParseRole(name)
		if err != nil || r.String() != name {
			t.Errorf("ParseRole(%q) = %v, %v", name, r, err)
		}
	}
	if _, err := ParseRole("root"); err == nil {
		t.Error("root is a role")
	}
}

// who may do what, as the design says it: read each line aloud.
func TestRolesMayWhatTheDesignSays(t *testing.T) {
	want := map[string]string{
		"POST /v1/commands":                           "operator,admin",
		"GET /v1/commands":                            "viewer,operator,approver,admin",
		"GET /v1/commands/{id}":                       "viewer,operator,approver,admin",
		"GET /v1/commands/{id}/executions":            "viewer,operator,approver,admin",
		"GET /v1/commands/{id}/executions/{device}":   "viewer,operator,approver,admin",
		"POST /v1/commands/{id}/cancel":               "operator,approver,admin",
		"GET /v1/devices":                             "viewer,operator,approver,admin",
		"GET /v1/devices/{device}":                    "viewer,operator,approver,admin",
		"PUT /v1/devices/{device}":                    "operator,admin",
		"PATCH /v1/devices/{device}":                  "operator,admin",
		"DELETE /v1/devices/{device}":                 "admin",
		"POST /v1/devices/{device}/cancel":            "operator,approver,admin",
		"POST /v1/commands/{id}/approve":              "approver,admin",
		"POST /v1/commands/{id}/deny":                 "approver,admin",
		"POST /v1/commands/{id}/pause":                "operator,admin",
		"POST /v1/commands/{id}/resume":               "operator,admin",
		"POST /v1/commands/{id}/rollback":             "operator,admin",
		"POST /v1/commands/preview":                   "operator,admin",
		"GET /v1/approvals":                           "viewer,operator,approver,admin",
		"GET /v1/groups":                              "viewer,operator,approver,admin",
		"GET /v1/groups/{name}":                       "viewer,operator,approver,admin",
		"PUT /v1/groups/{name}":                       "operator,admin for all devices",
		"DELETE /v1/groups/{name}":                    "operator,admin for all devices",
		"POST /v1/commands/batch":                     "operator,admin",
		"GET /v1/commands/{id}/events":                "viewer,operator,approver,admin",
		"GET /v1/executions":                          "viewer,operator,approver,admin",
		"GET /v1/events":                              "viewer,operator,approver,admin",
		"GET /v1/devices/{device}/credentials":        "admin",
		"POST /v1/devices/{device}/credentials":       "admin",
		"GET /v1/devices/{device}/credentials/{n}":    "admin",
		"DELETE /v1/devices/{device}/credentials/{n}": "admin",
		"POST /v1/credentials/import":                 "admin for all devices",
		"GET /v1/checkpoint":                          "viewer,operator,approver,admin for all devices",
		"GET /docs":                                   "viewer,operator,approver,admin or on loopback",
		"GET /metrics":                                "viewer,operator,approver,admin for all devices or on loopback",
		"GET /v1/types":                               "viewer,operator,approver,admin",
		"GET /v1/types/{name}":                        "viewer,operator,approver,admin",
		"PUT /v1/types/{name}":                        "admin for all devices",
		"DELETE /v1/types/{name}":                     "admin for all devices",
		"GET /v1/types/{name}/versions/{n}":           "viewer,operator,approver,admin",
		"GET /v1/users":                               "admin for all devices",
		"GET /v1/users/{id}":                          "admin for all devices",
		"PUT /v1/users/{id}":                          "admin for all devices",
		"DELETE /v1/users/{id}":                       "admin for all devices",
		"GET /v1/users/{id}/tokens":                   "admin for all devices",
		"POST /v1/users/{id}/tokens":                  "admin for all devices",
		"DELETE /v1/users/{id}/tokens/{n}":            "admin for all devices",
		"GET /v1/me":                                  "viewer,operator,approver,admin",
		"GET /livez":                                  "everybody",
		"GET /readyz":                                 "everybody",
		"GET /openapi.json":                           "viewer,operator,approver,admin or on loopback",

		"GET /v1/webhooks":                                    "admin for all devices",
		"GET /v1/webhooks/{id}":                               "admin for all devices",
		"PUT /v1/webhooks/{id}":                               "admin for all devices",
		"DELETE /v1/webhooks/{id}":                            "admin for all devices",
		"POST /v1/webhooks/{id}/secret":                       "admin for all devices",
		"GET /v1/webhooks/{id}/deliveries":                    "admin for all devices",
		"POST /v1/webhooks/{id}/deliveries/{event}/redeliver": "admin for all devices",
	}
	got := make(map[string]string)
	for route, rule := range Rules {
		s := rule.Roles.String()
		if rule.Everywhere {
			s += " for all devices"
		}
		switch rule.Public {
		case Everybody:
			s += "everybody"
		case OnLoopback:
			s += " or on loopback"
		}
		got[route] = s
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("rules (-got +want):\n%s", diff)
	}
}

func TestLineBreakInTheBodyIsNoToken(t *testing.T) {
	body := "0a1b2c3d00112233\n\n5566778899aabbccddeeff" + "01"
	body = body[:idChars+secretChars]
	if _, err := ParseToken(tokenPrefix + body + checksum(body)); !errors.Is(err, ErrNoToken) {
		t.Errorf("got %v", err)
	}
}

func TestALogShowsNoToken(t *testing.T) {
	token := NewToken()
	jwt := "eyJhbGciOiJFUzI1NiJ9." + strings.Repeat("aB3-_", 40) + "." + strings.Repeat("Zz", 43)
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "/v1/me", "/v1/me"},
		{"a token", token, token[:11] + "..."},
		{"in a path", "/v1/" + token + "/x", "/v1/" + token[:11] + ".../x"},
		{"twice", token + "," + token, token[:11] + "...," + token[:11] + "..."},
		{"behind another prefix", "bh_" + token, "bh_" + token[:11] + "..."},
		{"cut short", token[:20], token[:11] + "..."},
		{"in capitals", "bh_" + strings.ToUpper(token[3:]), "bh_" + strings.ToUpper(token[3:11]) + "..."},
		{"a device's name", "/v1/devices/bh_pump-7", "/v1/devices/bh_pump-7"},
		{"the prefix alone", "bh_", "bh_"},
		{"a provider's", "/v1/" + jwt + "/x", "/v1/eyJ.../x"},
		{"a provider's, cut short", jwt[:80], "eyJ..."},
		{"both", jwt + "," + token, "eyJ...," + token[:11] + "..."},
		{"a device's name like that", "/v1/devices/eyJoe-" + strings.Repeat("x", 57), "/v1/devices/eyJoe-" + strings.Repeat("x", 57)},
	} {
		if got := Masked(row.text); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("bh_0a1b2c3d00112233445566778899aabbccddeeff3jpspsg")
	f.Add(NewToken())
	f.Add("bh_")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		if len(text) != tokenChars || text[3:3+idChars] != token.ID {
			t.Errorf("%q parsed as %+v", text, token)
		}
	})
}
