package pattern

import (
	"errors"
	"testing"
	"time"
)

// TestFindAttack. Each attack that is found is one for the engine
// too; the near misses are silent.
func TestFindAttack(t *testing.T) {
	for _, c := range []struct {
		source string
		degree int // -1: none
	}{
		{`^(a+)+$(?!x)`, 0},
		{`(x+x+)+y(?=z)`, 0},
		{`^(?=x)?(a|aa)+$`, 0},
		{`^(([a-z])+.)+[A-Z]([a-z])+$(?<!x)`, 0},
		{`(?!x)^(\w+\s?)*$`, 0},
		{`^(?:(?:a|b)*c?)*$(?=z)`, 0},
		{`(a+)+\1b`, 0},
		{`(?i)^(?=.*x)([0-9]+[ ]*)+y`, 0},
		{`^(?=(a+)+$)b`, -1}, // b is looked for first
		{`^b(?=(a+)+$)`, 0},
		{`^(.*)*=.*(?!x)z`, 0},
		{`^\s*(\w+\s*,?\s*)+(?!x)$`, 0},
		{`^a*[ab]*(?!x)c`, 2},
		{`^a*a*(?!x)b`, -1},
		{`^a*[ab]*[ac]*(?!x)d`, 3},
		{`^.*a.*b.*c(?!d)`, 3},
		{`a.*b(?=c)`, 2},
		{`(?<!x)[a-z]+\d`, 2},
		{`(.+)\1x`, 3},
		{`foo(?=bar)`, -1},
		{`\s+foo(?!bar)`, -1}, // the engine starts behind the loop
		{`(?>a+)b`, -1},
		{`^(?>(a+)+)b`, -1},
		{`^(?:a++)+b`, -1},
		{`(?<=\W)\w{3,10}\.exe(?!x)`, -1},
		{`^[^@]+@(?!gmail)[^.]+\.com`, -1},
		{`^(?=a)b?c`, -1},
		{`(a+)+b`, -1}, // linear engine
		{`^(ab?)+$(?!x)`, -1},
		{`^(?:a{1,3})b(?=c)`, -1},
		{`^Content-Type: (?!text/plain)`, -1},
	} {
		p, err := Compile(c.source, Options{Bytes: true, DotAll: true, MatchLimit: 20 * time.Millisecond})
		if err != nil {
			t.Error(c.source, err)
			continue
		}
		a, found := FindAttack(p)
		if found != (c.degree >= 0) || found && a.Degree != c.degree {
			t.Errorf("%s: %v %+v", c.source, found, a)
			continue
		}
		if !found {
			continue
		}
		n := 100_000
		if c.degree == 0 {
			n = 120
		}
		if _, err := p.Match([]byte(a.Text(n)), nil); !errors.Is(err, ErrOverBudget) {
			t.Errorf("%s: the engine takes %+v", c.source, a)
		}
	}
}

// FuzzFindAttack: it neither panics nor goes on for ever, and says the same
// twice.
func FuzzFindAttack(f *testing.F) {
	for _, s := range []string{`^(a+)+$(?!x)`, `(a*)*\1`, `(?<=a|bc)(?>x*)*y`, `((?!a)b*)*c(?=d)`, `(?=(a|aa)+$)`} {
		f.Add(s, byte(1))
	}
	f.Fuzz(func(t *testing.T, source string, mode byte) {
		if len(source) > 100 {
			return
		}
		p, err := Compile(source, Options{Bytes: mode&1 != 0, Fold: mode&2 != 0, Multiline: mode&4 != 0, DotAll: mode&8 != 0, Dialect: Dialect(mode >> 4 % 3)})
		if err != nil {
			return
		}
		a, found := FindAttack(p)
		if !found {
			return
		}
		prog, err := assemble(p.tree, p.groups, maxAttackProgram)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(prog, maxAttackSteps)
		if steps, whole := m.cost(runesOf(a.Text(a.Times), p.bytes)); !whole || steps != a.Steps {
			t.Fatalf("%q: %+v takes %d", source, a, steps)
		}
		if a.Pump == "" || p.Linear() {
			t.Fatalf("%q: %+v", source, a)
		}
	})
}
