package smtpproxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"garita/mail"
	"garita/message"
)

// complete is the end of data: the message has arrived whole. What follows
// has the time that the role's ReplyTimeout gives (design section 4.11).
func (s *session) complete(ctx context.Context) {
	t := s.tx
	ctx, cancel := context.WithTimeout(ctx, s.ln.ReplyTimeout)
	defer cancel()
	o := s.judge(ctx)
	o.Steps.Receive = time.Since(t.started) - o.Steps.Check - o.Steps.Relay
	s.conclude(ctx, o)
}

// judge decides what becomes of the message and does it.
func (s *session) judge(ctx context.Context) mail.Outcome {
	t := s.tx
	if bad := s.arrived(); bad != nil {
		return refused(*bad)
	}
	msg, err := t.body.builder.Finish()
	t.body.builder = nil
	if err != nil {
		s.srv.log.Warn("smtpd", "message could not be kept", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(mail.Temporary(452, "3.1", "Insufficient system storage"))
	}
	t.Message = msg
	if bad := s.looped(msg); bad != nil {
		return refused(*bad)
	}
	begun := time.Now()
	d := s.set.Policy.Message(ctx, &t.Transaction)
	msg.DropIndex() // what follows may wait for the next hop
	took := time.Since(begun)
	o := s.act(ctx, d)
	o.Steps.Check += took
	return o
}

// arrived tells why a message that came to its end is refused all the same.
func (s *session) arrived() *mail.Reply {
	b := s.tx.body
	var r mail.Reply
	switch {
	case errors.Is(b.err, message.ErrTooBig):
		r = mail.Permanent(552, "3.4", "Error: message too big")
	case b.err != nil:
		s.srv.log.Warn("smtpd", "message could not be kept", slog.String("id", s.tx.ID), slog.String("error", b.err.Error()))
		r = mail.Temporary(452, "3.1", "Insufficient system storage")
	case b.doubtful:
		// Nothing behind an end that others may not take for one is executed.
		s.srv.log.ClientWarn(&s.s, "message refused: its end mark stands behind CR CR LF; connection closed", slog.String("id", s.tx.ID))
		s.close()
		r = mail.Permanent(550, "5.2", "Error: bare carriage return before the end of the message")
	default:
		what := b.offence(s.ln.body)
		if what == "" {
			return nil
		}
		s.srv.log.ClientWarn(&s.s, "message refused: not allowed in a message", slog.String("what", what), slog.String("id", s.tx.ID),
			slog.Int("bare_lf", b.lf), slog.Int("bare_cr", b.cr), slog.Int("nul", b.nul))
		r = mail.Permanent(550, "5.2", "Error: "+what+" in the message")
	}
	return &r
}

// act carries the decision out.
func (s *session) act(ctx context.Context, d mail.Decision) mail.Outcome {
	t := s.tx
	verdict := d.Verdict
	if s.setsAside(d) {
		verdict = mail.Continue
	}
	if verdict == mail.Reject && s.ln.RejectAs == "hold" {
		verdict = mail.Quarantine
	}
	if t.toHold != nil && verdict != mail.Defer && verdict != mail.Reject {
		// An earlier stage's reject that became a hold: what was found then is
		// why, if nothing was found since.
		if verdict != mail.Quarantine {
			verdict, d.Verdict, d.Because = mail.Quarantine, t.toHold.Verdict, append(t.toHold.Because, d.Because...)
		}
	}
	switch verdict {
	case mail.Reject, mail.Defer:
		return refused(decisionReply(d))
	case mail.Discard:
		return mail.Outcome{Kind: mail.Discarded, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: discarded as "+t.ID)}}
	}
	if verdict != mail.Quarantine {
		s.spares(&d)
		if len(d.Disarm)+len(d.Rewrite) > 0 {
			return s.editBody(ctx, d)
		}
	}
	body, err := t.Message.Render(s.edits(t.Message, d.Edits))
	if err != nil {
		s.srv.log.Warn("smtpd", "message could not be rendered", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyInternal)
	}
	if verdict == mail.Quarantine {
		return s.hold(ctx, d, body)
	}
	return s.relay(ctx, d, body)
}

// relay offers the message to the next hop, or to the one that the rules name.
func (s *session) relay(ctx context.Context, d mail.Decision, body Body) mail.Outcome {
	t := s.tx
	begun := time.Now()
	var r readdressed
	if len(d.Envelope) > 0 {
		var ok bool
		if r, ok = s.readdress(ctx, d.Envelope); !ok {
			o := refused(replyAstray)
			o.Detail, o.Steps.Relay = r.note, time.Since(begun)
			return o
		}
	}
	o := t.delivery.Data(ctx, body)
	t.delivery = nil
	r.tell(&o)
	o.Steps.Relay = time.Since(begun)
	if o.Kind == mail.Relayed && (len(o.Replies) != 1 || !o.Replies[0].Positive()) || len(o.Replies) == 0 {
		// The promise above all: no 250 without the next hop's own.
		o.Kind, o.Replies = mail.Ambiguous, []mail.Reply{replyInternal}
	}
	return o
}

// hold puts the message into the holding place. Without one it stays with the
// sender: a quarantine verdict without a Keeper is 451.
func (s *session) hold(ctx context.Context, d mail.Decision, body Body) mail.Outcome {
	if s.set.Keeper == nil {
		o := refused(mail.Temporary(451, "7.1", "Held back by local policy"))
		o.Detail = "verdict " + d.Verdict.String() + " and no holding place"
		return o
	}
	d.Because = append(slices.Clip(d.Because), notReaddressed(d.Envelope)...)
	id, err := s.set.Keeper.Hold(ctx, &s.tx.Transaction, d, body)
	if err != nil {
		s.srv.log.Warn("smtpd", "message could not be held", slog.String("id", s.tx.ID), slog.String("error", err.Error()))
		o := refused(replyInternal)
		o.Detail = "verdict " + d.Verdict.String() + " and the holding place takes nothing"
		return o
	}
	return mail.Outcome{Kind: mail.Held, QueueID: id, Detail: "held as " + id, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: held as "+id)}}
}

func refused(r mail.Reply) mail.Outcome {
	return mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}}
}

// conclude ends the transaction with an outcome and answers the client.
func (s *session) conclude(ctx context.Context, o mail.Outcome) {
	s.messages++
	if o.Kind != mail.Refused && o.Kind != mail.Aborted {
		s.junk = 0 // MAIL and RSET in turn, and never a message, is chatter
	}
	r := o.Replies[0]
	s.endTransaction(ctx, o)
	if o.Kind == mail.Refused {
		s.refuseWith(r)
		return
	}
	s.out.reply(r)
}

// codeEnd is the reply with which a session ends (RFC 5321 section 3.8).
const codeEnd = 421

// refuseWith answers a refusal. "Try again" is no error of the client's; it
// counts as chatter, so that there is an end to trying in one session.
func (s *session) refuseWith(r mail.Reply) {
	if r.Code == codeEnd && s.ownUser() {
		s.endWith(r)
		return
	}
	if r.Temporary() {
		s.chatter(r)
		return
	}
	s.fail(r)
}

// dropTransaction ends a transaction that the client gave up. The outcome must
// not be in run's frame: an idle session's stack is halved to 4 KB only while
// its frames take less than 1,248 octets (trim.go).
//
//go:noinline
func (s *session) dropTransaction(ctx context.Context, by string) {
	o := mail.Outcome{Kind: mail.Aborted, Detail: by}
	if t := s.tx; t != nil && t.tried > 0 && len(t.ForwardPaths) == 0 {
		o.Kind = mail.Refused // every recipient was: there was nothing left to abort
	}
	s.endTransaction(ctx, o)
}

// endTransaction is the one way out of a transaction: every resource is given
// back, the checks and the log are told, and the value is dropped whole.
func (s *session) endTransaction(ctx context.Context, o mail.Outcome) {
	t := s.tx
	if t == nil {
		return
	}
	s.tx = nil
	if t.delivery != nil {
		t.delivery.Abort()
	}
	s.srv.stats.count(o.Kind)
	// The checks hear of it even when the time of the message has run out.
	s.set.Policy.Finish(context.WithoutCancel(ctx), &t.Transaction, o)
	if len(t.ForwardPaths) > 0 {
		s.srv.log.Transaction(&t.Transaction, o)
	}
	t.body.drop()
	if t.Message != nil {
		t.Message.Release()
	}
}
