package command

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestCodeOf(t *testing.T) {
	refusal := Errorf(CodeConflict, "it is %s", Succeeded)
	for _, tt := range []struct {
		name string
		err  error
		want Code
	}{
		{"a refusal", refusal, CodeConflict},
		{"a refusal inside", fmt.Errorf("cancel: %w", refusal), CodeConflict},
		{"a refusal with its reason", &Error{Code: CodeUnavailable, Msg: "store down", Err: fs.ErrPermission}, CodeUnavailable},
		{"what nobody classified", errors.New("boom"), CodeInternal},
	} {
		if got := CodeOf(tt.err); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestAnErrorSaysBothHalves(t *testing.T) {
	err := &Error{Code: CodeUnavailable, Msg: "store down", Err: fs.ErrPermission}
	if got, want := err.Error(), "unavailable: store down: permission denied"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the reason cannot be found")
	}
	if got, want := Errorf(CodeInvalid, "rpm %d", 9).Error(), "invalid: rpm 9"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Codes is what the edges are tested against, so it has to be whole: it is
// held against the source.
func TestCodesListsEveryCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Code") && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				declared++
				if !slices.Contains(Codes, Code(strings.Trim(lit.Value, `"`))) {
					t.Errorf("%s is not in Codes", spec.Names[0].Name)
				}
			}
		}
		return true
	})
	if declared != len(Codes) || declared < 15 {
		t.Errorf("%d codes are declared, %d are listed", declared, len(Codes))
	}
}

func TestStateText(t *testing.T) {
	for _, s := range States {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got State
		if err := got.UnmarshalText(text); err != nil || got != s {
			t.Errorf("%s reads back as %s, %v", s, got, err)
		}
		if got := EventOf(s); string(got) != "execution."+s.String() {
			t.Errorf("the event of %s is %s", s, got)
		}
	}
	for _, bad := range []string{"", "unknown", "Sent", "sent "} {
		var s State
		if err := s.UnmarshalText([]byte(bad)); CodeOf(err) != CodeMalformed || s != NoState {
			t.Errorf("%q: %v, %v", bad, s, err)
		}
	}
}

func TestClosedSets(t *testing.T) {
	for s := range Status(255) {
		if got, want := s.Valid(), s <= StatusCanceled; got != want {
			t.Errorf("status %d: %v", s, got)
		}
	}
	for e := range Effect(255) {
		if got, want := e.Valid(), e <= EffectUnknown; got != want {
			t.Errorf("effect %d: %v", e, got)
		}
	}
}
