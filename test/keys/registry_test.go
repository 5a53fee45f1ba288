package keys

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/test/harness"
)

// registry has a line for each key: the key, the package and the test.
//
//go:embed keys.tsv
var registry string

// tables are the rows of this package, by the test that plays them.
func tables() map[string][]effect {
	return map[string][]effect{
		"TestChecks":      checkRows(),
		"TestAccess":      accessRows(),
		"TestDNS":         dnsRows(),
		"TestUsers":       userRows(),
		"TestConduct":     conductRows(),
		"TestRoutes":      routeRows(),
		"TestProgram":     programRows(),
		"TestListeners":   listenerRows(),
		"TestNextHops":    hopRows(),
		"TestMIME":        mimeRows(),
		"TestScore":       scoreRows(),
		"TestActions":     actionRows(),
		"TestAttachment":  attachmentRows(),
		"TestClamAV":      clamavRows(),
		"TestSpamFilters": spamRows(),
		"TestHold":        holdRows(),

		"TestRules":         ruleRows(),
		"TestPostfixTables": postfixRows(),
	}
}

// line is one entry of the registry.
type line struct{ key, pkg, test string }

func readRegistry(text string) (lines []line, bad []string) {
	seen := map[string]bool{}
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		f := strings.Split(l, "\t")
		if len(f) != 3 || seen[f[0]] {
			bad = append(bad, "not one key, package and test, or twice: "+l)
			continue
		}
		seen[f[0]] = true
		lines = append(lines, line{f[0], f[1], f[2]})
	}
	return lines, bad
}

// leaves are the keys that can be set: not those that only hold others.
func leaves(all []string) map[string]bool {
	out := map[string]bool{}
	for _, k := range all {
		out[k] = true
	}
	for _, k := range all {
		for i := range k {
			if k[i] == '.' {
				delete(out, k[:i])
			}
		}
	}
	return out
}

// check gives a line for each way in which the registry is not the truth.
func check(lines []line, keys map[string]bool, hasTest func(pkg, test string) bool, own map[string][]effect) (bad []string) {
	has := map[string]bool{}
	for _, l := range lines {
		has[l.key] = true
		if !keys[l.key] {
			bad = append(bad, l.key+": there is no such key")
		}
		if !hasTest(l.pkg, l.test) {
			bad = append(bad, l.key+": there is no test "+l.test+" in "+l.pkg)
		}
		if l.pkg != "test/keys" {
			continue
		}
		found := false
		for _, e := range own[l.test] {
			found = found || e.key == l.key
		}
		if !found {
			bad = append(bad, l.key+": "+l.test+" has no row for it")
		}
	}
	for k := range keys {
		if !has[k] {
			bad = append(bad, k+": no test shows its effect: write one, and a line in test/keys/keys.tsv")
		}
	}
	return bad
}

// tests are the names of the test functions of a package.
func tests(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(harness.Root(), filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}

// TestEveryKeyHasATest is the promise of this package.
func TestEveryKeyHasATest(t *testing.T) {
	t.Parallel()
	out, code := harness.Command(t, harness.Binary(t), "config", "explain")
	if code != 0 {
		t.Fatalf("garita config explain: %d\n%s", code, out)
	}
	keys := leaves(strings.Fields(out))
	lines, bad := readRegistry(registry)
	found := map[string]map[string]bool{}
	bad = append(bad, check(lines, keys, func(pkg, test string) bool {
		if found[pkg] == nil {
			found[pkg] = tests(t, pkg)
		}
		return found[pkg][test]
	}, tables())...)
	for _, b := range bad {
		t.Error(b)
	}
	if len(keys) < 180 {
		t.Errorf("only %d keys are listed", len(keys))
	}
}

// TestRegistryCanFail: each way to be wrong is seen.
func TestRegistryCanFail(t *testing.T) {
	t.Parallel()
	own := map[string][]effect{"TestA": {{key: "a.b"}}}
	exists := func(pkg, test string) bool { return test == "TestA" }
	keys := leaves([]string{"a", "a.b", "a.b", "c"})
	for _, tc := range []struct {
		lines []line
		want  int
	}{
		{[]line{{"a.b", "test/keys", "TestA"}, {"c", "x", "TestA"}}, 0},
		{[]line{{"a.b", "test/keys", "TestA"}}, 1},                                           // c has none
		{[]line{{"a.b", "test/keys", "TestA"}, {"c", "x", "TestB"}}, 1},                      // no such test
		{[]line{{"a.b", "test/keys", "TestA"}, {"c", "test/keys", "TestA"}}, 1},              // no such row
		{[]line{{"a.b", "test/keys", "TestA"}, {"c", "x", "TestA"}, {"a", "x", "TestA"}}, 1}, // a is a table
	} {
		if bad := check(tc.lines, keys, exists, own); len(bad) != tc.want {
			t.Errorf("%v: %q", tc.lines, bad)
		}
	}
	if _, bad := readRegistry("# text\na\tb\tc\na\tb\tc\nd e f\n"); len(bad) != 2 {
		t.Errorf("%q", bad)
	}
}
