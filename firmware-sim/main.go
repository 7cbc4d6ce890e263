package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"behest/firmware-sim/device"
	"behest/firmware-sim/link"
	"behest/firmware-sim/storage"
)

// The exit codes.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitPowerLost
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program; ctx ends with a signal.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parseFlags(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "firmware-sim: %v (--help explains)\n", err)
		return exitUsage
	}
	printer := newPrinter(stdout, c.json)
	err = live(ctx, c, printer)
	switch {
	case errors.Is(err, device.ErrPowerLoss):
		return exitPowerLost
	case err != nil:
		fmt.Fprintf(stderr, "firmware-sim: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// live is one life of the device that the flags ask for.
func live(ctx context.Context, c config, printer *printer) (err error) {
	store := storage.NewRAM()
	if c.state != "" {
		if store, err = storage.Open(c.state); err != nil {
			return fmt.Errorf("state: %w", err)
		}
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	socket, err := link.UDP(c.local, c.device.Server)
	if err != nil {
		return err
	}
	var conn link.Conn = socket
	if c.faults.Active() {
		conn = link.Impair(conn, c.faults)
	}
	c.device.Store = store
	c.device.Notify = printer.event
	d, err := device.New(conn, c.device)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := d.Run(ctx); err != nil {
		return err
	}
	printer.stopped(c, ctx.Err() != nil, d.Effects())
	return nil
}
