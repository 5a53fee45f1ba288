package smtpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"garita/mail"
	"garita/message"
)

// fieldDisarmed names the kept original to whoever reads the message.
const fieldDisarmed = "X-Garita-Disarmed"

// What can keep a message from being disarmed: it is held as it came.
const (
	symbolNotFit  = "disarm.conflict" // the edits do not fit together
	symbolNotSafe = "disarm.again"    // what would be left was judged, too
)

// disarms tells that the message is not to go on as it is.
func (s *session) disarms(d mail.Decision) bool {
	if len(d.Disarm) == 0 {
		return false
	}
	if s.tx.exempt {
		s.tx.Exempt = "postmaster" // as for a decision: see setsAside
		return false
	}
	return true
}

// disarm takes out of the message what the checks want out of it, has what is
// left judged as a message of its own, keeps the original and relays the rest:
// all of it or nothing. In this order a kill at any instant loses nothing; it
// may leave a copy too many.
//
// What cannot be done, or is no better afterwards, is held as it came. A fault
// of ours, no room among them, leaves the message with its sender.
func (s *session) disarm(ctx context.Context, d mail.Decision) mail.Outcome {
	t := s.tx
	if s.set.Keeper == nil {
		// The original would be lost.
		o := refused(mail.Temporary(451, "7.1", "Held back by local policy"))
		o.Detail = "to be disarmed, and no holding place for the original"
		return o
	}
	begun := time.Now()
	m, err := s.disarmed(ctx, d)
	switch {
	case errors.Is(err, message.ErrEdits):
		return s.holdInstead(ctx, d, symbolNotFit, "the edits of the checks do not fit together", nil)
	case err != nil:
		s.srv.log.Warn("smtpd", "message could not be disarmed", slog.String("id", t.ID), slog.String("error", err.Error()))
		o := refused(mail.Temporary(451, "3.1", "Insufficient system resources, try again later"))
		o.Detail = "to be disarmed, and no room for what is left"
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
		o.Detail = "what is left after disarming could not be judged"
	case again.Verdict != mail.Continue && again.Verdict != mail.Accept:
		o = s.holdInstead(ctx, d, symbolNotSafe, "what would be left is judged "+again.Verdict.String(), again.Because)
	case len(again.Disarm) > 0:
		o = s.holdInstead(ctx, d, symbolNotSafe, "what would be left is to be disarmed, too", again.Because)
	default:
		o = s.relayDisarmed(ctx, d, m)
	}
	o.Steps.Check += took
	return o
}

// disarmed spools what is left under a share of the budget of its own; the
// last Release of the message gives it back. An ErrEdits is about the edits,
// every other error about us.
func (s *session) disarmed(ctx context.Context, d mail.Decision) (*message.Message, error) {
	t := s.tx
	// The header is the domain of the other edits, which are made after these
	// by their offsets: neither may reach into the other's place.
	end := t.Message.HeaderEnd()
	if d.Disarm[0].At < end {
		return nil, message.ErrEdits
	}
	for _, e := range d.Edits {
		if e.At+e.Delete > end {
			return nil, message.ErrEdits
		}
	}
	rest, err := t.Message.Render(d.Disarm)
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
func (s *session) holdInstead(ctx context.Context, d mail.Decision, symbol, why string, found []mail.Finding) mail.Outcome {
	t := s.tx
	f := mail.Finding{Symbol: symbol, Filter: "disarm", Stage: mail.StageMessage, Verdict: mail.Quarantine, Counted: true, Detail: why}
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
	id, err := s.set.Keeper.Keep(ctx, &t.Transaction, d, original)
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
	o := s.relay(ctx, body)
	if went = o.Kind == mail.Relayed || o.Kind == mail.Ambiguous; went {
		if o.Detail != "" {
			o.Detail += "; "
		}
		o.Detail += "disarmed, the original is kept as " + id
		s.srv.log.Info("smtpd", "message disarmed, the original is kept", slog.String("id", t.ID), slog.String("kept", id))
	}
	return o
}
