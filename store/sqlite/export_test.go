package sqlite

import "behest/command/ledger"

// The steps of a commit that a test can make fail.
type Step = step

const (
	StepBegin   = stepBegin
	StepWork    = stepWork
	StepSeal    = stepSeal
	StepCommit  = stepCommit
	StepReopen  = stepReopen
	StepBarrier = stepBarrier
)

// Steps are all of them, in order.
var Steps = []Step{StepBegin, StepWork, StepSeal, StepCommit, StepReopen, StepBarrier}

// Intercept has f run the steps from now on. It is called before Run.
func (s *Store) Intercept(f func(Step, func() error) error) { s.step = f }

// Migrations are the embedded ones.
var Migrations = migrations

// Exec runs SQL on the writer's connection, inside a commit.
func Exec(t ledger.Tx, q string) error { return t.(*tx).w.exec(q) }
