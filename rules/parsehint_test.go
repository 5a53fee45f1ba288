package rules

import (
	"io/fs"
	"strings"
	"testing"
)

// parsed gives the problems of one rule with these lines.
func parsed(t *testing.T, lines string) []Problem {
	t.Helper()
	_, problems := Parse(Source{Name: "a.toml", Text: []byte(lines)}, ParseOptions{ReadList: func(string) ([]byte, error) { return nil, fs.ErrNotExist }})
	return problems
}

// TestHintsOfConditions: what people write at first, and what they are told.
func TestHintsOfConditions(t *testing.T) {
	for _, c := range []struct{ condition, want string }{
		{`subject contains usted ha ganado`, `write "usted ha ganado"`},
		{`subject contains “usted ha ganado”`, `write "usted ha ganado"`},
		{`subject contains premio or "x"`, `write "premio"`},
		{`subject starts with "x"`, `write starts "…"`},
		{`subject ends with "x"`, `write ends "…"`},
		{`subject contains "x" or subject contains "y"`, `any = [`},
		{`subject contains "x" or text contains "y"`, `any = [`},
		{`client is 203.0.113.9`, `write client in 203.0.113.9)`},
		{`client = "203.0.113.0/24"`, `write client in 203.0.113.0/24)`},
		{`client is mail.example.org`, `write client in 192.0.2.1)`},
		{`sender in list "names.txt"`, `its path begins in the folder of this file`},
		{`attachment extension ends ".exe"`, `an extension has no dot here (write "exe")`},
	} {
		got := parsed(t, "[[rule]]\nid = \"a\"\nmatch = ['''"+c.condition+"''']\naction = \"reject\"\n")
		if len(got) != 1 || got[0].Warning || !strings.Contains(got[0].message(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.condition, got, c.want)
		}
	}
}

// TestUnlikelyValues: what can be said and hits nothing is a warning.
func TestUnlikelyValues(t *testing.T) {
	for _, c := range []struct{ condition, want string }{
		{`attachment name is "*.exe"`, `did you mean attachment extension is "exe"?`},
		{`attachment extension is "*.exe"`, `did you mean attachment extension is "exe"?`},
		{`attachment extension is "tar.gz"`, `did you mean attachment name ends ".tar.gz"?`},
		{`sender is "*@spam.example"`, `did you mean sender domain is "spam.example"?`},
		{`sender is "@spam.example"`, `did you mean sender domain is "spam.example"?`},
		{`recipient is "example.org"`, `did you mean recipient domain is "example.org"?`},
		{`sender domain is "*.spam.example"`, `did you mean sender domain ends ".spam.example"?`},
		{`host is ".dyn.example"`, `did you mean host ends ".dyn.example"?`},
		{`subject is "*oferta*"`, `did you mean subject contains "oferta"?`},
		{`header X-Mailer is "*bat*"`, `did you mean header x-mailer contains "bat"?`},
		{`attachment type is "exe"`, `attachment type is "executable"`},
		{`subject matches /^Subject: oferta/`, `leave Subject: out`},
		{`header From matches /^from:.*hahaha/i`, `leave from: out`},
		{`text matches /<iframe\s+src=/i`, `did you mean html tag is "iframe"?`},
		{`text matches /\<IFRAME/`, `did you mean html tag is "iframe"?`},
		{`text contains "<script"`, `did you mean html tag is "script"?`},
		{`body line matches /<iframe/`, ``},
		{`text contains "a <b"`, ``},
		{`sender is "ana@partner.example"`, ``},
		{`recipient is "postmaster"`, ``},
		{`sender domain ends ".spam.example"`, ``},
		{`subject is "*"`, ``},
		{`subject is "***"`, ``},
		{`attachment name ends ".tar.gz"`, ``},
		{`attachment name contains "*."`, ``},
		{`any header matches /^Subject: oferta/`, ``},
		{`header Subject matches /^Subjects: oferta/`, ``},
		{`attachment type is "pe" or "zip"`, ``},
	} {
		got := parsed(t, "[[rule]]\nid = \"a\"\nmatch = ['''"+c.condition+"''']\naction = \"reject\"\n")
		if c.want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || !got[0].Warning || c.want == "" || !strings.Contains(got[0].message(), c.want) {
			t.Errorf("%s: %v\nwant the warning %q", c.condition, got, c.want)
		}
	}
}

// TestHintsOfFiles: slips of the form, of which each is told once.
func TestHintsOfFiles(t *testing.T) {
	const rule = "[[rule]]\nid = \"a\"\nmatch = ['subject contains \"x\"']\n"
	for _, c := range []struct{ text, want string }{
		{"[[rule]]\nid = \"a\"\nmatch = [\"subject contains \"usted\"\"]\n", `the text ends at the " before this`},
		{"[[rule]]\nid = \"a\"\nmatch = ['subject contains 'usted'']\n", `the text ends at the ' before this`},
		{rule + "score = 5,0\n", "write a point: score = 5.0"},
		{rule + "expires = 31-01-2027\n", "write expires = 2027-01-31"},
		{rule + "expires = 31/01/2027\n", "write expires = 2027-01-31"},
		{rule + "// a word\n", "a comment begins with #"},
		{rule + "; a word\n", "a comment begins with #"},
		{"/^From: x/ REJECT\n", "this is a line of a Postfix table"},
		{rule + "direction = \"entrante\"\n", "did you mean in?"},
		{rule + "direction = \"Outbound\"\n", "did you mean out?"},
		{rule + "mode = \"on\"\n", "did you mean enforce?"},
		{"[[rules]]\nid = \"a\"\nmatch = ['subject contains \"x\"']\n", "write [[rule]]"},
		{"[[regla]]\nid = \"a\"\n", "write [[rule]], [[rule.test]] or [[override]]"},
	} {
		got := parsed(t, c.text)
		if len(got) != 1 || !strings.Contains(got[0].message(), c.want) {
			t.Errorf("%q: %v\nwant %s", c.text, got, c.want)
		}
	}
}

// TestClashWithShipped: the mistake is in the operator's file.
func TestClashWithShipped(t *testing.T) {
	var files []*File
	for _, name := range []string{"/etc/a.toml", "builtin:b"} {
		f, problems := Parse(Source{Name: name, Text: []byte("[[rule]]\nid = \"a\"\nmatch = ['subject contains \"x\"']\n")}, ParseOptions{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		files = append(files, f)
	}
	_, problems := Compile(files)
	if len(problems) != 1 || problems[0].File != "/etc/a.toml" || !strings.Contains(problems[0].Text, "builtin:b") {
		t.Errorf("%v", problems)
	}
}
