package coap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"behest/coap"
	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
	"behest/command"
	"behest/device"
)

// refusing are use cases of which one refuses, for a reason that a real one
// cannot be brought to at will.
type refusing struct {
	coap.UseCases
	err error
}

func (u *refusing) Report(context.Context, string, device.Speaker, uint32, command.Report) error {
	return u.err
}

func TestEveryRefusalHasItsResponseCode(t *testing.T) {
	want := map[command.Code]string{
		command.CodeMalformed:       `ACK 4.00 "why"`,
		command.CodeInvalid:         `ACK 4.00 "why"`,
		command.CodeUnauthenticated: `ACK 4.01 "why"`,
		command.CodeForbidden:       `ACK 4.03 "why"`,
		command.CodeNotFound:        `ACK 4.04 "why"`,
		command.CodeUnknownDevice:   `ACK 4.04 "why"`,
		command.CodeConflict:        `ACK 4.09 "why"`,
		command.CodeContradiction:   `ACK 4.09 "why"`,
		command.CodePrecondition:    `ACK 4.12 "why"`,
		command.CodeTooLarge:        `ACK 4.13 Size1=1024 "why"`,
		command.CodeMediaType:       `ACK 4.15 "why"`,
		command.CodeTooMany:         `ACK 4.29 MaxAge=5 "why"`,
		command.CodeDeviceFull:      `ACK 4.29 MaxAge=5 "why"`,
		command.CodeUnavailable:     `ACK 5.03 MaxAge=5 "why"`,
		command.CodeOutcomeUnknown:  `ACK 5.03 MaxAge=5 "why"`,
		command.CodeInternal:        `ACK 5.00 "why"`,
	}
	uses := new(refusing)
	served(t, uses, func(p *peer) {
		for _, code := range command.Codes {
			uses.err = fmt.Errorf("report: %w", command.Errorf(code, "why"))
			if got := p.ask(reportOf("pump-7", 1, success)).String(); got != want[code] {
				t.Errorf("%s: %s, want %s", code, got, want[code])
			}
		}
		for _, tt := range []struct {
			name string
			err  error
			want string
		}{
			{"what nobody classified stays in the log", errors.New("secret: disk 7"), `ACK 5.00 "internal error"`},
			{"when to try again is said", &command.Error{Code: command.CodeTooMany, Msg: "why", RetryAfter: 90 * time.Second}, `ACK 4.29 MaxAge=90 "why"`},
			{"at least a second", &command.Error{Code: command.CodeUnavailable, Msg: "why", RetryAfter: time.Millisecond}, `ACK 5.03 MaxAge=1 "why"`},
			{"64 bytes fit", command.Errorf(command.CodeMalformed, "%s", strings.Repeat("x", 64)), `ACK 4.00 "` + strings.Repeat("x", 64) + `"`},
			{"65 are cut", command.Errorf(command.CodeMalformed, "%s", strings.Repeat("x", 65)), `ACK 4.00 "` + strings.Repeat("x", 64) + `"`},
			{"between two letters", command.Errorf(command.CodeMalformed, "x%s", strings.Repeat("ü", 40)), `ACK 4.00 "x` + strings.Repeat("ü", 31) + `"`},
		} {
			uses.err = tt.err
			if got := p.ask(reportOf("pump-7", 1, success)).String(); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	})
	if len(want) != len(command.Codes) {
		t.Errorf("%d codes, %d rows", len(command.Codes), len(want))
	}
}

// served runs f against a server with these use cases.
func served(t *testing.T, uses coap.UseCases, f func(*peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1, perfect)}
		conn, err := w.net.Listen(serverAddr)
		if err != nil {
			t.Fatal(err)
		}
		s, err := coap.New(conn, coap.Options{Endpoint: endpoint.Options{Workers: 2}})
		if err != nil {
			t.Fatal(err)
		}
		s.Bind(uses)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		f(w.peer("127.0.0.2:5000"))
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
