// Package lint finds rules that are right and yet not what their author meant:
// rules that never or always hit, that others hide or contradict, patterns that
// take too long, and what Postfix's tables have that does not do what it seems
// to. It changes nothing and its findings are warnings; docs/lint.md has each.
//
// It says only what it can prove: that a pattern can never match, or matches
// wherever another does, is found by a search over the automata of both
// (pattern.Common), and an attack on a pattern was run. What it cannot prove it
// leaves out.
//
// # Limits
//
// Patterns with look around or back-references are not compared with others.
// The search is bounded, for each pair of patterns (maxWork) and for all
// (totalWork), and so are the comparisons of rules (maxPairs) and the patterns
// that attacks are sought for (maxAttacks): a very large set is looked at in
// part. maxFindings are told.
package lint

import (
	"cmp"
	"slices"
	"time"

	"garita/rules"
	"garita/rules/pattern"
)

// Finding is something odd. Text may hold text of the rules, escaped.
type Finding struct {
	File string
	Line int
	Rule string // its ID; "" in a Postfix table
	// ID: "shadowed", "never", "always", "fold-off", "dollar-zero",
	// "escape", "backtracking", "contradiction", …: Explain has all of them.
	ID      string
	Text    string
	Witness string // a sample that shows it, escaped; may be empty
}

const (
	maxWork     = 200_000 // steps of one search
	totalWork   = 100_000_000
	maxPairs    = 4_000_000
	maxAttacks  = 40
	maxFindings = 2_000
)

// Rules looks at compiled rules. What depends on the date is in RulesAt.
func Rules(s *rules.Set) []Finding { return RulesAt(s, time.Time{}) }

// RulesAt also tells of rules that have expired by now.
func RulesAt(s *rules.Set, now time.Time) []Finding {
	l := newLinter()
	l.rules(s, now)
	return l.sorted()
}

// linter is one run.
type linter struct {
	found     []Finding
	work      int
	pairs     int
	attacks   int
	languages map[*pattern.Pattern]*pattern.Language
	samples   map[*pattern.Pattern][]byte
	literals  map[string]*pattern.Pattern
	keys      map[*rules.Condition][]string
	lists     map[*rules.Condition]map[string]bool
}

func newLinter() *linter {
	return &linter{
		work: totalWork, pairs: maxPairs, attacks: maxAttacks,
		languages: map[*pattern.Pattern]*pattern.Language{},
		samples:   map[*pattern.Pattern][]byte{},
		literals:  map[string]*pattern.Pattern{},
		keys:      map[*rules.Condition][]string{},
		lists:     map[*rules.Condition]map[string]bool{},
	}
}

func (l *linter) add(f Finding) {
	if len(l.found) < maxFindings {
		l.found = append(l.found, f)
	}
}

func (l *linter) sorted() []Finding {
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, cmp.Compare(a.ID, b.ID), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(l.found)
}

// language is a pattern's, or nil if it is too large.
func (l *linter) language(p *pattern.Pattern) *pattern.Language {
	if p == nil {
		return nil
	}
	lang, ok := l.languages[p]
	if !ok {
		lang, _ = pattern.NewLanguage(p)
		l.languages[p] = lang
	}
	return lang
}

// sample is a text that the pattern matches, or nil if none was found.
func (l *linter) sample(p *pattern.Pattern) []byte {
	s, ok := l.samples[p]
	if !ok {
		if text, found := pattern.Sample(p); found {
			s = append([]byte{}, text...)
		}
		l.samples[p] = s
	}
	return s
}

// apart proves that no text is in all of all and in none of none.
func (l *linter) apart(all, none []*pattern.Language) (text []byte, found, proved bool) {
	if slices.Contains(all, nil) || slices.Contains(none, nil) || l.work <= 0 {
		return nil, false, false
	}
	most := min(maxWork, l.work)
	left := most
	text, found, proved = pattern.Common(&left, all, none)
	l.work -= most - left + 100
	return text, found, proved
}

// within proves that q matches wherever p does.
func (l *linter) within(p, q *pattern.Pattern) bool {
	if s := l.sample(p); s != nil {
		if ok, err := q.Match(s, nil); err != nil || !ok {
			return false
		}
	}
	_, _, proved := l.apart([]*pattern.Language{l.language(p)}, []*pattern.Language{l.language(q)})
	return proved
}

// compiled is a pattern of ours, made once; nil if it cannot be.
func (l *linter) compiled(source string, o pattern.Options) *pattern.Pattern {
	key := source
	for _, b := range []bool{o.Bytes, o.Fold} {
		if b {
			key += "\x001"
		} else {
			key += "\x000"
		}
	}
	p, ok := l.literals[key]
	if !ok {
		o.DotAll = true
		p, _ = pattern.Compile(source, o)
		l.literals[key] = p
	}
	return p
}

// quote says a text up to a length that can be read in one line.
func quote(text string) string {
	const most = 60
	s := pattern.Printable(text)
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + s + `"`
}
