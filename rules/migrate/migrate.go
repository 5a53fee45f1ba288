// Package migrate turns what administrators have into our configuration and
// rules: Postfix's header_checks, body_checks and access files, its main.cf, and
// MailScanner's filename rules. Every line of the original is accounted for in
// a Result: nothing is dropped without a word.
//
// Tables are read by rules/postfix, so that a rule is taken as Postfix takes it,
// and what is called dead was tried there. Where a rule has an exact equal it is
// Imported; where it differs it is Changed, and told how.
//
// What it does not do: write files, ask the network, or read the files that
// Postfix has made of others (.db, .lmdb). SQL, LDAP and the like are told.
//
// It never fails: what cannot be read is a line of the report. The original is
// hostile text as all text: it is escaped in TOML and in the report alike.
//
// # Limits
//
// MaxFile for each file; MaxLines of a report are kept, the rest is counted; 32 files that a
// main.cf names are looked into; 30 rules before one whose order matters.
package migrate

import (
	"fmt"
	"strings"

	"garita/rules/postfix"
)

// Fate is what became of a line.
type Fate uint8

const (
	Imported Fate = iota + 1
	Changed       // imported, and Why says how it differs
	Skipped       // Why says what keeps it
	Dead          // it can never match where it stands; Sample shows it
	Note          // worth knowing; nothing was to import
)

// String is the word of the report.
func (f Fate) String() string {
	return [...]string{"?", "imported", "changed", "skipped", "dead", "note"}[f]
}

// Line is one line, or rule, of the original.
type Line struct {
	File   string
	Line   int
	Fate   Fate
	What   string // the rule or parameter, cut and escaped
	Why    string
	Sample string // escaped
	Rule   string // ID or key of what was made
}

// String is the line as the report shows it.
func (l Line) String() string {
	s := l.File
	if l.Line > 0 {
		s += fmt.Sprintf(":%d", l.Line)
	}
	s += ": " + l.Fate.String()
	if l.What != "" {
		s += ": " + l.What
	}
	if l.Rule != "" {
		s += " => " + l.Rule
	}
	if l.Why != "" {
		s += ": " + l.Why
	}
	if l.Sample != "" {
		s += " (sample: " + l.Sample + ")"
	}
	return s
}

// Result is an import: TOML that our own reader takes, and the report.
type Result struct {
	TOML  string // rules, or configuration
	Lines []Line
	// More counts the lines of the report that were too many.
	More int
}

// Count is how many lines have a fate.
func (r Result) Count(f Fate) (n int) {
	for _, l := range r.Lines {
		if l.Fate == f {
			n++
		}
	}
	return n
}

// Summary is one line about all.
func (r Result) Summary() string {
	dead, mended := fmt.Sprintf("%d dead", r.Count(Dead)), 0
	for _, l := range r.Lines {
		if l.Fate == Dead && l.Rule != "" {
			mended++
		}
	}
	if mended > 0 {
		dead += fmt.Sprintf(" (%d of them now rules for what they meant)", mended)
	}
	s := fmt.Sprintf("%d imported, %d changed, %d skipped, %s, %d noted",
		r.Count(Imported), r.Count(Changed), r.Count(Skipped), dead, r.Count(Note))
	if r.More > 0 {
		s += fmt.Sprintf(", %d more lines not shown", r.More)
	}
	return s
}

const (
	// MaxFile is the largest file that is read.
	MaxFile = 16 << 20
	// MaxLines bounds a report.
	MaxLines = 100_000
)

// Options say how a file is to be read.
type Options struct {
	// File is its name, for the report and the names of rules.
	File string
	// Kind is that of a table.
	Kind postfix.Kind
	// View is where Postfix used a table. Everywhere says that it is a
	// header_checks whose headers of parts and attached messages count too,
	// as they do when mime_header_checks and nested_header_checks are not set.
	View       postfix.View
	Everywhere bool
	// Mode of the rules: off, observe, score or enforce; empty is observe.
	Mode string
	// Check is what an access file was used for: client, sender, recipient, helo.
	Check string
	// ReadFile reads a file that a main.cf names; nil: they are only named.
	ReadFile func(path string) ([]byte, error)
}

func (o Options) mode() string {
	if o.Mode == "" {
		return "observe"
	}
	return o.Mode
}

// sheet is a Result that is being made.
type sheet struct {
	result Result
	toml   strings.Builder
	file   string
}

func (s *sheet) line(l Line) {
	if l.File == "" {
		l.File = s.file
	}
	l.File, l.What, l.Sample = show(l.File, 300), show(l.What, 160), show(l.Sample, 200)
	if len(s.result.Lines) >= MaxLines {
		s.result.More++
		return
	}
	s.result.Lines = append(s.result.Lines, l)
}

func (s *sheet) tell(line int, f Fate, what, why string) {
	s.line(Line{Line: line, Fate: f, What: what, Why: why})
}

// comment writes text as a comment of the TOML.
func (s *sheet) comment(format string, args ...any) {
	for _, l := range wrap(show(fmt.Sprintf(format, args...), 2000), 118) {
		s.toml.WriteString("# " + l + "\n")
	}
}

func (s *sheet) done() Result {
	s.result.TOML = s.toml.String()
	return s.result
}
