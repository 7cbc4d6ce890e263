package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	knockers      = 4        // devices that handshake at once
	helloGrowth   = 64 << 20 // bytes, at the worst of the looks
	helloSources  = 1 << 16
	lookEvery     = 500 * time.Millisecond
	shareInWithin = 0.99
)

// hellos attacks coap/dtls with handshakes that nobody goes on with: each address
// says hello once, as a random one does, and then twice, as a device would that
// heard no answer.
func hellos(ctx context.Context, c *campaign) error {
	return errors.Join(knocking(ctx, c, 1), knocking(ctx, c, 2))
}

// knocking has each address say hello so often.
func knocking(ctx context.Context, c *campaign, says int) (err error) {
	t, err := openTunnel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	first, err := t.visit(ctx, 0) // all that serves runs
	if err != nil {
		return err
	}
	first.leave()
	calm := t.knock(ctx, time.Second)
	before := inUse()
	v, err := aim(t.LocalAddr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	worst, count := before, int(c.each.Seconds()*float64(c.hellos))
	attack, sent, begun := make(chan int, 1), 0, time.Now()
	go func() {
		attack <- v.fire(ctx, count, c.hellos, func(i int) (netip.Addr, []byte) {
			n := i / says
			return source(200+byte(n/helloSources%50), n%helloSources), hello(n)
		})
	}()
	stormy := t.knock(ctx, c.each, func() { worst = max(worst, inUse()) })
	for sent == 0 && ctx.Err() == nil { // all that were to come, and enough to count
		stormy.join(t.knock(ctx, lookEvery))
		select {
		case sent = <-attack:
		default:
		}
	}
	took := time.Since(begun)
	told := t.Stats()
	c.table.add(row{
		figure: fmt.Sprintf("ClientHellos from addresses that nobody has, %d each", says), value: fmt.Sprint(sent), bound: fmt.Sprint(count), broken: sent < count,
		more: fmt.Sprintf("%.0f/s; %d were asked for a cookie; %d handshakes made room, %d found none", float64(sent)/took.Seconds(), told.Asked, told.Pushed, told.Shed),
	})
	in := len(stormy.took) - len(stormy.failed)
	share := float64(in) / float64(max(len(stormy.took), 1))
	c.table.add(row{
		figure: "devices that got in meanwhile", value: fmt.Sprintf("%.2f %%, %d of %d", 100*share, in, len(stormy.took)), bound: "at least 99 %",
		more:   fmt.Sprintf("within %v, %d at the first try; p99 %v, without hellos %v", patience, stormy.atOnce, shown(stormy.at(0.99)), shown(calm.at(0.99))),
		broken: share < shareInWithin || len(stormy.took) < knockers,
	})
	c.table.grown("memory in use, grown at the worst", before, worst, helloGrowth, "after a collection; devices and attackers included")
	c.table.add(row{
		figure: "bytes out for each byte in, to who only says hello", value: fmt.Sprintf("%.2f", float64(v.out.Load())/float64(max(v.in.Load(), 1))),
		bound: "at most 1", more: fmt.Sprintf("%d replies", v.replies.Load()), broken: v.out.Load() > v.in.Load(),
	})
	return nil
}

// knocks are handshakes of devices.
type knocks struct {
	toll
	atOnce int // that needed no second try
}

func (k *knocks) join(more *knocks) {
	k.toll.join(&more.toll)
	k.atOnce += more.atOnce
}

// knock has devices come and go for a while, and looks at things meanwhile.
func (t *tunnel) knock(ctx context.Context, d time.Duration, look ...func()) *knocks {
	k, begun := &knocks{}, time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range knockers {
		all.Go(func() {
			for n := i; time.Since(begun) < d && ctx.Err() == nil; n += knockers {
				at := time.Now()
				tries, err := t.getIn(ctx, n%helloSources)
				mu.Lock()
				k.took = append(k.took, time.Since(at))
				if err != nil {
					k.failed = append(k.failed, err.Error())
				} else if tries == 1 {
					k.atOnce++
				}
				mu.Unlock()
			}
		})
	}
	for len(look) > 0 && time.Since(begun) < d && ctx.Err() == nil {
		for _, f := range look {
			f()
		}
		wait(ctx, lookEvery)
	}
	all.Wait()
	k.busy = time.Since(begun)
	return k
}

// getIn is a device that begins again when it is told to, for as long as it has
// patience.
func (t *tunnel) getIn(ctx context.Context, n int) (tries int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ctx.Err() == nil {
		tries++
		var v *visitor
		if v, err = t.visit(ctx, n); err != nil {
			continue
		}
		err = v.say(fmt.Sprint("in ", n))
		v.leave()
		return tries, err
	}
	return tries, errors.Join(err, ctx.Err())
}

// hello is a ClientHello without a cookie, the i-th.
func hello(i int) []byte {
	body := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	binary.BigEndian.PutUint64(body[2:], uint64(i))
	body = append(body, 0, 0, 0, 2, 0xc0, 0xa8, 1, 0)                           // no session, no cookie, TLS_PSK_WITH_AES_128_CCM_8, no compression
	m := []byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))} // message 0, in one piece
	m = append(m, body...)
	return append([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(m))}, m...)
}
