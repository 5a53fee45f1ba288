package lint

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"garita/rules"
	"garita/rules/fold"
	"garita/rules/pattern"
)

// term is a condition with its sign; "is missing" is "exists" turned around.
type term struct {
	*rules.Condition
	not bool
}

func termsOf(list []*rules.Condition) []term {
	out := make([]term, 0, len(list))
	for _, c := range list {
		t := term{c, c.Not}
		if c.Op == rules.Missing && !perFile(c.Subject) {
			turned := *c
			turned.Op = rules.Exists
			t = term{&turned, !c.Not}
		}
		out = append(out, t)
	}
	return out
}

// one is a rule with its conditions as terms.
type one struct {
	*rules.Rule
	match, any, none []term
}

func (l *linter) rules(s *rules.Set, now time.Time) {
	var live []*one
	for _, r := range s.Rules() {
		if r.Mode.String() == "off" {
			continue
		}
		o := &one{Rule: r, match: termsOf(r.Match), any: termsOf(r.Any), none: termsOf(r.Not)}
		l.costs(o)
		switch why := l.never(o); {
		case !now.IsZero() && !r.Expires.IsZero() && !now.Before(r.Expires):
			l.tell(o, "expired", "it has expired and is no longer looked at: delete it, or give it a later date", "")
			continue
		case why != "":
			l.tell(o, "never", "it can never hit: "+why, "")
			continue
		}
		l.always(o)
		live = append(live, o)
	}
	l.compare(live)
}

func (l *linter) tell(o *one, id, text, witness string) {
	l.add(Finding{File: o.File, Line: o.Line, Rule: o.ID, ID: id, Text: text, Witness: witness})
}

// costs tells of patterns that take too long.
func (l *linter) costs(o *one) {
	for _, list := range [][]term{o.match, o.any, o.none} {
		for _, t := range list {
			if t.Pattern == nil {
				continue
			}
			if f, ok := l.cost(t.Pattern, longestOf(t.Subject), t.Subject == rules.Text && !overFolded(t.Condition)); ok {
				f.File, f.Line, f.Rule = o.File, o.Line, o.ID
				f.Text = say(t.Condition) + " " + f.Text
				l.add(f)
			}
		}
	}
}

// heavySteps is the size from which a pattern is worth a word: more than so many
// steps for an octet are slower than a line of mail is read.
const heavySteps = 3000

// longestOf is how long a text a stranger can give for a subject.
func longestOf(s rules.Subject) int {
	if s <= rules.Size {
		return 1000 // a path has at most 256 octets, RFC 5321 section 4.5.3.1
	}
	return 100_000
}

// tooMany is a number of steps that no match has the time for.
const tooMany = 3e7

// cost tells what is dear about a pattern; longest is the length of its texts,
// newline says that they may end with one.
func (l *linter) cost(p *pattern.Pattern, longest int, newline bool) (Finding, bool) {
	if lang := l.language(p); p.Heavy() && (lang == nil || lang.Steps() > heavySteps) {
		return Finding{ID: "cost", Text: "is so large a pattern that its matches are charged to the time of a message: many words belong into a list (in list FILE), and large repeats as {0,5000} cost their number"}, true
	}
	if p.Linear() || !newline && !p.Backtracks() || l.attacks <= 0 {
		return Finding{}, false
	}
	l.attacks--
	a, ok := pattern.FindAttack(p)
	if !ok || a.StepsAt(longest) < tooMany {
		return Finding{}, false
	}
	grows := "grows exponentially"
	switch a.Degree {
	case 0:
	case 2:
		grows = "grows with the square of the length"
	default:
		grows = fmt.Sprintf("grows with the length to the power of %d", a.Degree)
	}
	return Finding{
		ID:      "backtracking",
		Text:    fmt.Sprintf("takes a time that %s of a text like the witness, and is given up: %d repeats are %d steps", grows, a.Times, a.Steps),
		Witness: shape(a),
	}, true
}

// shape writes an attack as "prefix" + "pump"x30 + "suffix".
func shape(a pattern.Attack) string {
	var parts []string
	if a.Prefix != "" {
		parts = append(parts, `"`+pattern.Printable(a.Prefix)+`"`)
	}
	parts = append(parts, fmt.Sprintf(`"%s"x%d`, pattern.Printable(a.Pump), a.Times))
	if a.Suffix != "" {
		parts = append(parts, `"`+pattern.Printable(a.Suffix)+`"`)
	}
	return strings.Join(parts, " + ")
}

// say is a condition as it is written, escaped and cut.
func say(c *rules.Condition) string {
	const most = 90
	s := pattern.Printable(c.Source)
	s = strings.ReplaceAll(s, `\"`, `"`)
	if len(s) > most {
		s = s[:most] + "…"
	}
	return "'" + s + "'"
}

