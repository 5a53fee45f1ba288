package rules

// Set is compiled rules. It never changes and is safe for use by many at once.
type Set struct {
	rules []*Rule
}

// Compile makes a set of files, in their order, with their overrides applied.
// An ID that is used twice is a problem, and so is an override of nothing. The
// set may be used only when there is no problem but warnings. Rules of mode off
// are in Rules and not looked at.
func Compile(files []*File) (*Set, []Problem) { panic("to be written") }

// Rules are all rules in order, with the mode and score that are in force.
func (s *Set) Rules() []*Rule { return s.rules }
