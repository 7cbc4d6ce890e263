package device

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a selector.
const (
	SelectorBytesMax  = 1 << 10
	RequirementsMax   = 32
	SelectorValuesMax = 64
)

// Selector picks devices by their labels, in the syntax of Kubernetes:
// requirements that must all hold, separated by commas.
//
//	site=a            the label is there and has that value; == is the same
//	site!=a           it is not there, or has another
//	kind in (pump,valve)      it has one of the values
//	kind notin (pump,valve)   it is not there, or has none of them
//	spare             it is there
//	!spare            it is not
type Selector []requirement

type requirement struct {
	key    string
	values []string
	want   bool // that it is there (with one of the values, if any are named)
}

// Matches reports whether all requirements hold. No selector matches nothing:
// who means all devices must say so.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		value, there := labels[r.key]
		if there && len(r.values) > 0 {
			there = slices.Contains(r.values, value)
		}
		if there != r.want {
			return false
		}
	}
	return len(s) > 0
}

// Overlaps reports whether there could be a device that both pick.
func (s Selector) Overlaps(o Selector) bool {
	both := append(slices.Clone(s), o...)
	return len(s) > 0 && len(o) > 0 && !slices.ContainsFunc(both, func(r requirement) bool { return !both.allows(r.key) })
}

// allows reports whether some value of a label, or none, meets every
// requirement on it. A value that none of them names is as good as any other
// such, so the named ones are tried, and one that is not.
func (s Selector) allows(key string) bool {
	about := slices.DeleteFunc(slices.Clone(s), func(r requirement) bool { return r.key != key })
	tries := []map[string]string{nil, {key: "\x00"}} // which no selector can say
	for _, r := range about {
		for _, value := range r.values {
			tries = append(tries, map[string]string{key: value})
		}
	}
	return slices.ContainsFunc(tries, about.Matches)
}

// ParseSelector reads a selector, or says what is wrong with it and where.
func ParseSelector(text string) (Selector, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, fmt.Errorf("the selector is empty; all devices are meant by all")
	case len(text) > SelectorBytesMax:
		return nil, fmt.Errorf("the selector is over %d bytes", SelectorBytesMax)
	case !utf8.ValidString(text):
		return nil, fmt.Errorf("the selector is not UTF-8")
	}
	p := &selectorParser{text: text}
	var s Selector
	for {
		r, err := p.requirement()
		if err != nil {
			return nil, fmt.Errorf("%w, at byte %d of the selector", err, p.at)
		}
		if s = append(s, r); len(s) > RequirementsMax {
			return nil, fmt.Errorf("the selector has over %d requirements", RequirementsMax)
		}
		switch p.space(); {
		case p.at == len(text):
			return s, nil
		case !p.take(","):
			return nil, fmt.Errorf("a comma is missing, at byte %d of the selector", p.at)
		}
	}
}

// selectorParser reads text from at on.
type selectorParser struct {
	text string
	at   int
}

func (p *selectorParser) space() {
	p.at += len(p.text[p.at:]) - len(strings.TrimLeft(p.text[p.at:], " \t"))
}

func (p *selectorParser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

// word reads a key or a value: all but what separates.
func (p *selectorParser) word(what string) (string, error) {
	p.space()
	n := strings.IndexAny(p.text[p.at:], ",()=! \t")
	if n < 0 {
		n = len(p.text) - p.at
	}
	word := p.text[p.at : p.at+n]
	switch {
	case n == 0:
		return "", fmt.Errorf("%s is missing", what)
	case n > LabelBytesMax:
		return "", fmt.Errorf("%s is over %d bytes", what, LabelBytesMax)
	}
	p.at += n
	return word, nil
}

func (p *selectorParser) requirement() (requirement, error) {
	p.space()
	r := requirement{want: !p.take("!")}
	var err error
	if r.key, err = p.word("a label's key"); err != nil {
		return r, err
	}
	if strings.ContainsAny(r.key, "<>") { // !level>3 would be every device that has no label of that name
		return r, fmt.Errorf("< and > are not known: name the values, as in level in (4,5)")
	}
	p.space()
	if !r.want {
		return r, nil
	}
	switch {
	case p.take("!="):
		r.want = false
	case p.take("=="), p.take("="):
	case p.takeWord("in"):
		r.values, err = p.list()
		return r, err
	case p.takeWord("notin"):
		r.want = false
		r.values, err = p.list()
		return r, err
	default:
		return r, nil // that it is there
	}
	value, err := p.word("a value")
	r.values = []string{value}
	return r, err
}

// takeWord takes an operator that is a word of its own.
func (p *selectorParser) takeWord(s string) bool {
	rest, ok := strings.CutPrefix(p.text[p.at:], s)
	if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t(") {
		return false
	}
	p.at += len(s)
	return true
}

// list reads values between parentheses.
func (p *selectorParser) list() (values []string, err error) {
	if p.space(); !p.take("(") {
		return nil, fmt.Errorf("an opening parenthesis is missing")
	}
	for {
		value, err := p.word("a value")
		if err != nil {
			return nil, err
		}
		if values = append(values, value); len(values) > SelectorValuesMax {
			return nil, fmt.Errorf("there are over %d values", SelectorValuesMax)
		}
		switch p.space(); {
		case p.take(")"):
			return values, nil
		case !p.take(","):
			return nil, fmt.Errorf("a closing parenthesis is missing")
		}
	}
}
