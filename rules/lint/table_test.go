package lint_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"garita/rules/lint"
	"garita/rules/postfix"
)

func idsOf(found []lint.Finding) string {
	var ids []string
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return strings.Join(ids, " ")
}

// TestTable: each finding, and near misses that are silent.
func TestTable(t *testing.T) {
	const pcre, regexp = postfix.PCRE, postfix.Regexp
	const head, mime, nested, body = postfix.Header, postfix.MIMEHeader, postfix.NestedHeader, postfix.Body
	for _, c := range []struct {
		kind postfix.Kind
		view postfix.View
		text string
		want string
	}{
		// features.md 2.2: i turns case on.
		{pcre, head, `/^Subject: Viagra/i REJECT`, "fold-off"},
		{pcre, head, `/^Subject: Viagra/ REJECT`, ""},
		{pcre, head, `/^X-1: \d+$/i REJECT`, "fold-off"},
		{pcre, body, `/^[0-9]+ \$$/i REJECT`, ""},
		{pcre, head, `/^Subject: Viagra/ii REJECT`, ""},
		{regexp, head, `/^Subject: Viagra/i REJECT`, "fold-off"},
		{pcre, body, `/[a-zA-Z]{5}\./i REJECT`, ""},
		// 2.1, 2.3: replacements.
		{pcre, head, `/^Subject: (x)/ REJECT $0`, "dollar-zero"},
		{pcre, head, `/^Subject: (x)/ REJECT $1y`, "dollar-zero"},
		{pcre, head, `/^Subject: (x)/ REJECT ${1}y $$`, ""},
		{pcre, head, `/^Subject: (x)/ REJECT $2`, "dollar"},
		{pcre, head, `!/^Subject: (x)/ REJECT $1`, "dollar"},
		{pcre, head, `/^Subject: x/q REJECT`, "flag"},
		{pcre, head, `/^Subject: x/X REJECT`, "flag"},
		{pcre, head, `/^Subject: x/!/y/ REJECT`, "flag"},
		{regexp, head, `/^Subject: x/!/y/ REJECT`, ""},
		{pcre, head, `/^Subject: (x/ REJECT`, "escape"},
		{pcre, head, `/^Subject: (?R)/ REJECT`, "unsupported"},
		{pcre, head, `/^Subject: x/`, "no-action"},
		{pcre, head, `/^Subject: x REJECT`, "skipped"},
		{pcre, head, `Subject: x REJECT`, "skipped"},
		{pcre, head, ` /^Subject: x/ REJECT`, "skipped"},
		{pcre, head, "if /^Subject:/\n /x/ REJECT\nendif", "if-blank"},
		{pcre, head, "if /^Subject:/\n/x/ REJECT\nendif", ""},
		{pcre, head, "if /^Subject:/\n/x/ REJECT", "if-open"},
		{pcre, head, "/^Subject: x/ REJECT\nendif", "if-open"},
		// 2.3 item 20.
		{regexp, head, `/^Subject: \d+/ REJECT`, "escape never"}, // under fold not even the letter
		{regexp, head, `/^Subject: \d*x/ REJECT`, "escape"},
		{regexp, head, `/^Subject: [\d]+\w\b/ REJECT`, ""},
		{regexp, head, `/^Subject: [[:digit:]\d]+/ REJECT`, ""},
		{pcre, head, `/^Subject: \d+/ REJECT`, ""},
		// Never.
		{pcre, head, `/^\s+name=x/ REJECT`, "never"},
		{pcre, head, `/^(.*\n)?\s+name=x/ REJECT`, ""},
		{pcre, head, `/^$/ REJECT`, "never"},
		{pcre, body, `/^$/ REJECT`, "never"},
		{pcre, body, `/^\s*$/ REJECT`, ""},
		{pcre, body, `/foo\nbar/ REJECT`, "never"},
		{pcre, body, `/foo\s+bar/ REJECT`, ""},
		{pcre, body, `/foo$\n?/ REJECT`, ""},
		{pcre, head, `/^Subject: foo\nbar/ REJECT`, "never"},
		{pcre, head, `/^Subject: foo\n\s+bar/ REJECT`, ""},
		{pcre, head, `/^X-Foo :/ REJECT`, "never"},
		{pcre, head, `/^Content-Type: x/ REJECT`, ""},
		{pcre, nested, `/^Content-Type: x/ REJECT`, "never"},
		{pcre, nested, `/^Content-Types: x/ REJECT`, ""},
		{pcre, mime, `/^Content-Type: x/ REJECT`, ""},
		{pcre, body, `/a^b/ REJECT`, "never"},
		{pcre, body, `/x{2049}/ REJECT`, "never"},
		{pcre, body, `/x{2048}/ REJECT`, ""},
		{pcre, body, `/a\x00b/ REJECT`, "never"},
		{pcre, head, "if /^From:/\n/^Subject: x/ REJECT\nendif", "never"},
		{pcre, head, "if /^From:/\n/x/ REJECT\nendif", ""},
		{pcre, head, "if !/^From:/\n/^From: x/ REJECT\nendif", "never"},
		{regexp, head, `/^Subject: abc/!/ab/ REJECT`, "never"},
		// Part headers.
		{pcre, body, `/^Content-Disposition:.*\.exe/ REJECT`, "part-header"},
		{pcre, body, `/^\s*(file)?name="?.*\.exe/ REJECT`, "part-header"},
		{pcre, body, `/^begin 644 .*\.exe/ REJECT`, ""},
		{pcre, body, `/<form name=/ REJECT`, ""},
		// Hidden.
		{pcre, head, "/^Subject: ab/ REJECT\n/^Subject: abc/ DISCARD", "shadowed"},
		{pcre, head, "/^Subject: abc/ REJECT\n/^Subject: ab/ DISCARD", ""},
		{pcre, head, "/^Subject: abc/i REJECT\n/^Subject: abc/ DISCARD", "fold-off"},
		{pcre, head, "/^Subject:/ DUNNO\n/^Subject: abc/ DISCARD", "shadowed"},
		{pcre, head, "/^Subject: abc/ REJECT\n/^Subject: abc/ REJECT", "duplicate"},
		{pcre, head, "/./ DUNNO\n/^Subject: abc/ DISCARD", "shadowed"},
		{pcre, head, "!/^Subject:/ DUNNO\n/^From: abc/ DISCARD", "shadowed"},
		{pcre, head, "!/^Subject:/ DUNNO\n/^Subject: abc/ DISCARD", ""},
		{pcre, head, "if /^From:/\n/x/ DUNNO\nendif\n/^From: x/ REJECT", "shadowed"},
		{pcre, head, "if /^From:/\n/x/ DUNNO\nendif\n/^To: x/ REJECT", ""},
		{pcre, body, "/(?i)viagra|cialis/ REJECT\n/cialis|VIAGRA/ WARN", "shadowed"},
		{pcre, body, "/foo.*bar/ REJECT\n/foo.+bar/ WARN", "shadowed"},
		{pcre, body, "/foo.+bar/ REJECT\n/foo.*bar/ WARN", ""},
		{pcre, body, "/foo(?=bar)/ REJECT\n/foobar/ WARN", ""}, // true, and not proved
		// Actions.
		{pcre, head, `/^Subject: x/ REJECT 2.0.0 no`, "action"},
		{pcre, head, `/^Subject: x/ REJECT 5.7.1 no`, ""},
		{pcre, head, `/^Subject: x/ REJECT 550 5.7.1 no`, "reject-code"},
		{pcre, head, `/^Subject: x/ REJECT 550s are not for us`, ""},
		{pcre, head, `/^Subject: x/ PREPEND foo`, "action"},
		{pcre, head, `/^Subject: x/ PREPEND X-Foo: bar`, ""},
		{pcre, body, `/^Subject: x/ PREPEND foo`, ""},
		{pcre, head, `/^Subject: (x)/ REPLACE $1`, ""},
		{pcre, head, `/^Subject: x/ REDIRECT postmaster`, "action"},
		{pcre, head, `/^Subject: x/ DENY`, "action"},
		{pcre, head, `/^Subject: x/ OK`, "ok"},
		{pcre, head, `/^Subject: x/ DUNNO`, ""},
		{pcre, head, `/^Subject: x/ REJECT # spam`, "comment"},
		{pcre, head, `/^Subject: x/ REJECT ticket #5`, ""},
		// Octets.
		{pcre, head, "/^Subject: oferta \xc3\xa9xito/ REJECT", "accents"},
		{pcre, body, "/\xe9xito/ REJECT", "accents"},
		{pcre, body, "/(\xe9|e)xito/ REJECT", ""},
		{pcre, head, `/^Subject: [^a]/ REJECT`, ""},
		//
		{pcre, body, `/^(?:[a-z]+\s?)+(?!x)$/ REJECT`, "backtracking"},
		{pcre, head, `/(?<!x)[a-z]+[0-9]/ REJECT`, "backtracking"},
		{pcre, body, `/(?<!x)[a-z]+[0-9]/ REJECT`, ""}, // a line is short
		{pcre, body, `/^([a-z]+\s?)+$/ REJECT`, ""},    // linear time here
	} {
		got := lint.Table("t", c.text, c.kind, c.view)
		if idsOf(got) != c.want {
			t.Errorf("%s %s %q: %q, not %q: %+v", c.kind, c.view, c.text, idsOf(got), c.want, got)
		}
		for _, f := range got {
			if f.Text == "" || lint.Explain(f.ID) == "" || f.File != "t" || f.Line == 0 {
				t.Errorf("%+v", f)
			}
			printable(t, f)
		}
	}
}

