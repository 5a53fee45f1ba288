package rules

import (
	"context"

	"garita/rules/pattern"
)

// Match says which rules hold of a message. Between rules it heeds ctx: those
// that are left then are given up.
func (s *Set) Match(ctx context.Context, in Input, b *pattern.Budget, o MatchOptions) Result {
	panic("to be written")
}
