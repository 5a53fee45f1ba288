package all

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"garita/filters"
)

func TestDefault(t *testing.T) {
	c := Default()
	if errs := c.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	checks, err := Checks(c, filters.Site{Hostname: "mx.our.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filters.New(filters.Config{Checks: checks}); err != nil {
		t.Fatal(err)
	}
	// The table's keys are the names of the checks, in list order.
	typ := reflect.TypeOf(c)
	if typ.NumField() != len(checks) {
		t.Fatalf("%d tables, %d checks", typ.NumField(), len(checks))
	}
	for i, check := range checks {
		if f := typ.Field(i); f.Tag.Get("toml") != check.Name || f.Tag.Get("doc") == "" {
			t.Errorf("field %s has the key %q, the check is %q", f.Name, f.Tag.Get("toml"), check.Name)
		}
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	c := Default()
	c.Access.Clients = []string{"x"}
	c.Helo.Mode = "loud"
	errs := c.Validate()
	if len(errs) != 2 || !strings.HasPrefix(errs[0].Error(), "check.access.clients[0]: ") || !strings.HasPrefix(errs[1].Error(), "check.helo.mode = ") {
		t.Errorf("%v", errs)
	}
	if _, err := Checks(c, filters.Site{}); err == nil || !strings.Contains(err.Error(), "access") || !strings.Contains(err.Error(), "helo") {
		t.Errorf("Checks: %v", err)
	}
}

// notChecks are the folders beside the checks.
var notChecks = map[string]bool{"all": true, "filtertest": true}

// TestOneFolderOneLine: a check is its folder, with code, README and tests,
// and what all.go says of it; no other file of the module knows it.
func TestOneFolderOneLine(t *testing.T) {
	imported, made := listed(t, "all.go", "helpers.go")
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range folders {
		name := d.Name()
		if !d.IsDir() || notChecks[name] || name == "testdata" {
			continue
		}
		n++
		if !imported[name] || made[name] != 1 {
			t.Errorf("%s: imported %v, in the list %d times", name, imported[name], made[name])
		}
		if _, err := os.Stat(filepath.Join("..", name, "README.md")); err != nil {
			t.Error(err)
		}
		// Checks that ask a program are tested with that program instead.
		tests, _ := filepath.Glob(filepath.Join("..", name, "testdata", "*.txt"))
		real, _ := filepath.Glob(filepath.Join("..", name, "real_test.go"))
		if len(tests)+len(real) == 0 {
			t.Errorf("%s has no tests as text and none with a real server", name)
		}
		delete(imported, name)
	}
	if n == 0 || len(imported) > 0 {
		t.Errorf("%d folders; imported without one: %v", n, imported)
	}
	onlyHereImported(t)
}

// listed gives the checks that files import, and how often each is made there.
func listed(t *testing.T, files ...string) (imported map[string]bool, made map[string]int) {
	imported, made = map[string]bool{}, map[string]int{}
	for _, file := range files {
		src, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range src.Imports {
			path, _ := strconv.Unquote(im.Path.Value)
			if name, ok := strings.CutPrefix(path, "garita/filters/"); ok {
				imported[name] = true
			}
		}
		ast.Inspect(src, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "New" {
					if pkg, ok := sel.X.(*ast.Ident); ok {
						made[pkg.Name]++
					}
				}
			}
			return true
		})
	}
	return imported, made
}

// onlyHereImported looks through the module for imports of checks.
func onlyHereImported(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || filepath.Dir(path) == filepath.Join("../..", "filters", "all") ||
			filepath.Dir(path) == filepath.Join("../..", "bench") { // measures single checks
			return nil
		}
		files++
		src, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return nil // the compiler will say so
		}
		for _, im := range src.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			name, ok := strings.CutPrefix(p, "garita/filters/")
			if ok && !notChecks[name] && !strings.Contains(name, "/fake") { // a fake is no check
				t.Errorf("%s imports the check %s", path, p)
			}
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files read, %v", files, err)
	}
}
