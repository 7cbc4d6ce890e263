// Package udp is batched datagram I/O for the CoAP endpoint: many datagrams a
// system call, addresses as netip values, nothing allocated per datagram.
//
// Each datagram that is read tells which address of ours was asked, and each
// that is written leaves from the address that it names (IP_PKTINFO), so that a
// socket on a wildcard address answers from where it was asked: a client that is
// asked from elsewhere drops the answer [RFC 7252 5.3.2]. A datagram larger than
// its buffer is cut and marked Truncated.
//
// The receive buffer is enlarged as far as the system lets it: beyond
// net.core.rmem_max when the process may (SO_RCVBUFFORCE), else up to it. What
// the kernel dropped because the buffer was full is counted (SO_RXQ_OVFL).
//
// Listen takes an IPv4 or IPv6 address, or only a port (":5683") for both; port
// 0 lets the system choose. It fails with one line that names the address.
//
// On systems other than Linux it reads and writes one datagram a call, replies
// leave from the address that the system chooses, and drops are not counted.
package udp
