// Package vault seals what the database may keep and not tell: the secrets of
// devices.
//
// # Keys
//
// A ring of master keys comes from a file beside the database, a line each:
//
//	2 f3a1...   64 hexadecimal digits
//	1 09be...
//
// The first seals; all of them open. To rotate, put another one first, with a
// version that was never used; what older ones sealed is sealed anew, and then
// they can go. HKDF-SHA256 makes what encrypts of each, under a label, so that
// a master key may serve for something else too.
//
// # Seals
//
// XChaCha20-Poly1305 with a random nonce of 24 bytes. What is sealed is bound
// to its device's name, its number among the device's, its kind and the
// version of the key: moved to another row, it does not open.
//
//	nonce    24 bytes
//	text     as long as the secret
//	tag      16 bytes
//
// # Digests
//
// Whether a secret is known already is told by its HMAC-SHA256. The key of
// these is random, sealed like the rest, and stays for good: a digest outlives
// its secret and the rotation of master keys.
//
// # What it does not promise
//
// Whoever has the key file and the database has the secrets. Whoever can write
// to the database can take rows away, or put back older ones of the same place.
// What was deleted may be on the disk for a while, sealed as it was.
package vault
