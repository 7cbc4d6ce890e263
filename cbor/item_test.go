package cbor

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// sound are the hex vectors of all kinds that are to be read, with how each
// kind is read.
func sound(t testing.TB) map[string]func([]byte) error {
	readers := map[string]func([]byte) error{
		"list":   func(b []byte) error { _, err := DecodeList(b, now); return err },
		"report": func(b []byte) error { _, err := DecodeReport(b); return err },
		"json":   func(b []byte) error { return check(b, DepthMax) },
	}
	all := map[string]func([]byte) error{}
	for kind, read := range readers {
		for _, v := range vectors(t, kind) {
			if !v.refused() && read(v.Hex) == nil {
				all[string(v.Hex)] = read
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d sound vectors", len(all))
	}
	return all
}

func TestEveryShorterInputIsRefused(t *testing.T) {
	prefixes := 0
	for b, read := range sound(t) {
		for n := range b {
			prefixes++
			if err := read([]byte(b[:n])); command.CodeOf(err) != command.CodeMalformed {
				t.Errorf("%x, of %x: %v, want malformed", b[:n], b, err)
			}
		}
	}
	t.Logf("%d prefixes", prefixes)
}

func TestEveryLongerInputIsRefused(t *testing.T) {
	for b, read := range sound(t) {
		for _, tail := range []string{"\x00", "\xf6", "\xff", b} {
			want := error(malformed(len(b), faultTrailing))
			if diff := cmp.Diff(want, read([]byte(b+tail))); diff != "" {
				t.Errorf("%x after %x (-want +got):\n%s", tail, b, diff)
			}
		}
	}
}

func TestDepthIsCountedTheSameInAllThatNests(t *testing.T) {
	nests := map[string]struct{ open, shut string }{
		"arrays":    {"\x81", ""},
		"map value": {"\xa1\x00", ""},
		"map key":   {"\xa1", "\x00"},
		"tags":      {"\xc1", ""},
		"later one": {"\x82\x00", ""},
	}
	for name, nest := range nests {
		t.Run(name, func(t *testing.T) {
			for depth := range 12 {
				b := strings.Repeat(nest.open, depth) + "\x00" + strings.Repeat(nest.shut, depth)
				err := check([]byte(b), DepthMax)
				if got, want := err == nil, depth <= DepthMax; got != want {
					t.Errorf("%d levels: taken = %v, want %v (%v)", depth, got, want, err)
				}
			}
		})
	}
}

func TestHeadsAreReadAsTheyAreWritten(t *testing.T) {
	for _, arg := range []uint64{0, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		for major := range byte(7) {
			b := appendHead(nil, major, arg)
			h, n, fault := readHead(b)
			if h.major != major || h.arg != arg || n != len(b) || fault != "" {
				t.Errorf("major %d, %d: read as %+v, %d of %d bytes, %q", major, arg, h, n, len(b), fault)
			}
		}
	}
}

func TestKeysAreUniqueByValue(t *testing.T) {
	tests := []struct {
		name, a, b string // two keys
		same       bool
	}{
		{"an integer, short and long", "01", "1b0000000000000001", true},
		{"a text, short and long", "6161", "780161", true},
		{"bytes, short and long", "4161", "590001 61", true},
		{"an array, short and long", "8101", "98011801", true},
		{"floats of all widths", "f93e00", "fb3ff8000000000000", true},
		{"the two zeros", "f90000", "fa80000000", true},
		{"the two zeros in an array", "81f98000", "81f90000", true},
		{"maps in another order", "a201020304", "a203040102", true},
		{"tags, short and long", "c100", "d80100", true},
		{"a NaN of two widths", "f97e00", "fa7fc00000", true},
		{"an integer and a float", "01", "f93c00", false},
		{"a text and bytes", "6161", "4161", false},
		{"an integer and a tagged one", "00", "c100", false},
		{"two tags", "c000", "c100", false},
		{"NaNs of two payloads", "f97e00", "f97e01", false},
		{"NaNs of two signs", "f97e00", "f9fe00", false},
		{"false and 0", "f4", "00", false},
		{"null and undefined", "f6", "f7", false},
		{"an array and a map", "80", "a0", false},
		{"a key and a longer one", "6161", "626161", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := strings.ReplaceAll(tt.a, " ", ""), strings.ReplaceAll(tt.b, " ", "")
			for _, keys := range [][]string{{a, b}, {b, a}, {a, "61ff"[:2] + "7a", b}} {
				pairs := strings.Join(keys, "00") + "00"
				err := check(unhex(t, fmt.Sprintf("a%d", len(keys))+pairs), DepthMax)
				if got := err != nil; got != tt.same {
					t.Errorf("%s: refused = %v, want %v (%v)", pairs, got, tt.same, err)
				}
			}
		})
	}
}

func TestNormalFormIsDeterministic(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"long integers", "83 1b0000000000000001 3900ff 1a00010000", "83 01 38ff 1a00010000"},
		{"long strings", "82 590002abcd 7b00000000000000026869", "82 42abcd 626869"},
		{"floats", "84 fb3ff8000000000000 fa47c35000 fb3fb999999999999a fb0000000000000001", "84 f93e00 fa47c35000 fb3fb999999999999a fb0000000000000001"},
		{"a zero that is no key keeps its sign", "81 fb8000000000000000", "81 f98000"},
		{"keys in order", "a3 616202 186401 20f5", "a3 186401 20f5 616202"},
		{"maps in maps", "a1 6161 a2 616301 616202", "a1 6161 a2 616202 616301"},
		{"long heads of maps and tags", "b90001 d80a00 9800", "a1 ca00 80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			squeeze := func(s string) []byte { return unhex(t, strings.ReplaceAll(s, " ", "")) }
			in, want := squeeze(tt.in), squeeze(tt.want)
			kept := bytes.Clone(in)
			got, err := normal([]byte("x"), in, DepthMax)
			if diff := cmp.Diff(append([]byte("x"), want...), got); diff != "" || err != nil {
				t.Errorf("normal form (-want +got), %v:\n%s", err, diff)
			}
			if !bytes.Equal(in, kept) {
				t.Errorf("the input is now %x", in)
			}
		})
	}
}

