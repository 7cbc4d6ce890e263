package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"behest/bench/child"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == serveFlag {
		exit(serve(ctx, os.Args[2], os.Stdout))
		return
	}
	exit(run(ctx, os.Args[1:], os.Stdout))
}

func exit(err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	parts   []string
	each    time.Duration
	devices int
	targets int
	old     int
	idle    time.Duration
	settle  time.Duration
	tree    string
	data    string
}

// part is one thing that is measured.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

func parts() []part {
	return []part{{"message", message}, {"dtls", overDTLS}, {"memory", memory}, {"rounds", rounds}, {"latency", latency}, {"ages", ages}, {"fleet", fleet}}
}

func parse(args []string, w io.Writer) (settings, error) {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(w)
	which := f.String("parts", strings.Join(names, ","), "what to measure")
	f.DurationVar(&s.each, "for", 15*time.Second, "how long each part is measured")
	f.IntVar(&s.devices, "devices", 100_000, "how many devices register for their memory to be measured")
	f.IntVar(&s.targets, "targets", 100_000, "how many devices the largest command is for")
	f.IntVar(&s.old, "old", 1_000_000, "how many old executions a store has beside one that has none")
	f.DurationVar(&s.idle, "idle", 0, "how long they are left alone, to be measured once more; the message layer forgets a peer after 4 min 7 s")
	f.DurationVar(&s.settle, "settle", 16*time.Second, "what is left between the last arrival and the look at the memory: what a device was shown is kept for up to fifteen seconds")
	f.StringVar(&s.tree, "tree", ".", "source tree of the server")
	f.StringVar(&s.data, "data", "", "directory on the disk to measure; empty: the system's for temporary files")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	s.parts = strings.Split(*which, ",")
	for _, p := range s.parts {
		if !slices.Contains(names, p) {
			return s, fmt.Errorf("no part is called %q: there are %s", p, strings.Join(names, ", "))
		}
	}
	if s.targets < 1 || s.targets > 1_000_000 || s.old < 0 || s.old > 10_000_000 {
		return s, errors.New("-targets is 1 to a million, -old at most ten million")
	}
	if f.NArg() > 0 || s.each < time.Second || s.devices < memoryPoints || s.devices > 1_000_000 || s.idle < 0 || s.settle < 0 || s.idle > time.Hour {
		return s, fmt.Errorf("-for is at least a second, -devices %d to a million, -idle at most an hour", memoryPoints)
	}
	return s, nil
}

// bench is what the parts share.
type bench struct {
	settings
	program child.Program
	dir     string
	table   table
	log     io.Writer
}

// partBound is more than a part takes with the flags' defaults, on a machine
// that is ten times slower.
const partBound = 20 * time.Minute

// run is the program.
func run(ctx context.Context, args []string, w io.Writer) (err error) {
	b := &bench{log: w, table: table{log: w}}
	if b.settings, err = parse(args, w); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(b.data, "behest-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	fmt.Fprintf(w, "%s\n%s, commit %s\n", describe(), time.Now().UTC().Format("2006-01-02 15:04 UTC"), child.Revision(ctx, b.tree))
	if b.program, err = child.Build(ctx, b.tree, b.dir); err != nil {
		return err
	}
	disk, err := syncTimes(b.dir)
	if err != nil {
		return err
	}
	b.table.add("a page written, fdatasync", disk.String(), "", fmt.Sprintf("%d times", len(disk)))
	for _, p := range parts() {
		if !slices.Contains(b.parts, p.name) {
			continue
		}
		pctx, cancel := context.WithTimeoutCause(ctx, partBound+2*b.each+b.idle, fmt.Errorf("%s takes too long", p.name))
		err := p.run(pctx, b)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.table.print(w)
	return nil
}
