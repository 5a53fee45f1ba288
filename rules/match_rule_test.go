package rules_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
	"garita/rules"
	"garita/rules/pattern"
)

func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func quoted(s string) string {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

// One sentence, as mail writes it (features.md 0.1).
func TestSentence(t *testing.T) {
	s := compile(t, one(`text contains "te mando este archivo para que me des tu opinión"`))
	plain := "Hola:\r\nTe mando este archivo para que me des tu opinion. Saludos\r\n"
	accents := "Hola, ¿qué tal?\r\nTe mando este archivo para que me des tu opinión. Adiós\r\n"
	part := func(kind, charset, encoding, body string) string {
		return "From: a@b.example\r\nContent-Type: " + kind + "; charset=" + charset + "\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + body
	}
	for name, raw := range map[string]string{
		"plain":          part("text/plain", "us-ascii", "7bit", plain),
		"no type":        "From: a@b.example\r\n\r\n" + plain,
		"upper case":     part("text/plain", "us-ascii", "7bit", strings.ToUpper(plain)),
		"utf-8":          part("text/plain", "utf-8", "8bit", accents),
		"latin-1":        part("text/plain", "iso-8859-1", "8bit", latin1(accents)),
		"no charset":     part("text/plain", `""`, "8bit", latin1(accents)),
		"strange":        part("text/plain", "x-nobody-knows", "8bit", latin1(accents)),
		"decomposed":     part("text/plain", "utf-8", "8bit", strings.ReplaceAll(accents, "ó", "o\u0301")),
		"quoted":         part("text/plain", "utf-8", "quoted-printable", quoted(accents)),
		"quoted latin-1": part("text/plain", "iso-8859-1", "quoted-printable", quoted(latin1(accents))),
		"base64":         part("text/plain", "utf-8", "base64", base64.StdEncoding.EncodeToString([]byte(accents))),
		"utf-16":         part("text/plain", "utf-16le", "base64", base64.StdEncoding.EncodeToString(utf16le(accents))),
		"wrapped":        part("text/plain", "utf-8", "8bit", "Te mando\r\n  este \t archivo\r\npara que\r\nme des tu\r\n opinión"),
		"soft hyphens":   part("text/plain", "utf-8", "8bit", "te man\u00addo este ar\u200bchivo para que me des tu opinión"),
		"hard blanks":    part("text/plain", "utf-8", "8bit", "te\u00a0mando\u00a0este archivo para que me des tu opinión"),
		"tags":           part("text/html", "utf-8", "8bit", "<p><b>Te</b> man<i>do</i> este\r\narchivo<br>para que me <u>des</u> tu opinión</p>"),
		"entities":       part("text/html", "utf-8", "8bit", "Te&nbsp;mando este archivo para que me des tu opini&oacute;n"),
		"numbers":        part("text/html", "utf-8", "8bit", "&#84;e mando este arc&shy;hivo para que me des tu opini&#243;n"),
		"html as text":   part("text/plain", "utf-8", "8bit", "<html><body>Te <b>mando</b> este archivo para que me des tu opini&oacute;n</body></html>"),
		"in a file":      part("multipart/mixed; boundary=b", "utf-8", "8bit", "--b\r\nContent-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment\r\n\r\n"+plain+"--b--\r\n"),
		"inside":         part("message/rfc822", "utf-8", "7bit", "Subject: x\r\n\r\n"+plain),
	} {
		in := rules.Input{Tx: envelope(), Index: message.ReadIndex([]byte(raw), message.DefaultIndexLimits()), Raw: []byte(raw)}
		if r := match(t, s, in); len(r.Hits) != 1 || len(r.Hits[0].Where) == 0 || r.Hits[0].Where[0].What != "text" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, raw := range map[string]string{
		"other words": part("text/plain", "us-ascii", "7bit", "Te mando este otro archivo para que me des tu opinion"),
		"two blocks":  part("text/plain", "us-ascii", "7bit", "Te mando este archivo. Para que me des tu opinion"),
		"in a tag":    part("text/html", "us-ascii", "7bit", `<p title="te mando este archivo para que me des tu opinion">x</p>`),
	} {
		in := rules.Input{Tx: envelope(), Index: message.ReadIndex([]byte(raw), message.DefaultIndexLimits()), Raw: []byte(raw)}
		if r := match(t, s, in); len(r.Hits) != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func utf16le(s string) (out []byte) {
	for _, r := range s {
		out = append(out, byte(r), byte(r>>8))
	}
	return out
}

// Conditions about attachments in one list are about one attachment.
func TestSameAttachment(t *testing.T) {
	in := input(mixed)
	for conditions, want := range map[string]bool{
		`'attachment name ends ".exe"', 'attachment declared is "application/octet-stream"'`:          true,
		`'attachment name ends ".exe"', 'attachment declared is "text/plain"'`:                        false,
		`'attachment name ends ".txt"', 'attachment declared is "text/plain"'`:                        true,
		`'attachment name ends ".exe"', 'not attachment size > 1KB'`:                                  true,
		`'attachment name ends ".exe"', 'not attachment declared is "application/octet-stream"'`:      false,
		`'attachment declared is "text/plain"', 'not attachment name ends ".exe"'`:                    true,
		`'not attachment name ends ".exe"'`:                                                           false,
		`'not attachment name ends ".scr"', 'not attachment name ends ".com"'`:                        true,
		`'attachment name ends ".exe"', 'attachment extension is "exe"', 'subject contains "verano"'`: true,
	} {
		s := compile(t, "[[rule]]\nid = \"r\"\nmatch = ["+conditions+"]\n")
		if r := match(t, s, in); (len(r.Hits) > 0) != want {
			t.Errorf("%s: %v", conditions, !want)
		}
	}
	// In `any` each is by itself.
	s := compile(t, "[[rule]]\nid = \"r\"\nany = ['attachment name ends \".exe\"', 'attachment name ends \".zzz\"']\nnot = ['attachment name ends \".scr\"']\n")
	if r := match(t, s, in); len(r.Hits) != 1 || r.Hits[0].Where[0].What != "attachment name" || r.Hits[0].Where[0].Part == "" {
		t.Errorf("%+v", r)
	}
}

// slowClock makes each look at the time cost a second.
func slowClock() func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time { now = now.Add(time.Second); return now }
}

// A condition that was given up is neither true nor false (attacks ).
func TestGivenUp(t *testing.T) {
	const unknown = `text matches /(\w)\1\1/`
	for rule, want := range map[string]string{
		"match = ['" + unknown + "']":                                                          "given up",
		"match = ['not " + unknown + "']":                                                      "given up",
		"match = ['" + unknown + "', 'subject contains \"verano\"']":                           "given up",
		"match = ['" + unknown + "', 'subject contains \"invierno\"']":                         "miss",
		"any = ['" + unknown + "', 'subject contains \"verano\"']":                             "hit",
		"any = ['" + unknown + "', 'subject contains \"invierno\"']":                           "given up",
		"match = ['subject contains \"verano\"']\nnot = ['" + unknown + "']":                   "given up",
		"match = ['subject contains \"verano\"']\nnot = ['" + unknown + "', 'recipients = 2']": "miss",
		"match = ['attachment name matches /(x)\\1\\1/', 'attachment size > 0B']":              "given up",
		"match = ['attachment name matches /(x)\\1\\1/', 'attachment size > 1MB']":             "miss",
		"match = ['attachment name ends \".exe\"', 'not attachment name matches /(x)\\1\\1/']": "given up",
		"match = ['not attachment name matches /(x)\\1\\1/']":                                  "given up",
	} {
		s := compile(t, "[[rule]]\nid = \"r\"\n"+rule+"\n")
		// Nothing is left from the beginning: the first match is given up.
		r := s.Match(context.Background(), input(mixed), pattern.NewBudget(0, slowClock()), rules.MatchOptions{})
		got := "miss"
		switch {
		case len(r.Hits) > 0 && len(r.GivenUp) > 0:
			got = "both"
		case len(r.Hits) > 0:
			got = "hit"
		case len(r.GivenUp) > 0:
			got = "given up"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", rule, got, want)
		}
	}
}

// Two hundred slow rules cost one budget, not two hundred (attack R-02), and
// linear ones are not charged.
func TestBudgetOfMessage(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "[[rule]]\nid = \"slow-%d\"\nmatch = ['text matches /(\\w)x%d\\1\\1/i']\n", i, i)
	}
	b.WriteString("[[rule]]\nid = \"linear\"\nmatch = ['text matches /punto +de/']\n")
	s := compile(t, b.String())
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "ax%d ", i)
	}
	budget := pattern.NewBudget(20*time.Second, slowClock())
	r := s.Match(context.Background(), textInput(text.String()+"punto  de"), budget, rules.MatchOptions{})
	if len(r.GivenUp) < 170 || len(r.GivenUp) > 195 {
		t.Errorf("%d given up", len(r.GivenUp))
	}
	if got := hits(r); !slices.Equal(got, []string{"linear"}) {
		t.Errorf("hits %v", got)
	}
}

