package coap_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/net/blockwise"

	"behest/command"
	"behest/firmware-sim/device"
)

// echoID is the Echo option [RFC 9175 2.2], which go-coap does not name.
const echoID = message.OptionID(252)

// echo is the Echo value that a message carries.
func (m msg) echo() string {
	for _, o := range m.options {
		if o.ID == echoID {
			return string(o.Value)
		}
	}
	return ""
}

// prove proves the peer's address.
func (p *peer) prove() {
	p.t.Helper()
	echo := p.ask(post("rd")).echo()
	if got := p.ask(get(".well-known/core").raw(echoID, echo)); echo == "" || got.code != codes.Content {
		p.t.Fatalf("with the Echo %x: %v", echo, got)
	}
}

// TestWhatAStrangerGets: bytes out for bytes in, of each kind of first request
// from an address that has proven nothing, and none of the costly ones is served.
func TestWhatAStrangerGets(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		for i, tt := range []struct {
			name   string
			m      msg
			echoes bool
			most   float64
		}{
			{"registration", post("rd?ep=pump-7"), true, 1},
			{"registration without a name", post("rd"), true, 2},
			{"refresh", post("rd/1"), true, 1.5},
			{"refresh of a later device", post("rd/1000000"), true, 1},
			{"deregistration", ask(codes.DELETE, "rd/1"), true, 1.5},
			{"list", get("c/pump-7").accept(60), true, 1},
			{"observation", get("c/pump-7").observe(0), true, 1},
			{"report", reportOf("pump-7", start, success), true, 1},
			{"report, not confirmable", reportOf("pump-7", start, success).as(non), true, 1},
			{"report, a later block", reportOf("pump-7", start, success).block(message.Block1, 1, false, 16), true, 1},
			{"list, a later block", get("c/pump-7").block(message.Block2, 1, false, 64), true, 1},
			{"wrong method", ask(codes.PUT, "c/pump-7"), true, 1.1},
			{"discovery", get(".well-known/core"), false, 3},
			{"no such resource", get("nowhere"), false, 3},
			{"unknown option", post("rd").raw(9, ""), false, 1},
		} {
			p := w.peer(fmt.Sprintf("10.2.0.%d:5000", i+1))
			got := p.ask(tt.m)
			in, out := len(tt.m.bytes()), len(got.bytes())
			t.Logf("%-42s %3d bytes in, %3d out, %.2f", tt.name, in, out, float64(out)/float64(in))
			if (got.echo() != "") != tt.echoes || tt.echoes && (got.code != codes.Unauthorized || got.payload != "") {
				t.Errorf("%s: %v", tt.name, got)
			}
			if float64(out) > tt.most*float64(in) {
				t.Errorf("%s: %d bytes out for %d", tt.name, out, in)
			}
		}
		if st := w.server.Stats(); st.Requests != 2 {
			t.Errorf("%d were served, of which discovery and the wrong path are two", st.Requests)
		}
	})
}

// TestADeviceBeyondLoopbackGoesARound: the simulated device carries back what
// it is sent, also once it was forgotten.
func TestADeviceBeyondLoopbackGoesARound(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		w.device(device.Options{Name: "pump-7"})
		time.Sleep(time.Minute)
		id := w.issue("pump-7", command.Intent{})
		time.Sleep(time.Hour)
		if x := w.execution(id); x.State != command.Succeeded {
			t.Errorf("it is %s", x.State)
		}
		if w.server.Stats().Challenged == 0 {
			t.Error("nobody had to prove anything")
		}
	})
}

// TestGoCoAPsClientProvesItself over a real socket; go-coap does not carry an
// Echo back by itself.
func TestGoCoAPsClientProvesItself(t *testing.T) {
	onLoopback(t, func(w *world) {
		g := w.goCoAP(blockwise.SZX1024)
		register := func(echo ...message.Option) *pool.Message {
			o := append(message.Options{{ID: message.URIQuery, Value: []byte("ep=pump-7")}}, echo...)
			m, err := g.conn.Post(g.ctx(), "/rd", message.AppLinkFormat, nil, o...)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		m := register()
		echo, err := m.Options().GetBytes(echoID)
		if m.Code() != codes.Unauthorized || err != nil {
			t.Fatalf("%v, Echo %x %v", m.Code(), echo, err)
		}
		if m := register(message.Option{ID: echoID, Value: echo}); m.Code() != codes.Created {
			t.Errorf("with the Echo: %v", m.Code())
		}
		if m := g.post("/rd/1", message.TextPlain, nil); m.Code() != codes.Changed {
			t.Errorf("once it is proven: %v", m.Code())
		}
	}, stranger)
}

// TestLibcoapsClientProvesItself: it carries an Echo back by itself.
func TestLibcoapsClientProvesItself(t *testing.T) {
	client, err := exec.LookPath("coap-client-notls")
	if err != nil {
		t.Skip("libcoap's client is not installed (Debian: libcoap3-bin)")
	}
	onLoopback(t, func(w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, client, "-B", "10", "-v", "6", "-m", "post", fmt.Sprintf("coap://%v/rd?ep=pump-7", w.addr)).CombinedOutput()
		if st := w.server.Stats(); err != nil || !strings.Contains(string(out), "2.01") || st.Challenged != 1 {
			t.Errorf("%v, %d challenged: %s", err, st.Challenged, out)
		}
	}, stranger)
}
