package cbor

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"behest/command"
)

// names are drawn often enough to meet each other, and ours.
var names = []string{"", "a", "b", "rpm", "$bytes", "$cbor", "$$bytes", "$$$cbor", "$", "a/b", "~", "\"\\\n", "é", "🚀"}

func drawText(t *rapid.T) string {
	return rapid.OneOf(rapid.SampledFrom(names), rapid.String()).Draw(t, "text")
}

// drawItem is a deterministic item of at most depth levels that JSON can carry.
func drawItem(t *rapid.T, depth int) []byte {
	kinds := 7
	if depth == 0 {
		kinds = 5 // no arrays, no maps
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return appendHead(nil, majorUint, rapid.Uint64().Draw(t, "uint"))
	case 1:
		return appendInt(nil, rapid.Int64().Draw(t, "int"))
	case 2:
		return appendText(nil, drawText(t))
	case 3:
		b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
		return append(appendHead(nil, majorBytes, uint64(len(b))), b...)
	case 4:
		return drawSimple(t)
	case 5:
		n := rapid.IntRange(0, 30).Draw(t, "elements")
		b := appendHead(nil, majorArray, uint64(n))
		for range n {
			b = append(b, drawItem(t, depth-1)...)
		}
		return b
	}
	keys := rapid.SliceOfNDistinct(rapid.Custom(drawText), 0, 30, rapid.ID).Draw(t, "keys")
	var pairs []byte
	for _, key := range keys {
		pairs = append(appendText(pairs, key), drawItem(t, depth-1)...)
	}
	sortPairs(pairs, len(keys))
	return append(appendHead(nil, majorMap, uint64(len(keys))), pairs...)
}

func drawSimple(t *rapid.T) []byte {
	simple := rapid.SampledFrom([][]byte{{0xf4}, {0xf5}, {0xf6}})
	float := rapid.Map(rapid.OneOf(
		rapid.Float64(),
		rapid.Map(rapid.Float32(), func(f float32) float64 { return float64(f) }),
		rapid.Map(rapid.Int32Range(-1<<20, 1<<20), func(n int32) float64 { return float64(n) / 64 }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1e21, 1e-6, 1e-7, math.MaxFloat64, math.SmallestNonzeroFloat64}),
	).Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }), func(f float64) []byte {
		return appendFloat(nil, f)
	})
	return rapid.OneOf(simple, float).Draw(t, "simple")
}

func TestWhatJSONCarriesComesBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawItem(t, rapid.IntRange(0, 4).Draw(t, "depth"))
		raw, valid := ToJSON(want)
		if !valid {
			t.Fatalf("%x is not shown: %s", want, raw)
		}
		got, err := FromJSON(raw, JSONOptions{BytesMax: max(len(want), 1)})
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x shows as %s and comes back as %x, %v", want, raw, got, err)
		}
		long, err := FromJSON(raw, JSONOptions{BytesMax: 2*len(want) + 1, Float32: true})
		if err != nil {
			t.Fatal(err)
		}
		if short := normal(long); !bytes.Equal(short, want) {
			t.Fatalf("with float32 %x becomes %x, another value", want, long)
		}
	})
}

func TestNormalFormOfADeterministicItemIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawItem(t, 4)
		if got := normal(want); !bytes.Equal(got, want) {
			t.Fatalf("%x becomes %x", want, got)
		}
	})
}

// some draws a pointer that is nil half the time.
func some[V any](t *rapid.T, g *rapid.Generator[V], label string) *V {
	return rapid.Ptr(g, true).Draw(t, label)
}

func TestEveryReportComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := command.Report{
			Status:   command.Status(rapid.IntRange(0, 4).Draw(t, "status")),
			Progress: some(t, rapid.Uint8Range(0, 100), "progress"),
			Code:     some(t, rapid.Int64(), "code"),
			Text:     rapid.StringN(0, -1, command.TextBytesMax).Draw(t, "text"),
			Effect:   some(t, rapid.Map(rapid.IntRange(0, 3), func(n int) command.Effect { return command.Effect(n) }), "effect"),
			Next:     time.Duration(rapid.Int64Range(0, secondsMax).Draw(t, "next")) * time.Second,
			N:        some(t, rapid.Uint32(), "n"),
		}
		if rapid.Bool().Draw(t, "has result") {
			want.Result = drawItem(t, 2)
		}
		if rapid.Bool().Draw(t, "has prev") {
			want.Prev = drawItem(t, 1)
		}
		b, err := AppendReport(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeReport(b)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%x, %v (-want +got):\n%s", b, err, diff)
		}
		if !bytes.Equal(b, normal(b)) {
			t.Fatalf("%x is not deterministic", b)
		}
	})
}

func TestEveryListComesBack(t *testing.T) {
	wholeSeconds := rapid.Map(rapid.Int64Range(0, 366*24*3600), func(n int64) time.Duration { return time.Duration(n) * time.Second })
	rapid.Check(t, func(t *rapid.T) {
		seqs := rapid.SliceOfNDistinct(rapid.Uint32Min(1), 0, 12, rapid.ID).Draw(t, "seqs")
		slices.Sort(seqs)
		want := []command.Entry{}
		for _, seq := range seqs {
			e := command.Entry{Seq: seq, Cancel: rapid.Bool().Draw(t, "cancel")}
			if !e.Cancel {
				e.StartBy = now.Add(wholeSeconds.Draw(t, "left"))
				e.RunFor = wholeSeconds.Draw(t, "run for")
				e.ReportEvery = wholeSeconds.Draw(t, "report every")
				e.Fresh = rapid.Bool().Draw(t, "fresh")
				e.WireCode = rapid.Uint16().Draw(t, "wire code")
				if e.WireCode == 0 {
					e.Type = rapid.StringN(1, -1, command.TypeNameBytesMax).Draw(t, "type")
				}
				if rapid.Bool().Draw(t, "has params") {
					e.Params = drawItem(t, 2)
				}
			}
			want = append(want, e)
		}
		b, err := AppendList(nil, want, now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeList(b, now)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%x, %v (-want +got):\n%s", b, err, diff)
		}
		if !bytes.Equal(b, normal(b)) {
			t.Fatalf("%x is not deterministic", b)
		}
	})
}
