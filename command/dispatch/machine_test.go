package dispatch_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"behest/access"
	"behest/command"
	"behest/device"
	"behest/store/sqlite"
)

// machineFor bounds the runs where nobody says how many there are to be.
const machineFor = 15 * time.Second

// TestMachineKeepsThePromises has people, devices, clocks, crashes and restores do at
// random what they can, on the real store, and holds what comes of it against
// a naive model, after each step. `make machine` does so for longer.
func TestMachineKeepsThePromises(t *testing.T) {
	sum := sums{did: map[string]int{}}
	root, begun, bounded := t.TempDir(), time.Now(), true
	flag.Visit(func(f *flag.Flag) { bounded = bounded && f.Name != "rapid.checks" })
	rapid.Check(t, func(rt *rapid.T) {
		if bounded && time.Since(begun) > machineFor {
			return
		}
		failed := true
		defer func() { bounded = bounded && !failed }() // what fails is made smaller, for as long as that takes
		rapid.SyncTest(rt, func(rt *rapid.T) {
			m := newMachine(rt, root, &sum)
			rt.Repeat(m.actions())
			m.finish()
		})
		failed = false
		sum.runs++
	})
	t.Logf("%d runs in %s: %s", sum.runs, time.Since(begun).Round(time.Millisecond), &sum)
}

// sums are what the runs came to.
type sums struct {
	runs, acts, commands, executions, events, commits, faults, crashes, restarts, restores, looks int

	did  map[string]int
	ends [16]int // executions by their last state
}

func (s *sums) String() string {
	var ends []string
	for _, state := range command.States {
		if n := s.ends[state]; n > 0 {
			ends = append(ends, fmt.Sprintf("%s %d", state, n))
		}
	}
	var did []string
	for _, what := range slices.Sorted(maps.Keys(s.did)) {
		did = append(did, fmt.Sprintf("%s %d", what, s.did[what]))
	}
	return fmt.Sprintf("%d operations, %d crashes, %d restarts, %d restores, %d failed commits of %d, %d looks; %d commands, %d executions, %d events\nended as: %s\ndone: %s",
		s.acts, s.crashes, s.restarts, s.restores, s.faults, s.commits, s.looks, s.commands, s.executions, s.events,
		strings.Join(ends, ", "), strings.Join(did, ", "))
}

// serverClocks are short, so that a run sees all of them lapse.
var serverClocks = command.Clocks{
	ApproveWithin: 3 * time.Minute, UseWithin: 3 * time.Minute, HoldWithin: 5 * time.Minute, DeliverWithin: 2 * time.Minute,
	RunFor: time.Minute, CancelFor: 10 * time.Second, SettleFor: 2 * time.Minute,
}

// machine is one run: a world, and a model of it.
type machine struct {
	t      *rapid.T
	sum    *sums
	root   string
	p      *process
	ahead  atomic.Int64 // of the wall before the clock of the bubble
	synced atomic.Bool  // the system says that its clock is right

	things []*thing
	types  map[string]command.Type
	tries  []*try
	keys   []*keyed
	model  *model
	backup *backup       // the latest; nil: there is none
	latest time.Time     // that a process that is gone took it to be
	before time.Duration // that the clock of the last one that is gone was ahead of the wall
	trace  []string
	n      int // labels
}

// thing is a device.
type thing struct {
	name   string
	handle int64 // 0: it has not registered
	window int   // the largest that the server may go by
	sure   int   // the smallest
	port   uint16
	got    []uint32 // numbers that it was sent
	awake  bool     // it is always
}

// try is something that was asked for and makes a command.
type try struct {
	label    string
	typ      command.Type
	in       command.Intent
	undoes   command.ID
	answer   answer
	id       command.ID // that was answered, if one was
	rollback bool
}

// answer is what became of a request, as far as who asked knows.
type answer int

const (
	unsure answer = iota
	yes
	no
)

// keyed is a request that bears a key.
type keyed struct {
	claim command.Claim
	ins   []command.Intent
	tries []*try
	body  string // that was answered for sure; empty: none was
	empty bool   // it was answered for sure that nothing was accepted
}

