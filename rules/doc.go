// Package rules is the rule language: what a message must look like, in short
// conditions that can be read aloud, and what is then done. Rules stand in TOML
// files (docs/rules.md); Parse reads one file, Compile makes a Set of all, Set.Match
// says which rules hit a message, and where.
//
// A condition about text sees what a reader sees: charsets, transfer encodings
// and encoded words are decoded in every reading of the message index, case,
// accents and the breaking of lines do not matter. The raw subjects see
// octets.
//
// What it does not do: it decides nothing and changes nothing. Postfix's own
// tables are rules/postfix; the sets that we ship are rules/builtin.
//
// It fails towards the operator: a mistake in a file is a Problem with line,
// column and a suggestion, and no rule of any file counts until there is none.
// A condition that was given up over its budget is neither true nor false: the
// rule is in Result.GivenUp, never a silent "no match" (attacks ).
//
// # How it is fast
//
// Conditions are kept once for all rules, by what they look at. Each view of a
// message is made once, and only if some rule that is still open asks for it.
// One search goes over the text as it is, for the rarest word of each phrase and
// the literals of each pattern; only where one stands is a phrase compared, or
// a pattern run over the line or the few words that it can reach. HTML is taken
// to pieces once for its tags and its text.
//
// # Limits
//
// MaxFile, MaxRules, MaxConditions, MaxValues; pattern's own. Of a hit MaxPlaces
// places are kept. Of one part 16 readings and 16 charsets are read, of a message
// 64 MB and three times its size in all of them together; searches compare 16
// literals for each octet and 256 million besides; a folded text is
// at most three times as long as the text and a MB. What is beyond leaves its
// conditions unknown. Of a text that is attached as a file, and that no reader
// shows beside the letter, the first 4 MB are read. A pattern that backtracks is
// not tried on more than 4 MB: it is given up. While a text is looked at there
// are at most its decoded form and its folded form beside the index; between
// messages each run keeps buffers of at most 16 MB, for mail of usual size some
// hundred KB. Fields, names and parts beyond the limits of the index are not
// seen here: filters/mime holds such mail (unfinished).
package rules

const (
	// MaxFile is the largest rule file.
	MaxFile = 4 << 20
	// MaxRules bounds the rules of all files.
	MaxRules = 20_000
	// MaxConditions bounds the conditions of one rule.
	MaxConditions = 100
	// MaxValues bounds the values of one condition ("is … or …").
	MaxValues = 500
	// MaxPlaces bounds the places that are told of one hit.
	MaxPlaces = 10
)
