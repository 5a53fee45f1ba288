package rules

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"garita/mail"
	"garita/place"
	"garita/printable"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// What a file says about itself is bounded too: it ends in logs and replies.
const (
	maxID          = 60
	maxDescription = 500
	maxTags        = 20
	maxScore       = 1000
	maxReply       = 400 // RFC 5321 section 4.5.3.1.5: 512 with code and line end
)

// parser turns the tables of a file into rules.
type parser struct {
	*reader
	o     ParseOptions
	file  string
	id    string // of the rule at hand
	lists map[string]*list
	// listOctets are those of all lists.
	listOctets int
	// patterns is the time that compiling them has taken by now.
	patterns time.Duration
	now      func() time.Time
}

// Parse reads a rule file. The file may be used only when there is no problem
// but warnings. It tells every mistake of the file, up to 100.
func Parse(src Source, o ParseOptions) (*File, []Problem) {
	f, _, problems := parse(src, o)
	return f, problems
}

func parse(src Source, o ParseOptions) (*File, *reader, []Problem) {
	p := &parser{reader: readTOML(newDocument(src.Name, bytes.Clone(src.Text))), o: o, file: src.Name, lists: map[string]*list{}, now: time.Now}
	return p.read()
}

func (p *parser) read() (*File, *reader, []Problem) {
	f := &File{Name: p.file}
	for _, t := range p.tables {
		if p.errors >= maxProblems {
			break
		}
		p.id = ""
		if t.name == "rule" {
			f.Rules = append(f.Rules, p.rule(t))
		} else {
			f.Overrides = append(f.Overrides, p.override(t))
		}
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return f, p.reader, p.problems
}

func (p *parser) report(at span, text, suggestion string) {
	if p.errors < maxProblems {
		bad := p.doc.problem(at, text, suggestion)
		bad.Rule = p.id
		p.add(bad)
	}
}

func (p *parser) warn(at span, text, suggestion string) {
	if p.warnings < maxProblems {
		odd := p.doc.problem(at, text, suggestion)
		odd.Rule, odd.Warning = p.id, true
		p.add(odd)
	}
}

// unused reports the keys that nobody asked for.
func (p *parser) unused(t *table) {
	var known []string
	for name, e := range t.byName {
		if e == nil {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	for _, e := range t.entries {
		if p.errors >= maxProblems {
			return
		}
		if e.used {
			continue
		}
		suggestion := ""
		switch e.name {
		case "condition", "conditions", "when", "if":
			suggestion = "conditions stand in match, any or not"
		case "actions", "then", "do":
			suggestion = "did you mean action?"
		case "enabled", "enable", "disabled":
			suggestion = `write mode = "off" or mode = "enforce"`
		case "name":
			suggestion = "did you mean id?"
		default:
			suggestion = didYouMean(e.name, known)
		}
		p.report(e.key, "there is no key "+place.Quote(e.name)+" in [["+t.name+"]]", suggestion)
	}
}

// take gives the key's value, and notes that the key exists.
func (t *table) take(name string) *value {
	if e := t.get(name); e != nil {
		return e.val
	}
	t.byName[name] = nil
	return nil
}

func (p *parser) rule(t *table) *Rule {
	r := &Rule{File: p.file, Line: p.doc.Line(t.at.start)}
	p.id = p.ruleID(t)
	r.ID = p.id
	r.Description = p.line(t, "description", maxDescription)
	r.Origin = p.line(t, "source", maxDescription)
	r.Direction = p.direction(t)
	if m := p.mode(t); m != nil {
		r.Mode = *m
	}
	r.Match = p.conditions(t, "match")
	r.Any = p.conditions(t, "any")
	r.Not = p.conditions(t, "not")
	n := len(r.Match) + len(r.Any) + len(r.Not)
	switch {
	case t.broken:
	case t.byName["match"] == nil && t.byName["any"] == nil && t.byName["not"] == nil:
		p.report(t.at, "the rule has no condition and would hit every message", `give it one: match = ['subject contains "…"']`)
	case n > MaxConditions:
		p.report(t.at, fmt.Sprintf("the rule has %d conditions, more than %d", n, MaxConditions), `put values into one condition with or, or into a file: in list FILE`)
	}
	var hasScore bool
	if s := p.score(t); s != nil {
		r.Score, hasScore = *s, true
	}
	p.actions(t, r, hasScore)
	p.reply(t, r)
	r.Tags = p.tags(t)
	r.Expires = p.expires(t)
	if b := p.boolean(t, "stop"); b != nil {
		r.Stop = *b
	}
	if v := t.take("test"); v != nil {
		p.inlineTests(t, v)
	}
	if len(t.tests) > maxTests {
		p.report(t.at, fmt.Sprintf("the rule has more than %d tests", maxTests), "")
	}
	for _, tt := range t.tests {
		r.Tests = append(r.Tests, p.test(tt))
	}
	p.unused(t)
	return r
}

func (p *parser) ruleID(t *table) string {
	v := t.take("id")
	if v == nil && t.broken {
		return ""
	}
	if v == nil {
		p.report(t.at, "the rule has no id: a short name for logs and replies", `write id = "my-rule"`)
		return ""
	}
	s, ok := p.text(v, "id")
	if !ok || !p.name(v, s, "an id") {
		return ""
	}
	return s
}

// name checks lower-case letters, digits and dashes.
func (p *parser) name(v *value, s, what string) bool {
	if validName(s) {
		return true
	}
	suggestion := ""
	if made := makeName(s); made != "" {
		suggestion = "try " + place.String(made)
	}
	p.report(v.at, place.Quote(s)+" is not "+what+": lower-case letters, digits and dashes, at most "+strconv.Itoa(maxID)+" of them", suggestion)
	return false
}

func validName(s string) bool {
	if s == "" || len(s) > maxID || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// makeName makes a name of what was written.
func makeName(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(plain(place.Shorten(s))) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	made := b.String()
	return strings.Trim(made[:min(len(made), maxID)], "-")
}

// text wants a string.
func (p *parser) text(v *value, key string) (string, bool) {
	if v.kind == unstable.String {
		return v.text, true
	}
	suggestion := ""
	switch v.kind {
	case unstable.Integer, unstable.Float, unstable.Bool:
		suggestion = "write " + key + " = " + place.String(place.Shorten(v.text))
	case unstable.Array:
		suggestion = "write one text in quotes, without [ ]"
	}
	if v.kind != unstable.Invalid {
		p.report(v.at, v.describe()+"; "+key+" is a text", suggestion)
	}
	return "", false
}

// line reads a text of one line.
func (p *parser) line(t *table, key string, longest int) string {
	v := t.take(key)
	if v == nil {
		return ""
	}
	s, ok := p.text(v, key)
	if !ok {
		return ""
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		at := p.offset(v, i)
		p.report(span{at, at + 1}, key+" holds a line break or another control character", "write it in one line")
		return ""
	}
	if len(s) > longest {
		p.report(v.at, fmt.Sprintf("%s has %d octets, more than %d", key, len(s), longest), "")
		return ""
	}
	return s
}

// word reads one of a few words.
func (p *parser) word(t *table, key string, words []string) string {
	v := t.take(key)
	if v == nil {
		return ""
	}
	s, ok := p.text(v, key)
	if !ok {
		return ""
	}
	if !slices.Contains(words, s) {
		hint := didYouMean(s, words)
		if meant := otherWord(strings.ToLower(s)); slices.Contains(words, meant) {
			hint = "did you mean " + meant + "?"
		}
		p.report(v.at, place.Quote(s)+" is not a "+key, hint)
		return ""
	}
	return s
}

func (p *parser) direction(t *table) mail.Direction {
	switch p.word(t, "direction", []string{"in", "out", "both"}) {
	case "in":
		return mail.In
	case "out":
		return mail.Out
	}
	return 0
}

func (p *parser) mode(t *table) *mail.Mode {
	m, ok := mail.ParseMode(p.word(t, "mode", []string{"off", "observe", "score", "enforce"}))
	if !ok {
		return nil
	}
	return &m
}

func (p *parser) boolean(t *table, key string) *bool {
	v := t.take(key)
	if v == nil {
		return nil
	}
	if v.kind != unstable.Bool {
		p.report(v.at, v.describe()+"; "+key+" is true or false", "write true or false, without quotes")
		return nil
	}
	b := v.text == "true"
	return &b
}

func (p *parser) score(t *table) *float64 {
	v := t.take("score")
	if v == nil {
		return nil
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(v.text, "_", ""), 64)
	if v.kind != unstable.Integer && v.kind != unstable.Float {
		suggestion := "write score = 5.0"
		if v.kind == unstable.String && err == nil {
			suggestion = "write it without quotes"
		}
		p.report(v.at, v.describe()+"; score is a number", suggestion)
		return nil
	}
	if err != nil || math.IsNaN(f) || math.Abs(f) > maxScore {
		p.report(v.at, fmt.Sprintf("%s is not a score between -%d and %d", printable.Line(place.Shorten(v.text)), maxScore, maxScore), "")
		return nil
	}
	return &f
}

func (p *parser) tags(t *table) []string {
	v := t.take("tags")
	if v == nil {
		return nil
	}
	if v.kind != unstable.Array {
		suggestion := ""
		if v.kind == unstable.String {
			suggestion = "write tags = [" + place.String(place.Shorten(v.text)) + "]"
		}
		p.report(v.at, v.describe()+"; tags is a list of texts", suggestion)
		return nil
	}
	var tags []string
	for _, item := range v.items {
		s, ok := p.text(item, "a tag")
		if !ok || !p.name(item, s, "a tag") {
			continue
		}
		if slices.Contains(tags, s) {
			p.warn(item.at, "the tag "+s+" is there twice", "remove one")
			continue
		}
		tags = append(tags, s)
	}
	if len(tags) > maxTags {
		p.report(v.at, fmt.Sprintf("there are more than %d tags", maxTags), "")
	}
	return tags
}

// expires reads a date, which counts to its end in UTC, or a time.
func (p *parser) expires(t *table) time.Time {
	v := t.take("expires")
	if v == nil {
		return time.Time{}
	}
	var doc struct{ V any }
	switch v.kind {
	case unstable.LocalDate, unstable.LocalDateTime, unstable.DateTime:
		if err := toml.Unmarshal([]byte("V = "+v.text), &doc); err != nil {
			p.report(v.at, place.Quote(v.text)+" is not a date that exists", "write expires = 2027-01-31")
			return time.Time{}
		}
	case unstable.String:
		suggestion := "write expires = 2027-01-31"
		if _, err := time.Parse("2006-01-02", v.text); err == nil {
			suggestion = "write it without quotes: expires = " + v.text
		}
		p.report(v.at, v.describe()+"; expires is a date", suggestion)
		return time.Time{}
	}
	switch d := doc.V.(type) {
	case time.Time:
		return d
	case toml.LocalDate:
		return d.AsTime(time.UTC).AddDate(0, 0, 1)
	case toml.LocalDateTime:
		return d.AsTime(time.UTC)
	}
	if v.kind != unstable.Invalid {
		p.report(v.at, v.describe()+"; expires is a date", "write expires = 2027-01-31")
	}
	return time.Time{}
}

// override reads one [[override]].
func (p *parser) override(t *table) *Override {
	o := &Override{File: p.file, Line: p.doc.Line(t.at.start)}
	targets := 0
	for _, k := range []struct {
		key string
		to  *string
	}{{"rule", &o.Rule}, {"tag", &o.Tag}, {"set", &o.Set}} {
		v := t.take(k.key)
		if v == nil {
			continue
		}
		targets++
		if s, ok := p.text(v, k.key); ok && p.name(v, s, "the name of a "+k.key) {
			*k.to = s
		}
	}
	switch {
	case t.broken:
	case targets == 0:
		p.report(t.at, "the override does not say what it changes", `write rule = "id", tag = "…" or set = "…"`)
	case targets > 1:
		p.report(t.at, "an override is about a rule, a tag or a set, one of them", "write an [[override]] for each")
	}
	o.Mode, o.Score = p.mode(t), p.score(t)
	if !t.broken && t.byName["mode"] == nil && t.byName["score"] == nil {
		p.report(t.at, "the override changes nothing", `give it mode = "…" or score = …`)
	}
	p.unused(t)
	return o
}

// beside gives a path that is relative to the rule file's folder.
func (p *parser) beside(path string) string {
	if filepath.IsAbs(path) || strings.HasPrefix(p.file, "builtin:") {
		return path
	}
	return filepath.Join(filepath.Dir(p.file), path)
}
