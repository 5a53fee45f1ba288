package migrate

import (
	"strings"
	"testing"
	"unicode"

	"garita/rules"
	"garita/rules/postfix"
)

// lineOf is what the report says of a line.
func lineOf(t *testing.T, r Result, n int) Line {
	t.Helper()
	for _, l := range r.Lines {
		if l.Line == n {
			return l
		}
	}
	t.Fatalf("nothing is said of line %d: %v", n, r.Lines)
	return Line{}
}

// ruleOf is an imported rule.
func ruleOf(t *testing.T, r Result, id string) *rules.Rule {
	t.Helper()
	file, problems := rules.Parse(rules.Source{Name: "import", Text: []byte(r.TOML)}, rules.ParseOptions{})
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("%s\n%s", p.Text, r.TOML)
		}
	}
	for _, one := range file.Rules {
		if one.ID == id {
			return one
		}
	}
	t.Fatalf("there is no rule %s in\n%s", id, r.TOML)
	return nil
}

// TestBodyGuide: rules of the kind that guides have for body_checks: those about
// names are dead there and become rules about names (features 0.1, rows 1, 2).
func TestBodyGuide(t *testing.T) {
	table := `# names
/(filename|name)="(Alegre99|Feliz)\.exe"/ REJECT
/(filename|name)=".*\.(pif|scr|vbs?)"/ REJECT
/^\s+(file)?name="?.+?\.(bat|js[e]?)\b/ REJECT No programs
/(filename|name)=".*\.\{.*\}"/ REJECT
/^begin\s+[0-7]{3}\s+.+?\.(bat|pif)\b/ REJECT
/Te mando esta carta/ REJECT
/^Content-Type: .*exe/ REJECT
/a\nb/ REJECT
/^$/ REJECT
/x{2100}/ REJECT
`
	r := Checks([]byte(table), Options{File: "/etc/postfix/body_checks", Kind: postfix.PCRE, View: postfix.Body, Mode: "enforce"})
	for n, want := range map[int]struct {
		fate Fate
		said string
	}{2: {Dead, "mime_header_checks"}, 3: {Dead, "mime_header_checks"}, 4: {Dead, "mime_header_checks"}, 5: {Dead, "mime_header_checks"},
		6: {Imported, ""}, 7: {Imported, ""}, 8: {Dead, "mime_header_checks"}, 9: {Dead, "one line at a time"}, 10: {Dead, "empty"},
		11: {Dead, "2048"}} {
		l := lineOf(t, r, n)
		if l.Fate != want.fate || !strings.Contains(l.Why, want.said) {
			t.Errorf("line %d: %v", n, l)
		}
		if l.Fate == Dead && l.Sample == "" && n != 10 {
			t.Errorf("line %d has no sample: %v", n, l)
		}
	}
	for id, want := range map[string]string{
		"body-checks-2": `attachment name is "Alegre99.exe" or "Feliz.exe"`,
		"body-checks-3": `attachment extension is "pif" or "scr" or "vb" or "vbs"`,
		"body-checks-4": `attachment extension is "bat" or "js" or "jse"`,
	} {
		if got := ruleOf(t, r, id).Match[0].Source; got != want {
			t.Errorf("%s: %s", id, got)
		}
	}
	with := func(name string) []byte {
		return []byte("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n" +
			"Content-Disposition: attachment;\r\n filename=\"" + name + "\"\r\n\r\nxx\r\n--b--\r\n")
	}
	for name, id := range map[string]string{"alegre99.EXE": "body-checks-2", "a.b.pif": "body-checks-3", "x.jse": "body-checks-4",
		"a.{00-11}": "body-checks-5"} {
		if !hits(t, r.TOML, with(name))[id] {
			t.Errorf("%s does not hit %s", id, name)
		}
	}
	if got := hits(t, r.TOML, with("informe.pdf")); len(got) > 0 {
		t.Errorf("informe.pdf hits %v", got)
	}
	if got := hits(t, r.TOML, []byte("Subject: x\r\n\r\nhola\r\nbegin 644 foto.pif\r\nTe mando esta carta\r\n")); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if reply := ruleOf(t, r, "body-checks-4").Reply; reply == nil || !strings.Contains(reply.Text, "No programs") {
		t.Errorf("%+v", reply)
	}
}

