package cbor

import (
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The grammar in behest.cddl is held against the vectors by a reader of the
// part of CDDL [RFC 8610] that it is written in: rules, maps with integer keys
// and wildcards, arrays of one kind, choices, ranges, choices from a group, and
// the size of a text. Anything else in it stops the test.

// matcher says whether a sound item is of a type.
type matcher func(item []byte) bool

type grammar struct {
	t      *testing.T
	tokens []string
	rules  map[string]matcher
	used   map[string]bool
}

var cddlToken = regexp.MustCompile(`=>|\.\.|\.size|[=/{}\[\](),:?*&]|-?[0-9]+|[a-z][a-z0-9-]*|\S`)

func readGrammar(t *testing.T) *grammar {
	t.Helper()
	text, err := os.ReadFile("behest.cddl")
	if err != nil {
		t.Fatal(err)
	}
	g := &grammar{t: t, rules: map[string]matcher{}, used: map[string]bool{}}
	for line := range strings.SplitSeq(string(text), "\n") {
		line, _, _ = strings.Cut(line, ";")
		g.tokens = append(g.tokens, cddlToken.FindAllString(line, -1)...)
	}
	g.rules["any"] = func([]byte) bool { return true }
	g.rules["uint"] = func(item []byte) bool { return item[0]>>5 == majorUint }
	g.rules["true"] = func(item []byte) bool { return item[0] == 0xf5 }
	g.rules["tstr"] = func(item []byte) bool { return item[0]>>5 == majorText }
	for len(g.tokens) > 0 {
		name := g.next()
		if g.rules[name] != nil {
			t.Fatalf("two rules are named %s", name)
		}
		g.expect("=")
		g.rules[name] = g.choice()
	}
	for name := range g.used {
		if g.rules[name] == nil {
			t.Fatalf("no rule is named %s", name)
		}
	}
	return g
}

func (g *grammar) next() string {
	if len(g.tokens) == 0 {
		g.t.Fatal("the grammar ends too early")
	}
	token := g.tokens[0]
	g.tokens = g.tokens[1:]
	return token
}

// take passes token if it is next.
func (g *grammar) take(token string) bool {
	if len(g.tokens) == 0 || g.tokens[0] != token {
		return false
	}
	g.tokens = g.tokens[1:]
	return true
}

func (g *grammar) expect(token string) {
	if !g.take(token) {
		g.t.Fatalf("no %q before %q", token, g.tokens[:min(len(g.tokens), 8)])
	}
}

func (g *grammar) choice() matcher {
	types := []matcher{g.typ()}
	for g.take("/") {
		types = append(types, g.typ())
	}
	return func(item []byte) bool {
		return slices.ContainsFunc(types, func(m matcher) bool { return m(item) })
	}
}

func (g *grammar) typ() matcher {
	switch token := g.next(); {
	case token == "{":
		return g.mapping()
	case token == "[":
		g.expect("*")
		element := g.choice()
		g.expect("]")
		return arrayOf(element)
	case token == "&":
		return g.enumeration()
	case isNumber(token):
		low, high := number(token), number(token)
		if g.take("..") {
			high = number(g.next())
		}
		return between(low, high)
	default:
		g.used[token] = true
		if g.take(".size") {
			g.expect("(")
			low := number(g.next())
			g.expect("..")
			high := number(g.next())
			g.expect(")")
			return sized(token, low, high)
		}
		return func(item []byte) bool { return g.rules[token](item) }
	}
}

func isNumber(token string) bool {
	return strings.Trim(token[:1], "-0123456789") == ""
}

func number(token string) *big.Int {
	n, ok := new(big.Int).SetString(token, 10)
	if !ok {
		panic("no number: " + token)
	}
	return n
}

// between matches integers from low to high.
func between(low, high *big.Int) matcher {
	return func(item []byte) bool {
		h, _ := readHead(item)
		v := new(big.Int).SetUint64(h.arg)
		switch h.major {
		case majorUint:
		case majorNint:
			v.Not(v) // -1 - v
		default:
			return false
		}
		return v.Cmp(low) >= 0 && v.Cmp(high) <= 0
	}
}

// sized matches texts of low to high bytes.
func sized(of string, low, high *big.Int) matcher {
	if of != "tstr" {
		panic("the size of " + of)
	}
	return func(item []byte) bool {
		h, _ := readHead(item)
		n := new(big.Int).SetUint64(h.arg)
		return h.major == majorText && n.Cmp(low) >= 0 && n.Cmp(high) <= 0
	}
}

func arrayOf(element matcher) matcher {
	return func(item []byte) bool {
		h, at := readHead(item)
		if h.major != majorArray {
			return false
		}
		for range h.arg {
			n := skip(item[at:])
			if !element(item[at : at+n]) {
				return false
			}
			at += n
		}
		return true
	}
}

// enumeration reads &(name: number, ...).
func (g *grammar) enumeration() matcher {
	var values []matcher
	g.expect("(")
	for !g.take(")") {
		g.next()
		g.expect(":")
		n := number(g.next())
		values = append(values, between(n, n))
		g.take(",")
	}
	return func(item []byte) bool {
		return slices.ContainsFunc(values, func(m matcher) bool { return m(item) })
	}
}

// member is a line of a map.
type member struct {
	key, value matcher
	required   bool
	wildcard   bool
}

// mapping reads the members of a map. A key that is named must have the type
// that stands there, and no wildcard takes it [RFC 8610 3.5.4, cuts].
func (g *grammar) mapping() matcher {
	var members []member
	for !g.take("}") {
		var m member
		switch {
		case g.take("*"):
			m = member{key: g.choice(), wildcard: true}
			g.expect("=>")
		default:
			m.required = !g.take("?")
			n := number(g.next())
			m.key = between(n, n)
			g.expect(":")
		}
		m.value = g.choice()
		g.take(",")
		members = append(members, m)
	}
	return func(item []byte) bool { return matchMap(members, item) }
}

func matchMap(members []member, item []byte) bool {
	h, at := readHead(item)
	if h.major != majorMap {
		return false
	}
	met := make([]bool, len(members))
	for range h.arg {
		key := item[at : at+skip(item[at:])]
		at += len(key)
		value := item[at : at+skip(item[at:])]
		at += len(value)
		i := slices.IndexFunc(members, func(m member) bool { return m.key(key) }) // the named ones stand first
		if i < 0 || !members[i].value(value) {
			return false
		}
		met[i] = true
	}
	for i, m := range members {
		if m.required && !met[i] {
			return false
		}
	}
	return true
}

func TestTheGrammarTakesWhatTheVectorsSay(t *testing.T) {
	g := readGrammar(t)
	taken, refused := 0, 0
	want := func(v vector, rule string, want bool) {
		t.Helper()
		if got := g.rules[rule](v.Hex); got != want {
			t.Errorf("%s: %s takes it = %v, want %v", v.Name, rule, got, want)
		}
		if want {
			taken++
		} else {
			refused++
		}
	}
	for _, v := range vectors(t, "list") {
		// The grammar is about sound items, and cannot say that a list ascends.
		if _, _, err := walk(v.Hex, DepthMax+2); err == nil && !strings.HasSuffix(v.Fields["fault"], "ascend") {
			want(v, "open-list", !v.refused())
		}
	}
	for _, v := range vectors(t, "report") {
		if _, err := DecodeReport(v.Hex); form(err) != nil && isA(majorMap, v.Hex) {
			continue
		}
		odd := strings.Contains(v.Fields["meaning"], `"odd": true`)
		want(v, "report", !v.refused() && !odd)
		want(v, "report-that-counts", !v.refused())
	}
	if taken < 100 || refused < 50 {
		t.Errorf("%d were taken and %d refused", taken, refused)
	}
}

func TestTheGrammarNamesOurLimits(t *testing.T) {
	g := readGrammar(t)
	text := func(n int) []byte { return appendText(nil, strings.Repeat("x", n)) }
	num := func(n int64) []byte { return appendInt(nil, n) }
	tests := []struct {
		rule string
		item []byte
		want bool
	}{
		{"text", text(64), true}, {"text", text(65), false},
		{"type-name", text(63), true}, {"type-name", text(64), false}, {"type-name", text(0), false},
		{"wire-code", num(65535), true}, {"wire-code", num(65536), false}, {"wire-code", num(0), false},
		{"progress", num(100), true}, {"progress", num(101), false},
		{"seq", num(1<<32 - 1), true}, {"seq", num(1 << 32), false}, {"seq", num(0), false},
		{"status", num(4), true}, {"status", num(5), false},
		{"effect", num(3), true}, {"effect", num(4), false},
		{"entry-later", num(8), false}, {"entry-later", num(9), true},
		{"report-later", num(9), false}, {"report-later", num(10), true},
	}
	for _, tt := range tests {
		if got := g.rules[tt.rule](tt.item); got != tt.want {
			t.Errorf("%s takes %s = %v, want %v", tt.rule, Diagnose(tt.item), got, tt.want)
		}
	}
}
