package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNothingAcknowledgedIsLostByKills is a short campaign against the server
// of this tree: the whole way, with the real parts.
func TestNothingAcknowledgedIsLostByKills(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"-kills", "5", "-tree", "../..", "-data", t.TempDir()}, &out)
	t.Logf("\n%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nsound\n") {
		t.Error("it says nothing of the server's own check")
	}
}

func TestFlagsThatMeanNothingAreRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no kills":  {"-kills", "0"},
		"a word":    {"now"},
		"a flag":    {"-kill", "3"},
		"no number": {"-kills", "many"},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := parse(args, io.Discard); err == nil {
				t.Errorf("taken for %+v", s)
			}
		})
	}
}
