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
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	parts     []string
	datagrams int
	rate      int
	each      time.Duration
	hellos    int
	tree      string
	data      string
}

// part is one attack.
type part struct {
	name string
	run  func(context.Context, *campaign) error
}

func parts() []part {
	return []part{{"flood", flood}, {"hellos", hellos}, {"garbage", garbage}, {"replay", replay}, {"secrets", secrets}}
}

func parse(args []string, w io.Writer) (settings, error) {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	var s settings
	f := flag.NewFlagSet("attack", flag.ContinueOnError)
	f.SetOutput(w)
	which := f.String("parts", strings.Join(names, ","), "which attacks")
	f.IntVar(&s.datagrams, "datagrams", 1_000_000, "datagrams of the flood, and of the garbage")
	f.IntVar(&s.rate, "rate", 10_000, "of them a second")
	f.DurationVar(&s.each, "for", 30*time.Second, "how long hellos come")
	f.IntVar(&s.hellos, "hellos", 20_000, "of them a second")
	f.StringVar(&s.tree, "tree", ".", "source tree of the server")
	f.StringVar(&s.data, "data", "", "directory for the databases; empty: the system's for temporary files")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	s.parts = strings.Split(*which, ",")
	for _, p := range s.parts {
		if !slices.Contains(names, p) {
			return s, fmt.Errorf("no part is called %q: there are %s", p, strings.Join(names, ", "))
		}
	}
	if f.NArg() > 0 || s.datagrams < 1000 || s.datagrams > 100_000_000 || s.rate < 100 || s.rate > 1_000_000 ||
		s.hellos < 100 || s.hellos > 1_000_000 || s.each < time.Second || s.each > time.Hour {
		return s, errors.New("-datagrams is 1,000 to 100 million, -rate and -hellos 100 to a million a second, -for a second to an hour")
	}
	return s, nil
}

// campaign is what the parts share.
type campaign struct {
	settings
	program child.Program
	dir     string
	table   table
}

// partBound is more than a part takes beyond its datagrams, on a machine that
// is ten times slower.
const partBound = 20 * time.Minute

// run is the program.
func run(ctx context.Context, args []string, w io.Writer) (err error) {
	c := &campaign{table: table{log: w}}
	if c.settings, err = parse(args, w); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp(c.data, "behest-attack-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	fmt.Fprintf(w, "%s, commit %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), child.Revision(ctx, c.tree))
	if c.program, err = child.Build(ctx, c.tree, c.dir); err != nil {
		return err
	}
	bound := partBound + c.each + 10*time.Duration(c.datagrams/c.rate)*time.Second
	for _, p := range parts() {
		if !slices.Contains(c.parts, p.name) {
			continue
		}
		pctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("%s takes too long", p.name))
		err := p.run(pctx, c)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	c.table.print(w)
	return c.table.verdict()
}
