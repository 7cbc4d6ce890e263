package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"behest/bench/child"
	"behest/bench/operator"
)

// site is the real server on a database of its own.
type site struct {
	program child.Program
	data    string
	server  *child.Process
	where   child.Addresses
	client  *operator.Client
}

const (
	startMost   = time.Minute
	connections = 64
)

// build starts a server on a database of that name.
func (c *campaign) build(ctx context.Context, name string, args ...string) (*site, error) {
	s := &site{program: c.program, data: filepath.Join(c.dir, name)}
	var err error
	if s.server, err = c.program.Start(child.Options{Data: s.data, Args: append([]string{"--coaps", "off"}, args...)}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startMost)
	defer cancel()
	if s.where, err = s.server.Ready(ctx); err != nil {
		if !s.server.Ended() {
			err = errors.Join(err, s.server.Kill())
		}
		return nil, err
	}
	s.client = operator.New(s.where.HTTP, s.where.Token, connections)
	return s, nil
}

// stop stops the server, and looks whether its database is sound.
func (s *site) stop(ctx context.Context) (sound bool, said string, err error) {
	s.client.Close()
	if err := s.server.Stop(); err != nil {
		return false, "", err
	}
	said, err = s.program.Check(ctx, s.data)
	return err == nil && strings.HasSuffix(said, "sound"), said, nil
}

// abandon ends what still runs, on the way out.
func (s *site) abandon() error {
	s.client.Close()
	if s.server.Ended() {
		return nil
	}
	return s.server.Kill()
}

// resident is how much of the server's memory is in RAM.
func (s *site) resident() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.server.PID()))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, fmt.Errorf("statm: %q", b)
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
