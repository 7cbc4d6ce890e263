package coap_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/net/blockwise"
	"github.com/plgd-dev/go-coap/v3/options"
	"github.com/plgd-dev/go-coap/v3/udp"
	"github.com/plgd-dev/go-coap/v3/udp/client"

	"behest/cbor"
	"behest/command"
)

// goCoAP is a device on go-coap's client: a stack that others wrote, over a
// real socket.
type goCoAP struct {
	t     *testing.T
	conn  *client.Conn
	lists chan []command.Entry
}

func (w *world) goCoAP(szx blockwise.SZX, o ...udp.Option) *goCoAP {
	w.t.Helper()
	o = append([]udp.Option{options.WithBlockwise(true, szx, 10*time.Second)}, o...)
	conn, err := udp.Dial(w.addr.String(), o...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return &goCoAP{t: w.t, conn: conn, lists: make(chan []command.Entry, 100)}
}

// patience bounds what waits for a real socket on a loaded machine.
const patience = time.Minute

func (g *goCoAP) ctx() context.Context {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	g.t.Cleanup(cancel)
	return ctx
}

func (g *goCoAP) post(path string, format message.MediaType, body []byte, query ...string) *pool.Message {
	g.t.Helper()
	var o message.Options
	for _, q := range query {
		o = o.Add(message.Option{ID: message.URIQuery, Value: []byte(q)})
	}
	var r io.ReadSeeker
	if body != nil {
		r = bytes.NewReader(body)
	}
	m, err := g.conn.Post(g.ctx(), path, format, r, o...)
	if err != nil {
		g.t.Fatalf("POST %s: %v", path, err)
	}
	return m
}

func (g *goCoAP) get(path string, o ...message.Option) (*pool.Message, []byte) {
	g.t.Helper()
	m, err := g.conn.Get(g.ctx(), path, o...)
	if err != nil {
		g.t.Fatalf("GET %s: %v", path, err)
	}
	body, err := m.ReadBody()
	if err != nil {
		g.t.Fatal(err)
	}
	return m, body
}

// observe observes the open list until the test ends.
func (g *goCoAP) observe(path string) (end func()) {
	g.t.Helper()
	o, err := g.conn.Observe(g.ctx(), path, func(m *pool.Message) {
		body, err := m.ReadBody()
		if err != nil {
			g.t.Error(err)
			return
		}
		list, err := cbor.DecodeList(body, time.Now())
		if err != nil {
			g.t.Error(err)
			return
		}
		g.lists <- list
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return func() {
		if err := o.Cancel(g.ctx()); err != nil {
			g.t.Error("canceling the observation:", err)
		}
	}
}

// shown waits for a list of n entries. A client may be shown one twice.
func (g *goCoAP) shown(n int) []command.Entry {
	g.t.Helper()
	for after := time.After(patience); ; {
		select {
		case list := <-g.lists:
			if len(list) == n {
				return list
			}
		case <-after:
			g.t.Fatalf("no list of %d came", n)
		}
	}
}

// reaches waits until a command is in a state.
func (w *world) reaches(id command.ID, s command.State) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		x := w.execution(id)
		if x.State == s {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("it is %s, want %s", x.State, s)
		}
	}
}

func TestGoCoAPsClientGoesARound(t *testing.T) {
	onLoopback(t, func(w *world) {
		g := w.goCoAP(blockwise.SZX1024)
		core, body := g.get("/.well-known/core")
		if f, err := core.ContentFormat(); err != nil || f != message.AppLinkFormat || !bytes.HasPrefix(body, []byte("</rd>")) {
			t.Errorf("%v %v %q", f, err, body)
		}
		m := g.post("/rd", message.AppLinkFormat, []byte("</pump>"), "ep=pump-7", "lt=3600")
		location, err := m.Options().LocationPath()
		if m.Code() != codes.Created || err != nil || location != "/rd/1" {
			t.Errorf("%v at %q %v", m.Code(), location, err)
		}
		end := g.observe("/c/pump-7")
		g.shown(0)

		id := w.issue("pump-7", command.Intent{Params: []byte("\xa1\x63rpm\x19\x04\xb0")})
		entry := g.shown(1)[0]
		w.reaches(id, command.Delivered)
		if entry.Type != "act" || !bytes.Equal(entry.Params, []byte("\xa1\x63rpm\x19\x04\xb0")) {
			t.Errorf("%+v", entry)
		}
		path := fmt.Sprintf("/c/pump-7/%d", entry.Seq)
		if m := g.post(path, message.AppCBOR, []byte("\xa1\x01\x01")); m.Code() != codes.Changed {
			t.Error(m.Code())
		}
		w.reaches(id, command.Succeeded)
		g.shown(0)
		if m := g.post(path, message.AppCBOR, []byte("\xa1\x01\x02")); m.Code() != 4<<5|9 {
			t.Error(m.Code())
		}
		end()
		if m := g.post("/rd/1", message.TextPlain, nil); m.Code() != codes.Changed {
			t.Error(m.Code())
		}
		if d := w.lookUp("pump-7"); d.Observing() {
			t.Error("it observes still")
		}
	})
}

// TestGoCoAPsClientFetchesInBlocks: its own assembly, of an answer that comes
// with the ACK. (That of a confirmable does not work: it asks for the second
// block in a message of type ACK, which carries no request [RFC 7252 4.2].)
func TestGoCoAPsClientFetchesInBlocks(t *testing.T) {
	onLoopback(t, func(w *world) {
		g := w.goCoAP(blockwise.SZX16)
		first, err := blockwise.EncodeBlockOption(blockwise.SZX16, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		_, whole := g.get("/.well-known/core")
		_, body := g.get("/.well-known/core", message.Option{ID: message.Block2, Value: []byte{byte(first)}})
		if len(body) <= 16 || !bytes.Equal(body, whole) {
			t.Errorf("in blocks %q, whole %q", body, whole)
		}
	})
}

// TestGoCoAPsClientFetchesALargeListBlockByBlock, each asked for by hand: as an
// observer and as one that polls.
func TestGoCoAPsClientFetchesALargeListBlockByBlock(t *testing.T) {
	for _, szx := range []blockwise.SZX{blockwise.SZX1024, blockwise.SZX64} {
		onLoopback(t, func(w *world) {
			g := w.goCoAP(szx, options.WithBlockwise(false, szx, time.Second))
			g.post("/rd", message.AppLinkFormat, nil, "ep=pump-7", "w=3")
			var want [][]byte
			for n := range 3 {
				want = append(want, large(900+n))
				w.issue("pump-7", command.Intent{Params: want[n]})
			}
			var body []byte
			for num, more := int64(0), true; more; num++ {
				value, err := blockwise.EncodeBlockOption(szx, num, false)
				if err != nil {
					t.Fatal(err)
				}
				m, part := g.get("/c/pump-7", message.Option{ID: message.Block2, Value: uintBytes(value)})
				block, err := m.Options().GetUint32(message.Block2)
				if err != nil || m.Code() != codes.Content {
					t.Fatalf("block %d: %v %v", num, m.Code(), err)
				}
				if _, _, more, err = blockwise.DecodeBlockOption(block); err != nil {
					t.Fatal(err)
				}
				body = append(body, part...)
			}
			list, err := cbor.DecodeList(body, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			var got [][]byte
			for _, e := range list {
				got = append(got, e.Params)
			}
			if d := cmp.Diff(got, want); d != "" {
				t.Errorf("(-got +want):\n%s", d)
			}
		})
	}
}

func uintBytes(v uint32) []byte {
	b := []byte{byte(v >> 16), byte(v >> 8), byte(v)}
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// TestGoCoAPsClientReportsInBlocks: as large as a type allows that is not
// called large; and links as large as a registration takes, and larger.
func TestGoCoAPsClientReportsInBlocks(t *testing.T) {
	onLoopback(t, func(w *world) {
		g := w.goCoAP(blockwise.SZX64)
		links := bytes.Repeat([]byte("</a>,"), 800)
		if m := g.post("/rd", message.AppLinkFormat, links, "ep=pump-7"); m.Code() != codes.Created {
			t.Error(m.Code())
		}
		if got := w.lookUp("pump-7").Registration.Links; got != string(links) {
			t.Errorf("%d bytes of links, want %d", len(got), len(links))
		}
		g.observe("/c/pump-7")
		id := w.issue("pump-7", command.Intent{})
		seq := g.shown(1)[0].Seq
		report, err := cbor.AppendReport(nil, command.Report{Status: command.StatusSuccess, Result: large(1024)})
		if err != nil {
			t.Fatal(err)
		}
		if m := g.post(fmt.Sprintf("/c/pump-7/%d", seq), message.AppCBOR, report); m.Code() != codes.Changed {
			t.Error(m.Code())
		}
		w.reaches(id, command.Succeeded)
		if x := w.execution(id); !bytes.Equal(x.Last.Result, large(1024)) {
			t.Errorf("%d bytes of a result of 1024", len(x.Last.Result))
		}
		if m := g.post("/rd", message.AppLinkFormat, append(links, links...), "ep=pump-7"); m.Code() != codes.RequestEntityTooLarge {
			t.Error(m.Code())
		}
	})
}
