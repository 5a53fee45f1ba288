// Package filters holds the contract between checks and the engine, and the
// engine: it runs the checks of each stage of the dialogue and turns what they
// found into one decision.
//
// A check looks at a session or a transaction and returns findings. It never
// answers the client, never changes the message and never decides: the same
// finding can be observed, scored or enforced, and the operator can override
// it, without the check knowing. Relay permission, routing, size, loops and
// the limits of the protocol are not checks: they belong to smtpproxy, where
// no mode and no allow list reaches them.
//
// It fails towards the sender trying again: an error, a panic or a timeout of
// a check becomes the finding "<name>.error", whose effect is the check's
// OnError. It is never a silent "clean", never a 5xx, and its text is never
// shown to the client.
//
// # Limits
//
// A timeout ends the wait for a check, not the check: one that ignores its
// context goes on in the background, over a copy of the transaction, and once
// maxLate of its runs hang like that it is not started again until they end.
// Checks that do not declare I/O run in the session's own goroutine and cannot
// be interrupted.
package filters

import (
	"context"
	"errors"
	"time"

	"garita/identity"
	"garita/mail"
	"garita/message"
	"garita/resolver"
	"garita/store"
	"garita/users"
)

// A check implements the stages that it needs. A zero Result is nothing to
// say. A Result and an error may come together: the findings stay, the error
// is a finding more.
type (
	// ConnectChecker looks at a new connection, before anything was said.
	ConnectChecker interface {
		CheckConnect(ctx context.Context, s *mail.Session) (Result, error)
	}
	// HeloChecker looks at each HELO or EHLO; a later one replaces what an
	// earlier one led to.
	HeloChecker interface {
		CheckHelo(ctx context.Context, s *mail.Session) (Result, error)
	}
	// MailChecker looks at the reverse-path.
	MailChecker interface {
		CheckMail(ctx context.Context, tx *mail.Transaction) (Result, error)
	}
	// RcptChecker looks at one forward-path, before the next hop is asked.
	// tx.ForwardPaths holds those accepted so far.
	RcptChecker interface {
		CheckRcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) (Result, error)
	}
	// DataChecker looks before 354.
	DataChecker interface {
		CheckData(ctx context.Context, tx *mail.Transaction) (Result, error)
	}
	// MessageChecker looks at the whole message.
	MessageChecker interface {
		CheckMessage(ctx context.Context, tx *mail.Transaction) (Result, error)
	}
	// Finisher is told how a transaction ended: refunds, learning.
	Finisher interface {
		Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) error
	}
)

// Result is what a check has to say. Of a Finding it fills Symbol
// ("access.client"), Score, Verdict, and as it likes Final, Detail, Where,
// Rule and Reply, and Mode where this finding may do less than the check (see
// Part); the engine fills the rest. Detail and Where may hold hostile
// text, a Reply must not. Auth, Edits and Envelope belong to a transaction:
// at connect and HELO they are dropped. Edits, Envelope, Disarm and Rewrite
// count only in mode enforce.
type Result struct {
	Findings []mail.Finding
	Auth     []mail.AuthResult
	// Edits change the header of the message. Where two of them want the same
	// octets, the first counts, by the order of checks and then of the list;
	// the other is left out, and the log says so.
	Edits []message.Edit
	// Envelope changes where the message goes, if it goes on.
	Envelope []mail.EnvelopeEdit
	// Disarm are edits of the body, of a CheckMessage alone: what the finding
	// is about is taken out of the message, whose original is kept. A finding
	// that comes with them has no verdict of its own.
	Disarm []message.Edit
	// Rewrite are edits of the body that the operator's own tables ask for
	// (PREPEND, REPLACE, IGNORE and STRIP of body_checks), of a CheckMessage
	// alone; edits of header fields in parts, beyond Message.HeaderEnd, are of
	// this kind. As with Disarm the result is indexed and judged again, once,
	// before it goes on; but it is no disarming: no original is kept, and no
	// field tells of it. At the second look tx.Rewritten is set, and Rewrite
	// is not asked for: the tables do not match what they have put there, as in
	// Postfix. What goes together with Disarm and Edits is made all together or
	// not at all: where Rewrite and Disarm want the same octets the message is
	// held as it came. Two of Rewrite that do are settled as in Edits. A
	// message that is held keeps its body as it came.
	Rewrite []message.Edit
}

