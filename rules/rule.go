package rules

import (
	"time"

	"garita/mail"
)

// Rule is one [[rule]] of a file.
type Rule struct {
	// ID is a lower-case name of letters, digits and dashes, unique over all
	// files; it stands in logs, replies and metrics.
	ID          string
	Description string
	// Origin says where the rule comes from ("source" in the file).
	Origin string
	// Direction is 0 for both.
	Direction mail.Direction
	Mode      mail.Mode
	// Match must all hold, of Any at least one if there is any, of Not none.
	Match, Any, Not []*Condition
	// Actions in their order; at most one of them has a verdict.
	Actions []Action
	// Reply is what reject and defer answer, without the rule's ID; nil for
	// the action's own.
	Reply *mail.Reply
	// Score counts in mode score and enforce.
	Score   float64
	Tags    []string
	Expires time.Time // zero: never
	// Stop: if it hits, the rules after it are not looked at.
	Stop  bool
	Tests []Test

	File string // as in problems; of a shipped set "builtin:NAME"
	Line int    // of its [[rule]]
}

// Place is "file:line", for findings and commands.
func (r *Rule) Place() string { return inFile(r.File, r.Line) }

// Test is one [[rule.test]]: a message, or what is enough to make one, and what
// must come out.
type Test struct {
	Line int
	// Message is a whole message; else one is made of the rest.
	Message string
	// Header are header fields, one a line; Text, HTML and Attachment the
	// contents. Several of them make a multipart message.
	Header, Text, HTML string
	Attachment         string // a file name
	// The envelope; what is empty has an ordinary value.
	From, Client, Host, Helo, User string
	To                             []string
	Direction                      mail.Direction
	// Miss says that the rule must not hit; else it must.
	Miss bool
}

// Override changes the mode or score of rules in other files: [[override]].
// It is how a shipped rule is turned on and off.
type Override struct {
	// One of them: a rule, or all rules with a tag, or of a shipped set.
	Rule, Tag, Set string
	Mode           *mail.Mode
	Score          *float64
	File           string
	Line           int
}

// ActionKind is what an action does.
type ActionKind uint8

const (
	// Those with a verdict: at most one in a rule.
	Reject ActionKind = iota + 1
	Defer
	Quarantine
	Discard // Final: it beats a quarantine
	// Pass looks at no rule after this one. It lets nothing else past.
	Pass
	// Those that only tell.
	Warn
	Info
	// Score adds the rule's score and does nothing else.
	Score
	// Those that change the header.
	Prepend       // Text is a whole field
	ReplaceHeader // Name: the fields that matched, or all of that name; Text is the new value
	IgnoreHeader  // Name: fields of that name are left out
	TagSubject    // Text is put before the subject
	// Those that change where it goes.
	Redirect // to the address Text, instead of all recipients
	Bcc      // a copy to the address Text
	Route    // by the next hop named Text
)

// Action is one thing that a rule does.
type Action struct {
	Kind  ActionKind
	Final bool
	Name  string // of a header field
	Text  string
}

// Problem is something wrong in a file, or odd (Warning).
type Problem struct {
	File         string
	Line, Column int // from 1; 0 unknown
	Rule         string
	// Text may hold text of the file, escaped. Suggestion is what to write.
	Text, Suggestion string
	// Excerpt is the line of the file, escaped and cut; "" for none.
	Excerpt string
	Warning bool

	mark, width int // characters of Excerpt before the mark, and under it
}
