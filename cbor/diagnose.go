package cbor

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	fxcbor "github.com/fxamacker/cbor/v2"

	"behest/command"
)

const (
	// diagnoseDepthMax shows what was refused for being too deep, up to a
	// point.
	diagnoseDepthMax = 32
	// diagnoseBytesMax bounds a line in a log; the rest is told as a number.
	diagnoseBytesMax = 4 << 10
)

// Diagnose shows b in diagnostic notation [RFC 8949 8], on one line, for people
// and logs. It takes any bytes: those that are no CBOR item show as a byte
// string, with what is wrong as a comment. What is longer than 4 KiB is cut.
func Diagnose(b []byte) string {
	if len(b) > diagnoseBytesMax {
		return fmt.Sprintf("h'%s' / and %d bytes more /", hex.EncodeToString(b[:diagnoseBytesMax/2]), len(b)-diagnoseBytesMax/2)
	}
	mode, err := fxcbor.DiagOptions{MaxNestedLevels: diagnoseDepthMax}.DiagMode()
	if err != nil {
		panic(err) // our options are constant
	}
	text, err := mode.Diagnose(b)
	if err != nil {
		fault := "nested too deep"
		if e, ok := errors.AsType[*command.Error](check(b, diagnoseDepthMax)); ok {
			fault = e.Msg
		}
		return fmt.Sprintf("h'%s' / %s /", hex.EncodeToString(b), fault)
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
