package markup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// ours is what Read finds: one line a tag, and the text.
func ours(page []byte) (tags []string, text string) {
	var all strings.Builder
	Read(page, Visitor{
		Tag: func(name []byte, attributes []Attribute, at int) {
			line := fmt.Sprintf("%d %s", at, name)
			for _, a := range attributes {
				line += fmt.Sprintf(" %s=%q", a.Name, a.Value)
			}
			tags = append(tags, line)
		},
		Text: func(t []byte, _ int, _ bool) { all.Write(t) },
	})
	return tags, all.String()
}

// theirs is what the tokeniser of x/net finds, as ours would tell it: of two
// attributes with one name the first, no text that is not shown.
func theirs(page []byte) (tags []string, text string) {
	z := html.NewTokenizer(bytes.NewReader(page))
	var all strings.Builder
	at, hidden := 0, false
	for {
		kind := z.Next()
		from := at
		at += len(z.Raw())
		switch kind {
		case html.ErrorToken:
			return tags, all.String()
		case html.TextToken:
			if !hidden {
				all.Write(z.Text())
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			line, seen := fmt.Sprintf("%d %s", from, name), map[string]bool{}
			switch string(name) {
			case "script", "style", "iframe", "noembed", "noframes":
				hidden = true
			}
			for more {
				var key, value []byte
				if key, value, more = z.TagAttr(); !seen[string(key)] && len(key) > 0 {
					line += fmt.Sprintf(" %s=%q", key, value)
					seen[string(key)] = true
				}
			}
			tags = append(tags, line)
		}
		if kind != html.TextToken && kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			hidden = false
		}
	}
}

// comparable is whether the two mean to say the same of a page: x/net replaces
// CR, lets scripts run, knows no foreign content and no conditional comments, and
// limits nothing.
func comparable(page []byte) bool {
	lower := bytes.ToLower(page)
	for _, s := range []string{"\r", "\x00", "<svg", "<math", "<!--[if", "&#", "<noscript"} {
		if bytes.Contains(lower, []byte(s)) {
			return false
		}
	}
	// In the comment of a script, x/net forgets the comment at a "<" that begins
	// no name (13.2.5.24 goes back to "script data escaped").
	if at := bytes.Index(lower, []byte("<script")); at >= 0 {
		if n := bytes.Index(lower[at:], []byte("<!--")); n >= 0 && loose(lower[at+n+1:]) {
			return false
		}
	}
	return len(page) < MaxValue && bytes.Count(page, []byte(" ")) < MaxAttributes
}

func loose(page []byte) bool {
	for i, c := range page {
		if c == '<' && (i+1 == len(page) || page[i+1] != '/' && !letter(page[i+1])) {
			return true
		}
	}
	return false
}

func same(t *testing.T, page []byte) {
	t.Helper()
	tags, text := ours(page)
	wantTags, wantText := theirs(page)
	if fmt.Sprint(tags) != fmt.Sprint(wantTags) {
		t.Fatalf("%q\n our tags %q\nx/net's   %q", page, tags, wantTags)
	}
	if text != wantText {
		t.Fatalf("%q\n our text %q\nx/net's   %q", page, text, wantText)
	}
}

// TestSameAsXNet compares the tokenisers on pages that are put together of what
// matters to them.
func TestSameAsXNet(t *testing.T) {
	parts := strings.Fields("< > / </ <! <!-- --> --!> - ! = \" ' & ; <a <A <p> </p> <br/> <img <script> </script> <script <style> " +
		"</style> <textarea> </textarea> <title> </title> <xmp> </xmp> <iframe> </iframe> <noembed> </noembed> <plaintext> " +
		"<? <!doctype &amp; &nbsp &notit; &notin; &eacute &euro; &zzz; text src= href=\"?a=1&amp;b&copy=2&lt\" alt='a>b' ñ \xff")
	parts = append(parts, " ", "\n", " src=", " x y", " /", "<img src='a' src=b>")
	random := rand.New(rand.NewPCG(5, 5))
	for range 60_000 {
		var page bytes.Buffer
		for range 1 + random.IntN(14) {
			page.WriteString(parts[random.IntN(len(parts))])
		}
		if comparable(page.Bytes()) {
			same(t, page.Bytes())
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{`<a href="x&amp;y" b>t</a>`, "<!--[if mso]><b>x<![endif]-->y", "<svg><![CDATA[x]]></svg>&#x41;",
		"<script><!--<script></script></script>x", "<title>a&copyb</title ><p a=1 A=2", "</ x><?y><!z><!-->q"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		if comparable(page) {
			same(t, page)
		}
		last, outlook := 0, bytes.Contains(page, []byte("<!--[if"))
		check := func(at int) {
			if at < 0 || at >= len(page) || at < last && !outlook {
				t.Fatalf("%q: a place %d behind %d", page, at, last)
			}
			last = at
		}
		Read(page, Visitor{
			Tag: func(name []byte, attributes []Attribute, at int) {
				check(at)
				if page[at] != '<' || len(name) == 0 || !letter(name[0]) || !bytes.Equal(name, lower(name)) || len(attributes) > MaxAttributes {
					t.Fatalf("%q: tag %q at %d", page, name, at)
				}
				for _, a := range attributes {
					if len(a.Name) == 0 || !bytes.Equal(a.Name, lower(a.Name)) || bytes.IndexByte(a.Value, 0) >= 0 {
						t.Fatalf("%q: attribute %q=%q", page, a.Name, a.Value)
					}
				}
			},
			Text: func(text []byte, at int, _ bool) {
				check(at)
				if len(text) == 0 {
					t.Fatalf("%q: no text at %d", page, at)
				}
			},
		})
		// What reads tags alone, or text alone, or nothing, reads as far.
		var tags int
		Read(page, Visitor{Tag: func([]byte, []Attribute, int) { tags++ }})
		if all, _ := ours(page); len(all) != tags {
			t.Fatalf("%q: %d tags, without text %d", page, len(all), tags)
		}
		var text strings.Builder
		Read(page, Visitor{Text: func(b []byte, _ int, _ bool) { text.Write(b) }})
		if _, all := ours(page); all != text.String() {
			t.Fatalf("%q: text %q, without tags %q", page, all, text.String())
		}
	})
}

func lower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}
