package rules

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"garita/filetype"
	"garita/message"
	"garita/place"

	"github.com/pelletier/go-toml/v2"
)

// FuzzParse: no file makes the reader panic, what it says points into the file
// and is safe to print, and what it takes without a word is TOML for others too.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("[[rule]]\r\nid = 'a'\r\nmatch = \"\"\"\\\r\n  text matches /\\u00e1(/a\"\"\"\r\nreply = 'ñ'\r\n"))
	f.Add([]byte("[[rule]]\nmatch = ['subject cotains \"x\" or',\n 'client in list x', {a=[1]}]\naction = ['prepend \"a\"']\nid = \n[[overide]]\n"))
	f.Add([]byte("\ufeff[[override]]\ntag='\xff'\nscore=nan\n[[rule.test]]\n\"a\\U0010ffff\".b=1979-05-27T00:32:00.999999-07:00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := ParseOptions{NextHops: []string{"hop"}, ReadList: func(path string) ([]byte, error) {
			if strings.HasSuffix(path, "x") { // the file is a list, too
				return text, nil
			}
			return []byte("192.0.2.1\nname\n"), nil
		}}
		file, problems := Parse(Source{Name: "a.toml", Text: text}, o)
		errors := 0
		lines := bytes.Split(text, []byte("\n"))
		for _, p := range problems {
			if !p.Warning {
				errors++
			}
			s := p.String()
			for _, r := range s {
				if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') {
					t.Fatalf("not safe to print: %q", s)
				}
			}
			if p.File != "a.toml" {
				continue // of a list
			}
			if p.Line < 0 || p.Line > len(lines) || p.Line > 0 && (p.Column < 1 || p.Column > utf8.RuneCount(lines[p.Line-1])+1) {
				t.Fatalf("%d:%d is not in the file: %s", p.Line, p.Column, s)
			}
			if len(s) > 8000 {
				t.Fatalf("a problem of %d octets", len(s))
			}
		}
		if errors > 0 {
			return
		}
		var doc map[string]any
		if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte(place.ByteOrderMark)), &doc); err != nil {
			t.Fatalf("we take what is no TOML: %v", err)
		}
		for _, r := range file.Rules {
			if !validName(r.ID) || len(r.Match)+len(r.Any)+len(r.Not) == 0 || len(r.Actions) == 0 {
				t.Fatalf("half a rule: %+v", r)
			}
			for i := range r.Tests {
				r.Tests[i].Build()
			}
		}
	})
}

// FuzzCondition: what is taken is whole, and is read the same in both kinds of
// quotes.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`not attachment name ends ".exe" or ".scr"`, `client in 192.0.2.0/24 or ::1`, `html attribute href of a matches /^\/\/x/iU`,
		`raw header Subject matches /\xff/`, `size > 10 MB`, `text contains "\"\\"`, `header X is missing`, `subject matches /ñ/a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return
		}
		r, problems := parseRule("match = ["+place.String(s)+"]", ParseOptions{})
		for _, p := range problems {
			if p.Line != 1 && p.Line != 3 {
				t.Fatalf("line %d: %s", p.Line, p)
			}
			if !p.Warning {
				return
			}
		}
		if len(r.Match) != 1 {
			t.Fatalf("%q: neither taken nor refused", s)
		}
		c := r.Match[0]
		if c.Subject == 0 || c.Op == 0 || !c.Subject.form().kind.fits(c.Op) || c.Source != s || (c.Op == Matches) != (c.Pattern != nil) ||
			c.Op <= Ends && len(c.Values) == 0 || c.Op == InNets && len(c.Nets) == 0 || c.Subject.form().name != (c.Name != "") {
			t.Fatalf("%q: %+v", s, c)
		}
		if strings.ContainsAny(s, `'`) {
			return
		}
		literal, _ := parseRule("match = ['"+s+"']", ParseOptions{})
		if len(literal.Match) != 1 || literal.Match[0].Regexp != c.Regexp || strings.Join(literal.Match[0].Values, "\x00") != strings.Join(c.Values, "\x00") {
			t.Fatalf("%q is read otherwise in single quotes", s)
		}
	})
}

// FuzzTestMessage: what a test describes is a message in which its contents are
// found again.
func FuzzTestMessage(f *testing.F) {
	f.Add("Subject: x", "hello\nyou", "<p>hi</p>", "factura.exe")
	f.Add("", "--=_test_1\n--=_test_2", "", "niño \"x\\y\".exe")
	f.Add("X: y\n folded", strings.Repeat("x", 2000), "ñ", "")
	f.Fuzz(func(t *testing.T, header, text, html, name string) {
		if !utf8.ValidString(header + text + html + name) {
			return // which TOML cannot say
		}
		src := "match = ['size > 1MB']\n[[rule.test]]\nheader = " + place.String(header) + "\ntext = " + place.String(text) +
			"\nhtml = " + place.String(html) + "\nattachment = " + place.String(name)
		r, problems := parseRule(src, ParseOptions{})
		if len(problems) > 0 {
			return
		}
		_, raw := r.Tests[0].Build()
		if strings.ContainsAny(strings.ToLower(header), "cm") || strings.Contains(text+html, "\r") {
			return // the author's own structure
		}
		rest := raw
		for len(rest) > 0 {
			line, after, ok := bytes.Cut(rest, []byte("\r\n"))
			if !ok || bytes.ContainsAny(line, "\r\n") || len(line) > 998 && !strings.Contains(r.Tests[0].Header, string(line)) && !bytes.HasPrefix(line, []byte("Content-Disp")) {
				t.Fatalf("a line of %d octets: %q", len(line), line)
			}
			rest = after
		}
		index := message.ReadIndex(raw, message.DefaultIndexLimits())
		found := name == ""
		for _, p := range index.Parts {
			for _, n := range p.Names {
				found = found || n.Text == name
			}
		}
		if !found && strings.TrimSpace(name) == name && utf8.ValidString(name) && !strings.Contains(name, "�") {
			t.Fatalf("the name %q is not found:\n%s", name, raw)
		}
	})
}

func TestAttachmentOctets(t *testing.T) {
	if kind := filetype.Detect(attachmentOctets()); kind.Class != filetype.Unknown {
		t.Error(kind)
	}
}