// Nobody waits for a pattern whose rule is out already.
func TestNoBudgetForClosedRules(t *testing.T) {
	s := compile(t, `
[[rule]]
id = "a"
match = ['sender domain is "other.example"', 'text matches /(\w)\1/']
`)
	budget := pattern.NewBudget(time.Minute, slowClock())
	if r := s.Match(context.Background(), input(mixed), budget, rules.MatchOptions{}); len(r.Hits)+len(r.GivenUp) > 0 || budget.Left() != time.Minute {
		t.Errorf("%+v, left %v", r, budget.Left())
	}
}

// A panic within a rule is that rule's, and no silent miss (attack R-12).
func TestPanicInRule(t *testing.T) {
	broken := &rules.Condition{Subject: rules.Text, Op: rules.Matches, Regexp: "x"} // its pattern is missing
	for _, subject := range []rules.Subject{rules.Text, rules.BodyLine, rules.SubjectText, rules.Sender, rules.AttachmentName} {
		c := *broken
		c.Subject = subject
		s := byHand(t, &c, &rules.Condition{Subject: rules.SubjectText, Op: rules.Contains, Values: []string{"verano"}})
		r := match(t, s, input(mixed))
		if got := hits(r); !slices.Equal(got, []string{"r1"}) || len(r.GivenUp) != 1 || r.GivenUp[0].ID != "r0" {
			t.Errorf("%v: %v %v", subject, got, r.GivenUp)
		}
	}
	// An index that cannot be read.
	s := byHand(t, &rules.Condition{Subject: rules.Text, Op: rules.Contains, Values: []string{"x"}},
		&rules.Condition{Subject: rules.AttachmentName, Op: rules.Contains, Values: []string{"x"}})
	in := input(mixed)
	in.Index = &message.Index{Parts: []*message.Part{nil}}
	if r := match(t, s, in); len(r.Hits) != 0 || len(r.GivenUp) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestOrder(t *testing.T) {
	const text = `
[[rule]]
id = "one"
match = ['recipients = 2']
action = "warn"
[[rule]]
id = "out"
direction = "out"
match = ['recipients = 2']
[[rule]]
id = "old"
expires = 2026-01-31
match = ['recipients = 2']
[[rule]]
id = "off"
mode = "off"
match = ['recipients = 2']
[[rule]]
id = "look"
mode = "observe"
action = "pass"
stop = true
match = ['recipients = 2']
[[rule]]
id = "stop"
%s
match = ['recipients = 2']
[[rule]]
id = "last"
match = ['recipients = 2']
`
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for how, want := range map[string][]string{
		"stop = true":                         {"one", "look", "stop"},
		`action = "pass"`:                     {"one", "look", "stop"},
		"stop = true\nmode = \"score\"":       {"one", "look", "stop"},
		"action = \"pass\"\nmode = \"score\"": {"one", "look", "stop", "last"},
		`action = "warn"`:                     {"one", "look", "stop", "last"},
	} {
		s := compile(t, fmt.Sprintf(text, how))
		r := s.Match(context.Background(), input(mixed), nil, rules.MatchOptions{Now: now})
		if got := hits(r); !slices.Equal(got, want) {
			t.Errorf("%s: %v", how, got)
		}
	}
	s := compile(t, fmt.Sprintf(text, "stop = true"))
	told := 0
	r := s.Match(context.Background(), input(mixed), nil, rules.MatchOptions{All: true, Tell: func(*rules.Rule, time.Duration) { told++ }})
	if got := hits(r); !slices.Equal(got, []string{"one", "old", "look", "stop", "last"}) || told != 5 {
		t.Errorf("all: %v, told %d", got, told)
	}
	in := input(mixed)
	in.Tx.Direction = mail.Out
	if got := hits(s.Match(context.Background(), in, nil, rules.MatchOptions{Now: now})); !slices.Contains(got, "out") {
		t.Errorf("out: %v", got)
	}
	// The last day counts to its end.
	day := time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC)
	if got := hits(s.Match(context.Background(), input(mixed), nil, rules.MatchOptions{Now: day})); !slices.Contains(got, "old") {
		t.Errorf("last day: %v", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r := s.Match(ctx, input(mixed), nil, rules.MatchOptions{}); len(r.Hits) != 0 || len(r.GivenUp) != 5 {
		t.Errorf("ended: %+v", r)
	}
}

func TestOverrides(t *testing.T) {
	observe, enforce, score := mail.Observe, mail.Enforce, 2.5
	own := file(t, "[[rule]]\nid = \"a\"\ntags = [\"x\"]\nmatch = ['recipients = 2']\n", nil)
	shipped := file(t, "[[rule]]\nid = \"b\"\nmode = \"off\"\nmatch = ['recipients = 2']\n[[rule]]\nid = \"a\"\nmatch = ['recipients = 1']\n", nil)
	for _, r := range shipped.Rules {
		r.File = "builtin:names"
	}
	own.Overrides = []*rules.Override{
		{Set: "names", Mode: &observe}, {Rule: "b", Mode: &enforce, Score: &score}, {Tag: "x", Score: &score},
		{Rule: "bb", Mode: &observe, File: "f", Line: 7}, {Tag: "none"},
	}
	s, problems := rules.Compile([]*rules.File{own, shipped})
	if len(problems) != 3 || problems[0].Rule != "a" || problems[1].Line != 7 || !strings.Contains(problems[2].Text, "none") {
		t.Fatalf("%+v", problems)
	}
	r := s.Rules()
	if len(r) != 2 || r[0].Score != 2.5 || r[1].Mode != mail.Enforce || r[1].Score != 2.5 || shipped.Rules[0].Mode != mail.Off {
		t.Errorf("%+v %+v", r[0], r[1])
	}
	if got := hits(match(t, s, input(mixed))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
}

func render(t *testing.T, raw, rule string) string {
	t.Helper()
	s := compile(t, "[[rule]]\nid = \"r\"\n"+rule+"\n")
	r := match(t, s, rules.Input{Tx: envelope(), Index: message.ReadIndex([]byte(raw), message.DefaultIndexLimits()), Raw: []byte(raw)})
	if len(r.Hits) != 1 {
		t.Fatalf("%s: %+v", rule, r)
	}
	m, err := message.Spool(context.Background(), strings.NewReader(raw), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	out, err := m.Render(r.Hits[0].Edits)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(out)
	return string(b)
}

func TestEdits(t *testing.T) {
	const body = "\r\nSubject: in the body\r\n"
	const raw = "Received: x\r\nX-Spam: one\r\n two\r\nSUBJECT:hola\r\n =?utf-8?q?m=C3=A1s?=\r\nX-spam: three\r\nX-Other: X-Spam\r\n" + body
	for _, c := range []struct{ rule, want string }{
		{"match = ['recipients = 2']\naction = 'prepend \"X-A: b\"'", "X-A: b\r\n" + raw},
		{"match = ['recipients = 2']\naction = 'ignore header x-spam'", "Received: x\r\nSUBJECT:hola\r\n =?utf-8?q?m=C3=A1s?=\r\nX-Other: X-Spam\r\n" + body},
		{"match = ['header X-Spam contains \"three\"']\naction = 'ignore header'", strings.Replace(raw, "X-spam: three\r\n", "", 1)},
		{"match = ['raw any header contains \"x-spam: one\"']\naction = 'ignore header'", strings.Replace(raw, "X-Spam: one\r\n two\r\n", "", 1)},
		{"match = ['header X-Spam exists']\naction = 'replace header X-Spam \"no\"'", strings.Replace(strings.Replace(raw, "one\r\n two", "no", 1), "three", "no", 1)},
		{"match = ['subject contains \"hola mas\"']\naction = 'tag subject \"[X] \"'", strings.Replace(raw, "SUBJECT:hola", "SUBJECT: [X] hola", 1)},
		{"match = ['subject contains \"hola\"']\naction = ['tag subject \"[X]\"', 'ignore header X-Spam', 'prepend \"X-A: b\"', 'prepend \"X-C: d\"']",
			"X-A: b\r\nX-C: d\r\nReceived: x\r\nSUBJECT: [X] hola\r\n =?utf-8?q?m=C3=A1s?=\r\nX-Other: X-Spam\r\n" + body},
	} {
		if got := render(t, raw, c.rule); got != c.want {
			t.Errorf("%s:\n%q\nwant\n%q", c.rule, got, c.want)
		}
	}
	tag := "match = ['recipients = 2']\naction = 'tag subject \"[SPAM] \"'"
	for before, want := range map[string]string{
		"Subject: a\r\n\r\n":                     "Subject: [SPAM] a\r\n\r\n",
		"Subject: [SPAM] a\r\n\r\n":              "Subject: [SPAM] a\r\n\r\n",
		"Subject:\r\n a\r\n\r\n":                 "Subject: [SPAM]\r\n a\r\n\r\n",
		"Subject:\r\n\r\n":                       "Subject: [SPAM]\r\n\r\n",
		"From: x\r\n\r\nSubject: b\r\n":          "Subject: [SPAM]\r\nFrom: x\r\n\r\nSubject: b\r\n",
		"From x y\r\nTo: x\r\n\r\n":              "From x y\r\nSubject: [SPAM]\r\nTo: x\r\n\r\n",
		"no header at all\r\n":                   "Subject: [SPAM]\r\n\r\nno header at all\r\n",
		"\r\nbody\r\n":                           "Subject: [SPAM]\r\n\r\nbody\r\n",
		"Subject: =?utf-8?q?=C3=A1?=\r\n\r\nb":   "Subject: [SPAM] =?utf-8?q?=C3=A1?=\r\n\r\nb",
		"Subject: one\r\nSubject: two\r\n\r\n b": "Subject: [SPAM] one\r\nSubject: [SPAM] two\r\n\r\n b",
	} {
		if got := render(t, before, tag); got != want {
			t.Errorf("%q: %q, want %q", before, got, want)
		}
	}
	// Where the language refuses what is not ASCII, an encoded word is written.
	f := file(t, one("recipients = 2"), nil)
	f.Rules[0].Actions = []rules.Action{{Kind: rules.TagSubject, Text: "[MÁS] "}, {Kind: rules.Prepend, Text: "X-A: m\u00e1s\r\nX-Evil: x"}}
	s, _ := rules.Compile([]*rules.File{f})
	h := match(t, s, input("Subject: =?utf-8?q?=C3=A1?=\n\n")).Hits
	if len(h) != 1 || len(h[0].Edits) != 2 || string(h[0].Edits[0].Insert) != "X-A: =?utf-8?b?bcOhcyAgWC1FdmlsOiB4?=\r\n" ||
		string(h[0].Edits[1].Insert) != " =?utf-8?b?W03DgVNdIA==?=" {
		t.Errorf("%+v", h)
	}
}

func TestWhere(t *testing.T) {
	in := input(mixed)
	line := func(s string) int {
		i := strings.Index(string(in.Raw), s)
		return 1 + strings.Count(string(in.Raw[:i]), "\n")
	}
	for cond, want := range map[string]rules.Where{
		`subject contains "verano"`:             {What: "subject", Line: line("Subject: =?"), Column: 1, Excerpt: "Promoción especial de verano"},
		`header x-mailer contains "bat"`:        {What: "header x-mailer", Line: line("X-Mailer"), Column: 1, Excerpt: "The Bat!"},
		`body line contains "preamble"`:         {What: "body line", Line: line("preamble"), Column: 1},
		`body line contains "evil.example/now"`: {What: "body line", Line: line("Visita"), Column: 15},
		`text contains "inner body"`:            {What: "text", Part: "6.1", Line: line("inner body"), Column: 1},
		`text contains "tu punto de vista"`:     {What: "text", Part: "2", Line: 1, Column: 39, Decoded: true},
		`html tag is "iframe"`:                  {What: "html tag", Part: "3", Line: line("<IFRAME"), Column: 53, Excerpt: "iframe"},
		`attachment name ends ".exe"`:           {What: "attachment name", Part: "4", Line: line(`name="Factura`), Column: 1, Excerpt: "Factura.PDF.exe"},
		`recipient is "eva@our.example"`:        {What: "recipient", Excerpt: "eva@our.example"},
		`nested header subject exists`:          {What: "nested header subject", Line: line("Subject: Interior"), Column: 1},
		`text matches /nómina secreta/i`:        {What: "text", Part: "5", Line: 1, Column: 1, Decoded: true},
		`raw header x-mailer exists`:            {What: "raw header x-mailer", Line: line("X-Mailer"), Column: 1},
		`html attribute width of iframe is "0"`: {What: "html attribute width of iframe", Part: "3", Line: line("<IFRAME"), Column: 53, Excerpt: "0"},
	} {
		r := match(t, compile(t, one(cond)), in)
		if len(r.Hits) != 1 || len(r.Hits[0].Where) == 0 {
			t.Errorf("%s: %+v", cond, r)
			continue
		}
		got := r.Hits[0].Where[0]
		if want.Excerpt == "" {
			want.Excerpt = got.Excerpt
		}
		if want.Part == "" {
			want.Part = got.Part
		}
		if got != want {
			t.Errorf("%s:\n%+v, want\n%+v", cond, got, want)
		}
	}
}
