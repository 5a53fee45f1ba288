package disarm

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"garita/message"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func read(s string) *message.Index {
	return message.ReadIndex([]byte(s), message.DefaultIndexLimits())
}

// part finds the part of that number.
func part(t testing.TB, x *message.Index, number string) *message.Part {
	t.Helper()
	for _, p := range x.Parts {
		if p.Number == number {
			return p
		}
	}
	t.Fatalf("no part %q", number)
	return nil
}

// render applies the edits as the wire does.
func render(t testing.TB, raw string, edits []message.Edit) string {
	t.Helper()
	m, err := message.Spool(t.Context(), strings.NewReader(raw), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	r, err := m.Render(edits)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const top = "From: a@sender.example\nTo: b@our.example\nSubject: hello\nMIME-Version: 1.0\n"

func mixed(parts ...string) string {
	s := top + "Content-Type: multipart/mixed; boundary=B\n\n"
	for _, p := range parts {
		s += "--B\n" + p + "\n"
	}
	return crlf(s + "--B--\n")
}

const (
	text = "Content-Type: text/plain\n\nhello\n"
	file = "Content-Type: application/octet-stream; name=a.exe\nContent-Disposition: attachment; filename=a.exe\nContent-Transfer-Encoding: base64\n\naGVsbG8gd29ybGQ="
)

func TestReplace(t *testing.T) {
	note := "a.exe was removed.\nAsk ñandú@our.example."
	noted := "Content-Type: text/plain; charset=utf-8\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString([]byte(crlf(note)))
	nested := func(inner string) string {
		return "Content-Type: message/rfc822\n\nFrom: c@d.example\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=I\n\n--I\n" + text + "\n--I\n" + inner + "\n--I--\n"
	}
	for _, c := range []struct{ title, raw, number, want string }{
		{"an attachment", mixed(text, file), "2", mixed(text, noted)},
		{"the first", mixed(file, text), "1", mixed(noted, text)},
		{"in a forwarded message", mixed(text, nested(file)), "2.1.2", mixed(text, nested(noted))},
		{"the forwarded message", mixed(text, nested(file)+"--I--"), "2", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			if c.want == "" {
				c.want = mixed(text, noted)
				c.raw = mixed(text, strings.TrimSuffix(nested(file), "\n"))
			}
			x := read(c.raw)
			edits, err := Replace(x, part(t, x, c.number), note)
			if err != nil {
				t.Fatalf("%v %v", err, x.Defects)
			}
			if got := render(t, c.raw, edits); got != c.want {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestSeveral: all changes or none.
func TestSeveral(t *testing.T) {
	page := "Content-Type: text/html\n\n<p onclick=x()>hello</p>"
	raw := mixed(page, file, text, file)
	x := read(raw)
	edits, err := Splice(x, Change{Part: part(t, x, "4"), Note: "four"}, Change{Part: part(t, x, "1")}, Change{Part: part(t, x, "2"), Note: "two"})
	if err != nil || len(edits) != 3 {
		t.Fatal(edits, err)
	}
	got := render(t, raw, edits)
	if strings.Contains(got, "a.exe") || strings.Contains(got, "onclick") || !strings.Contains(got, crlf(text)) {
		t.Errorf("%q", got)
	}
	if edits, err := Splice(x, Change{Part: part(t, x, "2"), Note: "two"}, Change{Part: part(t, x, "2"), Note: "two"}); edits != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("twice the same: %v %v", edits, err)
	}
	if edits, err := Splice(x, Change{Part: part(t, x, "2"), Note: "two"}, Change{Part: part(t, x, "3")}); edits != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("one that cannot be: %v %v", edits, err)
	}
}

func TestRefused(t *testing.T) {
	signed := "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256; boundary=S\n\n--S\nContent-Type: multipart/mixed; boundary=I\n\n--I\n" + text + "\n--I\n" + file + "\n--I--\n\n--S\nContent-Type: application/pgp-signature\n\nx\n--S--\n"
	packed := "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(mixed(text, file)))
	for _, c := range []struct{ title, raw, number, note string }{
		{"the whole message", crlf(top + "Content-Type: application/x-msdownload\n\nMZ\n"), "", "note"},
		{"signed", crlf(top + signed), "1.2", "note"},
		{"encoded inside another", mixed(text, packed), "2.1.2", "note"},
		{"ambiguous", strings.Replace(mixed(text, file), "boundary=B", "boundary=X; boundary=B", 1), "", ""},
		{"no HTML", mixed(text, file), "1", ""},
		{"no note", mixed(text, file), "2", ""},
		{"too long a note", mixed(text, file), "2", strings.Repeat("x", maxNote+1)},
		{"UTF-7", mixed("Content-Type: text/html; charset=utf-7\n\n+ADw-script+AD4-<p onclick=x>", file), "1", ""},
		{"UTF-16 inside", mixed("Content-Type: text/html\n\n<meta charset=utf-16><p onclick=x>", file), "1", ""},
		{"NUL", mixed("Content-Type: text/html\n\n<p\x00 onclick=x>", file), "1", ""},
		{"what is left would be a boundary", mixed("Content-Type: text/html\n\n<p>a</p>\n<script>x</script>--B\nContent-Type: text/plain\n\nnew", file), "1", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			x := read(c.raw)
			p := part(t, x, c.number)
			edits, err := Splice(x, Change{Part: p, Note: c.note})
			if edits != nil || !errors.Is(err, ErrRefused) {
				t.Errorf("%v %v", edits, err)
			}
		})
	}
	x := read(mixed(text, file))
	if _, err := Replace(x, part(t, x, "2"), ""); !errors.Is(err, ErrRefused) {
		t.Errorf("no note: %v", err)
	}
	if _, err := Replace(x, &message.Part{Source: x.Parts[0].Source}, "note"); !errors.Is(err, ErrRefused) {
		t.Errorf("a part of another message: %v", err)
	}
}

// TestSelfCheck: a result that is not what was meant is found.
func TestSelfCheck(t *testing.T) {
	raw := mixed(text, file)
	x := read(raw)
	p := part(t, x, "2")
	w, err := prepare(Change{Part: p, Note: "note"})
	if err != nil {
		t.Fatal(err)
	}
	good := string(apply([]byte(raw), []message.Edit{w.edit}))
	if err := same(x, read(good), []*change{w}); err != nil {
		t.Error(err)
	}
	for title, bad := range map[string]string{
		"nothing was done":     raw,
		"another part changed": strings.Replace(good, "hello", "hullo", 1),
		"a part more":          strings.Replace(good, "--B--", "--B\r\n\r\nx\r\n--B--", 1),
		"a part less":          strings.Replace(good, "--B\r\n"+crlf(text)+"\r\n", "", 1),
		"another header":       strings.Replace(good, "Subject: hello", "Subject: hullo", 1),
		"another note":         strings.Replace(good, base64.StdEncoding.EncodeToString([]byte("note")), "eHh4", 1),
		"ambiguous":            strings.Replace(good, "boundary=B", "boundary=X; boundary=B", 1),
	} {
		if bad == good {
			t.Fatalf("%s: nothing was changed by the test", title)
		}
		if err := same(x, read(bad), []*change{w}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", title, err)
		}
	}
}

func TestNeutral(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<p>Hello <b class=x>you</b> &amp; me</p>", "<p>Hello <b class=x>you</b> &amp; me</p>"},
		{"a<script>alert(1)</script>b", "ab"},
		{"a<SCRIPT src=x></SCRIPT >b", "ab"},
		{"a<script>unfinished", "a"},
		{"a<iframe src=http://x>y</iframe>b", "ab"},
		{"a<object data=x><b>c</b></object>d", "a<b>c</b>d"},
		{"<embed src=x><applet code=y>z</applet>", "z"},
		{"<form action=http://x><input name=p></form>", "<input name=p>"},
		{"<base href=http://x><p>", "<p>"},
		{"<meta http-equiv=\"Refresh\" content=\"0;url=x\">a", "a"},
		{"<meta charset=utf-8>a", "<meta charset=utf-8>a"},
		{"<p onclick=\"x()\" class=\"y\">", "<p   class=\"y\">"},
		{"<p onclick=x()>", "<p  >"},
		{"<p\nonmouseover\n=\n'x>y' id=1>", "<p\n  id=1>"},
		{"<svg/onload=x()>", "<svg/ >"},
		{"<a href=\"javascript:x()\">y</a>", "<a  >y</a>"},
		{"<a href=\" java\nscript&colon;x()\">y</a>", "<a  >y</a>"},
		{"<a href=\"&#106;avascript:x()\">y</a>", "<a  >y</a>"},
		{"<a href=vbscript:x>y</a>", "<a  >y</a>"},
		{"<a href=\"data:text/html,x\">y</a>", "<a  >y</a>"},
		{"<img src=\"data:image/png;base64,AA==\">", "<img src=\"data:image/png;base64,AA==\">"},
		{"<a href=\"https://x.example/?on=1&javascript=2\">y</a>", "<a href=\"https://x.example/?on=1&javascript=2\">y</a>"},
		{"<button formaction=javascript:x>", "<button  >"},
		{"<animate values=\"a;javascript:x\">", "<animate  >"},
		{"<p style=\"width:expression(x)\">", "<p  >"},
		{"<p style=\"color:red\">", "<p style=\"color:red\">"},
		{"<!--[if mso]><v:rect/><![endif]-->", "<!--[if mso]><v:rect/><![endif]-->"},
		{"a<!--[if IE]><script>x</script><![endif]-->b", "ab"},
		{"<svg><style><img src=x onerror=y()></style>", "<svg><style></style>"},
		{"<style>p { color: red } a > b { content: '<' }</style>", "<style>p { color: red } a > b { content: '<' }</style>"},
		{"<noscript><iframe src=x></noscript>", "<noscript></noscript>"},
		{"a<p", "a"},
		{"", ""},
	} {
		if got := string(rest([]byte(c.in))); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// rest neutralises until nothing is left.
func rest(data []byte) []byte {
	for range maxRounds {
		data = neutral(data)
	}
	return data
}

// TestHTML: in each transfer encoding, and the rest byte for byte.
func TestHTML(t *testing.T) {
	body := "<html><p onclick=\"x()\">Grüße</p>\r\n<script>x</script>" + strings.Repeat("<p>a longer line of text with = signs</p>\r\n", 20) + "</html>"
	want := "<html><p  >Grüße</p>\r\n" + strings.Repeat("<p>a longer line of text with = signs</p>\r\n", 20) + "</html>"
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	for enc, encoded := range map[string]string{"8bit": body, "base64": string(lines64([]byte(body))), "quoted-printable": qp.String()} {
		for _, whole := range []bool{false, true} {
			raw, number := crlf(top+"Content-Type: multipart/alternative; boundary=B\n\n--B\n"+text+"\n--B\n")+"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "+enc+"\r\n\r\n"+encoded+"\r\n--B--\r\n", "2"
			if whole {
				raw, number = crlf(top)+"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "+enc+"\r\n\r\n"+encoded, ""
			}
			x := read(raw)
			p := part(t, x, number)
			edits, err := HTML(x, p)
			if err != nil {
				t.Errorf("%s: %v %v", enc, err, x.Defects)
				continue
			}
			out := render(t, raw, edits)
			y := read(out)
			if got := string(part(t, y, number).Bodies()[0].Data); got != want {
				t.Errorf("%s: %q", enc, got)
			}
			if out[:p.Body] != raw[:p.Body] || !strings.HasSuffix(out, raw[p.End:]) {
				t.Errorf("%s: more was changed: %q", enc, out)
			}
			if again, err := HTML(y, part(t, y, number)); err != nil || again != nil {
				t.Errorf("%s: a second time: %v %v", enc, again, err)
			}
		}
	}
}

// TestLinear: what is made to be slow is read in one pass. A quadratic scan of
// these would take minutes, so that the test would not end.
func TestLinear(t *testing.T) {
	const n = 512 << 10
	for _, s := range []string{"<", "<a ", "<a b", "<!--", "<script>", "</script>", "<p on", " on", "<style>on", "<a b='", "<a =", "<![CDATA[", "<title>", "&#x", "<a href=&"} {
		rest([]byte(strings.Repeat(s, n/len(s))))
		rest([]byte("<p x='" + strings.Repeat(s, n/len(s)) + "'>"))
		rest([]byte("<style>" + strings.Repeat(s, n/len(s)) + "<"))
	}
}

func FuzzHTML(f *testing.F) {
	for _, s := range []string{"<p onclick=x>", "<script>a</script>b", "<a href='java&Tab;script:x'>", "<scr<script></script>ipt>x</script>", "<svg><style><img onerror=x></style>", "<p \"onclick=x", "<!--><script>", "<p =onclick=x a='", "<title><script>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := rest(data)
		if !bytes.Equal(out, neutral(out)) {
			return // HTML refuses it
		}
		z := html.NewTokenizer(bytes.NewReader(out))
		for z.Next() != html.ErrorToken {
			tok := z.Token()
			if tok.Type != html.StartTagToken && tok.Type != html.SelfClosingTagToken {
				continue
			}
			if fateOf(tok.Data) != stays {
				t.Fatalf("%q has <%s>", out, tok.Data)
			}
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Key, "on") && len(a.Key) > 2 || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
					t.Fatalf("%q has %s=%q", out, a.Key, a.Val)
				}
			}
		}
	})
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte(mixed(text, file)))
	f.Add([]byte(mixed("Content-Type: text/html\n\n<p onclick=x()>hello</p>", file)))
	f.Add([]byte(crlf(top + "Content-Type: text/html\n\n<script>x</script>--B\n")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := message.ReadIndex(raw, message.DefaultIndexLimits())
		for _, p := range x.Parts[:min(len(x.Parts), 8)] {
			for _, note := range []string{"", "removed"} {
				edits, err := Splice(x, Change{Part: p, Note: note})
				if err != nil && (edits != nil || !errors.Is(err, ErrRefused)) {
					t.Fatalf("%v %v", edits, err)
				}
				if len(edits) == 0 {
					continue
				}
				out := apply(raw, edits)
				if !bytes.HasPrefix(out, raw[:p.Start]) || !bytes.HasSuffix(out, raw[p.End:]) {
					t.Fatalf("more than the part was changed: %q", out)
				}
			}
		}
	})
}

// BenchmarkHTML is the speed over a newsletter of 200 KB.
func BenchmarkHTML(b *testing.B) {
	data := []byte(strings.Repeat("<table><tr><td class=\"x\" style=\"color:red\"><a href=\"https://a.example/?x=1&amp;y=2\">Hello, you</a></td></tr></table>\r\n", 1700))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if out := neutral(data); len(out) != len(data) {
			b.Fatal(len(out))
		}
	}
}
