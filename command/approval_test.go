package command

import (
	"encoding/json"
	"testing"
)

// Who is in doubt asks: what is no number where one is compared meets a
// condition, and numbers are compared as they are written.
func TestAConditionIsHeldAgainstWhatIsWritten(t *testing.T) {
	const big = 1 << 53 // after it, not every integer is a float64
	above, below := Condition{Pointer: "/a", Above: new(float64(big))}, Condition{Pointer: "/a", Below: new(float64(-big))}
	for _, tt := range []struct {
		name   string
		c      Condition
		params string
		want   bool
	}{
		{"above", above, `{"a":9007199254740994}`, true},
		{"above by one, which no float64 is", above, `{"a":9007199254740993}`, true},
		{"just as much", above, `{"a":9007199254740992}`, false},
		{"just as much, as a float", above, `{"a":9007199254740992.0}`, false},
		{"the greatest integer", above, `{"a":18446744073709551615}`, true},
		{"not above", above, `{"a":-1e300}`, false},
		{"below by one, which no float64 is", below, `{"a":-9007199254740993}`, true},
		{"not below", below, `{"a":-9007199254740992}`, false},
		{"a float below", below, `{"a":-1e17}`, true},
		{"null", above, `{"a": null}`, true},
		{"null, below", below, `{"a":null}`, true},
		{"a text", above, `{"a":"1"}`, true},
		{"a list", above, `{"a":[1]}`, true},
		{"true", above, `{"a":true}`, true},
		{"not there", above, `{"b":1}`, true},
		{"no params", above, ``, true},
		{"equal", Condition{Pointer: "/a", Equals: json.RawMessage(`1`)}, `{"a":1.0}`, true},
		{"not equal", Condition{Pointer: "/a", Equals: json.RawMessage(`1`)}, `{"a":"1"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.Holds(json.RawMessage(tt.params)); got != tt.want {
				t.Errorf("%s: holds %t", tt.params, got)
			}
		})
	}
}