// Found makes the usual Result of one finding.
func Found(f mail.Finding) Result { return Result{Findings: []mail.Finding{f}} }

// Class is how far a check is within reach of allow lists and modes.
type Class uint8

const (
	// Scoring checks are skipped where an Accept is in force. Most are this.
	Scoring Class = iota
	// Policy checks run and count in spite of an Accept (access lists, virus).
	// Only they may give an Accept. One exception: a recipient's own Accept
	// sets aside what they found before RCPT, so that postmaster stays
	// reachable for a client that is denied.
	Policy
	// Mandatory checks are out of reach of modes, Accept, overrides and
	// global observe.
	Mandatory
)

// OnError is the effect of an error, a panic or a timeout.
type OnError uint8

const (
	// ContinueOnError only logs it: for checks whose silence is bearable.
	ContinueOnError OnError = iota
	// DeferOnError answers 451: for what mail must not pass unseen.
	DeferOnError
)

// ParseOnError reads continue or defer.
func ParseOnError(s string) (OnError, bool) {
	switch s {
	case "continue":
		return ContinueOnError, true
	case "defer":
		return DeferOnError, true
	}
	return 0, false
}

// ErrWouldWait is the error of a Cached check that cannot answer from memory.
var ErrWouldWait = errors.New("the answer is not in memory")

// DefaultTimeout is the time that a check with I/O has when it names none.
const DefaultTimeout = 10 * time.Second

// Check is one entry of the list of checks.
type Check struct {
	// Name is the folder's name and the first word of every symbol.
	Name string
	// Impl has at least one of the stage methods above, safe for concurrent
	// use.
	Impl    any
	Mode    mail.Mode
	Class   Class
	OnError OnError
	// IO says that a stage may block: it runs in a goroutine of its own, over
	// a copy of the transaction, for at most Timeout.
	IO      bool
	Timeout time.Duration
	// Cached says that with I/O its answer is mostly in memory: it is first
	// asked in the session's goroutine under resolver.FromCache, and only when
	// it then returns ErrWouldWait as one with I/O. It has no effects before
	// that. Not with Needs.
	Cached bool
	// Needs names earlier checks whose findings and authentication results
	// must be in the transaction when this one starts.
	Needs []string
}

// Site is what checks know about ourselves.
type Site struct {
	Hostname  string
	Domains   []string // that we relay for
	Addresses []string // our own, as text without port
	NextHops  []string // by the names of their tables; nil: they are not known
	// Resolver is the DNS; nil where there is none (offline tests): checks
	// that need it say nothing then.
	Resolver resolver.Resolver
	// Store keeps what shall survive a restart; nil: nothing does.
	Store store.Store
	// Users are the suspended ones, and those with limits of their own; nil:
	// there are none.
	Users *users.Registry
	// Names is the rule by which two names are one user.
	Names identity.Names
	// Event is told what somebody should be told of at once: kind is a constant
	// of the check ("over"), subject whom it is about. It must not block. nil is
	// nobody.
	Event func(check, kind, subject, text string)
	// Log is told what a check has to say to the operator beside its findings:
	// a helper that is gone or back. nil is silence.
	Log func(check, text string, err error)
}

// Logger is Log for one check, never nil.
func (s Site) Logger(check string) func(text string, err error) {
	if s.Log == nil {
		return func(string, error) {}
	}
	return func(text string, err error) { s.Log(check, text, err) }
}
