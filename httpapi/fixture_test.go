package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"behest/access"
	"behest/command"
	"behest/device"
	"behest/schema"
)

var update = flag.Bool("update", false, "write the golden files anew; read them before they are committed")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the present of every test.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// id names the command of most tests.
var id = command.ID{0x01, 0x9a, 0xb3, 0xc4, 0x5d, 0x6e, 0x7f, 0x80, 0x9a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x60, 0x71}

// desk stands for the use cases and the store. What a test does not set
// answers with the one command and the one device below.
type desk struct {
	issue        func(ctx context.Context, in command.Intent) (command.Issued, error)
	cancel       func(id command.ID, devices []string, by string) (command.View, error)
	cancelDevice func(name, by string) (int, error)
	wait         func(ctx context.Context, id command.ID) (command.View, error)
	put          func(name string, e device.Edit, by string) (device.View, bool, error)
	edit         func(name string, e device.Edit, by string) (device.View, error)
	remove       func(name string, ifVersion int64, by string) error
	putType      func(t command.Type, ifVersion int, by string) (command.Type, bool, error)
	retire       func(name string, ifVersion int, by string) error
	types        func(after string, limit int) ([]command.Type, bool, error)
	typeNamed    func(name string) (command.Type, error)
	typeVersion  func(name string, version int) (command.Type, error)
	command      func(id command.ID) (command.View, error)
	commands     func(f command.Filter) ([]command.View, bool, error)
	execution    func(id command.ID, device string) (command.Execution, []command.PastReport, error)
	executions   func(id command.ID, state string, after int64, limit int) ([]command.Execution, bool, error)

	allExecutions func(f command.ExecutionFilter) ([]command.Execution, int64, error)
	device        func(name string) (device.View, error)
	devices       func(f device.Filter) ([]device.View, bool, error)
	health        func(ctx context.Context) error
	desked

	mu   sync.Mutex
	kept map[[32]byte]kept // answers under keys
}

type kept struct {
	request [32]byte
	body    []byte
}

func (d *desk) Issue(ctx context.Context, in command.Intent) (command.Issued, error) {
	if d.issue != nil {
		return d.issue(ctx, in)
	}
	item, faults, err := schemas.Params(command.Type{Name: in.Type, Policy: command.Policy{Large: true}}, in.Params)
	if err != nil {
		return command.Issued{}, err
	}
	if len(faults) > 0 {
		return command.Issued{}, &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
	}
	v := pumpCommand(command.Queued)
	v.Command.Type, v.Command.Params, v.Command.RequestedBy = in.Type, item, in.RequestedBy
	v.Command.Labels, v.Command.Reason, v.Command.NotBefore = in.Labels, in.Reason, in.NotBefore
	return command.Issued{View: v}, nil
}

func (d *desk) IssueBatch(ctx context.Context, in []command.Intent) ([]command.Issued, []error, error) {
	issued, errs := make([]command.Issued, len(in)), make([]error, len(in))
	for i := range in {
		issued[i], errs[i] = d.Issue(ctx, in[i])
	}
	return issued, errs, nil
}

func (d *desk) IssueOnce(ctx context.Context, once command.Claim, in []command.Intent,
	render func([]command.Issued, []error) []byte) (body []byte, again bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k, there := d.kept[once.Key]; there {
		if k.request != once.Request {
			return nil, false, command.Errorf(command.CodeConflict, "the key was used for another request")
		}
		return k.body, true, nil
	}
	issued, errs, _ := d.IssueBatch(ctx, in)
	body = render(issued, errs)
	if slices.Contains(errs, nil) {
		if d.kept == nil {
			d.kept = make(map[[32]byte]kept)
		}
		d.kept[once.Key] = kept{once.Request, body}
	}
	return body, false, nil
}

func (d *desk) Cancel(_ context.Context, id command.ID, devices []string, by string) (command.View, error) {
	if d.cancel != nil {
		return d.cancel(id, devices, by)
	}
	return pumpCommand(command.Canceled), nil
}

func (d *desk) CancelDevice(_ context.Context, name, by string) (int, error) {
	if d.cancelDevice != nil {
		return d.cancelDevice(name, by)
	}
	return 3, nil
}

