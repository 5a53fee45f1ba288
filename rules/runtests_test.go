package rules

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

func TestBuild(t *testing.T) {
	r, problems := parseRule(`match = ['size > 1MB']
[[rule.test]]
header = "Subject: =?utf-8?q?a?=\nX-N: ñ\n more"
text = """
one
two"""
html = "<p>ñ</p>"
attachment = "niño.exe"
[[rule.test]]
text = "x"
from = "<>"
to = "b@example.org"
client = "2001:db8::1"
host = "unknown"
helo = "h"
user = "u"
direction = "out"
[[rule.test]]
message = '''
Subject: x

`+"a\n.b"+`'''
[[rule.test]]
attachment = "x.exe"
header = 'Content-Type: image/png; name="y.exe"'
`, ParseOptions{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tx, raw := r.Tests[0].Build()
	const octets = "Content-Transfer-Encoding: base64\r\n\r\n"
	head, _, _ := strings.Cut(string(raw), octets)
	if want := "Subject: =?utf-8?q?a?=\r\nX-N: ñ\r\n more\r\nFrom: <sender@sender.example>\r\nTo: <recipient@example.org>\r\n" +
		"Date: Mon, 04 Jan 2027 10:00:00 +0000\r\nMessage-ID: <test@sender.example>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_test_1\"\r\n\r\n" +
		"--=_test_1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n\r\n" +
		"--=_test_1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>ñ</p>\r\n\r\n" +
		"--=_test_1\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*=utf-8''ni%C3%B1o.exe\r\n"; head != want {
		t.Errorf("%q\nwant\n%q", head, want)
	}
	if tx.ReversePath.String() != testFrom || tx.ForwardPaths[0].String() != testTo || tx.Client.Addr().String() != testClient ||
		tx.HostOrUnknown() != testHost || tx.Helo != testHost || tx.Direction != mail.In || tx.Identity.User != "" || tx.Listener != "inbound" {
		t.Errorf("%+v %+v", tx, tx.Session)
	}
	tx, raw = r.Tests[1].Build()
	if !tx.ReversePath.IsNull() || tx.ForwardPaths[0].String() != "b@example.org" || tx.Client.Addr().String() != "2001:db8::1" ||
		tx.HostOrUnknown() != "unknown" || tx.Helo != "h" || tx.Direction != mail.Out || tx.Identity.User != "u" || tx.Listener != "outbound" {
		t.Errorf("%+v %+v", tx, tx.Session)
	}
	if !strings.HasSuffix(string(raw), "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nx\r\n") || strings.Contains(string(raw), "Subject") {
		t.Errorf("%q", raw)
	}
	if _, raw = r.Tests[2].Build(); string(raw) != "Subject: x\r\n\r\na\r\n.b\r\n" {
		t.Errorf("%q", raw)
	}
	if _, raw = r.Tests[3].Build(); !strings.HasPrefix(string(raw), "Content-Type: image/png; name=\"y.exe\"\r\n") || strings.Count(string(raw), "Content-Type") != 1 ||
		!strings.Contains(string(raw), "Content-Disposition: attachment; filename=x.exe\r\n") {
		t.Errorf("%q", raw)
	}
}

func TestRunTests(t *testing.T) {
	const text = `[[rule]]
id = "sure"
match = ['subject contains "factura"']
mode = "off"
direction = "out"
expires = 2001-01-01
[[rule.test]]
header = "Subject: FACTÚRA"
[[rule.test]]
header = "Subject: other"
hit = false
[[rule]]
id = "unsure"
match = ['attachment name ends ".exe"']
[[rule.test]]
attachment = "x.scr"
[[rule.test]]
attachment = "x.exe"
hit = false
[[rule.test]]
attachment = "x.exe"
`
	f, problems := Parse(Source{Name: "a.toml", Text: []byte(text)}, ParseOptions{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	set, problems := Compile([]*File{f})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, p := range RunTests(context.Background(), set, message.DefaultIndexLimits()) {
		got = append(got, p.String())
	}
	want := "a.toml:15: rule unsure: the rule should hit this and does not (mend the rule, or write hit = false)\n" +
		"a.toml:17: rule unsure: the rule should not hit this and does (mend the rule, or write hit = true)"
	if strings.Join(got, "\n") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := RunTests(ctx, set, message.DefaultIndexLimits()); len(got) != 1 || got[0].Rule != "sure" || got[0].Warning {
		t.Error(got)
	}
}

// A pattern that takes too long is told, not taken for a miss.
func TestRunTestsGivenUp(t *testing.T) {
	text := "[[rule]]\nid = \"slow\"\nmatch = ['text matches /^(?=x)(x+x+)+\\1y/']\n[[rule.test]]\ntext = \"" + strings.Repeat("x", 2000) + "\"\nhit = false\n"
	f, problems := Parse(Source{Name: "a.toml", Text: []byte(text)}, ParseOptions{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	set, problems := Compile([]*File{f})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := RunTests(context.Background(), set, message.DefaultIndexLimits()); len(got) != 1 || !strings.Contains(got[0].Text, "given up") {
		t.Error(got)
	}
}

func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	for i := range 1000 {
		text.WriteString("[[rule]]\nid = \"r-" + strconv.Itoa(i) + "\"\nmatch = ['subject contains \"factura\" or \"oferta\"', 'attachment name ends \".exe\"', 'text matches /pay\\s+now/i']\naction = 'reject'\nreply = 'no'\n")
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, problems := Parse(Source{Name: "a", Text: []byte(text.String())}, ParseOptions{}); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
