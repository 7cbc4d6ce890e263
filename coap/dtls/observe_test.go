package dtls_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/dtls"
	"behest/coap/endpoint"
	"behest/coap/udp"
)

// observed answers an observation, and tells who observes.
type observed struct {
	peers chan endpoint.Peer
	idle  chan endpoint.Peer
}

func (o observed) Serve(_ context.Context, r *endpoint.Request) endpoint.Response {
	o.peers <- r.Peer
	return endpoint.Response{Code: codes.Content, Observe: endpoint.Some(1), Payload: []byte("0")}
}

func (o observed) Idle(p endpoint.Peer) {
	select {
	case o.idle <- p:
	default:
	}
}

// notice is a notification, and what becomes of it.
type notice struct {
	text string
	done chan endpoint.Outcome
}

func (n notice) Build(int, time.Time) (endpoint.Response, bool) {
	return endpoint.Response{Code: codes.Content, Observe: endpoint.Some(2), Payload: []byte(n.text)}, true
}

func (n notice) Done(o endpoint.Outcome, _ int) { n.done <- o }

// TestAnAddressChangeLosesNoObservation: the endpoint above sends to the same
// peer as before, and the device acknowledges from where it is now.
func TestAnAddressChangeLosesNoObservation(t *testing.T) {
	inner, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &book{psks: map[string][][]byte{"pump-1": {key1}}}
	conn, err := dtls.New(inner, b, dtls.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := observed{peers: make(chan endpoint.Peer, 100), idle: make(chan endpoint.Peer, 100)}
	e, err := endpoint.New(conn, o, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	over.Go(func() {
		if err := conn.Run(); err != nil {
			t.Error(err)
		}
	})
	defer over.Wait()
	defer cancel()

	p := newProxy(t, (&server{Conn: conn}).addr())
	c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator())))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	notices := make(chan string, 100)
	over.Go(func() { acknowledge(c, notices) })
	// CON GET /c, token "t", Observe 0
	request := []byte{0x41, 0x01, 0, 1, 't', 0x60, 0x51, 'c'}
	c.Write(request)
	peer := <-o.peers
	<-notices // the answer
	for i := range 5 {
		p.rebind(t)
		c.Write([]byte{0x40, 0x00, 1, byte(i)}) // a sign of life from there: a ping
		wait(t, "the move", func() bool { s, ok := conn.Session(peer.Session); return ok && s.Remote == p.outside() && s.Proven })
		n := notice{text: fmt.Sprint("notice ", i), done: make(chan endpoint.Outcome, 1)}
		wait(t, "a free peer", func() bool {
			_, err := e.Confirm(peer, endpoint.TokenOf([]byte("t")), n, endpoint.ConfirmOptions{})
			return err == nil
		})
		if got := <-notices; got != n.text {
			t.Errorf("notice %q, want %q", got, n.text)
		}
		if out := <-n.done; out != endpoint.Acked {
			t.Errorf("notice %d: %v", i, out)
		}
	}
	if n := conn.Stats(); n.Handshakes != 1 || n.Proven != 5 {
		t.Errorf("stats %+v", n)
	}
}

// acknowledge answers what the device is told, and resets pings, until its session ends.
func acknowledge(c *pion.Conn, notices chan<- string) {
	buf := make([]byte, 2000)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if n < 4 {
			continue
		}
		switch typ := buf[0] >> 4 & 3; {
		case typ == 0 && buf[1] == 0:
			c.Write([]byte{0x70, 0, buf[2], buf[3]})
		case buf[1] != 0:
			if typ == 0 {
				c.Write([]byte{0x60, 0, buf[2], buf[3]})
			}
			for i := 4; i < n; i++ {
				if buf[i] == 0xff {
					notices <- string(buf[i+1 : n])
					break
				}
			}
		}
	}
}
