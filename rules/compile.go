package rules

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"

	"garita/mail"
)

// Set is compiled rules. It never changes and is safe for use by many at once.
type Set struct {
	rules    []*Rule
	programs []program
	atoms    []*atom
	views    []*view
	runs     sync.Pool // of *run
	tables   sync.Map  // of *octetTable, by charset
	seed     maphash.Seed

	envelope, headers, files, content []*view
	// Those that are found by name: fields of the message, of parts, of
	// messages inside, raw ones; tags and attributes of pages.
	named, mime, nested, raw     map[string]*view
	any, anyMIME, anyNested      *view
	anyRaw, text, tags, bodyLine *view
	attributes                   map[string][]*view
	pages                        bool // some rule asks for tags or attributes
}

// program is a rule as it is judged.
type program struct {
	rule            *Rule
	match, any, not []term
	// files are the conditions of match about attachments: they hold of one
	// attachment together.
	files []term
	late  bool // some condition is about text or body
}

// term is a condition, perhaps turned around.
type term struct {
	atom int32
	not  bool
	file bool // about attachments
	late bool // about text and body
}

// Compile makes a set of files, in their order, with their overrides applied.
// An ID that is used twice is a problem, and so is an override of nothing. The
// set may be used only when there is no problem but warnings. Rules of mode off
// are in Rules and not looked at.
//
// The rules of the files are not changed: the set has its own.
func Compile(files []*File) (*Set, []Problem) {
	c := &compiler{set: &Set{}, known: map[string]int32{}, views: map[string]*view{}}
	c.collect(files)
	for _, f := range files {
		for _, o := range f.Overrides {
			c.override(o)
		}
	}
	for _, r := range c.set.rules {
		if r.Mode != mail.Off {
			c.rule(r)
		}
	}
	c.finish()
	return c.set, c.problems
}

// Rules are all rules in order, with the mode and score that are in force.
func (s *Set) Rules() []*Rule { return s.rules }

type compiler struct {
	set      *Set
	known    map[string]int32 // conditions by what they say
	views    map[string]*view
	problems []Problem
}

// collect takes all rules in, each ID once.
func (c *compiler) collect(files []*File) {
	ids := map[string]*Rule{}
	for _, f := range files {
		for _, r := range f.Rules {
			if first := ids[r.ID]; first != nil {
				// The shipped rules come last, and are not what is to be mended.
				at, other, hint := r, first, "give one of them another id; to change a rule of another file, write [[override]]"
				if strings.HasPrefix(r.File, "builtin:") && !strings.HasPrefix(first.File, "builtin:") {
					at, other, hint = first, r, "give it another id; to change the shipped rule, write [[override]]"
				}
				c.problems = append(c.problems, Problem{
					File: at.File, Line: at.Line, Rule: at.ID,
					Text:       fmt.Sprintf("there is a rule %q already, in %s", r.ID, other.Place()),
					Suggestion: hint,
				})
				continue
			}
			if len(c.set.rules) == MaxRules {
				c.problems = append(c.problems, Problem{
					File: r.File, Line: r.Line, Rule: r.ID,
					Text:       fmt.Sprintf("there are more than %d rules", MaxRules),
					Suggestion: `put names and addresses into a list and say "in list FILE"`,
				})
				return
			}
			own := *r
			ids[r.ID] = &own
			c.set.rules = append(c.set.rules, &own)
		}
	}
}

// override changes the rules that are meant; the later override wins.
func (c *compiler) override(o *Override) {
	found := false
	for _, r := range c.set.rules {
		if !o.means(r) {
			continue
		}
		found = true
		if o.Mode != nil {
			r.Mode = *o.Mode
		}
		if o.Score != nil {
			r.Score = *o.Score
		}
	}
	if found {
		return
	}
	what, name := "rule", o.Rule
	switch {
	case o.Tag != "":
		what, name = "tag", o.Tag
	case o.Set != "":
		what, name = "set", o.Set
	}
	p := Problem{
		File: o.File, Line: o.Line,
		Text:       fmt.Sprintf("this changes nothing: no rule has the %s %q", what, name),
		Suggestion: `"garita rules list" shows rules, tags and sets`,
	}
	if what == "rule" {
		p.Text = fmt.Sprintf("this changes nothing: there is no rule %q", name)
		if near := c.near(name); near != "" {
			p.Suggestion = fmt.Sprintf("rule = %q", near)
		}
	}
	c.problems = append(c.problems, p)
}

func (o *Override) means(r *Rule) bool {
	switch {
	case o.Rule != "":
		return r.ID == o.Rule
	case o.Tag != "":
		for _, t := range r.Tags {
			if t == o.Tag {
				return true
			}
		}
		return false
	}
	return o.Set != "" && strings.TrimPrefix(r.File, "builtin:") == strings.TrimPrefix(o.Set, "builtin:")
}

