// Command firmware-sim is one simulated device: it registers with a Behest
// server over plain CoAP, observes its open list, does with each command what
// its behaviours say, and reports until it is heard. With --state it remembers
// across restarts, as a real device does across power losses.
//
// It prints one line for each thing that happens, or with --json one JSON
// object. It ends with 0 when it was told to stop or its commands are done, 1
// when it cannot go on, 2 for a command line that it does not understand, and 3
// when a behaviour took the power away. It never removes its registration:
// a device that loses power does not say goodbye.
//
// The packages beside it are a library for tests that need devices. They share
// no code with the server, only the hex vectors in cbor/testdata/vectors.
package main
