package lint_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"garita/rules/lint"
)

// rule writes a rule: conditions apart by ";", those of any behind "any:", of
// not behind "not:", other keys behind "+".
func rule(id, text string) string {
	text, keys, _ := strings.Cut(text, " + ")
	lists := map[string][]string{}
	for _, c := range strings.Split(text, "; ") {
		key := "match"
		for _, k := range []string{"any", "not"} {
			if rest, ok := strings.CutPrefix(c, k+": "); ok {
				key, c = k, rest
			}
		}
		lists[key] = append(lists[key], "'''"+c+"'''")
	}
	out := "[[rule]]\nid = \"" + id + "\"\n"
	for key, l := range lists {
		out += key + " = [" + strings.Join(l, ", ") + "]\n"
	}
	return out + strings.ReplaceAll(keys, "; ", "\n") + "\n"
}

// TestRules: each finding, and near misses that are silent.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		first, second string
		want          string
	}{
		// Never.
		{`helo is "a"; helo is "b"`, ``, "never"},
		{`helo is "a" or "b"; helo is "B"`, ``, ""},
		{`helo is "a.example"; helo ends ".example"`, ``, ""},
		{`helo is "a.example"; helo ends ".org"`, ``, "never"},
		{`helo starts "a"; helo starts "b"`, ``, "never"},
		{`helo starts "a"; helo starts "ab"`, ``, ""},
		{`helo starts "a"; helo ends "b"`, ``, ""},
		{`subject is "a"; subject is "b"`, ``, ""}, // there may be two of them
		{`recipient is "a@x.org"; recipient is "b@x.org"`, ``, ""},
		{`size > 10MB; size < 5MB`, ``, "never"},
		{`size > 5MB; size < 10MB`, ``, ""},
		{`attachments > 3; attachments < 4`, ``, "never"},
		{`attachments >= 3; attachments < 4`, ``, ""},
		{`recipients < 1`, ``, "never"},
		{`recipients <= 1`, ``, ""},
		{`client in 192.0.2.0/24; client in 198.51.100.0/24`, ``, "never"},
		{`client in 192.0.0.0/16; client in 192.0.2.0/24`, ``, ""},
		{`subject contains "Éxito"; not subject contains "exito"`, ``, "never"},
		{`subject contains "exito"; not subject contains "exitos"`, ``, ""},
		{`subject contains "exitos"; not: subject contains "exito"`, ``, "never"},
		{`header x-a exists; header x-a is missing`, ``, "never"},
		{`header x-a contains "b"; header x-a is missing`, ``, "never"},
		{`header x-b contains "b"; header x-a is missing`, ``, ""},
		{`attachment extension is ".exe"`, ``, "refused"},
		{`attachment name ends ".exe"`, ``, ""},
		{`attachment name ends ".exe"; not attachment name ends "exe"`, ``, "never"},
		{`attachment name ends ".exe"; not attachment name ends "x.exe"`, ``, ""},
		{`html tag is "<iframe>"`, ``, "refused"},
		{`html tag is "iframe"`, ``, ""},
		{`client is "mail.example.org"`, ``, "refused"},
		{`subject matches /a^b/`, ``, "never"},
		{`subject matches /^\s+x/`, ``, "never"},
		{`subject matches /^\s*x/`, ``, ""},
		{`body line matches /a\nb/`, ``, "never"},
		{`text matches /a\nb/`, ``, ""},
		{`raw header subject matches /a\nb/`, ``, "never"},
		{`raw header subject matches /a\n\s+b/`, ``, ""},
		{`text matches /a\nb/a`, ``, "never"},
		{`text matches /a\sb/a`, ``, ""},
		{`text matches /a  b/a`, ``, "never"},
		{`subject contains "x"; any: recipients < 1; any: subject matches /a^/`, ``, "never"},
		// Always.
		{`subject matches /.*/`, ``, "always"},
		{`subject matches /x|/`, ``, "always"},
		{`subject matches /.+/`, ``, ""},
		{`helo matches /.*/s`, ``, "always"},
		{`size >= 0`, ``, "refused"},
		{`attachments > 0`, ``, ""},
		{`not: subject contains "x" + action = "reject"`, ``, "not-only"},
		{`not: subject contains "x" + action = "warn"`, ``, ""},
		// Shadowed.
		{`subject contains "ab" + stop = true`, `subject contains "abc"`, "shadowed"},
		{`subject contains "abc" + stop = true`, `subject contains "ab"`, ""},
		{`subject contains "ab"`, `subject contains "abc"`, ""},
		{`subject contains "Ñandú" + action = "pass"`, `subject is "nandu"`, "shadowed"},
		{`subject contains "ab" + action = "pass"; mode = "observe"`, `subject contains "abc"`, ""},
		{`subject contains "ab" + stop = true; mode = "score"`, `subject contains "abc"`, "shadowed"},
		{`subject contains "ab" + stop = true; direction = "in"`, `subject contains "abc"`, ""},
		{`subject contains "ab" + stop = true`, `subject contains "abc" + direction = "in"`, "shadowed"},
		{`subject contains "ab" + stop = true; expires = 2030-01-01`, `subject contains "abc"`, ""},
		{`subject contains "ab"; size > 1MB + stop = true`, `subject contains "abc"`, ""},
		{`subject contains "ab"; size > 1MB + stop = true`, `size > 2MB; subject contains "xabc"`, "shadowed"},
		{`client in 192.0.2.0/24 + stop = true`, `client in 192.0.2.128/25`, "shadowed"},
		{`client in 192.0.2.128/25 + stop = true`, `client in 192.0.2.0/24`, ""},
		{`any: subject contains "a"; any: size > 1MB + stop = true`, `subject contains "ba"`, "shadowed"},
		{`any: subject contains "a"; any: size > 1MB + stop = true`, `any: size > 2MB; any: subject starts "a"`, "shadowed"},
		{`any: subject contains "a"; any: size > 1MB + stop = true`, `any: size > 2MB; any: subject contains "c"`, ""},
		{`subject contains "a"; not: helo is "x" + stop = true`, `subject contains "a"`, ""},
		{`subject contains "a"; not: helo is "x" + stop = true`, `subject contains "a"; not: helo is "x" or "y"`, "shadowed"},
		{`subject contains "a"; not: helo is "x" or "y" + stop = true`, `subject contains "a"; not: helo is "x"`, ""},
		{`any header contains "ab" + stop = true`, `subject contains "abc"`, "shadowed"},
		{`subject matches /foo/i + stop = true`, `subject matches /FOO.*bar/`, "shadowed"},
		{`subject matches /foo/ + stop = true`, `subject matches /foo/i`, ""},
		{`text matches /oferta/a + stop = true`, `text contains "Ofertás de hoy"`, "shadowed"},
		{`attachment name ends ".exe" + stop = true`, `attachment name ends "x.exe"; attachment size > 1MB`, "shadowed"},
		{`attachment name ends ".exe"; attachment size > 1MB + stop = true`, `attachment name ends ".exe"; any: attachment size > 1MB`, ""},
		{`not attachment name ends ".exe" + stop = true`, `attachment size > 1MB; not attachment name ends ".exe"`, ""},
		{`not: attachment name ends ".exe" + stop = true`, `attachment size > 1MB; not: attachment name ends "exe"`, "shadowed"},
		{`sender domain in list l + stop = true`, `sender domain is "example.org"`, "shadowed"},
		{`sender domain in list l + stop = true`, `sender domain is "example.com"`, ""},
		// Duplicates and contradictions.
		{`subject contains "a" + action = "reject"`, `subject contains "Á" + action = "reject"`, "duplicate"},
		{`subject contains "a" + action = "reject"`, `subject contains "á" + action = "quarantine"`, "contradiction"},
		{`subject contains "a" + action = "reject"`, `subject contains "á" + action = "quarantine"; mode = "score"`, ""},
		{`subject contains "a" + action = "reject"; direction = "in"`, `subject contains "a" + action = "quarantine"; direction = "out"`, ""},
		{`subject contains "a" + action = "reject"`, `subject contains "ab" + action = "quarantine"`, "contradiction"},
		{`subject contains "ab" + action = "reject"`, `subject contains "a" + action = "quarantine"`, ""},
		{`subject contains "ab" + action = "quarantine"; stop = true`, `subject contains "a" + action = "reject"`, ""},
		{`subject contains "ab" + action = "tag subject \"[x] \""`, `subject contains "ab" + action = "bcc \"a@example.org\""`, ""},
		// Patterns.
		{`text matches /^(\w+\s?)*(?!x)$/`, ``, "backtracking"},
		{`text matches /foo(?!bar)/`, ``, ""},
		{`text matches /^(\w+\s?)*$/`, ``, ""},
		{`text matches /[a-z]{0,900}1[a-z]{0,900}2/`, ``, "cost"},
	} {
		text := rule("one", c.first)
		if c.second != "" {
			text += rule("two", c.second)
		}
		set, refused := tryCompile(text)
		if refused != "" {
			if c.want != "refused" {
				t.Errorf("%s | %s: %s", c.first, c.second, refused)
			}
			continue
		}
		got := lint.Rules(set)
		if idsOf(got) != c.want {
			t.Errorf("%s | %s: %q, not %q: %+v", c.first, c.second, idsOf(got), c.want, got)
		}
		for _, f := range got {
			if f.Text == "" || lint.Explain(f.ID) == "" || f.Rule == "" {
				t.Errorf("%+v", f)
			}
			printable(t, f)
		}
	}
}

func TestExpired(t *testing.T) {
	set := compile(t, rule("one", `subject contains "a" + expires = 2020-01-31`))
	if got := lint.Rules(set); len(got) > 0 {
		t.Error(got)
	}
	now := time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC)
	if got := lint.RulesAt(set, now); idsOf(got) != "expired" {
		t.Error(got)
	}
	if got := lint.RulesAt(set, now.Add(-time.Hour)); len(got) > 0 {
		t.Error(got)
	}
}

// TestMany: many rules are no reason to take long.
func TestMany(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		b.WriteString(rule(fmt.Sprintf("r%d", i), fmt.Sprintf(`subject contains "word%dx"; size > %dkB`, i, i)))
	}
	if got := lint.Rules(compile(t, b.String())); len(got) > 0 {
		t.Error(got[0])
	}
}
