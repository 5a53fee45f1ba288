// Package migrate turns what administrators have into our configuration and
// rules: Postfix's header_checks, body_checks and access files, its main.cf, and
// MailScanner's filename rules. Every line of the original is accounted for in
// a Report: nothing is dropped without a word.
//
// It reads and writes no files but those that it is told to look into.
package migrate

// Fate is what became of a line.
type Fate uint8

const (
	Imported Fate = iota + 1
	Changed       // imported, and Why says how it differs
	Skipped       // Why says what keeps it
	Dead          // it can never match where it stands; Sample shows it
	Note          // worth knowing; nothing was to import
)

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

// Result is an import: TOML that our own reader takes, and the report.
type Result struct {
	TOML  string // rules, or configuration
	Lines []Line
}