func (d *desk) Wait(ctx context.Context, id command.ID) (command.View, error) {
	if d.wait != nil {
		return d.wait(ctx, id)
	}
	return pumpCommand(command.Succeeded), nil
}

func (d *desk) PutDevice(_ context.Context, name string, e device.Edit, by string) (device.View, bool, error) {
	if d.put != nil {
		return d.put(name, e, by)
	}
	return pump(), true, nil
}

func (d *desk) EditDevice(_ context.Context, name string, e device.Edit, by string) (device.View, error) {
	if d.edit != nil {
		return d.edit(name, e, by)
	}
	return pump(), nil
}

func (d *desk) RemoveDevice(_ context.Context, name string, ifVersion int64, by string) error {
	if d.remove != nil {
		return d.remove(name, ifVersion, by)
	}
	return nil
}

func (d *desk) PutType(_ context.Context, t command.Type, ifVersion int, by string) (command.Type, bool, error) {
	if d.putType != nil {
		return d.putType(t, ifVersion, by)
	}
	t.Version, t.CreatedAt, t.CreatedBy = 1, noon, by
	return t, true, nil
}

func (d *desk) RetireType(_ context.Context, name string, ifVersion int, by string) error {
	if d.retire != nil {
		return d.retire(name, ifVersion, by)
	}
	return nil
}

func (d *desk) Type(_ context.Context, name string) (command.Type, error) {
	switch {
	case d.typeNamed != nil:
		return d.typeNamed(name)
	case name != "pump.start":
		return command.Type{}, command.Errorf(command.CodeNotFound, "no command type is called %q", name)
	}
	return pumpType(), nil
}

func (d *desk) TypeVersion(_ context.Context, name string, version int) (command.Type, error) {
	if d.typeVersion != nil {
		return d.typeVersion(name, version)
	}
	t := pumpType()
	t.Version = version
	return t, nil
}

func (d *desk) Types(_ context.Context, after string, limit int) ([]command.Type, bool, error) {
	if d.types != nil {
		return d.types(after, limit)
	}
	return []command.Type{pumpType()}, false, nil
}

func (d *desk) Command(_ context.Context, want command.ID) (command.View, error) {
	switch {
	case d.command != nil:
		return d.command(want)
	case want != id:
		return command.View{}, command.Errorf(command.CodeNotFound, "no command has the id %s", want)
	}
	return pumpCommand(command.Succeeded), nil
}

func (d *desk) Commands(_ context.Context, f command.Filter) ([]command.View, bool, error) {
	if d.commands != nil {
		return d.commands(f)
	}
	return []command.View{pumpCommand(command.Succeeded)}, false, nil
}

func (d *desk) Execution(_ context.Context, id command.ID, device string) (command.Execution, []command.PastReport, error) {
	if d.execution != nil {
		return d.execution(id, device)
	}
	x := *pumpCommand(command.Succeeded).Only
	return x, []command.PastReport{{At: x.ReportedAt, Report: x.Last}}, nil
}

func (d *desk) Executions(_ context.Context, id command.ID, state string, after int64, limit int) ([]command.Execution, bool, error) {
	if d.executions != nil {
		return d.executions(id, state, after, limit)
	}
	return []command.Execution{*pumpCommand(command.Succeeded).Only}, false, nil
}

func (d *desk) Device(_ context.Context, name string) (device.View, error) {
	switch {
	case d.device != nil:
		return d.device(name)
	case name != "pump-7":
		return device.View{}, command.Errorf(command.CodeNotFound, "no device is called %q", name)
	}
	return pump(), nil
}

func (d *desk) Devices(_ context.Context, f device.Filter) ([]device.View, bool, error) {
	if d.devices != nil {
		return d.devices(f)
	}
	return []device.View{pump()}, false, nil
}

func (d *desk) Health(ctx context.Context) error {
	if d.health != nil {
		return d.health(ctx)
	}
	return nil
}

