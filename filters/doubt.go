package filters

import (
	"crypto/sha256"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"garita/mail"
	"garita/message"
)

// maxDoubts bounds the messages that a check remembers as doubtful.
const maxDoubts = 1024

// doubts are messages by their digests; the oldest is forgotten for a new one.
type doubts struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]bool
	order [][sha256.Size]byte
}

// again notes a message and tells whether it was there before.
func (d *doubts) again(m *message.Message) (bool, error) {
	h := sha256.New()
	if _, err := io.Copy(h, m.Raw()); err != nil {
		return false, err
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[sum] {
		return true, nil
	}
	if d.known == nil {
		d.known = map[[sha256.Size]byte]bool{}
	}
	if len(d.order) >= maxDoubts {
		delete(d.known, d.order[0])
		d.order = d.order[1:]
	}
	d.known[sum], d.order = true, append(d.order, sum)
	return false, nil
}

// What is done about a message that a check gave up over its budget.
const (
	// DeferThenQuarantine puts it off once, since a busy machine may have been
	// the reason, and has a person look at it when it comes back.
	DeferThenQuarantine = "defer-then-quarantine"
	doubtDefer          = "defer"
	doubtQuarantine     = "quarantine"
	doubtContinue       = "continue"
)

// Doubt decides about messages that a check gave up over its budget: what was
// not looked at to its end is never "no match" (attacks ).
type Doubt struct {
	what string
	seen doubts
}

// NewDoubt reads defer-then-quarantine, defer, quarantine or continue.
func NewDoubt(what string) (*Doubt, error) {
	switch what {
	case DeferThenQuarantine, doubtDefer, doubtQuarantine, doubtContinue:
		return &Doubt{what: what}, nil
	}
	return nil, fmt.Errorf("%q: must be defer-then-quarantine, defer, quarantine or continue", what)
}

// About gives the verdict about a message, and the reply of a Defer. Which
// message was put off is forgotten at a restart: then it is put off once more.
func (d *Doubt) About(m *message.Message) (mail.Verdict, *mail.Reply, error) {
	v := mail.Defer
	switch d.what {
	case doubtContinue:
		return mail.Continue, nil, nil
	case doubtQuarantine:
		return mail.Quarantine, nil, nil
	case DeferThenQuarantine:
		again, err := d.seen.again(m)
		if err != nil {
			return mail.Defer, nil, err
		}
		if again {
			return mail.Quarantine, nil, nil
		}
	}
	r := mail.Temporary(451, "3.0", "The message could not be checked in time, try again later")
	return v, &r, nil
}

// Poison keeps a message that makes a check panic from coming back for days:
// the first time is a fault, the second a held message (attacks Z-21).
type Poison struct {
	Check string
	seen  doubts
}

// Crashed makes an error of a panic, or a finding of the second one about the
// same message.
func (p *Poison) Crashed(m *message.Message, panicked any) (Result, error) {
	fault := fmt.Errorf("%s: the check crashed: %v\n%s", p.Check, panicked, debug.Stack())
	if again, err := p.seen.again(m); err != nil || !again {
		return Result{}, fault
	}
	return Found(mail.Finding{Symbol: p.Check + ".crash", Verdict: mail.Quarantine,
		Detail: "the message made this check fail twice (poison): it was not looked at"}), nil
}
