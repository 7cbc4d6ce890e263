package coap_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint/simnet"
	"behest/command"
)

// perfect is a network on which nothing goes wrong.
var perfect simnet.Conditions

// row is a request and its answer.
type row struct {
	name string
	ask  msg
	want string
}

// play asks the rows one after the other.
func (p *peer) play(rows []row) {
	p.t.Helper()
	for _, r := range rows {
		if got := p.ask(r.ask).String(); got != r.want {
			p.t.Errorf("%s:\n got %s\nwant %s", r.name, got, r.want)
		}
	}
}

func TestDiscoverySaysWhatIsHereTheDirectoryFirst(t *testing.T) {
	const (
		both      = `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\",</c>;rt=\"behest.commands\""`
		directory = `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\""`
		commands  = `ACK 2.05 ct=40 "</c>;rt=\"behest.commands\""`
		nothing   = `ACK 2.05 ct=40`
	)
	core := func(query string) msg { return get(".well-known/core" + query) }
	inWorld(t, 1, perfect, func(w *world) {
		w.peer("127.0.0.2:5000").play([]row{
			{"all", core(""), both},
			{"by type", core("?rt=core.rd"), directory},
			{"by the other type", core("?rt=behest.commands"), commands},
			{"by the beginning of a type", core("?rt=behest*"), commands},
			{"by any type", core("?rt=*"), both},
			{"a type that is not here", core("?rt=core.rd-group"), nothing},
			{"the beginning of a type without a star", core("?rt=core"), nothing},
			{"an empty type", core("?rt="), nothing},
			{"by path", core("?href=/c"), commands},
			{"by the beginning of a path", core("?href=/r*"), directory},
			{"by an attribute that no link has", core("?if=sensor"), nothing},
			{"by two filters that agree", core("?rt=core.rd&href=/rd"), directory},
			{"by two filters that do not", core("?rt=core.rd&href=/c"), nothing},
			{"as links", core("").accept(40), both},
			{"as CBOR", core("").accept(60), `ACK 4.06 "it is to be had in another format alone"`},
			{"a POST is no simple registration", post(".well-known/core?ep=pump-7"), `ACK 4.05 "the resource has no such method"`},
			{"nor is there its other form", post(".well-known/rd?ep=pump-7"), `ACK 4.04 "no such resource"`},
		})
	})
}

func TestEveryPathAndMethodHasAnAnswer(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		var rows []row
		for _, path := range []struct {
			uri   string
			serve []codes.Code
		}{
			{".well-known/core", []codes.Code{codes.GET}},
			{"rd", []codes.Code{codes.POST}},
			{"rd/1", []codes.Code{codes.POST, codes.DELETE}},
			{"c", nil},
			{"c/pump-7", []codes.Code{codes.GET}},
			{"c/pump-7/1", []codes.Code{codes.POST}},
		} {
			for _, method := range []codes.Code{codes.GET, codes.POST, codes.PUT, codes.DELETE, 5, 6, 7} {
				if !slices.Contains(path.serve, method) {
					rows = append(rows, row{method.String() + " " + path.uri, ask(method, path.uri), `ACK 4.05 "the resource has no such method"`})
				}
			}
		}
		for _, path := range []string{"", "nowhere", "c/pump-7/1/2", "rd/1/2", ".well-known", ".well-known/core/x", "C/pump-7", "c//1"} {
			want := `ACK 4.04 "no such resource"`
			if path == "c//1" { // a device without a name
				want = `ACK 4.04 "no such sequence"`
			}
			rows = append(rows, row{path, post(path).body(60, "\xa1\x01\x01"), want})
		}
		p.play(rows)
	})
}

