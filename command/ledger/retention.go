package ledger

import "time"

// AnswersMin is the least time for which an answer stands that was given under
// an idempotency key.
const AnswersMin = 24 * time.Hour

// Keeping says what a store keeps of what is over.
//
// A command goes, with all that hangs on it, once it has been wholly over for
// as long as Keep: every execution ended and settled, nothing pending, no gate.
// It stays longer while something may still ask for it:
//
//   - while a command that undoes it stays for reasons of its own;
//   - while it undoes one that stays, so that this one shows its rollback;
//   - while one of its executions is what its slot was last set to, or what
//     undoing a command that has not been over for Keep would bring back.
//
// Events go from the beginning of the log, and a command stays at least as long
// as the events of its life. Answers stay as long as what they made, and at
// least AnswersMin.
type Keeping struct {
	Keep time.Duration    // 0: for ever
	Now  func() time.Time // the server's time
	Held func() bool      // reports that nobody knows what time it is: nothing goes; nil: somebody does
}

// Removed counts what went.
type Removed struct{ Commands, Executions, Reports, Events, Answers int64 }

// Add adds others.
func (r *Removed) Add(o Removed) {
	r.Commands += o.Commands
	r.Executions += o.Executions
	r.Reports += o.Reports
	r.Events += o.Events
	r.Answers += o.Answers
}
