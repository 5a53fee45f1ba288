package seeds

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
	"garita/rules"
	"garita/rules/builtin"
	"garita/rules/pattern"
	"garita/rules/postfix"
)

// tagThreshold is the default of the score from which a recipient sees
// something.
const tagThreshold = 6

// shipped compiles our sets, in their order.
func shipped(tb testing.TB) *rules.Set {
	tb.Helper()
	var files []*rules.File
	for _, name := range builtin.Sets() {
		source, _ := builtin.Source(name)
		file, problems := rules.Parse(source, rules.ParseOptions{})
		if len(problems) > 0 {
			tb.Fatalf("%+v", problems)
		}
		files = append(files, file)
	}
	set, problems := rules.Compile(files)
	if len(problems) > 0 {
		tb.Fatalf("%+v", problems)
	}
	return set
}

// said is what the rules say of a message.
type said struct {
	ids    []string
	refuse []string // of those, the ones that refuse
	score  float64
}

func (s said) has(ids string) bool {
	return slices.ContainsFunc(strings.Fields(ids), func(id string) bool { return slices.Contains(s.ids, id) })
}

// ask has the rules look at a message.
func ask(tb testing.TB, set *rules.Set, raw string) (out said) {
	tb.Helper()
	from, _, err := mail.ParseReverse("<ana@sender.example>", false)
	if err != nil {
		tb.Fatal(err)
	}
	to, _, err := mail.ParseForward("<b@our.example>", false)
	if err != nil {
		tb.Fatal(err)
	}
	tx := &mail.Transaction{
		Session:   &mail.Session{ID: "S1", Listener: "mx", Role: mail.Inbound, Client: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "mx.sender.example"},
		Direction: mail.In,
		Envelope:  mail.Envelope{ReversePath: from, ForwardPaths: []mail.Recipient{{Path: to}}},
	}
	in := rules.Input{Tx: tx, Raw: []byte(raw)}
	in.Index = message.ReadIndex(in.Raw, message.DefaultIndexLimits())
	result := set.Match(tb.Context(), in, pattern.NewBudget(10*time.Second, time.Now), rules.MatchOptions{})
	if len(result.GivenUp) > 0 {
		tb.Fatalf("%d rules given up", len(result.GivenUp))
	}
	for i := range result.Hits {
		r := result.Hits[i].Rule
		out.ids = append(out.ids, r.ID)
		if r.Mode == mail.Enforce {
			out.refuse = append(out.refuse, r.ID)
		}
		out.score += r.Score
	}
	return out
}

// tables are the guide's own.
func tables(tb testing.TB) postfix.Tables {
	tb.Helper()
	lines := map[string][]string{antiVirus: make([]string, 24), pcre: make([]string, 2), cabeceras: make([]string, 3)}
	for _, r := range guide() {
		lines[r.table][r.line-1] = r.pattern + " REJECT"
	}
	read := func(name string, kind postfix.Kind) *postfix.Table {
		t, problems := postfix.Parse(strings.Join(lines[name], "\n")+"\n", kind)
		for _, p := range problems {
			tb.Fatalf("%s:%d: %s", name, p.Line, p.Text)
		}
		return t
	}
	return postfix.Tables{
		Body:   []*postfix.Table{read(antiVirus, postfix.Regexp), read(pcre, postfix.PCRE)},
		Header: []*postfix.Table{read(cabeceras, postfix.PCRE)},
	}
}

// theirs tells whether Postfix would find that pattern of the guide.
func theirs(t postfix.Tables, r *row, raw string) bool {
	for _, h := range postfix.Scan([]byte(raw), t, postfix.Options{}, pattern.NewBudget(10*time.Second, time.Now)).Hits {
		table := cabeceras
		if h.View == postfix.Body {
			table = []string{antiVirus, pcre}[h.Table]
		}
		if table == r.table && h.Rule == r.line {
			return true
		}
	}
	return false
}

// letters are all that the pattern means.
func (r *row) letters() (out []form) {
	add := func(what string, forms []form) {
		for _, f := range forms {
			out = append(out, form{what + ", " + f.name, f.raw})
		}
	}
	for _, n := range r.names {
		add(n, attached(n))
	}
	for _, s := range r.texts {
		add(s, written(s))
	}
	for _, s := range r.tags {
		add(s, framed(s))
	}
	for _, h := range r.headers {
		add(h[1], headed(h[0], h[1]))
	}
	for _, l := range r.lines {
		add(l, []form{{"in the text", letter("Content-Type: text/plain\n", "Hola:\n\n"+l+"\n\nUn saludo")}})
	}
	return out
}

