package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var golden = []struct {
	name string
	hex  string
	want Message
}{
	{
		"ping", "40 00 12 34",
		Message{Type: Confirmable, Code: Empty, ID: 0x1234},
	},
	{
		"observe of the open list", "44 01 00 01 a1a2a3a4 60 51 63 06 70756d702d37",
		Message{Type: Confirmable, Code: GET, ID: 1, Token: []byte{0xa1, 0xa2, 0xa3, 0xa4}, Options: Options{
			Uint(Observe, 0), Text(URIPath, "c"), Text(URIPath, "pump-7"),
		}},
	},
	{
		"notification", "51 45 00 02 aa 62 01 00 61 3c 22 03 84 ff 80",
		Message{Type: NonConfirmable, Code: Content, ID: 2, Token: []byte{0xaa}, Options: Options{
			Uint(Observe, 256), Uint(ContentFormat, 60), Uint(MaxAge, 900),
		}, Payload: []byte{0x80}},
	},
	{
		"far option numbers", "60 45 00 03 d1 2f 09 e1 fc 9f 09",
		Message{Type: Acknowledgement, Code: Content, ID: 3, Options: Options{
			Uint(Size1, 9), {Number: 65000, Value: []byte{9}},
		}},
	},
	{
		"long option values", "60 45 00 04 8d 00" + strings.Repeat("61", 13) + "0e 0000" + strings.Repeat("62", 269),
		Message{Type: Acknowledgement, Code: Content, ID: 4, Options: Options{
			Text(LocationPath, strings.Repeat("a", 13)), Text(LocationPath, strings.Repeat("b", 269)),
		}},
	},
}

func TestGoldenBytesBothWays(t *testing.T) {
	for _, row := range golden {
		t.Run(row.name, func(t *testing.T) {
			datagram := unhex(t, row.hex)
			got, err := Parse(datagram)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, row.want, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("parsed (-got +want):\n%s", diff)
			}
			if encoded := row.want.Append(nil); !bytes.Equal(encoded, datagram) {
				t.Errorf("encoded %x, want %x", encoded, datagram)
			}
		})
	}
}

func TestBrokenMessagesAreRefused(t *testing.T) {
	rows := []struct {
		name, hex string
		want      error
	}{
		{"no byte", "", ErrNotCoAP},
		{"three bytes", "400100", ErrNotCoAP},
		{"version 0", "00010001", ErrNotCoAP},
		{"version 2", "80010001", ErrNotCoAP},
		{"token of nine bytes", "49010001 010203040506070809", ErrFormat},
		{"token cut", "44010001 0102", ErrFormat},
		{"empty with token", "41000001 01", ErrFormat},
		{"empty with payload", "40000001 ff01", ErrFormat},
		{"marker without payload", "40010001 ff", ErrFormat},
		{"reserved delta", "40010001 f0", ErrFormat},
		{"reserved length", "40010001 1f", ErrFormat},
		{"option cut", "40010001 b3 6364", ErrFormat},
		{"extended delta cut", "40010001 e001", ErrFormat},
		{"extended length cut", "40010001 1e01", ErrFormat},
		{"option number past 65535", "40010001 e0ffff", ErrFormat},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m, err := Parse(unhex(t, row.hex))
			if !errors.Is(err, row.want) {
				t.Fatalf("error %v, want %v", err, row.want)
			}
			if diff := cmp.Diff(m, Message{}); diff != "" {
				t.Errorf("a part of a message came with the error:\n%s", diff)
			}
		})
	}
}

func TestEveryPrefixIsWholeOrRefused(t *testing.T) {
	for _, row := range golden {
		datagram := unhex(t, row.hex)
		for n := range datagram {
			m, err := Parse(datagram[:n])
			if err == nil && !bytes.Equal(m.Append(nil), datagram[:n]) {
				t.Errorf("%s: prefix of %d bytes was read as something else", row.name, n)
			}
		}
	}
}

func TestBlockOption(t *testing.T) {
	rows := []struct {
		name  string
		block Block
		value string
	}{
		{"first of 1024, more", Block{Num: 0, More: true, Size: 6}, "0e"},
		{"only block of 16", Block{}, ""},
		{"seventeenth", Block{Num: 16, Size: 2}, "0102"},
		{"last possible", Block{Num: blockNumMax - 1, More: true, Size: 0}, "fffff8"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			option := row.block.Option(Block2)
			if got := hex.EncodeToString(option.Value); got != row.value {
				t.Errorf("value %q, want %q", got, row.value)
			}
			got, ok := Options{option}.Block(Block2)
			if !ok || got != row.block {
				t.Errorf("read back %+v (%v), want %+v", got, ok, row.block)
			}
		})
	}
	for _, value := range []string{"07", "ff000000", "0000000000"} {
		if b, ok := (Options{{Number: Block2, Value: unhex(t, value)}}).Block(Block2); ok {
			t.Errorf("value %s was read as %+v", value, b)
		}
	}
}

func TestCodesReadAsDocumentsWriteThem(t *testing.T) {
	for code, want := range map[Code]string{Changed: "2.04", Continue: "2.31", TooManyRequests: "4.29", Unavailable: "5.03", Empty: "0.00"} {
		if got := code.String(); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range golden {
		datagram, _ := hex.DecodeString(strings.ReplaceAll(row.hex, " ", ""))
		f.Add(datagram)
	}
	f.Add([]byte{0x40, 0x01, 0x00, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		m, err := Parse(datagram)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil))
		if err != nil {
			t.Fatalf("own bytes refused: %v", err)
		}
		if diff := cmp.Diff(again, m, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("not the same after a round trip:\n%s", diff)
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
