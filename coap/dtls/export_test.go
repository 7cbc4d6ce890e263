package dtls

import "behest/coap/endpoint"

// Receive takes a datagram as the reader does.
func (c *Conn) Receive(d *endpoint.Datagram) { c.receive(d) }

// NextRecord and ParseHello are the parsers.
func NextRecord(b []byte) (body, rest []byte, ok bool) {
	r, rest, ok := nextRecord(b)
	return r.body, rest, ok
}

func ParseHello(b []byte) (cookie []byte, ok bool) {
	h, ok := parseHello(b)
	return h.cookie, ok
}

func Sealed(b, id []byte) []byte { return sealed(b, id) }
