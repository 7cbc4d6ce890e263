package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	pion "github.com/pion/dtls/v3"

	"behest/bench/operator"
)

const (
	seedsMin, seedsMax = 20, 1000
	seededHooks        = 20 // of the hundred that a server takes
	comeIn             = 10 // devices that use their keys, and as many that come with another one
)

// trove is what was given to the server, and where each may not be.
type trove struct {
	site                *site
	tokens, hooks, keys [][]byte // nowhere on the disk, the log and the metrics included
	markers             [][]byte // of params: in the database, and nowhere else
}

// secrets gives the server secrets of every kind, and looks where they are.
func secrets(ctx context.Context, c *campaign) (err error) {
	s, err := c.build(ctx, "secrets", "--coaps", "127.0.0.1:0", "--log-level=debug", "--log-format=json")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.abandon()) }()
	devices, leave, err := s.populate(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	n := min(max(c.datagrams/1000, seedsMin), seedsMax)
	t := &trove{site: s}
	for i := range n {
		if err := t.user(ctx, i); err != nil {
			return err
		}
		if err := t.key(ctx, i); err != nil {
			return err
		}
		if err := t.command(ctx, i, devices.Name(i%goodDevices)); err != nil {
			return err
		}
		if i < seededHooks {
			if err := t.hook(ctx, i); err != nil {
				return err
			}
		}
	}
	if err := t.visits(ctx); err != nil {
		return err
	}
	running, marked, err := t.search(ctx)
	if err != nil {
		return err
	}
	if err := s.server.Kill(); err != nil { // its WAL stays as it is
		return err
	}
	killed, _, err := t.search(ctx)
	if err != nil {
		return err
	}
	t.report(c, n, append(running, killed...), marked)
	return nil
}

// report adds what was found.
func (t *trove) report(c *campaign, n int, found []string, marked int) {
	c.table.add(row{
		figure: "secrets given to the server", value: fmt.Sprint(len(t.tokens) + len(t.hooks) + len(t.keys)), bound: fmt.Sprint(2*n + 2*min(n, seededHooks)),
		more:   fmt.Sprintf("%d tokens, %d secrets of webhooks, %d keys of devices; used, rotated, and shown in the wrong places", len(t.tokens), len(t.hooks), len(t.keys)),
		broken: len(t.tokens)+len(t.hooks)+len(t.keys) < 2*n+2*min(n, seededHooks),
	})
	c.table.none("of these in a file, the log or the metrics, or params outside the database", len(found), strings.Join(found[:min(len(found), 5)], "; "))
	c.table.add(row{
		figure: "marked params found where they belong, so that it is known to search", value: fmt.Sprint(marked), bound: fmt.Sprint(len(t.markers)),
		more: "in the database and its WAL", broken: marked < len(t.markers),
	})
}

// ask is one request of the administrator, or of who has the token as.
func (t *trove) ask(ctx context.Context, as, method, path, body string) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+t.site.where.HTTP+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+as)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	answer, err = io.ReadAll(a.Body)
	return a.StatusCode, answer, err
}

// told makes a request that has to succeed, and reads one member of its answer.
func (t *trove) told(ctx context.Context, method, path, body, member string) (string, error) {
	status, answer, err := t.ask(ctx, t.site.where.Token, method, path, body)
	if err != nil {
		return "", err
	}
	if status/100 != 2 {
		return "", fmt.Errorf("%s %s: %d %.200s", method, path, status, answer)
	}
	if member == "" {
		return "", nil
	}
	var all map[string]any
	if err := json.Unmarshal(answer, &all); err != nil {
		return "", fmt.Errorf("%s %s: %w", method, path, err)
	}
	text, _ := all[member].(string)
	if text == "" {
		return "", fmt.Errorf("%s %s: no %s in the answer", method, path, member)
	}
	return text, nil
}

// Where the secret of a token is; what stands before it is no secret.
const tokenSecretFrom, tokenSecretTo = 11, 43

// user makes a user with a token, who uses it, and also where it does not belong.
func (t *trove) user(ctx context.Context, i int) error {
	path := fmt.Sprintf("/v1/users/seed-%d", i)
	if _, err := t.told(ctx, http.MethodPut, path, `{"roles":[{"role":"operator"}]}`, ""); err != nil {
		return err
	}
	token, err := t.told(ctx, http.MethodPost, path+"/tokens", `{}`, "token")
	if err != nil {
		return err
	}
	if len(token) < tokenSecretTo {
		return fmt.Errorf("a token of %d characters", len(token))
	}
	t.tokens = append(t.tokens, []byte(token[tokenSecretFrom:tokenSecretTo]))
	for _, use := range []struct{ as, path, body string }{
		{token, "/v1/me", ""}, {token, "/v1/commands?token=" + token, ""}, {"x" + token, "/v1/me", ""}, {token, "/v1/" + token, ""},
		{token, "/v1/commands", `{"` + token + `":1}`},
	} {
		method := http.MethodGet
		if use.body != "" {
			method = http.MethodPost
		}
		if _, _, err := t.ask(ctx, use.as, method, use.path, use.body); err != nil {
			return err
		}
	}
	return nil
}

