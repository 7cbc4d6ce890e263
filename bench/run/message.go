package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"behest/coap/endpoint"
	"behest/coap/udp"
)

// The two servers of the part message. Like those of the part dtls, each is this program again, told by
// serveFlag which one to be.
const (
	serveFlag = "-serve"
	echo      = "echo"
	trivial   = "endpoint"
)

// messageBatch is the endpoint's own default, for both.
const messageBatch = 32

// serve is a server that says on stdout where it listens and ends with its
// stdin: it does not outlive who started it.
func serve(ctx context.Context, what string, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the news
		cancel()
	}()
	if what == listener {
		l, err := newListener()
		if err != nil {
			return err
		}
		fmt.Fprintln(w, l.Addr())
		return serveListener(ctx, l)
	}
	conn, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintln(w, conn.LocalAddr())
	if what == sessions {
		return serveSessions(ctx, conn)
	}
	if what == trivial {
		e, err := endpoint.New(conn, changed{}, endpoint.Options{BatchSize: messageBatch})
		if err != nil {
			return err
		}
		return e.Run(ctx)
	}
	go func() { <-ctx.Done(); conn.Close() }()
	in, buffers := make([]endpoint.Datagram, messageBatch), make([]byte, messageBatch*datagramMax)
	for {
		for i := range in {
			in[i].Data = buffers[i*datagramMax:][:datagramMax:datagramMax]
		}
		n, err := conn.ReadBatch(in)
		if err != nil {
			return nil // closed
		}
		if _, err := conn.WriteBatch(in[:n]); err != nil {
			return err
		}
	}
}

const datagramMax = 2048

// changed answers 2.04 to everything.
type changed struct{}

func (changed) Serve(context.Context, *endpoint.Request) endpoint.Response {
	const code = 2<<5 | 4
	return endpoint.Response{Code: code}
}

func (changed) Idle(endpoint.Peer) {}

// target is one of the servers, running.
type target struct {
	name string
	cmd  *exec.Cmd
	in   io.Closer
	addr netip.AddrPort
}

func startTarget(ctx context.Context, name string) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := &target{name: name, cmd: exec.CommandContext(ctx, self, serveFlag, name)}
	t.cmd.Stderr = os.Stderr
	in, err := t.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	t.in = in
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		t.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the %s: %w", name, err), t.stop())
	}
	return t, nil
}

func (t *target) stop() error { return errors.Join(t.in.Close(), t.cmd.Wait()) }

// messageRounds is how often each server has its turn. The first turn warms up
// and is not counted.
const messageRounds = 6

// message measures the two in turns.
func message(ctx context.Context, b *bench) error {
	var targets []*target
	defer func() {
		for _, t := range targets {
			_ = t.stop() // it has done its work
		}
	}()
	for _, name := range []string{echo, trivial} {
		t, err := startTarget(ctx, name)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	each := max(b.each/(2*messageRounds), 200*time.Millisecond)
	rates, costs := map[string][]float64{}, map[string][]float64{}
	for round := range messageRounds {
		for _, t := range targets {
			before, err := cpuOf(t.cmd.Process.Pid)
			if err != nil {
				return err
			}
			n, took, err := drive(ctx, t.addr, each)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			after, err := cpuOf(t.cmd.Process.Pid)
			if err != nil {
				return err
			}
			if round > 0 {
				rates[t.name] = append(rates[t.name], float64(n)/took.Seconds())
				costs[t.name] = append(costs[t.name], float64((after-before).Nanoseconds())/1e3/float64(n))
			}
		}
	}
	var ratios, cpus []float64
	for i := range rates[echo] {
		ratios = append(ratios, rates[trivial][i]/rates[echo][i])
		cpus = append(cpus, costs[echo][i]/costs[trivial][i])
	}
	for _, name := range []string{echo, trivial} {
		b.table.add("UDP "+name+", requests/s", fmt.Sprintf("%.0f", median(rates[name])), "",
			fmt.Sprintf("%.1f us server CPU each; median of %d turns", median(costs[name]), len(rates[name])))
	}
	b.table.add("endpoint beside echo", fmt.Sprintf("%.2f", median(ratios)), "0.5, then 0.8",
		fmt.Sprintf("%.2f by server CPU per request", median(cpus)))
	return nil
}
