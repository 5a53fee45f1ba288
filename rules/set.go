package rules

import (
	"strconv"
	"time"

	"garita/mail"
	"garita/message"
)

// Source is a rule file.
type Source struct {
	// Name is the path, or "builtin:NAME".
	Name string
	Text []byte
}

// File is what stands in a rule file.
type File struct {
	Name      string
	Rules     []*Rule
	Overrides []*Override
}

// ParseOptions are what reading a file needs beside it.
type ParseOptions struct {
	// ReadList reads a file of "in list FILE"; a relative path is relative to
	// the rule file's folder. nil: lists are a problem.
	ReadList func(path string) ([]byte, error)
	// NextHops are the names that route may give; nil: any.
	NextHops []string
	// MatchLimit bounds one match of a pattern that backtracks; 0: the default.
	MatchLimit time.Duration
}

// Input is a message in question. Tx is never nil.
type Input struct {
	Tx    *mail.Transaction
	Index *message.Index
	// Raw is the whole message.
	Raw []byte
}

// Where is a place of a hit.
type Where struct {
	// What is in the condition's words: "subject", "attachment name".
	What string
	Part string // number of the part, "" for the message itself
	// Line and Column in the message, from 1; 0 where there are none (the
	// envelope, folded text).
	Line, Column int
	// Decoded says that they count in what the part decodes to.
	Decoded bool
	// Excerpt is the text about it: hostile, at most 120 octets.
	Excerpt string
}

// Hit is a rule that holds of the message.
type Hit struct {
	Rule  *Rule
	Where []Where
	// Edits are those of its actions on the header, sorted.
	Edits []message.Edit
}

// Result is what a set says of a message.
type Result struct {
	// Hits in the order of the rules.
	Hits []Hit
	// GivenUp are the rules of which nobody knows whether they hold.
	GivenUp []*Rule
}

// MatchOptions change what Match tells.
type MatchOptions struct {
	// Now is for rules that expire; zero: none has.
	Now time.Time
	// Tell has the time that each rule took measured: it is called for each.
	Tell func(r *Rule, took time.Duration)
	// All looks at rules behind a stop or pass, too.
	All bool
}

// inFile writes file:line.
func inFile(file string, line int) string { return file + ":" + strconv.Itoa(line) }
