package command

import (
	"strings"
	"testing"
)

func TestAWebhookIsRefusedForWhatIsWrongWithIt(t *testing.T) {
	types := func(names ...EventType) HookSpec { return HookSpec{URL: "https://example.org/", Types: names} }
	long := "https://example.org/" + strings.Repeat("a", HookURLBytesMax)
	for _, row := range []struct {
		name, id string
		spec     HookSpec
		want     string // the pointer of the one fault; empty: none
	}{
		{"all of it", "erp", types("execution.*", "command.created"), ""},
		{"with a port, a path and a query", "erp", HookSpec{URL: "https://example.org:8443/in?x=1"}, ""},
		{"without TLS, in private", "erp", HookSpec{URL: "http://10.0.0.7/", AllowPrivate: true}, ""},
		{"an address", "erp", HookSpec{URL: "https://[2606:4700::1]/"}, ""},
		{"a name with digits", "erp", HookSpec{URL: "https://7.example.org./"}, ""},
		{"no name", "", types(), "/id"},
		{"a name with a slash", "a/b", types(), "/id"},
		{"a long name", strings.Repeat("n", TypeNameBytesMax+1), types(), "/id"},
		{"without TLS", "erp", HookSpec{URL: "http://example.org/"}, "/url"},
		{"no URL", "erp", HookSpec{}, "/url"},
		{"a path", "erp", HookSpec{URL: "/in"}, "/url"},
		{"opaque", "erp", HookSpec{URL: "https:example.org"}, "/url"},
		{"no host", "erp", HookSpec{URL: "https:///in"}, "/url"},
		{"a port alone", "erp", HookSpec{URL: "https://:443/in"}, "/url"},
		{"another scheme", "erp", HookSpec{URL: "gopher://example.org/", AllowPrivate: true}, "/url"},
		{"a file", "erp", HookSpec{URL: "file:///etc/passwd", AllowPrivate: true}, "/url"},
		{"a password", "erp", HookSpec{URL: "https://a:b@example.org/"}, "/url"},
		{"a user", "erp", HookSpec{URL: "https://a@example.org/"}, "/url"},
		{"a fragment", "erp", HookSpec{URL: "https://example.org/#a"}, "/url"},
		{"port 0", "erp", HookSpec{URL: "https://example.org:0/"}, "/url"},
		{"port 65536", "erp", HookSpec{URL: "https://example.org:65536/"}, "/url"},
		{"no port after a colon", "erp", HookSpec{URL: "https://example.org:/"}, "/url"},
		{"a space", "erp", HookSpec{URL: "https://example.org/a b"}, "/url"},
		{"a line break", "erp", HookSpec{URL: "https://example.org/\r\nHost: a"}, "/url"},
		{"a name that is not ASCII", "erp", HookSpec{URL: "https://①②⑦.⓪.⓪.①/"}, "/url"},
		{"a long URL", "erp", HookSpec{URL: long}, "/url"},
		{"decimal", "erp", HookSpec{URL: "https://2130706433/", AllowPrivate: true}, "/url"},
		{"octal", "erp", HookSpec{URL: "https://0177.0.0.1/", AllowPrivate: true}, "/url"},
		{"hexadecimal", "erp", HookSpec{URL: "https://0x7f.0.0.0x1/", AllowPrivate: true}, "/url"},
		{"hexadecimal in one", "erp", HookSpec{URL: "https://0X7F000001/", AllowPrivate: true}, "/url"},
		{"short", "erp", HookSpec{URL: "https://127.1/", AllowPrivate: true}, "/url"},
		{"dotted at the end", "erp", HookSpec{URL: "https://127.0.0.1./", AllowPrivate: true}, "/url"},
		{"a type in capitals", "erp", types("Execution.sent"), "/types/0"},
		{"a type without a family", "erp", types("command.created", "sent"), "/types/1"},
		{"a family within a family", "erp", types("execution.sent.*"), "/types/0"},
		{"a star alone", "erp", types("*"), "/types/0"},
		{"a star without a point", "erp", types("execution*"), "/types/0"},
		{"a family of nothing", "erp", types(".*"), "/types/0"},
		{"an empty type", "erp", types(""), "/types/0"},
		{"a long type", "erp", types(EventType("a." + strings.Repeat("b", HookTypeBytesMax))), "/types/0"},
		{"many types", "erp", types(make([]EventType, HookTypesMax+1)...), "/types"},
	} {
		t.Run(row.name, func(t *testing.T) {
			faults := row.spec.Check(row.id)
			if row.want == "" && len(faults) > 0 {
				t.Errorf("refused: %v", faults)
			}
			if row.want != "" && (len(faults) == 0 || faults[0].Pointer != row.want) {
				t.Errorf("got %v, want a fault at %s", faults, row.want)
			}
		})
	}
}

func TestAWebhookIsToldOfWhatItWants(t *testing.T) {
	for _, row := range []struct {
		types []EventType
		kind  EventType
		want  bool
	}{
		{nil, EventIssued, true},
		{[]EventType{"command.created"}, EventIssued, true},
		{[]EventType{"command.created"}, EventEnded, false},
		{[]EventType{"command.*"}, EventEnded, true},
		{[]EventType{"comm.*"}, EventEnded, false},
		{[]EventType{"command.*"}, "commander.left", false},
		{[]EventType{"device.*", "execution.sent"}, EventOf(Sent), true},
		{[]EventType{"device.*", "execution.sent"}, EventOf(Running), false},
	} {
		h := Hook{Types: row.types}
		if got := h.Wants(row.kind); got != row.want {
			t.Errorf("%v wants %s: %t, want %t", row.types, row.kind, got, row.want)
		}
	}
}

func TestDeliveryStatesHaveNames(t *testing.T) {
	for s := DeliveryPending; s <= DeliveryGivenUp; s++ {
		if got, ok := ParseDeliveryState(s.String()); !ok || got != s {
			t.Errorf("%s reads back as %d, %t", s, got, ok)
		}
	}
	for _, name := range []string{"", "unknown", "gone"} {
		if s, ok := ParseDeliveryState(name); ok {
			t.Errorf("%q is %d", name, s)
		}
	}
}