// bytesPerRun is how many bytes f allocates.
func bytesPerRun(f func()) uint64 {
	const runs = 20
	var before, after runtime.MemStats
	f() // what is allocated once is not counted
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

func TestAHeaderAloneAllocatesNothingMuch(t *testing.T) {
	var inputs [][]byte
	for major := byte(majorBytes); major <= majorMap; major++ {
		for _, arg := range []uint64{1 << 8, 1 << 20, 1 << 31, 1 << 32, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
			hostile := appendHead(nil, major, arg)
			inputs = append(inputs, hostile,
				append([]byte{0xa2, 0x01, 0x01, 0x05}, hostile...),
				append([]byte{0x81, 0xa4, 0x01, 0x07, 0x03}, hostile...))
		}
	}
	for _, b := range inputs {
		got := bytesPerRun(func() {
			if _, err := DecodeReport(b); err == nil {
				t.Errorf("%x taken as a report", b)
			}
			if _, err := DecodeList(b, now); err == nil {
				t.Errorf("%x taken as a list", b)
			}
			if _, valid := ToJSON(b); valid {
				t.Errorf("%x taken as an item", b)
			}
		})
		if got > 4<<10 {
			t.Errorf("%x: %d bytes allocated", b, got)
		}
	}
}

func TestAllocationIsInProportionToTheInput(t *testing.T) {
	const times = 32 // a pair of four bytes is noted in 24, once to read and once to show
	result := func(b []byte) []byte {
		return append([]byte{0xa2, 0x01, 0x01, 0x05}, b...)
	}
	var unsorted []byte // a map of 15,000, last key first
	for i := range 15_000 {
		unsorted = append(appendHead(unsorted, majorUint, uint64(15_000-i)), 0)
	}
	inputs := map[string][]byte{
		"an array of 60,000":       result(append(appendHead(nil, majorArray, 60_000), make([]byte, 60_000)...)),
		"a text of 60,000":         result(appendText(nil, strings.Repeat("x", 60_000))),
		"an unsorted map":          result(append(appendHead(nil, majorMap, 15_000), unsorted...)),
		"an odd text of 60,000":    append([]byte{0xa2, 0x01, 0x01, 0x04}, appendText(nil, strings.Repeat("x", 60_000))...),
		"a result too long":        result(append(appendHead(nil, majorArray, 100_000), make([]byte, 100_000)...)),
		"unknown keys, many":       append(appendHead([]byte{}, majorMap, 15_001), append([]byte{0x01, 0x01}, shift(unsorted)...)...),
		"one unknown key, nesting": append([]byte{0xa2, 0x01, 0x01, 0x18, 0x20}, bytes.Repeat([]byte{0x81}, 6)...),
	}
	inputs["one unknown key, nesting"] = append(inputs["one unknown key, nesting"], 0)
	for name, b := range inputs {
		t.Run(name, func(t *testing.T) {
			var r command.Report
			got := bytesPerRun(func() {
				var err error
				if r, err = DecodeReport(b); err != nil {
					t.Fatal(err)
				}
				ToJSON(r.Result)
			})
			t.Logf("%.1f bytes a byte", float64(got)/float64(len(b)))
			if most := uint64(times*len(b) + 4<<10); got > most {
				t.Errorf("%d bytes allocated for %d, want at most %d", got, len(b), most)
			}
		})
	}
}

// shift moves the keys of pairs (integer, 0) out of the way of key 1.
func shift(pairs []byte) []byte {
	var out []byte
	for at := 0; at < len(pairs); {
		h, n, _ := readHead(pairs[at:])
		out = append(appendHead(out, majorUint, h.arg+100), 0)
		at += n + 1
	}
	return out
}

func TestTheUsualReportCostsACopyAndItsFields(t *testing.T) {
	tests := []struct {
		name, hex string
		most      float64
	}{
		{"success", "a10101", 1},
		{"success with a result", "a2010105a1626f6bf5", 2},
		{"every field", "a901000218320318200465 73706c6974 05820102 0601 07183c 081904b0 0903", 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, strings.ReplaceAll(tt.hex, " ", ""))
			got := testing.AllocsPerRun(100, func() {
				if _, err := DecodeReport(b); err != nil {
					t.Fatal(err)
				}
			})
			if got > tt.most {
				t.Errorf("%v allocations, want at most %v", got, tt.most)
			}
		})
	}
}

func TestDecodersKeepNoReferenceToTheirInput(t *testing.T) {
	for _, v := range slices.Concat(vectors(t, "report"), vectors(t, "list")) {
		b := bytes.Clone(v.Hex)
		report, _ := DecodeReport(b)
		list, _ := DecodeList(b, now)
		for i := range b {
			b[i] = 0xff // the next datagram
		}
		again, _ := DecodeReport(v.Hex)
		listAgain, _ := DecodeList(v.Hex, now)
		if diff := cmp.Diff(again, report) + cmp.Diff(listAgain, list); diff != "" {
			t.Errorf("%s changed with its input:\n%s", v.Name, diff)
		}
	}
}
