package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"behest/access"
	"behest/webhook"
)

// config is what an operator can set. The keys are the flags' names.
type config struct {
	Dev  bool   `koanf:"dev"`
	Data string `koanf:"data"`
	HTTP string `koanf:"http"`
	CoAP string `koanf:"coap"`

	CoAPS         string `koanf:"coaps"`
	CoAPSCert     string `koanf:"coaps-cert"`
	CoAPSKey      string `koanf:"coaps-key"`
	CoAPSClientCA string `koanf:"coaps-client-ca"`

	Keep      string `koanf:"keep"`
	NewLogKey bool   `koanf:"new-log-key"`

	CheckpointFile  string        `koanf:"checkpoint-file"`
	CheckpointEvery time.Duration `koanf:"checkpoint-every"`

	TrustClock bool `koanf:"trust-clock"`
	Solo       bool `koanf:"solo"`
	ResetAdmin bool `koanf:"reset-admin"`

	ResetDeviceKeys bool `koanf:"reset-device-keys"`

	ResetSecretKey  bool            `koanf:"reset-secret-key"`
	WebhookSchedule []time.Duration `koanf:"webhook-schedule"`

	CoAPInsecureListen bool `koanf:"coap-insecure-listen"`
	HTTPInsecureListen bool `koanf:"http-insecure-listen"`

	HTTPCert string `koanf:"http-cert"`
	HTTPKey  string `koanf:"http-key"`

	HTTPRate    int      `koanf:"http-rate"`
	HTTPProxies []string `koanf:"http-proxies"`

	OIDCIssuer   string `koanf:"oidc-issuer"`
	OIDCAudience string `koanf:"oidc-audience"`
	OIDCClaim    string `koanf:"oidc-claim"`

	AckTimeout time.Duration `koanf:"ack-timeout"`
	AgainMin   time.Duration `koanf:"again-min"`
	AgainMax   time.Duration `koanf:"again-max"`

	LogLevel  string `koanf:"log-level"`
	LogFormat string `koanf:"log-format"`
}

const envPrefix = "BEHEST_"

func configFlags(f *pflag.FlagSet) {
	f.Bool("dev", false, "development mode: loopback only, undeclared command types and unknown devices allowed, a token in DIR/dev-token")
	f.String("data", "./data", "directory of the database, the tokens and addresses.json; made if it is not there")
	f.String("http", "127.0.0.1:8080", "address of the operators' API; port 0 takes a free one")
	f.String("coap", "127.0.0.1:5683", "address of plain CoAP for devices; port 0 takes a free one")
	f.String("coaps", "", "address of CoAP over DTLS for devices; port 0 takes a free one, off is none; if not said, 127.0.0.1:5684 with --dev, else off")
	f.String("coaps-cert", "", "PEM file with the certificate chain, on P-256, for devices that come with certificates; read again when it changes")
	f.String("coaps-key", "", "PEM file with its private key")
	f.String("coaps-client-ca", "", "PEM file with the authorities of the devices' certificates, whose subject CN is the device's id")
	f.String("keep", "90d", "how long commands that are over, their reports and the log are kept: days (90d), a duration (720h) or forever")
	f.Bool("new-log-key", false, "sign where the log was cut with a new DIR/log-key: the old one was lost; for one start")
	f.String("checkpoint-file", "", "file to which signed checkpoints of the log are appended, to be kept on another machine: see server check --against")
	f.Duration("checkpoint-every", time.Hour, "how often the log is signed, if it has grown, and the event server.checkpoint tells of it")
	f.Bool("trust-clock", false, "go on although the system's clock is behind where the server was, or more than a day past it; --dev implies it")
	f.Bool("solo", false, "let who asks for a command be among those who approve it: for servers that one person runs")
	f.Bool("reset-admin", false, "let the user admin in again, with a new token in DIR/admin-token (or dev-token); for one start")
	f.Bool("reset-secret-key", false, "take another DIR/secret-key, or make one, although webhooks have their secrets from the former and commands are sealed with it; for one start")
	f.Bool("reset-device-keys", false, "put a new key into DIR/device-keys, which was lost, and revoke all secrets of devices that it does not open; for one start")
	f.DurationSlice("webhook-schedule", webhook.Schedule(), "waits between the attempts to tell a webhook of an event; when they are over, it is given up")
	f.Bool("coap-insecure-listen", false, "let plain CoAP, which anybody can read and forge, listen beyond loopback")
	f.Bool("http-insecure-listen", false, "let plain HTTP, which anybody can read, listen beyond loopback")
	f.String("http-cert", "", "PEM file with the certificate chain for HTTPS; read again when it changes")
	f.String("http-key", "", "PEM file with its private key")
	f.Int("http-rate", 1000, "requests a second that one user may make, and twice that at once; 0: any number")
	f.StringSlice("http-proxies", nil, "networks (192.0.2.0/24,...) of proxies whose X-Forwarded-For says where a request comes from")
	f.String("oidc-issuer", "", "OpenID Connect issuer (https://...) whose tokens are taken too, from users who have a login there")
	f.String("oidc-audience", "", "what its tokens call this server; tokens for others are refused")
	f.String("oidc-claim", access.ClaimSubject, "claim that names the user: sub, oid, email (if it is verified) or preferred_username; whoever can get another's value is that user")
	f.Duration("ack-timeout", 2*time.Second, "first wait for a device's ACK (RFC 7252 ACK_TIMEOUT); each retry doubles it")
	f.Duration("again-min", 30*time.Second, "a delivered command that is not reported on is shown again after this, then after twice that, ...")
	f.Duration("again-max", 15*time.Minute, "... up to this")
	f.String("log-level", "info", "debug, info, warn or error")
	f.String("log-format", "auto", "text, json, or auto: text on a terminal, else json")
	f.String("config", "", "YAML file with these settings")
}

