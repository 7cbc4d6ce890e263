package cbor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAProblemIsATitleAndADetail(t *testing.T) {
	tests := []struct{ name, title, detail, want string }{
		{"usual", "malformed", "EOF", "a2 20 69 6d616c666f726d6564 21 63 454f46"},
		{"empty", "", "", "a2 20 60 21 60"},
		{"not UTF-8", "a\xffb", "\xc3(", "a2 20 65 61efbfbd62 21 64 efbfbd28"},
		{"long", "t", strings.Repeat("x", 24), "a2 20 61 74 21 78 18" + strings.Repeat("78", 24)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := append([]byte("kept"), unhex(t, strings.ReplaceAll(tt.want, " ", ""))...)
			for range 50 { // the order is no accident
				got := AppendProblem([]byte("kept"), tt.title, tt.detail)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("problem (-want +got):\n%s", diff)
				}
			}
			if got := want[len("kept"):]; string(normal(got)) != string(got) {
				t.Errorf("%x is not deterministic", got)
			}
		})
	}
}
