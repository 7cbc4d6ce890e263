package coap

import (
	"strings"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
)

// Content formats [RFC 7252 12.3, RFC 9290 6.3].
const (
	formatLinks   = 40
	formatCBOR    = 60
	formatProblem = 257
)

// link is a resource that is announced.
type link struct{ path, rt string }

// links are announced in this order, the directory first: some devices take
// the first that they find.
var links = []link{
	{"/rd", "core.rd"},
	{"/c", "behest.commands"},
}

// discover answers GET /.well-known/core [RFC 6690].
func (s *Server) discover(r *endpoint.Request) endpoint.Response {
	if r.Code != codes.GET {
		return wrongMethod(r) // simple registration is refused with it
	}
	if f, asked := r.Accept.Get(); asked && f != formatLinks {
		return refuse(r, codes.NotAcceptable, "not_acceptable", "it is to be had in another format alone")
	}
	var shown []string
	for _, l := range links {
		if l.matches(r.Query) {
			shown = append(shown, "<"+l.path+`>;rt="`+l.rt+`"`)
		}
	}
	return endpoint.Response{
		Code: codes.Content, Format: endpoint.Some(formatLinks),
		Payload: []byte(strings.Join(shown, ",")),
	}
}

// matches reports whether l passes all filters of a query. A filter ends in a
// star, or is the whole value [RFC 6690 4.1].
func (l link) matches(query []string) bool {
	for _, q := range query {
		name, want, _ := strings.Cut(q, "=")
		have := map[string]string{"rt": l.rt, "href": l.path}[name]
		prefix, star := strings.CutSuffix(want, "*")
		if have == "" || !(have == want || star && strings.HasPrefix(have, prefix)) {
			return false
		}
	}
	return true
}
