package device

import "testing"

func TestSelectorsOverlapIfADeviceCouldBeInBoth(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"site=a", "site=a", true},
		{"site=a", "site=b", false},
		{"site=a", "kind=pump", true},
		{"site=a", "site in (b,a)", true},
		{"site=a", "site in (b,c)", false},
		{"site in (a,b)", "site in (b,c)", true},
		{"site in (a,b),site!=b", "site in (b,c)", false},
		{"site=a", "site!=a", false},
		{"site=a", "site notin (b,c)", true},
		{"site!=a", "site!=b", true},
		{"site=a", "site", true},
		{"site=a", "!site", false},
		{"site", "!site", false},
		{"!site", "site!=a", true},
		{"site", "site!=a", true},
		{"site=a,kind=pump", "site=a,kind=valve", false},
		{"site=a,site=b", "kind=pump", false},
	} {
		a, err := ParseSelector(tt.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseSelector(tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Overlaps(b); got != tt.want {
			t.Errorf("%s with %s: %v", tt.a, tt.b, got)
		}
		if got := b.Overlaps(a); got != tt.want {
			t.Errorf("%s with %s: %v", tt.b, tt.a, got)
		}
	}
	a, _ := ParseSelector("site=a")
	if a.Overlaps(nil) || Selector(nil).Overlaps(a) {
		t.Error("no selector overlaps with one")
	}
}
