package endpoint_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"
	"go.uber.org/goleak"

	"behest/coap/endpoint"
	"behest/coap/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is a Handler made of functions.
type handler struct {
	serve func(context.Context, *endpoint.Request) endpoint.Response
	idle  func(endpoint.Peer)
}

func (h handler) Serve(ctx context.Context, r *endpoint.Request) endpoint.Response {
	return h.serve(ctx, r)
}

func (h handler) Idle(p endpoint.Peer) {
	if h.idle != nil {
		h.idle(p)
	}
}

// notice is a Confirmable that tells its end.
type notice struct {
	payload string
	done    chan [2]int
}

func (n *notice) Build(attempt int, _ time.Time) (endpoint.Response, bool) {
	return endpoint.Response{Code: codes.Content, Observe: endpoint.Some(uint32(attempt + 1)), Payload: []byte(n.payload)}, true
}

func (n *notice) Done(o endpoint.Outcome, attempt int) { n.done <- [2]int{int(o), attempt} }

func TestRoundOverRealSockets(t *testing.T) {
	conn, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	peers := make(chan endpoint.Peer, 1)
	e, err := endpoint.New(conn, handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		peers <- r.Peer
		return endpoint.Response{Code: codes.Changed}
	}}, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- e.Run(ctx) }()
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1500)
	client.Write([]byte{0x41, 0x02, 0x12, 0x34, 0xaa, 0xb1, 'c', 0xff, 1})
	n, err := client.Read(buf)
	if got, want := string(buf[:n]), "\x61\x44\x12\x34\xaa"; err != nil || got != want {
		t.Fatalf("% x, %v; want % x", got, err, want)
	}
	notice := &notice{"hello", make(chan [2]int, 1)}
	if _, err := e.Confirm(<-peers, endpoint.TokenOf([]byte{7}), notice, endpoint.ConfirmOptions{}); err != nil {
		t.Fatal(err)
	}
	n, err = client.Read(buf)
	if err != nil || n < 6 || buf[0] != 0x41 || buf[1] != 0x45 || buf[4] != 7 {
		t.Fatalf("% x, %v", buf[:n], err)
	}
	client.Write([]byte{0x60, 0, buf[2], buf[3]})
	if got, want := <-notice.done, [2]int{int(endpoint.Acked), 0}; got != want {
		t.Fatalf("%v, want %v", got, want)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if got := e.Stats(); got.Received != 2 || got.Sent != 2 || got.Requests != 1 || got.Acked != 1 || got.Exchanges != 0 {
		t.Errorf("%+v", got)
	}
}
