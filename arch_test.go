// Package behest_test holds the house together: which room may know which,
// who owns what was written elsewhere, and how large a thing may grow.
package behest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path in go.mod, until the project has a public home.
const module = "behest"

// room is a package and what its files, tests apart, may import.
type room struct {
	may     []string // of our own rooms; "*" is any that is not for tests only
	std     bool     // nothing from outside the standard library
	pure    bool     // and of that nothing that does input or output, or reads a clock
	planned bool     // it may not exist yet
}

// rooms is the floor plan. A room that is not here may not exist, an arrow
// that is not here may not be drawn. A new line is a decision: docs/decisions.
var rooms = map[string]room{
	"cmd/server": {may: []string{"*"}},
	"cmd/behest": {may: []string{"httpapi/client"}, planned: true},

	"command":          {std: true, pure: true},
	"command/ledger":   {may: []string{"command", "device", "access"}, std: true, pure: true},
	"command/dispatch": {may: []string{"command", "command/ledger", "device", "device/vault", "access"}},
	"device":           {std: true, pure: true},
	"device/vault":     {may: []string{"device"}},
	"access":           {may: []string{"device"}, std: true},
	"access/oidc":      {may: []string{"access"}},
	"cbor":             {may: []string{"command"}},
	"schema":           {may: []string{"command", "cbor"}},

	"coap":                 {may: []string{"command", "device", "cbor", "coap/endpoint"}},
	"coap/endpoint":        {},
	"coap/endpoint/simnet": {may: []string{"coap/endpoint"}, std: true},
	"coap/udp":             {may: []string{"coap/endpoint"}},
	"coap/dtls":            {may: []string{"coap/endpoint", "device"}},

	"httpapi":        {may: []string{"command", "device", "access", "cbor"}},
	"httpapi/client": {},
	"webhook":        {may: []string{"command"}},
	"console":        {planned: true},

	"store":           {may: []string{"device", "store/sqlite", "store/postgres"}},
	"store/sqlite":    {may: []string{"command", "command/ledger", "device", "access"}},
	"store/postgres":  {may: []string{"command", "command/ledger", "device", "access"}, planned: true},
	"store/storetest": {may: []string{"command", "command/ledger", "device", "access"}},

	"firmware-sim": {may: []string{"firmware-sim/..."}, std: true},
	"bench":        {may: []string{"*"}, planned: true},
}

// families are rooms whose number may grow without a decision.
var families = map[string]room{
	"firmware-sim/": {may: []string{"firmware-sim/..."}, std: true}, // a device of its own: shares only the hex vectors
	"bench/":        {may: []string{"*"}},
	"cmd/":          {may: []string{"*"}},
}

// forTests are rooms that only tests may reach.
var forTests = []string{"store/storetest", "coap/endpoint/simnet", "firmware-sim/servertest"}

// debts are arrows that should not be there, and what has to move for them to
// go. A debt that is paid is taken off the list.
var debts = map[string]string{}

// owners says which rooms may import what was written elsewhere, so that
// replacing it touches those alone. What is not here is not used. Tests may
// use what they like.
var owners = map[string][]string{
	"github.com/plgd-dev/go-coap/":      {"coap", "coap/endpoint"},
	"github.com/pion/":                  {"coap/dtls", "bench"},
	"golang.org/x/crypto/":              {"coap/dtls", "device/vault"},
	"golang.org/x/net/":                 {"coap/udp"},
	"golang.org/x/sys/":                 {"coap/udp", "store/sqlite", "cmd/server"},
	"github.com/fxamacker/cbor/":        {"cbor"},
	"github.com/labstack/":              {"httpapi"},
	"github.com/getkin/kin-openapi/":    {"httpapi"},
	"github.com/oapi-codegen/":          {"httpapi", "httpapi/client"},
	"github.com/mattn/go-sqlite3":       {"store/sqlite"},
	"github.com/pressly/goose/":         {"store/sqlite", "store/postgres"},
	"github.com/jackc/pgx/":             {"store/postgres"},
	"github.com/robfig/cron/":           {"command/dispatch"},
	"github.com/google/uuid":            {"command/dispatch", "httpapi"},
	"golang.org/x/sync/":                {"command/dispatch", "coap", "coap/endpoint", "cmd/server", "httpapi", "store/sqlite", "bench"},
	"golang.org/x/time/":                {"command/dispatch", "coap", "httpapi"},
	"golang.org/x/term":                 {"cmd/server", "cmd/behest"},
	"github.com/spf13/":                 {"cmd/server", "cmd/behest"},
	"github.com/knadh/koanf/":           {"cmd/server", "cmd/behest"},
	"github.com/prometheus/":            {"cmd/server"},
	"github.com/jedib0t/go-pretty/":     {"cmd/behest"},
	"github.com/coreos/go-oidc/":        {"access/oidc"},
	"github.com/go-jose/":               {"access/oidc"},
	"github.com/santhosh-tekuri/":       {"schema"},
	"github.com/standard-webhooks/":     {"webhook"},
	"github.com/google/go-cmp/":         {"store/storetest"},
	"pgregory.net/rapid":                {"store/storetest"},
	"github.com/rogpeppe/go-internal/":  {},
	"github.com/anishathalye/porcupine": {},
	"go.uber.org/goleak":                {},
}

// impure are what a room of pure rules does not import.
var impure = []string{"os", "os/exec", "net", "net/http", "io/fs", "io/ioutil", "log", "log/slog", "database/sql", "syscall", "context", "sync", "math/rand", "math/rand/v2", "crypto/rand"}

