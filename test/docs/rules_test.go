package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"garita/message"
	"garita/rules"
)

var tomlBlock = regexp.MustCompile("(?s)```toml rule\n(.*?)```")

// TestRuleExamples: every example of docs/rules.md is a good rule file, and its
// tests come out. The Spanish page has the same ones.
func TestRuleExamples(t *testing.T) {
	pages := map[string][]string{}
	for _, page := range []string{"rules.md", "rules.es.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tomlBlock.FindAllStringSubmatch(string(text), -1) {
			pages[page] = append(pages[page], m[1])
		}
		if n := len(pages[page]); n < 10 {
			t.Errorf("%s: %d examples, want at least 10", page, n)
		}
	}
	for i, example := range pages["rules.md"] {
		if i < len(pages["rules.es.md"]) && pages["rules.es.md"][i] != example {
			t.Errorf("example %d differs in Spanish", i+1)
		}
		f, problems := rules.Parse(rules.Source{Name: "example", Text: []byte(example)}, rules.ParseOptions{})
		for _, p := range problems {
			t.Errorf("example %d: %s", i+1, p.String())
		}
		// What the overrides are about stands before them.
		before := []*rules.File{f}
		if len(f.Overrides) > 0 {
			shipped, _ := rules.Parse(rules.Source{Name: "shipped", Text: []byte("[[rule]]\nid = \"html-iframe\"\ntags = [\"old-virus\"]\nmatch = ['html tag is \"iframe\"']\nscore = 1\n")}, rules.ParseOptions{})
			before = append(before, shipped)
		}
		set, problems := rules.Compile(before)
		for _, p := range problems {
			t.Errorf("example %d: %s", i+1, p.String())
		}
		tests := 0
		for _, r := range f.Rules {
			tests += len(r.Tests)
		}
		if len(f.Rules) > 0 && tests == 0 {
			t.Errorf("example %d has no test:\n%s", i+1, strings.TrimSpace(example))
		}
		for _, p := range rules.RunTests(t.Context(), set, message.DefaultIndexLimits()) {
			t.Errorf("example %d: %s", i+1, p.String())
		}
	}
	if len(pages["rules.es.md"]) != len(pages["rules.md"]) {
		t.Error("the pages have different numbers of examples")
	}
}

// TestRulePages: the rule files on other pages are good rule files too.
func TestRulePages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../filters/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range tomlBlock.FindAllStringSubmatch(string(text), -1) {
			_, problems := rules.Parse(rules.Source{Name: page, Text: []byte(m[1])}, rules.ParseOptions{})
			for _, p := range problems {
				if !p.Warning {
					t.Errorf("%s, example %d: %s", page, i+1, p.String())
				}
			}
		}
	}
}
