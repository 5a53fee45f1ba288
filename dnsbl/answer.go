package dnsbl

import (
	"errors"
	"fmt"
	"net/netip"

	"garita/resolver"
)

// State is what a list said.
type State uint8

const (
	// Unknown: nothing that counts. Zero.
	Unknown State = iota
	// Clean: it does not list that.
	Clean
	// Listed: it does, and may be believed.
	Listed
	// Refused: it answered that it does not answer us.
	Refused
	// Foreign: what answered is not the list.
	Foreign
	// Failed: no answer.
	Failed
	// Skipped: it is suspended or on probation, and does not count.
	Skipped
	// Doubted: it lists what there is reason not to believe.
	Doubted
)

// String gives the state as metrics and commands spell it.
func (s State) String() string {
	return [...]string{"unknown", "clean", "listed", "refused", "foreign", "failed", "skipped", "doubted"}[s]
}

// Answer is what a list said of one name.
type Answer struct {
	State State
	// Code is the answer that decided, Meaning what it means.
	Code    netip.Addr
	Meaning string
	Weight  float64
	// Fault says why there is nothing that counts; no key is in it.
	Fault string
}

// maxAnswers is how many records an honest answer may have (attacks D-05).
const maxAnswers = 16

// refusing is 127.255.255.0/24, where Spamhaus and others say that they do not
// answer: never a listing.
func refusing(b [4]byte) bool { return b[0] == 127 && b[1] == 255 && b[2] == 255 }

// refusal are Spamhaus's words for such an answer.
func refusal(last byte) string {
	switch last {
	case 252:
		return "the name of the zone is mistyped"
	case 254:
		return "questions come by a public or open resolver: use one of your own"
	case 255:
		return "too many questions: the free use is exceeded"
	}
	return "questions from here are not answered"
}

// Classify says what an answer means. An answer that is an error wins over all
// others beside it (attacks D-05).
func (l *List) Classify(addrs []netip.Addr, err error) Answer {
	switch {
	case errors.Is(err, resolver.ErrNotFound):
		return Answer{State: Clean}
	case err != nil:
		// The resolver's text has the name in it, and so the key.
		return Answer{State: Failed, Fault: "no answer"}
	case len(addrs) == 0:
		return Answer{State: Clean}
	case len(addrs) > maxAnswers:
		return Answer{State: Foreign, Code: addrs[0], Fault: fmt.Sprintf("%d records in one answer", len(addrs))}
	}
	var out Answer
	for _, a := range addrs {
		a = a.Unmap()
		if !a.Is4() || a.As4()[0] != 127 {
			return Answer{State: Foreign, Code: a, Fault: "the answer " + a.String() + " is outside of 127.0.0.0/8"}
		}
	}
	for _, a := range addrs {
		if bad, why := l.refuses(a.Unmap()); bad {
			return Answer{State: Refused, Code: a.Unmap(), Fault: "the answer " + a.Unmap().String() + " says: " + why}
		}
	}
	for _, a := range addrs {
		a = a.Unmap()
		c, ok := l.codeOf(a)
		if !ok {
			if out.State == Unknown {
				out = Answer{State: Clean, Code: a, Meaning: "a code without a meaning here"}
			}
			continue
		}
		if out.State != Listed || stronger(c.Weight, out.Weight) {
			out = Answer{State: Listed, Code: a, Meaning: c.Meaning, Weight: c.Weight}
		}
	}
	return out
}

// stronger tells the weight that counts of two in one answer: the worse, and of
// two good ones the better.
func stronger(a, b float64) bool {
	if a <= 0 && b <= 0 {
		return a < b
	}
	return a > b
}

// refuses tells an answer that is an error.
func (l *List) refuses(a netip.Addr) (bool, string) {
	b := a.As4()
	if refusing(b) {
		return true, refusal(b[3])
	}
	named := false
	for i := range l.Codes {
		c := &l.Codes[i]
		if !c.Pattern.Match(a) {
			continue
		}
		if c.Error {
			return true, c.Meaning
		}
		named = true
	}
	// 127.0.0.1 is what a broken resolver answers to everything, and "refused"
	// in bitmask lists; it counts where a list says so itself.
	if b == [4]byte{127, 0, 0, 1} && !named {
		return true, "nothing that a list means"
	}
	return false, ""
}

func (l *List) codeOf(a netip.Addr) (best Code, ok bool) {
	if len(l.Codes) == 0 {
		return Code{Weight: l.Weight, Meaning: "listed"}, true
	}
	for _, c := range l.Codes { // a bitmask may match several
		if !c.Error && c.Pattern.Match(a) && (!ok || stronger(c.Weight, best.Weight)) {
			best, ok = c, true
		}
	}
	return best, ok
}
