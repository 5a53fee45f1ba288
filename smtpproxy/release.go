package smtpproxy

import (
	"context"

	"garita/mail"
)

// Sent is what one transaction of a message of our own came to: a release
// from the holding place, a notice.
type Sent struct {
	// Outcome is of kind Relayed (Took have it), Ambiguous (Took may have it)
	// or Refused. Its first reply says why not.
	Outcome mail.Outcome
	// Took are the recipients that the outcome is about.
	Took []mail.Recipient
	// Refused are those that the next hop does not take, each with its reply.
	Refused []Refusal
	// Left are those that it takes in a transaction of their own (LMTP, too
	// many recipients).
	Left []mail.Recipient
}

// Refusal is the reply to one recipient.
type Refusal struct {
	Recipient mail.Recipient
	Reply     mail.Reply
}

// Send offers a message to a next hop in one transaction. It passes no check
// and no route: a held message was judged, and is not judged again (design
// section 4.8; the caller has chosen the next hop). The promise is that of
// every delivery: only Relayed means that the next hop has it.
//
// tx gives the envelope's parameters and the client that the next hop's log
// names; to are the recipients of this call. ctx bounds it.
func Send(ctx context.Context, hop NextHop, tx *mail.Transaction, to []mail.Recipient, m Body) Sent {
	var s Sent
	d := hop.Begin(tx)
	ended := false
	defer func() { // by a panic too: no connection is left half-used
		if !ended {
			d.Abort()
		}
	}()
	for i, r := range to {
		reply, err := d.Rcpt(ctx, r)
		switch {
		case reply.Positive():
			s.Took = append(s.Took, r)
		case len(s.Took) > 0 && reply.Code == 452 && reply.Enhanced == replyAlone.Enhanced:
			s.Left = append(s.Left, to[i:]...)
		default:
			s.Refused = append(s.Refused, Refusal{r, reply})
		}
		if err != nil && s.Outcome.Detail == "" {
			s.Outcome.Detail = err.Error()
		}
		if len(s.Left) > 0 {
			break
		}
	}
	if len(s.Took) == 0 {
		s.Outcome.Kind = mail.Refused
		if len(s.Refused) > 0 {
			s.Outcome.Replies = []mail.Reply{s.Refused[0].Reply}
		}
		return s
	}
	ended = true
	s.Outcome = d.Data(ctx, m)
	if o := &s.Outcome; len(o.Replies) == 0 || o.Kind == mail.Relayed && (len(o.Replies) != 1 || !o.Replies[0].Positive()) {
		o.Kind, o.Replies = mail.Ambiguous, []mail.Reply{replyInternal}
	}
	return s
}