// near is the ID that was probably meant: one that begins or ends as it does.
func (c *compiler) near(id string) string {
	best, most := "", 2
	for _, r := range c.set.rules {
		n := 0
		for n < len(id) && n < len(r.ID) && id[n] == r.ID[n] {
			n++
		}
		m := 0
		for m < len(id)-n && m < len(r.ID)-n && id[len(id)-1-m] == r.ID[len(r.ID)-1-m] {
			m++
		}
		if 2*(n+m) >= len(id) && n+m > most {
			best, most = r.ID, n+m
		}
	}
	return best
}

func (c *compiler) rule(r *Rule) {
	p := program{rule: r}
	for _, t := range c.terms(r.Match) {
		if t.file {
			p.files = append(p.files, t)
		} else {
			p.match = append(p.match, t)
		}
	}
	p.any, p.not = c.terms(r.Any), c.terms(r.Not)
	for _, list := range [][]term{p.match, p.any, p.not} {
		for _, t := range list {
			p.late = p.late || t.late
		}
	}
	c.set.programs = append(c.set.programs, p)
}

func (c *compiler) terms(conditions []*Condition) []term {
	var out []term
	for _, cond := range conditions {
		op, not := cond.Op, cond.Not
		if op == Missing && !perFile(cond.Subject) {
			op, not = Exists, !not
		}
		key := cond.key(op)
		i, ok := c.known[key]
		if !ok {
			i = int32(len(c.set.atoms))
			c.known[key] = i
			a := newAtom(cond, op)
			c.set.atoms = append(c.set.atoms, a)
			c.view(cond).add(i, a)
		}
		out = append(out, term{atom: i, not: not, file: perFile(cond.Subject), late: late(cond.Subject)})
	}
	return out
}

// perFile tells conditions that are about one attachment.
func perFile(s Subject) bool { return s >= AttachmentName && s <= AttachmentSize }

// key is the same for conditions that say the same.
func (c *Condition) key(op Op) string {
	var b strings.Builder
	num := func(n int64) { b.WriteString(strconv.FormatInt(n, 10)); b.WriteByte(' ') }
	num(int64(c.Subject))
	num(int64(op))
	num(c.Number)
	for _, s := range []string{c.Name, c.Of, c.Regexp, c.Flags} {
		b.WriteString(strconv.Quote(s))
	}
	if len(c.Values) > MaxValues || len(c.Nets) > MaxValues {
		// Two rules that name one list share it by its name and its content.
		b.WriteString(c.List)
		b.Write(digest(c))
		return b.String()
	}
	for _, s := range c.Values {
		b.WriteString(strconv.Quote(s))
	}
	for _, n := range c.Nets {
		b.WriteString(n.String())
		b.WriteByte(' ')
	}
	return b.String()
}

// view is the view that the condition looks at, made when it is not there.
func (c *compiler) view(cond *Condition) *view {
	s := cond.Subject
	name, of := "", ""
	switch s {
	case SubjectText:
		s, name = Header, "subject"
	case Header, MIMEHeader, NestedHeader, RawHeader:
		name = strings.ToLower(cond.Name)
	case Attribute:
		name, of = strings.ToLower(cond.Name), strings.ToLower(cond.Of)
	}
	key := strconv.Itoa(int(s)) + " " + name + " " + of
	v := c.views[key]
	if v == nil {
		v = &view{subject: s, name: name, of: of, mode: modeOf(s)}
		c.views[key] = v
		c.set.views = append(c.set.views, v)
	}
	return v
}

// finish puts the views where Match looks for them.
func (c *compiler) finish() {
	s := c.set
	s.named, s.mime, s.nested, s.raw = map[string]*view{}, map[string]*view{}, map[string]*view{}, map[string]*view{}
	s.attributes = map[string][]*view{}
	for _, v := range s.views {
		v.build(s)
		switch {
		case fieldView(v.subject):
			s.headers = append(s.headers, v)
		case late(v.subject):
			s.content = append(s.content, v)
		}
		switch v.subject {
		case Header:
			s.named[v.name] = v
		case AnyHeader:
			s.any = v
		case MIMEHeader:
			s.mime[v.name] = v
		case AnyMIMEHeader:
			s.anyMIME = v
		case NestedHeader:
			s.nested[v.name] = v
		case AnyNestedHeader:
			s.anyNested = v
		case RawHeader:
			s.raw[v.name] = v
		case RawAnyHeader:
			s.anyRaw = v
		case BodyLine:
			s.bodyLine = v
		case Text:
			s.text = v
		case Tag:
			s.tags, s.pages = v, true
		case Attribute:
			s.attributes[v.name], s.pages = append(s.attributes[v.name], v), true
		case AttachmentName, AttachmentExtension, AttachmentType, AttachmentDeclared, AttachmentSize, Attachments:
			s.files = append(s.files, v)
		default:
			s.envelope = append(s.envelope, v)
		}
	}
	s.seed = maphash.MakeSeed()
	s.runs.New = func() any { return newRun(s) }
}
