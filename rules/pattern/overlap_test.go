package pattern

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func ptr(n int) *int { return &n }

func language(t testing.TB, source string, o Options) (*Language, *Pattern) {
	t.Helper()
	p, err := Compile(source, o)
	if err != nil {
		t.Fatal(source, err)
	}
	l, err := NewLanguage(p)
	if err != nil {
		t.Fatal(source, err)
	}
	return l, p
}

func TestCommon(t *testing.T) {
	for _, c := range []struct {
		all, none string // separated by blanks
		text      string // "" none
		proved    bool
	}{
		{all: `abc`, none: `ab`, proved: true},
		{all: `ab`, none: `abc`, text: "ab"},
		{all: `^a ^b`, proved: true},
		{all: `a^b`, proved: true},
		{all: `a$b`, proved: true},
		{all: `a$\nb`, proved: true},
		{all: `a$\n`, text: "a\n"},
		{all: `a$\n$`, text: "a\n"},
		{all: `x$`, none: `x\z`, text: "x\n"},
		{all: `x\Z`, none: `x$`, proved: true},
		{all: `a\bb`, proved: true},
		{all: `a\b-`, text: "a-"},
		{all: `(?m)a^b`, proved: true},
		{all: `(?m)a\n^b`, text: "a\nb"},
		{all: `(?m)a\n^\z`, proved: true},
		{all: `^[a-c]{2}$`, none: `^a ^b ^c`, proved: true},
		{all: `^[a-d]{2}$`, none: `^a ^b ^c`, text: "da"},
		{all: `(?i)Viagra`, none: `(?i)v.agra`, proved: true},
		{all: `(?i)v.agra`, none: `(?i)Viagra`, text: "vxagra"},
		{all: `foo.*bar`, none: `fo+.*?r`, proved: true},
		{all: `foo(?=bar)x`, proved: false, text: "foox"}, // more than the pattern
		{all: `a(?=b)^`, proved: true},
		{all: `foo`, none: `foo(?=bar)`, proved: false, text: ""},
		{all: `(a+)\1b`, none: `a.*b`, proved: true},
		{all: `(?>a+)a`, text: "aa"},
		{all: `(a*)*b`, none: `b`, proved: true},
		{all: `(?!)`, proved: false, text: "x"},
		{all: `.*`, none: ``, proved: true},
	} {
		var all, none []*Language
		for _, s := range strings.Split(c.all, " ") {
			l, _ := language(t, s, Options{Bytes: true, DotAll: true})
			all = append(all, l)
		}
		if c.none != "" || c.all == ".*" {
			for _, s := range strings.Split(c.none, " ") {
				l, _ := language(t, s, Options{Bytes: true, DotAll: true})
				none = append(none, l)
			}
		}
		text, found, proved := Common(ptr(1<<22), all, none)
		if c.all == `(?!)` {
			continue
		}
		if proved != c.proved || found && len(text) != len(c.text) || !found && c.text != "" {
			t.Errorf("%s without %s: %q %v proved %v", c.all, c.none, text, found, proved)
		}
	}
}

// TestCommonGivesUp: a search that is too long claims nothing.
func TestCommonGivesUp(t *testing.T) {
	a, _ := language(t, `x.{14}y`, Options{Bytes: true})
	b, _ := language(t, `x.{13}y.{8}z`, Options{Bytes: true})
	if _, found, proved := Common(ptr(100_000), []*Language{b}, []*Language{a}); found || proved {
		t.Error(found, proved)
	}
}

