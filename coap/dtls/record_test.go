package dtls_test

import (
	"bytes"
	"testing"

	"behest/coap/dtls"
)

func TestEveryPrefixOfAHelloIsNone(t *testing.T) {
	whole := helloOf(7)
	body, rest, ok := dtls.NextRecord(whole)
	if !ok || len(rest) != 0 {
		t.Fatal("a whole one is no record")
	}
	if _, ok := dtls.ParseHello(body); !ok {
		t.Fatal("a whole one is no hello")
	}
	for n := range len(whole) {
		if _, _, ok := dtls.NextRecord(whole[:n]); ok {
			t.Errorf("%d bytes are a record", n)
		}
	}
	for n := range len(body) {
		if _, ok := dtls.ParseHello(body[:n]); ok {
			t.Errorf("%d bytes are a hello", n)
		}
	}
	if _, ok := dtls.ParseHello(append(append([]byte(nil), body...), 0)); ok {
		t.Error("trailing bytes are let through")
	}
}

func TestSealedKeepsOnlyWhatIsTheSessions(t *testing.T) {
	record := func(typ, epoch byte, id, body string) string {
		return string([]byte{typ, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9}) + id + string([]byte{0, byte(len(body))}) + body
	}
	for _, row := range []struct {
		name, in, id, want string
	}{
		{"data", record(23, 1, "", "abc"), "", record(23, 1, "", "abc")},
		{"data in clear", record(23, 0, "", "abc"), "", ""},
		{"another epoch", record(23, 2, "", "abc"), "", ""},
		{"an alert in clear before it", record(21, 0, "", "\x02\x28") + record(23, 1, "", "abc"), "", record(23, 1, "", "abc")},
		{"by id", record(25, 1, "12345678", "abc"), "12345678", record(25, 1, "12345678", "abc")},
		{"by another id", record(25, 1, "12345679", "abc"), "12345678", ""},
		{"without the id", record(23, 1, "", "abc"), "12345678", ""},
		{"with an id that is not there", record(25, 1, "12345678", "abc"), "", ""},
		{"a change of keys", record(20, 1, "", "\x01"), "", ""},
		{"cut short", record(23, 1, "", "abc") + record(23, 1, "", "abc")[:15], "", record(23, 1, "", "abc")},
	} {
		if got := dtls.Sealed([]byte(row.in), []byte(row.id)); string(got) != row.want {
			t.Errorf("%s: % x, want % x", row.name, got, row.want)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(helloOf(1), []byte{})
	f.Add(append(helloOf(1), helloOf(2)...), []byte("12345678"))
	f.Add([]byte{25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 9}, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b, id []byte) {
		kept := dtls.Sealed(b, id)
		if len(kept) > len(b) || !bytes.Equal(dtls.Sealed(kept, id), kept) {
			t.Errorf("sealed keeps % x of % x", kept, b)
		}
		for rest, ok := b, true; ok && len(rest) > 0; {
			var body []byte
			if body, rest, ok = dtls.NextRecord(rest); ok {
				cookie, ok := dtls.ParseHello(body)
				if len(cookie) > len(body) {
					t.Error("a cookie longer than its hello")
				}
				if !ok {
					continue
				}
				bare := dtls.Without(body)
				again, _, whole := dtls.NextRecord(bare)
				if cookie, ok := dtls.ParseHello(again); !ok || !whole || len(cookie) > 0 {
					t.Errorf("% x without its cookie is % x", body, bare)
				}
			}
		}
	})
}
