package endpoint_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/udp"
)

// TestLibcoapsClientUnderstands runs an independent stack over real sockets: a
// body up and a body down in blocks, a separate response, and an error.
func TestLibcoapsClientUnderstands(t *testing.T) {
	client, err := exec.LookPath("coap-client-notls")
	if err != nil {
		t.Skip("libcoap's client is not installed (Debian: libcoap3-bin)")
	}
	conn, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		switch strings.Join(r.Path, "/") {
		case "up":
			return endpoint.Response{Code: codes.Changed, Payload: fmt.Appendf(nil, "got %d bytes, right: %t", len(r.Payload), string(r.Payload) == text(5000))}
		case "down":
			return endpoint.Response{Code: codes.Content, Payload: []byte(text(5000))}
		case "separate":
			return endpoint.Response{Separate: &script{
				build: func(int) (endpoint.Response, bool) {
					return endpoint.Response{Code: codes.Content, Payload: []byte("separate")}, true
				},
				done: func(endpoint.Outcome, int) {}}}
		}
		return endpoint.Response{Code: codes.NotFound}
	}}
	e, err := endpoint.New(conn, h, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- e.Run(ctx) }()
	up := filepath.Join(t.TempDir(), "up")
	if err := os.WriteFile(up, []byte(text(5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, path string
		args       []string
		want       string
	}{
		{"a body up", "up", []string{"-m", "post", "-b", "256", "-f", up}, "got 5000 bytes, right: true"},
		{"a body down", "down", []string{"-m", "get"}, text(5000)},
		{"a body down in blocks of 64", "down", []string{"-m", "get", "-b", "64"}, text(5000)},
		{"a separate response", "separate", []string{"-m", "get"}, "separate"},
		{"a NON and its separate response", "separate", []string{"-N", "-m", "get"}, "separate"},
		{"an error", "nowhere", []string{"-m", "get"}, "4.04"},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := append(row.args, "-B", "10", fmt.Sprintf("coap://%v/%s", conn.LocalAddr(), row.path))
			out, err := exec.CommandContext(ctx, client, args...).CombinedOutput()
			if err != nil || !strings.Contains(strings.ReplaceAll(string(out), "\n", ""), row.want) {
				t.Errorf("%v: %.200s", err, out)
			}
		})
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}
