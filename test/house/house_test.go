package house

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const top = "../.."

// list runs `go list` over the repository.
func list(t *testing.T) []Package {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Doc,Dir,GoFiles,TestGoFiles,Imports,Deps", "./...")
	cmd.Dir = top
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	var pkgs []Package
	for {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	return pkgs
}

func report(t *testing.T, bad []string) {
	t.Helper()
	for _, b := range bad {
		t.Error(b)
	}
}

func TestImportsFollowTheTable(t *testing.T) { report(t, CheckImports(list(t))) }

func TestTheTableIsOfWhatIsThere(t *testing.T) {
	report(t, CheckRows(list(t)))
	if got := CheckRows([]Package{{ImportPath: "garita/mail"}}); len(got) == 0 || strings.Contains(strings.Join(got, "\n"), " mail,") {
		t.Errorf("of mail alone: %q", got)
	}
}

func TestFoldersAreNamedAfterSomething(t *testing.T) { report(t, CheckNames(list(t))) }

func TestEveryPackageHasAComment(t *testing.T) { report(t, CheckDocs(list(t))) }

func TestSourcesKeepTheHouse(t *testing.T) {
	for _, p := range list(t) {
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			files = append(files, f)
			report(t, CheckBudgets(fset, f))
			report(t, CheckInit(fset, f))
		}
		report(t, CheckState(fset, files))
		for _, name := range p.TestGoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Error(err)
				continue
			}
			report(t, CheckInit(fset, f))
		}
	}
}

// TestWords reads what git tracks, or everything when this is no checkout.
func TestWords(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	n := 0
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(top, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted and not yet committed
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if !utf8.Valid(data) {
			continue
		}
		n++
		report(t, CheckWords(name, string(data)))
	}
	if n < 10 {
		t.Errorf("read only %d files", n)
	}
}

// The rest proves that each rule can fail.

func TestImportRuleFindsViolations(t *testing.T) {
	made := []Package{
		{ImportPath: "garita/smtpproxy", Imports: []string{"garita/filters", "garita/mail"}, Deps: []string{"garita/filters"}},
		{ImportPath: "garita/message", Imports: []string{"bytes", "garita/mail"}},
		{ImportPath: "garita/store", Imports: []string{"bytes"}, Deps: []string{"garita/mail"}},
		{ImportPath: "garita/filters/helo", Imports: []string{"garita/filters/access", "garita/filters", "garita/mail"}},
		{ImportPath: "garita/filters", Imports: []string{"garita/filters/helo"}},
		{ImportPath: "garita/config", Imports: []string{"garita/smtpproxy"}},
		{ImportPath: "garita/admin", Imports: []string{"garita/smtpproxy"}},
		{ImportPath: "garita/cmd/gateway", Imports: []string{"garita/filters/all", "garita/test/harness"}},
		{ImportPath: "garita/novel", Imports: []string{"bytes"}},
		{ImportPath: "garita/mail", Imports: []string{"garita/message"}, Deps: []string{"garita/message"}},
		{ImportPath: "garita/filters/all", Imports: []string{"garita/filters/helo", "garita/filters"}},
	}
	want := []string{
		"admin imports smtpproxy",
		"cmd/gateway imports test/harness",
		"config imports smtpproxy",
		"filters imports filters/helo",
		"filters/helo imports filters/access",
		"message imports mail",
		"novel has no row in the table of imports: say in design and table what it is",
		"smtpproxy imports filters",
		"smtpproxy reaches filters: the wire declares its ports and receives them",
		"store is a leaf and depends on mail",
	}
	if got := CheckImports(made); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSourceRulesFindViolations(t *testing.T) {
	src := map[string]string{
		"a.go": `package p
import _ "net/http/pprof"
import _ "embed"
var fixed = map[string]int{"a": 1}
var counted, assigned int
var guard sync.Mutex
var pooled sync.Pool
var elsewhere = map[string]int{}
func init() {}
func f() { counted++; assigned = 2; fixed := 3; fixed = 4; _ = fixed; var assigned int; assigned = 1 }
`,
		"b.go": "package p\nfunc g() { elsewhere[\"x\"] = 1; p := &pointed; _ = p; delete(removed, 1) }\nvar pointed struct{}\nvar removed = map[int]int{}\n",
		"c.go": "package p\nfunc long() {\n" + strings.Repeat("\n", 79) + "}\n" + strings.Repeat("//\n", 520),
	}
	fset := token.NewFileSet()
	var files []*ast.File
	var bad []string
	for _, name := range []string{"a.go", "b.go", "c.go"} {
		f, err := parser.ParseFile(fset, name, src[name], parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		bad = append(bad, CheckInit(fset, f)...)
		bad = append(bad, CheckBudgets(fset, f)...)
	}
	bad = append(bad, CheckState(fset, files)...)
	want := []string{
		"a.go:9:1: init function",
		`a.go:2:8: blank import of "net/http/pprof"`,
		"c.go has 602 lines, more than 600: split it by noun",
		"c.go:2: long has 81 lines, more than 80",
		"a.go:10:12: package variable counted is changed",
		"a.go:10:23: package variable assigned is changed",
		"a.go:6:5: package variable guard is a sync.Mutex",
		"b.go:2:12: package variable elsewhere is changed",
		"b.go:2:38: package variable pointed is changed",
		"b.go:2:61: package variable removed is changed",
	}
	if strings.Join(bad, "\n") != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(bad, "\n"), strings.Join(want, "\n"))
	}
}

func TestSmallRulesFindViolations(t *testing.T) {
	pkgs := []Package{{ImportPath: "garita/internal/x", GoFiles: []string{"x.go"}}}
	if len(CheckNames(pkgs)) != 1 || len(CheckDocs(pkgs)) != 1 {
		t.Error("a nameless folder or a missing comment was not found")
	}
	text := "fine\nsee /wo" + "rk/x\nWhite" + "list\n"
	if got := CheckWords("f", text); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}