// near are letters that only look like it.
func (r *row) near() (out []form) {
	for _, n := range r.nearNames {
		for _, f := range attached(n) {
			if f.name != "uuencoded" { // pure text: the line rule looks at it, too
				out = append(out, form{n + ", " + f.name, f.raw})
			}
		}
	}
	for _, s := range r.nearTexts {
		out = append(out, form{s, letter("Content-Type: text/plain; charset=utf-8\n", s)})
	}
	for _, s := range r.nearSubjects {
		out = append(out, form{s, crlf(head + "Subject: " + s + "\n\nHola\n")})
	}
	for _, s := range r.nearPages {
		out = append(out, form{s, letter("Content-Type: text/html\n", s)})
	}
	// A warning in which people quote what the pattern means, all of it.
	warning := "Aviso: no abrais nada de esto, es un virus.\n\n"
	for _, list := range [][]string{r.names, r.texts, r.lines} {
		for _, s := range list {
			warning += "- \"" + s + "\"\n"
		}
	}
	for _, h := range r.headers {
		warning += "  " + h[0] + ": " + h[1] + "\n"
	}
	page := "<p>Aviso:</p>"
	for _, s := range r.tags {
		page += "<p>" + s + "</p>"
	}
	return append(out,
		form{"a warning", letter("Content-Type: text/plain; charset=utf-8\n", warning)},
		form{"a warning that is quoted", letter("Content-Type: text/plain; charset=utf-8\n", "> "+strings.ReplaceAll(warning, "\n", "\n> "))},
		form{"a page that warns", letter("Content-Type: text/html; charset=utf-8\n", page)})
}

// TestGuide: our rules find every letter that the guide's patterns mean, and
// none that only looks like it. What Postfix finds with the guide's own tables
// is counted (features.md 0.1, rows 1, 2 and 12).
func TestGuide(t *testing.T) {
	t.Parallel()
	set, own := shipped(t), tables(t)
	all, caught := 0, 0
	for _, r := range guide() {
		n, found := 0, 0
		for _, f := range r.letters() {
			n++
			if s := ask(t, set, f.raw); !s.has(r.rules) {
				t.Errorf("%s:%d: %s: hit by %q, wanted one of %s", r.table, r.line, f.name, s.ids, r.rules)
			} else if len(r.names) > 0 && len(s.refuse) == 0 {
				t.Errorf("%s:%d: %s: not refused", r.table, r.line, f.name)
			}
			if theirs(own, &r, f.raw) {
				found++
			}
		}
		if n == 0 {
			t.Errorf("%s:%d has no letters", r.table, r.line)
		}
		if found != r.caught {
			t.Errorf("%s:%d: the guide's own pattern finds %d of %d, wanted %d", r.table, r.line, found, n, r.caught)
		}
		all, caught = all+n, caught+found
		for _, f := range r.near() {
			if s := ask(t, set, f.raw); len(s.refuse) > 0 || s.score >= tagThreshold || !strings.Contains(f.name, "warn") && s.has(r.rules) {
				t.Errorf("%s:%d: near miss %s: hit by %q, score %v", r.table, r.line, f.name, s.ids, s.score)
			}
		}
	}
	t.Logf("%d letters: ours find all, the guide's own patterns %d", all, caught)
}

