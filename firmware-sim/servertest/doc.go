// Package servertest is a small scripted command server for tests of devices:
// enough of the contract to be a device's other side, and to misbehave on
// purpose. It is built on the device's own message layer and wire format, so it
// proves nothing about the real server; the shared vectors and the tests against
// the real one do that.
//
// It keeps one device and one observation, shows a list that is not empty every
// RenotifyEvery, and takes the first outcome as the truth. Everything it started
// is over when Close returns.
package servertest