func printable(t *testing.T, f lint.Finding) {
	t.Helper()
	for _, c := range f.Text + f.Witness {
		if c < ' ' || c == 0x7f || c > 0x7f && c != '…' {
			t.Errorf("%q in %q %q", c, f.Text, f.Witness)
		}
	}
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

func randomTable(r *rand.Rand) string {
	var b strings.Builder
	pat := func() string {
		s := pick(r, "^", "", "", "^Subject:")
		for range 1 + r.IntN(3) {
			s += pick(r, "a", "b", "[ab]", ".*", ".", "a+", "(a|b)*", `\n`, `\s`, "b?", "^", "$", `\b`, "X", ": ")
		}
		return pick(r, "", "", "", "", "!") + "/" + s + pick(r, "", "", "$") + "/" + pick(r, "", "", "i", "m", "s")
	}
	open := 0
	for range 2 + r.IntN(6) {
		switch r.IntN(8) {
		case 0:
			b.WriteString("if " + pat() + "\n")
			open++
		case 1:
			if open > 0 {
				b.WriteString("endif\n")
				open--
			}
		}
		b.WriteString(pat() + " REJECT x\n")
	}
	return b.String()
}

func randomLine(r *rand.Rand, view postfix.View) string {
	s := ""
	for range r.IntN(6) {
		s += pick(r, "a", "b", "A", "x", " ", "ab", ": ", "X")
		if view != postfix.Body && r.IntN(6) == 0 {
			s += "\n" + pick(r, " ", "\t")
		}
	}
	if view != postfix.Body {
		return pick(r, "Subject:", "Subject: ", "a: ", "Subject: a", "b:") + s
	}
	return s
}

// TestTableIsRight: what is never or hidden gives no result for any line.
func TestTableIsRight(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	claims := 0
	for range 400 {
		text := randomTable(r)
		view := postfix.View(r.IntN(2) * 3)
		claims += checkTable(t, text, postfix.PCRE, view, 60, func() string { return randomLine(r, view) })
	}
	if claims < 100 {
		t.Errorf("only %d claims", claims)
	}
}

// checkTable holds findings against the table's own answers.
func checkTable(t *testing.T, text string, kind postfix.Kind, view postfix.View, times int, line func() string) int {
	t.Helper()
	dead := map[int]string{}
	for _, f := range lint.Table("t", text, kind, view) {
		printable(t, f)
		if f.ID == "never" || f.ID == "shadowed" || f.ID == "duplicate" {
			dead[f.Line] = f.ID
		}
	}
	table, _ := postfix.Parse(text, kind)
	for range times {
		s := line()
		if s == "" {
			continue
		}
		if _, at, ok, err := table.Lookup([]byte(s), nil); err == nil && ok && dead[at] != "" {
			t.Fatalf("%q: line %d is %s and hits %q", text, at, dead[at], s)
		}
	}
	return len(dead)
}

func FuzzTable(f *testing.F) {
	f.Add("/^Subject: ab/i REJECT\nif !/x/\n/^(a+)+(?!b)$/ WARN\nendif\n", "Subject: ab", byte(0))
	f.Add("/a\\nb/!/\\d/ REJECT $1\n/b*/ OK", "ab", byte(7))
	f.Add("~\xe9~ PREPEND x\n~^$~ IGNORE # x", "\xe9", byte(6))
	f.Fuzz(func(t *testing.T, text, line string, mode byte) {
		if len(text) > 200 || len(line) > 100 || strings.ContainsAny(line, "\n\x00") || line == "" {
			return
		}
		view := postfix.View(mode & 3)
		if view != postfix.Body {
			line = "Subject: " + line
		}
		checkTable(t, text, postfix.Kind(mode>>2&1), view, 1, func() string { return line })
	})
}
