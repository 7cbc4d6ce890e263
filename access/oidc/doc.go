// Package oidc takes the tokens of one identity provider, which an OpenID
// Connect issuer is, for people whom this server knows.
//
// # What a token does
//
// It proves that the provider calls its bearer so and so, and nothing else. An
// administrator has said of a user that this login is him (access.Login: the
// issuer, a claim, and what that claim says); who has no such user comes to
// nothing. What the user may do is ours, and is looked up with each request.
// So a user with a token of this server and two logins is one person: he
// approves once, and whoever disables him ends all of it at once.
//
// # What is taken
//
// A JWT (RFC 7519) in compact form, signed once, of at most TokenBytesMax, that
//
//   - is signed with an algorithm of the list in token.go, each of which has a
//     public key, by a key that the provider publishes for signatures and, if it
//     says so, for that algorithm. Keys and addresses of keys in a token (jwk,
//     jku, x5u, x5c) are not looked at; kid picks among the provider's keys
//   - is of the type (typ) JWT or at+jwt, or says none
//   - has exactly the issuer (go-oidc lets Google's leave out https://), and the
//     audience among its audiences
//   - has begun (nbf) and has not ended (exp), with leeway; exp is a must, and
//     not more than lifetimeMax away, since a token is not revoked by itself
//   - is no message about a session (events): logout tokens look like others
//   - has the claim that names the user. email counts if email_verified says so
//
// The audience is what keeps apart what was meant for others, so it has to be
// this server's own at the provider. Access tokens for it are what this is made
// for (RFC 9068); not all providers mark them (at+jwt), so that JWT is taken
// too, and with it an ID token, if its audience is this server: there are
// providers and command lines with which people have nothing else. ID tokens of
// other applications have other audiences.
//
// # Which claim
//
//	sub                  one person's for ever, at this issuer. The default
//	oid                  likewise, where sub differs by application
//	email                whoever has the address today; addresses are given to others
//	preferred_username   whoever has the name today, and people may choose it themselves
//
// A login holds its claim: other settings do not turn one into another's.
//
// # The provider
//
// Run asks it for its keys at the start, every Options.Every, and when a token
// names a key that is not there, but not more than once in Options.Again,
// however many do. Requests wait for that in waitersMax places, for waitMax at
// most. What the provider withdrew is not taken from then on. While it cannot be
// reached, the keys that it gave last go on for Options.Keep. Before and after
// that nobody is let in by it (access.ErrCannotTell); tokens of this server do
// not need it.
//
// Everything is fetched over TLS, from a provider on loopback in clear too, in
// fetchWithin and documentBytesMax. Where to, the operator has said, so it
// may be a private address.
//
// # Why not the library's key set
//
// Of go-oidc, discovery and the verifier are used, and not RemoteKeySet: it asks
// the provider again for each token with a bad signature, without a pause in
// between, and keeps what the provider withdrew until then. Signatures are
// go-jose's, as there.
package oidc