// pumpType is the command type of most tests.
func pumpType() command.Type {
	t := command.Type{
		Name: "pump.start", Version: 3, CreatedAt: noon.AddDate(0, -1, 0), CreatedBy: "ann",
		Policy: command.Policy{WireCode: 7, Redelivery: command.Once, Fresh: true},
		Params: json.RawMessage(`{"type":"object","properties":{"rpm":{"type":"integer"}},"required":["rpm"]}`),
		Slot:   []string{"/rpm"}, Significance: command.Elevated,
	}
	t.Clocks.DeliverWithin = command.Bound{Default: time.Minute}
	t.Clocks.RunFor = command.Bound{Default: 30 * time.Second, Max: time.Hour}
	return t
}

// schemas turn the params of the tests into CBOR.
var schemas = schema.New()

// pump is the device of most tests.
func pump() device.View {
	return device.View{Open: 1, Device: device.Device{
		Handle: 1, Name: "pump-7", Version: 12,
		Registration: device.Registration{At: noon.Add(-time.Hour), Lifetime: 25 * time.Hour, Params: map[string]string{"et": "pump"}},
		Observation:  device.Observation{At: noon.Add(-time.Hour), Endpoint: device.Endpoint{Remote: netip.MustParseAddrPort("192.0.2.7:49152")}},
		SeenAt:       noon.Add(-time.Minute), LastSeq: 1795521600, ReportedSeq: 1795521600,
		Labels: map[string]string{"site": "a"}, AckTimeout: 2500 * time.Millisecond, CreatedAt: noon.AddDate(0, -1, 0),
	}}
}

// pumpCommand is a command on pump-7 in state s.
func pumpCommand(s command.State) command.View {
	c := &command.Command{
		N: 41, ID: id, Type: "pump.start", Clocks: command.DefaultClocks,
		Params:  []byte{0xa1, 0x63, 'r', 'p', 'm', 0x19, 0x04, 0xb0},
		Targets: command.Targets{Devices: []string{"pump-7"}}, Devices: 1,
		RequestedBy: "ann", CreatedAt: noon,
	}
	x := command.Execution{Command: c, N: 42, Device: 1, Name: "pump-7", State: s, QueuedAt: noon}
	if !s.Unsent() && s != command.Canceled {
		x.Seq, x.Attempts, x.Effect = 1795521600, 1, command.EffectUnknown
		x.SentAt, x.DeliveredAt = noon.Add(4*time.Millisecond), noon.Add(31*time.Millisecond)
	}
	if s.Ended() {
		x.EndedAt = noon.Add(3127 * time.Millisecond)
	}
	if s == command.Succeeded {
		x.Effect, x.ReportedAt = command.EffectApplied, x.EndedAt
		x.Last = command.Report{Status: command.StatusSuccess, Result: []byte{0xa1, 0x62, 'o', 'k', 0xf5}}
	}
	v := command.View{Command: c, Only: &x}
	v.Tally.Add(x)
	return v
}

// service is a server on a real listener, with a token for each role.
type service struct {
	t      *testing.T
	url    string
	tokens map[string]string // by the name of the role
	keeper *keeper
	srv    *Server
	log    *lines
	stop   func()
	client *http.Client
	router routers.Router
}

// adopt lets a token of an earlier service stand for the operator.
func (s *service) adopt(text string) {
	s.t.Helper()
	token, err := access.ParseToken(text)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.keeper.Add(token, access.Identity{User: "operator-1", Roles: access.Operator}); err != nil {
		s.t.Fatal(err)
	}
}

