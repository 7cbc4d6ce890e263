package device

import (
	"strings"
	"testing"
)

func TestSelectorsPickByLabels(t *testing.T) {
	a, b, none := map[string]string{"site": "a", "kind": "pump"}, map[string]string{"site": "b", "spare": ""}, map[string]string{}
	for _, tt := range []struct {
		text          string
		isA, isB, nil bool
	}{
		{"site=a", true, false, false},
		{" site == a ", true, false, false},
		{"site!=a", false, true, true},
		{"site in (a,b)", true, true, false},
		{"site in(a , c)", true, false, false},
		{"site notin (a)", false, true, true},
		{"spare", false, true, false},
		{"!spare", true, false, true},
		{"! spare", true, false, true},
		{"site,!spare,kind=pump", true, false, false},
		{"in=1", false, false, false},
		{"notin", false, false, false},
		{"site=a,site=b", false, false, false},
	} {
		s, err := ParseSelector(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		if x, y, z := s.Matches(a), s.Matches(b), s.Matches(none); x != tt.isA || y != tt.isB || z != tt.nil {
			t.Errorf("%s picks %t, %t, %t; want %t, %t, %t", tt.text, x, y, z, tt.isA, tt.isB, tt.nil)
		}
	}
	if Selector(nil).Matches(a) {
		t.Error("no selector picks something")
	}
}

func TestSelectorsThatAreNone(t *testing.T) {
	for text, says := range map[string]string{
		"":                                   "is empty; all",
		" \t":                                "is empty; all",
		"site=":                              "a value is missing, at byte 5",
		"=a":                                 "a label's key is missing, at byte 0",
		"site=a,":                            "a label's key is missing, at byte 7",
		"site=a kind=b":                      "a comma is missing, at byte 7",
		"site in a":                          "an opening parenthesis is missing, at byte 8",
		"site in (a":                         "a closing parenthesis is missing, at byte 10",
		"site in ()":                         "a value is missing, at byte 9",
		"!site=a":                            "a comma is missing, at byte 5",
		"!":                                  "a label's key is missing",
		"level>3":                            "< and > are not known: name the values",
		"!level>3":                           "< and > are not known: name the values",
		"site=a,level<3":                     "< and > are not known: name the values",
		"\xff":                               "is not UTF-8",
		strings.Repeat("k", LabelBytesMax+1): "a label's key is over",
		strings.Repeat(" ", SelectorBytesMax) + "a":               "is over 1024 bytes",
		strings.Repeat("a,", RequirementsMax) + "a":               "has over 32 requirements",
		"a in (" + strings.Repeat("b,", SelectorValuesMax) + "b)": "over 64 values",
	} {
		if s, err := ParseSelector(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q is %v, %v; want %q", text, s, err, says)
		}
	}
}
