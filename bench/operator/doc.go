// Package operator is a client of the operator API for programs that put load
// on it and then want to know exactly what they were told.
//
// Every call ends in one of four ways, its Fate. Done: a 2xx came, so that what
// was asked is on disk. Refused: an answer came that says that nothing was done.
// Unreached: the request never left, since nobody listened. Unknown: it left,
// and no answer came, or the answer was that nobody knows; it may have been
// done. A program that counts losses must keep the four apart.
//
// It is written by hand and knows only the members that it needs: what the
// server's own types get wrong must not be read back by the same types.
package operator
