// Package dispatch holds the use cases of Behest and the loops that move
// state: what an operator asks, what a device reports, what a clock decides.
//
// Each use case is one unit of work on the store, and has one shape: read,
// step, write, and only then tell. What leaves for a device was committed as
// Sent before; what a waiting operator is told was committed before. If the
// process dies between the commit and the telling, the next start tells.
//
// # A device's turn
//
// Whatever touches a device ends with its turn, in the same commit: if a
// notification could leave for it now, the commands whose time has come are
// released under the next sequence numbers. After the commit the presenter is
// handed the device's open list. Lists bear a generation that grows in commit
// order, so that a younger list is never replaced by an older one.
//
// # What several people decide
//
// A command that needs an approval waits, and names by its digest what would
// go. A decision is counted in the commit that it moves something in, so that
// of approving, denying, canceling and the clock one wins. As an execution
// leaves, who asked for it and what was approved are looked at once more; what
// does not hold any more is withdrawn. Of many devices the list is held against
// the digest as a whole: see intact.go. Who could approve is counted when a type
// is declared, never when a user is locked out: see able.go.
//
// # What somebody wrote into the store
//
// With Options.Key each execution is sealed when it is accepted, over what never
// changes in it, and its seal is looked at before it is released and before each
// list that shows it. What does not fit is withdrawn: see seal.go. Labels,
// progress and the list of those that still wait without an approval have no
// seal.
//
// # The loops
//
// Run starts them and waits for them: one takes the transport's facts (ACKs,
// silence) to the store in groups, one lapses clocks, one presents after a
// start what was open before it. Every wake-up is a hint; the store is asked
// for the truth, and would be asked again without the hint.
//
// # How it fails
//
// A refusal is a *command.Error. A commit whose outcome is unknown comes back
// as CodeOutcomeUnknown to whoever asked; the dispatcher then reads from the
// store again what is open and presents it anew, as after a start.
package dispatch