// loadConfig puts the sources together and checks the result.
func loadConfig(flags *pflag.FlagSet) (config, error) {
	k := koanf.New(".")
	if path, _ := flags.GetString("config"); path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return config{}, fmt.Errorf("config file %s: %w", path, err)
		}
		if err := known(k.Keys(), flags, "in the config file"); err != nil {
			return config{}, err
		}
	}
	fromEnv := koanf.New(".")
	provider := env.Provider(".", env.Opt{Prefix: envPrefix, TransformFunc: func(key, value string) (string, any) {
		name := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, envPrefix)), "_", "-")
		if f := flags.Lookup(name); f != nil && strings.HasSuffix(f.Value.Type(), "Slice") {
			return name, strings.Split(value, ",") // as the flag does
		}
		return name, value
	}})
	if err := fromEnv.Load(provider, nil); err != nil {
		return config{}, fmt.Errorf("environment: %w", err)
	}
	if err := known(fromEnv.Keys(), flags, "in the environment"); err != nil {
		return config{}, err
	}
	if err := k.Merge(fromEnv); err != nil {
		return config{}, fmt.Errorf("environment: %w", err)
	}
	if err := k.Load(posflag.Provider(flags, ".", k), nil); err != nil { // set flags win, others fill gaps
		return config{}, fmt.Errorf("flags: %w", err)
	}
	var c config
	if err := k.Unmarshal("", &c); err != nil {
		return config{}, fmt.Errorf("settings: %w", err)
	}
	return c, c.check()
}

// known refuses keys that mean nothing: a misspelt setting that is silently
// ignored is a trap.
func known(keys []string, flags *pflag.FlagSet, where string) error {
	for _, key := range keys {
		if flags.Lookup(key) == nil || key == "config" {
			return fmt.Errorf("%s: there is no setting %q", where, key)
		}
	}
	return nil
}

func (c config) check() error {
	var errs []error
	if c.Data == "" {
		errs = append(errs, errors.New("data: name a directory"))
	}
	_, err := keepFor(c.Keep, c.Dev)
	errs = append(errs, err,
		checkPair(c.HTTPCert, c.HTTPKey),
		checkAddress("http", c.HTTP, c.HTTPInsecureListen || c.HTTPCert != "", c.Dev),
		checkAddress("coap", c.CoAP, c.CoAPInsecureListen, c.Dev),
		c.checkCoAPS(),
		c.checkHTTP(),
		c.checkOIDC(),
		checkSchedule(c.WebhookSchedule),
		checkEvery(c.CheckpointEvery),
		oneOf("log-level", c.LogLevel, "debug", "info", "warn", "error"),
		oneOf("log-format", c.LogFormat, "auto", "text", "json"))
	for name, d := range map[string]time.Duration{"ack-timeout": c.AckTimeout, "again-min": c.AgainMin, "again-max": c.AgainMax} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: %s is not above zero", name, d))
		}
	}
	return errors.Join(errs...)
}

func (c config) checkHTTP() error {
	if c.HTTPRate < 0 {
		return fmt.Errorf("http-rate: %d is below 0", c.HTTPRate)
	}
	_, err := c.proxies()
	return err
}

// proxies are the networks of HTTPProxies; an address is a network of one.
func (c config) proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range c.HTTPProxies {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("http-proxies: %q is no network, such as 192.0.2.0/24, and no address", text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

func oneOf(name, value string, all ...string) error {
	if slices.Contains(all, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is none of %s", name, value, strings.Join(all, ", "))
}

// checkAddress sees to it that what has no protection of its own stays on
// loopback, unless that was wished for in so many words.
func checkAddress(name, addr string, insecure, dev bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s: %q is not HOST:PORT", name, addr)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%s: %q is no port", name, port)
	}
	if loopback(host) {
		return nil
	}
	switch {
	case dev:
		return fmt.Errorf("%s: development mode listens on loopback only, and %q is not", name, addr)
	case !insecure:
		return fmt.Errorf("%s: %q is beyond loopback and has no encryption; %s--%s-insecure-listen allows it", name, addr, instead[name], name)
	}
	return nil
}

// instead is the better way to be heard beyond loopback, where there is one.
var instead = map[string]string{"http": "give it --http-cert and --http-key, or "}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// path is a file in the data directory.
func (c config) path(name string) string { return c.Data + string(os.PathSeparator) + name }
