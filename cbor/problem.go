package cbor

import "strings"

// problem is concise problem details [RFC 9290 2].
type problem struct {
	Title  string `cbor:"-1,keyasint"`
	Detail string `cbor:"-2,keyasint"`
}

// AppendProblem appends concise problem details [RFC 9290 2], in deterministic
// encoding: a title, which is a code that programs know, and a detail for
// people. What is not UTF-8 in them is replaced.
func AppendProblem(dst []byte, title, detail string) []byte {
	const replacement = "\uFFFD"
	return append(dst, must(deterministic.Marshal(problem{
		Title: strings.ToValidUTF8(title, replacement), Detail: strings.ToValidUTF8(detail, replacement),
	}))...)
}
