package redos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/rules/pattern"
)

func compile(t testing.TB, source string, limit time.Duration) *pattern.Pattern {
	t.Helper()
	p, err := pattern.Compile(source, pattern.Options{MatchLimit: limit})
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return p
}

// known compares an answer with what is known. Given up is only allowed to a
// pattern that is not linear, and must not say why with a word of the text
// . It tells whether it was given up.
func known(t *testing.T, s Shape, what string, got bool, err error, want bool) bool {
	t.Helper()
	switch {
	case err == nil && got != want:
		t.Errorf("%s, %s: %v", s.Name, what, got)
	case err == nil:
	case s.Linear:
		t.Errorf("%s, %s: a linear pattern was given up", s.Name, what)
	case got || !errors.Is(err, pattern.ErrOverBudget) || err.Error() != pattern.ErrOverBudget.Error():
		t.Errorf("%s, %s: %v and an error of %d octets", s.Name, what, got, len(err.Error()))
	default:
		return true
	}
	return false
}

// TestShapes is: each shape with attacks of 30 to 30,000 octets
// answers what is known or is given up, and what RE2 can express answers.
func TestShapes(t *testing.T) {
	shapes := Shapes()
	linear, slow, given := 0, 0, 0
	for _, s := range shapes {
		p := compile(t, s.Pattern, time.Millisecond)
		if p.Linear() != s.Linear {
			t.Errorf("%s: linear %v: %s", s.Name, p.Linear(), s.Pattern)
		}
		if s.Linear {
			linear++
		} else {
			slow++
		}
		for _, n := range []int{30, 300, 3000, 30_000} {
			gone := false
			for _, x := range []struct {
				what string
				text []byte
				want bool
			}{{"hit", s.Hit(n), true}, {"attack", s.Attack(n), false}} {
				what := fmt.Sprintf("%s of %d", x.what, n)
				ok, err := p.Match(x.text, nil)
				gone = known(t, s, what, ok, err, x.want) || gone
				if s.Linear || n == 30 && err == nil {
					at, err := p.Find(nil, x.text, nil)
					known(t, s, what+", Find", at != nil, err, x.want)
				}
			}
			if gone {
				given++
				if n < 30_000 {
					// What is longer takes no less.
					ok, err := p.Match(s.Attack(30_000), nil)
					known(t, s, "the longest", ok, err, false)
				}
				break
			}
		}
	}
	if len(shapes) < 60 || linear < 60 || slow < 20 || given < slow/3 {
		t.Errorf("%d shapes, %d linear, %d not, %d given up: these are no attacks", len(shapes), linear, slow, given)
	}
	t.Logf("%d shapes: %d linear, %d not, of which %d were given up", len(shapes), linear, slow, given)
}

// TestEnginesAgree is that both engines answer alike on the shapes and random
// texts near them: an empty look ahead makes RE2 unfit for any pattern.
func TestEnginesAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 60))
	hits, all := 0, 0
	for _, s := range Shapes() {
		if !s.Linear {
			continue
		}
		p, q := compile(t, s.Pattern, 0), compile(t, "(?:"+s.Pattern+")(?=)", time.Minute)
		if q.Linear() {
			t.Fatal("the look ahead is gone")
		}
		pieces := []string{s.Pump, s.Pump[:1], s.End, s.Spoil, ",", "é", "\n"}
		for range 60 {
			var text strings.Builder
			for range random.IntN(7) {
				text.WriteString(pieces[random.IntN(len(pieces))])
			}
			a, errA := p.Match([]byte(text.String()), nil)
			b, errB := q.Match([]byte(text.String()), nil)
			if errA != nil || errB != nil || a != b {
				t.Fatalf("%s on %q: RE2 %v, backtracking %v (%v)", s.Name, text.String(), a, b, errB)
			}
			if all++; a {
				hits++
			}
		}
	}
	if hits < all/20 {
		t.Errorf("only %d of %d match", hits, all)
	}
}

