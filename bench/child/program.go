package child

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program is a built server.
type Program struct{ path string }

// Build builds the server of the source tree into dir.
func Build(ctx context.Context, tree, dir string) (Program, error) {
	path, err := filepath.Abs(filepath.Join(dir, "server"))
	if err != nil {
		return Program{}, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/server")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return Program{}, fmt.Errorf("build the server of %s: %w\n%s", tree, err, out)
	}
	return Program{path}, nil
}

// Check runs the server's own check on a data directory and answers with what
// it printed; an unsound database is an error.
func (p Program) Check(ctx context.Context, data string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path, "check", "--data", data)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	text := strings.TrimSpace(out.String())
	if err != nil {
		return text, fmt.Errorf("server check: %w: %s", err, text)
	}
	return text, nil
}

// Revision says which commit a source tree is at, and whether it was edited
// since: "562cc6b", "562cc6b with edits", or "unknown".
func Revision(ctx context.Context, tree string) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty= with edits", "--exclude=*")
	cmd.Dir = tree
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// Patched copies the last commit of the repository at tree to dir and applies
// a patch to the copy.
func Patched(ctx context.Context, tree, dir, patch string) error {
	archive := filepath.Join(dir, "tree.tar")
	absolute, err := filepath.Abs(patch)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		in   string
		args []string
	}{
		{tree, []string{"git", "archive", "--output=" + archive, "HEAD"}},
		{dir, []string{"tar", "-xf", archive}},
		{dir, []string{"git", "apply", "-C1", "--verbose", absolute}},
	} {
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
		cmd.Dir = c.in
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir)) // the copy is in no repository
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, out)
		}
	}
	return os.Remove(archive)
}
