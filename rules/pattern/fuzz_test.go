package pattern

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// FuzzEngines is the property that RE2 and the backtracking engine agree on
// every pattern that both can run, that a match has what the pattern needs,
// and that nothing panics.
func FuzzEngines(f *testing.F) {
	for _, s := range []string{`a(b|c)*d`, `^x$`, `(?i)\bfoo\b`, `[^a-c\xe9]+?`, `(a|ab)(c|bcd)(d*)`, `(a*)*b`, `\w+@\w+\.(com|net)`, `(?=a)b`, `(a)\1`, `[[:alpha:]]{2,3}`, `\<a\>`, `\(a\)\{2\}`, `k|ſ`} {
		for _, mode := range []byte{0, 1, 2, 3, 7, 16, 32, 33} {
			f.Add(s, "xabcd foo\nab", mode)
		}
	}
	f.Fuzz(func(t *testing.T, source, text string, mode byte) {
		if len(source) > 200 || len(text) > 300 {
			return
		}
		o := Options{Bytes: mode&1 != 0, Fold: mode&2 != 0, Multiline: mode&4 != 0, DotAll: mode&8 != 0, Dialect: Dialect(mode >> 4 & 3 % 3), Extended: mode&64 != 0, MatchLimit: 20 * time.Millisecond}
		o.Dialect %= 3
		p, err := Compile(source, o)
		if err != nil {
			return
		}
		ok, err := p.Match([]byte(text), nil)
		if err != nil {
			if !errors.Is(err, ErrOverBudget) {
				t.Fatal(err)
			}
			return
		}
		if ok && !Required(p).In([]byte(text)) {
			t.Fatalf("%q matches %q without %q", source, text, Required(p))
		}
		if in, err := NewSet([]*Pattern{p}).Match(nil, []byte(text), nil); err == nil && (len(in) == 1) != ok {
			t.Fatalf("%q on %q: %v, in a set %v", source, text, ok, in)
		}
		at, err := p.Find(nil, []byte(text), nil)
		if err == nil && (at != nil) != ok {
			t.Fatalf("%q on %q: Match %v, Find %v", source, text, ok, at)
		}
		for i := 0; i+1 < len(at); i += 2 {
			if at[i] > at[i+1] || at[i+1] > len(text) {
				t.Fatalf("%q on %q: %v", source, text, at)
			}
		}
		if p.linear == nil {
			return
		}
		o.backtrack = true
		q, err := Compile(source, o)
		if err != nil {
			return
		}
		other, err := q.Match([]byte(text), nil)
		if err != nil {
			return
		}
		if ok != other {
			t.Fatalf("%q %+v on %q: RE2 %v, backtracking %v", source, o, text, ok, other)
		}
		// The place and the groups too, where both mean leftmost-first.
		if o.Dialect == PCRE && ok && !repeatsEmpty(source, o) {
			theirs, err := q.Find(nil, []byte(text), nil)
			if err == nil && fmt.Sprint(theirs) != fmt.Sprint(at) {
				t.Fatalf("%q %+v on %q: RE2 %v, backtracking %v", source, o, text, at, theirs)
			}
		}
	})
}

// repeatsEmpty tells of a pattern in which something that can be empty is
// repeated: the engines differ in which of the empty turns a group remembers.
func repeatsEmpty(source string, o Options) bool {
	n, _, err := parsePCRE(source, o)
	if err != nil {
		return true
	}
	found := false
	n.walk(func(n *node) {
		if n.op == opRepeat && n.sub[0].nullable() {
			found = true
		}
	})
	return found
}

// FuzzSet is that a set finds what its patterns find, wherever it stands.
func FuzzSet(f *testing.F) {
	f.Add("abcd", "bc", "xxABCDxx\nbc")
	f.Add("ab", "name=", "NAME=ab\r\n\r\nab")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		var ps []*Pattern
		for _, s := range []string{a, b, a + "|" + b, a + ".?" + b} {
			p, err := Compile(s, Options{Bytes: true, Fold: true, DotAll: true, MatchLimit: 20 * time.Millisecond})
			if err != nil || len(s) > 100 || len(text) > 500 {
				return
			}
			ps = append(ps, p)
		}
		got, err := NewSet(ps).Match(nil, []byte(text), nil)
		if err != nil {
			return
		}
		var want []int
		for i, p := range ps {
			ok, err := p.Match([]byte(text), nil)
			if err != nil {
				return
			}
			if ok {
				want = append(want, i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q %q on %q: %v, one by one %v", a, b, text, got, want)
		}
	})
}