// people are those who ask and decide. The first administers everything; what the
// others may changes.
var people = []string{"ann", "bob", "cid", "dot"}

func newMachine(t *rapid.T, root string, sum *sums) *machine {
	m := &machine{t: t, sum: sum, types: map[string]command.Type{}}
	dir, err := os.MkdirTemp(root, "run")
	m.ok(err)
	m.root = dir
	m.model = newModel(m)
	t.Cleanup(func() {
		if m.p != nil {
			m.p.drop()
		}
		_ = os.RemoveAll(m.root)
		if m.t.Failed() || len(m.trace) > 0 && os.Getenv("MACHINE_TRACE") != "" {
			m.t.Logf("what was done:\n%s", strings.Join(m.trace, "\n"))
		}
	})
	m.boot(filepath.Join(dir, "0"), true, true)
	for _, who := range people {
		grants := []access.Grant{{Role: access.Operator}, {Role: access.Approver}}
		if who == people[0] {
			grants = []access.Grant{{Role: access.Admin}}
		}
		_, _, err := m.p.PutUser(background, access.User{ID: who, Grants: grants}, 0, people[0])
		m.ok(err)
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "devices") {
		m.things = append(m.things, &thing{name: fmt.Sprintf("d%d", i), window: 1, sure: 1, port: uint16(40000 + i), awake: true})
	}
	m.regroup()
	for _, name := range typeNames {
		m.declare(name)
	}
	for _, d := range m.things {
		if m.seldom(3, "away") {
			continue
		}
		d.handle, err = m.p.Register(background, device.Registering{Name: d.name, From: d.speaker(), Lifetime: time.Hour, Window: 1})
		m.ok(err)
		_, _, err = m.p.Observe(background, d.name, d.speaker(), d.observation())
		m.ok(err)
		m.label(d)
	}
	m.settle()
	return m
}

func (m *machine) ok(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// note writes down what was done and what was answered.
func (m *machine) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf("%s  %s", m.p.clock.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...)))
}

// actions are the operations, the usual ones more often. One that there is
// nothing for is none.
func (m *machine) actions() map[string]func(*rapid.T) {
	always := func() bool { return true }
	lives := func() bool { return len(m.model.lives) > 0 }
	registered := func() bool { return len(m.registered()) > 0 }
	all := []struct {
		name  string
		often int
		can   func() bool
		do    func()
	}{
		{"report", 6, func() bool { return slices.ContainsFunc(m.things, func(d *thing) bool { return len(d.got) > 0 }) }, m.report},
		{"serve", 6, func() bool { return len(m.flying()) > 0 }, m.serve},
		{"exchange", 6, func() bool { return len(m.flying()) > 0 }, m.exchange},
		{"issue", 4, always, m.issue},
		{"wait", 4, always, m.wait},
		{"decide", 4, func() bool { return slices.ContainsFunc(m.model.lives, (*life).waits) }, m.decide},
		{"observe", 3, registered, m.observe},
		{"register", 2, always, m.register},
		{"roll back", 2, lives, m.rollBack},
		{"crash", 2, always, m.crash},
		{"cancel", 1, lives, m.cancel},
		{"issue many", 1, always, m.flood},
		{"issue under a key", 1, always, m.again},
		{"pause or resume", 1, func() bool { return slices.ContainsFunc(m.model.lives, (*life).staged) }, m.pause},
		{"get", 1, registered, m.get},
		{"race", 1, lives, m.race},
		{"step the wall", 1, always, m.stepWall},
		{"declare", 1, always, m.redeclare},
		{"edit or remove", 1, always, m.edit},
		{"give or take rights", 1, always, m.entitle},
		{"regroup", 1, always, m.regroup},
		{"cancel all of a device", 1, always, m.cancelDevice},
		{"deregister", 1, registered, m.deregister},
		{"back up", 1, always, m.backUp},
		{"restore", 1, func() bool { return m.backup != nil }, m.restore},
	}
	out := map[string]func(*rapid.T){}
	for round, more := 0, true; more; round++ {
		more = false
		for _, a := range all {
			if round >= a.often {
				continue
			}
			more = true
			// Actions are drawn by the order of their names, the first more often.
			out[fmt.Sprintf("%02d %s", len(out), a.name)] = func(t *rapid.T) {
				if !a.can() {
					t.Skip("there is nothing for it")
				}
				m.sum.acts++
				m.sum.did[a.name]++
				m.doom()
				a.do()
				m.settle()
			}
		}
	}
	return out
}

