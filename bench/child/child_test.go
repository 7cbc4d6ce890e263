package child

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// started is a server of this tree, ready.
func started(t *testing.T) (Program, *Process, Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	p, err := Build(ctx, "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Data: filepath.Join(dir, "data")}
	s, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	where, err := s.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if where.Token == "" || !where.CoAP.IsValid() {
		t.Errorf("ready at %+v", where)
	}
	return p, s, o
}

func TestAServerIsStoppedAndKilled(t *testing.T) {
	p, s, o := started(t)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if text, err := p.Check(t.Context(), o.Data); err != nil || !strings.HasSuffix(text, "sound") {
		t.Errorf("check: %q, %v", text, err)
	}
	s, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil { // at whatever it does right now
		t.Fatal(err)
	}
	if err := s.Kill(); err == nil {
		t.Error("it was killed a second time")
	}
	if _, err := s.Ready(t.Context()); err == nil {
		t.Error("it is ready after its end")
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	p, s, o := started(t)
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	second, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second server on the same data says %v", err)
	}
}

func TestATreeThatDoesNotBuildIsAnError(t *testing.T) {
	if _, err := Build(t.Context(), t.TempDir(), t.TempDir()); err == nil {
		t.Error("an empty tree builds")
	}
}

func TestAPatchIsAppliedToACopy(t *testing.T) {
	tree, copied := t.TempDir(), t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		cmd.Dir = tree
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, patch := filepath.Join(tree, "a"), filepath.Join(t.TempDir(), "p.patch")
	write(file, "one\ntwo\nthree\n")
	git("init", "-q")
	git("add", "a")
	git("commit", "-q", "-m", "a")
	write(patch, "--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n")
	if err := Patched(t.Context(), tree, copied, patch); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(copied, "a")); string(got) != "one\nTWO\nthree\n" {
		t.Errorf("the copy holds %q", got)
	}
	if got, _ := os.ReadFile(file); string(got) != "one\ntwo\nthree\n" {
		t.Errorf("the tree holds %q", got)
	}
	write(file, "four\n")
	git("commit", "-q", "-a", "-m", "b")
	if err := Patched(t.Context(), tree, t.TempDir(), patch); err == nil {
		t.Error("a patch that does not fit is applied")
	}
}