const (
	fileLinesMax     = 800 // what one can hold in mind while scrolling
	functionLinesMax = 70  // one screen
)

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir                    string
	Imports, TestImports, XTestImports []string
	GoFiles, CgoFiles                  []string
}

func (p pkg) room() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// listed asks go list once: it takes a second.
var listed = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,GoFiles,CgoFiles", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if p.ImportPath != module && len(p.GoFiles)+len(p.CgoFiles) > 0 { // the root holds only this test
			all = append(all, p)
		}
	}
})

// find is the row of a room.
func find(name string) (room, bool) {
	if r, ok := rooms[name]; ok {
		return r, true
	}
	for prefix, r := range families {
		if strings.HasPrefix(name, prefix) {
			return r, true
		}
	}
	return room{}, false
}

// allows reports whether r may import the room to.
func (r room) allows(to string) bool {
	return slices.ContainsFunc(r.may, func(m string) bool {
		below, family := strings.CutSuffix(m, "...")
		return m == "*" || m == to || family && strings.HasPrefix(to, below)
	})
}

func TestArrows(t *testing.T) {
	seen, owed := map[string]bool{}, map[string]bool{}
	arrows := 0
	for _, p := range packages(t) {
		name := p.room()
		seen[name] = true
		r, ok := find(name)
		if !ok {
			t.Errorf("room %s is not in the plan", name)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			arrows++
			if slices.Contains(forTests, to) && !slices.Contains(forTests, name) {
				t.Errorf("%s imports %s, which is for tests", name, to)
			} else if arrow := name + " -> " + to; debts[arrow] != "" {
				owed[arrow] = true
			} else if !r.allows(to) {
				t.Errorf("arrow %s is not in the plan", arrow)
			}
		}
	}
	for name, r := range rooms {
		if !seen[name] && !r.planned {
			t.Errorf("the plan has a room %s that does not exist", name)
		}
	}
	for arrow := range debts {
		if !owed[arrow] {
			t.Errorf("the debt %s is paid: take it off the list", arrow)
		}
	}
	t.Logf("%d rooms, %d arrows, %d debts", len(seen), arrows, len(debts))
}

// The simulated device shares nothing with the server, in its tests neither:
// one bug must not hide on both sides.
func TestTheSimulatedDeviceStandsAlone(t *testing.T) {
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.room()+"/", "firmware-sim/") {
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if to, ours := strings.CutPrefix(imp, module+"/"); ours && !strings.HasPrefix(to+"/", "firmware-sim/") {
				t.Errorf("%s imports %s", p.room(), to)
			}
		}
	}
}

func TestOwners(t *testing.T) {
	for _, p := range packages(t) {
		r, _ := find(p.room())
		for _, imp := range p.Imports {
			if !foreign(imp) {
				if r.pure && slices.Contains(impure, imp) {
					t.Errorf("%s imports %s, and is for pure rules", p.room(), imp)
				}
				continue
			}
			owner, owned := ownerOf(imp)
			switch {
			case r.std:
				t.Errorf("%s imports %s, and is for the standard library alone", p.room(), imp)
			case !owned:
				t.Errorf("%s imports %s, which nobody owns", p.room(), imp)
			case !slices.ContainsFunc(owner, func(o string) bool { return o == p.room() || strings.HasPrefix(p.room(), o+"/") && o == "bench" }):
				t.Errorf("%s imports %s, which belongs to %v", p.room(), imp, owner)
			}
		}
	}
}

// foreign reports whether imp is neither ours nor in the standard library.
func foreign(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return strings.Contains(first, ".")
}

func ownerOf(imp string) ([]string, bool) {
	for prefix, rooms := range owners {
		if strings.HasPrefix(imp+"/", prefix) {
			return rooms, true
		}
	}
	return nil, false
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		said := false
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			said = said || f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" && !ast.IsGenerated(f)
		}
		if !said {
			t.Errorf("package %s has no doc comment", p.ImportPath)
		}
	}
}

// TestSizes keeps files and functions small enough to read. Generated files
// are read by nobody, and a test is as long as it has cases.
func TestSizes(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case path.Ext(name) != ".go":
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if ast.IsGenerated(f) {
			return nil
		}
		files++
		if n := fset.File(f.Pos()).LineCount(); n > fileLinesMax {
			t.Errorf("%s has %d lines, at most %d", name, n, fileLinesMax)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || strings.HasSuffix(name, "_test.go") || slices.Contains(forTests, path.Dir(filepath.ToSlash(name))) {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > functionLinesMax {
				t.Errorf("%s: %s has %d lines, at most %d", fset.Position(fn.Pos()), fn.Name.Name, n, functionLinesMax)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files", files)
}

// The rules take the present as an argument: a test can then be at any time,
// and a decision can be made again.
func TestPureRoomsReadNoClock(t *testing.T) {
	for _, p := range packages(t) {
		if r, _ := find(p.room()); !r.pure {
			continue
		}
		for _, name := range p.GoFiles {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := call.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "Tick"}, call.Sel.Name) {
						t.Errorf("%s: time.%s in a room of pure rules", fset.Position(call.Pos()), call.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// badNames say nothing about what is in a file or a package.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base"}

func TestNamesAreNouns(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(badNames, path.Base(p.ImportPath)) {
			t.Errorf("package %s says nothing by its name", strconv.Quote(p.ImportPath))
		}
		for _, name := range p.GoFiles {
			if slices.Contains(badNames, strings.TrimSuffix(name, ".go")) {
				t.Errorf("%s/%s says nothing by its name", p.room(), name)
			}
		}
	}
}
