package smtpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"garita/mail"
	"garita/message"
)

// fieldDisarmed names the kept original to whoever reads the message.
const fieldDisarmed = "X-Garita-Disarmed"

// What can keep the body of a message from being edited: it is held as it came.
const (
	notFit  = ".conflict" // the edits do not fit together
	notSafe = ".again"    // what would be left was judged, too
)

// why names the edits of a body for findings: those that take out what is
// dangerous, or those that the operator's tables ask for alone.
func why(d *mail.Decision) string {
	if len(d.Disarm) > 0 {
		return "disarm"
	}
	return "rewrite"
}

// spares takes out of the decision what does not count for a message to role
// addresses alone, as setsAside does with the verdict: it goes where it was
// sent, as it came. A copy more takes it from nobody.
func (s *session) spares(d *mail.Decision) {
	t := s.tx
	if !t.exempt {
		return
	}
	copies := slices.DeleteFunc(slices.Clone(d.Envelope), func(e mail.EnvelopeEdit) bool { return e.Kind != mail.EditBCC })
	if len(d.Disarm)+len(d.Rewrite) > 0 || len(copies) < len(d.Envelope) {
		t.Exempt = "postmaster"
	}
	d.Disarm, d.Rewrite, d.Envelope = nil, nil, copies
}

// editBody edits the body of the message: it takes out what the checks want out
// of it and puts in what the operator's tables say, has what is left judged as
// a message of its own, keeps the original if something was disarmed, and
// relays the rest: all of it or nothing. In this order a kill at any instant
// loses nothing; it may leave a copy too many.
//
// What cannot be done, or is no better afterwards, is held as it came. A fault
// of ours, no room among them, leaves the message with its sender.
func (s *session) editBody(ctx context.Context, d mail.Decision) mail.Outcome {
	t := s.tx
	if s.set.Keeper == nil && len(d.Disarm) > 0 {
		// The original would be lost.
		o := refused(mail.Temporary(451, "7.1", "Held back by local policy"))
		o.Detail = "to be disarmed, and no holding place for the original"
		return o
	}
	begun := time.Now()
	m, err := s.rewritten(ctx, d)
	switch {
	case errors.Is(err, message.ErrEdits):
		return s.holdInstead(ctx, d, notFit, "the edits of the checks do not fit together", nil)
	case err != nil:
		s.srv.log.Warn("smtpd", "the body of a message could not be edited", slog.String("id", t.ID), slog.String("error", err.Error()))
		o := refused(mail.Temporary(451, "3.1", "Insufficient system resources, try again later"))
		o.Detail = "its body is to be edited, and no room for what is left"
		return o
	}
	defer m.Release()
	again := s.set.Policy.Again(ctx, &t.Transaction, m)
	m.DropIndex() // what follows may wait for the next hop
	took := time.Since(begun)
	var o mail.Outcome
	switch {
	case again.Verdict == mail.Defer:
		// A check that failed now may look again when the sender comes back.
		t.note(again.Because)
		o = refused(decisionReply(again))
		o.Detail = "what is left after the edits of the body could not be judged"
	case again.Verdict != mail.Continue && again.Verdict != mail.Accept:
		o = s.holdInstead(ctx, d, notSafe, "what would be left is judged "+again.Verdict.String(), again.Because)
	case len(again.Disarm) > 0:
		o = s.holdInstead(ctx, d, notSafe, "what would be left is to be disarmed, too", again.Because)
	case len(d.Disarm) > 0:
		o = s.relayDisarmed(ctx, d, m)
	default:
		o = s.relayRewritten(ctx, d, m)
	}
	o.Steps.Check += took
	return o
}

// rewritten spools what is left under a share of the budget of its own; the
// last Release of the message gives it back. An ErrEdits is about the edits,
// every other error about us.
func (s *session) rewritten(ctx context.Context, d mail.Decision) (*message.Message, error) {
	t := s.tx
	// The header is the domain of the other edits, which are made after these
	// by their offsets: neither may reach into the other's place.
	end := t.Message.HeaderEnd()
	body := inOrder(slices.Concat(d.Disarm, d.Rewrite))
	if body[0].At < end {
		return nil, message.ErrEdits
	}
	for _, e := range d.Edits {
		if e.At+e.Delete > end {
			return nil, message.ErrEdits
		}
	}
	rest, err := t.Message.Render(body)
	if err != nil {
		return nil, err
	}
	grant, ok := s.srv.budget.Admit(rest.Size(), s.s.Trusted)
	if !ok {
		s.srv.stats.noRoom.Add(1)
		s.srv.alarm("messages_total is used up; mail is deferred", slog.String("id", t.ID))
		return nil, message.ErrNoMemory
	}
	defer grant.Release()
	m, err := message.Spool(ctx, rest, message.Limits{Max: max(rest.Size(), 1), Memory: s.set.Limits.MessageMemory, Dir: s.srv.spoolDir,
		FreeDisk: s.set.Limits.FreeDisk, Grant: grant, Wait: s.set.Limits.DataTimeout, Index: s.set.Index})
	if err == nil && m.HeaderEnd() != end {
		m.Release() // what came to stand first is read as a field
		return nil, message.ErrEdits
	}
	return m, err
}

