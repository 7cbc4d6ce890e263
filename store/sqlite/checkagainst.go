package sqlite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"time"

	"behest/command"
	"behest/device"
)

// Kept are checkpoints that were kept elsewhere, for a check to hold the log
// against.
type Kept struct {
	Lines []byte                         // as the server wrote them
	Keys  []ed25519.PublicKey            // that may have signed them; nil: the one beside the database
	Opens func(*device.Credential) error // as of CheckSeals
}

// Against is what came of it.
type Against struct {
	Held    int           // checkpoints that the log was held against, and agrees with
	Gone    int           // of those, before the place where the log was cut and signed
	Last    command.Place // the greatest of them
	Signed  time.Time     // when that was signed
	Partial bool          // the last line has no end: it was being written, and was not looked at
}

// CheckAgainst is Check, which also holds the log against checkpoints that were
// kept elsewhere. Those alone show what somebody changed who can compute hashes,
// and what was taken off the end before the last of them.
func CheckAgainst(ctx context.Context, path string, kept Kept) (Report, error) {
	a := &anchors{kept: kept}
	report, err := examine(ctx, path, kept.Opens, a)
	report.Against = a.found
	return report, err
}

// anchors are the kept checkpoints that the log has not come to yet.
type anchors struct {
	kept  Kept
	found Against
	at    map[int64][]anchored // by the number of the event

	end      command.Place   // how far the log is
	restored []command.Place // where it was when it was restored: later events are of other epochs
}

type anchored struct {
	line int
	command.Checkpoint
}

// read verifies the lines, each by itself.
func (a *anchors) read(report *Report, genesis []byte, dir string) {
	if a == nil {
		return
	}
	if a.kept.Keys == nil {
		key, err := readLogKeyPublic(dir)
		if err != nil {
			report.fault("no key to verify checkpoints with: %v", err)
		}
		a.kept.Keys = []ed25519.PublicKey{key}
	}
	a.at = make(map[int64][]anchored)
	n := 0
	for line := range bytes.Lines(a.kept.Lines) {
		n++
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		if !whole {
			a.found.Partial = true
			break
		}
		c, err := command.ParseCheckpoint(text)
		switch {
		case err != nil:
			report.fault("line %d is no checkpoint: %v", n, err)
			continue
		case !bytes.Equal(c.Log[:], genesis):
			report.fault("line %d is of another log, %.8x...; this is %.8x...", n, c.Log, genesis)
			continue
		}
		if err := c.Verify(a.kept.Keys...); err != nil {
			report.fault("line %d: %v", n, err)
			continue
		}
		a.at[c.At.N] = append(a.at[c.At.N], anchored{n, c})
	}
	if n == 0 || n == 1 && a.found.Partial {
		report.fault("there is no checkpoint to hold the log against")
	}
}

// meet holds the checkpoints at the end of a commit against it.
func (a *anchors) meet(report *Report, last int64, epoch uint32, hash []byte) {
	if a == nil {
		return
	}
	if a.end.Epoch != 0 && epoch > a.end.Epoch {
		a.restored = append(a.restored, a.end)
	}
	a.end = command.Place{Epoch: epoch, N: last}
	for _, c := range a.at[last] {
		if a.lost(report, c) {
			continue
		}
		if !bytes.Equal(c.Hash[:], hash) || c.At.Epoch != epoch {
			report.fault("line %d: event %s is sealed by %x there and by %x in the log, which was rewritten", c.line, c.At, c.Hash, hash)
			continue
		}
		a.hold(c)
	}
	delete(a.at, last)
}

// lost says of a checkpoint that it is of what a restore left behind, if it is.
// That is a fault like others: who takes the end off a log can write another
// epoch behind it.
func (a *anchors) lost(report *Report, c anchored) bool {
	for _, after := range a.restored {
		if c.At.Epoch <= after.Epoch && c.At.N > after.N {
			report.fault("line %d: event %s was lost: the store was restored after event %s", c.line, c.At, after)
			return true
		}
	}
	return false
}

func (a *anchors) hold(c anchored) {
	a.found.Held++
	if c.At.N >= a.found.Last.N {
		a.found.Last, a.found.Signed = c.At, c.SignedAt
	}
}

// rest are the checkpoints that no commit ended at.
func (a *anchors) rest(report *Report, cut, end int64) {
	if a == nil {
		return
	}
	for n, all := range a.at {
		for _, c := range all {
			switch {
			case n <= cut:
				a.found.Gone++
				a.hold(c)
			case a.lost(report, c):
			case n > end:
				report.fault("line %d: event %s is not in the log, which ends with event %d: it was cut short", c.line, c.At, end)
			default:
				report.fault("line %d: no commit ends with event %s in the log, which was rewritten", c.line, c.At)
			}
		}
	}
}
