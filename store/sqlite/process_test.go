package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// childDir makes this test program a child that writes to a store there until
// it is killed.
const childDir = "BEHEST_TEST_STORE"

// childRetains has it issue commands, and remove what is over; childRestores has
// it put the backup back that it names.
const (
	childRetains  = "BEHEST_TEST_STORE_RETAINS"
	childRestores = "BEHEST_TEST_STORE_RESTORES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		work := child
		switch {
		case os.Getenv(childRetains) != "":
			work = retainingChild
		case os.Getenv(childRestores) != "":
			work = restoringChild
		}
		if err := work(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child adds devices from eight goroutines, and prints what it tried and what
// it was told is on disk.
func child(dir string) error {
	s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{Logger: quiet()})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	failed := make(chan error)
	for range 8 {
		go func() {
			for {
				name := strconv.FormatUint(rand.Uint64(), 36)
				os.Stdout.WriteString("try " + name + "\n")
				err := s.Update(context.Background(), ledger.Registrations, func(tx ledger.Tx) error {
					d := device.Device{Name: name, CreatedAt: time.Now()}
					if err := tx.AddDevice(&d); err != nil {
						return err
					}
					return tx.Log(command.Event{Type: command.EventRegistered, At: time.Now(), Device: d.Handle})
				})
				if err != nil {
					failed <- err
					return
				}
				os.Stdout.WriteString("kept " + name + "\n")
			}
		}()
	}
	go func() { failed <- s.Run(context.Background()) }()
	return <-failed
}

// retainingChild issues commands that are over at once and commands that stay
// open, of which it prints the ids, and removes what is over all the while.
func retainingChild(dir string) error {
	s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{Logger: quiet()})
	if err != nil {
		return err
	}
	l := load{s}
	fmt.Println("ready")
	failed := make(chan error)
	repeat := func(f func(int) error) {
		for i := 1; ; i++ {
			if err := f(i); err != nil {
				failed <- err
				return
			}
		}
	}
	go func() { failed <- s.Run(context.Background()) }()
	go repeat(func(int) error { return errors.Join(l.fleet(3, 80), l.fleet(1, 5), happen(s, 1)) })
	go repeat(func(int) error {
		id, err := l.open("device-0")
		os.Stdout.WriteString("kept " + id.String() + "\n")
		return err
	})
	go repeat(func(int) error {
		_, err := s.Retain(context.Background(), everything(1))
		return err
	})
	return <-failed
}

// open issues a command that stays open.
func (l load) open(name string) (id command.ID, err error) {
	err = l.s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
		d, err := tx.DeviceNamed(name)
		if err != nil {
			return err
		}
		c := l.command(1, name)
		id = c.ID
		return tx.AddCommand(c, []command.Execution{{Device: d.Handle, Name: name, State: command.Queued, QueuedAt: c.CreatedAt}})
	})
	return id, err
}

// TestRemovalGoesOnAfterAKill kills a process that removes, again and again.
// What it leaves is sound each time, what is open is there, and what was half
// gone is hidden and goes.
func TestRemovalGoesOnAfterAKill(t *testing.T) {
	const kills = 15
	ctx := context.Background()
	t.Setenv(childRetains, "1")
	path := made(t)
	dir := filepath.Dir(path)
	s := running(t, path)
	for i := range 3 {
		if err := (load{s}).device(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept, halves, cut := make(map[string]bool), int64(0), int64(0)
	for range kills {
		cmd, out := startChild(t, dir)
		if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("the child says %q, %v", line, err)
		}
		time.AfterFunc(time.Duration(50+rand.IntN(150))*time.Millisecond, func() { cmd.Process.Kill() })
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				break // an unfinished line was not said
			}
			what, id, _ := strings.Cut(strings.TrimSpace(line), " ")
			if what != "kept" {
				t.Fatalf("the child says %q", line)
			}
			kept[id] = true
		}
		cmd.Wait()
		sound(t, dir)
		r, err := sqlite.Check(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		halves, cut = halves+r.Going, r.Cut
	}
	s = running(t, path)
	defer s.Close()
	retain(t, s, 2)
	for text := range kept {
		id, err := command.ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Command(ctx, id); err != nil {
			t.Errorf("open and gone: %v", err)
		}
	}
	r, err := sqlite.Check(ctx, path)
	if err != nil || r.Going != 0 || r.Commands > r.Open+1 {
		t.Errorf("in the end: %+v, %v", r, err)
	}
	t.Logf("%d kills, %d times in the middle of a command; %d events went, %d open commands stayed", kills, halves, cut, len(kept))
	if halves == 0 || cut == 0 || len(kept) == 0 {
		t.Error("nothing was shown")
	}
}

