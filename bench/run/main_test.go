package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
)

// TestMain is also the servers of the part message, which are this program
// again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serveFlag {
		exit(serve(context.Background(), os.Args[2], os.Stdout))
		return
	}
	os.Exit(m.Run())
}

// TestEveryPartMeasures runs all of it, small and short: the figures mean
// nothing here, but each must be there.
func TestEveryPartMeasures(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"-for", "1s", "-devices", "40", "-targets", "40", "-old", "120", "-settle", "0s", "-idle", "1ms", "-tree", "../..", "-data", t.TempDir()}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	_, table, _ := strings.Cut(out.String(), "| --- ")
	for _, figure := range []string{
		"fdatasync", "UDP echo", "UDP endpoint", "endpoint beside echo",
		"PSK handshakes/s", "bytes per idle session", "DTLS endpoint, requests/s",
		"40 just arrived", "idle for", "after a restart", "full durable rounds/s", "bytes on disk",
		"issue to datagram", "issue to 2.04", "issue to completed",
		"1 targets released", "40 targets released", "single command meanwhile", "p50, p99 beside alone", "120 old executions", "bytes written to files",
	} {
		if !strings.Contains(table, figure) {
			t.Errorf("the table has no row %q", figure)
		}
	}
	if !strings.Contains(table, " 0 of ") || strings.Contains(table, "NaN") {
		t.Error("something did not come, or is no number")
	}
	t.Logf("\n%s", out.String())
}

func TestFlagsThatMeanNothingAreRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no such part":     {"-parts", "message,speed"},
		"too short":        {"-for", "1ms"},
		"too few devices":  {"-devices", "1"},
		"too many devices": {"-devices", "20000000"},
		"idle for days":    {"-idle", "48h"},
		"a word":           {"now"},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := parse(args, io.Discard); err == nil {
				t.Errorf("taken for %+v", s)
			}
		})
	}
}
