package command

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Limits of webhooks.
const (
	HooksMax          = 100     // each has a loop and some connections of its own
	HookURLBytesMax   = 2 << 10 // what proxies and servers take without a word
	HookTypesMax      = 64
	HookTypeBytesMax  = 64
	HookFailuresMax   = 1000 // deliveries of a hook that wait to be tried again; at that its place in the log stays
	HookKeptMax       = 1000 // of those that are over, the youngest are kept for people to read
	HookErrorBytesMax = 256
)

// family ends the name of a whole family of event types.
const family = ".*"

// Hook is a webhook: somebody who is told of events by HTTP.
type Hook struct {
	N       int64  // the store's number, never given twice; 0: not stored
	ID      string // the name that an operator chose
	Version int64  // of what an operator can change; grows with each change

	URL          string
	Types        []EventType // each may end in ".*"; none: all events
	AllowPrivate bool        // it may be on loopback or in a private network, and then without TLS
	Disabled     bool        // nothing is sent, and its place in the log stays
	Reason       string      // why it is disabled: HookByHand and others; empty: it is not

	Salt       [16]byte // makes its secrets its own, also when another had its name before
	Generation int      // of its secret, from 1
	RotatedAt  time.Time

	CreatedAt time.Time
	CreatedBy string
	ChangedAt time.Time
	ChangedBy string

	Cursor    Place     // everything up to here was delivered, or has a row
	Delivered int64     // events that it took
	GivenUp   int64     // events that it did not take in all their attempts
	TakenAt   time.Time // when it last took one; zero: never
}

// Why a hook is disabled.
const (
	HookByHand  = "by_hand" // an administrator wished it
	HookGone    = "gone"    // it answered 410
	HookFailing = "failing" // an event was given up, and it took nothing else since that event came up
)

// HookSpec is what an operator says about a webhook.
type HookSpec struct {
	URL          string
	Types        []EventType
	AllowPrivate bool
	Disabled     bool
}

// Spec is what was last said about h.
func (h *Hook) Spec() HookSpec {
	return HookSpec{URL: h.URL, Types: h.Types, AllowPrivate: h.AllowPrivate, Disabled: h.Disabled}
}

// Wants reports whether h is told of events of type t.
func (h *Hook) Wants(t EventType) bool {
	if len(h.Types) == 0 {
		return true
	}
	for _, pattern := range h.Types {
		if t.Matches(pattern) {
			return true
		}
	}
	return false
}

// Matches reports whether pattern is t, or its beginning: execution.* matches
// execution.sent.
func (t EventType) Matches(pattern EventType) bool {
	if name, ok := strings.CutSuffix(string(pattern), family); ok {
		return strings.HasPrefix(string(t), name+".")
	}
	return t == pattern
}

// Check names every fault of a webhook's name and of what is said about it.
func (s *HookSpec) Check(id string) []Field {
	var faults []Field
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	if what := CheckTypeName(id); what != "" {
		fault("/id", "%s", what)
	}
	if what := checkHookURL(s.URL, s.AllowPrivate); what != "" {
		fault("/url", "%s", what)
	}
	if len(s.Types) > HookTypesMax {
		fault("/types", "are %d; at most %d are allowed", len(s.Types), HookTypesMax)
	}
	for i, t := range s.Types {
		if what := checkHookType(string(t)); what != "" {
			fault(fmt.Sprintf("/types/%d", i), "%s", what)
		}
	}
	return faults
}

// checkHookURL says what is wrong with an address, as far as its text tells.
// Where its name leads is looked at whenever somebody is about to connect.
func checkHookURL(text string, private bool) string {
	if len(text) > HookURLBytesMax {
		return fmt.Sprintf("is over %d bytes", HookURLBytesMax)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) || r == ' ' }) {
		return "holds what no URL may hold"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return "is no URL with a host"
	case u.Scheme != "https" && u.Scheme != "http":
		return "is neither https nor http"
	case u.Scheme == "http" && !private:
		return "is without TLS, which is for private networks (allow_private)"
	case u.User != nil:
		return "holds a user or a password; a receiver knows us by the signature"
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return "has a fragment, which is sent to nobody"
	case strings.HasSuffix(u.Host, ":") || u.Port() == "0" || len(u.Port()) > 5 || len(u.Port()) == 5 && u.Port() > "65535":
		return "has a port that is none"
	case oddAddress(u.Hostname()):
		return "has a number for a host that is no address in its usual form"
	}
	return ""
}

// oddAddress reports whether host is an IPv4 address in a form that some
// programs read and others do not: decimal, octal, hexadecimal or short.
func oddAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || strings.Contains(host, ":") {
		return err != nil
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := strings.ToLower(labels[len(labels)-1]) // no top-level domain is a number
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = hex, digits+"abcdef"
	}
	return strings.Trim(last, digits) == ""
}

func checkHookType(t string) string {
	name, all := strings.CutSuffix(t, family)
	switch {
	case len(t) > HookTypeBytesMax:
		return fmt.Sprintf("is over %d bytes", HookTypeBytesMax)
	case name == "" || strings.Trim(name, ".") != name || strings.Contains(name, ".") == all || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_.") != "":
		return "is neither an event type like execution.sent nor a family of them like execution.*"
	}
	return ""
}

// HookDelivery is what became of an event that a hook did not take at once, or
// that somebody wished to be delivered again.
type HookDelivery struct {
	Hook     string
	Event    Place
	Type     EventType
	State    DeliveryState
	Attempts int
	Status   int    // of the last answer; 0: there was none
	Error    string // what was wrong with it
	FirstAt  time.Time
	LastAt   time.Time // of the last attempt; zero: none yet
	NextAt   time.Time // of the next one; zero: none
	AskedBy  string    // who wished it; empty: it failed by itself
}

// DeliveryState is where a delivery stands.
type DeliveryState uint8

const (
	DeliveryPending DeliveryState = iota + 1 // it is tried again
	DeliveryDone                             // the hook took it
	DeliveryGivenUp                          // it did not, in all attempts
)

var deliveryNames = [...]string{"", "pending", "delivered", "given_up"}

func (s DeliveryState) String() string { return nameOf(deliveryNames[:], s) }

// ParseDeliveryState is the state with that name.
func ParseDeliveryState(name string) (DeliveryState, bool) {
	s, ok := parseName[DeliveryState](deliveryNames[:], name)
	return s, ok && s != 0
}

// HookProgress is what came of some deliveries to a hook. It is stored as a
// whole: after a crash either all of it counts, or the events come again.
type HookProgress struct {
	Cursor     Place // zero: it stays
	Delivered  int64 // events more that the hook took
	GivenUp    int64
	TakenAt    time.Time      // zero: it stays
	Deliveries []HookDelivery // rows to put in the place of those about the same events
}
