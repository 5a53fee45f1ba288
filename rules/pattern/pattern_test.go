package pattern

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// still is a clock that stands still.
func still() time.Time { return time.Unix(0, 0) }

func match(t *testing.T, source string, o Options, text string) bool {
	t.Helper()
	p, err := Compile(source, o)
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	ok, err := p.Match([]byte(text), NewBudget(time.Minute, still))
	if err != nil {
		t.Fatalf("%q on %q: %v", source, text, err)
	}
	return ok
}

func TestMatch(t *testing.T) {
	in := Options{Bytes: true}
	fold := Options{Bytes: true, Fold: true}
	uni := Options{Fold: true}
	ere := Options{Dialect: Extended, Fold: true}
	for _, c := range []struct {
		source string
		o      Options
		text   string
		want   bool
	}{
		// Bytes are characters (features.md 2.3, 15 and 16).
		{`^caf.$`, in, "caf\xe9", true},
		{`^caf.$`, in, "caf\xc3\xa9", false},
		{`^caf..$`, in, "caf\xc3\xa9", true},
		{"\xe9", fold, "\xc9", false},
		{`\xe9`, in, "\xe9", true},
		{`[^a]`, in, "\xff", true},
		{`(\xe9)\1`, fold, "\xe9\xe9", true},
		{`(\xe9)\1`, fold, "\xe9\xc9", false},
		{`(ab)\1`, fold, "aBAb", true},
		{`k`, fold, "\xe2\x84\xaa", false},
		// Characters are characters.
		{`^caf.$`, uni, "CAFÉ", true},
		{`^é$`, uni, "É", true},
		{`k`, uni, "\u212a", true},
		{`(é)\1`, uni, "éÉ", true},
		{`\p{Greek}`, uni, "α", true},
		{`\w`, uni, "é", false},
		// Places.
		{`a$`, in, "a\n", true},
		{`a$`, Options{Bytes: true, DollarEndOnly: true}, "a\n", false},
		{`a\z`, in, "a\n", false},
		{`^b`, in, "a\nb", false},
		{`^b`, Options{Bytes: true, Multiline: true}, "a\nb", true},
		{`^$`, Options{Bytes: true, Multiline: true}, "a\n", false},
		{`b`, Options{Bytes: true, Anchored: true}, "ab", false},
		{`a|b`, Options{Bytes: true, Anchored: true}, "b", true},
		{`a.b`, in, "a\nb", false},
		{`a.b`, Options{Bytes: true, DotAll: true}, "a\nb", true},
		{`a #c`, Options{Bytes: true, Extended: true}, "a", true},
		{`(?<=a)b(?!c)`, in, "abd", true},
		{`(?<=a)b(?!c)`, in, "abc", false},
		{`a++a`, in, "aaa", false},
		{`(?>a+)b`, in, "aab", true},
		// POSIX.
		{`\<ab\>`, ere, "x AB y", true},
		{`\d`, ere, "5", false},
		{`[A-z]`, ere, "_", false},
		{`(a)(b)\2\1`, ere, "abBA", true},
		{`\(a\)\1`, Options{Dialect: Basic}, "aa", true},
		{`a+`, Options{Dialect: Basic}, "a+", true},
		{`a+`, Options{Dialect: Basic}, "aa", false},
		{`a$`, ere, "a\n", false},
		// Anchors inside of a match (glibc).
		{`^b`, ere, "a\nb", false},
		{`.^b`, ere, "a\nb", true},
		{`a$`, ere, "a\nb", false},
		{`a$.`, ere, "a\nb", true},
		{`x*^b`, ere, "a\nb", false},
		{"(a|\n)*^b", ere, "a\nb", true},
	} {
		if got := match(t, c.source, c.o, c.text); got != c.want {
			t.Errorf("%q %+v on %q: %v", c.source, c.o, c.text, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, source := range []string{`a**`, `(`, `)`, `[a`, `\`, `(?<=a*)b`, `\i`, `[z-a]`, `\1`, `a{2,1}`, `a{70000}`, `(?z)`, `\b+`, `[[:nono:]]`,
		strings.Repeat("(", 300) + strings.Repeat(")", 300), strings.Repeat("a", MaxSource+1)} {
		if _, err := Compile(source, Options{Bytes: true}); err == nil || errors.Is(err, ErrUnsupported) {
			t.Errorf("%.20q: %v", source, err)
		}
	}
	for _, source := range []string{`(?R)`, `(?1)(a)`, `(?|(a)|(b))`, `(*COMMIT)a`, `\X`, `(?(1)a|b)`, `(?C)a`, `\g<1>(a)`} {
		if _, err := Compile(source, Options{Bytes: true}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: %v", source, err)
		}
	}
	if _, err := Compile("\xff", Options{}); err == nil {
		t.Error("a pattern that is not UTF-8")
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		source string
		o      Options
		text   string
		want   string
	}{
		{`(b)(x)?`, Options{Bytes: true}, "\xe9ab", "[2 3 2 3 -1 -1]"},
		{`(?=(b))(x)?`, Options{Bytes: true}, "\xe9ab", "[2 2 2 3 -1 -1]"},
		{`(b)`, Options{}, "éab", "[3 4 3 4]"},
		{`(?=b)(b)`, Options{}, "éab", "[3 4 3 4]"},
		{`(a|ab)(c|bcd)`, Options{Bytes: true}, "abcd", "[0 4 0 1 1 4]"},
		{`a|ab`, Options{Dialect: Extended}, "abc", "[0 2]"},
		{`(a)*`, Options{Dialect: Extended}, "aa", "[0 2 1 2]"},
		{`x`, Options{}, "abc", "[]"},
	} {
		p, err := Compile(c.source, c.o)
		if err != nil {
			t.Fatal(err)
		}
		at, err := p.Find(nil, []byte(c.text), nil)
		if got := fmt.Sprint(at); err != nil || got != c.want {
			t.Errorf("%q on %q: %v %v", c.source, c.text, got, err)
		}
	}
}

// What PCRE writes with the lines that end the text must hold whichever
// engine runs.
func TestLinear(t *testing.T) {
	for source, want := range map[string]bool{`a+b`: true, `(?i)a|b`: true, `^a`: true, `a(?=b)`: false, `(a)\1`: false, `a++`: false, `(a+)+$`: false, `(a+)+\z`: true} {
		p, err := Compile(source, Options{Bytes: true})
		if err != nil {
			t.Fatal(err)
		}
		if p.Linear() != want {
			t.Errorf("%q: linear %v", source, p.Linear())
		}
	}
}

// TestReDoS has the shapes of the public collections (attacks.md R-01):
// those that RE2 can say answer at once; those that it cannot end by budget,
// and never as "no match".
func TestReDoS(t *testing.T) {
	attack := []byte(strings.Repeat("a", 5000) + "!")
	for _, source := range []string{`^(a+)+\z`, `^(a|aa)+\z`, `^(a|a?)+\z`, `(.*)*=.*`, `(a+a+)+y`, `^(([a-z])+.)+[A-Z]([a-z])+\z`, `^(.*?,){11}P`, `([a-z]+)*\d\z`, `(\w+\s?)*:\z`, `^(a+)+$`} {
		p, err := Compile(source, Options{Bytes: true, DotAll: true})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Match(attack, NewBudget(time.Second, time.Now)); ok || err != nil {
			t.Errorf("%q: %v %v", source, ok, err)
		}
	}
	for _, source := range []string{`^(a+)+(?=b)`, `^(?:(a|aa)\1*)+b`, `^((a+)+)+(?!.)b`} {
		p, err := Compile(source, Options{Bytes: true, DotAll: true, MatchLimit: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ok, err := p.Match(attack, nil)
		if ok || !errors.Is(err, ErrOverBudget) || strings.Contains(fmt.Sprint(err), "aaa") {
			t.Errorf("%q: %v, %.60v", source, ok, err)
		}
		if _, err := p.Find(nil, attack, nil); !errors.Is(err, ErrOverBudget) {
			t.Errorf("%q: Find: %.60v", source, err)
		}
	}
}

// TestBudget is R-02: the budget is the message's, and patterns that run in
// linear time need none.
func TestBudget(t *testing.T) {
	now := time.Unix(0, 0)
	b := NewBudget(25*time.Millisecond, func() time.Time { now = now.Add(10 * time.Millisecond); return now })
	slow, err := Compile(`(a)\1`, Options{Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	fast, err := Compile(`aa`, Options{Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("xaax")
	for i := range 3 {
		if ok, err := slow.Match(text, b); !ok || err != nil {
			t.Fatal(i, ok, err)
		}
	}
	if _, err := slow.Match(text, b); !errors.Is(err, ErrOverBudget) || b.Over() != 1 || b.Left() > 0 {
		t.Fatal(err, b.Over(), b.Left())
	}
	if ok, err := fast.Match(text, b); !ok || err != nil {
		t.Fatal(ok, err)
	}
	// A clock that goes back gives nothing and takes nothing.
	back := NewBudget(time.Second, func() time.Time { now = now.Add(-time.Hour); return now })
	if ok, err := slow.Match(text, back); !ok || err != nil || back.Left() != time.Second {
		t.Fatal(ok, err, back.Left())
	}
}

// what the backtracking engine cannot hold is not known, not absent.
func TestStackLimit(t *testing.T) {
	p, err := Compile(`^(?:(a)|(b))*(?=c)`, Options{Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	ok, err := p.Match([]byte(strings.Repeat("ab", 200000)+"c"), nil)
	if !ok && !errors.Is(err, ErrOverBudget) {
		t.Fatal(ok, err)
	}
}

// TestHeavy is: programs of many steps are charged, and those
// that are too large are refused, as are those that would only grow there.
func TestHeavy(t *testing.T) {
	p, err := Compile(`(?:a.{0,400}b){2}x`, Options{Bytes: true})
	if err != nil || !p.heavy || !p.Linear() {
		t.Fatal(err)
	}
	if _, err := p.Match([]byte("aabb"), NewBudget(0, still)); !errors.Is(err, ErrOverBudget) {
		t.Error(err)
	}
	for _, source := range []string{`(?:(?:a{0,30}){0,30}){0,30}`, `(?:[ab]{900}|c){500}`} {
		if _, err := Compile(source, Options{Bytes: true}); err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: %v", source, err)
		}
	}
	var big strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&big, "%dx[ab]{50}|", i)
	}
	if _, err := Compile(big.String(), Options{Bytes: true}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

// A match that was ended before its time, as the clock of
// the engine may do on a busy machine, is run once more, and no more than once.
func TestEndedTooEarly(t *testing.T) {
	p, err := Compile(`(a)\1`, Options{Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	turns := 0
	b := NewBudget(time.Minute, still)
	if err := p.bounded(b, 0, func() error {
		if turns++; turns == 1 {
			return errors.New("match timeout")
		}
		return nil
	}); err != nil || turns != 2 || b.Over() != 0 {
		t.Error(err, turns, b.Over())
	}
	turns = 0
	if err := p.bounded(b, 0, func() error { turns++; return errors.New("match timeout") }); !errors.Is(err, ErrOverBudget) || turns != 2 || b.Over() != 1 {
		t.Error(err, turns, b.Over())
	}
	now := time.Unix(0, 0)
	b = NewBudget(time.Minute, func() time.Time { now = now.Add(time.Second); return now })
	turns = 0
	if err := p.bounded(b, 0, func() error { turns++; return errors.New("match timeout") }); !errors.Is(err, ErrOverBudget) || turns != 1 {
		t.Error(err, turns)
	}
}

// TestEnginesAgree is the property that both engines mean the same, over
// random patterns and lines; FuzzEngines goes on from there.
func TestEnginesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	atoms := []string{"a", "b", ".", "[ab]", "[^a]", "\\w", "\\b", "\\d", "^", "$", "\\s", "(a|b)", "(?:ab)", "(a.|b)", "\xe9", "k", "[[:alpha:]]", "(?i:a)", "\\z", "-"}
	ends := []string{"", "", "", "*", "+", "?", "{2}", "*?", "+?", "{1,2}"}
	const letters = "aabbkK .-1\xe9\n"
	both, matched := 0, 0
	for i := range 4000 {
		var source strings.Builder
		for range 1 + r.IntN(5) {
			a := atoms[r.IntN(len(atoms))]
			source.WriteString(a)
			if !strings.Contains("^$\\b\\z", a) {
				source.WriteString(ends[r.IntN(len(ends))])
			}
			if r.IntN(6) == 0 {
				source.WriteByte('|')
			}
		}
		o := Options{Bytes: true, Fold: i&1 != 0, DotAll: i&2 != 0, Multiline: i&4 != 0}
		p, err := Compile(source.String(), o)
		if err != nil {
			t.Fatalf("%q: %v", source.String(), err)
		}
		o.backtrack = true
		q, err := Compile(source.String(), o)
		if err != nil || p.linear == nil || q.linear != nil {
			t.Fatalf("%q: %v", source.String(), err)
		}
		for range 12 {
			line := make([]byte, r.IntN(9))
			for j := range line {
				line[j] = letters[r.IntN(len(letters))]
			}
			a, errA := p.Find(nil, line, nil)
			b, errB := q.Find(nil, line, nil)
			if errA != nil || errB != nil || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Fatalf("%q %+v on %q: %v %v, %v %v", source.String(), o, line, a, errA, b, errB)
			}
			both++
			if a != nil {
				matched++
			}
		}
	}
	if matched < both/5 {
		t.Errorf("only %d of %d match", matched, both)
	}
}

// TestLinearIsCharged is R-03: patterns that run in linear time do so for as
// long as a message is of ordinary size, and have their bound behind that.
func TestLinearIsCharged(t *testing.T) {
	p, err := Compile(`[ab][cd]+x|[cd][ab]+y`, Options{Bytes: true})
	if err != nil || p.heavy || !p.Linear() {
		t.Fatal(err)
	}
	now := time.Time{}
	b := NewBudget(10*time.Second, func() time.Time { now = now.Add(time.Second); return now })
	text := bytes.Repeat([]byte("ac"), 128<<10)
	n := 0
	for ; n < 100; n++ {
		if _, err := p.Match(text, b); err != nil {
			break
		}
	}
	// Fifteen of a quarter of a MB are free, each of the others costs half of a second.
	if n != 15+20 || b.Over() != 1 {
		t.Errorf("given up after %d matches", n)
	}
}