// never says why a rule can never hit, or "".
func (l *linter) never(o *one) string {
	for _, t := range o.match {
		if why := l.neverTerm(t); why != "" {
			return say(t.Condition) + " can never hold: " + why
		}
	}
	for _, t := range o.none {
		if l.alwaysTerm(term{t.Condition, t.not}) {
			return say(t.Condition) + " is in not, and always holds"
		}
	}
	all := len(o.any) > 0
	for _, t := range o.any {
		all = all && l.neverTerm(t) != ""
	}
	if all {
		return "none of the conditions in any can hold; " + say(o.any[0].Condition) + ": " + l.neverTerm(o.any[0])
	}
	for i, a := range o.match {
		if a.not {
			continue
		}
		for _, b := range o.match[i+1:] {
			if !b.not && l.exclude(a.Condition, b.Condition) {
				return say(a.Condition) + " and " + say(b.Condition) + " contradict each other"
			}
		}
		for _, b := range o.match {
			if b.not && l.implies(a.Condition, b.Condition) {
				return say(a.Condition) + " and " + say(b.Condition) + " contradict each other"
			}
		}
		for _, b := range o.none {
			if !b.not && l.implies(a.Condition, b.Condition) {
				return say(a.Condition) + " contradicts " + say(b.Condition) + " in not"
			}
		}
	}
	return ""
}

func (l *linter) neverTerm(t term) string {
	if t.not {
		if l.alwaysTerm(term{t.Condition, false}) {
			return "it is turned around, and always holds"
		}
		return ""
	}
	c := t.Condition
	switch {
	case c.Op == rules.InList && len(c.Values) == 0 && len(c.Nets) == 0:
		return "the list " + quote(c.List) + " is empty"
	case isNumber(c.Op):
		if rangeOf(c).empty() {
			if c.Subject == rules.Recipients {
				return "a message has at least one recipient"
			}
			return "no number is below zero"
		}
	case isText(c.Op):
		why := ""
		for _, v := range c.Values {
			if why = impossible(c, v); why == "" {
				return ""
			}
		}
		return why
	case c.Op == rules.Matches && c.Pattern != nil:
		return l.neverPattern(c)
	}
	return ""
}

// impossible says why no text of a subject can be, contain … a value, or "".
func impossible(c *rules.Condition, v string) string {
	k := formOf(c.Subject).key(v)
	if k == "" {
		if c.Op == rules.Is {
			return ""
		}
		return "of " + quote(v) + " nothing is left to look for"
	}
	switch c.Subject {
	case rules.AttachmentExtension:
		if strings.Contains(k, ".") {
			return "an extension has no dot: write " + quote(v[strings.LastIndexByte(v, '.')+1:])
		}
	case rules.BodyLine:
		if strings.Contains(k, "\n") {
			return "a line has no line break in it"
		}
	case rules.Client:
		if strings.Trim(k, "0123456789abcdef:.") != "" {
			return "client is an address: for names there is host"
		}
		if a, err := netip.ParseAddr(k); c.Op == rules.Is && (err != nil || a.Unmap().String() != k) {
			return quote(v) + " is not how an address is written: in 192.0.2.0/24 compares networks"
		}
	case rules.SenderDomain, rules.RecipientDomain:
		if strings.Contains(k, "@") {
			return "a domain has no @ in it"
		}
	case rules.Tag:
		if strings.ContainsAny(k, "> /") || (c.Op == rules.Is || c.Op == rules.Starts) && k[0] == '<' {
			return "the name of a tag has no brackets: write it alone, as iframe"
		}
	}
	return ""
}

// neverPattern proves that a pattern matches no text of its subject.
func (l *linter) neverPattern(c *rules.Condition) string {
	lang := l.language(c.Pattern)
	if _, _, proved := l.apart([]*pattern.Language{lang}, nil); proved {
		return "no text matches the pattern"
	}
	domain, why := l.domain(c)
	if domain == nil {
		return ""
	}
	if _, _, proved := l.apart([]*pattern.Language{lang, domain}, nil); proved {
		return why
	}
	return ""
}

// domain is a language that all texts of a condition's subject are in.
func (l *linter) domain(c *rules.Condition) (*pattern.Language, string) {
	source, why, bytes := "", "", false
	switch {
	case overFolded(c):
		source, why = foldedDomain(), "with the flag a the text has neither capitals nor accents nor line breaks, and no blanks side by side"
	case c.Subject == rules.BodyLine:
		source, why, bytes = `\A[^\n]*\z`, "a line has no line break in it", true
	case c.Subject == rules.RawHeader:
		source, why, bytes = `\A(?:(?:[^ \t\n]|\n[ \t])(?:[^\n]|\n[ \t])*)?\z`, "the value of a field begins behind its blanks, and its lines break before blanks alone", true
	case c.Subject == rules.RawAnyHeader:
		source, why, bytes = `\A[!-9;-~]+[ \t]*:(?:[^\n]|\n[ \t])*\z`, "a field begins with its name and a colon, and its lines break before blanks alone", true
	case c.Subject == rules.SubjectText || c.Subject == rules.Header || c.Subject == rules.MIMEHeader || c.Subject == rules.NestedHeader:
		source, why = `\A(?:[^\t-\r ]|[^\t-\r ].*[^\t-\r ])?\z`, "the blanks at both ends of a field are left out"
	case c.Subject == rules.Client:
		source, why = `\A[0-9a-f:.]*\z`, "client is an address in small letters: for names there is host"
	default:
		return nil, ""
	}
	return l.language(l.compiled(source, pattern.Options{Bytes: bytes})), why
}