// key makes a device with a key.
func (t *trove) key(ctx context.Context, i int) error {
	path := fmt.Sprintf("/v1/devices/keyed-%d", i)
	if _, err := t.told(ctx, http.MethodPut, path, `{}`, ""); err != nil {
		return err
	}
	secret, err := t.told(ctx, http.MethodPost, path+"/credentials", `{"kind":"psk"}`, "secret")
	if err != nil {
		return err
	}
	b, err := hex.DecodeString(secret)
	t.keys = append(t.keys, b)
	return err
}

// hook declares a webhook that nobody answers, and gives it another secret.
func (t *trove) hook(ctx context.Context, i int) error {
	path := fmt.Sprintf("/v1/webhooks/seed-%d", i)
	first, err := t.told(ctx, http.MethodPut, path, `{"url":"http://127.0.0.1:9/","allow_private":true}`, "secret")
	if err != nil {
		return err
	}
	second, err := t.told(ctx, http.MethodPost, path+"/secret", "", "secret")
	if err != nil {
		return err
	}
	for _, text := range []string{first, second} {
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		if err != nil {
			return err
		}
		t.hooks = append(t.hooks, b)
	}
	return nil
}

// command sends marked params to a device, and such that are refused.
func (t *trove) command(ctx context.Context, i int, device string) error {
	marker := "marker" + rand.Text()
	t.markers = append(t.markers, []byte(marker))
	in := operator.Intent{Type: "pump.start", Params: json.RawMessage(`{"m":"` + marker + `"}`), Targets: operator.Targets{Devices: []string{device}}}
	if _, fate, err := t.site.client.Issue(ctx, in, "", roundWait); fate != operator.Done {
		return fmt.Errorf("command %d: %v: %w", i, fate, err)
	}
	for _, body := range []string{
		`{"type":"pump.start","params":{"m":"` + marker + `"},"targets":{"devices":["nobody-at-all"]},"more":1}`,
		`{"type":"pump.start","params":{"m":"` + marker + `"`,
		`{"type":"` + marker + ` ","params":{},"targets":{"devices":["` + device + `"]}}`,
	} {
		if _, _, err := t.ask(ctx, t.site.where.Token, http.MethodPost, "/v1/commands", body); err != nil {
			return err
		}
	}
	return nil
}

// visits has devices come in with their keys, and with others'.
func (t *trove) visits(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(t.site.data, "addresses.json"))
	if err != nil {
		return err
	}
	var where struct{ CoAPS string }
	if err := json.Unmarshal(b, &where); err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp4", where.CoAPS)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 6*patience)
	defer cancel()
	for i := range comeIn {
		if err := handshake(ctx, to, fmt.Sprintf("keyed-%d", i), t.keys[i]); err != nil {
			return fmt.Errorf("device %d does not come in: %w", i, err)
		}
	}
	wrong, cancelWrong := context.WithTimeout(ctx, echoWait)
	defer cancelWrong()
	if err := handshake(wrong, to, "keyed-0", t.keys[1]); err == nil {
		return errors.New("a device comes in with another one's key")
	}
	return nil
}

// handshake comes in and goes.
func handshake(ctx context.Context, to net.Addr, identity string, key []byte) error {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer pc.Close()
	conn, err := pion.ClientWithOptions(pc, to,
		pion.WithPSK(func([]byte) ([]byte, error) { return key, nil }), pion.WithPSKIdentityHint([]byte(identity)),
		pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CCM_8))
	if err != nil {
		return err
	}
	return errors.Join(conn.HandshakeContext(ctx), conn.Close())
}

// search looks through all files of the server, and its metrics while it runs.
func (t *trove) search(ctx context.Context) (found []string, marked int, err error) {
	places := map[string][]byte{}
	entries, err := os.ReadDir(t.site.data)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		if places[e.Name()], err = os.ReadFile(filepath.Join(t.site.data, e.Name())); err != nil {
			return nil, 0, err
		}
	}
	if !t.site.server.Ended() {
		if _, places["metrics"], err = t.ask(ctx, t.site.where.Token, http.MethodGet, "/metrics", ""); err != nil {
			return nil, 0, err
		}
	}
	for place, content := range places {
		ours := strings.HasPrefix(place, "behest.db")
		for kind, all := range map[string][][]byte{"token": t.tokens, "webhook": t.hooks, "key": t.keys, "params": t.markers} {
			for i, secret := range all {
				if kind == "params" && ours {
					continue
				}
				if holds(content, secret, kind == "token" || kind == "params") {
					found = append(found, fmt.Sprintf("%s %d in %s", kind, i, place))
				}
			}
		}
	}
	for _, m := range t.markers {
		if bytes.Contains(places["behest.db"], m) || bytes.Contains(places["behest.db-wal"], m) {
			marked++
		}
	}
	return found, marked, nil
}

// holds reports whether a secret is somewhere, as it is or as it may be written.
func holds(content, secret []byte, text bool) bool {
	if bytes.Contains(content, secret) {
		return true
	}
	if text {
		return false
	}
	plain := hex.EncodeToString(secret)
	for _, written := range []string{plain, strings.ToUpper(plain), strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "=")} {
		if bytes.Contains(content, []byte(written)) {
			return true
		}
	}
	return false
}
