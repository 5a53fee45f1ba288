package rules_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
	"garita/rules"
	"garita/rules/pattern"
)

// file reads a rule file; lists may be asked for.
func file(t testing.TB, text string, lists map[string]string) *rules.File {
	t.Helper()
	f, problems := rules.Parse(rules.Source{Name: "rules.d/test.toml", Text: []byte(text)}, rules.ParseOptions{
		ReadList: func(path string) ([]byte, error) {
			return []byte(lists[path[strings.LastIndexByte(path, '/')+1:]]), nil
		},
	})
	for _, p := range problems {
		if !p.Warning {
			t.Errorf("line %d: %s (%s)\n%s", p.Line, p.Text, p.Suggestion, p.Excerpt)
		}
	}
	return f
}

func compile(t testing.TB, text string) *rules.Set {
	t.Helper()
	s, problems := rules.Compile([]*rules.File{file(t, text, map[string]string{
		"list.txt": "oferta\nexample.org\nuser@\n.corp.example\nspammer@gmail.example\n",
		"nets.txt": "192.0.2.0/24\n2001:db8::/32\n198.51.100.7\n",
	})})
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("line %d: %s", p.Line, p.Text)
		}
	}
	return s
}

// envelope is an ordinary one.
func envelope() *mail.Transaction {
	return &mail.Transaction{
		Session: &mail.Session{
			Listener: "inbound", Helo: "mail.sender.example", Client: netip.MustParseAddrPort("192.0.2.9:4711"),
			Host: mail.HostName{Name: "mx.sender.example", Confirmed: true},
		},
		Direction: mail.In,
		Identity:  mail.Identity{User: "ana"},
		Envelope: mail.Envelope{
			ReversePath:  mail.Path{Local: "Ana", Domain: "sender.example"},
			ForwardPaths: []mail.Recipient{{Path: mail.Path{Local: "luis", Domain: "our.example"}}, {Path: mail.Path{Local: "eva", Domain: "our.example"}}},
		},
	}
}

func input(raw string) rules.Input {
	raw = strings.ReplaceAll(strings.ReplaceAll(raw, "\r\n", "\n"), "\n", "\r\n")
	return rules.Input{Tx: envelope(), Index: message.ReadIndex([]byte(raw), message.DefaultIndexLimits()), Raw: []byte(raw)}
}

func match(t testing.TB, s *rules.Set, in rules.Input) rules.Result {
	t.Helper()
	return s.Match(context.Background(), in, pattern.NewBudget(10*time.Second, time.Now), rules.MatchOptions{})
}

func hits(r rules.Result) []string {
	out := []string{}
	for _, h := range r.Hits {
		out = append(out, h.Rule.ID)
	}
	return out
}

// one makes a file of one rule with one condition.
func one(condition string) string {
	return "[[rule]]\nid = \"r\"\nmatch = ['''" + condition + "''']\n"
}

const mixed = `Received: from mx.sender.example by our.example
From: Ana <ana@sender.example>
To: luis@our.example
Subject: =?utf-8?Q?Promoci=C3=B3n?= especial
 de verano
X-Mailer: The Bat!
X-Raw: caf` + "\xe9" + ` frio
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

preamble line
--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Te mando este archivo para que me des tu =
punto de vi=
sta, m=E1s informaci=F3n ma=F1ana.
Visita HTTP://evil.example/now

--b
Content-Type: text/html; charset=utf-8

<html><body><p>Hola <b>am</b>igo&nbsp;m&iacute;o</p><IFRAME src="cid:x" width=0></iframe>
<a href="https://evil.example/x">Haga&shy; clic</a></body></html>
--b
Content-Type: application/octet-stream; name="Factura.PDF.exe"
Content-Disposition: attachment; filename="Factura.PDF.exe"
Content-Transfer-Encoding: base64

TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
--b
Content-Type: text/plain; name="notas.txt"
Content-Disposition: attachment
Content-Transfer-Encoding: base64

TsOzbWluYSBzZWNyZXRhIGRlbCBtZXMKc2VndW5kYSBsaW5lYQo=
--b
Content-Type: message/rfc822

From: inner@x.example
Subject: Interior secreto
X-Inner: yes

inner body text
--b--
`

