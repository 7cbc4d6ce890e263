package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestNoAttackBreaksABound is a short campaign against the server of this tree.
func TestNoAttackBreaksABound(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"-datagrams", "20000", "-rate", "10000", "-for", "2s", "-hellos", "5000", "-tree", "../..", "-data", t.TempDir()}, &out)
	t.Logf("\n%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(out.String(), "| --- ")
	for _, figure := range []string{
		"mutated datagrams", "did not succeed", "rounds of good devices", "p99 of a round", "memory of the server", "server check afterwards",
		"ClientHellos", "got in meanwhile", "grown at the worst", "only says hello",
		"nobody with a key made", "torn down", "let through", "not answered any more",
		"sent again", "accepted once more", "ended by it",
		"given to the server", "outside the database", "where they belong",
	} {
		if !strings.Contains(table, figure) {
			t.Errorf("the table has no row %q", figure)
		}
	}
}

func TestABrokenBoundIsAnError(t *testing.T) {
	c := table{log: io.Discard}
	c.none("nothing", 0, "")
	c.grown("a little", 1, 2, 10, "")
	if err := c.verdict(); err != nil {
		t.Error(err)
	}
	c.none("lost", 1, "")
	c.grown("memory", 0, 11, 10, "")
	if err := c.verdict(); err == nil || err.Error() != "2 bounds are broken: lost; memory" {
		t.Error(err)
	}
	var out bytes.Buffer
	c.print(&out)
	if strings.Count(out.String(), "BROKEN") != 2 {
		t.Errorf("the table does not say so:\n%s", out.String())
	}
}

func TestFlagsThatMeanNothingAreRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no such part":  {"-parts", "flood,fire"},
		"too few":       {"-datagrams", "1"},
		"too slow":      {"-rate", "0"},
		"too short":     {"-for", "1ms"},
		"too many":      {"-hellos", "20000000"},
		"a word":        {"now"},
		"no such thing": {"-harder"},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := parse(args, io.Discard); err == nil {
				t.Errorf("taken for %+v", s)
			}
		})
	}
}
