package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"behest/bench/child"
	"behest/bench/crowd"
	"behest/bench/operator"
)

// site is the real server on a database of its own, and a crowd of devices.
type site struct {
	bench   *bench
	options child.Options
	server  *child.Process
	where   child.Addresses
	client  *operator.Client
	crowd   *crowd.Crowd

	stopCrowd context.CancelFunc
	ran       sync.WaitGroup
	crowdErr  error
}

const (
	startMost   = time.Minute
	connections = 64
)

// build starts a server with n devices to come, on a database of that name.
func (b *bench) build(ctx context.Context, name string, n int, h crowd.Hooks) (*site, error) {
	s, err := b.serve(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.populate(ctx, name, n, h); err != nil {
		return nil, errors.Join(err, s.server.Kill())
	}
	return s, nil
}

// populate makes n devices of that prefix, which are to come.
func (s *site) populate(ctx context.Context, prefix string, n int, h crowd.Hooks) (err error) {
	if s.crowd, err = crowd.New(s.where.CoAP, prefix, n, h); err != nil {
		return err
	}
	ctx, s.stopCrowd = context.WithCancel(ctx)
	s.ran.Go(func() { s.crowdErr = s.crowd.Run(ctx) })
	return nil
}

// serve starts a server on a database of that name, with nobody to come.
func (b *bench) serve(ctx context.Context, name string) (*site, error) {
	s := &site{bench: b, options: child.Options{
		Data: filepath.Join(b.dir, name), Args: []string{"--log-format=text", "--log-level=warn"},
	}}
	return s, s.start(ctx)
}

// start starts the server, again on the addresses that it had.
func (s *site) start(ctx context.Context) (err error) {
	if s.server, err = s.bench.program.Start(s.options); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startMost)
	defer cancel()
	if s.where, err = s.server.Ready(ctx); err != nil {
		if !s.server.Ended() {
			err = errors.Join(err, s.server.Kill())
		}
		return err
	}
	s.options.HTTP, s.options.CoAP = s.where.HTTP, s.where.CoAP.String()
	s.client = operator.New(s.where.HTTP, s.where.Token, connections)
	return nil
}

// stop stops the server, so that its database is one file.
func (s *site) stop() error {
	s.client.Close()
	return s.server.Stop()
}

// close ends what still runs.
func (s *site) close() error {
	if s.crowd != nil {
		s.stopCrowd()
		s.ran.Wait()
	}
	err := s.crowdErr
	s.client.Close()
	if !s.server.Ended() {
		err = errors.Join(err, s.server.Stop())
	}
	return err
}

// join lets n devices come, and says how fast they did.
func (s *site) join(ctx context.Context, n int) error {
	begun := time.Now()
	if err := s.crowd.Join(ctx, n); err != nil {
		return err
	}
	fmt.Fprintf(s.bench.log, "%d devices are there, the last after %v; load %s\n", n, time.Since(begun).Round(time.Millisecond), load())
	return nil
}

// cpu is the server's CPU time so far.
func (s *site) cpu() (time.Duration, error) { return cpuOf(s.server.PID()) }