func TestTheMessageLayersErrors(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		rows := []row{
			{"If-Match", get("c/pump-7").raw(message.IfMatch, "\x01"), `ACK 4.12 "nothing here has a version"`},
			{"If-None-Match", post("rd?ep=pump-7").raw(message.IfNoneMatch, ""), `ACK 4.12 "nothing here has a version"`},
			{"an unknown critical option", get("c/pump-7").raw(2049, "x"), `ACK 4.02 "option 2049"`},
			{"an unknown elective option", get("c/pump-7").raw(2050, "x"), "ACK 2.05 ct=60 MaxAge=0 []"},
			{"an Accept of a wrong size", get("c/pump-7").raw(message.Accept, "xyz"), `ACK 4.02 "option 17"`},
			{"an Observe of a wrong size", get("c/pump-7").raw(message.Observe, "wxyz"), "ACK 2.05 ct=60 MaxAge=0 []"},
			{"an Observe of neither value", get("c/pump-7").observe(2), "ACK 2.05 ct=60 MaxAge=0 []"},
			{"Proxy-Uri", get("c/pump-7").raw(message.ProxyURI, "coap://x/"), "ACK 5.05"},
			{"Proxy-Scheme", get("c/pump-7").raw(message.ProxyScheme, "coap"), "ACK 5.05"},
			{"a list as JSON", get("c/pump-7").accept(50), `ACK 4.06 "it is to be had in another format alone"`},
			{"a list as text", get("c/pump-7").accept(0), `ACK 4.06 "it is to be had in another format alone"`},
			{"a list as problem details", get("c/pump-7").accept(257), `ACK 4.06 "it is to be had in another format alone"`},
			{"a list as CBOR", get("c/pump-7").accept(60), "ACK 2.05 ct=60 MaxAge=0 []"},
			{"a later block of nothing", get("c/pump-7").block(message.Block2, 1, false, 64), "ACK 4.08"},
			{"a later block of a body that has no first", post("c/pump-7/1").body(60, strings.Repeat("x", 16)).block(message.Block1, 3, false, 16), "ACK 4.08"},
			{"a reserved block size", get("c/pump-7").raw(message.Block2, "\x07"), "ACK 4.00"},
			{"links over 4 KiB, as announced", post("rd?ep=pump-7").body(40, strings.Repeat("x", 1024)).block(message.Block1, 0, true, 1024).opt(message.Size1, 4097),
				"ACK 4.13 Block1=0/1/1024 Size1=4096"},
			{"a report over 128 KiB, as announced", post("c/pump-7/1").body(60, strings.Repeat("x", 1024)).block(message.Block1, 0, true, 1024).opt(message.Size1, 128<<10+1),
				"ACK 4.13 Block1=0/1/1024 Size1=131072"},
		}
		p.play(rows)

		for num := range 5 { // nobody announced it: the fifth block is too much
			want := "ACK 2.31 Block1=" + string(rune('0'+num)) + "/1/1024"
			if num == 4 {
				want = "ACK 4.13 Block1=4/1/1024 Size1=4096"
			}
			p.want(post("rd?ep=pump-7").body(40, strings.Repeat("x", 1024)).block(message.Block1, num, true, 1024), want)
		}
	})
}

func TestTheListsErrors(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=gone")
		p.want(ask(codes.DELETE, "rd/1"), "ACK 2.02")
		w.issue("expected", command.Intent{}) // an operator knows it, and it never registered
		p.play([]row{
			{"nobody", get("c/nobody"), `ACK 4.04 "no such device"`},
			{"nobody, observed", get("c/nobody").observe(0), `ACK 4.04 "no such device"`},
			{"never registered", get("c/expected"), `ACK 4.04 "not registered"`},
			{"left", get("c/gone").observe(0), `ACK 4.04 "not registered"`},
			{"a name over 63 bytes", get("c/" + strings.Repeat("p", 64)), `ACK 4.04 "no such device"`},
			{"a name that is no text", get("c/pump\xff"), `ACK 4.04 "no such device"`},
			{"no name", get("c/"), `ACK 4.04 "no such device"`},
		})
	})
}

func TestTheReportsErrors(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p, other := w.peer("127.0.0.2:5000"), w.peer("127.0.0.3:5000")
		p.watch("pump-7")
		other.register("ep=pump-8")
		w.issue("pump-7", command.Intent{})
		shown := p.must()
		p.ack(shown)
		seq := shown.seqs(t)[0]
		other.play([]row{ // a report may come from anywhere
			{"JSON", post("c/pump-7/1").body(50, `{"1":1}`), `ACK 4.15 "a report has content format 60"`},
			{"of no content format", post("c/pump-7/1"), `ACK 4.15 "a report has content format 60"`},
			{"on a number that was never given", reportOf("pump-7", seq+1, success), `ACK 4.04 "no such sequence"`},
			{"on another device's number", reportOf("pump-8", seq, success), `ACK 4.04 "no such sequence"`},
			{"of a device that nobody knows", reportOf("pump-9", seq, success), `ACK 4.04 "no such device"`},
			{"on 0", reportOf("pump-7", 0, success), `ACK 4.04 "no such sequence"`},
			{"on a number in other clothes", post("c/pump-7/0946684800").body(60, "\xa1\x01\x01"), `ACK 4.04 "no such sequence"`},
			{"on a number past all", post("c/pump-7/4294967296").body(60, "\xa1\x01\x01"), `ACK 4.04 "no such sequence"`},
			{"on no number", post("c/pump-7/head").body(60, "\xa1\x01\x01"), `ACK 4.04 "no such sequence"`},
			{"the outcome", reportOf("pump-7", seq, success), `ACK 2.04`},
			{"the outcome again", reportOf("pump-7", seq, success), `ACK 2.04`},
			{"running after the end", reportOf("pump-7", seq, running), `ACK 2.04`},
			{"another outcome", reportOf("pump-7", seq, failure), `ACK 4.09 "it is succeeded"`},
		})
	})
}