// pieces of patterns for random ones.
func randomPattern(r *rand.Rand, depth int) string {
	atoms := []string{"a", "b", "c", "ab", "[ab]", "[^a]", ".", "^", "$", `\n`, `\b`, `\B`, `\A`, `\z`, "(?m:^)", "(?m:$)", "(?=a)", "(?!b)", "(?<=a)", `\s`, `\w`, "A"}
	if depth == 0 || r.IntN(3) == 0 {
		return atoms[r.IntN(len(atoms))]
	}
	x, y := randomPattern(r, depth-1), randomPattern(r, depth-1)
	switch r.IntN(7) {
	case 0:
		return "(?:" + x + "|" + y + ")"
	case 1:
		return "(?:" + x + ")" + []string{"*", "+", "?", "{2}", "{1,3}", "*?"}[r.IntN(6)]
	case 2:
		return "(" + x + ")"
	case 3:
		return "(?>" + x + ")" + y
	}
	return x + y
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(7) {
		b.WriteByte("aabbcAB \n-"[r.IntN(10)])
	}
	return b.String()
}

// checkCommon holds a search against Match: what is found is what was sought,
// and what is proved is contradicted by no text.
func checkCommon(t *testing.T, a, b *Pattern, texts []string) {
	t.Helper()
	la, err := NewLanguage(a)
	if err != nil {
		return
	}
	lb, err := NewLanguage(b)
	if err != nil {
		return
	}
	match := func(p *Pattern, text string) bool {
		ok, err := p.Match([]byte(text), nil)
		if err != nil {
			t.Skip("given up: nothing to compare with")
		}
		return ok
	}
	text, found, _ := Common(ptr(1<<18), []*Language{la}, []*Language{lb})
	if found && la.Exact() && lb.Exact() && (!match(a, string(text)) || match(b, string(text))) {
		t.Fatalf("%q is said to be in %q and not in %q", text, a.PCRE(), b.PCRE())
	}
	_, _, included := Common(ptr(1<<18), []*Language{la}, []*Language{lb})
	_, _, apart := Common(ptr(1<<18), []*Language{la, lb}, nil)
	_, _, never := Common(ptr(1<<18), []*Language{la}, nil)
	if never && (match(a, string(text)) && found) {
		t.Fatalf("%q never matches and matches %q", a.PCRE(), text)
	}
	for _, s := range texts {
		inA, inB := match(a, s), match(b, s)
		switch {
		case never && inA:
			t.Fatalf("%q never matches, and matches %q", a.PCRE(), s)
		case included && inA && !inB:
			t.Fatalf("%q is in %q, but not for %q", a.PCRE(), b.PCRE(), s)
		case apart && inA && inB:
			t.Fatalf("%q and %q have nothing in common but %q", a.PCRE(), b.PCRE(), s)
		}
	}
}

func TestCommonAgainstMatch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		o := Options{Bytes: r.IntN(2) == 0, Fold: r.IntN(2) == 0, DotAll: r.IntN(2) == 0, Multiline: r.IntN(4) == 0}
		a, err := Compile(randomPattern(r, 4), o)
		if err != nil {
			continue
		}
		b, err := Compile(randomPattern(r, 3), o)
		if err != nil {
			continue
		}
		var texts []string
		for range 30 {
			texts = append(texts, randomText(r))
		}
		checkCommon(t, a, b, texts)
	}
}

func FuzzCommon(f *testing.F) {
	f.Add(`a(b|c)*d`, `^x$`, "xabcd foo\nab", byte(0))
	f.Add(`\<a\>`, `\(a\)\{2\}`, "a aa", byte(17))
	f.Add(`(?i)é`, `[^a]$`, "É\n", byte(2))
	f.Add(`(a)\1$`, `(?<!b)a`, "aa\n", byte(33))
	f.Fuzz(func(t *testing.T, x, y, text string, mode byte) {
		if len(x) > 60 || len(y) > 60 || len(text) > 100 {
			return
		}
		o := Options{Bytes: mode&1 != 0, Fold: mode&2 != 0, Multiline: mode&4 != 0, DotAll: mode&8 != 0, Dialect: Dialect(mode >> 4 % 3)}
		a, err := Compile(x, o)
		if err != nil {
			return
		}
		b, err := Compile(y, o)
		if err != nil {
			return
		}
		checkCommon(t, a, b, []string{text, text + "\n", "", "\n"})
	})
}
