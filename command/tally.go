package command

// Tally counts the executions of one command, and says from that how the
// command as a whole stands.
type Tally struct {
	Count     [stateEnd]int  // by state
	Effects   [effectEnd]int // by effect, of those that have ended
	Unsettled int            // timed_out ones whose truth may still come
	Pending   int            // devices of it that are not written out as executions yet
}

// Add counts x.
func (t *Tally) Add(x Execution) { t.AddN(x.State, x.Effect, x.Settled, 1) }

// AddN counts n executions that are alike in what a tally asks.
func (t *Tally) AddN(s State, e Effect, settled bool, n int) {
	t.Count[s] += n
	if s.Ended() {
		t.Effects[e] += n
	}
	if s == TimedOut && !settled {
		t.Unsettled += n
	}
}

// Total is how many executions were counted.
func (t *Tally) Total() (n int) {
	for _, c := range t.Count {
		n += c
	}
	return n
}

// ended is how many have.
func (t *Tally) ended() (n int) {
	for _, s := range States {
		if s.Ended() {
			n += t.Count[s]
		}
	}
	return n
}

// Ended reports whether every execution has ended. A command without any is one
// that no device had room for.
func (t *Tally) Ended() bool {
	for _, s := range States {
		if !s.Ended() && t.Count[s] > 0 {
			return false
		}
	}
	return t.Pending == 0
}

// Settled reports whether nothing can change any more.
func (t *Tally) Settled() bool { return t.Ended() && t.Unsettled == 0 }

// Outcome is the sum of a command's executions. It is empty while one is open.
type Outcome string

const (
	Open         Outcome = ""
	AllSucceeded Outcome = "all_succeeded"
	SomeUnknown  Outcome = "some_unknown" // may still change while not settled
	NoneDone     Outcome = "none_done"
	SomeFailed   Outcome = "some_failed"
)

// Outcome is what the command came to.
func (t *Tally) Outcome() Outcome {
	switch n := t.Total(); {
	case !t.Ended():
		return Open
	case t.Effects[EffectUnknown] > 0:
		return SomeUnknown
	case t.Effects[EffectNone] == n: // also of none at all
		return NoneDone
	case t.Count[Succeeded] == n:
		return AllSucceeded
	default:
		return SomeFailed
	}
}

// State is the state of a command over many devices. (A command on one device
// has the state of its execution.)
func (t *Tally) State() string {
	switch n := t.Total(); {
	case t.Pending > 0:
		return "open"
	case n == 0:
		return "ended"
	case t.Count[AwaitingApproval] == n:
		return "awaiting_approval"
	case t.Ended() && t.Count[Denied] > 0: // who was canceled alone before does not count
		return "denied"
	case t.Count[Scheduled] == n:
		return "scheduled"
	case t.Ended():
		return "ended"
	default:
		return "open"
	}
}