// TestHeaderTraps: what is imported, changed, skipped, dead and noted of a
// header_checks.
func TestHeaderTraps(t *testing.T) {
	table := `/^From: Nadie <nadie@sexy\.example>$/ REJECT
/^Subject: oferta/i REJECT
/^\s+name="x/ REJECT
/^una frase: / REJECT
/^Subject: bien/ DUNNO
/^Subject: .*dinero/ REJECT Estás infectado
/^(X-Nota):/ PREPEND X-Otra: $1
/^X-Cola:/ HOLD
/^X-Ruta:/ FILTER smtp:[192.0.2.1]:25
/^X-Quita:/ IGNORE
/^X-Pon:/ REPLACE X-Pon: nada
/^X-Pon2:/ REPLACE X-Otra: nada
/^X-Va:/ REDIRECT jefe@our.example
/^X-Copia:/ BCC archivo@our.example
/^X-Luego:/ REJECT 4.7.1 later
/^X-Codigo:/ REJECT 5.7.9 no
/^X-Raro:/ FOO
/^X-Vacio:/
/^X-Dos: (.*)$/ WARN $1 visto
/^X-Mal: (/ REJECT
if /^Received:/
!/by mx\.our\.example/ WARN fuera
endif
/^Subject: ñ/ REJECT
`
	r := Checks([]byte(table), Options{File: "header_checks", View: postfix.Header, Everywhere: true, Mode: "enforce"})
	for n, want := range map[int]struct {
		fate Fate
		said string
	}{1: {Imported, "encoded words"}, 2: {Imported, "mind the case"}, 3: {Dead, "folded"}, 4: {Dead, "no header"}, 5: {Imported, "exception"},
		6: {Changed, "ASCII"}, 7: {Skipped, "$n"}, 8: {Imported, ""}, 9: {Skipped, "[next_hop.NAME]"}, 10: {Imported, ""}, 11: {Imported, ""},
		12: {Skipped, "another name"}, 13: {Imported, ""}, 14: {Imported, ""}, 15: {Imported, ""}, 16: {Imported, ""}, 17: {Skipped, "unknown command"},
		19: {Changed, "$n"}, 20: {Skipped, "Postfix skips it too"}, 22: {Imported, ""}, 24: {Imported, ""}} {
		if l := lineOf(t, r, n); l.Fate != want.fate || !strings.Contains(l.Why, want.said) {
			t.Errorf("line %d: %v", n, l)
		}
	}
	told := ""
	for _, l := range r.Lines {
		told += l.String() + "\n"
	}
	if !strings.Contains(told, "451 4.3.0") {
		t.Error("nothing is said of the empty result of line 18")
	}
	for id, want := range map[string]rules.ActionKind{"header-checks-8": rules.Quarantine, "header-checks-10": rules.IgnoreHeader, "header-checks-11": rules.ReplaceHeader,
		"header-checks-13": rules.Redirect, "header-checks-14": rules.Bcc, "header-checks-15": rules.Defer, "header-checks-16": rules.Reject,
		"header-checks-22": rules.Warn} {
		if got := ruleOf(t, r, id).Actions; len(got) != 1 || got[0].Kind != want {
			t.Errorf("%s: %+v", id, got)
		}
	}
	for raw, want := range map[string]string{
		"Subject: bien dinero\r\n\r\nx\r\n":                      "",
		"Subject: mucho dinero\r\n\r\nx\r\n":                     "header-checks-6",
		"Subject: oferta\r\n\r\nx\r\n":                           "header-checks-2",
		"Subject: Oferta\r\n\r\nx\r\n":                           "",
		"Subject: \xc3\xb1\r\n\r\nx\r\n":                         "header-checks-24",
		"Received: from a by mx.our.example\r\n\r\nx\r\n":        "",
		"Received: from a\r\n\tby mx.other.example\r\n\r\nx\r\n": "header-checks-22",
	} {
		got := hits(t, r.TOML, []byte(raw))
		if want == "" && len(got) > 0 || want != "" && (!got[want] || len(got) != 1) {
			t.Errorf("%q: %v, want %q", raw, got, want)
		}
	}
}