func TestConditions(t *testing.T) {
	in := input(mixed)
	for _, c := range []struct{ hit, miss string }{
		{`client in 192.0.2.0/24`, `client in 192.0.3.0/24 or 2001:db8::/32`},
		{`client in list nets.txt`, `not client in list nets.txt`},
		{`host ends ".sender.example"`, `host is missing`},
		{`host in list list.txt or "x"`, ``},
		{`helo matches /^MAIL\./i`, `helo matches /^MAIL\./`},
		{`sender is "ana@SENDER.example"`, `sender is "an@sender.example"`},
		{`sender exists`, `sender is missing`},
		{`sender domain is "sender.example"`, `sender domain is "example"`},
		{`recipient is "eva@our.example"`, `recipient is "eve@our.example"`},
		{`recipient domain ends "our.example"`, `recipient domain starts "x"`},
		{`recipients = 2`, `recipients > 2`},
		{`recipients >= 2`, `recipients < 2`},
		{`recipients <= 2`, `recipients = 3`},
		{`user is "ana"`, `user is "eva"`},
		{`listener is "inbound"`, `listener is "outbound"`},
		{`size > 100B`, `size > 1MB`},
		{`subject contains "PROMOCION especial de verano"`, `subject contains "promocion verano"`},
		{`subject is "promoción especial de verano"`, `subject is "promoción especial"`},
		{`subject starts "promo"`, `subject starts "especial"`},
		{`subject ends "VERANO"`, `subject ends "especial"`},
		{`subject matches /Promoción/`, `subject matches /promocion/i`},
		{`subject matches /promocion especial/a`, `subject matches /promocion  especial/a`},
		{`header X-Mailer contains "the bat"`, `header X-Mailer contains "outlook"`},
		{`header x-mailer exists`, `header x-mailer is missing`},
		{`header x-nothing is missing`, `header x-nothing exists`},
		{`header X-Raw is "café frío"`, `header X-Raw is "caf"`},
		{`any header starts "X-Mailer: The"`, `any header contains "interior"`},
		{`any header matches /^X-Mailer: The Bat!$/`, `any header matches /^Bat/`},
		{`mime header Content-Type contains "octet-stream"`, `mime header Content-Type contains "audio"`},
		{`mime header Content-Type contains "multipart/mixed"`, `mime header From exists`},
		{`any mime header contains "base64"`, `any mime header contains "X-Mailer"`},
		{`nested header Subject contains "secreto"`, `nested header Subject contains "verano"`},
		{`any nested header starts "X-Inner: yes"`, `any nested header contains "The Bat"`},
		{`raw header Subject contains "=?UTF-8?q?"`, `raw header Subject contains "promoción"`},
		{`raw any header matches /^Subject: .*\n de/`, `raw any header matches /^subject/`},
		{`body line starts "te mando este"`, `body line contains "tu punto de vista"`},
		{`body line matches /^Visita HTTP:/`, `body line matches /^visita http:/`},
		{`body line contains "ma=f1ana"`, `body line contains "TVqQAAMA"`},
		{`body line is "segunda linea"`, `body line is "segunda line"`},
		{`body line is "preamble line"`, `body line starts "Subject: Promo"`},
		{`body line ends "/now"`, `body line ends "/no"`},
		{`text contains "te mando este archivo para que me des tu punto de vista"`, `text contains "te mando este archivos"`},
		{`text contains "MAS informacion mañana"`, `text contains "informacion manana del"`},
		{`text contains "nomina secreta"`, `text contains "nomina publica"`},
		{`text contains "hola amigo mio"`, `text contains "hola am igo"`},
		{`text contains "haga clic"`, `text contains "iframe"`},
		{`text contains "inner body"`, `text contains "interior secreto"`},
		{`text matches /evil\.example\/now/`, `text matches /evil\.example\/not/`},
		{`text matches /mas informacion manana/a`, `text matches /mas informaciones/a`},
		{`text starts "te mando"`, `text starts "mando"`},
		{`text ends "inner body text"`, `text ends "inner body"`},
		{`text is "inner body text"`, `text is "inner body"`},
		{`html tag is "iframe"`, `html tag is "script" or "object"`},
		{`html attribute src of iframe starts "cid:"`, `html attribute src of a starts "cid:"`},
		{`html attribute href exists`, `html attribute action exists`},
		{`html attribute width is "0"`, `html attribute width is "1"`},
		{`attachment name ends ".exe"`, `attachment name ends ".pdf"`},
		{`attachment name is "factura.pdf.exe"`, `attachment name is "factura.pdf"`},
		{`attachment name contains "NOTAS"`, `attachment name contains "nada"`},
		{`attachment name matches /(?i)\.pdf\.exe$/`, `attachment name matches /\.scr$/i`},
		{`attachment extension is "exe" or "scr"`, `attachment extension is "pdf"`},
		{`attachment extension is "txt"`, `attachment extension contains "html"`},
		{`attachment declared is "application/octet-stream"`, `attachment declared is "application/pdf"`},
		{`attachment declared is "text/html"`, `attachment declared is "text/htm"`},
		{`attachment size > 40B`, `attachment size > 4KB`},
		{`attachments = 3`, `attachments > 3`},
	} {
		for n, cond := range []string{c.hit, c.miss} {
			if cond == "" || strings.Contains(cond, `or "x"`) {
				continue
			}
			s := compile(t, one(cond))
			r := match(t, s, in)
			if len(r.GivenUp) > 0 {
				t.Errorf("%s: given up", cond)
			}
			if got := len(r.Hits) > 0; got != (n == 0) {
				t.Errorf("%s: hit %v", cond, got)
			}
			// Turned around it says the opposite.
			if not := match(t, compile(t, one(turned(cond))), in); (len(not.Hits) > 0) == (len(r.Hits) > 0) {
				t.Errorf("%s: the same as without not", turned(cond))
			}
		}
	}
}

func turned(cond string) string {
	if rest, ok := strings.CutPrefix(cond, "not "); ok {
		return rest
	}
	return "not " + cond
}

var _ = slices.Equal[[]string]
