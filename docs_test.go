package behest_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the docs point at is there: files and headings, tests by their names,
// targets of the Makefile, flags of the server. Tables keep their columns.

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codePattern    = regexp.MustCompile("`([^`]+)`")
	headingPattern = regexp.MustCompile(`^#+ +(.*)`)
	slugDropped    = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	goTestPattern  = regexp.MustCompile(`^go test (?:-p \d+ )?((?:\./?\S* ?)+)(.*)`)
	runPattern     = regexp.MustCompile(`-run '?([^' ]+)`)
	makePattern    = regexp.MustCompile(`^make ([a-z-]+)`)
	flagPattern    = regexp.MustCompile(`^--([a-z][a-z-]+)`)
	declaredFlag   = regexp.MustCompile(`\.(?:Bool|String|Int|Uint|Duration|Func|Text|Var)\w*\((?:[&\w.]+, )?"([a-z-]+)"`)
)

// doc is a file of ours in Markdown, by lines, without its blocks of code.
type doc struct {
	path  string
	lines map[int]string
}

// docs reads all of them.
func docs(t *testing.T) (all []doc) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (p != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return cmp.Or(err, fs.SkipDir)
		}
		if path.Ext(p) != ".md" {
			return nil
		}
		text, err := os.ReadFile(p)
		one, fenced := doc{p, map[int]string{}}, false
		for n, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			} else if !fenced {
				one.lines[n+1] = line
			}
		}
		all = append(all, one)
		return err
	})
	if err != nil || len(all) < 10 {
		t.Fatalf("%d docs were found: %v", len(all), err)
	}
	return all
}

// each calls f for each line of all docs, in order, and tells where a fault is.
func each(t *testing.T, f func(d doc, line string) error) {
	t.Helper()
	for _, d := range docs(t) {
		for n := range 1 << 14 {
			if line, ok := d.lines[n]; ok {
				if err := f(d, line); err != nil {
					t.Errorf("%s:%d: %v", d.path, n, err)
				}
			}
		}
	}
}

// slugs are the names by which links call a doc's headings.
func (d doc) slugs() (all []string) {
	for _, line := range d.lines {
		if m := headingPattern.FindStringSubmatch(line); m != nil {
			all = append(all, strings.ReplaceAll(slugDropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
		}
	}
	return all
}

func TestLinksOfTheDocsPointSomewhere(t *testing.T) {
	byPath := map[string]doc{}
	for _, d := range docs(t) {
		byPath[d.path] = d
	}
	each(t, func(d doc, line string) error {
		for _, m := range linkPattern.FindAllStringSubmatch(line, -1) {
			file, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue // elsewhere
			}
			to := d.path
			if file != "" {
				to = path.Join(path.Dir(d.path), file)
			}
			if _, err := os.Stat(to); err != nil {
				return err
			}
			if fragment != "" && !slices.Contains(byPath[to].slugs(), fragment) {
				return fmt.Errorf("%s has no heading #%s", to, fragment)
			}
		}
		return nil
	})
}

// A pipe in a cell is written \|, also in code: what reads tables takes any
// other for the end of the cell.
func TestTablesOfTheDocsKeepTheirColumns(t *testing.T) {
	columns, of := 0, ""
	each(t, func(d doc, line string) error {
		if !strings.HasPrefix(line, "|") || of != d.path {
			columns = 0
		}
		of = d.path
		if !strings.HasPrefix(line, "|") {
			return nil
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns == 0 {
			columns = n
		}
		if n != columns {
			return fmt.Errorf("the row has %d columns of %d: write a pipe as \\|", n-1, columns-1)
		}
		return nil
	})
}

func TestCommandsOfTheDocsAreThere(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	flags := flagsOf(t, "cmd", "bench", "firmware-sim")
	each(t, func(_ doc, line string) error {
		for _, m := range codePattern.FindAllStringSubmatch(line, -1) {
			code := strings.ReplaceAll(m[1], `\|`, "|")
			if m := makePattern.FindStringSubmatch(code); m != nil && !strings.Contains(string(makefile), "\n"+m[1]+":") {
				return fmt.Errorf("the Makefile has no target %s", m[1])
			}
			if m := flagPattern.FindStringSubmatch(code); m != nil && !slices.Contains(flags, m[1]) {
				return fmt.Errorf("no program of ours has the flag --%s", m[1])
			}
			if m := goTestPattern.FindStringSubmatch(code); m != nil {
				if err := namesTests(strings.Fields(m[1]), m[2]); err != nil {
					return fmt.Errorf("%s: %w", code, err)
				}
			}
		}
		return nil
	})
}

// flagsOf are the flags that the programs in some directories declare, and those
// of the tools that the docs speak of.
func flagsOf(t *testing.T, dirs ...string) []string {
	t.Helper()
	flags := []string{"help", "version", "cacert", "json"}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
			if err != nil || path.Ext(p) != ".go" {
				return err
			}
			text, err := os.ReadFile(p)
			for _, m := range declaredFlag.FindAllStringSubmatch(string(text), -1) {
				flags = append(flags, m[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return flags
}

// namesTests reports what is wrong with packages and the rest of a `go test`: each
// alternative of its pattern names a test of one of them.
func namesTests(packages []string, rest string) error {
	var tests []string
	for _, p := range packages {
		some, err := testsOf(p)
		if err != nil {
			return err
		}
		tests = append(tests, some...)
	}
	if len(tests) == 0 {
		return fmt.Errorf("there is no test in %v", packages)
	}
	run := runPattern.FindStringSubmatch(rest)
	if run == nil || run[1] == "none" {
		return nil
	}
	for _, one := range alternatives(run[1]) {
		first, _, _ := strings.Cut(one, "/")
		pattern, err := regexp.Compile(first)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(tests, pattern.MatchString) {
			return fmt.Errorf("no test is called %s", first)
		}
	}
	return nil
}

// alternatives are those of a pattern, not those in its parentheses.
func alternatives(pattern string) (all []string) {
	depth, from := 0, 0
	for i, c := range pattern {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			all, from = append(all, pattern[from:i]), i+1
		}
	}
	return append(all, pattern[from:])
}

// testsOf are the tests of a package, or of all below it.
func testsOf(name string) (tests []string, err error) {
	root, below := strings.CutSuffix(name, "...")
	err = filepath.WalkDir(path.Clean(root), func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || !below && path.Clean(p) != path.Clean(root)):
			return fs.SkipDir
		case !strings.HasSuffix(p, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && slices.ContainsFunc([]string{"Test", "Fuzz", "Example"}, func(kind string) bool { return strings.HasPrefix(f.Name.Name, kind) }) {
				tests = append(tests, f.Name.Name)
			}
		}
		return nil
	})
	return tests, err
}
