// Package message is the simulated device's own reading and writing of CoAP
// datagrams (RFC 7252 section 3). It shares nothing with the server, so that
// one mistake about the format cannot hide on both sides of the wire.
//
//	 0                   1                   2                   3
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|Ver| T |  TKL  |     Code      |          Message ID           |
//	+---------------+---------------+-------------------------------+
//	| token (0..8) | options (delta, length, value) | 0xFF | payload |
//	+---------------------------------------------------------------+
//
// Parse returns a whole message or an error, never a part of one, and the
// message's slices alias the datagram. Append writes the shortest form and
// sorts the options itself. Tokens longer than eight bytes (RFC 8974) are
// refused: the device never makes one.
//
// A datagram that cannot be read is either not CoAP at all, to be ignored in
// silence, or a broken message, whose sender may be told by a Reset; Header
// tells the two apart.
package message
