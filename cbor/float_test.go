package cbor

import (
	"math"
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"
)

func TestEveryFloat16WidensAsTheLibrarySaysAndComesBack(t *testing.T) {
	for v := range uint64(1 << 16) {
		b := []byte{0xf9, byte(v >> 8), byte(v)}
		bits := widen(head{majorSimple, info2Bytes, v})
		var want float64
		if err := fxcbor.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		got := math.Float64frombits(bits)
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) {
			t.Errorf("%x widens to %v, want %v", b, got, want)
		}
		if back := appendFloat(nil, bits, info2Bytes); string(back) != string(b) {
			t.Errorf("%x came back as %x", b, back)
		}
	}
}

func TestFloatsTakeTheFormThatTheLibraryGivesThem(t *testing.T) {
	mode, err := fxcbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	try := func(bits uint64) {
		f := math.Float64frombits(bits)
		if math.IsNaN(f) {
			return // the library folds all NaNs into one
		}
		n++
		got, want := appendFloat(nil, bits, info2Bytes), must(mode.Marshal(f))
		if string(got) != string(want) {
			t.Errorf("%v (%x) is written %x, want %x", f, bits, got, want)
		}
	}
	// Each exponent, with fractions at and beside each width's last bit.
	for exponent := range uint64(2048) {
		for bit := range 53 {
			for _, fraction := range []uint64{0, 1<<bit - 1, 1 << bit, 1<<52 - 1<<bit} {
				bits := exponent<<52 | fraction&(1<<52-1)
				try(bits)
				try(bits | 1<<63)
			}
		}
	}
	t.Logf("%d floats", n)
}

func TestNaNsKeepSignAndPayload(t *testing.T) {
	tests := []struct {
		name string
		bits uint64
		want string
	}{
		{"the usual one", 0x7ff8000000000000, "\xf9\x7e\x00"},
		{"negative", 0xfff8000000000000, "\xf9\xfe\x00"},
		{"signalling, float16", 0x7ff0040000000000, "\xf9\x7c\x01"},
		{"signalling, float32", 0x7ff0000020000000, "\xfa\x7f\x80\x00\x01"},
		{"signalling, float64", 0x7ff0000000000001, "\xfb\x7f\xf0\x00\x00\x00\x00\x00\x01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendFloat(nil, tt.bits, info2Bytes)); got != tt.want {
				t.Errorf("written %x, want %x", got, tt.want)
			}
		})
	}
}

func TestFloat32IsTheShortestWhenAskedFor(t *testing.T) {
	for _, f := range []float64{0, 1.5, math.Copysign(0, -1), 65504, math.Inf(1)} {
		got := appendFloat(nil, math.Float64bits(f), info4Bytes)
		if len(got) != 5 || got[0] != 0xfa {
			t.Errorf("%v is written %x, want a float32", f, got)
		}
	}
}
