package pattern

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestSample: what is made up of a pattern matches it, for the patterns that
// tables are made of.
func TestSample(t *testing.T) {
	for _, c := range []struct {
		source  string
		dialect Dialect
	}{
		{`(filename|name)="(Happy99|Navidad)\.exe"`, PCRE},
		{`^begin\s+\d{3}\s+.+?\.(bat|jse?|vb[esx])\b`, PCRE},
		{`^\s+(file)?name="?.+?\.(bat|chm)\b`, PCRE},
		{`^From: Hahaha <hahaha@sexyfun.net>$`, PCRE},
		{`(\<IFrame\ src\=\"|\<IFRAME\ SRC\=\")`, Extended},
		{`\bword\b`, PCRE}, {`\Bx`, PCRE}, {`[[:<:]]a[[:>:]]`, PCRE}, {`(a|b)\1`, PCRE},
		{`(?=.*a)(?=.*b)c`, PCRE}, {`(?<=x)y`, PCRE}, {`^$`, PCRE}, {`[^ -~]`, PCRE}, {`\x00`, PCRE}, {`a{40}`, PCRE},
	} {
		p, err := Compile(c.source, Options{Bytes: true, Fold: true, DotAll: true, Dialect: c.dialect})
		if err != nil {
			t.Fatal(c.source, err)
		}
		text, ok := Sample(p)
		if c.source == `(?<=x)y` || c.source == `(?=.*a)(?=.*b)c` {
			continue // may have none
		}
		if !ok {
			t.Errorf("%s: no sample", c.source)
			continue
		}
		if hit, err := p.Match(text, nil); err != nil || !hit {
			t.Errorf("%s: %q does not match", c.source, text)
		}
	}
	for _, none := range []string{`(*FAIL)`, `a^b`, `a\Bb\bc`} {
		p, err := Compile(none, Options{Bytes: true})
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := Sample(p); ok {
			t.Errorf("%s: matches %q?", none, text)
		}
	}
}

// TestSampleIsBounded: a pattern that asks for gigabytes has no sample, soon.
func TestSampleIsBounded(t *testing.T) {
	p, err := Compile(`((a{200}){200}){200}`, Options{Bytes: true})
	if err != nil {
		return // too large for either engine
	}
	if _, ok := Sample(p); ok {
		t.Error("a sample of 8 MB")
	}
}

func TestLead(t *testing.T) {
	of := func(source string) ([]Octets, bool) {
		t.Helper()
		p, err := Compile(source, Options{Bytes: true, Fold: true, DotAll: true})
		if err != nil {
			t.Fatal(err)
		}
		return Lead(p)
	}
	sets, ok := of(`^Sub(ject|ways): x*y`)
	if !ok || len(sets) != 7 && len(sets) != 6 && len(sets) < 3 || !sets[0].Has('S') || !sets[0].Has('s') || sets[0].Has('u') {
		t.Errorf("%v %d", ok, len(sets))
	}
	if !sets[3].Has('j') || !sets[3].Has('w') || sets[3].Has('x') {
		t.Error("the alternatives are not joined")
	}
	if _, ok := of(`x`); ok {
		t.Error("x is not anchored")
	}
	if _, ok := of(`^x|y`); ok {
		t.Error("^x|y is not anchored")
	}
	if sets, ok := of(`^\s+name=`); !ok || len(sets) != 1 || !sets[0].Has(' ') || sets[0].Has('n') {
		t.Error("^\\s+name=")
	}
	p, err := Compile("a\nb|c\n", Options{Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	if !Needs(p, func(c rune) bool { return c == '\n' }) || Needs(p, func(c rune) bool { return c == 'b' }) {
		t.Error("Needs")
	}
	if Length(p) != 2 {
		t.Error("Length")
	}
}

// TestPortable: PCRE writes a pattern that matches the same texts.
func TestPortable(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 7))
	pieces := []string{"a", "B", ".", `\.`, "[ab]", "[^a]", "x*", "(a|b)", "(b)?", "^", "$", `\<`, `\>`, "é", "/", "-", "]", "a{1,2}", " ", `"`, "'"}
	texts := make([][]byte, 60)
	for i := range texts {
		for range r.IntN(8) {
			texts[i] = append(texts[i], "aAbBx. /-]\"'\n\xc3\xa9"[r.IntN(15)])
		}
	}
	for range 2000 {
		var s strings.Builder
		for range 1 + r.IntN(5) {
			s.WriteString(pieces[r.IntN(len(pieces))])
		}
		portableAgrees(t, s.String(), Options{Bytes: true, Fold: r.IntN(2) == 0, DotAll: r.IntN(2) == 0, Multiline: r.IntN(3) == 0,
			Dialect: Dialect(r.IntN(3))}, texts)
	}
}

func portableAgrees(t *testing.T, source string, o Options, texts [][]byte) {
	t.Helper()
	p, err := Compile(source, o)
	if err != nil {
		return
	}
	folded, fold := p.FoldPCRE()
	agrees(t, p, folded, Options{Bytes: o.Bytes || o.Dialect != PCRE, Fold: fold}, texts)
	agrees(t, p, p.PCRE(), Options{Bytes: o.Bytes || o.Dialect != PCRE}, texts)
}

func agrees(t *testing.T, p *Pattern, written string, o Options, texts [][]byte) {
	t.Helper()
	q, err := Compile(written, o)
	if err != nil {
		// Spelled out it may be too large for the engine, and never wrong.
		if len(written) < 1000 {
			t.Fatalf("%q: %v", written, err)
		}
		return
	}
	for _, text := range texts {
		a, errA := p.Match(text, nil)
		b, errB := q.Match(text, nil)
		if errA == nil && errB == nil && a != b {
			t.Fatalf("the pattern says %v of %q, as %q (%+v) it says %v", a, text, written, o, b)
		}
	}
}

// FuzzSample: a sample matches, and the portable form agrees about it.
func FuzzSample(f *testing.F) {
	f.Add(`^Subject: (a|b)+$`, uint8(0), []byte("Subject: ab"))
	f.Add(`\<x\>`, uint8(1), []byte("x"))
	f.Fuzz(func(t *testing.T, source string, bits uint8, text []byte) {
		if len(source) > 60 || len(text) > 200 {
			return
		}
		o := Options{Bytes: true, Dialect: Dialect(bits & 3 % 3), Fold: bits&4 > 0, DotAll: bits&8 > 0, Multiline: bits&16 > 0,
			Ungreedy: bits&32 > 0, Extended: bits&64 > 0, Anchored: bits&128 > 0 && bits&3 == 0}
		p, err := Compile(source, o)
		if err != nil {
			return
		}
		texts := [][]byte{text}
		if s, ok := Sample(p); ok {
			if hit, err := p.Match(s, nil); err == nil && !hit {
				t.Fatalf("%q does not match its sample %q", source, s)
			}
			if sets, ok := Lead(p); ok {
				for i, set := range sets {
					if i >= len(s) || !set.Has(s[i]) {
						t.Fatalf("%q: octet %d of %q is not in Lead", source, i, s)
					}
				}
			}
			texts = append(texts, s)
		}
		portableAgrees(t, source, o, texts)
	})
}