// startChild runs this program as a child in dir, under a wrapper if given.
func startChild(t *testing.T, dir string, wrapper ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	args := append(wrapper, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

// TestNothingAcknowledgedIsLostByAKill kills a writing process again and
// again, and holds the file against what it had said.
func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	const kills = 15
	dir := t.TempDir()
	kept, tried := make(map[string]bool), make(map[string]bool)
	for range kills {
		cmd, out := startChild(t, dir)
		if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("the child says %q, %v", line, err)
		}
		time.AfterFunc(time.Duration(rand.IntN(80))*time.Millisecond, func() { cmd.Process.Kill() })
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				break // an unfinished line was not said
			}
			what, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch what {
			case "try":
				tried[name] = true
			case "kept":
				kept[name] = true
			default:
				t.Fatalf("the child says %q", line)
			}
		}
		cmd.Wait()
		sound(t, dir)
	}
	s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	there := make(map[string]bool)
	for f := (device.Filter{}); ; {
		page, more, err := s.Devices(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page {
			there[v.Name] = true
			f.After = v.Name
		}
		if !more {
			break
		}
	}
	lost, unknown, happened := 0, 0, 0
	for name := range tried {
		switch {
		case kept[name] && !there[name]:
			lost++
		case !kept[name]:
			unknown++
			if there[name] {
				happened++
			}
		}
	}
	end, err := s.End(context.Background())
	if err != nil || int(end.N) != len(there) {
		t.Errorf("%d events for %d devices, %v", end.N, len(there), err)
	}
	t.Logf("%d kills, %d acknowledged, %d lost, %d unknown of which %d had happened", kills, len(kept), lost, unknown, happened)
	if lost > 0 || len(kept) == 0 {
		t.Errorf("%d of %d are lost", lost, len(kept))
	}
}

// TestASecondProcessIsKeptOut opens what another process has open; its name
// is in the answer.
func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	cmd, out := startChild(t, dir)
	if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	go io.Copy(io.Discard, out)
	s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{})
	if err == nil {
		s.Close()
		t.Fatal("two processes have it")
	}
	if want := fmt.Sprintf("in use by process %d", cmd.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("it says %q, want %q", err, want)
	}
	// A check may look, beside the server and while it writes.
	for range 3 {
		sound(t, dir)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if s, err = sqlite.Open(context.Background(), file(dir), sqlite.Options{}); err != nil {
		t.Fatalf("the lock outlives its process: %v", err)
	}
	s.Close()
}

// TestAFailedSyncIsNeverAcknowledged has the kernel fail an fsync of a real
// process. What it had acknowledged has to be there, and it must have said
// that it does not know, or recovered; silence would be a guess.
func TestAFailedSyncIsNeverAcknowledged(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("skipped: strace is not installed")
	}
	for _, fault := range []string{"EIO:when=20", "EIO:when=25+", "ENOSPC:when=21"} {
		t.Run(fault, func(t *testing.T) {
			dir := t.TempDir()
			cmd, out := startChild(t, dir, strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error="+fault)
			time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			kept := make(map[string]bool)
			last := ""
			for {
				line, err := out.ReadString('\n')
				if err != nil {
					break
				}
				if what, name, _ := strings.Cut(strings.TrimSpace(line), " "); what == "kept" {
					kept[name] = true
				} else if what == "error" {
					last = name
				}
			}
			cmd.Wait()
			if len(kept) == 0 && last == "" {
				t.Skip("skipped: strace cannot trace here")
			}
			if !strings.Contains(last, string(command.CodeOutcomeUnknown)) && !strings.Contains(last, "store") {
				t.Errorf("the child ended with %q, want that the outcome is unknown", last)
			}
			sound(t, dir)
			s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for name := range kept {
				if _, err := s.Device(context.Background(), name); err != nil {
					t.Errorf("%s was acknowledged: %v", name, err)
				}
			}
			t.Logf("%d acknowledged, then %s", len(kept), last)
		})
	}
}
