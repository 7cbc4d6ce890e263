package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/device"
	"behest/firmware-sim/link"
	"behest/firmware-sim/wire"
)

// help teaches the program.
const help = `firmware-sim: one simulated device for a Behest server (CoAP over UDP)

  firmware-sim --ep pump-7
  firmware-sim --ep pump-7 --state pump-7.state \
      --on pump.start='running:every=1s,for=5s,then=success:result={"ok":true}' \
      --on pump.stop=failure:code=32,text=stuck --default reject

The device
  --server URL       coap://HOST[:PORT] of the server (coap://127.0.0.1:5683)
  --ep NAME          endpoint name, 1 to 63 bytes (required)
  --lt SECONDS       lifetime of the registration (3600)
  --w N              how many commands it wants at a time, 1 to 8 (not said: 1)
  --state FILE       what survives a restart; without it the device forgets all
                     and says last=0. Effects are counted in FILE.effects
  --local ADDR       its own address and port (any)

What it does with a command
  --on TYPE=BEHAVIOUR   by type; #7 is the wire code 7. May be repeated
  --default BEHAVIOUR   for all others (success)

  success[:after=2s,result=JSON,prev=JSON,code=N,text=T,progress=N,effect=E]
  failure[:the same]                act, then report failure
  reject[:code=4,text=T]            do not act, report rejected
  running[:every=1s,for=5s,then=B]  report progress meanwhile, then B
  busy:for=5s[,then=B]              cannot start it so long, then B
  silent                            act and never report
  crash[:at=stored|acted|outcome]   lose power there; start it again with --state
  refuse-cancel[:then=B]            B, and say that it cannot be canceled
  E is none, partial, applied or unknown; then= takes the rest, so it is last.

A bad network, in both directions
  --loss P --dup P --reorder P      chances from 0 to 1
  --delay DURATION                  at most so long under way
  --seed N                          the same row of faults again

How long, and what it prints
  --once             end after one command (same as --count 1)
  --count N          end after N final reports were answered
  --json             one JSON object a line
  --help             this

It ends with 0 when done or stopped by a signal, 1 when it cannot go on, 2 for a
wrong command line, 3 when a behaviour took the power away. It never removes its
registration: a device that loses power says no goodbye.
`

// config is what the flags say.
type config struct {
	device device.Options
	faults link.Faults
	local  netip.AddrPort
	state  string
	json   bool
}

const (
	serverDefault  = "coap://127.0.0.1:5683"
	portDefault    = "5683" // [RFC 7252 6.1]
	secondsDefault = 3600
)

// behaviours collects --on.
type behaviours map[string]behaviour.Plan

func (b behaviours) String() string { return "" }

func (b behaviours) Set(s string) error {
	name, text, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("it is TYPE=BEHAVIOUR")
	}
	plan, err := behaviour.Parse(text)
	if err != nil {
		return err
	}
	b[name] = plan
	return nil
}

// parseFlags reads and checks the command line.
func parseFlags(args []string) (config, error) {
	var c config
	var server, local, fallback string
	var seconds uint64
	var once bool
	on := behaviours{}
	set := flag.NewFlagSet("firmware-sim", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&server, "server", serverDefault, "")
	set.StringVar(&local, "local", "", "")
	set.StringVar(&c.device.Name, "ep", "", "")
	set.StringVar(&c.state, "state", "", "")
	set.Uint64Var(&seconds, "lt", secondsDefault, "")
	set.IntVar(&c.device.Window, "w", 0, "")
	set.Var(on, "on", "")
	set.StringVar(&fallback, "default", "success", "")
	set.Float64Var(&c.faults.Loss, "loss", 0, "")
	set.Float64Var(&c.faults.Duplicate, "dup", 0, "")
	set.Float64Var(&c.faults.Reorder, "reorder", 0, "")
	set.DurationVar(&c.faults.Delay, "delay", 0, "")
	set.Uint64Var(&c.faults.Seed, "seed", 0, "")
	set.BoolVar(&once, "once", false, "")
	set.IntVar(&c.device.Commands, "count", 0, "")
	set.BoolVar(&c.json, "json", false, "")
	if err := set.Parse(args); err != nil {
		return config{}, err
	}
	if rest := set.Args(); len(rest) > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", rest[0])
	}
	if once {
		c.device.Commands = 1
	}
	return c, c.complete(server, local, fallback, seconds, on)
}

// complete fills in what needs more than a flag's type, and checks it all.
func (c *config) complete(server, local, fallback string, seconds uint64, on behaviours) error {
	plan, err := behaviour.Parse(fallback)
	if err != nil {
		return fmt.Errorf("--default: %w", err)
	}
	c.device.Plan = func(e wire.Entry) behaviour.Plan {
		if special, ok := on[e.Name()]; ok {
			return special
		}
		return plan
	}
	if c.device.Server, err = resolve(server); err != nil {
		return fmt.Errorf("--server %s: %w", server, err)
	}
	if local != "" {
		if c.local, err = netip.ParseAddrPort(local); err != nil {
			return fmt.Errorf("--local %s: no ADDRESS:PORT", local)
		}
	}
	if seconds < 1 || seconds > math.MaxUint32 {
		return fmt.Errorf("--lt %d: 1 to %d seconds", seconds, uint32(math.MaxUint32))
	}
	c.device.Lifetime = time.Duration(seconds) * time.Second
	c.device.Seed = c.faults.Seed
	if c.device.Name == "" {
		return errors.New("--ep NAME is missing")
	}
	if err := c.faults.Check(); err != nil {
		return err
	}
	return c.device.Check()
}

// resolve turns coap://HOST[:PORT] into an address.
func resolve(server string) (netip.AddrPort, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil:
		return netip.AddrPort{}, errors.New("it is coap://HOST[:PORT]")
	case u.Scheme == "coaps":
		return netip.AddrPort{}, errors.New("coaps is not spoken here, only coap")
	case u.Scheme != "coap" || u.Hostname() == "":
		return netip.AddrPort{}, errors.New("it is coap://HOST[:PORT]")
	case u.Path != "" && u.Path != "/":
		return netip.AddrPort{}, fmt.Errorf("the path %s is too much", u.Path)
	}
	port := u.Port()
	if port == "" {
		port = portDefault
	}
	found, err := net.ResolveUDPAddr("udp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return netip.AddrPort{}, err
	}
	at := found.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}