// lines is what the log has.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts a server over u and r until the test ends.
func serve(t *testing.T, u UseCases, r Reads, o Options) *service {
	t.Helper()
	s := &service{t: t, tokens: make(map[string]string), keeper: newKeeper(), log: new(lines)}
	for _, role := range []access.Roles{access.Viewer, access.Operator, access.Approver, access.Admin} {
		text := access.NewToken()
		token, err := access.ParseToken(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.keeper.Add(token, access.Identity{User: role.String() + "-1", Roles: role}); err != nil {
			t.Fatal(err)
		}
		s.tokens[role.String()] = text
	}
	o.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Version = "1.2.3"
	if o.Webhooks == nil {
		o.Webhooks = &hookDesk{}
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	srv, err := New(u, r, s.keeper, o)
	if err != nil {
		t.Fatal(err)
	}
	s.srv = srv
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	if s.router, err = legacy.NewRouter(doc, openapi3.DisableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		s.client.CloseIdleConnections()
	})
	t.Cleanup(s.stop)
	return s
}

// bare is a server that serves nobody yet.
func bare(t testing.TB, d *desk) *Server {
	t.Helper()
	srv, err := New(d, d, newKeeper(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.close)
	return srv
}

// ask is a request as a test writes it.
type ask struct {
	name   string
	as     string // role; "" is operator, "nobody" sends no token
	method string // "" is GET, or POST with a body
	path   string
	body   string
	header map[string]string
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do asks, and holds the answer against the contract.
func (s *service) do(a ask) reply {
	s.t.Helper()
	if a.method == "" {
		a.method = http.MethodGet
		if a.body != "" {
			a.method = http.MethodPost
		}
	}
	req, err := http.NewRequest(a.method, s.url+a.path, strings.NewReader(a.body))
	if err != nil {
		s.t.Fatal(err)
	}
	if a.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.as == "" {
		a.as = "operator"
	}
	if token, ok := s.tokens[a.as]; ok {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for k, v := range a.header {
		req.Header[k] = []string{v}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s: %v", a.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s: %v", a.name, err)
	}
	s.holdAgainstContract(req, resp, body)
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// holdAgainstContract validates a response by the whole of OpenAPI 3.1.
func (s *service) holdAgainstContract(req *http.Request, resp *http.Response, body []byte) {
	s.t.Helper()
	plainURL := *req.URL
	find := &http.Request{Method: req.Method, URL: &plainURL, Header: req.Header}
	find.URL.Scheme, find.URL.Host = "", ""
	route, params, err := s.router.FindRoute(find)
	if err != nil { // no route: a 404 or 405 of no operation
		if ct := resp.Header.Get("Content-Type"); req.Method != http.MethodHead && ct != "application/problem+json" {
			s.t.Errorf("%s %s: %d is no problem document but %q", req.Method, req.URL.Path, resp.StatusCode, ct)
		}
		return
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: find, PathParams: params, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	kind := resp.Header.Get("Content-Type")
	in.Options.ExcludeResponseBody = strings.HasPrefix(kind, "text/") || kind == "application/jsonl" // no schema says more of it
	in.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		s.t.Errorf("%s %s: %d breaks the contract: %v\n%s", req.Method, req.URL.Path, resp.StatusCode, err, body)
	}
}

// Headers that an answer is golden with; the others are the same everywhere
// or differ every time.
var goldenHeaders = []string{"Allow", "Connection", "Content-Type", "Etag", "Location", "Retry-After", "Www-Authenticate"}

var requestIDs = regexp.MustCompile(`"request_id":"[0-9a-f]{16}"`)

// text is an exchange for people to read.
func (r reply) text(a ask) string {
	var b strings.Builder
	method := a.method
	if method == "" {
		method = "GET"
		if a.body != "" {
			method = "POST"
		}
	}
	fmt.Fprintf(&b, "## %s\n> %s %s\n", a.name, method, short(a.path))
	for _, k := range slices.Sorted(maps.Keys(a.header)) {
		fmt.Fprintf(&b, "> %s: %s\n", k, short(a.header[k]))
	}
	if a.body != "" {
		fmt.Fprintf(&b, "> %s\n", strings.ReplaceAll(short(fmt.Sprintf("%+q", a.body)), `\"`, `"`))
	}
	fmt.Fprintf(&b, "< %d %s\n", r.status, http.StatusText(r.status))
	for _, h := range goldenHeaders {
		if v := r.header.Get(h); v != "" {
			fmt.Fprintf(&b, "< %s: %s\n", h, v)
		}
	}
	if body := requestIDs.ReplaceAllString(strings.TrimSpace(r.body), `"request_id":"…"`); body != "" {
		fmt.Fprintf(&b, "< %s\n", body)
	}
	return b.String() + "\n"
}

func short(s string) string {
	if len(s) > 400 {
		return fmt.Sprintf("%s… (%d bytes)", s[:80], len(s))
	}
	return s
}

// golden compares text with a file in testdata.
func golden(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(want)); diff != "" {
		t.Errorf("%s differs; -update writes it anew (-got +want):\n%s", path, diff)
	}
}
