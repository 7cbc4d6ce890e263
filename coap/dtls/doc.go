// Package dtls is DTLS 1.2 under the CoAP endpoint (RFC 6347, RFC 7925): pion's
// handshakes behind a demultiplexer and before a record layer of our own. To the
// endpoint it is a packet connection like coap/udp, whose peers are sessions
// instead of addresses.
//
// # What the endpoint sees
//
// Each message comes from a Peer with a Session that is not 0. This Peer stays
// the same as long as the session does, wherever the device moves to: its Remote
// is where the handshake came from, and names nothing. Session tells who the
// device is (Credential.Identity, which is the device's id), where it is now,
// and whether it is known to receive there. Options.Ended tells when a session
// is over, before anything that the session in its place says; a message for one
// that is over is dropped, and nothing ever leaves unprotected. Session numbers do not outlive the process.
//
// # What a session costs
//
// Pion makes the handshake, and then its state is exported and pion's objects and
// goroutines go. What stays is some 900 bytes: keys, a window of 64 records, who
// and where the device is. Ciphers are made anew for each record, in
// less than a microsecond. Pion must send nothing once its state was taken, or two
// records would have the same nonce: as soon as our Finished has left, pion is fed
// nothing any more, and what came meanwhile is the session's. The last flight is
// kept until the device speaks: one that repeats its own did not get it.
//
// # Who gets in
//
// A device with a pre-shared key (CCM_8, CCM, GCM; ECDHE with ChaCha20) or a
// client certificate on P-256 from an authority of Credentials.Roots, whose
// subject CN is the device id (ECDHE-ECDSA with CCM_8 or GCM). Authenticated
// encryption alone: CBC does not go with connection ids.
//
// Several keys may be good at a time while one is rotated. A handshake tries one
// of them: the key is needed before the device has shown which it has. A device
// that has another is told at once (decrypt_error), and met with the next key
// when it comes again from the same host; the one that worked is remembered. So
// a device with the older of two keys needs two handshakes once, not for ever.
//
// A stranger goes through the same handshake with a key that nobody has, and
// gets the same alert as a device with a wrong key [RFC 4279 2]. How long
// Credentials.PSKs takes is for its owner to keep even.
//
// A certificate with several CNs names nobody.
//
// Whoever keeps credentials calls Recheck after one was revoked: the sessions
// that were made with it end at once, and so does a handshake that is under way.
// A sweep finds the same within CheckEvery.
//
// # What strangers can cost
//
// A datagram that does not begin with a well-formed record is dropped. A whole,
// well-formed ClientHello is asked for a cookie, in fewer bytes than it brought,
// and forgotten: the cookie is a MAC over what the hello says and where it came
// from, which counts for one to two minutes. Only who brings it back has a
// handshake, one of HandshakesMax for HandshakeTimeout, and HandshakesPerAddress
// of these; when all are taken, the oldest makes room once it has had a quarter of
// its time, and a hello that finds no place finds one when it is repeated. A
// cookie that does not count is answered with an alert, so that the device begins
// again. See cookie.go for how pion comes to believe in it.
//
// What is not protected never reaches a session that is. Records that do not
// open, replays (a window of 64) and alerts in clear change nothing.
//
// # Moving and rebooting
//
// A session with a connection id (RFC 9146, eight random bytes) is found by it
// from any address. The newest record's address is where answers go, but an
// address that has not proven that it receives gets at most three bytes for each
// that came from it. It is sent an empty CoAP confirmable with a random message
// id, and proves itself by the RST (RFC 7252 4.3), or the ACK that some stacks
// give: pion 3 has no return routability check (RFC 9853). The endpoint sees neither. A device that never
// answers pings is served within the bound.
//
// A device that rebooted on the same address and port handshakes anew beside its
// old session, which ends, without a word, when the new one is Finished and not
// before (RFC 6347 4.2.8). A device may have SessionsPerDevice; beyond that the
// quietest ends.
//
// # What it does not promise
//
// Sessions do not survive a restart: Close tells the devices, which handshake
// anew. No DTLS 1.3, no raw public keys, no session resumption, no hello in
// fragments. A handshake, unlike a session, can be ended by who forges its address
// at the right moment. A panic in one of pion's goroutines, in a handshake, ends
// the process; who has not proven his address reaches none of them. A device that
// holds good keys and lies about where it is can be sent what its own session is
// sent.
//
// # How it fails
//
// A slow session or a slow endpoint loses datagrams (Stats.Overflowed), as the
// network would. Run returns the network's error when a hundred reads in a row
// fail.
package dtls
