package coap_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/cbor"
	"behest/command"
)

// The ETSI plugtest cases for CoAP, the server's side, on our own resources:
// the plugtests' servers have /test, /separate, /large and the like, we have a
// directory, open lists and reports.
//
// These do not apply:
//
//	CORE_03, 07           PUT: nothing here is put
//	CORE_19               a Location here is a path, without a query
//	CORE_21, 22           a list is another one each second: no ETag to validate
//	CORE_23               nothing here is created by PUT
//	OBS_08                a list has one content format
//	BLOCK_03              PUT; BLOCK_04 is the same with POST
//	BLOCK_05              no answer to a POST is large
//	LINK_04, 05, 06, 09   our links have one rt each, no if, no sz, no hierarchy
//	DTLS                  until coaps is there
type plugtest struct {
	name string
	play func(w *world, p *peer)
}

var plugtests = []plugtest{
	{"TD_COAP_CORE_01 GET in a CON", func(_ *world, p *peer) {
		m := p.send(get("c/pump-7").tok("core01"))
		got := p.comes("ACK 2.05 core01 ct=60 MaxAge=0 []")
		if got.mid != m.mid {
			p.t.Errorf("message id %d, want %d", got.mid, m.mid)
		}
	}},
	{"TD_COAP_CORE_02 DELETE in a CON", func(_ *world, p *peer) {
		p.want(ask(codes.DELETE, "rd/1").tok("core02"), "ACK 2.02 core02")
	}},
	{"TD_COAP_CORE_04 POST in a CON", func(_ *world, p *peer) {
		p.want(post("rd?ep=core-04").tok("core04").body(40, "</a>"), "ACK 2.01 core04 at rd/2")
		p.want(post("rd/2").tok("again"), "ACK 2.04 again")
	}},
	{"TD_COAP_CORE_05 GET in a NON", func(_ *world, p *peer) {
		p.want(get("c/pump-7").tok("core05").as(non), "NON 2.05 core05 ct=60 MaxAge=0 []")
	}},
	{"TD_COAP_CORE_06 DELETE in a NON", func(_ *world, p *peer) {
		p.want(ask(codes.DELETE, "rd/1").tok("core06").as(non), "NON 2.02 core06")
	}},
	{"TD_COAP_CORE_08 POST in a NON", func(_ *world, p *peer) {
		p.want(post("rd?ep=core-08").tok("core08").as(non), "NON 2.01 core08 at rd/2")
	}},
	{"TD_COAP_CORE_09 GET with a separate response", func(w *world, p *peer) {
		w.issue("pump-7", command.Intent{})
		m := p.send(get("c/pump-7").tok("core09"))
		if empty := p.comes("ACK 0.00"); empty.mid != m.mid {
			p.t.Errorf("empty ACK of %d, want %d", empty.mid, m.mid)
		}
		p.ack(p.comes("CON 2.05 core09 ct=60 MaxAge=0 [#0 act 86400s]"))
		p.quiet(time.Minute)
	}},
	{"TD_COAP_CORE_10 a request with a token", func(_ *world, p *peer) {
		for _, token := range []string{"1", "22", "12345678"} {
			p.want(get("c/pump-7").tok(token), "ACK 2.05 "+token+" ct=60 MaxAge=0 []")
		}
	}},
	{"TD_COAP_CORE_11 a request with a token, answered separately", func(w *world, p *peer) {
		w.issue("pump-7", command.Intent{})
		p.want(get("c/pump-7").tok("12345678"), "ACK 0.00")
		p.ack(p.comes("CON 2.05 12345678 ct=60 MaxAge=0 [#0 act 86400s]"))
	}},
	{"TD_COAP_CORE_12 a request without a token", func(_ *world, p *peer) {
		p.want(get("c/pump-7").tok(""), "ACK 2.05 ct=60 MaxAge=0 []")
	}},
	{"TD_COAP_CORE_13 several Uri-Path options", func(_ *world, p *peer) {
		p.want(post("c/pump-7/1").body(60, "\xa1\x01\x01"), `ACK 4.04 "no such sequence"`)
	}},
	{"TD_COAP_CORE_14 several Uri-Query options", func(w *world, p *peer) {
		p.want(post("rd?ep=core-14&lt=60&first=1&second=2"), "ACK 2.01 at rd/2")
		w.same("parameters", w.lookUp("core-14").Registration.Params, map[string]string{"first": "1", "second": "2"})
	}},
	{"TD_COAP_CORE_15 piggybacked, with loss", func(_ *world, p *peer) {
		m := p.send(get("c/pump-7"))
		p.must() // lost on its way
		time.Sleep(2 * time.Second)
		p.send(m)
		if again := p.comes("ACK 2.05 ct=60 MaxAge=0 []"); again.mid != m.mid {
			p.t.Errorf("message id %d, want %d", again.mid, m.mid)
		}
	}},
	{"TD_COAP_CORE_16 separate, with loss", func(w *world, p *peer) {
		id := w.issue("pump-7", command.Intent{})
		p.want(get("c/pump-7").tok("core16"), "ACK 0.00")
		p.must() // lost on its way
		p.ack(p.comes("CON 2.05 core16 ct=60 MaxAge=0 [#0 act 86397s]"))
		w.same("it", w.states(id), []command.State{command.Delivered})
	}},
	{"TD_COAP_CORE_17 separate, to a NON", func(w *world, p *peer) {
		w.issue("pump-7", command.Intent{})
		p.ack(p.want(get("c/pump-7").tok("core17").as(non), "CON 2.05 core17 ct=60 MaxAge=0 [#0 act 86400s]"))
		p.quiet(time.Minute)
	}},
	{"TD_COAP_CORE_18 POST with Location-Path", func(_ *world, p *peer) {
		got := p.ask(post("rd?ep=core-18"))
		var path []string
		for _, o := range got.options {
			if o.ID == message.LocationPath {
				path = append(path, string(o.Value))
			}
		}
		if got.code != codes.Created || strings.Join(path, "/") != "rd/2" {
			p.t.Errorf("%v %q", got, path)
		}
		p.want(post(strings.Join(path, "/")), "ACK 2.04")
	}},
	{"TD_COAP_CORE_20 GET with Accept", func(_ *world, p *peer) {
		p.want(get("c/pump-7").accept(60), "ACK 2.05 ct=60 MaxAge=0 []")
		p.want(get("c/pump-7").accept(50), `ACK 4.06 "it is to be had in another format alone"`)
	}},
	{"TD_COAP_CORE_31 ping", func(_ *world, p *peer) {
		m := p.send(msg{typ: con})
		if got := p.comes("RST 0.00"); got.mid != m.mid {
			p.t.Errorf("reset %d, want %d", got.mid, m.mid)
		}
	}},

	{"TD_COAP_LINK_01 the links that are here", func(_ *world, p *peer) {
		p.want(get(".well-known/core"), `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\",</c>;rt=\"behest.commands\""`)
	}},
	{"TD_COAP_LINK_02 by type", func(_ *world, p *peer) {
		p.want(get(".well-known/core?rt=core.rd"), `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\""`)
	}},
	{"TD_COAP_LINK_03 an empty prefix", func(_ *world, p *peer) {
		p.want(get(".well-known/core?rt=*"), `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\",</c>;rt=\"behest.commands\""`)
	}},
	{"TD_COAP_LINK_07 by path", func(_ *world, p *peer) {
		p.want(get(".well-known/core?href=/rd"), `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\""`)
	}},
	{"TD_COAP_LINK_08 by the beginning of a path", func(_ *world, p *peer) {
		p.want(get(".well-known/core?href=/*"), `ACK 2.05 ct=40 "</rd>;rt=\"core.rd\",</c>;rt=\"behest.commands\""`)
	}},

	{"TD_COAP_BLOCK_01 a large GET, early negotiation", func(w *world, p *peer) {
		w.issue("pump-7", command.Intent{Params: large(100)})
		p.want(get("c/pump-7").block(message.Block2, 0, false, 64), "ACK 0.00")
		p.ack(p.comes("CON 2.05 etag ct=60 MaxAge=0 Block2=0/1/64 Size2=120 64 bytes"))
		p.want(get("c/pump-7").block(message.Block2, 1, false, 64), "ACK 2.05 etag ct=60 MaxAge=0 Block2=1/0/64 56 bytes")
		p.want(get("c/pump-7").block(message.Block2, 2, false, 64), "ACK 4.00")
	}},
	{"TD_COAP_BLOCK_02 a large GET, late negotiation", func(w *world, p *peer) {
		w.issue("pump-7", command.Intent{Params: large(1024)})
		p.want(get("c/pump-7"), "ACK 0.00")
		p.ack(p.comes("CON 2.05 etag ct=60 MaxAge=0 Block2=0/1/1024 Size2=1044 1024 bytes"))
		p.want(get("c/pump-7").block(message.Block2, 64, false, 16), "ACK 2.05 etag ct=60 MaxAge=0 Block2=64/1/16 16 bytes")
		p.want(get("c/pump-7").block(message.Block2, 65, false, 16), "ACK 2.05 etag ct=60 MaxAge=0 Block2=65/0/16 4 bytes")
	}},
	{"TD_COAP_BLOCK_04 a large POST", func(w *world, p *peer) {
		links := strings.Repeat("</a>,", 40)
		p.want(post("rd?ep=block-04").body(40, links[:128]).block(message.Block1, 0, true, 128), "ACK 2.31 Block1=0/1/128")
		p.want(post("rd?ep=block-04").body(40, links[128:]).block(message.Block1, 1, false, 128), "ACK 2.01 at rd/2 Block1=1/0/128")
		w.same("links", w.lookUp("block-04").Registration.Links, links)
	}},
	{"TD_COAP_BLOCK_06 a large GET in blocks of 16", func(w *world, p *peer) {
		w.issue("pump-7", command.Intent{Params: large(20)})
		p.want(get("c/pump-7").block(message.Block2, 0, false, 16), "ACK 0.00")
		first := p.comes("CON 2.05 etag ct=60 MaxAge=0 Block2=0/1/16 Size2=40 16 bytes")
		p.ack(first)
		p.wantBody(p.rest("pump-7", first, 16), "[#0 act 86400s "+cbor.Diagnose(large(20))+"]")
	}},

	{"TD_COAP_OBS_01 observe, in CONs", func(w *world, p *peer) {
		p.want(get("c/pump-7").tok("obs").observe(0), "ACK 2.05 obs observe ct=60 MaxAge=900 []")
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
	}},
	{"TD_COAP_OBS_02 observe, asked for in a NON", func(w *world, p *peer) {
		p.want(get("c/pump-7").tok("obs").observe(0).as(non), "NON 2.05 obs observe ct=60 MaxAge=900 []")
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
	}},
	{"TD_COAP_OBS_04 the client detects that Max-Age has passed, and observes again", func(w *world, p *peer) {
		p.want(get("c/pump-7").tok("obs").observe(0), "ACK 2.05 obs observe ct=60 MaxAge=900 []")
		time.Sleep(901 * time.Second)
		p.want(get("c/pump-7").tok("obs").observe(0), "ACK 2.05 obs observe ct=60 MaxAge=900 []")
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#901 act 86400s]"))
	}},
	{"TD_COAP_OBS_05 the server detects that the client has gone", func(w *world, p *peer) {
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		p.until(5 * time.Minute)
		w.issue("pump-7", command.Intent{})
		p.quiet(time.Hour)
	}},
	{"TD_COAP_OBS_06 the client has gone, and says so with an RST", func(w *world, p *peer) {
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		p.reset(p.must())
		p.quiet(time.Hour)
	}},
	{"TD_COAP_OBS_07 the registration is deleted, and the observation with it", func(w *world, p *peer) {
		p.observe("pump-7", "obs")
		p.want(ask(codes.DELETE, "rd/1"), "ACK 2.02")
		w.issue("pump-7", command.Intent{})
		p.quiet(time.Hour)
	}},
	{"TD_COAP_OBS_09 an update by another is seen by the observer", func(w *world, p *peer) {
		q := w.peer("127.0.0.9:5000")
		p.observe("pump-7", "obs")
		w.issue("pump-7", command.Intent{})
		p.ack(p.must())
		q.report("pump-7", start, success)
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 []"))
	}},
	{"TD_COAP_OBS_10 a GET without Observe does not cancel", func(w *world, p *peer) {
		p.observe("pump-7", "obs")
		p.want(get("c/pump-7").tok("get"), "ACK 2.05 get ct=60 MaxAge=0 []")
		w.issue("pump-7", command.Intent{})
		p.ack(p.comes("CON 2.05 obs observe ct=60 MaxAge=900 [#0 act 86400s]"))
	}},
	{"TD_COAP_OBS_11 observe, in CONs, with loss", func(w *world, p *peer) {
		p.observe("pump-7", "obs")
		id := w.issue("pump-7", command.Intent{})
		p.must() // lost on its way
		p.must()
		p.ack(p.must())
		w.same("it", w.states(id), []command.State{command.Delivered})
		p.quiet(20 * time.Second)
	}},
	{"TD_COAP_OBS_12 a GET with Observe 1 cancels", func(w *world, p *peer) {
		p.observe("pump-7", "obs")
		p.want(get("c/pump-7").tok("obs").observe(1), "ACK 2.05 obs ct=60 MaxAge=0 []")
		w.issue("pump-7", command.Intent{})
		p.quiet(time.Hour)
	}},
	{"TD_COAP_OBS_13 a large list is observed in blocks", func(w *world, p *peer) {
		p.want(get("c/pump-7").tok("obs").observe(0).block(message.Block2, 0, false, 64), "ACK 2.05 obs observe ct=60 MaxAge=900 []")
		w.issue("pump-7", command.Intent{Params: large(100)})
		first := p.comes("CON 2.05 obs etag observe ct=60 MaxAge=900 Block2=0/1/64 Size2=120 64 bytes")
		p.ack(first)
		p.want(get("c/pump-7").block(message.Block2, 1, false, 64), "ACK 2.05 etag ct=60 MaxAge=900 Block2=1/0/64 56 bytes")
	}},
	{"TD_COAP_OBS_14 large lists of several sizes", func(w *world, p *peer) {
		p.register("ep=pump-7&w=8")
		p.want(get("c/pump-7").tok("obs").observe(0).block(message.Block2, 0, false, 64), "ACK 2.05 obs observe ct=60 MaxAge=900 []")
		var want []string
		for _, n := range []int{10, 300, 30} {
			w.issue("pump-7", command.Intent{Params: large(n), DeliverWithin: 24 * time.Hour})
			want = append(want, cbor.Diagnose(large(n)))
			first := p.must()
			p.ack(first)
			body := first.payload
			if _, blocks := first.option(message.Block2); blocks {
				body = p.rest("pump-7", first, 64)
			}
			list, err := cbor.DecodeList([]byte(body), time.Now())
			var got []string
			for _, e := range list {
				got = append(got, cbor.Diagnose(e.Params))
			}
			if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
				p.t.Errorf("%d entries of %d: %v", len(got), len(want), err)
			}
		}
	}},
}

func TestETSIPlugtestCases(t *testing.T) {
	for _, c := range plugtests {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, perfect, func(w *world) {
				p := w.peer("127.0.0.2:5000")
				p.register("ep=pump-7")
				c.play(w, p)
			})
		})
	}
	t.Logf("%d cases", len(plugtests))
}