var _ io.Reader = (*message.Rendering)(nil)

// note adds what the second look found to the first's, for log and journal.
func (t *transaction) note(found []mail.Finding) {
	for _, f := range found {
		if f.Stage == mail.StageMessage { // earlier ones are there
			t.Findings = append(t.Findings, f)
		}
	}
}

// holdInstead holds the message as it came, with what both looks found.
func (s *session) holdInstead(ctx context.Context, d mail.Decision, symbol, detail string, found []mail.Finding) mail.Outcome {
	t := s.tx
	f := mail.Finding{Symbol: why(&d) + symbol, Filter: why(&d), Stage: mail.StageMessage, Verdict: mail.Quarantine, Counted: true, Detail: detail}
	t.Findings = append(t.Findings, f)
	all := append([]mail.Finding{f}, found...)
	d.Verdict, d.Because = mail.Quarantine, append(all, d.Because...)
	t.note(found)
	body, err := t.Message.Render(s.edits(t.Message, d.Edits))
	if err != nil {
		s.srv.log.Warn("smtpd", "message could not be rendered", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyInternal)
	}
	return s.hold(ctx, d, body)
}

// relayRewritten relays what is left where nothing was disarmed.
func (s *session) relayRewritten(ctx context.Context, d mail.Decision, m *message.Message) mail.Outcome {
	body, err := m.Render(s.edits(m, d.Edits))
	if err != nil {
		s.srv.log.Warn("smtpd", "message could not be rendered", slog.String("id", s.tx.ID), slog.String("error", err.Error()))
		return refused(replyInternal)
	}
	return s.relay(ctx, d, body)
}

// relayDisarmed keeps the original and relays what is left of it. A copy of
// what did not go on is removed again: a sender that tries for days would
// leave one each time. Where the next hop may have the message, it stays.
func (s *session) relayDisarmed(ctx context.Context, d mail.Decision, m *message.Message) mail.Outcome {
	t := s.tx
	warn := func(text string, err error) {
		s.srv.log.Warn("smtpd", text, slog.String("id", t.ID), slog.String("error", err.Error()))
	}
	original, err := t.Message.Render(s.edits(t.Message, d.Edits))
	if err != nil {
		warn("message could not be rendered", err)
		return refused(replyInternal)
	}
	kept := d
	kept.Because = append(slices.Clip(d.Because), notReaddressed(d.Envelope)...)
	id, err := s.set.Keeper.Keep(ctx, &t.Transaction, kept, original)
	if err != nil {
		warn("the original of a message to be disarmed could not be kept", err)
		o := refused(replyInternal)
		o.Detail = "to be disarmed, and the holding place does not take the original"
		return o
	}
	went := false
	defer func() {
		if went {
			return
		}
		if err := s.set.Keeper.Drop(id); err != nil {
			warn("the copy of a message that did not go on could not be removed", fmt.Errorf("%s: %w", id, err))
		}
	}()
	field := message.Edit{Insert: []byte(fieldDisarmed + ": " + id + "\r\n")}
	body, err := m.Render(s.edits(m, append([]message.Edit{field}, d.Edits...)))
	if err != nil {
		warn("disarmed message could not be rendered", err)
		return refused(replyInternal)
	}
	went = true // a fault in the relay: the next hop may have it
	o := s.relay(ctx, d, body)
	if went = o.Kind == mail.Relayed || o.Kind == mail.Ambiguous; went {
		if o.Detail != "" {
			o.Detail += "; "
		}
		o.Detail += "disarmed, the original is kept as " + id
		s.srv.log.Info("smtpd", "message disarmed, the original is kept", slog.String("id", t.ID), slog.String("kept", id))
	}
	return o
}
