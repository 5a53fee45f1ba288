package lint_test

import (
	"testing"

	"garita/rules"
	"garita/rules/builtin"
	"garita/rules/lint"
)

func compile(t testing.TB, texts ...string) *rules.Set {
	t.Helper()
	set, refused := tryCompile(texts...)
	if refused != "" {
		t.Fatal(refused, texts)
	}
	return set
}

// tryCompile says why rules are refused.
func tryCompile(texts ...string) (*rules.Set, string) {
	var files []*rules.File
	for i, text := range texts {
		f, problems := rules.Parse(rules.Source{Name: string(rune('a'+i)) + ".toml", Text: []byte(text)}, rules.ParseOptions{
			ReadList: func(string) ([]byte, error) { return []byte("example.org\n"), nil }})
		for _, p := range problems {
			if !p.Warning {
				return nil, p.Text
			}
		}
		files = append(files, f)
	}
	set, problems := rules.Compile(files)
	for _, p := range problems {
		if !p.Warning {
			return nil, p.Text
		}
	}
	return set, ""
}

// TestShipped: there is nothing odd about the rules that we ship.
func TestShipped(t *testing.T) {
	var texts []string
	for _, name := range builtin.Sets() {
		s, _ := builtin.Source(name)
		texts = append(texts, string(s.Text))
	}
	for _, f := range lint.Rules(compile(t, texts...)) {
		t.Errorf("%+v", f)
	}
}