// TestViews: the views of a table.
func TestViews(t *testing.T) {
	table := []byte("/^Content-Type: .*exe/ REJECT\n/^Subject: x/ REJECT\n/abc/ REJECT\n")
	r := Checks(table, Options{File: "t", View: postfix.Header})
	if l := lineOf(t, r, 1); l.Fate != Dead || !strings.Contains(l.Why, "mime_header_checks alone") {
		t.Error(l)
	}
	if l := lineOf(t, r, 3); l.Fate != Changed {
		t.Error(l)
	}
	for view, want := range map[postfix.View]string{postfix.MIMEHeader: "any mime header", postfix.NestedHeader: "any nested header"} {
		r := Checks(table, Options{File: "t", View: view})
		if got := ruleOf(t, r, "t-3").Match[0].Source; !strings.HasPrefix(got, want) {
			t.Error(got)
		}
	}
	r = Checks(table, Options{File: "t", View: postfix.Header, Everywhere: true})
	for id, want := range map[string]string{"t-1": "raw any header any mime header", "t-2": "raw any header any nested header",
		"t-3": "raw any header any mime header any nested header"} {
		got := ""
		for _, c := range ruleOf(t, r, id).Any {
			got += " " + c.Source[:strings.Index(c.Source, " matches")]
		}
		if got != " "+want {
			t.Errorf("%s:%s", id, got)
		}
	}
	if got := ruleOf(t, r, "t-2").Mode.String(); got != "observe" {
		t.Error(got)
	}
}

// TestManyBefore: an order that cannot be kept is told, never lost.
func TestManyBefore(t *testing.T) {
	table := strings.Repeat("/a/ DUNNO\n", 40) + "/b/ REJECT\n"
	if l := lineOf(t, Checks([]byte(table), Options{File: "t", View: postfix.Body}), 41); l.Fate != Skipped || !strings.Contains(l.Why, "first match") {
		t.Error(l)
	}
}

// TestGuess: what a table was written in.
func TestGuess(t *testing.T) {
	for text, want := range map[string]postfix.Kind{`/^\d+/ REJECT`: postfix.PCRE, `/\<a\>/ REJECT`: postfix.Regexp, `/a/!/b/ REJECT`: postfix.Regexp,
		`/a/U REJECT`: postfix.PCRE, `/a/ REJECT`: postfix.PCRE, "/(?i)a/ OK": postfix.PCRE} {
		if got, why := Guess([]byte(text)); got != want || why == "" {
			t.Errorf("%s: %v, %s", text, got, why)
		}
	}
}

// TestHostileText: octets of a table that would move a terminal or end a string.
func TestHostileText(t *testing.T) {
	table := "/\x1b31mrojo\xff'''\"\"\"/ REJECT \x1b[0m\xe2\x80\xae\"'\n/x/ WARN \x07\x9b\n\x1b\x00\xff ]]] [[rule]]\n/\xe2\x80\xaetxt/ REJECT\n"
	for _, o := range []Options{{File: "a\x1b[0m\n'''\xff", View: postfix.Body}, {File: "b", View: postfix.Header, Everywhere: true}} {
		clean(t, Checks([]byte(table), o))
		clean(t, Access([]byte(table), Options{File: o.File, Check: "sender"}, nil))
		clean(t, MainCF([]byte(table+"relay_domains = \x1b[31m, \xff.example\nsmtpd_client_restrictions = \x1b\n"), o, nil, nil))
		clean(t, MailScanner([]byte("deny\t\x1b\xff\\.exe$\tlog \x1b\tuser \xff\"'\n"+table), o))
	}
	if got := ruleOf(t, Checks([]byte(table), Options{File: "t", View: postfix.Body}), "t-1"); got == nil {
		t.Error("the rule is gone")
	}
}

// clean says that all of a result may be printed.
func clean(t testing.TB, r Result) {
	t.Helper()
	all := strings.ReplaceAll(r.TOML, "\n", " ")
	for _, l := range r.Lines {
		all += l.String()
	}
	for _, c := range all + r.Summary() {
		if !unicode.IsPrint(c) {
			t.Fatalf("%q is not to be printed: %q", c, all)
		}
	}
}

func TestASCII(t *testing.T) {
	if got, odd := ascii("¿Estás «ahí», señor Müller? ß ª º 日"); got != `Estas "ahi", senor Muller? s a o ?` || !odd {
		t.Errorf("%q", got)
	}
	if got, odd := ascii("plain"); got != "plain" || odd {
		t.Error(got)
	}
}
