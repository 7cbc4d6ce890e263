package cbor

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDiagnoseShowsAnyBytesOnOneLine(t *testing.T) {
	long := appendText(nil, strings.Repeat("x", 4090))
	tests := []struct{ name, in, want string }{
		{"a command", "\x81\xa3\x01\x07\x02\x61a\x04\x05", `[{1: 7, 2: "a", 4: 5}]`},
		{"a report", "\xa2\x01\x01\x05\xa1\x62ok\xf5", `{1: 1, 5: {"ok": true}}`},
		{"bytes and floats", "\x82\x42\x01\x02\xf9\x3e\x00", `[h'0102', 1.5]`},
		{"a tag", "\xc1\x00", "1(0)"},
		{"line ends and control characters", "\x65a\nb\x00c", `"a\nb\u0000c"`},
		{"text that turns the line around", "\x63\u202e", `"\u202e"`},
		{"what is refused as indefinite", "\x9f\x01\xff", "[_ 1]"},
		{"what is refused as deep", strings.Repeat("\x81", 9) + "\x01", "[[[[[[[[[1]]]]]]]]]"},
		{"deeper still", strings.Repeat("\x81", 40) + "\x01", "h'" + strings.Repeat("81", 40) + "01' / exceeded max nested level 32 /"},
		{"nothing", "", "h'' / EOF /"},
		{"cut", "\xa2\x01", "h'a201' / unexpected EOF /"},
		{"not UTF-8", "\x61\xff", "h'61ff' / invalid UTF-8 string /"},
		{"two items", "\x01\x02", "h'0102' / 1 bytes of extraneous data starting at index 1 /"},
		{"a length that no integer holds", "\x5b" + strings.Repeat("\xff", 8), "h'5bffffffffffffffff' / byte string length 18446744073709551615 is too large, causing in /"},
		{"no CBOR at all", "hello", "h'68656c6c6f' / unexpected EOF /"},
		{"a long text", string(long), `"` + strings.Repeat("x", 4090) + `"`},
		{"a longer one", string(appendText(nil, strings.Repeat("\n", 4000))), `"` + strings.Repeat(`\n`, 2047) + `\ / and 3906 bytes more /`},
		{"past the limit", strings.Repeat("\x00", 5000), "h'" + strings.Repeat("00", 2048) + "' / and 2952 bytes more /"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Diagnose([]byte(tt.in))
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.ContainsAny(got, "\n\r\x00") || !utf8.ValidString(got) {
				t.Errorf("not one line of text: %q", got)
			}
		})
	}
}