// foldedDomain is a pattern for folded text: of the characters up to U+24FF
// those that folding changes are left out, and so are blanks side by side.
func foldedDomain() string {
	var b strings.Builder
	b.WriteString(`\A(?: ?[^ `)
	for c := rune(0); c < 0x2500; c++ {
		if c == ' ' {
			continue
		}
		if got := fold.Text(nil, []byte(string(c))); string(got) != string(c) {
			fmt.Fprintf(&b, `\x{%x}`, c)
		}
	}
	b.WriteString(`])* ?\z`)
	return b.String()
}

// exclude proves that two conditions, both without "not", do not hold together.
func (l *linter) exclude(a, b *rules.Condition) bool {
	if !aboutSame(a, b) || !single(a.Subject) {
		return false
	}
	switch {
	case isNumber(a.Op) && isNumber(b.Op):
		s, t := rangeOf(a), rangeOf(b)
		return max(s.lo, t.lo) > min(s.hi, t.hi)
	case hasNets(a) && hasNets(b):
		return netsApart(a.Nets, b.Nets)
	case isText(a.Op) && isText(b.Op) && !hasNets(a) && !hasNets(b):
		f := formOf(a.Subject)
		for _, v := range a.Values {
			for _, w := range b.Values {
				if l.pairs--; l.pairs < 0 || together(a.Op, f.key(v), b.Op, f.key(w)) {
					return false
				}
			}
		}
		return true
	}
	return false
}

// together tells whether one text may fit both.
func together(a rules.Op, k string, b rules.Op, w string) bool {
	switch {
	case a == rules.Is:
		return b == rules.Is && k == w || fits(a, k, b, w)
	case b == rules.Is:
		return fits(b, w, a, k)
	case a == rules.Starts && b == rules.Starts:
		return strings.HasPrefix(k, w) || strings.HasPrefix(w, k)
	case a == rules.Ends && b == rules.Ends:
		return strings.HasSuffix(k, w) || strings.HasSuffix(w, k)
	}
	return true
}

// alwaysTerm proves that a condition holds of every message.
func (l *linter) alwaysTerm(t term) bool {
	c := t.Condition
	if t.not {
		return l.neverTerm(term{c, false}) != "" && c.Op != rules.InList
	}
	if isNumber(c.Op) && single(c.Subject) {
		s := rangeOf(c)
		return s.lo <= leastOf(c.Subject) && s.hi == unbounded
	}
	if c.Op == rules.Matches && c.Pattern != nil {
		switch c.Subject {
		case rules.Host, rules.Helo, rules.User, rules.Listener:
			return l.everything(c.Pattern, c)
		}
	}
	return false
}

// everything proves that a pattern matches whatever the subject's text is.
func (l *linter) everything(p *pattern.Pattern, c *rules.Condition) bool {
	for _, s := range []string{"", "zq", "Zq 7\n"} {
		if ok, err := p.Match([]byte(s), nil); err != nil || !ok {
			return false
		}
	}
	bytes := formOf(c.Subject) == octets
	_, _, proved := l.apart([]*pattern.Language{l.language(l.compiled(``, pattern.Options{Bytes: bytes}))}, []*pattern.Language{l.language(p)})
	return proved
}

// always tells of rules that hit every message, and of conditions that say
// nothing.
func (l *linter) always(o *one) {
	every := len(o.match)+len(o.any) > 0 && len(o.none) == 0
	for _, t := range o.match {
		every = every && l.alwaysTerm(t)
	}
	if len(o.any) > 0 {
		some := false
		for _, t := range o.any {
			some = some || l.alwaysTerm(t)
		}
		every = every && some
	}
	if every {
		l.tell(o, "always", "it hits every message", "")
		return
	}
	for _, list := range [][]term{o.match, o.any} {
		for _, t := range list {
			c := t.Condition
			switch {
			case t.not || c.Pattern == nil || !l.everything(c.Pattern, c):
				if !t.not && l.alwaysTerm(t) {
					l.tell(o, "always", say(c)+" always holds and can be left out", "")
				}
			case l.alwaysTerm(t):
				l.tell(o, "always", say(c)+" always holds and can be left out", "")
			default:
				l.tell(o, "always", say(c)+" matches whatever stands there: write exists, if that is meant", "")
			}
		}
	}
	if len(o.match)+len(o.any) == 0 && verdictOf(o.Rule) != 0 {
		l.tell(o, "not-only", "it has no match and no any: it hits every message but those of not", "")
	}
}
