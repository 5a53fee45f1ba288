package postfix

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/message"
	"garita/rules/pattern"
	tables "garita/rules/postfix"
)

// table writes a file and gives the name of the table.
func table(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "pcre:" + name
}

func TestText(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		lists := map[string]*[]string{
			"header_checks": &c.HeaderChecks, "mime_header_checks": &c.MIMEHeaderChecks, "nested_header_checks": &c.NestedHeaderChecks, "body_checks": &c.BodyChecks,
		}
		lines := map[string]string{}
		for _, line := range config {
			key, value, _ := strings.Cut(line, " ")
			if key == "disable_mime_input_processing" {
				c.DisableMIMEInputProcessing = true
				continue
			}
			lines[key] += value + "\n"
		}
		for key, text := range lines {
			*lists[key] = []string{table(t, text)}
		}
		return made(t, c, filters.Site{})
	})
}

func made(t testing.TB, c Config, site filters.Site) filters.Check {
	t.Helper()
	check, err := New(c, nil, site, nil)
	if err != nil {
		t.Fatal(err)
	}
	return check
}

// letter is a transaction with a message.
func letter(t testing.TB, raw string) *mail.Transaction {
	t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	m, err := message.Spool(t.Context(), strings.NewReader(raw), message.Limits{Max: 64 << 20, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return &mail.Transaction{Session: &mail.Session{ID: "S"}, ID: "T", Direction: mail.In, Message: m}
}

// ask gives what the check of these tables says.
func ask(t testing.TB, c Config, site filters.Site, raw string) filters.Result {
	t.Helper()
	res, err := made(t, c, site).Impl.(*Check).CheckMessage(t.Context(), letter(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func header(t testing.TB, text string) Config {
	c := Default()
	c.HeaderChecks = []string{table(t, text)}
	return c
}

// TestReplyIsPostfixs: text and code of REJECT, nothing of ours, ASCII.
func TestReplyIsPostfixs(t *testing.T) {
	for _, tc := range []struct{ action, want string }{
		{"REJECT", "550 5.7.1 message content rejected"},
		{"REJECT No", "550 5.7.1 No"},
		{"REJECT 5.3.4 No", "550 5.3.4 No"},
		{"REJECT 4.7.0 Soon", "451 4.7.0 Soon"},
		{"REJECT 2.0.0 Odd", "451 4.0.0 Odd"},
		{"REJECT 5.7.1", "550 5.7.1 message content rejected"},
		{"REJECT a\x01b\xf1", "550 5.7.1 a?b?"},
		{"", "451 4.3.0 Temporary failure, try again later"},
	} {
		res := ask(t, header(t, "/^Subject:/ "+tc.action+"\n"), filters.Site{}, "Subject: x\n\nx\n")
		if len(res.Findings) != 1 || res.Findings[0].Reply == nil || res.Findings[0].Reply.String() != tc.want {
			t.Errorf("%q: %+v, want %s", tc.action, res.Findings, tc.want)
		}
	}
}

// TestFindingTells: the rule's place, the line of the message, and the words of
// Postfix's log, with hostile text made harmless.
func TestFindingTells(t *testing.T) {
	c := header(t, "# first\n/^X:/ WARN look\n")
	res := ask(t, c, filters.Site{}, "Subject: x\nX: a\x1b[2J\n folded\n\nx\n")
	_, file, _ := cut(c.HeaderChecks[0])
	f := res.Findings[0]
	if f.Rule != file+":2" || f.Where != "line 2" || f.Detail != "warning: header X: a?[2J? folded: look" || f.Mode != mail.Observe || f.Symbol != "postfix.header_checks" {
		t.Errorf("%+v", f)
	}
}

// TestEnvelope: where REDIRECT, BCC and FILTER send the message.
func TestEnvelope(t *testing.T) {
	site := filters.Site{NextHops: []string{"scan", "other"}}
	for _, tc := range []struct{ text, want string }{
		{"/^A:/ BCC c@our.example\n/^B:/ BCC c@our.example\n/^C:/ BCC d@our.example", "bcc c@our.example , bcc d@our.example "},
		{"/^A:/ FILTER scan:x\n/^B:/ FILTER smtp:[other]", "route  other"},
		{"/^A:/ FILTER smtp:elsewhere", ""},
		{"/^A:/ FILTER scan:x\n/^B:/ REDIRECT r@our.example\n/^C:/ BCC d@our.example", "redirect r@our.example "},
		{"/^A:/ BCC c@our.example\n/^B:/ FILTER scan:\n", "bcc c@our.example , route  scan"},
	} {
		res := ask(t, header(t, tc.text), site, "A: 1\nB: 2\nC: 3\n\nx\n")
		var got []string
		for _, e := range res.Envelope {
			if e.Rule == "" {
				t.Errorf("%q: no rule", tc.text)
			}
			got = append(got, e.Kind+" "+e.To.String()+" "+e.Hop)
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%q: %q, want %q", tc.text, s, tc.want)
		}
	}
}

// TestCopiesAreBounded: a table that copies to an address of every line.
func TestCopiesAreBounded(t *testing.T) {
	c := Default()
	c.BodyChecks = []string{table(t, "/^(\\d+)$/ BCC u$1@our.example\n")}
	var b strings.Builder
	b.WriteString("Subject: x\n\n")
	for i := range 100 {
		fmt.Fprintf(&b, "%d\n", i)
	}
	res := ask(t, c, filters.Site{}, b.String())
	if len(res.Envelope) != maxEnvelope || len(res.Findings) != maxFindings+1 {
		t.Errorf("%d copies, %d findings", len(res.Envelope), len(res.Findings))
	}
}

// TestEditsByPlace: fields of the header are Edits, all else is Rewrite, and
// together they make what Postfix would have made.
func TestEditsByPlace(t *testing.T) {
	c := header(t, "/^A:/ REPLACE A: z\n/^B:/ IGNORE\n/^C:/ PREPEND X: y\n/^Content-ID:/ STRIP\n")
	c.BodyChecks = []string{table(t, "/^one/ REPLACE two\n/^gone/ IGNORE\n")}
	tx := letter(t, "A: 1\n 2\nB: 2\nC: 3\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-ID: <x>\n\none\ngone\nkept\n--b--\n")
	k := made(t, c, filters.Site{}).Impl.(*Check)
	res, err := k.CheckMessage(t.Context(), tx)
	if err != nil || len(res.Edits) != 3 || len(res.Rewrite) != 3 {
		t.Fatalf("%d %d %v", len(res.Edits), len(res.Rewrite), err)
	}
	want := strings.ReplaceAll("A: z\nX: y\nC: 3\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntwo\nkept\n--b--\n", "\n", "\r\n")
	if got := rendered(t, tx.Message, append(res.Edits, res.Rewrite...)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	tx.Rewritten = true
	if res, err := k.CheckMessage(t.Context(), tx); err != nil || len(res.Findings) > 0 {
		t.Errorf("asked again about its own: %+v %v", res, err)
	}
}

func rendered(t testing.TB, m *message.Message, es []message.Edit) string {
	t.Helper()
	r, err := m.Render(es)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// FuzzEdits: whatever tables do to a message, the edits make what
// postfix.Edit makes.
func FuzzEdits(f *testing.F) {
	f.Add("Subject: a\nX: b\n c\n\nbody\nmore\n", "/^X/ REPLACE Y: $1\n/(.)b/ PREPEND Z: $1", "/o/ IGNORE\n/./ PREPEND x")
	f.Add("no header\n", "/./ STRIP", "/^(.*)$/ REPLACE $1$1")
	f.Add("A: b\n"+strings.Repeat("x", 5000)+"\n", "/(?s)(.*)/ REPLACE $1", "/x/ REPLACE y")
	f.Fuzz(func(t *testing.T, raw, head, body string) {
		if len(raw) > 1<<16 || len(head)+len(body) > 1<<12 {
			return
		}
		// As the wire lets it in: lines end in CRLF.
		raw = strings.ReplaceAll(strings.ReplaceAll(raw, "\r", ""), "\n", "\r\n")
		h, _ := tables.Parse(head, tables.PCRE)
		b, _ := tables.Parse(body, tables.PCRE)
		r := tables.Scan([]byte(raw), tables.Tables{Header: []*tables.Table{h}, Body: []*tables.Table{b}}, tables.Options{MaxHits: 1000},
			pattern.NewBudget(time.Second, time.Now))
		for i := range r.Hits {
			r.Hits[i].Text = strings.ReplaceAll(string(lines(r.Hits[i].Text, r.Hits[i].View)), "\x00", " ")
		}
		es := edits([]byte(raw), r.Hits)
		if r.NoBlank >= 0 {
			es = withBlank(es, r.NoBlank)
		}
		m, err := message.Spool(context.Background(), strings.NewReader(raw), message.Limits{Max: 1 << 20, Memory: 1 << 20})
		if err != nil {
			return
		}
		defer m.Release()
		want := tables.Edit([]byte(raw), r)
		if got := rendered(t, m, es); got != string(want) && !bytes.Contains(want, []byte("\n\t")) {
			t.Errorf("%q\nwant %q", got, want)
		}
	})
}

// withBlank puts in the empty line that the wire would.
func withBlank(es []message.Edit, at int) []message.Edit {
	one := message.Edit{At: int64(at), Insert: []byte("\r\n")}
	for i, e := range es {
		if e.At >= one.At {
			return append(append(append([]message.Edit{}, es[:i]...), one), es[i:]...)
		}
	}
	return append(es, one)
}

// TestFoldedText: $1 of a folded field stays folded, and cannot end the header.
func TestFoldedText(t *testing.T) {
	for in, want := range map[string]string{"a\n b": "a\r\n b", "a\nb": "a\r\n\tb", "a\n": "a\r\n\t", "a\rb\x00c": "a b c"} {
		if got := string(lines(in, tables.Header)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := string(lines("a\nb", tables.Body)); got != "a b" {
		t.Errorf("%q", got)
	}
}

// TestOverBudget: put off once, then held; never "no match".
func TestOverBudget(t *testing.T) {
	for _, tc := range []struct {
		what string
		want []mail.Verdict
	}{
		{"defer-then-quarantine", []mail.Verdict{mail.Defer, mail.Quarantine, mail.Quarantine}},
		{"defer", []mail.Verdict{mail.Defer, mail.Defer}},
		{"quarantine", []mail.Verdict{mail.Quarantine, mail.Quarantine}},
		{"continue", []mail.Verdict{mail.Continue, mail.Continue}},
	} {
		c := header(t, "/^(?=S)Subject:/ REJECT\n")
		c.OverBudget = tc.what
		k := made(t, c, filters.Site{}).Impl.(*Check)
		k.time = -1
		for n, want := range tc.want {
			res, err := k.CheckMessage(t.Context(), letter(t, "Subject: secret\n\nx\n"))
			if err != nil || len(res.Findings) != 2 {
				t.Fatalf("%s: %+v %v", tc.what, res, err)
			}
			f := res.Findings[1]
			if f.Symbol != SymbolOverBudget || f.Verdict != want {
				t.Errorf("%s, time %d: %+v", tc.what, n+1, f)
			}
			for _, f := range res.Findings {
				if strings.Contains(f.Detail, "secret") {
					t.Errorf("%s: the text of the message: %q", tc.what, f.Detail)
				}
			}
		}
		if res, _ := k.CheckMessage(t.Context(), letter(t, "Subject: other\n\nx\n")); res.Findings[1].Verdict != tc.want[0] {
			t.Errorf("%s: another message: %v", tc.what, res.Findings[1].Verdict)
		}
	}
}

// TestMessageTime: what the key gives is what patterns of a message have.
func TestMessageTime(t *testing.T) {
	c := header(t, "/^(?=S)Subject:/ REJECT\n")
	c.MessageTime = 20 * time.Millisecond
	k := made(t, c, filters.Site{}).Impl.(*Check)
	var left time.Duration
	k.scan = func(raw []byte, in tables.Tables, o tables.Options, b *pattern.Budget) tables.Result {
		left = b.Left()
		return tables.Scan(raw, in, o, b)
	}
	if _, err := k.CheckMessage(t.Context(), letter(t, "Subject: x\n\nx\n")); err != nil || left != c.MessageTime {
		t.Errorf("%v, %v", left, err)
	}
}

// TestTooManyHits: a rule on every line is bounded, and told as over budget.
func TestTooManyHits(t *testing.T) {
	c := Default()
	c.WholeBody, c.BodyChecks = true, []string{table(t, "/x/ WARN\n")}
	res := ask(t, c, filters.Site{}, "Subject: x\n\n"+strings.Repeat("x\n", maxHits+10))
	last := res.Findings[len(res.Findings)-1]
	if last.Symbol != SymbolOverBudget || last.Verdict != mail.Defer || len(res.Findings) != maxFindings+2 {
		t.Errorf("%d findings, the last %+v", len(res.Findings), last)
	}
}

// TestWholeBody and the other options reach the scan.
func TestOptions(t *testing.T) {
	body := "Subject: x\n\n" + strings.Repeat("0123456789\n", 6000) + "bad\n"
	c := Default()
	c.BodyChecks = []string{table(t, "/^bad/ REJECT\n/a\\rb/ HOLD\n")}
	if res := ask(t, c, filters.Site{}, body); len(res.Findings) != 0 {
		t.Errorf("beyond the limit: %+v", res.Findings)
	}
	c.WholeBody = true
	if res := ask(t, c, filters.Site{}, body); len(res.Findings) != 1 {
		t.Errorf("whole_body: %+v", res.Findings)
	}
	if res := ask(t, c, filters.Site{}, "Subject: x\n\na\rb\n"); len(res.Findings) != 0 {
		t.Errorf("a CR: %+v", res.Findings)
	}
	c.KeepStrayCR = true
	if res := ask(t, c, filters.Site{}, "Subject: x\n\na\rb\n"); len(res.Findings) != 1 {
		t.Errorf("keep_stray_cr: %+v", res.Findings)
	}
}

// TestTooDeep: Postfix refuses it where it has tables for the header.
func TestTooDeep(t *testing.T) {
	var b strings.Builder
	for i := range 110 {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	res := ask(t, header(t, "/nothing/ REJECT\n"), filters.Site{}, b.String())
	if len(res.Findings) != 1 || res.Findings[0].Reply.String()[:9] != "550 5.6.0" {
		t.Errorf("%+v", res.Findings)
	}
	c := Default()
	c.BodyChecks = []string{table(t, "/nothing/ REJECT\n")}
	if res := ask(t, c, filters.Site{}, b.String()); len(res.Findings) != 0 {
		t.Errorf("%+v", res.Findings)
	}
}

// TestPanicIsHeld (Z-21): the first time a fault, the second held.
func TestPanicIsHeld(t *testing.T) {
	k := made(t, header(t, "/x/ REJECT\n"), filters.Site{}).Impl.(*Check)
	k.scan = func([]byte, tables.Tables, tables.Options, *pattern.Budget) tables.Result { panic("boom") }
	if res, err := k.CheckMessage(t.Context(), letter(t, "A: b\n\nx\n")); err == nil || len(res.Findings) > 0 {
		t.Errorf("%+v %v", res, err)
	}
	res, err := k.CheckMessage(t.Context(), letter(t, "A: b\n\nx\n"))
	if err != nil || len(res.Findings) != 1 || res.Findings[0].Symbol != "postfix.crash" || res.Findings[0].Verdict != mail.Quarantine {
		t.Errorf("%+v %v", res, err)
	}
}

// TestLargeBesideSmall (I10): with all places taken by large messages, small
// ones are still asked about; large ones wait, and say so when it is too long.
func TestLargeBesideSmall(t *testing.T) {
	k := made(t, header(t, "/^A:/ REJECT\n"), filters.Site{}).Impl.(*Check)
	k.lanes = filters.NewLanes(1)
	large := letter(t, "A: b\n\n"+strings.Repeat("0123456789\n", 30000))
	filtertest.LargeBesideSmall(t, k, k.lanes, large, letter(t, "A: b\n\nx\n"))
}

// TestRead: mistakes and warnings name the key, the file and the line.
func TestRead(t *testing.T) {
	bad := table(t, "/a/ REJECT\n/(?R)/ REJECT\n")
	odd := table(t, "/a/Q REJECT\n/b/ SHOUT\n/c/ FILTER smtp:nowhere\n/d/ FILTER scan:\n/e/ REPLACE no field\n")
	_, badFile, _ := cut(bad)
	_, oddFile, _ := cut(odd)
	for _, tc := range []struct {
		change func(*Config)
		err    string
		warns  []string
	}{
		{func(c *Config) { c.HeaderChecks = []string{"/etc/x"} }, "header_checks[0]: \"/etc/x\" is no table", nil},
		{func(c *Config) { c.HeaderChecks = []string{"pcre:x"} }, "header_checks[0]: \"pcre:x\" is no table", nil},
		{func(c *Config) { c.BodyChecks = []string{"pcre:{{/x/ REJECT}}"} }, "into a file", nil},
		{func(c *Config) { c.BodyChecks = []string{"$header_checks"} }, "body_checks[0]", nil},
		{func(c *Config) { c.BodyChecks = []string{"pcre:/nonexistent/x"} }, "body_checks[0]: open /nonexistent/x", nil},
		{func(c *Config) { c.HeaderChecks = []string{bad} }, "header_checks[0]: " + badFile + ":2: ", nil},
		{func(c *Config) { c.HeaderChecks = []string{odd} }, "", []string{
			"header_checks[0]: " + oddFile + ":1: the rule is not used", ":2: \"SHOUT\": unknown command", ":3: \"FILTER smtp:nowhere\": FILTER names none", ":5: \"REPLACE no field\"",
		}},
		{func(c *Config) { c.Mode = "loud" }, "mode = \"loud\"", nil},
		{func(c *Config) { c.MessageTime = 0 }, "message_time = 0s", nil},
		{func(c *Config) { c.OverBudget = "x" }, "over_budget = \"x\"", nil},
	} {
		c := Default()
		tc.change(&c)
		read, errs, warnings := c.Read([]string{"scan"})
		if tc.err == "" != (read != nil) || tc.err != "" && (len(errs) == 0 || !strings.Contains(errs[0].Error(), tc.err)) {
			t.Errorf("%v, want %q", errs, tc.err)
		}
		if len(warnings) != len(tc.warns) {
			t.Errorf("%q, want %q", warnings, tc.warns)
			continue
		}
		for i, want := range tc.warns {
			if !strings.Contains(warnings[i].Error(), want) {
				t.Errorf("%q, want %q", warnings[i], want)
			}
		}
	}
	c := Default()
	c.HeaderChecks, c.BodyChecks = []string{odd}, []string{"regexp:/x", odd}
	if got := c.Files(); len(got) != 2 {
		t.Errorf("%q", got)
	}
}
