package postfix

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"garita/rules/pattern"
)

// Kind is the kind of a table: what its patterns are written in.
type Kind uint8

const (
	PCRE   Kind = iota // pcre:
	Regexp             // regexp:
)

// String is the word before the colon of a table's name.
func (k Kind) String() string {
	if k == Regexp {
		return "regexp"
	}
	return "pcre"
}

// Problem is something that Postfix would warn of when it reads a table, or
// that is right there and not known here.
type Problem struct {
	Line int // where the rule begins
	Text string
	// Skipped says that the rule is not in the table. Postfix skips it too,
	// unless Unsupported.
	Skipped bool
	// Unsupported says that Postfix would have taken the rule: a deviation
	// that must be told before the table is used.
	Unsupported bool
}

type ruleKind uint8

const (
	ruleMatch ruleKind = iota
	ruleIf
	ruleEndif
)

// expression is a pattern with its sign.
type expression struct {
	pattern *pattern.Pattern
	index   int // in the table's set
	want    bool
	source  string // as written
	flags   string
	options pattern.Options
}

type rule struct {
	kind   ruleKind
	line   int
	first  expression
	second *expression // regexp: /pat1/!/pat2/
	result string
	// groups is the highest $n of the result; at 0 it is taken as it is.
	groups int
	// endif is the rule to go on behind when an if does not hold, or -1.
	endif int
}

// Table is a pcre: or regexp: table. It is safe for use by many at once.
type Table struct {
	kind  Kind
	rules []rule
	set   *pattern.Set
	// every says that no line can be passed over: some rule is not ruled
	// out by the lack of its literals.
	every bool
	// filtered are the patterns that literals can rule out.
	filtered []bool
	pool     sync.Pool // of *marks
}

// MaxTable is the largest file of a table.
const MaxTable = 16 << 20

// Parse reads the text of a table as Postfix reads the file. It never fails:
// what is wrong is passed over and told.
func Parse(text string, kind Kind) (*Table, []Problem) {
	p := &tableParser{table: &Table{kind: kind}}
	if len(text) > MaxTable {
		p.skip(1, "the table is larger than %d bytes", MaxTable)
		text = ""
		p.problems[0].Unsupported = true
	}
	p.lines(text)
	for _, i := range p.open {
		p.warn(p.table.rules[i].line, "IF has no matching ENDIF")
	}
	p.finish()
	return p.table, p.problems
}

// Len is the number of rules, if and endif among them.
func (t *Table) Len() int { return len(t.rules) }

// Fixed tells every result that is given as it stands, without $n, with the
// line where its rule begins: what they are worth can be told before mail comes.
func (t *Table) Fixed(each func(line int, result string)) {
	for i := range t.rules {
		if r := &t.rules[i]; r.kind == ruleMatch && r.groups == 0 {
			each(r.line, r.result)
		}
	}
}

// Kind is what the table was read as.
func (t *Table) Kind() Kind { return t.kind }

// Lookup asks the table for the result of a line, as dict_get does: an empty
// line is a line. The line ends at the first NUL, as it does for Postfix. The
// number is that of the line where the rule begins. An error is
// pattern.ErrOverBudget: nobody knows what the answer is.
func (t *Table) Lookup(line []byte, b *pattern.Budget) (result string, at int, ok bool, err error) {
	m := t.pool.Get().(*marks)
	defer t.pool.Put(m)
	line = cString(line)
	m.scan(line)
	return t.lookup(line, b, m)
}

// lookup asks; hits tells which patterns may match at all.
func (t *Table) lookup(line []byte, b *pattern.Budget, hits *marks) (string, int, bool, error) {
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		switch r.kind {
		case ruleEndif:
			continue
		case ruleIf:
			ok, err := t.holds(r.first, line, b, hits)
			if err != nil {
				return "", r.line, false, err
			}
			if !ok {
				if r.endif < 0 {
					return "", 0, false, nil
				}
				i = r.endif
			}
			continue
		}
		ok, err := t.holds(r.first, line, b, hits)
		if err == nil && ok && r.second != nil {
			ok, err = t.holds(*r.second, line, b, hits)
		}
		if err != nil {
			return "", r.line, false, err
		}
		if !ok {
			continue
		}
		if r.groups == 0 {
			return r.result, r.line, true, nil
		}
		at, err := r.first.pattern.Find(nil, line, b)
		if err != nil {
			return "", r.line, false, err
		}
		return expand(r.result, line, at), r.line, true, nil
	}
	return "", 0, false, nil
}

func (t *Table) holds(e expression, line []byte, b *pattern.Budget, hits *marks) (bool, error) {
	if t.filtered[e.index] && (!hits.has(e.index) || !pattern.Required(e.pattern)[1:].In(line)) {
		return !e.want, nil
	}
	ok, err := e.pattern.Match(line, b)
	return ok == e.want, err
}

// expand puts the texts of groups into a result that holds $n.
func expand(result string, line []byte, at []int) string {
	var out strings.Builder
	// The result was read before: it cannot be wrong now.
	_ = macro(result, func(name string) error {
		n, _ := strconv.Atoi(name)
		if 2*n+1 < len(at) && at[2*n] >= 0 {
			out.Write(line[at[2*n]:at[2*n+1]])
		}
		return nil
	}, func(text string) { out.WriteString(text) })
	return out.String()
}

func cString(line []byte) []byte {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return line[:i]
	}
	return line
}

// finish makes the set of all patterns and says when a line needs no look.
func (p *tableParser) finish() {
	t := p.table
	var all []*pattern.Pattern
	for i := range t.rules {
		r := &t.rules[i]
		if r.kind == ruleEndif {
			continue
		}
		r.first.index = len(all)
		all = append(all, r.first.pattern)
		if r.second != nil {
			r.second.index = len(all)
			all = append(all, r.second.pattern)
		}
	}
	t.set = pattern.NewSet(all)
	t.filtered = make([]bool, len(all))
	for i, one := range all {
		t.filtered[i] = len(pattern.Required(one)) > 0
	}
	t.pool.New = func() any { m := newMarks(t); return &m }
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		if r.kind == ruleEndif {
			continue
		}
		if !r.first.want || !t.filtered[r.first.index] {
			t.every = true
			return
		}
		// Behind an if that does not hold, nothing up to its endif is asked.
		if r.kind == ruleIf {
			if r.endif < 0 {
				return
			}
			i = r.endif
		}
	}
}

func (p *tableParser) warn(line int, text string, args ...any) {
	p.problems = append(p.problems, Problem{Line: line, Text: fmt.Sprintf(text, args...)})
}

func (p *tableParser) skip(line int, text string, args ...any) {
	p.problems = append(p.problems, Problem{Line: line, Text: fmt.Sprintf(text, args...), Skipped: true})
}
