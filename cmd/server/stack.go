package main

import (
	"context"
	"fmt"
)

// service is something that runs until its context ends.
type service struct {
	name  string
	first func(context.Context) error // what is to be done before it runs, if anything; what it stands on runs already
	run   func(context.Context) error
}

// prepare does what is to be done first.
func (s service) prepare(ctx context.Context) error {
	if s.first == nil {
		return nil
	}
	if err := s.first(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// stack runs services, and stops them one after the other, the first named
// first: each finishes before the next, which it may need, is told.
type stack []service

// run starts all services and waits until ctx ends or one of them does. Then
// it stops the others in order, and answers with the first thing that failed.
func (s stack) run(ctx context.Context) error {
	ends := make([]chan error, len(s))
	cancels := make([]context.CancelFunc, len(s))
	first := make(chan int, len(s))
	started := len(s)
	var failed error
	for i := len(s) - 1; i >= 0; i-- { // what is stopped last is started first
		if failed = s[i].prepare(ctx); failed != nil {
			break
		}
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ends[i], cancels[i], started = make(chan error, 1), cancel, i
		go func() {
			ends[i] <- s[i].run(own)
			first <- i
		}()
	}
	if failed == nil {
		select {
		case <-ctx.Done():
		case i := <-first:
			failed = fmt.Errorf("%s ended by itself", s[i].name)
		}
	} else if ctx.Err() != nil {
		failed = nil // it was told to stop, and did not get far
	}
	for i := started; i < len(s); i++ {
		cancels[i]()
		if err := <-ends[i]; err != nil {
			failed = fmt.Errorf("%s: %w", s[i].name, err)
		}
	}
	return failed
}