// TestMalformedReportsAreToldSoInAFewBytes: what exactly is wrong is package
// cbor's to say; that it is said, and fits a small buffer, is ours.
func TestMalformedReportsAreToldSoInAFewBytes(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		for name, payload := range map[string]string{
			"no bytes":               "",
			"cut":                    "\xa1\x01",
			"something behind it":    "\xa1\x01\x01\x00",
			"an indefinite map":      "\xbf\x01\x01\xff",
			"a key twice":            "\xa2\x01\x01\x01\x02",
			"nested too deep":        "\xa2\x01\x01\x05" + strings.Repeat("\x81", 16) + "\x00",
			"text that is no UTF-8":  "\xa2\x01\x01\x04\x61\xff",
			"a reserved head":        "\xa1\x01\x1c",
			"an array":               "\x81\x01",
			"a tag around it":        "\xc1\xa1\x01\x01",
			"no status":              "\xa1\x02\x01",
			"a status that is none":  "\xa1\x01\x05",
			"a status of a kind":     "\xa1\x01\xf5",
			"plain text":             "ok",
			"an array of four giga":  "\xa2\x01\x01\x05\x9a\xff\xff\xff\xff",
			"a string of four giga":  "\xa2\x01\x01\x05\x5a\xff\xff\xff\xff",
			"an error of many words": "\xa2\x01\x01\x78\x40" + strings.Repeat("ä", 31),
		} {
			got := p.ask(post("c/pump-7/1").body(60, payload))
			if n := len(got.payload); got.code != codes.BadRequest || n == 0 || n > 64 || !utf8.ValidString(got.payload) {
				t.Errorf("%s: %v (%d bytes)", name, got, n)
			}
		}
	})
}

func TestProblemDetailsWhereADeviceAsksForThem(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.register("ep=pump-7")
		p.play([]row{
			{"a registration", post("rd?ep=a/b").accept(257), `ACK 4.00 ct=257 {-1: "malformed", -2: "the endpoint name holds a slash"}`},
			{"a refresh", post("rd/9").accept(257), `ACK 4.04 ct=257 {-1: "not_found", -2: "no such device"}`},
			{"a leave", ask(codes.DELETE, "rd/9").accept(257), `ACK 4.04 ct=257 {-1: "not_found", -2: "no such device"}`},
			{"a report", post("c/pump-7/1").body(50, "1").accept(257), `ACK 4.15 ct=257 {-1: "media_type", -2: "a report has content format 60"}`},
			{"a path that is none", post("nowhere").accept(257), `ACK 4.04 ct=257 {-1: "not_found", -2: "no such resource"}`},
			{"a method that is none", ask(codes.DELETE, "c/pump-7").accept(257), `ACK 4.05 ct=257 {-1: "method", -2: "the resource has no such method"}`},
			{"what succeeds has none", post("rd?ep=pump-7").accept(257), `ACK 2.01 at rd/1`},
		})
	})
}

func TestANonconfirmableRequestIsAnsweredLikeAConfirmableOneLessTheEmptyAck(t *testing.T) {
	inWorld(t, 1, perfect, func(w *world) {
		p := w.peer("127.0.0.2:5000")
		p.want(post("rd?ep=pump-7").as(non), "NON 2.01 at rd/1")
		p.want(get("c/pump-7").as(non).observe(0).tok("obs"), "NON 2.05 obs observe ct=60 MaxAge=900 []")
		id := w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
		p.ack(p.want(get("c/pump-7").as(non), "CON 2.05 ct=60 MaxAge=0 [#0 act 86400s]"))
		p.want(reportOf("pump-7", start, success).as(non), "NON 2.04")
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
		p.quiet(time.Minute)
		if x := w.execution(id); x.State != command.Succeeded {
			t.Error(x.State)
		}
	})
}
