package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	liveSessions = 16
	junkTurns    = 50  // of all sessions, with a message of each in between
	recorded     = 100 // messages of each session, to be replayed
	replays      = 3
)

// settle lets n devices in.
func (t *tunnel) settle(ctx context.Context, n int) (all []*visitor, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range n {
		v, err := t.visit(ctx, i)
		if err != nil {
			return all, fmt.Errorf("device %d: %w", i, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// lost is how many of the live sessions are not there any more, or are others.
func (t *tunnel) lost() int {
	return max(int(t.ended.Load()), liveSessions-t.Stats().Sessions)
}

// each has all devices say something, and tells of those that cannot.
func each(all []*visitor, text func(i int) string) (mute []string) {
	for i, v := range all {
		if err := v.say(text(i)); err != nil {
			mute = append(mute, fmt.Sprintf("device %d: %v", i, err))
		}
	}
	return mute
}

// among runs f beside devices that have sessions.
func among(ctx context.Context, f func(*tunnel, []*visitor) error) (err error) {
	t, err := openTunnel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	all, err := t.settle(ctx, liveSessions)
	defer func() {
		for _, v := range all {
			v.leave()
		}
	}()
	if err != nil {
		return err
	}
	return f(t, all)
}

// garbage attacks live sessions, from the devices' own addresses and from others.
func garbage(ctx context.Context, c *campaign) error {
	return among(ctx, func(t *tunnel, all []*visitor) error { return c.garbage(ctx, t, all) })
}

func (c *campaign) garbage(ctx context.Context, t *tunnel, all []*visitor) error {
	mute := each(all, func(int) string { return "before" })
	var stolen [][]byte
	for _, v := range all {
		stolen = append(stolen, v.tap.records()[len(v.tap.records())-1])
	}
	v, err := aim(t.LocalAddr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	dice, sent, begun := rand.New(rand.NewPCG(1, 2)), 0, time.Now()
	per := max(c.datagrams/junkTurns/2, 1)
	for turn := range junkTurns {
		sent += v.fire(ctx, per, c.rate, func(i int) (netip.Addr, []byte) {
			k := i % len(all)
			_, _ = all[k].tap.UDPConn.WriteTo(forged(dice, stolen[k]), all[k].to) // lost, as on a network
			sent++
			return source(150, dice.IntN(1000)), forged(dice, stolen[dice.IntN(len(stolen))])
		})
		mute = append(mute, each(all, func(int) string { return fmt.Sprint("turn ", turn) })...)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	told := t.Stats()
	c.table.add(row{
		figure: "records that nobody with a key made, at live sessions", value: fmt.Sprint(sent), bound: fmt.Sprint(2 * per * junkTurns),
		more:   fmt.Sprintf("%.0f/s, half of them from the devices' own addresses; %d sessions; %d counted as garbage", float64(sent)/time.Since(begun).Seconds(), liveSessions, told.Garbage),
		broken: sent < 2*per*junkTurns,
	})
	c.table.none("sessions torn down by them", t.lost(), strings.Join(mute, "; "))
	c.table.none("of these let through", t.messages()-1-junkTurns, fmt.Sprintf("%d messages of the devices came", t.messages()))
	c.table.none("devices that were not answered any more", len(mute), "")
	return nil
}

// forged is a datagram in the style of a session whose record was stolen.
func forged(dice *rand.Rand, stolen []byte) []byte {
	record := func(typ byte, epoch uint16, body []byte) []byte {
		b := make([]byte, 13, 13+len(body))
		binary.BigEndian.PutUint64(b[3:], uint64(epoch)<<48|dice.Uint64N(1<<20))
		b[0], b[1], b[2] = typ, 0xfe, 0xfd
		binary.BigEndian.PutUint16(b[11:], uint16(len(body)))
		return append(b, body...)
	}
	some := noise(dice, dice.IntN(60))
	switch dice.IntN(8) {
	case 0:
		return append(some, 0)
	case 1:
		return record(21, 0, []byte{2, 40}) // a fatal alert in clear
	case 2:
		return record(21, 0, []byte{1, 0}) // close_notify in clear
	case 3:
		return record(23, 0, some) // data in clear [CVE-2019-20786]
	case 4:
		return record(22, 0, some)
	case 5:
		return record(byte(20+dice.IntN(6)), uint16(dice.IntN(4)), some)
	case 6:
		return append(record(23, 1, some), record(21, 0, []byte{2, 10})...)
	}
	b := slices.Clone(stolen)
	for range 1 + dice.IntN(3) {
		b[dice.IntN(len(b))] ^= byte(1 + dice.IntN(255))
	}
	return b
}

// replay sends all that devices sent again, from their own addresses and from
// others.
func replay(ctx context.Context, c *campaign) error {
	return among(ctx, func(t *tunnel, all []*visitor) error { return c.replay(ctx, t, all) })
}

func (c *campaign) replay(ctx context.Context, t *tunnel, all []*visitor) error {
	var mute []string
	for n := range recorded {
		mute = append(mute, each(all, func(i int) string { return fmt.Sprintf("message %d of %d", n, i) })...)
	}
	before := map[string]int{}
	for n := range recorded {
		for i := range all {
			text := fmt.Sprintf("message %d of %d", n, i)
			before[text] = t.often(text)
		}
	}
	v, err := aim(t.LocalAddr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	dice, sent := rand.New(rand.NewPCG(1, 3)), 0
	for range replays {
		for i, d := range all {
			records := d.tap.records()
			dice.Shuffle(len(records), func(a, b int) { records[a], records[b] = records[b], records[a] })
			sent += v.fire(ctx, len(records), c.rate, func(k int) (netip.Addr, []byte) {
				_, _ = d.tap.UDPConn.WriteTo(records[k], d.to) // lost, as on a network
				sent++
				return source(150, i), records[k]
			})
		}
		mute = append(mute, each(all, func(int) string { return "still here" })...)
	}
	twice, lost := 0, 0
	for text, n := range before {
		twice += max(0, t.often(text)-n)
		if n == 0 {
			lost++
		}
	}
	c.table.add(row{
		figure: "records of devices, sent again", value: fmt.Sprint(sent), bound: fmt.Sprintf("at least %d", 2*replays*recorded*liveSessions),
		more:   fmt.Sprintf("each %d times from its device's address and as often from another, shuffled; %d messages", replays, len(before)),
		broken: sent < 2*replays*recorded*liveSessions || lost > 0,
	})
	c.table.none("messages accepted once more", twice, "")
	c.table.none("sessions that ended by it", t.lost(), strings.Join(mute, "; "))
	return nil
}