// TestGuideMeaning: what stands in the table as the meaning of a pattern is
// what the pattern finds when Postfix shows it the line, and of every word that
// it lists there is one.
func TestGuideMeaning(t *testing.T) {
	t.Parallel()
	for _, r := range guide() {
		kind := postfix.PCRE
		if r.table == antiVirus {
			kind = postfix.Regexp
		}
		own, problems := postfix.Parse(r.pattern+" REJECT\n", kind)
		if len(problems) > 0 {
			t.Fatalf("%s:%d: %+v", r.table, r.line, problems)
		}
		var lines []string
		for _, n := range r.names {
			lines = append(lines, ` filename="`+n+`"`)
			if r.line == 2 && r.table == pcre {
				lines[len(lines)-1] = " name=" + n
			}
		}
		lines = append(append(append(lines, r.texts...), r.tags...), r.lines...)
		for _, h := range r.headers {
			lines = append(lines, h[0]+": "+h[1])
		}
		for _, l := range lines {
			if _, _, ok, err := own.Lookup([]byte(l), pattern.NewBudget(10*time.Second, time.Now)); !ok || err != nil {
				t.Errorf("%s:%d does not find %q: %v", r.table, r.line, l, err)
			}
		}
		for _, group := range regexp.MustCompile(`\(([^()]*\|[^()]*)\)`).FindAllStringSubmatch(r.pattern, -1) {
			if group[1] == "filename|name" || len(r.names) == 0 {
				continue
			}
			for _, word := range strings.Split(group[1], "|") {
				re := regexp.MustCompile(`(?i)(^|\.)` + word + `($|\.)`)
				if !slices.ContainsFunc(r.names, re.MatchString) {
					t.Errorf("%s:%d: no name for %q", r.table, r.line, word)
				}
			}
		}
	}
}

// Every name that a rule lists is found by that rule, however it is written.
func TestEveryName(t *testing.T) {
	t.Parallel()
	set := shipped(t)
	n := 0
	for _, r := range set.Rules() {
		for _, c := range r.Match {
			var names []string
			switch {
			case len(r.Match) > 1 && r.ID != "ext-com" || c.Not || c.Op != rules.Is:
			case c.Subject == rules.AttachmentName:
				names = c.Values
			case c.Subject == rules.AttachmentExtension:
				for _, e := range c.Values {
					names = append(names, "acta del día."+e, "acta.pdf . ."+e+". .")
				}
			}
			for _, name := range names {
				forms := attached(name)
				if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f }) {
					forms = slices.DeleteFunc(forms, func(f form) bool {
						return f.name == "RFC 2231 in encoded pieces" || f.name == "encoded word Q" || f.name == "escaped letter"
					})
				}
				for _, f := range forms {
					n++
					if s := ask(t, set, f.raw); !slices.Contains(s.ids, r.ID) {
						t.Errorf("%s: %q, %s: hit by %q", r.ID, name, f.name, s.ids)
					}
				}
			}
		}
	}
	if n < 2000 {
		t.Errorf("only %d names", n)
	}
}

// The reply names the most telling rule: the virus, then the disguise, then the
// extension.
func TestWhoAnswers(t *testing.T) {
	t.Parallel()
	set := shipped(t)
	for name, want := range map[string]string{
		"Happy99.exe": "virus-happy99", "factura.pdf.exe": "double-program", "LOVE-LETTER-FOR-YOU.TXT.vbs": "virus-loveletter", "malo.vbs": "ext-script",
		"factura\u202efdp.exe": "name-right-to-left", "factura.pdf.iso": "double-shortcut", "a.txt.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}": "name-class-id",
	} {
		for _, f := range attached(name) {
			if strings.ContainsRune(name, '\u202e') && (strings.Contains(f.name, "iso-8859-1") || f.name == "encoded word Q" || f.name == "RFC 2231 in encoded pieces") {
				continue // no such letter in Latin-1
			}
			if s := ask(t, set, f.raw); len(s.refuse) == 0 || s.refuse[0] != want {
				t.Errorf("%q, %s: %q", name, f.name, s.refuse)
			}
		}
	}
}

// Names that show one thing and open another (attacks E-45, E-47).
func TestTricks(t *testing.T) {
	t.Parallel()
	set := shipped(t)
	for _, c := range []struct{ name, want string }{
		{"factura.pdf" + strings.Repeat(" ", 60) + ".exe", "double-program"},
		{"factura.pdf_.exe", "double-program"},
		{"factura.pdf...exe", "double-program"},
		{"factura.pdf.EXE . . .", "double-program"},
		{"factura.pdf\u2024exe", "double-program"},
		{"factura．ｐｄｆ．ｅｘｅ", "double-program"},
		{"factura.pdf.e\u200bxe", "double-program"},
		{"factura.p\u00addf.js", "double-script"},
		{"factura.exe::$DATA", "ext-program"},
		{"..\\..\\factura.exe", "ext-program"},
		{"C:\\Temp\\Happy99.exe", "virus-happy99"},
		{"happy\u200b99.exe", "virus-happy99"},
		{"Ｈａｐｐｙ99.exe", "virus-happy99"},
		{"Happy99.exe. .", "virus-happy99"},
		{"a.exe%20", "ext-program"},
		{"factura.vbs\t", "ext-script"},
		{"acta.{00020812-0000-0000-c000-000000000046}..", "name-class-id"},
		{"acta．｛00020812-0000-0000-c000-000000000046｝", "name-class-id"},
		{"acta\u202ecod.scr", "name-right-to-left"},
		{"command.com", "ext-com"},
		{"www.banco.com", "ext-com"},
	} {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.name)
		for _, f := range []form{
			{"RFC 2231", withPart("Content-Disposition: attachment; filename*=UTF-8''" + percent(c.name) + "\n")},
			{"encoded word", withPart("Content-Disposition: attachment; filename=\"=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(c.name)) + "?=\"\n")},
			{"quoted", withPart("Content-Type: application/octet-stream; name=\"" + quoted + "\"\n")},
		} {
			if s := ask(t, set, f.raw); len(s.refuse) == 0 || !slices.Contains(s.refuse, c.want) {
				t.Errorf("%q, %s: %q", c.name, f.name, s.ids)
			}
		}
	}
}

