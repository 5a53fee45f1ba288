package pattern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func compile(t testing.TB, o Options, sources ...string) []*Pattern {
	t.Helper()
	var out []*Pattern
	for _, s := range sources {
		p, err := Compile(s, o)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out = append(out, p)
	}
	return out
}

func TestRequired(t *testing.T) {
	o := Options{Bytes: true, Fold: true, DotAll: true}
	for source, want := range map[string]string{
		`Happy99\.exe`:                      "[[happy99.exe]]",
		`^Subject:.*viagra`:                 "[[subject:] [viagra]]",
		`name\s*=\s*"?.*\.(exe|vbs|pi[fg])`: "[[.exe .pif .pig .vbs] [name]]",
		`<iframe`:                           "[[<iframe]]",
		`(foo|ba+r)baz`:                     "[[baz]]",
		`a.b`:                               "[]",
		`(ab)?`:                             "[]",
		`(abc){2}`:                          "[[abcabc]]",
		`(?=.*secret)x`:                     "[[secret]]",
		`(?!secret)x.`:                      "[]",
		`ab|c`:                              "[]",
		`(ab)+`:                             "[[ab]]",
		`.*`:                                "[]",
	} {
		if got := fmt.Sprint([][]string(Required(compile(t, o, source)[0]))); got != want {
			t.Errorf("%q: %s, want %s", source, got, want)
		}
	}
	// The Kelvin sign is a k.
	p := compile(t, Options{Fold: true}, `kilo`)[0]
	if !Required(p).In([]byte("\u212aILO")) || Required(p).In([]byte("milo")) {
		t.Error(Required(p))
	}
}

// TestSetAgrees asks a set and its patterns one by one, over random lines
// that hold the literals whole, cut and in either case.
func TestSetAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"abcd", "bcde", "ab", "xyz", "Happy99.exe", "begin ", "name=", ".vbs", "é", "\xe9\xe9\xe9\xe9", "qq", "aaaa"}
	var sources []string
	for i := range 80 {
		a, b := words[r.IntN(len(words))], words[r.IntN(len(words))]
		sources = append(sources, []string{a, a + ".*" + b, a + "|" + b, "^" + a, a + `\d?` + b, "(?=" + a + ")" + b[:1], "[ax]" + a, a + "+"}[i%8])
	}
	sources = append(sources, ".", "x?")
	set := NewSet(compile(t, Options{Bytes: true, Fold: true}, sources...))
	for range 300 {
		var text bytes.Buffer
		for range r.IntN(12) {
			w := words[r.IntN(len(words))]
			switch r.IntN(4) {
			case 0:
				w = strings.ToUpper(w)
			case 1:
				w = w[:r.IntN(len(w))]
			}
			text.WriteString(w)
			text.WriteString([]string{"", " ", "\r\n", "x", "\n"}[r.IntN(5)])
		}
		var whole []int
		byLine := map[string]bool{}
		for i, p := range set.patterns {
			if ok, _ := p.Match(text.Bytes(), nil); ok {
				whole = append(whole, i)
			}
			for start := 0; start < text.Len(); {
				_, end, next := lineAt(text.Bytes(), start)
				if ok, _ := p.Match(text.Bytes()[start:end], nil); ok {
					byLine[fmt.Sprint(i, start, end)] = true
				}
				start = next
			}
		}
		got, err := set.Match(nil, text.Bytes(), nil)
		if err != nil || !slices.Equal(got, whole) {
			t.Fatalf("%q: %v, one by one %v", text.String(), got, whole)
		}
		seen := map[string]bool{}
		err = set.MatchLines(text.Bytes(), nil, func(i, start, end int) bool {
			k := fmt.Sprint(i, start, end)
			if seen[k] {
				t.Fatalf("%q: %s twice", text.String(), k)
			}
			seen[k] = true
			return true
		})
		if err != nil || fmt.Sprint(seen) != fmt.Sprint(byLine) {
			t.Fatalf("%q: lines %v, one by one %v", text.String(), seen, byLine)
		}
	}
}

func TestSetAllocations(t *testing.T) {
	set := NewSet(compile(t, Options{Bytes: true, Fold: true, DotAll: true}, guideRules(60)...))
	text := mailText(64 << 10)
	n := 0
	hit := func(int, int, int) bool { n++; return true }
	if a := testing.AllocsPerRun(20, func() { _ = set.MatchLines(text, nil, hit) }); a > 2 {
		t.Errorf("%v allocations for %d lines", a, bytes.Count(text, []byte("\n")))
	}
}

// guideRules is n rules of the kind that guides for Postfix list: names of
// files, extensions, sentences, tags, subjects.
func guideRules(n int) []string {
	kinds := []string{
		`^Subject:.*\bword%d special offer`, `(file)?name\s*=\s*"?[^"]*word%d\.(exe|pif|scr|vbs|bat|com)"?`,
		`I send you this file number %d in order to have your advice`, `<iframe[^>]+src=.?cid:word%d`,
		`begin \d+ word%d\.\w{3}`, `Happy%d\.exe`, `^X-Mailer: Word%d Mailer`, `Rem I am sorry %d`,
		`http://[^ ]*\.word%d\.(ru|cn|info)/`, `te mando este archivo %d para que me des tu punto de vista`,
	}
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(kinds[i%len(kinds)], 100+i))
	}
	return out
}

// mailText is n bytes of clean text in lines.
func mailText(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	words := strings.Fields(`the of and to in a is that for it was on are as with his they at be this from have or by one had not but what all were when we
		there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time
		could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most
		know El la de que y en los se del las un por con no una su para es al lo como mas pero sus le ya o este si porque esta entre cuando muy sin sobre
		invoice attached please regards meeting Monday file project report Saludos reunion adjunto factura name Subject: http://www.example.com/index.html`)
	var b bytes.Buffer
	for b.Len() < n {
		col := 0
		for col < 60 {
			w := words[r.IntN(len(words))]
			b.WriteString(w)
			b.WriteByte(' ')
			col += len(w) + 1
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()[:n]
}

func BenchmarkSet(b *testing.B) {
	text := mailText(1 << 20)
	for _, n := range []int{60, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set := NewSet(compile(b, Options{Bytes: true, Fold: true, DotAll: true}, guideRules(n)...))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := set.MatchLines(text, nil, func(int, int, int) bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
