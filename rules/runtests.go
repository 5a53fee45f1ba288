package rules

import (
	"context"

	"garita/message"
)

// RunTests runs the tests of rules, each against its own rule alone, whatever
// its mode, direction and date. The problems are those that came out otherwise.
// limits are those of the message index.
func RunTests(ctx context.Context, s *Set, limits message.IndexLimits) []Problem {
	panic("to be written")
}
