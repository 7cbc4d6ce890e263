package endpoint_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
)

// unhex reads bytes with blanks between them.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The rows are RFC 7252 and 7959 on one datagram. served: it reaches the
// handler, which answers 2.04.
var datagrams = []struct {
	name, in string
	want     string // "" is silence; the message id of a NON is not compared
	served   bool
}{
	{"nothing", "", "", false},
	{"three bytes", "40 01 12", "", false},
	{"version 0", "00 01 12 34", "", false},
	{"version 2", "80 01 12 34", "", false},
	{"version 3", "c0 01 12 34", "", false},

	{"ping", "40 00 12 34", "70 00 12 34", false},
	{"empty NON", "50 00 12 34", "", false},
	{"empty CON with a token", "41 00 12 34 aa", "70 00 12 34", false},
	{"empty CON with bytes", "40 00 12 34 ff 01", "70 00 12 34", false},
	{"empty NON with bytes", "50 00 12 34 ff 01", "", false},
	{"ACK that nobody waits for", "60 00 12 34", "", false},
	{"RST that nobody waits for", "70 00 12 34", "", false},
	{"RST with bytes", "70 00 12 34 ff 01", "", false},

	{"token length 8", "48 01 12 34 01 02 03 04 05 06 07 08", "68 44 12 34 01 02 03 04 05 06 07 08", true},
	{"token length 9", "49 01 12 34 01 02 03 04 05 06 07 08 09", "70 00 12 34", false},
	{"token length 13, extended", "4d 01 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d", "70 00 12 34", false},
	{"token length 14, extended", "4e 01 12 34 00 00", "70 00 12 34", false},
	{"token length 15", "4f 01 12 34", "70 00 12 34", false},
	{"token length 15 in a NON", "5f 01 12 34", "", false},
	{"token cut short", "44 01 12 34 01 02 03", "70 00 12 34", false},
	{"token cut short in a NON", "54 01 12 34 01 02 03", "", false},

	{"code class 1", "40 21 12 34", "70 00 12 34", false},
	{"code class 3", "40 61 12 34", "70 00 12 34", false},
	{"code class 6", "40 c1 12 34", "70 00 12 34", false},
	{"code class 7", "40 e1 12 34", "70 00 12 34", false},
	{"code class 7 in a NON", "50 e1 12 34", "", false},
	{"code class 7 in an ACK", "60 e1 12 34", "", false},
	{"request in an ACK", "60 01 12 34", "", false},
	{"request in a RST", "70 01 12 34", "", false},
	{"CON response nobody asked for", "40 45 12 34", "70 00 12 34", false},
	{"NON response nobody asked for", "50 45 12 34", "", false},
	{"ACK response nobody asked for", "60 45 12 34", "", false},

	{"payload marker without payload", "40 01 12 34 ff", "70 00 12 34", false},
	{"payload marker without payload in a NON", "50 01 12 34 ff", "", false},
	{"payload marker without payload after an option", "40 01 12 34 b1 63 ff", "70 00 12 34", false},
	{"reserved option delta", "40 01 12 34 f1 63", "70 00 12 34", false},
	{"reserved option length", "40 01 12 34 bf 63", "70 00 12 34", false},
	{"option value cut short", "40 01 12 34 b2 63", "70 00 12 34", false},
	{"extended delta cut short", "40 01 12 34 d0", "70 00 12 34", false},
	{"extended length cut short", "40 01 12 34 be 01", "70 00 12 34", false},
	{"option number above 65535", "40 01 12 34 e0 ff ff", "70 00 12 34", false},
	{"option number 65535 is critical", "40 01 12 34 e0 fe f2", "60 82 12 34" + option(65535), false},
	{"64 options", "40 01 12 34 b0" + strings.Repeat("00", 63), "60 44 12 34", true},
	{"65 options", "40 01 12 34 b0" + strings.Repeat("00", 64), "70 00 12 34", false},

	{"GET", "40 01 12 34", "60 44 12 34", true},
	{"GET in a NON", "51 01 12 34 aa", "51 44 .. .. aa", true},
	{"FETCH", "40 05 12 34", "60 44 12 34", true},
	{"iPATCH", "40 07 12 34", "60 44 12 34", true},
	{"0.31", "40 1f 12 34", "60 44 12 34", true},

	{"unknown elective option", "40 01 12 34 e0 fc d5", "60 44 12 34", true},                               // 65000 - 2
	{"unknown critical option", "41 01 12 34 aa e0 fc dc", "61 82 12 34 aa" + option(65001), false},        // 65001
	{"unknown critical option in a NON", "50 01 12 34 e0 fc dc", "", false},                                // 65001
	{"Accept of 3 bytes", "40 01 12 34 d3 04 00 00 3c", "60 82 12 34" + option(17), false},                 // 17, critical
	{"Accept of 3 bytes in a NON", "50 01 12 34 d3 04 00 00 3c", "", false},                                // 17
	{"Accept twice", "40 01 12 34 d1 04 3c 01 3c", "60 82 12 34" + option(17), false},                      // 17, not repeatable
	{"Content-Format of 3 bytes", "40 02 12 34 c3 00 00 3c", "60 44 12 34", true},                          // 12, elective
	{"Content-Format twice", "40 02 12 34 c1 3c 01 28", "60 44 12 34", true},                               // 12, the second ignored
	{"Observe of 4 bytes", "40 01 12 34 64 00 00 00 00", "60 44 12 34", true},                              // 6, elective
	{"If-Match of 9 bytes", "40 01 12 34 19 01 02 03 04 05 06 07 08 09", "60 82 12 34" + option(1), false}, // 1, critical
	{"If-Match twice", "40 01 12 34 11 01 01 02", "60 44 12 34", true},                                     // 1, repeatable
	{"If-None-Match with a value", "40 01 12 34 51 01", "60 82 12 34" + option(5), false},                  // 5, critical
	{"Uri-Host", "40 01 12 34 31 68", "60 44 12 34", true},                                                 // 3
	{"empty Uri-Host", "40 01 12 34 30", "60 82 12 34" + option(3), false},                                 // 3
	{"Uri-Host twice", "40 01 12 34 31 68 01 68", "60 82 12 34" + option(3), false},                        // 3
	{"Uri-Port", "40 01 12 34 72 16 33", "60 44 12 34", true},                                              // 7
	{"Uri-Port of 3 bytes", "40 01 12 34 73 00 16 33", "60 82 12 34" + option(7), false},                   // 7
	{"option longer than any datagram", "40 01 12 34 be ff f3 61", "70 00 12 34", false},
	{"Uri-Path of 256 bytes", "40 01 12 34 bd f3" + strings.Repeat("61", 256), "60 82 12 34" + option(11), false}, // 11, critical
	{"Proxy-Uri", "40 01 12 34 d1 16 63", "60 a5 12 34", false},                                                   // 35
	{"Proxy-Uri in a NON", "51 01 12 34 aa d1 16 63", "51 a5 .. .. aa", false},                                    // 35
	{"Proxy-Scheme", "40 01 12 34 d4 1a 63 6f 61 70", "60 a5 12 34", false},                                       // 39
	{"empty Proxy-Uri", "40 01 12 34 d0 16", "60 82 12 34" + option(35), false},                                   // 35, wrong size
	{"No-Response, RFC 7967", "40 01 12 34 d1 f5 02", "60 44 12 34", true},                                        // 258, elective
	{"Block2 with the reserved size", "40 01 12 34 d1 0a 07", "60 80 12 34", false},                               // 23
	{"Block1 with the reserved size", "40 02 12 34 d1 0e 07", "60 80 12 34", false},                               // 27
	{"Block2 of 4 bytes", "40 01 12 34 d4 0a 00 00 00 00", "60 82 12 34" + option(23), false},                     // 23
	{"a later block without a first", "40 01 12 34 d1 0a 16", "60 88 12 34", false},                               // 23
	{"a lone last block", "40 02 12 34 d1 0e 16 ff 01", "60 88 12 34", false},                                     // 27
	{"a lone middle block", "40 02 12 34 d1 0e 18 ff" + strings.Repeat("00", 16), "60 88 12 34", false},
	{"a block shorter than it says", "40 02 12 34 d1 0e 08 ff" + strings.Repeat("00", 15), "60 80 12 34", false},
	{"a block longer than it says", "40 02 12 34 d1 0e 00 ff" + strings.Repeat("00", 17), "60 80 12 34", false},
}

