// Package house holds the repository to its own rules: who may import whom,
// no state that lives in packages, budgets for files and functions, a comment
// on every package, and the words that we use. Its tests run over the whole
// tree; the day one fails, either the change is wrong or the design changed,
// and then the table here changes with docs/architecture.md.
//
// Every rule is a function over plain values, so that the tests also feed it
// a made-up violation and see it found.
package house

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
)

// Package is what `go list -json` says of a package, as far as the rules care.
type Package struct {
	ImportPath  string
	Doc         string
	Dir         string
	GoFiles     []string
	TestGoFiles []string
	Imports     []string
	Deps        []string
}

// module is the module path; import paths below are relative to it.
const module = "garita"

// row says what one package may import of ours. A package ending in /* stands
// for every folder below; "*" allows everything but test and bench.
type row struct {
	pkg   string
	allow []string
}

// table is design section 2. The first row that fits a package counts.
func table() []row {
	domain := []string{"mail", "message", "maillog"}
	check := []string{"filters", "mail", "message", "message/field", "archive", "dnsbl", "store", "resolver", "rules", "rules/*", "tables",
		"filetype", "document", "disarm", "failover", "greylist", "users", "identity"}
	side := []string{"mail", "message", "maillog", "store"}
	return []row{
		{"cmd/gateway", []string{"*"}},
		{"cmd/gateway/*", []string{"*"}},
		{"message", []string{"message/*"}},
		{"message/*", nil},
		{"filetype", nil},
		{"mailbox", nil},
		{"failover", nil},
		{"printable", nil},
		{"place", []string{"printable"}},
		{"document", []string{"filetype"}},
		{"disarm", []string{"message"}},
		{"store", nil},
		{"store/*", []string{"store"}},
		{"resolver", nil},
		{"tables", nil},
		{"accounts", []string{"tables"}},
		{"conduct", []string{"store", "smtpproxy", "mail"}},
		{"greylist", []string{"mail", "store"}},
		{"identity", []string{"mail", "message"}},
		{"users", []string{"store"}},
		{"tls", nil},
		{"mail", []string{"message"}},
		{"archive", []string{"filetype"}},
		{"maillog", []string{"mail", "message"}},
		{"smtpproxy", domain},
		{"smtpproxy/relay/fakehop", nil},
		{"smtpproxy/routing", []string{"smtpproxy", "mail", "tables"}},
		{"smtpproxy/relay", append([]string{"smtpproxy"}, domain...)},
		{"policyd", domain},
		{"milterd", domain},
		{"filters/all", []string{"filters", "filters/*", "failover", "mail"}},
		{"filters", []string{"mail", "message", "store", "resolver", "maillog", "users", "identity"}},
		{"filters/*", check},
		{"rules/pattern", nil},
		{"rules/postfix", []string{"rules/pattern"}},
		{"rules/markup", nil},
		{"rules/fold", nil},
		{"rules/builtin", []string{"rules"}},
		{"rules/lint", []string{"rules", "rules/*", "message"}},
		{"rules/migrate", []string{"rules", "rules/*", "tables", "dnsbl"}},
		{"rules/*", []string{"rules/pattern", "rules/postfix", "mail", "message", "message/*", "archive", "filetype"}},
		{"rules", []string{"rules/*", "mail", "message", "message/*", "archive", "filetype", "place", "printable"}},
		{"dnsbl", []string{"resolver", "store"}},
		{"hold", side},
		{"alert", append([]string{"printable"}, side...)},
		{"admin", side},
		{"config", []string{"place", "printable"}},
		{"metrics", []string{"mail"}},
		{"demo", nil},
		{"test/*", []string{"*", "test/*"}},
		{"bench", []string{"*", "bench/*"}},
		{"bench/*", []string{"*", "bench/*"}},
	}
}

