package cbor

import (
	"math/big"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestAShortNumberIsTheShortestTextOfItsFloat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.Uint64Range(1, 1e15-1).Draw(t, "digits")
		text := strconv.FormatUint(digits, 10) + "e" + strconv.Itoa(rapid.IntRange(-307, 293).Draw(t, "exponent"))
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := new(big.Rat).SetString(text)
		shortest, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', -1, 64))
		if said.Cmp(shortest) != 0 {
			t.Fatalf("%s has the shortest text %v", text, strconv.FormatFloat(f, 'e', -1, 64))
		}
		if !isWrittenAs(f, text) {
			t.Fatalf("%s is not taken as %v", text, f)
		}
	})
}