func TestEachDatagramGetsTheAnswerOfTheRFC(t *testing.T) {
	for _, row := range datagrams {
		t.Run(row.name, func(t *testing.T) {
			var served atomic.Int32
			h := handler{serve: func(context.Context, *endpoint.Request) endpoint.Response {
				served.Add(1)
				return endpoint.Response{Code: codes.Changed}
			}}
			tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
				d := s.device()
				d.raw(unhex(row.in))
				got := ""
				if in, ok := d.conn.Receive(time.Second); ok {
					got = spaced(in.Data)
					if in.Data[0]>>4&3 == 1 {
						got = got[:6] + ".. .." + got[11:]
					}
				}
				if got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
				if (served.Load() == 1) != row.served {
					t.Errorf("served %d times, want %t", served.Load(), row.served)
				}
				d.quiet(5 * time.Minute)
			})
		})
	}
	t.Logf("%d datagrams", len(datagrams))
}

// option is the diagnostic that names one.
func option(n int) string { return " ff " + spaced(fmt.Appendf(nil, "option %d", n)) }

func spaced(b []byte) string {
	return strings.TrimSpace(strings.ReplaceAll(fmt.Sprintf("% x", b), "  ", " "))
}

func TestRequestReachesTheHandlerWhole(t *testing.T) {
	type seen struct {
		Confirmable             bool
		Code                    codes.Code
		Token                   string
		Path, Query             []string
		Format, Accept, Observe endpoint.Opt
		IfMatch, IfNoneMatch    bool
		BlockSize               int
		Payload                 string
		Local                   string
	}
	var got string
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		got = fmt.Sprintf("%+v", seen{r.Confirmable, r.Code, string(r.Token.Bytes()), r.Path, r.Query, r.Format, r.Accept,
			r.Observe, r.IfMatch, r.IfNoneMatch, r.BlockSize, string(r.Payload), r.Peer.Local.String()})
		return endpoint.Response{Code: codes.Changed}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{}, func(s *story) {
		d := s.device()
		o := path("c//pump%2f7/a/b/c/d/e/f") // more segments than are kept inline
		o = withBytes(o, message.URIQuery, []byte("lt=60"))
		o = withBytes(o, message.URIQuery, []byte(""))
		o = withBytes(o, message.IfMatch, []byte("e"))
		o = withBytes(o, message.IfNoneMatch, nil)
		o = withBytes(o, message.URIHost, []byte("host"))
		o = with(with(with(with(o, message.Observe, 0), message.ContentFormat, 60), message.Accept, 40), message.Block2, 2)
		d.want(d.ask(msg{code: codes.POST, mid: 7, token: "t", options: o, payload: "body"}), "Acknowledgement 2.04 token=74")
		want := fmt.Sprintf("%+v", seen{true, codes.POST, "t", []string{"c", "", "pump%2f7", "a", "b", "c", "d", "e", "f"}, []string{"lt=60", ""},
			endpoint.Some(60), endpoint.Some(40), endpoint.Some(0), true, true, 64, "body", "127.0.0.1"})
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestTruncatedDatagramIsTooLarge(t *testing.T) {
	tell(t, simnet.Conditions{}, answers(endpoint.Response{Code: codes.Changed}), endpoint.Options{}, func(s *story) {
		d := s.device()
		m := msg{typ: con, code: codes.POST, mid: 1, token: "t", options: path("c"), payload: strings.Repeat("x", 3000)}
		d.send(m)
		d.want(d.must(), "Acknowledgement 4.13 token=74 Block1=0/0/1024")
		m.typ = non
		d.send(m)
		d.quiet(time.Minute)
		if got := s.e.Stats().Truncated; got != 2 {
			t.Error("truncated:", got)
		}
	})
}

// mutate makes a datagram that is wrong in one of many ways, or by chance not.
func mutate(r *rand.Rand, seeds [][]byte) []byte {
	b := append([]byte(nil), seeds[r.IntN(len(seeds))]...)
	switch r.IntN(5) {
	case 0:
		b = make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case 1:
		b = b[:r.IntN(len(b)+1)]
	case 2:
		for range 1 + r.IntN(4) {
			if len(b) > 0 {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		}
	case 3:
		b = append(b, make([]byte, r.IntN(20))...)
	case 4:
		if len(b) > 1 {
			b[1] = byte(r.Uint32())
		}
	}
	return b
}

func TestAHundredThousandMalformedDatagramsLeaveAGoodPeerUnharmed(t *testing.T) {
	const count, burst = 100_000, 500
	var seeds [][]byte
	for _, row := range datagrams {
		if b := unhex(row.in); len(b) > 0 {
			seeds = append(seeds, b)
		}
	}
	h := handler{serve: func(_ context.Context, r *endpoint.Request) endpoint.Response {
		return endpoint.Response{Code: codes.Content, Payload: []byte(strings.Join(r.Path, "/"))}
	}}
	tell(t, simnet.Conditions{}, h, endpoint.Options{PeersMax: 64, RepeatsMax: 4096, TransfersMax: 16, AnswerBytesMax: 1 << 20}, func(s *story) {
		good := s.device()
		notice := &notice{"news", make(chan [2]int, 1)}
		r := rand.New(rand.NewPCG(5, 6))
		var bad []*device
		for range 200 { // more than there is room for
			bad = append(bad, s.deviceAt("127.0.0.3"))
		}
		for i := range count / burst {
			for range burst {
				bad[r.IntN(len(bad))].raw(mutate(r, seeds))
			}
			synctest.Wait()
			m := good.ask(msg{code: codes.GET, mid: i, token: "good", options: path("c")})
			good.want(m, `Acknowledgement 2.05 token=676f6f64 "c"`)
			if i%20 == 0 {
				if _, err := s.e.Confirm(good.peer(), endpoint.TokenOf([]byte("o")), notice, endpoint.ConfirmOptions{}); err != nil {
					t.Fatal(err)
				}
				good.send(msg{typ: ack, mid: good.must().mid})
				if got := <-notice.done; got != [2]int{int(endpoint.Acked), 0} {
					t.Fatal(got)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		got := s.e.Stats()
		t.Logf("%+v", got)
		if got.Peers > 64 || got.Repeats > 4096 || got.RequestBodies > 16 || got.Panics > 0 || got.Received < count {
			t.Errorf("%+v", got)
		}
	})
}