// doom draws what becomes of a commit that is to come: mostly what should.
func (m *machine) doom() {
	f := fate(max(0, rapid.IntRange(-25, int(fates)-1).Draw(m.t, "fate")))
	after := 0
	if f != kept {
		after = rapid.IntRange(0, 2).Draw(m.t, "after commits")
		m.trace = append(m.trace, fmt.Sprintf("fate %d after %d commits", f, after))
	}
	m.p.disk.doom(f, after)
}

// settle lets everything come to rest, and looks at it.
func (m *machine) settle() {
	for range 20 {
		time.Sleep(time.Millisecond)
		synctest.Wait()
		pulls := m.p.stage.pulls()
		if len(pulls) == 0 || m.p.disk.dead.Load() {
			break
		}
		for _, h := range pulls {
			if err := m.p.Pull(background, h); err != nil {
				m.p.stage.rested() // it is asked again
			}
		}
	}
	if m.p.disk.dead.Load() {
		m.note("the process died")
		m.revive()
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
	m.p.disk.doom(kept, 0)
	m.model.look()
}

// revive starts a process on what one that died has left.
func (m *machine) revive() {
	m.sum.crashes++
	dead := m.p
	m.bury(dead)
	m.boot(dead.disk.left, rapid.Bool().Draw(m.t, "trust"), rapid.IntRange(0, 3).Draw(m.t, "loops") < 3)
}

// bury ends what is left of a process, and forgets what was in the air.
func (m *machine) bury(p *process) {
	m.model.hear(p.stage)
	m.latest, m.before = latest(m.latest, p.clock.Now()), p.clock.Ahead()
	p.drop()
	m.p = nil
	m.sum.commits += p.disk.commits
	m.sum.faults += p.disk.faults
}

// answerOf is what an error says about a request that is one commit.
func answerOf(err error) answer {
	switch {
	case err == nil:
		return yes
	case errors.Is(err, errDead), command.CodeOf(err) == command.CodeOutcomeUnknown:
		return unsure
	}
	return no
}

// finish lets all clocks run, and sees that everything ends.
func (m *machine) finish() {
	if m.p.loops != nil {
		m.p.loops()
	}
	m.synced.Store(true)
	for range 40 {
		time.Sleep(6 * time.Second)
		m.p.stage.rested()
		m.settle()
		next := m.model.next()
		if next.IsZero() {
			break
		}
		time.Sleep(min(max(0, next.Sub(m.p.clock.Now())), 6*time.Hour))
	}
	m.model.over()
	p := m.p
	p.disk.kill()
	left := p.disk.left
	m.bury(p)
	report, err := sqlite.Check(context.Background(), filepath.Join(left, "db"))
	if err != nil || len(report.Faults) > 0 {
		m.t.Fatalf("the database does not hold: %v %+v", err, report)
	}
	m.model.count()
}

// one draws one of some.
func one[T any](m *machine, what string, some []T) T {
	return some[rapid.IntRange(0, len(some)-1).Draw(m.t, what)]
}

// seldom draws true once in n times; what shrinks is false.
func (m *machine) seldom(n int, what string) bool {
	return rapid.IntRange(0, n-1).Draw(m.t, what) == n-1
}

// span draws a duration from a second to a few minutes.
func (m *machine) span(what string) time.Duration {
	return rapid.SampledFrom([]time.Duration{time.Minute, 30 * time.Second, 10 * time.Second, time.Second, 4 * time.Minute}).Draw(m.t, what)
}

func (d *thing) known() bool { return d.handle != 0 }

func (m *machine) registered() (some []*thing) {
	for _, d := range m.things {
		if d.known() {
			some = append(some, d)
		}
	}
	return some
}
