package command

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var id ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "id"))
		got, err := ParseID(id.String())
		if err != nil || got != id {
			rt.Fatalf("%v, %v, want %v", got, err, id)
		}
	})
}

func TestIDForm(t *testing.T) {
	const want = "01890a5d-ac96-774b-bcce-b302099a8057"
	id, err := ParseID(want)
	if err != nil || id.String() != want {
		t.Fatalf("%v, %v, want %s", id, err, want)
	}
	for n := range want {
		if _, err := ParseID(want[:n]); CodeOf(err) != CodeMalformed {
			t.Errorf("%q: %v, want malformed", want[:n], err)
		}
	}
	for name, s := range map[string]string{
		"upper case":      strings.ToUpper(want),
		"braces":          "{" + want + "}",
		"urn":             "urn:uuid:" + want,
		"no hyphens":      strings.ReplaceAll(want, "-", ""),
		"hyphens astray":  "01890a5-dac96-774b-bcce-b302099a8057",
		"a digit too odd": want[:35] + "g",
		"one more":        want + "0",
		"not ASCII":       want[:34] + "é",
		"long":            strings.Repeat("0", 1<<16),
	} {
		_, err := ParseID(s)
		if CodeOf(err) != CodeMalformed {
			t.Errorf("%s: %v, want malformed", name, err)
		}
		if len(err.Error()) > 100 {
			t.Errorf("%s: the error repeats all of it: %d bytes", name, len(err.Error()))
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "01890a5d-ac96-774b-bcce-b302099a8057", "00000000-0000-0000-0000-000000000000", "----", "01890A5D-AC96-774B-BCCE-B302099A8057"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q is read as %s", s, id)
		}
	})
}
