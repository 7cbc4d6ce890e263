package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Store is what the suite asks of an engine.
type Store interface {
	Hooks

	Run(ctx context.Context) error
	Close() error

	Update(ctx context.Context, lane ledger.Lane, f func(ledger.Tx) error) error
	Due(ctx context.Context, now time.Time, limit int) ([]ledger.Due, time.Time, error)
	Busy(ctx context.Context, after int64, limit int) ([]int64, error)
	Sessions(ctx context.Context, after int64, limit int) ([]int64, error)
	Pending(ctx context.Context, limit int) ([]int64, error)
	OwnParams(ctx context.Context, commandN int64, limit int) ([]command.Target, error)
	GatesDue(ctx context.Context, now time.Time, limit int) ([]int64, time.Time, error)
	Gates(ctx context.Context, after int64, limit int) ([]int64, error)
	GateTally(ctx context.Context, commandN int64) (command.Gate, command.Tally, error)
	Held(ctx context.Context, commandN int64, visit func(device.Device) error) error
	Holding(ctx context.Context, device int64) ([]int64, error)
	Pick(ctx context.Context, visit func(device.Device) error) error
	Groups(ctx context.Context) ([]device.Group, error)
	GroupPage(ctx context.Context, after string, limit int) ([]device.Group, bool, error)
	GroupNamed(ctx context.Context, name string) (device.Group, error)
	User(ctx context.Context, id string) (access.User, error)
	Users(ctx context.Context, after string, limit int) ([]access.User, bool, error)
	UserTokens(ctx context.Context, user string) ([]access.TokenRecord, error)
	AllTokens(ctx context.Context) ([]access.TokenRecord, error)
	Credentials(ctx context.Context, device string) ([]device.Credential, error)
	Doorway(ctx context.Context, device string) ([]device.Credential, bool, error)
	SealedWith(ctx context.Context) ([]device.Credential, error)
	SealedBefore(ctx context.Context, key, limit int) ([]device.Credential, error)
	DigestKey(ctx context.Context) (device.Seal, error)
	Awaiting(ctx context.Context, after int64, limit int) ([]command.View, bool, error)

	Command(ctx context.Context, id command.ID) (command.View, error)
	Commands(ctx context.Context, f command.Filter) ([]command.View, bool, error)
	Execution(ctx context.Context, id command.ID, device string) (command.Execution, []command.PastReport, error)
	Executions(ctx context.Context, id command.ID, state string, after int64, limit int) ([]command.Execution, bool, error)
	AllExecutions(ctx context.Context, f command.ExecutionFilter) ([]command.Execution, int64, error)
	CommandSeen(ctx context.Context, id command.ID, sees command.Sees) (command.View, error)
	ExecutionsSeen(ctx context.Context, id command.ID, state string, after int64, limit int, sees command.Sees) ([]command.Execution, bool, error)
	Device(ctx context.Context, name string) (device.View, error)
	Devices(ctx context.Context, f device.Filter) ([]device.View, bool, error)
	Type(ctx context.Context, name string) (command.Type, error)
	TypeVersion(ctx context.Context, name string, version int) (command.Type, error)
	OpenUnder(ctx context.Context, code uint16, except string) (string, error)
	Types(ctx context.Context, after string, limit int) ([]command.Type, bool, error)

	Events(ctx context.Context, after command.Place, f command.EventFilter, limit int) ([]command.Event, command.Place, error)
	End(ctx context.Context) (command.Place, error)
	Changed() <-chan struct{}
	Retain(ctx context.Context, k ledger.Keeping) (ledger.Removed, error)
	Health(ctx context.Context) error
}

// Engine is a kind of store.
type Engine struct {
	Open  func(t testing.TB, dir string) Store // what is in dir, or a new one; it does not run yet
	Check func(t testing.TB, dir string)       // fails the test when the store in dir, which nobody has open, is not sound
}

// Exercise runs the suite.
func Exercise(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"Devices", testDevices},
		{"Commands", testCommands},
		{"Seals", testSeals},
		{"Saves", testSaves},
		{"Types", testTypes},
		{"Fleets", testFleets},
		{"Gates", testGates},
		{"Decisions", testDecisions},
		{"Rollbacks", testRollbacks},
		{"OwnParams", testOwnParams},
		{"Slots", testSlots},
		{"Groups", testGroups},
		{"People", testPeople},
		{"Credentials", testCredentials},
		{"Sight", testSight},
		{"Picks", testPicks},
		{"Answers", testAnswers},
		{"Members", testMembers},
		{"Hooks", testHooks},
		{"Shutdown", testShutdown},
		{"Clocks", testClocks},
		{"Lists", testLists},
		{"AllExecutions", testAllExecutions},
		{"Reports", testReports},
		{"Log", testLog},
		{"Crowd", testCrowd},
		{"Model", testModel},
		{"Retention", testRetention},
	})
}

// testCase is one promise, by name.
type testCase struct {
	name string
	test func(*testing.T, Engine)
}

func each(t *testing.T, e Engine, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, e) })
	}
}

// rig is a running store in a directory of its own.
type rig struct {
	Store
	t    testing.TB
	e    Engine
	dir  string
	stop context.CancelFunc
	ran  chan error
}

// start runs a new store, which is closed and checked when the test ends.
func start(t testing.TB, e Engine) *rig {
	r := &rig{t: t, e: e, dir: t.TempDir()}
	r.open()
	t.Cleanup(func() {
		r.close()
		e.Check(t, r.dir)
	})
	return r
}

func (r *rig) open() {
	r.t.Helper()
	r.Store = r.e.Open(r.t, r.dir)
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.ran = stop, make(chan error, 1)
	s, ran := r.Store, r.ran
	go func() { ran <- s.Run(ctx) }()
}

func (r *rig) close() {
	r.t.Helper()
	r.stop()
	if err := errors.Join(<-r.ran, r.Close()); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

// restart closes the store and opens it again.
func (r *rig) restart() {
	r.t.Helper()
	r.close()
	r.open()
}

// do commits f.
func (r *rig) do(f func(ledger.Tx) error) {
	r.t.Helper()
	if err := r.Update(access.WithOrigin(context.Background(), here, ""), ledger.Issues, f); err != nil {
		r.t.Fatalf("update: %v", err)
	}
}

// refused runs f, which must fail with a code.
func (r *rig) refused(code command.Code, f func(ledger.Tx) error) {
	r.t.Helper()
	wantCode(r.t, r.Update(context.Background(), ledger.Issues, f), code)
}

func wantCode(t testing.TB, err error, code command.Code) {
	t.Helper()
	if err == nil || command.CodeOf(err) != code {
		t.Errorf("got error %v, want one of code %q", err, code)
	}
}

// must is for what cannot fail in a sound store.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
