// Package storetest is the contract of a store as a suite: what any engine
// must do for the rest of Behest to be right. An engine's test calls
// Exercise.
//
// Half of the suite are named cases. The other half is a model: a store of
// maps and slices that is too simple to be wrong, held against the engine
// through random histories, over restarts too.
package storetest
