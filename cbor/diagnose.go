package cbor

import (
	"encoding/hex"
	"fmt"
	"strings"

	fx "github.com/fxamacker/cbor/v2"
)

const (
	// diagnoseDepthMax shows what was refused for being too deep, up to a
	// point.
	diagnoseDepthMax = 32
	// diagnoseBytesMax bounds a line in a log; the rest is told as a number.
	diagnoseBytesMax = 4 << 10
)

var diagMode = must(fx.DiagOptions{MaxNestedLevels: diagnoseDepthMax}.DiagMode())

// Diagnose shows b in diagnostic notation [RFC 8949 8], on one line, for people
// and logs. It takes any bytes: those that are no CBOR item show as a byte
// string, with what is wrong as a comment. What is longer than 4 KiB is cut.
func Diagnose(b []byte) string {
	if len(b) > diagnoseBytesMax {
		return fmt.Sprintf("h'%s' / and %d bytes more /", hex.EncodeToString(b[:diagnoseBytesMax/2]), len(b)-diagnoseBytesMax/2)
	}
	text, err := diagMode.Diagnose(b)
	if err != nil {
		return fmt.Sprintf("h'%s' / %.*s /", hex.EncodeToString(b), DiagnosticBytesMax, strings.TrimPrefix(err.Error(), "cbor: "))
	}
	return cut(text, diagnoseBytesMax)
}

// cut is s, or what of it fits into most bytes and how much is missing.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head := strings.ToValidUTF8(s[:most], "") // no half of a character at the end
	return fmt.Sprintf("%s / and %d bytes more /", head, len(s)-len(head))
}
