// Package endpoint is the CoAP message layer: RFC 7252 messages, the server's
// half of Observe (RFC 7641) as far as it is messages, and block-wise bodies
// (RFC 7959). It knows no command and no resource.
//
// # What it promises
//
// To the Handler: each request once, whole and well-formed. Repeats of a
// datagram within EXCHANGE_LIFETIME (NON_LIFETIME for a NON) are answered from
// memory; a body that came in blocks arrives in one piece; an option that the
// handler could not understand never reaches it. The exception is stated, not
// hidden: the memory of repeats is bounded in entries and of answers in bytes.
// A repeat whose answer is no longer kept runs the handler again, so a handler
// answers from state: doing the same request twice must do no more than once.
//
// To the caller of Confirm: exactly one Outcome for each exchange, unless Stop
// ended it first. Acked, Reset, Silent and Stopped are told apart, and Acked and
// Reset name the attempt that was answered. Each attempt is a new message with
// a new message id, built afresh; an acknowledgement of any of them counts.
// Only an ACK or RST from the same Peer with one of these ids is an answer; a
// request that happens to use the id is a request.
//
// To the network: at most one notification and one separate response
// outstanding per peer (NSTART, RFC 7252 4.7; the response answers the peer's
// own request, which paces it); exponential back-off; no answer to an answer;
// and at most three bytes out for each byte in towards an address that has not
// proven that it receives (RFC 9175 2.4). A response that would be larger goes
// out in smaller blocks, or, when no block fits, as a bare 5.03; an attempt of a
// confirmable of which no block fits stays here, and its clock runs on. An ACK of
// a confirmable proves the address, unless many ids were guessed wrong before, and
// so does a request with the Echo option that a 4.01 brought there (RFC 9175): the
// answer to whatever Options.Costly names, until the address is proven. A peer
// with a session has proven itself by its handshake; where it moves to is bounded
// where sessions are kept.
//
// To the process: nothing is kept for an idle peer. What is kept of a peer
// lives until EXCHANGE_LIFETIME after its last message; every table has a bound
// in Options. One goroutine reads and never waits for anything but the socket;
// one writes; one keeps all clocks, on a timing wheel; a bounded pool runs
// handlers. A peer may hold only a few places of the pool; when the pool is
// full a request is answered 5.03 with Max-Age. A panic in a handler costs that
// request (5.00).
//
// # What it does not promise
//
// Order between requests of one peer; delivery after a restart (nothing here is
// on disk; message ids start at random); multicast; the client's side of CoAP:
// a response is never expected, a stray CON one gets a RST. Observe
// registrations belong to the caller.
//
// # Malformed messages
//
//	fewer than 4 bytes, or a version other than 1     silence     [RFC 7252 3]
//	format error in a CON                             RST         [RFC 7252 4.2]
//	format error in a NON, ACK or RST                 silence     [RFC 7252 4.2, 4.3]
//	empty CON (ping)                                  RST         [RFC 7252 4.3]
//	CON response nobody asked for                     RST         [RFC 7252 4.2]
//	unrecognised critical option, CON                 4.02        [RFC 7252 5.4.1]
//	unrecognised critical option, NON                 silence     [RFC 7252 5.4.1]
//	Proxy-Uri or Proxy-Scheme                         5.05        [RFC 7252 5.7.2]
//	a block option with a reserved size               4.00        [RFC 7959 2.2]
//	a datagram larger than the read buffer, CON       4.13        [RFC 7959 2.9.3]
//
// A format error is: a token length of 9 to 15 (13 and 14 would be RFC 8974's
// extended tokens, refused in the way that it asks for), a reserved code class,
// an empty message with bytes after the header, a truncated or reserved option,
// an option number above 65535, more than 64 options, or a payload marker with
// nothing after it. An option of a wrong size, or a repeat of one that may not
// repeat, counts as unrecognised.
//
// # Blocks
//
// A response larger than the block size goes out block by block. The body of
// the last large response for a peer, method, path and query is kept as a
// candidate; the first request for a later block freezes it, and the freeze
// ends with its last block or after TransferTimeout. While it lasts, Confirm
// says ErrBusy and repeats of a running exchange wait. Later blocks are served
// here, whatever token or Observe option they carry, and never reach the
// handler. Without a body they are answered 4.08.
//
// A request body is matched by peer, method and all options but the block's own
// (RFC 7959 2.5, RFC 9175 3.2); blocks must come in order; a block that is
// missing is 4.08, a body above its limit 4.13 with Size1.
//
// # Concurrency
//
// All methods are safe for concurrent use. Build, Done and Idle are called from
// one goroutine, one after the other, with no lock held: they must not block,
// and may call Confirm and Stop.
package endpoint
