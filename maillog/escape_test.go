package maillog

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"garita/mail"
)

// hostile are the classes of text that must not act in a log (L-21, S-60).
var hostileSeeds = []string{
	"", "plain", "a\r\nNov 22 10:00:00 gw garita/smtpd[1]: NOQUEUE: reject: RCPT from x[6.6.6.6]: 554 5.7.1 Service unavailable",
	"\nPAYLOAD", "\rPAYLOAD", "\x1b[2J\x1b]0;t\a", "a\x00b", "\x7f\x80\xff", "\u202egnp.exe", "\u2066x\u2069", "a\u2028PAYLOAD", "a\u2029b", "\u0085PAYLOAD", "\ufeff",
	`"},{"x":"`, `\`, `\n`, "%s%n%d", "`id`", "$(id)", "; rm -rf /", "a> to=<b", "x, status=sent (250", "]: a: client=evil[6.6.6.6], x",
	"[6.6.6.6]: SASL LOGIN authentication failed: x", "y[6.6.6.6]:25: SASL PLAIN authentication failed", strings.Repeat("A", 1000), strings.Repeat("é", 1000), "\xe2\x80", "😀\U000e0041",
}

// everyLine calls every method with s in every place that outside text has.
func everyLine(t testing.TB, l *Logger, text string) {
	s := testSession()
	s.Helo, s.Host.Name, s.Login, s.Proto, s.Listener = text, text, text, text, text
	tx := testTransaction(t, "Message-ID: <"+strings.NewReplacer("\r", " ", "\n", " ").Replace(text)+">\r\n\r\nx\r\n")
	tx.Session = s
	tx.ID = text
	p := mail.Path{Local: text, Domain: text}
	tx.ReversePath = p
	tx.ForwardPaths = []mail.Recipient{{Path: p}}
	tx.Forwarded = &mail.Forwarded{Name: text, Addr: "198.51.100.7", Proto: text, Helo: text, Ident: text}
	tx.Identity = mail.Identity{User: text, Source: text}
	r := mail.Reply{Code: 550, Enhanced: text, Text: text}
	tx.Findings = []mail.Finding{{Symbol: text, Detail: text, Where: text, Rule: text, Filter: text, Reply: &r}}
	l.Connect(s)
	l.Lost(s, text, 5)
	l.Timeout(s, text, 0)
	l.Reject(s, tx, "RCPT", text, r)
	l.Reject(s, nil, text, text, r)
	for k := mail.Aborted; k <= mail.Ambiguous; k++ {
		l.Transaction(tx, mail.Outcome{Kind: k, Replies: []mail.Reply{r}, NextHop: text, NextHopReply: text, QueueID: text, TLS: text, Detail: text})
	}
	ours := mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}, Detail: text}
	l.Transaction(tx, ours)
	tx.Message = nil
	l.Transaction(tx, ours)
	l.ClientWarn(s, text, slog.String(text, text))
	l.Warn(text, text, slog.String(text, text))
	l.Info(text, text, slog.String(text, text))
	l.Admin(text, text, text)
	l.Disconnect(s, Counts{})
}

// bans are what fail2ban takes an address from.
var bans = []*regexp.Regexp{
	regexp.MustCompile(`^: \w+: (?:milter-)?reject: \S+ from [^[]*\[([^]]*)\]`),
	regexp.MustCompile(`^: (?:lost connection|timeout) after \S+(?: \(\d+ bytes\))? from [^[]*\[([^]]*)\]`),
	regexp.MustCompile(`^: (?:dis)?connect from [^[]*\[([^]]*)\]`),
	regexp.MustCompile(`^: warning: [^[]*\[([^]]*)\](?::\d+)?: SASL`),
}

// checkLines holds what every line must be, whatever it was made of.
func checkLines(t *testing.T, out, text string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		if !strings.HasPrefix(line, at) {
			t.Errorf("a line of its own: %q from %q", line, text)
		}
		if !utf8.ValidString(line) {
			t.Errorf("not UTF-8: %q", line)
		}
		for _, r := range line {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
				t.Errorf("%U in %q", r, line)
			}
		}
		_, rest, _ := strings.Cut(line, "[812]")
		for _, re := range bans {
			if m := re.FindStringSubmatch(rest); m != nil && m[1] != "198.51.100.7" && m[1] != "203.0.113.9" {
				t.Errorf("would ban %s: %q", m[1], line)
			}
		}
	}
}

func TestHostileText(t *testing.T) {
	for _, s := range hostileSeeds {
		checkLines(t, capture(t, nil, func(l *Logger) { everyLine(t, l, s) }), s)
		checkJSON(t, capture(t, asJSON, func(l *Logger) { everyLine(t, l, s) }), s)
	}
}

func checkJSON(t *testing.T, out, text string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s from %q", err, line, text)
		}
		if m["@timestamp"] != "2026-11-22T10:00:00.123Z" {
			t.Errorf("timestamp %v", m["@timestamp"])
		}
		for _, r := range line {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
				t.Errorf("%U in %q", r, line)
			}
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, s := range hostileSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkLines(t, capture(t, nil, func(l *Logger) { everyLine(t, l, s) }), s)
		checkJSON(t, capture(t, asJSON, func(l *Logger) { everyLine(t, l, s) }), s)
	})
}

// Escaping keeps the bound that MaxField states, and JSON strings give back
// what went in when that was printable UTF-8.
func FuzzField(f *testing.F) {
	for _, s := range hostileSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, k := range []class{hostClass(), angleClass(), wordClass(), textClass(), quotedClass()} {
			out := appendField(nil, s, k)
			if len(out) > 4*MaxField+3 {
				t.Errorf("%d octets", len(out))
			}
			if k == angleClass() && strings.ContainsAny(string(out), "<>,; ") {
				t.Errorf("%q", out)
			}
			if k == quotedClass() && strings.Contains(string(out), `"`) {
				t.Errorf("%q", out)
			}
		}
		text := string(appendText(nil, s, textClass()))
		if len(text) > 4*MaxField+3 || strings.Contains(text, "=<") || strings.Contains(text, "client=") || strings.Contains(text, "status=") || strings.Contains(text, "]: ") {
			t.Errorf("%q", text)
		}
		var back string
		if err := json.Unmarshal(appendJSON(nil, s), &back); err != nil {
			t.Fatal(err)
		}
		if len(s) <= MaxField && utf8.ValidString(s) && back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

func TestFieldForms(t *testing.T) {
	for _, c := range []struct {
		in   string
		k    class
		want string
	}{
		{"a b<c>,;\\", angleClass(), `a\x20b\x3cc\x3e\x2c\x3b\\`},
		{"[192.0.2.1]", angleClass(), "[192.0.2.1]"},
		{"josé@ñ.example", angleClass(), "josé@ñ.example"},
		{"mail_1.example.org", hostClass(), "mail_1.example.org"},
		{"ñ[1]", hostClass(), `\xc3\xb1\x5b1\x5d`},
		{"\u202ex\x9b\U000e0041", textClass(), `\u202ex\x9b\udb40\udc41`},
		{strings.Repeat("a", 257), textClass(), strings.Repeat("a", 256) + "..."},
		{strings.Repeat("a", 255) + "é", textClass(), strings.Repeat("a", 255) + "..."},
	} {
		if got := string(appendField(nil, c.in, c.k)); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
	if got := string(appendText(nil, "ip=1.2.3.4 to=<x> Client=y [1.2.3.4]: z [::1]:25: w", textClass())); got != `ip=1.2.3.4 to\x3d<x> Client\x3dy [1.2.3.4]\x3a z [::1]\x3a25: w` {
		t.Error(got)
	}
}
