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

// soundVectors are the hex vectors of all kinds that are to be read, with how each
// kind is read.
func soundVectors(t testing.TB) map[string]func([]byte) error {
	readers := map[string]func([]byte) error{
		"list":   func(b []byte) error { _, err := DecodeList(b, now); return err },
		"report": func(b []byte) error { _, err := DecodeReport(b); return err },
		"json":   func(b []byte) error { _, err := decode(itemMode, b, new(any)); return err },
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
	for b, read := range soundVectors(t) {
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
	for b, read := range soundVectors(t) {
		for _, tail := range []string{"\x00", "\xf6", "\xff", b} {
			want := error(malformed(fmt.Sprintf("%d bytes of extraneous data starting at index %d", len(tail), len(b))))
			if diff := cmp.Diff(want, read([]byte(b+tail))); diff != "" {
				t.Errorf("%x after %x (-want +got):\n%s", tail, b, diff)
			}
		}
	}
}

func TestDepthIsCountedTheSameInAllThatNests(t *testing.T) {
	nests := map[string]struct {
		open, shut string
		free       int // levels that do not count
	}{
		"arrays":    {"\x81", "", 0},
		"map value": {"\xa1\x00", "", 0},
		"map key":   {"\xa1", "\x00", 0},
		"tags":      {"\xc6", "", 1}, // the library counts from the second one in a row
		"later one": {"\x82\x00", "", 0},
	}
	messages := map[string]struct {
		prefix string
		read   func([]byte) error
	}{
		"result":      {"a2010105", func(b []byte) error { _, err := DecodeReport(b); return err }},
		"prev":        {"a2010108", func(b []byte) error { _, err := DecodeReport(b); return err }},
		"unknown key": {"a201010a", func(b []byte) error { _, err := DecodeReport(b); return err }},
		"params":      {"81a401070201040503", func(b []byte) error { _, err := DecodeList(b, now); return err }},
		"item":        {"", sound},
	}
	for name, nest := range nests {
		for in, message := range messages {
			t.Run(name+" in "+in, func(t *testing.T) {
				for depth := range 12 {
					b := unhex(t, strings.ReplaceAll(message.prefix, " ", ""))
					b = append(b, strings.Repeat(nest.open, depth)+"\x00"+strings.Repeat(nest.shut, depth)...)
					err := message.read(b)
					if got, want := err == nil, depth <= DepthMax+nest.free; got != want {
						t.Errorf("%d levels: taken = %v, want %v (%v)", depth, got, want, err)
					}
				}
			})
		}
	}
}

func TestWhatGoesOutAsParamsComesBackAsPrev(t *testing.T) {
	params, err := FromJSON([]byte(`{"a":[{"b":[{"c":[[[{"$bytes":"AA"}]]]}]}]}`), JSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := AppendList(nil, []command.Entry{{Seq: 1, WireCode: 1, Params: params}}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := command.Report{Status: command.StatusSuccess, Prev: must(DecodeList(list, now))[0].Params}
	b, err := AppendReport(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeReport(b)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("decoded (-want +got), %v:\n%s", err, diff)
	}
	if raw, valid := ToJSON(got.Prev); !valid {
		t.Errorf("shown as %s", raw)
	}
}

func TestKeysAreUniqueByValue(t *testing.T) {
	tests := []struct {
		name, a, b string // two keys
		same       bool
	}{
		{"an integer, short and long", "01", "1b0000000000000001", true},
		{"a text, short and long", "6161", "780161", true},
		{"bytes, short and long", "4161", "59000161", true},
		{"an array, short and long", "8101", "98011801", true},
		{"arrays in arrays", "8281018102", "829801018102", true},
		{"floats of all widths", "f93e00", "fb3ff8000000000000", true},
		{"the two zeros", "f90000", "fa80000000", true},
		{"maps in another order", "a201020304", "a203040102", true},
		{"maps with maps for keys", "a1a20102030400", "a1a20304010200", true},
		{"maps with bytes for keys", "a1416101", "a15900016101", true},
		{"tags, short and long", "c600", "d80600", true},
		{"tagged arrays", "c68101", "c6980101", true},
		{"bignums, short and long", "c24101", "d8024101", true},
		{"arrays with a time", "81c100", "81d8011800", true},
		{"an integer and a float", "01", "f93c00", false},
		{"a text and bytes", "6161", "4161", false},
		{"bytes and the text of their encoding", "4161", "624161", false},
		{"a map with bytes for a key, and the text of their encoding", "a1416101", "a162416101", false},
		{"an integer and a tagged one", "00", "c600", false},
		{"an integer and a time", "00", "c100", false},
		{"an array with an integer and one with a time", "8100", "81c100", false},
		{"arrays with two times", "81c1f93c00", "81c1f93e00", false},
		{"two tags", "c600", "c700", false},
		{"false and 0", "f4", "00", false},
		{"a simple value and an integer", "e5", "05", false},
		{"null and 0", "f6", "00", false},
		{"an array and a map", "80", "a0", false},
		{"a key and a longer one", "6161", "626161", false},

		// What the library decides.
		{"null and undefined", "f6", "f7", true},
		{"what CBOR describes itself with", "01", "d9d9f701", true},
		{"a NaN and itself", "f97e00", "f97e00", false},
		{"NaNs of two widths in arrays", "81f97e00", "81fa7fc00001", true},
		{"the two zeros in an array", "81f98000", "81f90000", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := strings.ReplaceAll(tt.a, " ", ""), strings.ReplaceAll(tt.b, " ", "")
			for _, keys := range [][]string{{a, b}, {b, a}, {a, "617a", b}} {
				pairs := strings.Join(keys, "00") + "00"
				item := unhex(t, fmt.Sprintf("a%d", len(keys))+pairs)
				whole, err := decode(itemMode, item, new(any))
				if got := err != nil; got != tt.same || whole == tt.same {
					t.Errorf("%s: refused = %v, want %v (%v)", pairs, got, tt.same, err)
				}
				if _, corner, walked := walk(item, DepthMax); walked == nil == tt.same && !corner {
					t.Errorf("%s: the second opinion is %v", pairs, walked)
				}
			}
		})
	}
}

// bytesPerRun is how many bytes f allocates.
func bytesPerRun(f func()) uint64 {
	const runs = 4
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
	// The costliest were measured to take 306 bytes a byte, shown as JSON too: a
	// map of one pair is three bytes on the wire, and each map that is a key is
	// read once at each level.
	const times = 400
	result := func(b []byte) []byte {
		return append([]byte{0xa2, 0x01, 0x01, 0x05}, b...)
	}
	many := func(item ...byte) []byte {
		n := 65_000 / len(item)
		return result(append(appendHead(nil, majorArray, uint64(n)), bytes.Repeat(item, n)...))
	}
	var unsorted []byte // a map of 15,000, last key first
	for i := range 15_000 {
		unsorted = append(appendHead(unsorted, majorUint, uint64(15_000-i)), 0)
	}
	inputs := map[string][]byte{
		"an array of 60,000":          result(append(appendHead(nil, majorArray, 60_000), make([]byte, 60_000)...)),
		"a text of 60,000":            result(appendText(nil, strings.Repeat("x", 60_000))),
		"an unsorted map":             result(append(appendHead(nil, majorMap, 15_000), unsorted...)),
		"an odd text of 60,000":       append([]byte{0xa2, 0x01, 0x01, 0x04}, appendText(nil, strings.Repeat("x", 60_000))...),
		"a result too long":           result(append(appendHead(nil, majorArray, 100_000), make([]byte, 100_000)...)),
		"unknown keys, many":          append(appendHead([]byte{}, majorMap, 15_001), append([]byte{0x01, 0x01}, shift(unsorted)...)...),
		"one unknown key, nesting":    append(append([]byte{0xa2, 0x01, 0x01, 0x18, 0x20}, bytes.Repeat([]byte{0x81}, 8)...), 0),
		"empty arrays":                many(0x80),
		"empty maps":                  many(0xa0),
		"maps of one":                 many(0xa1, 0x00, 0x00),
		"maps with arrays for keys":   many(0xa1, 0x80, 0x00),
		"bignums":                     many(0xc2, 0x40),
		"tags":                        many(0xc6, 0x00),
		"maps for keys, seven deep":   many(append(bytes.Repeat([]byte{0xa1}, 7), make([]byte, 8)...)...),
		"a long array, a key of keys": result(append(append(bytes.Repeat([]byte{0xa1}, 7), append(appendHead(nil, majorArray, 60_000), make([]byte, 60_000)...)...), make([]byte, 7)...)),
	}
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
		h, n := readHead(pairs[at:])
		out = append(appendHead(out, majorUint, h.arg+100), 0)
		at += n + 1
	}
	return out
}

func TestTheUsualReportCostsWhatTheLibraryNeedsPerField(t *testing.T) {
	tests := []struct {
		name, hex string
		most      float64
	}{
		{"success", "a10101", 14},
		{"success with a result", "a2010105a1626f6bf5", 36},
		{"every field", "a901000218320318200465 73706c6974 05820102 0601 07183c 081904b0 0903", 90},
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
