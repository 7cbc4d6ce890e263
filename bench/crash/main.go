package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"behest/bench/child"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	kills  int
	seed   uint64
	tree   string
	data   string
	patch  string
	losses bool // are expected
}

// parse reads the flags; usage goes to w.
func parse(args []string, w io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("crash", flag.ContinueOnError)
	f.SetOutput(w)
	f.IntVar(&s.kills, "kills", 200, "how often the server is killed")
	f.Uint64Var(&s.seed, "seed", 0, "of what is drawn; 0 draws one. The machine's timing is not drawn: a seed repeats the plan, not the run")
	f.StringVar(&s.tree, "tree", ".", "source tree of the server")
	f.StringVar(&s.data, "data", "", "directory to work in, kept afterwards; empty: one that is removed, unless something was found")
	f.StringVar(&s.patch, "patch", "", "patch for a copy of the last commit, which is built instead of the tree")
	f.BoolVar(&s.losses, "expect-losses", false, "succeed only if losses are found")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 || s.kills < 1 {
		return s, fmt.Errorf("crash takes flags alone, and at least one kill")
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	return s, nil
}

// A run is bounded by what its kills may take on a slow machine, and by what
// building and looking at everything may.
const (
	killBound = 5 * time.Second
	restBound = 5 * time.Minute
)

// run is the program; its error is the verdict.
func run(ctx context.Context, args []string, w io.Writer) (err error) {
	s, err := parse(args, w)
	if err != nil {
		return err
	}
	dir := s.data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "behest-crash-"); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				fmt.Fprintf(w, "what is left of it is in %s\n", dir)
				return
			}
			err = os.RemoveAll(dir)
		}()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, restBound+time.Duration(s.kills)*killBound, errors.New("it takes too long"))
	defer cancel()
	tree, what, err := source(ctx, s, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "seed %d, server of %s\n", s.seed, what)
	program, err := child.Build(ctx, tree, dir)
	if err != nil {
		return err
	}
	c, err := newCampaign(program, dir, s.kills, rand.New(rand.NewPCG(s.seed, 0)))
	if err != nil {
		return err
	}
	result, err := c.run(ctx)
	if err != nil {
		return err
	}
	result.print(w)
	if !s.losses {
		return result.verdict()
	}
	if n := result.faults[lost]; n == 0 {
		return errors.New("the broken server was not found out: no loss")
	}
	fmt.Fprintf(w, "\nthe broken server was found out: %d lost\n", result.faults[lost])
	return nil
}

// source is the tree to build, and a name for it.
func source(ctx context.Context, s settings, dir string) (tree, what string, err error) {
	what = child.Revision(ctx, s.tree)
	if s.patch == "" {
		return s.tree, what, nil
	}
	copied := filepath.Join(dir, "tree")
	if err := os.Mkdir(copied, 0o700); err != nil {
		return "", "", err
	}
	return copied, what + " with " + filepath.Base(s.patch), child.Patched(ctx, s.tree, copied, s.patch)
}
