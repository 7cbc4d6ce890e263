package main

import (
	"context"
	"fmt"
)

// service is something that runs until its context ends.
type service struct {
	name string
	run  func(context.Context) error
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
	for i := len(s) - 1; i >= 0; i-- { // what is stopped last is started first
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ends[i], cancels[i] = make(chan error, 1), cancel
		go func() {
			ends[i] <- s[i].run(own)
			first <- i
		}()
	}
	var failed error
	select {
	case <-ctx.Done():
	case i := <-first:
		failed = fmt.Errorf("%s ended by itself", s[i].name)
	}
	for i := range s {
		cancels[i]()
		if err := <-ends[i]; err != nil {
			failed = fmt.Errorf("%s: %w", s[i].name, err)
		}
	}
	return failed
}
