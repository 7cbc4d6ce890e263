package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Options say how a server runs.
type Options struct {
	Data string   // its directory; made if it is not there
	HTTP string   // addresses; "127.0.0.1:0" when empty
	CoAP string   //
	Args []string // more flags
}

// Addresses are where a server that is ready listens, and the token that it
// takes.
type Addresses struct {
	HTTP  string
	CoAP  netip.AddrPort
	Token string
}

// Process is a running server. One goroutine uses it.
type Process struct {
	cmd   *exec.Cmd
	data  string
	log   string // the file that it logs to
	begun time.Time
	ended chan struct{} // closed when it is gone; err is set before
	err   error
}

const (
	addressesFile = "addresses.json"
	tokenFile     = "dev-token"
	logFile       = "server.log"

	readyEvery = 2 * time.Millisecond // of a start that takes some tens
	stopWithin = 30 * time.Second     // a drain of everything that can be waited for
	logEnd     = 2000                 // bytes of the log that an error shows
)

// Start starts a server. Its log is appended to a file in the data directory.
func (p Program) Start(o Options) (*Process, error) {
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, err
	}
	// A killed server leaves its addresses behind: they must not pass for the
	// next one's.
	if err := os.Remove(filepath.Join(o.Data, addressesFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path := filepath.Join(o.Data, logFile)
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{"--dev", "--http-rate", "0", "--data", o.Data, "--http", orAny(o.HTTP), "--coap", orAny(o.CoAP)}, o.Args...)
	c := &Process{cmd: exec.Command(p.path, args...), data: o.Data, log: path, begun: time.Now(), ended: make(chan struct{})}
	c.cmd.Stderr = log
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

func orAny(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

// Begun is when the process was started.
func (c *Process) Begun() time.Time { return c.begun }

// PID is the process's id.
func (c *Process) PID() int { return c.cmd.Process.Pid }

// Ready waits until the server takes work. A server that ends before is an
// error.
func (c *Process) Ready(ctx context.Context) (Addresses, error) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		if a, ok := c.ask(ctx); ok {
			return a, nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return Addresses{}, c.unexpected()
		case <-ctx.Done():
			return Addresses{}, fmt.Errorf("wait until the server is ready: %w", context.Cause(ctx))
		}
	}
}

// ask looks whether the server is ready now.
func (c *Process) ask(ctx context.Context) (Addresses, bool) {
	b, err := os.ReadFile(filepath.Join(c.data, addressesFile))
	if err != nil {
		return Addresses{}, false
	}
	var file struct{ HTTP, CoAP string }
	if err := json.Unmarshal(b, &file); err != nil {
		return Addresses{}, false
	}
	coap, err := netip.ParseAddrPort(file.CoAP)
	if err != nil {
		return Addresses{}, false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+file.HTTP+"/readyz", nil)
	if err != nil {
		return Addresses{}, false
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return Addresses{}, false
	}
	answer.Body.Close()
	token, err := os.ReadFile(filepath.Join(c.data, tokenFile))
	return Addresses{HTTP: file.HTTP, CoAP: coap, Token: strings.TrimSpace(string(token))}, err == nil && answer.StatusCode == http.StatusOK
}

// Ended reports whether the process is gone.
func (c *Process) Ended() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// Kill takes the process's life, now. That it was gone already is an error.
func (c *Process) Kill() error {
	if c.Ended() {
		return c.unexpected()
	}
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-c.ended
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return nil
	}
	return c.unexpected()
}

// Stop asks the server to end in good order.
func (c *Process) Stop() error {
	if c.Ended() {
		return c.unexpected()
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-c.ended:
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("the server did not stop within %v", stopWithin), c.Kill())
	}
	if c.err != nil {
		return c.unexpected()
	}
	return nil
}

// unexpected is the error of a process that ended as it should not.
func (c *Process) unexpected() error {
	b, _ := os.ReadFile(c.log) // what is there helps, what is not does no harm
	return fmt.Errorf("the server ended: %v\n%s", c.cmd.ProcessState, b[max(0, len(b)-logEnd):])
}
