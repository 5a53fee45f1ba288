package milterd

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"garita/mail"
	"garita/message"
)

// action is what the MTA is told at the end of a message. It is whole before
// the first octet of it is sent: an MTA with milter_default_action = accept
// keeps what it has heard when the connection breaks.
type action struct {
	outcome mail.Outcome
	discard bool
	hold    string // the reason, for the MTA's own hold queue
	ops     []op
	add     []string
	del     []string
	body    *message.Message // in the place of the body that came
	from    int64            // where it begins in body
}

func refused(r mail.Reply) action {
	return action{outcome: mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}}}
}

// act makes of a decision what the MTA is to be told.
func (x *session) act(ctx context.Context, d mail.Decision) action {
	t := x.tx
	switch d.Verdict {
	case mail.Reject, mail.Defer:
		return refused(x.refusal(d))
	case mail.Discard:
		return action{discard: true, outcome: mail.Outcome{Kind: mail.Discarded,
			Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: discarded as "+t.ID)}}}
	case mail.Quarantine:
		return x.quarantine(ctx, d, "")
	}
	if len(d.Disarm)+len(d.Rewrite) > 0 {
		return x.editBody(ctx, d)
	}
	return x.passOn(d, nil, nil)
}

// codeEnd is the reply with which an SMTP session ends (RFC 5321 section 3.8).
const codeEnd = 421

// refusal is the reply of a refusing decision. 421 ends the SMTP session; it
// is for a user in his own session or a stranger, never for a relay that
// others use too (design section 4.10).
func (x *session) refusal(d mail.Decision) mail.Reply {
	r := d.Reply
	switch {
	case d.Verdict == mail.Reject && r.Permanent(), d.Verdict == mail.Defer && r.Temporary():
	case d.Verdict == mail.Reject:
		r = mail.Permanent(554, "7.1", "Refused by local policy")
	default:
		r = mail.Temporary(451, "7.1", "Refused by local policy for now, try again later")
	}
	switch own := !x.s.Trusted || x.s.Login != ""; {
	case own && d.Close && r.Temporary():
		r.Code = codeEnd
	case !own && r.Code == codeEnd:
		r.Code = 451
	}
	return r
}

// passOn lets the message go on with its edits. extra is a field more; m is
// what is left of the message where its body was edited.
func (x *session) passOn(d mail.Decision, extra []message.Edit, m *message.Message) action {
	t := x.tx
	a := action{outcome: mail.Outcome{Kind: mail.Relayed, QueueID: t.queueID, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok")}}}
	var err error
	if a.ops, err = x.headerEdits(append(extra, d.Edits...)); err != nil {
		return x.astray("a header edit cannot be made by a milter", err.Error())
	}
	if need := needs(a.ops); need&^x.may != 0 {
		return x.astray("the MTA lets milters change no header", "")
	}
	if m != nil {
		if x.may&mayBody == 0 {
			return x.astray("the MTA lets milters change no body", "")
		}
		m.Retain()
		a.body, a.from = m, m.HeaderEnd()
		if m.Header().HasBlank() {
			a.from += 2
		}
	}
	if bad := x.readdress(&a, d.Envelope); bad != "" {
		if a.body != nil {
			a.body.Release()
		}
		return x.astray(bad, "")
	}
	return a
}

// readdress does to the envelope what rules ask for. A redirect takes the
// place of all recipients; a copy is one more. Where the MTA sends mail is not
// ours to say here.
func (x *session) readdress(a *action, edits []mail.EnvelopeEdit) (bad string) {
	t := x.tx
	var redirect *mail.EnvelopeEdit
	for i := range edits {
		e := &edits[i]
		switch e.Kind {
		case mail.EditRedirect:
			redirect = e
		case mail.EditBCC:
			if slices.ContainsFunc(t.ForwardPaths, func(r mail.Recipient) bool { return r.Path.Equal(e.To.Path) }) {
				continue
			}
			if to := "<" + e.To.String() + ">"; !slices.Contains(a.add, to) {
				a.add = append(a.add, to)
				a.outcome.Envelope = append(a.outcome.Envelope, *e)
			}
		default:
			return "a rule routes mail to a next hop, which a milter cannot do"
		}
	}
	if redirect != nil {
		a.del = t.raw
		a.add = append([]string{"<" + redirect.To.String() + ">"}, a.add...)
		a.outcome.Envelope = append([]mail.EnvelopeEdit{*redirect}, a.outcome.Envelope...)
	}
	if len(a.add) > 0 && x.may&mayAddRcpt == 0 || len(a.del) > 0 && x.may&mayDelRcpt == 0 {
		return "the MTA lets milters change no recipients"
	}
	return ""
}

// astray defers a message that the operator wants changed in a way that cannot
// be: it is neither lost nor let pass unchanged.
func (x *session) astray(text, detail string) action {
	x.srv.stats.astray.Add(1)
	x.srv.log.Warn("milter", text+"; the mail is deferred", slog.String("id", x.tx.ID), slog.String("detail", detail))
	a := refused(mail.Temporary(451, "3.5", "Mail cannot be handled now, try again later"))
	a.outcome.Detail = text
	return a
}

// quarantine holds the message: at the MTA, or here.
func (x *session) quarantine(ctx context.Context, d mail.Decision, why string) action {
	t := x.tx
	if why == "" {
		why = reason(d)
	}
	if x.set.Quarantine == "mta" && x.may&mayQuarantine != 0 {
		a := x.passOn(mail.Decision{Edits: d.Edits}, nil, nil)
		if a.outcome.Kind != mail.Relayed {
			return a
		}
		a.hold = why
		a.outcome = mail.Outcome{Kind: mail.Held, QueueID: t.queueID, Detail: "held by the MTA: " + why, Replies: a.outcome.Replies}
		return a
	}
	if x.set.Keeper == nil {
		a := refused(replyHeld)
		a.outcome.Detail = "verdict quarantine, and neither the MTA nor we hold it"
		return a
	}
	body, err := t.Message.Render(x.edits(d.Edits))
	if err != nil {
		x.srv.log.Warn("milter", "message could not be rendered", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyInternal)
	}
	t.NextHop = x.set.ReleaseTo
	id, err := x.set.Keeper.Hold(ctx, &t.Transaction, d, body)
	if err != nil {
		x.srv.log.Warn("milter", "message could not be held", slog.String("id", t.ID), slog.String("error", err.Error()))
		a := refused(replyInternal)
		a.outcome.Detail = "to be held, and the holding place takes nothing"
		return a
	}
	return action{discard: true, outcome: mail.Outcome{Kind: mail.Held, QueueID: id, Detail: "held as " + id,
		Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: held as "+id)}}}
}

// reason names the checks that want a message held, for the MTA's log.
func reason(d mail.Decision) string {
	var out []string
	for i := range d.Because {
		if f := &d.Because[i]; f.Counted && len(out) < 5 && !slices.Contains(out, f.Symbol) {
			out = append(out, f.Symbol)
		}
	}
	if len(out) == 0 {
		return "local policy"
	}
	return plain(strings.Join(out, ","), 200)
}

// editBody edits the body as smtpproxy does: what is left is judged as a
// message of its own, the original is kept if something was disarmed, and all
// of it goes on or nothing.
func (x *session) editBody(ctx context.Context, d mail.Decision) action {
	t := x.tx
	if x.set.BodyEdits == "reject" {
		a := refused(mail.Permanent(554, "7.1", "Refused by local policy: the message has parts that are not let through"))
		a.outcome.Detail = "its body is to be edited, and milter.body_edits is reject"
		return a
	}
	if len(d.Disarm) > 0 && x.set.Keeper == nil {
		a := refused(replyHeld) // the original would be lost
		a.outcome.Detail = "to be disarmed, and no holding place for the original"
		return a
	}
	m, err := x.rewritten(ctx, d)
	switch {
	case errors.Is(err, message.ErrEdits):
		return x.quarantine(ctx, d, "the edits of the checks do not fit together")
	case err != nil:
		x.srv.log.Warn("milter", "the body of a message could not be edited", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyNoRoom)
	}
	defer m.Release()
	again := x.set.Policy.Again(ctx, &t.Transaction, m)
	m.DropIndex()
	for _, f := range again.Because {
		if f.Stage == mail.StageMessage {
			t.Findings = append(t.Findings, f)
		}
	}
	switch {
	case again.Verdict == mail.Defer:
		return refused(x.refusal(again))
	case again.Verdict != mail.Continue && again.Verdict != mail.Accept:
		return x.quarantine(ctx, d, "what would be left is judged "+again.Verdict.String())
	case len(again.Disarm) > 0:
		return x.quarantine(ctx, d, "what would be left is to be disarmed, too")
	case len(d.Disarm) == 0:
		return x.passOn(d, nil, m)
	}
	return x.passDisarmed(ctx, d, m)
}

// passDisarmed keeps the original first. A copy of what does not go on is
// removed again.
func (x *session) passDisarmed(ctx context.Context, d mail.Decision, m *message.Message) action {
	t := x.tx
	original, err := t.Message.Render(x.edits(d.Edits))
	if err != nil {
		x.srv.log.Warn("milter", "message could not be rendered", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyInternal)
	}
	t.NextHop = x.set.ReleaseTo
	id, err := x.set.Keeper.Keep(ctx, &t.Transaction, d, original)
	if err != nil {
		x.srv.log.Warn("milter", "the original of a message to be disarmed could not be kept", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyInternal)
	}
	field := message.Edit{At: t.Message.Header().Start(), Insert: []byte("X-Garita-Disarmed: " + id + "\r\n")}
	a := x.passOn(d, []message.Edit{field}, m)
	if a.outcome.Kind == mail.Relayed {
		a.outcome.Detail = "disarmed, the original is kept as " + id
	} else if err := x.set.Keeper.Drop(id); err != nil {
		x.srv.log.Warn("milter", "the copy of a message that did not go on could not be removed", slog.String("id", t.ID), slog.String("error", err.Error()))
	}
	return a
}

// rewritten spools what is left under a share of the budget of its own. An
// ErrEdits is about the edits, every other error about us.
func (x *session) rewritten(ctx context.Context, d mail.Decision) (*message.Message, error) {
	t := x.tx
	end := t.Message.HeaderEnd()
	body := inOrder(slices.Concat(d.Disarm, d.Rewrite))
	if body[0].At < end {
		return nil, message.ErrEdits
	}
	rest, err := t.Message.Render(body)
	if err != nil {
		return nil, err
	}
	grant, ok := x.srv.budget.Admit(rest.Size(), x.s.Trusted || x.s.Login != "")
	if !ok {
		x.srv.stats.noRoom.Add(1)
		return nil, message.ErrNoMemory
	}
	defer grant.Release()
	m, err := message.Spool(ctx, rest, message.Limits{Max: max(rest.Size(), 1), Memory: x.set.Memory, Dir: x.srv.spoolDir,
		FreeDisk: x.set.FreeDisk, Grant: grant, Wait: packetTime, Index: x.set.Index})
	if err == nil && m.HeaderEnd() != end {
		m.Release()
		return nil, message.ErrEdits
	}
	return m, err
}

// reply tells the MTA. Everything that could fail but the connection has been
// done.
func (x *session) reply(a action) error {
	switch {
	case a.outcome.Kind == mail.Refused || a.outcome.Kind == mail.Aborted:
		return x.answer(actReply, text(a.outcome.Replies[0]))
	case a.discard:
		return x.answer(actDiscard)
	}
	for _, o := range a.ops {
		o.send(x.w, x.agreed&leadingSpace != 0)
	}
	for _, r := range a.del {
		x.w.send(actDelRcpt, r, "\x00")
	}
	for _, r := range a.add {
		x.w.send(actAddRcpt, r, "\x00")
	}
	if a.hold != "" {
		x.w.send(actQuarantine, a.hold, "\x00")
	}
	if a.body != nil {
		if err := x.sendBody(a); err != nil {
			return err
		}
	}
	return x.answer(actContinue)
}

// sendBody sends what is left of the body, or nothing but its end.
func (x *session) sendBody(a action) error {
	if a.from >= a.body.Size() {
		x.w.send(actBody, "\r\n")
		return nil
	}
	r, err := a.body.Render([]message.Edit{{At: 0, Delete: a.from}})
	if err != nil {
		return err
	}
	_, err = r.WriteTo(x.w)
	return err
}

// maxReplyLine bounds a line of a reply: RFC 5321 section 4.5.3.1.5 allows
// 512 octets with the code and the line end.
const maxReplyLine = 480

// text is a reply as the protocol has it: with codes on each line, a percent
// sign doubled, since Sendmail reads it as a format.
func text(r mail.Reply) string {
	lines := strings.Split(r.Text, "\n")
	var b strings.Builder
	for i, l := range lines {
		b.WriteString(strconv.Itoa(r.Code))
		if i < len(lines)-1 {
			b.WriteByte('-')
		} else {
			b.WriteByte(' ')
		}
		if r.Enhanced != "" {
			b.WriteString(r.Enhanced + " ")
		}
		b.WriteString(strings.ReplaceAll(plain(l, maxReplyLine), "%", "%%"))
		if i < len(lines)-1 {
			b.WriteString("\r\n")
		}
	}
	return b.String() + "\x00"
}

// plain is printable ASCII, at most limit octets of it.
func plain(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}

// logAccepted tells of a message that the MTA goes on with. It is not
// status=sent: what becomes of it the MTA's log tells, by its own queue id.
func (x *session) logAccepted(t *transaction, o mail.Outcome) {
	name, addr := t.ClientForLog()
	symbols := make([]string, 0, 8)
	for i := range t.Findings {
		if len(symbols) == cap(symbols) {
			symbols = append(symbols, "and others")
			break
		}
		symbols = append(symbols, t.Findings[i].Symbol)
	}
	attrs := []slog.Attr{slog.String("id", t.ID), slog.String("queue_id", t.queueID), slog.String("client", name+"["+addr.String()+"]"),
		slog.String("from", t.ReversePath.String()), slog.Int("nrcpt", len(t.ForwardPaths)), slog.Int64("size", t.Message.Size()),
		slog.String("direction", t.Direction.String()), slog.String("symbols", strings.Join(symbols, ",")),
		slog.Duration("receive", o.Steps.Receive), slog.Duration("check", o.Steps.Check)}
	if t.Login != "" {
		attrs = append(attrs, slog.String("sasl_username", t.Login))
	}
	for _, e := range o.Envelope {
		attrs = append(attrs, slog.String(e.Kind, e.To.String()), slog.String("rule", e.Rule))
	}
	if o.Detail != "" {
		attrs = append(attrs, slog.String("detail", o.Detail))
	}
	x.srv.log.Info("milter", "accepted", attrs...)
}
