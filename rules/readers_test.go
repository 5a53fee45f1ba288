package rules_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf16"

	"garita/rules"
)

// utf16of is text as UTF-16 with its mark.
func utf16of(s string, big bool) string {
	var out []byte
	for _, c := range utf16.Encode([]rune("\uFEFF" + s)) {
		if big {
			out = append(out, byte(c>>8), byte(c))
		} else {
			out = append(out, byte(c), byte(c>>8))
		}
	}
	return base64.StdEncoding.EncodeToString(out)
}

// TestAsReadersShow: what readers show is what conditions see, whatever the
// header says of it.
func TestAsReadersShow(t *testing.T) {
	const (
		phrase = "Требуем уплаты: su atención inmediata"
		latin  = "su atenci\xf3n inmediata"
		uu     = "begin 644 a.txt\n#0V%T\n`\nend\n"
	)
	text := compile(t, one(`text contains "su atención inmediata"`))
	both := compile(t, one(`text contains "требуем уплаты"`))
	tag := compile(t, one(`html tag is "iframe"`))
	for name, c := range map[string]struct {
		set  *rules.Set
		head string
		body string
	}{
		"text before a uuencoded file":      {text, "Content-Type: text/plain; charset=utf-8", phrase + "\n" + uu},
		"text behind a uuencoded file":      {text, "X-A: b", uu + phrase},
		"page with a uuencoded file":        {tag, "Content-Type: text/html", "<iframe>\n" + uu},
		"page with a boundary":              {tag, "Content-Type: text/html; boundary=b", "<iframe>\n--b\n\nx\n--b--"},
		"latin-1 that says UTF-8":           {text, "Content-Type: text/plain; charset=utf-8", latin},
		"UTF-8 that says latin-1":           {text, "Content-Type: text/plain; charset=iso-8859-1", phrase},
		"UTF-8 that says windows-1251":      {both, "Content-Type: text/plain; charset=windows-1251", phrase},
		"a mark of UTF-16, little":          {both, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64", utf16of(phrase, false)},
		"a mark of UTF-16, big":             {both, "Content-Type: text/plain\nContent-Transfer-Encoding: base64", utf16of(phrase, true)},
		"a page's mark of UTF-16":           {tag, "Content-Type: text/html; charset=us-ascii\nContent-Transfer-Encoding: base64", utf16of("<p>"+phrase+"<iframe>", false)},
		"ASCII that says UTF-16":            {tag, "Content-Type: text/html; charset=utf-16", "<iframe>"},
		"a page's own charset":              {both, "Content-Type: text/html", "<META http-equiv=Content-Type content='text/html; Charset = \"windows-1251\"'>\xd2\xf0\xe5\xe1\xf3\xe5\xec \xf3\xef\xeb\xe0\xf2\xfb"},
		"a page's own charset that shifts":  {text, "Content-Type: text/html", "<p><meta charset=iso-2022-jp>su aten\x1b(Bcion inmediata"},
		"NULs in a tag":                     {tag, "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable", "<ifr=00ame src=3Dx>"},
		"flowed lines that lose a blank":    {text, "Content-Type: text/plain; charset=utf-8; format=flowed; DelSp=yes", "su aten \nción inme \n diata"},
		"a page with a name, beyond 4 MB":   {tag, "Content-Type: text/html; name=x.html", strings.Repeat("<!-- -->\n", 500_000) + "<iframe>"},
		"no charset that there is, Latin-1": {text, "Content-Type: text/plain; charset=x-none", latin},
	} {
		raw := strings.ReplaceAll("From: a@sender.example\nMIME-Version: 1.0\n"+c.head+"\n\n"+c.body+"\n", "\n", "\r\n")
		if got := hits(match(t, c.set, input(raw))); len(got) != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNotAsReadersShow: the guesses find nothing that nobody is shown.
func TestNotAsReadersShow(t *testing.T) {
	set := compile(t, one(`text contains "su atención inmediata"`))
	for name, m := range map[string]string{
		"two parts":           "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nsu atencion\n--b\n\ninmediata\n--b--\n",
		"lines without DelSp": "Content-Type: text/plain; format=flowed\n\nsu aten \ncion inmediata\n",
		"DelSp, fixed lines":  "Content-Type: text/plain; format=flowed; delsp=yes\n\nsu aten\ncion inmediata\n",
		"DelSp, a signature":  "Content-Type: text/plain; format=flowed; delsp=yes\n\nsu aten-- \n-- \ncion inmediata\n",
		"a charset in prose":  "Content-Type: text/html\n\n<p>charset=utf-7 su atenci+APM-n inmediata\n",
	} {
		raw := strings.ReplaceAll("From: a@sender.example\nMIME-Version: 1.0\n"+m, "\n", "\r\n")
		if r := match(t, set, input(raw)); len(r.Hits)+len(r.GivenUp) != 0 {
			t.Errorf("%s: %v, given up %d", name, hits(r), len(r.GivenUp))
		}
	}
}
