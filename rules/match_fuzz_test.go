package rules_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"garita/message"
	"garita/rules"
	"garita/rules/fold"
	"garita/rules/pattern"
)

// slow is a condition about text as its definition has it: everything folded.
func slow(op rules.Op, text, value string) bool {
	key := fold.Key(value)
	folded := strings.Trim(string(fold.Text(nil, []byte(text))), " ")
	if key == "" {
		return false // nothing is looked for
	}
	switch op {
	case rules.Is:
		return folded == key
	case rules.Contains:
		return strings.Contains(folded, key)
	case rules.Starts:
		return strings.HasPrefix(folded, key)
	}
	return strings.HasSuffix(folded, key)
}

// byHand makes a set of conditions without the language.
func byHand(t testing.TB, conditions ...*rules.Condition) *rules.Set {
	t.Helper()
	f := &rules.File{Name: "hand"}
	for i, c := range conditions {
		f.Rules = append(f.Rules, &rules.Rule{ID: fmt.Sprintf("r%d", i), Match: []*rules.Condition{c}})
	}
	s, problems := rules.Compile([]*rules.File{f})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

// textInput is a message of one text, which is not decoded.
func textInput(text string) rules.Input {
	raw := []byte("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text)
	return rules.Input{Tx: envelope(), Index: message.ReadIndex(raw, message.DefaultIndexLimits()), Raw: raw}
}

func textOps() []rules.Op {
	return []rules.Op{rules.Is, rules.Contains, rules.Starts, rules.Ends}
}

// fastIsSlow compares the matcher with the definition, alone and among others.
func fastIsSlow(t *testing.T, text, value string) {
	t.Helper()
	in := textInput(text)
	if len(in.Index.Parts) != 1 || len(in.Index.Parts[0].Bodies()) != 1 || strings.Contains(text, "<") {
		return // a uuencoded file in it, a page: other texts count, too
	}
	body := strings.ToValidUTF8(string(in.Index.Parts[0].Bodies()[0].Data), "\uFFFD")
	if body != text {
		return
	}
	var conditions []*rules.Condition
	for _, op := range textOps() {
		conditions = append(conditions, &rules.Condition{Subject: rules.Text, Op: op, Values: []string{value}})
	}
	for i := range 20 {
		conditions = append(conditions, &rules.Condition{Subject: rules.Text, Op: rules.Contains, Values: []string{fmt.Sprintf("zq%dx wv", i)}})
	}
	got := map[string]bool{}
	for _, h := range match(t, byHand(t, conditions...), in).Hits {
		got[h.Rule.ID] = true
	}
	for i, op := range textOps() {
		if want := slow(op, text, value); want != got[fmt.Sprintf("r%d", i)] {
			t.Errorf("op %d of %q in %q (folded %q): %v, want %v", op, value, text, fold.Text(nil, []byte(text)), !want, want)
		}
	}
}

// pieces are what hostile and ordinary text is made of.
func pieces() []string {
	return []string{"te", "mando", "este", "ARCHIVO", "archívo", " ", "  ", "\r\n", "\t", "\u00a0", "\u00ad", "\u200b", "m", "á", "a\u0301", "ñ", "n\u0303",
		"ß", "ﬁ", "ﬃ", "ss", "s", "İ", "ı", "ſ", "\x01", "\x7f", "漢字", "한", "\u1112\u1161\u11ab", "Ω", "я", "й", ".", ",", "é", "e", "que", "\u202e", "\u3000", "x", "punto de vista",
		"Ａ", "½", "\u0345", "\ufffd", "\u0300", "日", strings.Repeat(" ", 70), strings.Repeat("\u200b", 40), "\u0085", "\v", "\u2028"}
}

// Any text and any phrase, of pieces that fit together in odd ways.
func TestPhraseFastIsSlow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := pieces()
	some := func(n int) string {
		var b strings.Builder
		for range 1 + r.IntN(n) {
			b.WriteString(p[r.IntN(len(p))])
		}
		return b.String()
	}
	for range 4000 {
		phrase := some(6)
		text := some(30)
		if r.IntN(2) == 0 {
			text = some(12) + phrase + some(12)
		}
		if r.IntN(4) == 0 {
			text += strings.Repeat("plain words that say nothing at all ", r.IntN(20))
		}
		fastIsSlow(t, text, phrase)
		if t.Failed() {
			return
		}
	}
}

func FuzzPhrase(f *testing.F) {
	f.Add("Te  m\u00adando\r\neste árchivo", "te mando este archivo")
	f.Add("weiß so", "s so")
	f.Add("\u1112\u1161\u11ab y", "한 y")
	f.Add("a\x01bc def", "abc def")
	f.Fuzz(func(t *testing.T, text, value string) {
		if len(text) > 4096 || len(value) > 200 {
			return
		}
		fastIsSlow(t, text, value)
	})
}

// Whatever comes, Match says of each rule one thing, and edits that can be made.
func FuzzMatch(f *testing.F) {
	all := `
[[rule]]
id = "a"
match = ['text contains "te mando este archivo"', 'not subject contains "re:"']
action = ["warn", 'tag subject "[X] "', 'prepend "X-A: b"']
[[rule]]
id = "b"
any = ['body line matches /^(a+)+$/', 'text matches /(\w+)\s+\1/', 'any header matches /^X-/i']
action = ["warn", "ignore header"]
[[rule]]
id = "c"
match = ['attachment name ends ".exe"', 'attachment size > 1B', 'not attachment declared is "text/plain"']
[[rule]]
id = "d"
any = ['html tag is "iframe"', 'html attribute src contains "cid:"', 'nested header subject exists', 'mime header content-type contains "x"', 'raw any header contains "x"']
action = ["warn", 'replace header Subject "other"']
[[rule]]
id = "e"
not = ['attachments > 0', 'defect contains "a"', 'text contains "no"']
`
	f.Add(mixed)
	f.Add("Subject: a\r\n b\r\n\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaa!")
	f.Add("Content-Type: text/html\r\n\r\n<iframe src='cid:1'>")
	s := compile(f, all)
	f.Fuzz(func(t *testing.T, raw string) {
		in := rules.Input{Tx: envelope(), Index: message.ReadIndex([]byte(raw), message.DefaultIndexLimits()), Raw: []byte(raw)}
		first := s.Match(context.Background(), in, pattern.NewBudget(100*time.Millisecond, time.Now), rules.MatchOptions{})
		seen := map[string]bool{}
		for _, h := range first.Hits {
			seen[h.Rule.ID] = true
			m, err := message.Spool(context.Background(), bytes.NewReader([]byte(raw)), message.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Render(h.Edits); err != nil {
				t.Errorf("%s: %v", h.Rule.ID, err)
			}
			m.Release()
			for _, w := range h.Where {
				if len(w.Excerpt) > 120 || w.Line < 0 || w.Column < 0 {
					t.Errorf("%s: %+v", h.Rule.ID, w)
				}
			}
		}
		for _, r := range first.GivenUp {
			if seen[r.ID] {
				t.Errorf("%s hits and is given up", r.ID)
			}
		}
	})
}

// A pattern is tried on pieces of a text about its literal: what comes out must
// be what the whole text says.
func TestPiecesAreWhole(t *testing.T) {
	sources := []string{`punto\s+de`, `^vista`, `vista$`, `(?m)^vista$`, `\bvista\b`, `(?i)punto.{0,10}vista`, `punto.*vista`, `(?s)punto.*vista`, `archivo\z`, `\Aarchivo`,
		`archivo[^x]*punto`, `(?i)k+elvin`, `\Bvista`, `(uno|dos)\npunto`, `vista\W`, `^punto|vista$`, `archivo{2,3}`}
	r := rand.New(rand.NewPCG(3, 4))
	words := []string{"punto", "vista", "Punto", "archivo", "archivoo", "avista", "vistas", " ", " ", "\n", "\r\n", "x", "é", "de", "uno\npunto", "\u212aelvin", ".", "\u0301", "relleno y más "}
	var conditions []*rules.Condition
	for _, source := range sources {
		p, err := pattern.Compile(source, pattern.Options{})
		if err != nil {
			t.Fatal(source, err)
		}
		conditions = append(conditions, &rules.Condition{Subject: rules.Text, Op: rules.Matches, Regexp: source, Pattern: p})
	}
	s := byHand(t, conditions...)
	for range 3000 {
		var b strings.Builder
		for range r.IntN(20) {
			b.WriteString(words[r.IntN(len(words))])
		}
		text := b.String()
		in := textInput(text)
		if len(in.Index.Parts) != 1 || len(in.Index.Parts[0].Bodies()) != 1 {
			continue
		}
		got := map[string]bool{}
		for _, h := range match(t, s, in).Hits {
			got[h.Rule.ID] = true
		}
		for i, c := range conditions {
			want, err := c.Pattern.Match([]byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			if id := fmt.Sprintf("r%d", i); got[id] != want {
				t.Fatalf("%s in %q: %v", c.Regexp, text, got[id])
			}
		}
	}
}

// Lines that the search finds are those that a look at every line finds.
func TestLinesFastIsSlow(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	words := []string{"punto", "Vista", "de", " ", " ", "\r\n", "\n", "x", "\xe9", "archivo", "\t", "ar", "chivo", "\x00", "VISTA", "\r"}
	values := []string{"punto de", "vista", "x", "archivo", "de ", "\xe9x", "ARCHIVO", " vista", "e v"}
	sources := []string{`^punto`, `(?i)vista$`, `archivo.*x`, `^.$`, `\xe9`, `^$`, `(de|ar) ?x`, `(?s)x.*punto`}
	var conditions []*rules.Condition
	for _, op := range textOps() {
		for _, v := range values {
			conditions = append(conditions, &rules.Condition{Subject: rules.BodyLine, Op: op, Values: []string{v}})
		}
	}
	for _, source := range sources {
		p, err := pattern.Compile(source, pattern.Options{Bytes: true})
		if err != nil {
			t.Fatal(err)
		}
		conditions = append(conditions, &rules.Condition{Subject: rules.BodyLine, Op: rules.Matches, Regexp: source, Pattern: p})
	}
	s := byHand(t, conditions...)
	for range 2000 {
		var b strings.Builder
		for range r.IntN(25) {
			b.WriteString(words[r.IntN(len(words))])
		}
		text := b.String()
		got := map[string]bool{}
		for _, h := range match(t, s, textInput(text)).Hits {
			got[h.Rule.ID] = true
		}
		lines := strings.SplitAfter(text, "\n")
		if n := len(lines); lines[n-1] == "" {
			lines = lines[:n-1]
		}
		for i, c := range conditions {
			want := false
			for _, line := range lines {
				line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
				want = want || lineFits(t, c, line)
			}
			if id := fmt.Sprintf("r%d", i); got[id] != want {
				t.Fatalf("op %d %q %s in %q: %v", c.Op, c.Values, c.Regexp, text, got[id])
			}
		}
	}
}

func lineFits(t *testing.T, c *rules.Condition, line string) bool {
	t.Helper()
	if c.Op == rules.Matches {
		ok, err := c.Pattern.Match([]byte(line), nil)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	small := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, latin1Runes(s))
	}
	line, value := small(line), small(c.Values[0])
	switch c.Op {
	case rules.Is:
		return line == value
	case rules.Contains:
		return strings.Contains(line, value)
	case rules.Starts:
		return strings.HasPrefix(line, value)
	}
	return strings.HasSuffix(line, value)
}

// latin1Runes makes a character of each octet.
func latin1Runes(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}
