package place

import (
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
)

func TestPositions(t *testing.T) {
	text := New("a\x1b.toml", []byte(ByteOrderMark+"ñb\r\nc\n\nlast"))
	if text.Name != `a\x1b.toml` {
		t.Errorf("the name is %q", text.Name)
	}
	for _, c := range []struct{ offset, line, column int }{
		{0, 1, 1}, {3, 1, 1}, {5, 1, 2}, {6, 1, 3}, {8, 2, 1}, {9, 2, 2}, {10, 3, 1}, {11, 4, 1}, {15, 4, 5}, {99, 4, 5}, {-1, 1, 1},
	} {
		if line, column := text.Position(c.offset); line != c.line || column != c.column {
			t.Errorf("offset %d is %d:%d, want %d:%d", c.offset, line, column, c.line, c.column)
		}
	}
	if start, end := text.Bounds(1); start != 3 || end != 6 {
		t.Errorf("line 1 is %d to %d", start, end)
	}
	if line, start, end, from, to := text.Within(8, 99); line != 2 || start != 8 || end != 9 || from != 8 || to != 9 {
		t.Errorf("8 to 99 is %d: %d %d %d %d", line, start, end, from, to)
	}
}

func TestExcerpt(t *testing.T) {
	show := func(s, mark string) (string, Excerpt) {
		text := New("f", []byte(s))
		at := strings.Index(s, mark)
		line, start, end, from, to := text.Within(at, at+len(mark))
		e := text.Show(start, end, from, to)
		return e.Under(line, "this"), e
	}
	if got, _ := show("x = 1\nkey\t= \x1b[m\n", "\x1b[m"); got != "\n2| key = \\x1b[m\n |       ~~~~~~ this" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("é", 200) + "HERE" + strings.Repeat("z", 200)
	got, e := show(long, "HERE")
	shown := strings.Split(got, "\n")
	if !strings.HasPrefix(e.Text, "…") || !strings.HasSuffix(e.Text, "…") || e.Whole || len([]rune(e.Text)) > window+2 {
		t.Errorf("a long line is shown as %q", e.Text)
	}
	if under := []rune(shown[2]); string([]rune(shown[1])[strings.Index(shown[2], "~"):][:4]) != "HERE" || strings.Count(string(under), "~") != 4 {
		t.Errorf("the mark is beside the place:%s", got)
	}
	if (Excerpt{}).Under(3, "x") != "" {
		t.Error("an empty excerpt is shown")
	}
}

func TestHead(t *testing.T) {
	for want, got := range map[string]string{
		"f: ":               Head("f", 0, 7, false),
		"f:3: ":             Head("f", 3, 0, false),
		"f:3:4: warning: ":  Head("f", 3, 4, true),
		"wrong (mend it)":   Message("wrong", "mend it"),
		"only what's wrong": Message("only what's wrong", ""),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"hostname", "max_hops", "max_connections", "tls", "url", "mode"}
	for in, want := range map[string]string{"hostnme": "hostname", "hsotname": "hostname", "Hostname": "hostname", "max-hops": "max_hops", "host": "hostname", "hops": "max_hops",
		"tsl": "tls", "uri": "url", "ttl": "", "abc": "", "mdoe": "mode", "": "", "connections": "max_connections", "max_connections_total": "max_connections"} {
		if got := Nearest(in, names); got != want {
			t.Errorf("%q is near %q, want %q", in, got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	in := []byte(ByteOrderMark + "a\x00\xe1\r\r\nñ\x7f\x01")
	var told []string
	out, ok := Scrub(in, func(at int, what string) bool {
		told = append(told, strconv.Itoa(at)+" "+what)
		return true
	})
	want := "4 there is a NUL byte|5 byte 0xe1 is not UTF-8|6 there is a carriage return without line feed|" +
		"11 there is a control character (0x7f)|12 there is a control character (0x01)"
	if got := strings.Join(told, "|"); !ok || got != want {
		t.Errorf("told %q", got)
	}
	if string(out) != "   a ? \r\nñ  " || !strings.HasPrefix(string(in), ByteOrderMark) {
		t.Errorf("left %q of %q", out, in)
	}
	if _, ok := Scrub(in, func(int, string) bool { return false }); ok {
		t.Error("goes on when told to stop")
	}
	if !UTF16([]byte("\xff\xfea\x00")) || !UTF16([]byte("\xfe\xff\x00a")) || UTF16([]byte("a")) {
		t.Error("UTF-16 is not what it is")
	}
}

func TestWords(t *testing.T) {
	text := []byte("\n# note\n  key = [value, two]\n")
	if at := NextExpression(text, 0, false); at != 10 {
		t.Errorf("the first expression is at %d", at)
	}
	if at := NextExpression(text, 10, true); at != len(text) {
		t.Errorf("behind the last expression is %d", at)
	}
	for at, want := range map[int]string{11: "key", 13: "key", 14: "", 19: "value", 99: ""} {
		if from, to := Word(text, at); string(text[from:to]) != want {
			t.Errorf("at %d stands %q, want %q", at, text[from:to], want)
		}
	}
	if from, to := Word([]byte(strings.Repeat("a", 1<<20)), 1<<19); to-from != 200 {
		t.Errorf("a word of a megabyte has %d octets", to-from)
	}
	if got := Quote(strings.Repeat("é", 61) + "\x1b"); got != `"`+strings.Repeat("é", 60)+`…"` {
		t.Errorf("quoted: %s", got)
	}
}

// FuzzPlace shows any range of any file: nothing escapes its line, the mark
// stands under the text, and what is written as a string reads back.
func FuzzPlace(f *testing.F) {
	f.Add([]byte("a = 1\r\nb = \x1b[2J\n"), 3, 9)
	f.Add([]byte(ByteOrderMark+strings.Repeat("é", 300)), 200, 204)
	f.Fuzz(func(t *testing.T, octets []byte, a, z int) {
		text := New("f", octets)
		line, start, end, from, to := text.Within(a, z)
		if start > from || from > to || to > end || end > len(octets) || line < 1 {
			t.Fatalf("%d: %d %d %d %d", line, start, from, to, end)
		}
		e := text.Show(start, end, from, to)
		if strings.ContainsFunc(e.Text, func(r rune) bool { return r != utf8.RuneError && !unicode.IsPrint(r) }) {
			t.Errorf("shown: %q", e.Text)
		}
		if n := utf8.RuneCountInString(e.Text); e.Mark < 0 || e.Mark > n || e.Width < 1 || e.Mark+e.Width > n+1 {
			t.Errorf("%d and %d of %q", e.Mark, e.Width, e.Text)
		}
		clean, _ := Scrub(octets, func(int, string) bool { return true })
		if len(clean) != len(octets) || !utf8.Valid(clean) {
			t.Errorf("scrubbed: %q", clean)
		}
		if at := NextExpression(clean, min(max(a, 0), len(clean)), true); at > len(clean) {
			t.Errorf("the next expression is at %d of %d", at, len(clean))
		}
		var back struct{ K string }
		s := string(clean)
		if err := toml.Unmarshal([]byte("K = "+String(s)), &back); err != nil || back.K != s {
			t.Errorf("%q is written %s and read %q, %v", s, String(s), back.K, err)
		}
		if len(s) < 60 { // a letter may grow when it is made small
			if near := Nearest(s, []string{s}); s != "" && near != s {
				t.Errorf("%q is not near itself but near %q", s, near)
			}
		}
	})
}
