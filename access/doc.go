// Package access says who somebody is and what they may do: users, the tokens
// that stand for them, roles, and the rule of every route.
//
// # Tokens
//
// A token is 50 characters: the prefix `bh_`, which lets a scanner find one
// that leaked; 8 characters of id, which may be shown and logged; 32 of
// secret, 160 bits from the system's generator; and 7 of checksum, so that a
// mistyped token is told from a foreign one without a look-up. The alphabet
// is Crockford's base 32 in lower case, without i, l, o and u.
//
//	bh_ 0a1b2c3d 00112233445566778899aabbccddeeff fz9k2m1
//	    id       secret                           checksum
//
// Only the SHA-256 of the secret is kept. A plain hash is enough, because
// there is nothing to guess in 160 random bits. Comparison takes the same time
// whether the id is known or not and wherever the secret differs.
//
// # Rules
//
// Rules holds one line per route of the operator API, and nothing outside it
// grants anything: a route without a rule is refused by the server before it
// starts. A rule names the roles that may; roles do not include each other.
//
// # Logins
//
// A user may have logins: how identity providers call him. Who proves one is
// him, as with a token; what proves it is package oidc's.
//
// # Origins
//
// WithOrigin says with a request's context from which address it came, and by
// which way its user did. A store
// puts that beside the actor of each event that the request leads to, in the
// same commit; whoever asks for something need not pass it on.
//
// # What it does not do
//
// It does no input or output, and it does not decide about single objects: an
// approver's own requests, a group's own devices. Those are rules of the use
// cases.
package access
