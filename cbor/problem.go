package cbor

import fx "github.com/fxamacker/cbor/v2"

// AppendProblem appends concise problem details [RFC 9290 2]: a title, which
// is a code that programs know, and a detail for people.
func AppendProblem(dst []byte, title, detail string) []byte {
	b, err := fx.Marshal(map[int]string{-1: title, -2: detail})
	if err != nil {
		panic(err) // two strings can always be encoded
	}
	return append(dst, b...)
}
