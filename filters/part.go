package filters

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"garita/mail"
	"garita/resolver"
)

// maxPoints bounds a configured score: far beyond any threshold.
const maxPoints = 100

// Part is one of several things that a check looks for, with a mode and points
// of its own. It does no more than the mode of its check allows.
type Part struct {
	Key    string // of the mode; the points are Key + "_score"
	Symbol string
	Mode   string
	Score  float64
}

// Validate gives every mistake, each naming its key.
func (p Part) Validate() (errs []error) {
	if _, ok := mail.ParseMode(p.Mode); !ok {
		errs = append(errs, fmt.Errorf("%s = %q: must be off, observe, score or enforce", p.Key, p.Mode))
	}
	if math.IsNaN(p.Score) || p.Score < -maxPoints || p.Score > maxPoints {
		errs = append(errs, fmt.Errorf("%s_score = %v: must be from %d to %d", p.Key, p.Score, -maxPoints, maxPoints))
	}
	return errs
}

// Off tells that the part is not looked for.
func (p Part) Off() bool { return p.Mode == mail.Off.String() }

// Found is the Result of the part: nothing when it is off. The reply, if any,
// says what enforce does; detail may be hostile text.
func (p Part) Found(detail string, reply *mail.Reply) Result {
	mode, ok := mail.ParseMode(p.Mode)
	if !ok || mode == mail.Off {
		return Result{}
	}
	f := mail.Finding{Symbol: p.Symbol, Mode: mode, Score: p.Score, Detail: detail, Reply: reply}
	switch {
	case reply == nil:
	case reply.Temporary():
		f.Verdict = mail.Defer
	case reply.Permanent():
		f.Verdict = mail.Reject
	}
	return Found(f)
}

// Unsure is what a check says of a look-up that failed: seen in the log, and
// without any effect, since a failure of the DNS says nothing about the mail.
func Unsure(symbol string, err error) (Result, error) {
	if errors.Is(err, resolver.ErrNotCached) {
		return Result{}, ErrWouldWait
	}
	return Found(mail.Finding{Symbol: symbol, Mode: mail.Observe, Detail: err.Error()}), nil
}

// Stranger tells that the checks about a client and what it says of itself
// apply: not to trusted peers, users who logged in, the listeners that only
// they may use, or the MTA that hands mail to a content filter.
func Stranger(s *mail.Session) bool {
	return !s.Trusted && s.Login == "" && s.Role != mail.Outbound && s.Role != mail.ContentFilter && !s.Client.Addr().Unmap().IsLoopback()
}

// Printable makes text of a stranger printable ASCII, and at most limit octets
// of it (attacks I11).
func Printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
