package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"behest/coap/endpoint"
	"behest/coap/udp"
	coap "behest/firmware-sim/message"
)

// The load of the part message: so many peers, each with so many requests
// outstanding, from one socket. No peer meets the endpoint's bound of eight.
const (
	drivePeers  = 64
	driveWindow = 4
	driveStall  = 2 * time.Second // without an answer: datagrams were lost
)

// post is the request, a report as a device would send it.
func post() []byte {
	m := coap.Message{
		Type: coap.Confirmable, Code: coap.POST, Token: make([]byte, 4),
		Options: coap.Options{
			coap.Text(coap.URIPath, "c"), coap.Text(coap.URIPath, "pump-7"), coap.Text(coap.URIPath, "1700000000"),
			coap.Uint(coap.ContentFormat, 60),
		},
		Payload: []byte("\xa2\x01\x01\x05\xa1\x62ok\xf5"),
	}
	return m.Append(nil)
}

// Where the counter goes, so that no two requests of a peer are the same: the
// message id, and the token behind it.
const (
	idAt    = 2
	tokenAt = 4
)

// drive keeps the window full for a while, and counts the answers.
func drive(ctx context.Context, to netip.AddrPort, d time.Duration) (answers int, took time.Duration, err error) {
	conn, err := udp.Listen("0.0.0.0:0", udp.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	var moved atomic.Int64
	stalled := errors.New("no answer for a while: datagrams were lost")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	guard := time.NewTicker(driveStall)
	defer guard.Stop()
	go func() {
		for last := int64(-1); ; {
			select {
			case <-ctx.Done():
				return
			case <-guard.C:
			}
			now := moved.Load()
			if now == last {
				cancel(stalled)
			}
			last = now
		}
	}()
	p := newPump(conn, to)
	begun := time.Now()
	if err := p.fill(); err != nil {
		return 0, 0, err
	}
	for time.Since(begun) < d {
		n, err := p.turn()
		if err != nil {
			return 0, 0, errors.Join(context.Cause(ctx), fmt.Errorf("drive: %w", err))
		}
		answers += n
		moved.Add(int64(n))
	}
	return answers, time.Since(begun), nil
}

// pump sends a request for each answer.
type pump struct {
	conn    *udp.Conn
	to      netip.AddrPort
	request []byte
	count   uint32
	in, out []endpoint.Datagram
}

func newPump(conn *udp.Conn, to netip.AddrPort) *pump {
	p := &pump{conn: conn, to: to, request: post()}
	for range messageBatch {
		p.in = append(p.in, endpoint.Datagram{Data: make([]byte, datagramMax)})
		p.out = append(p.out, endpoint.Datagram{Data: append([]byte(nil), p.request...)})
	}
	return p
}

// next makes out[i] the next request of a peer.
func (p *pump) next(i int, from netip.Addr) {
	p.count++
	p.out[i].Peer = endpoint.Peer{Remote: p.to, Local: from}
	binary.BigEndian.PutUint16(p.out[i].Data[idAt:], uint16(p.count))
	binary.BigEndian.PutUint32(p.out[i].Data[tokenAt:], p.count)
}

func (p *pump) fill() error {
	n := 0
	for i := range drivePeers * driveWindow {
		p.next(n, netip.AddrFrom4([4]byte{127, 1, 0, byte(i % drivePeers)}))
		if n++; n == len(p.out) {
			if _, err := p.conn.WriteBatch(p.out); err != nil {
				return err
			}
			n = 0
		}
	}
	_, err := p.conn.WriteBatch(p.out[:n])
	return err
}

// turn takes what has come, and asks as often again.
func (p *pump) turn() (int, error) {
	for i := range p.in {
		p.in[i].Data = p.in[i].Data[:cap(p.in[i].Data)]
	}
	n, err := p.conn.ReadBatch(p.in)
	if err != nil {
		return 0, err
	}
	for i := range n {
		p.next(i, p.in[i].Peer.Local)
	}
	_, err = p.conn.WriteBatch(p.out[:n])
	return n, err
}
