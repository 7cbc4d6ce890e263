package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// TestTheProgramInTheDocsVerifiesAnExport runs the Python program of docs/log.md
// on what the server exports, and on what somebody edited of that.
func TestTheProgramInTheDocsVerifiesAnExport(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("the program in docs/log.md is not run: there is no python3")
	}
	doc, err := os.ReadFile("../../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, found := strings.Cut(string(doc), "\n```python\n")
	program, _, closed := strings.Cut(program, "\n```\n")
	if !found || !closed {
		t.Fatal("docs/log.md has no Python program")
	}
	dir := t.TempDir()
	logged(t, dir)
	lines := exported(t, dir)
	verify := func(lines []string) (out string, ok bool) {
		cmd := exec.Command(python, "-c", program)
		cmd.Stdin = strings.NewReader(strings.Join(lines, ""))
		b, err := cmd.CombinedOutput()
		return string(b), err == nil
	}
	var last struct{ Commit struct{ Hash string } }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if out, ok := verify(lines); !ok || out != "the chain holds, up to "+last.Commit.Hash+"\n" {
		t.Errorf("as it was exported: %t, %s", ok, out)
	}
	if out, ok := verify(exported(t, dir, "--after", "1-4")); !ok || out != "the chain holds, up to "+last.Commit.Hash+"\n" {
		t.Errorf("a part of it: %t, %s", ok, out)
	}
	var commits []int // the lines that have one
	for i, line := range lines {
		if strings.HasPrefix(line, `{"commit":`) {
			commits = append(commits, i)
		}
	}
	// What it reads is what is packed; the lines of events are beside that.
	edited := slices.Clone(lines)
	edited[1] = strings.Replace(edited[1], "ann", "bob", 1)
	if out, ok := verify(edited); !ok || edited[1] == lines[1] {
		t.Errorf("a line of an event: %t, %s", ok, out)
	}
	for name, edit := range map[string]func([]string) []string{
		"a byte of what was packed": func(l []string) []string { return altered(t, l, commits[1], "packed", flipped) },
		"when it was sealed":        func(l []string) []string { return altered(t, l, commits[1], "sealed_at_ms", more) },
		"the epoch":                 func(l []string) []string { return altered(t, l, commits[1], "epoch", more) },
		"a number":                  func(l []string) []string { return altered(t, l, commits[1], "first", more) },
		"a count":                   func(l []string) []string { return altered(t, l, commits[1], "count", more) },
		"a commit is gone":          func(l []string) []string { return slices.Delete(l, commits[1], commits[1]+1) },
		"a commit is there twice":   func(l []string) []string { return slices.Insert(l, commits[1], l[commits[1]]) },
		"two in another order": func(l []string) []string {
			l[commits[1]], l[commits[2]] = l[commits[2]], l[commits[1]]
			return l
		},
		"another beginning": func(l []string) []string { l[0] = strings.Replace(l[0], `"hash":"`, `"hash":"00`, 1); return l },
	} {
		if out, ok := verify(edit(slices.Clone(lines))); ok {
			t.Errorf("%s: it is taken for good: %s", name, out)
		}
	}
}

// logged makes a database with five commits in its log, and ten events.
func logged(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := sqlite.Open(ctx, filepath.Join(dir, databaseFile), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	for n := range 5 {
		err := s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			for i := range 2 {
				e := command.Event{Type: "command.created", At: time.Now(), Actor: "ann", Data: fmt.Appendf(nil, `{"n":%d}`, 2*n+i)}
				if err := tx.Log(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// exported is what the server prints, by lines with their ends.
func exported(t *testing.T, dir string, more ...string) []string {
	t.Helper()
	var out, faults bytes.Buffer
	if code := run(context.Background(), append([]string{"export", "--data", dir}, more...), &out, &faults); code != 0 {
		t.Fatalf("export: %d, %s", code, &faults)
	}
	return slices.Collect(strings.Lines(out.String()))
}

// altered changes a member of the commit in a line.
func altered(t *testing.T, lines []string, at int, member string, change func(any) any) []string {
	t.Helper()
	var line map[string]map[string]any
	dec := json.NewDecoder(strings.NewReader(lines[at]))
	dec.UseNumber()
	if err := dec.Decode(&line); err != nil {
		t.Fatal(err)
	}
	line["commit"][member] = change(line["commit"][member])
	b, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	lines[at] = string(b) + "\n"
	return lines
}

func more(v any) any {
	n, _ := v.(json.Number).Int64()
	return n + 1
}

// flipped changes a character in the midst of base64.
func flipped(v any) any {
	b := []byte(v.(string))
	if at := len(b) / 2; b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}