// CheckImports gives a line for each import that the table forbids, for each
// package that has no row, and for each leaf that reaches ours by a detour.
func CheckImports(pkgs []Package) []string {
	var bad []string
	for _, p := range pkgs {
		name, ours := cut(p.ImportPath)
		if !ours {
			continue
		}
		r, ok := rowOf(name)
		if !ok {
			bad = append(bad, fmt.Sprintf("%s has no row in the table of imports: say in design and table what it is", name))
			continue
		}
		for _, imp := range p.Imports {
			if dep, ours := cut(imp); ours && !allowed(r, dep) {
				bad = append(bad, fmt.Sprintf("%s imports %s", name, dep))
			}
		}
		for _, d := range p.Deps {
			dep, ours := cut(d)
			if ours && r.allow == nil {
				bad = append(bad, fmt.Sprintf("%s is a leaf and depends on %s", name, dep))
			}
			if ours && wire(name) && policy(dep) {
				bad = append(bad, fmt.Sprintf("%s reaches %s: the wire declares its ports and receives them", name, dep))
			}
		}
	}
	sort.Strings(bad)
	return slices.Compact(bad)
}

// CheckRows gives a line for each row of the table without a package.
func CheckRows(pkgs []Package) []string {
	have := map[string]bool{}
	for _, p := range pkgs {
		name, _ := cut(p.ImportPath)
		have[name] = true
	}
	var bad []string
	for _, r := range table() {
		if !strings.HasSuffix(r.pkg, "/*") && !have[r.pkg] {
			bad = append(bad, "the table of imports has a row for "+r.pkg+", which is not there")
		}
	}
	return bad
}

func wire(name string) bool {
	return slices.Contains([]string{"smtpproxy", "smtpproxy/relay", "policyd", "milterd"}, name)
}

func policy(name string) bool {
	return name == "filters" || name == "rules" || name == "hold" || strings.HasPrefix(name, "filters/")
}

// cut takes the module off an import path and tells whether it was there.
func cut(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func rowOf(name string) (row, bool) {
	for _, r := range table() {
		if fits(r.pkg, name) {
			return r, true
		}
	}
	return row{}, false
}

// fits tells whether a package is the one of the pattern, or below it.
func fits(pattern, name string) bool {
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(name, base+"/")
	}
	return pattern == name
}

func allowed(r row, dep string) bool {
	for _, a := range r.allow {
		if fits(a, dep) {
			return true
		}
		if a == "*" && !strings.HasPrefix(dep, "test/") && !strings.HasPrefix(dep, "bench") {
			return true
		}
	}
	return false
}

// CheckNames gives a line for each folder that is named after nothing.
func CheckNames(pkgs []Package) []string {
	var bad []string
	for _, p := range pkgs {
		for part := range strings.SplitSeq(p.ImportPath, "/") {
			if slices.Contains([]string{"internal", "pkg", "utils", "util", "common", "helpers", "misc"}, part) {
				bad = append(bad, fmt.Sprintf("%s: %q names nothing", p.ImportPath, part))
			}
		}
	}
	return bad
}

// CheckDocs gives a line for each package without a comment.
func CheckDocs(pkgs []Package) []string {
	var bad []string
	for _, p := range pkgs {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			bad = append(bad, fmt.Sprintf("%s has no package comment", p.ImportPath))
		}
	}
	return bad
}

// unspoken are words that the repository does not use, in parts, so that this
// file does not hold them either.
func unspoken() []string {
	return []string{"clau" + "de", "anthro" + "pic", "sub" + "agent", "/wo" + "rk/", "white" + "list", "black" + "list"}
}

// CheckWords gives a line for each place of a text that has such a word.
func CheckWords(file, text string) []string {
	if path.Base(file) == "go.sum" {
		return nil
	}
	var bad []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		low := strings.ToLower(line)
		for _, w := range unspoken() {
			if strings.Contains(low, w) {
				bad = append(bad, fmt.Sprintf("%s:%d: %q", file, n, w))
			}
		}
	}
	return bad
}
