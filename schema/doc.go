// Package schema holds params and results against the JSON Schemas of their
// command type, and turns params into the bytes that devices see.
//
// # What it promises
//
// A schema speaks of the JSON that the API takes and shows: bytes are
// {"$bytes": ".."} there too, and numbers are compared as they are written,
// never as a float64. It is JSON Schema 2020-12; 1.0 is an integer to it.
// Faults are named all at once, each with a pointer into the body that a person
// wrote: /params/rpm of a command, /params/properties/rpm of a type. `format`
// and the content keywords are annotations, as that draft has it.
//
// Nothing is ever fetched. A $ref begins with # and names a schema of its own
// document. $dynamicRef and a nested $id are refused; $id and $schema at the
// top are for other readers.
//
// What a schema costs is known before it is accepted, so that no report can
// hold up the server: see cost.go. Patterns are those of RE2, which take time
// in proportion to the text.
//
// No params are held against a schema as null. A type whose params may be left
// out says so: {"type": ["object", "null"]}.
//
// # What it does not promise
//
// A device is never judged by a schema. A result that does not hold is kept,
// and shown as not valid; the device did act.
//
// # How it fails
//
// Compile and Params answer with faults. Params has an error for what is no
// JSON, and for a type that was accepted and does not compile any more. A Set
// keeps what it compiled up to a bound of bytes, and then starts anew.
package schema
