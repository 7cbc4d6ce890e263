// Package cbor turns the bytes that devices see into values and back, and maps
// JSON to CBOR and back.
//
// # Layout
//
// Two messages cross the wire. Their full grammar is behest.cddl; their bytes,
// with meanings, are testdata/vectors.
//
// The open list goes to the device:
//
//	82                           two entries, ascending seq
//	   a4                        a command:
//	      01 1a 6553f101         1: seq
//	      02 6a 70756d702e..     2: its type's name, or the type's wire code
//	      03 a1 63 72706d ..     3: params, if any: one item
//	      04 19 0e10             4: seconds left in which it may be started
//	                             5: run_for, 6: report_every (seconds), 8: true if fresh
//	   a2                        a cancel, exactly this:
//	      01 1a 6553f102         1: seq
//	      07 f5                  7: true
//
// The report comes from the device:
//
//	a3                           three fields
//	   01 01                     1: status: 0 running, 1 success, 2 failure, 3 rejected, 4 canceled
//	   05 a1 62 6f6b f5          5: result: one item
//	   09 02                     9: n, the number of this report
//	                             2: progress, 3: code, 4: text, 6: effect, 7: next, 8: prev
//
// # Promises
//
// Out: core deterministic encoding [RFC 8949 4.2.1], with one exception that a
// command type may ask for: no float shorter than float32. Params go out as
// they are given, once they were checked to be one sound item.
//
// In: one item and nothing behind it, well-formed, definite lengths only, keys
// unique by value [RFC 8949 5.6.1], text in UTF-8. Anything else is refused.
// Long integers, long floats and unsorted keys are accepted: a device need not
// encode deterministically. Unsigned keys that the contract does not name are
// ignored in both directions; that is how the protocol grows.
//
// Arrays, maps and tags nest at most DepthMax deep in each value of a message.
// The containers of the message itself, which are a report's map, the list and
// an entry's map, do not count: params of eight levels can come back as a prev.
//
// In a sound report only key 1 decides whether it counts. The device did act,
// so a field of the wrong type or over its limit is left out and never held
// against it; Report.Odd then keeps the whole report. The same goes for a key
// that is no unsigned integer. A tag is sound CBOR that a decoder need not
// understand [RFC 8949 3.4]: inside a result, a prev or an unknown key it is
// kept; around any other field it is a wrong type; around the report itself it
// hides key 1, so the report is refused.
//
// A decoder allocates in proportion to the bytes that came, never to a number
// that a header claims, and keeps no reference to its input. The proportion is
// that of Go's maps and interfaces: some 300 bytes for one at the very worst.
//
// # JSON
//
// FromJSON follows [RFC 8949 6.2]. A number without fraction or exponent is an
// integer of at most 64 bits; any other number takes the shortest float that
// holds it exactly. {"$bytes": "base64url"} alone is a byte string. What the
// mapping would change is refused, every fault with its place.
//
// ToJSON is the inverse: FromJSON(ToJSON(x)) is x for a deterministic x that
// JSON can carry. A float keeps a fraction or an exponent, so that it stays a
// float. What JSON cannot carry (tags, simple values, NaN, keys that are no
// text, negative integers past 64 bits) shows whole as {"$cbor": "hex"}. Names
// stand in the order of encoding/json, by their bytes.
//
// The two names are therefore reserved: a key of a map that is $bytes or $cbor,
// or one of these behind more dollars, gains a dollar in JSON and loses it on
// the way back. {"$$bytes": 1} is the map {"$bytes": 1}. {"$cbor": ..} is
// refused as params: it would bring in what no schema can see.
//
// # Failures
//
// Every error is a *command.Error. DecodeReport and DecodeList answer
// CodeMalformed with a text of at most DiagnosticBytesMax bytes, fit for the
// diagnostic payload of a 4.00, or CodeTooLarge past command.ReportBytesMax.
// FromJSON answers CodeMalformed for what is no JSON, CodeInvalid otherwise.
// AppendList and AppendReport answer CodeInternal: they were handed a value
// that the wire cannot carry, and write nothing.
//
// # What the library decides
//
// github.com/fxamacker/cbor reads and writes all CBOR here; decision 0007 says
// why. Ours are the modes that it runs in, the contract above, and the keys that
// Go cannot compare (item.go). In these corners its answer is ours:
//
//   - The text of a refusal of bytes, less its "cbor: " and what is past
//     DiagnosticBytesMax. It seldom says at which byte.
//   - A tag counts as a level only if it stands directly in another one.
//   - Two keys are the same if Go says that their values are. So 0.0 and -0.0
//     are one, as are null and undefined; a NaN is never the same as another.
//     Byte strings, arrays and maps, also tagged, are the same if their
//     deterministic forms are: there 0.0 and -0.0 are two, and all NaNs one.
//   - Tag 55799, with which CBOR describes itself, is looked through. Directly
//     around a field it is not kept.
//   - Tags 0 to 3 (times and bignums) must hold what they are for, and a time
//     must be one that Go has. If not, the field or the key that they are in is
//     odd, and nobody looks for further faults in it. Behind a key or a field
//     that is such a tag itself, bad text or a key said twice within another
//     field makes that one odd, too, and no more. A key of the report itself
//     that the contract names is refused even then if it is said twice.
//   - An array or a map has at most as many elements as a report has bytes.
package cbor