// TestMessageBudget is R-02: 200 slow rules on 50 parts end with the message's
// budget, and all that is not looked at is given up by name, not passed.
func TestMessageBudget(t *testing.T) {
	const rules, parts = 200, 50
	slow := Shape{Name: "slow", Pump: "a", Spoil: "!"}
	var patterns []*pattern.Pattern
	for i := range rules {
		patterns = append(patterns, compile(t, fmt.Sprintf(`^(?:(a+)\1*)+b%d`, i), time.Millisecond))
	}
	clock := 0
	now := time.Unix(0, 0)
	b := pattern.NewBudget(5*time.Second, func() time.Time {
		clock++
		now = now.Add(200 * time.Millisecond)
		return now
	}).Through(pattern.NewGate(1))
	text := slow.Attack(40)
	for range parts {
		for _, p := range patterns {
			if ok, err := p.Match(text, b); ok || !errors.Is(err, pattern.ErrOverBudget) {
				t.Fatalf("%v %v", ok, err)
			}
		}
	}
	// Each match that ran asked the clock at least twice, and cost 200 ms.
	if clock > 3*25 || b.Over() != rules*parts || b.Left() > 0 {
		t.Errorf("the clock was asked %d times, %d given up, %v left", clock, b.Over(), b.Left())
	}
}

// TestManyAtOnce is R-05: a thousand matches at once through a gate, with
// clocks that step back and forth, all answer, and leave no goroutine.
func TestManyAtOnce(t *testing.T) {
	p := compile(t, `^(\w+): .*\b\1\b(?=\.)`, time.Minute)
	hit, miss := []byte("Estimado: le escribe Estimado."), []byte("Estimado: le escribe otro.")
	if ok, err := p.Match(hit, nil); !ok || err != nil {
		t.Fatal(ok, err) // and the engine's own clock runs by now
	}
	before := runtime.NumGoroutine()
	gate := pattern.NewGate(2)
	begin := time.Unix(1e9, 0)
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			asked := 0
			b := pattern.NewBudget(time.Hour, func() time.Time {
				asked++
				switch {
				case i%3 == 0:
					return begin.Add(-48 * time.Hour * time.Duration(asked)) // is set back
				case i%3 == 1:
					return begin.Add(time.Duration(asked) * 10 * time.Minute) // runs away
				}
				return begin
			}).Through(gate)
			for range 2 {
				a, errA := p.Match(hit, b)
				m, errM := p.Match(miss, b)
				switch {
				case errA == nil && !a, errM == nil && m:
					t.Errorf("%d: %v %v", i, a, m)
				case i%3 != 1 && (errA != nil || errM != nil):
					t.Errorf("%d: given up: %v %v", i, errA, errM)
				}
			}
		})
	}
	all.Wait()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if runtime.NumGoroutine() <= before+1 {
			return
		}
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), before)
}

// TestStack is R-11: honest mail that is too long for the engine's stack is
// not known: neither a hit nor clean. RE2 knows.
func TestStack(t *testing.T) {
	const source = `(?:<td>([^<]*)</td>\s*|<tr>\s*)+`
	p, q := compile(t, source+`(?=</table>)`, 0), compile(t, source+`</table>`, 0)
	given := false
	for _, rows := range []int{1, 10, 100, 20_000} {
		text := []byte(strings.Repeat("<tr><td>Importe</td>\r\n<td>100,00</td>\r\n", rows) + "</table>")
		if ok, err := q.Match(text, nil); !ok || err != nil {
			t.Errorf("%d rows: %v %v", rows, ok, err)
		}
		ok, err := p.Match(text, pattern.NewBudget(time.Minute, time.Now))
		if !ok && !errors.Is(err, pattern.ErrOverBudget) {
			t.Errorf("%d rows: %v %v: no match", rows, ok, err)
		}
		given = given || err != nil
	}
	if !given {
		t.Error("the stack held all of it: this tests nothing")
	}
}

// TestLongTexts is R-03: the repeats that cost the square of a text's length,
// on texts that are as long as mail, answer where they are linear.
func TestLongTexts(t *testing.T) {
	text := []byte(strings.Repeat("factura    ", 100_000))
	for _, source := range []string{`\s+\z!`, `a.*foo.*bar`, `(?:\w+\s+)+!`, `(\w+)\s+(\w+)\s+!`} {
		p := compile(t, source, 0)
		ok, err := p.Match(text, pattern.NewBudget(0, time.Now))
		if !p.Linear() || ok || err != nil {
			t.Errorf("%s: linear %v, %v %v", source, p.Linear(), ok, err)
		}
	}
	for _, source := range []string{`\s+(?=!)`, `(?:\w+\s+)+(?=!)`, `(?<=\s)\s+$`} {
		p := compile(t, source, time.Millisecond)
		if ok, err := p.Match(append(text[:len(text):len(text)], "x\n"...), nil); ok || err != nil && !errors.Is(err, pattern.ErrOverBudget) {
			t.Errorf("%s: %v %v", source, ok, err)
		}
	}
}
