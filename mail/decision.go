package mail

import (
	"time"

	"garita/message"
)

// Verdict is what is to happen, in rising order of severity. Accept stands
// apart: it skips scoring checks and never the mandatory ones.
type Verdict int8

const (
	Continue Verdict = iota
	Discard
	Quarantine
	Defer
	Reject
	Accept Verdict = -1
)

// String gives the verdict as the log and the commands spell it.
func (v Verdict) String() string {
	switch v {
	case Continue:
		return "continue"
	case Discard:
		return "discard"
	case Quarantine:
		return "quarantine"
	case Defer:
		return "defer"
	case Reject:
		return "reject"
	case Accept:
		return "accept"
	}
	return "unknown"
}

// Stage is the point of the dialogue at which a check looks.
type Stage uint8

const (
	StageConnect Stage = iota + 1
	StageHelo
	StageMail
	StageRcpt
	StageData
	StageMessage
)

// String gives the stage in lower case.
func (s Stage) String() string {
	switch s {
	case StageConnect:
		return "connect"
	case StageHelo:
		return "helo"
	case StageMail:
		return "mail"
	case StageRcpt:
		return "rcpt"
	case StageData:
		return "data"
	case StageMessage:
		return "message"
	}
	return "unknown"
}

// Mode is how much a check or rule may do.
type Mode uint8

const (
	// Enforce lets the verdict and the score count. It is the zero value.
	Enforce Mode = iota
	// Score lets only the score count.
	Score
	// Observe logs what would have been done, changes nothing, but learns.
	Observe
	// Off does not run.
	Off
)

// String gives the mode as the configuration spells it.
func (m Mode) String() string {
	switch m {
	case Enforce:
		return "enforce"
	case Score:
		return "score"
	case Observe:
		return "observe"
	case Off:
		return "off"
	}
	return "unknown"
}

// ParseMode reads off, observe, score or enforce.
func ParseMode(s string) (Mode, bool) {
	for _, m := range []Mode{Enforce, Score, Observe, Off} {
		if m.String() == s {
			return m, true
		}
	}
	return 0, false
}

// Finding is one thing that a check saw. Detail and Where may hold hostile
// text: whoever shows them escapes them.
type Finding struct {
	Symbol, Filter, Detail, Where string
	Rule                          string // file:line
	Stage                         Stage
	Mode                          Mode
	Score                         float64
	Verdict                       Verdict
	Reply                         *Reply
	Rcpt                          *Recipient // nil: the whole transaction
	Counted                       bool       // false when a mode or an Accept kept it from counting
	// Final, with Discard, makes it beat Quarantine.
	Final bool
}

// CheckRun is how one check went.
type CheckRun struct {
	Check string
	Stage Stage
	Took  time.Duration
	Err   error
}

// EnvelopeKind is what an EnvelopeEdit does, in the words of the rules.
type EnvelopeKind = string

const (
	// EditRedirect sends the message to one address, To, in the place of all
	// its recipients. It beats EditRoute; of several the last one counts.
	EditRedirect EnvelopeKind = "redirect"
	// EditBCC sends it to one recipient more, To, of whom nobody is told.
	EditBCC EnvelopeKind = "bcc"
	// EditRoute sends it, for all its recipients, by the next hop with the
	// configured name Hop. Of several the last one counts.
	EditRoute EnvelopeKind = "route"
)

// EnvelopeEdit changes where a message goes that was judged and goes on. What
// is held, refused or discarded goes where it went.
type EnvelopeEdit struct {
	Kind EnvelopeKind
	From *Recipient // nil: all
	To   Recipient  // of EditRedirect and EditBCC; the path alone counts
	Hop  string     // of EditRoute
	Rule string     // who asked for it, for the log
}

// Decision is what the engine concluded of a stage. Its zero value lets the
// dialogue go on.
type Decision struct {
	Verdict  Verdict
	Reply    Reply // for Defer and Reject
	Score    float64
	Because  []Finding
	Runs     []CheckRun
	Edits    []message.Edit
	Envelope []EnvelopeEdit
	// Disarm are edits of the body, sorted and apart, that take out what is
	// dangerous. They count only where the message is relayed, and then all of
	// them or none; the wire has the result judged again (Policy.Again) and
	// keeps the original.
	Disarm []message.Edit
	// Rewrite are edits of the body, sorted and apart from each other and from
	// Disarm, that the operator's tables ask for. They are made where and as
	// Disarm's are, in the same round, but no original is kept on their account.
	Rewrite []message.Edit
	// Mandatory tells that a mandatory check has a verdict of its own here:
	// the wire sets the decision aside for nobody.
	Mandatory bool
	// Close asks for the connection to be closed after the reply. The wire
	// heeds it only towards clients that are not trusted relays.
	Close bool
}

// OutcomeKind is how a transaction ended.
type OutcomeKind uint8

const (
	// Aborted: the client went away or gave up before the end of data.
	Aborted OutcomeKind = iota
	// Relayed: the next hop answered 2xx to the end of data.
	Relayed
	// Held: the message is durably held here.
	Held
	// Refused: the client was answered 4xx or 5xx.
	Refused
	// Discarded: an explicit rule dropped the message.
	Discarded
	// Ambiguous: the next hop had the whole message and its answer was lost;
	// the client was told to try again, so a duplicate is possible.
	Ambiguous
)

// String gives the kind as the log spells it.
func (k OutcomeKind) String() string {
	switch k {
	case Aborted:
		return "aborted"
	case Relayed:
		return "relayed"
	case Held:
		return "held"
	case Refused:
		return "refused"
	case Discarded:
		return "discarded"
	case Ambiguous:
		return "ambiguous"
	}
	return "unknown"
}

// Outcome is how a transaction ended, for Finish, the log and the journal.
type Outcome struct {
	Kind OutcomeKind
	// Replies holds the final answer that the client was given: one for SMTP.
	Replies []Reply
	// NextHop is "name[addr]:port" of the next hop that was asked, if any.
	NextHop string
	// NextHopReply is what the next hop said to the end of data (or the fault
	// of ours that stood in for it); the log's parenthesis.
	NextHopReply string
	// QueueID is the next hop's queue id where its reply told one.
	QueueID string
	// TLS describes the connection to the next hop, empty in clear text.
	TLS string
	// Detail is for the operator alone: what went wrong, never shown outside.
	Detail string
	// Envelope are the edits of the envelope that were carried out, and
	// Recipients those that the next hop was given on their account, with the
	// address that they stand for as Alias. Both are empty where the envelope
	// went on as the client gave it.
	Envelope   []EnvelopeEdit
	Recipients []Recipient
	Steps      Steps
}

// Steps are the durations of a transaction's parts.
type Steps struct {
	Receive time.Duration // MAIL to the end of data
	Check   time.Duration // the engine on the message
	Relay   time.Duration // DATA to the next hop's final reply
}
