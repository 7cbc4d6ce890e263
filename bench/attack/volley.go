package main

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"behest/coap/endpoint"
	"behest/coap/udp"
)

// volley sends datagrams at a steady rate from as many addresses of loopback as
// it is told to, and reads what comes back.
type volley struct {
	conn    *udp.Conn
	to      netip.AddrPort
	in, out atomic.Int64 // bytes, as the one that is attacked sees them
	replies atomic.Int64
	readers sync.WaitGroup
}

const (
	volleyBatch = 32
	replyMax    = 2048
)

// aim opens the socket.
func aim(to netip.AddrPort) (*volley, error) {
	conn, err := udp.Listen("0.0.0.0:0", udp.Options{}) // for any address of loopback; it sends to loopback alone
	if err != nil {
		return nil, err
	}
	v := &volley{conn: conn, to: to}
	v.readers.Go(v.read)
	return v, nil
}

// read counts what comes back until the socket is closed.
func (v *volley) read() {
	in := make([]endpoint.Datagram, volleyBatch)
	for i := range in {
		in[i].Data = make([]byte, replyMax)
	}
	for {
		for i := range in {
			in[i].Data = in[i].Data[:replyMax]
		}
		n, err := v.conn.ReadBatch(in)
		if err != nil {
			return
		}
		for _, d := range in[:n] {
			v.out.Add(int64(len(d.Data)))
			v.replies.Add(1)
		}
	}
}

// fire sends what next makes, so many and so many a second, or until ctx ends.
// It answers how many left.
func (v *volley) fire(ctx context.Context, count, rate int, next func(i int) (from netip.Addr, data []byte)) (sent int) {
	out := make([]endpoint.Datagram, 0, volleyBatch)
	for begun := time.Now(); sent < count && ctx.Err() == nil; {
		out = out[:0]
		for i := range min(volleyBatch, count-sent) {
			from, data := next(sent + i)
			out = append(out, endpoint.Datagram{Peer: endpoint.Peer{Remote: v.to, Local: from}, Data: data})
			v.in.Add(int64(len(data)))
		}
		for left := out; len(left) > 0; {
			n, err := v.conn.WriteBatch(left)
			if err != nil {
				n++ // this one is lost, as on a network
			}
			left = left[n:]
		}
		sent += len(out)
		wait(ctx, time.Until(begun.Add(time.Duration(sent)*time.Second/time.Duration(rate))))
	}
	return sent
}

func (v *volley) close() error {
	err := v.conn.Close()
	v.readers.Wait()
	return err
}

// wait waits for a while, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