// A uuencoded program is refused by its name where the index takes it out, also
// in base64; a line without a file scores and no more.
func TestUuencoded(t *testing.T) {
	t.Parallel()
	set := shipped(t)
	for _, f := range []form{
		{"bare", crlf(head + "\nHola\n\n" + uuencoded("virus.pif"))},
		{"capitals", crlf(head + "\nHola\n\n" + uuencoded("VIRUS.PIF"))},
		{"in base64", letter("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n", b64("Hola\n"+uuencoded("a b.vbs")))},
		{"declared", letter("Content-Type: application/octet-stream\nContent-Transfer-Encoding: x-uuencode\n", uuencoded("virus.scr"))},
		{"base64 of uuencode's kind", crlf(head + "\nbegin-base64 644 virus.exe\naG9sYQ==\n====\n")},
	} {
		if s := ask(t, set, f.raw); !s.has("ext-program ext-script") {
			t.Errorf("%s: %q", f.name, s.ids)
		}
	}
	s := ask(t, set, letter("Content-Type: text/plain\n", "El virus empieza con\nbegin 644 virus.pif\ny sigue."))
	if len(s.refuse) > 0 || s.score >= tagThreshold || !s.has("uuencoded-program") {
		t.Errorf("a line alone: %q, %v", s.ids, s.score)
	}
}

// The guide's tables refuse letters in which nothing is attached (features.md
// 0.1, row 1); ours do not.
func TestGuideFalseAlarms(t *testing.T) {
	t.Parallel()
	set, own := shipped(t), tables(t)
	alarms := 0
	for _, text := range []string{
		` name="x.vbs" texto normal`, ` name=www.tienda.com`, `El servidor registró filename="Happy99.exe" ayer.`, "Aviso: no abrais kak.hta si lo veis.",
		`Escribe name="datos.js" en la ficha.`, `La cabecera decía filename="plan.{2024}"`, `Dice: "I send you this file in order to have your advice".`,
	} {
		raw := letter("Content-Type: text/plain\n", "Hola:\n\n"+text)
		for _, h := range postfix.Scan([]byte(raw), own, postfix.Options{}, pattern.NewBudget(10*time.Second, time.Now)).Hits {
			if h.Action == postfix.Reject {
				alarms++
			}
		}
		if s := ask(t, set, raw); len(s.refuse) > 0 || s.score >= tagThreshold {
			t.Errorf("%q: %q, %v", text, s.ids, s.score)
		}
	}
	if alarms != 7 {
		t.Errorf("the guide refuses %d of the 7", alarms)
	}
}

// A bulletin that quotes all that the guide lists may be tagged, and is neither
// held nor refused.
func TestBulletin(t *testing.T) {
	t.Parallel()
	set := shipped(t)
	text := "Boletín de seguridad\n\n"
	for _, r := range guide() {
		for _, list := range [][]string{r.names, r.texts, r.tags, r.lines} {
			for _, s := range list {
				text += "* " + s + "\n"
			}
		}
		for _, h := range r.headers {
			text += "* " + h[0] + ": " + h[1] + "\n"
		}
	}
	if s := ask(t, set, letter("Content-Type: text/plain; charset=utf-8\n", text)); len(s.refuse) > 0 || s.score >= 10 {
		t.Errorf("%q, %v", s.ids, s.score)
	}
}
