package milterd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"garita/mail"
	"garita/message"
)

// estimate is what a message is taken for whose size was not declared; its
// grant grows as the octets come.
const estimate = 64 << 10

// Replies that are said in more than one place.
var (
	replyInternal      = mail.Temporary(451, "3.0", "Error: internal fault, try again later")
	replyTooBig        = mail.Permanent(552, "3.4", "Message size exceeds fixed limit")
	replyNoRoom        = mail.Temporary(452, "3.1", "Insufficient system resources, try again later")
	replyMaxRecipients = mail.Temporary(452, "5.3", "Error: too many recipients")
	replyHeld          = mail.Temporary(451, "7.1", "Held back by local policy")
	replyHops          = mail.Permanent(554, "4.6", "Error: too many hops")
	replyHeader        = mail.Permanent(554, "6.0", "Error: message header too large")
)

// begin finds room for the message, when its first octets come: Postfix has
// the whole of it by then, so that no slow client keeps room from others. What
// finds none is read to its end and deferred there.
func (x *session) begin(ctx context.Context) {
	t := x.tx
	if t.begun {
		return
	}
	t.begun = true
	need := max(t.Params.Size, estimate)
	grant, ok := x.srv.budget.Admit(need, x.s.Trusted || x.s.Login != "")
	if !ok {
		x.srv.stats.noRoom.Add(1)
		x.srv.log.Warn("milter", "messages_total is used up; mail is deferred", slog.String("id", t.ID))
		r := replyNoRoom
		t.refusal = &r
		return
	}
	t.grant = grant
	t.builder = message.NewBuilder(ctx, message.Limits{Max: x.set.MaxMessageSize, Memory: x.set.Memory, Dir: x.srv.spoolDir,
		FreeDisk: x.set.FreeDisk, Grant: grant, Wait: packetTime, Index: x.set.Index})
}

// header is one field. It is put back together as it came: the MTA has taken
// one space (or nothing, as agreed) behind the colon away, and says LF where
// the message has CR LF.
func (x *session) header(ctx context.Context, p []byte) error {
	i := bytes.IndexByte(p, 0)
	if i <= 0 {
		return broken("header field without a name")
	}
	name, value := p[:i], p[i+1:]
	if n := bytes.IndexByte(value, 0); n >= 0 {
		value = value[:n]
	} else {
		return broken("header field without an end")
	}
	if x.tx.inBody {
		return broken("header field behind the header")
	}
	x.begin(ctx)
	t := x.tx
	t.fields++
	if b := t.builder; b != nil {
		b.Write(name)
		if x.agreed&leadingSpace != 0 {
			b.Write(colon[:1])
		} else {
			b.Write(colon)
		}
		writeLines(b, value)
	}
	return x.stepped(noReplyHeader)
}

var (
	colon = []byte(": ")
	crlf  = []byte("\r\n")
)

// writeLines writes the lines of a field, each with CR LF. Its errors stay in
// the builder.
func writeLines(b io.Writer, value []byte) {
	for {
		lf := bytes.IndexByte(value, '\n')
		if lf < 0 {
			b.Write(value)
			b.Write(crlf)
			return
		}
		b.Write(bytes.TrimSuffix(value[:lf], crlf[:1]))
		b.Write(crlf)
		value = value[lf+1:]
	}
}

// headerEnd is the empty line behind the header.
func (x *session) headerEnd(ctx context.Context) error {
	if x.tx.inBody {
		return broken("two ends of a header")
	}
	x.intoBody(ctx)
	return x.stepped(noReplyEOH)
}

func (x *session) intoBody(ctx context.Context) {
	x.begin(ctx)
	t := x.tx
	if t.inBody {
		return
	}
	t.inBody = true
	if t.builder != nil {
		t.builder.Write(crlf)
	}
}

// bodyPacket takes in a piece of the body, past every buffer of ours, and
// judges the message when it was the last.
func (x *session) bodyPacket(ctx context.Context, cmd byte, n int) error {
	x.noAnswer = false
	x.srv.stats.commands[indexOf(cmd)].Add(1)
	if !x.greeted || x.tx == nil {
		return broken("body without MAIL")
	}
	x.intoBody(ctx)
	for n > 0 {
		to := x.w.skip[:]
		if x.tx.builder != nil {
			to = x.tx.builder.Buffer()
		}
		got, err := x.w.in.Read(to[:min(n, len(to))])
		if x.tx.builder != nil && got > 0 {
			x.tx.builder.Advance(got) // its error stays
		}
		if n -= got; n > 0 && err != nil {
			return err
		}
	}
	if cmd == cmdBody {
		return x.stepped(noReplyBody)
	}
	return x.complete(ctx)
}

// stepped goes on behind a part of the message.
func (x *session) stepped(unless uint32) error {
	if x.noAnswer = x.agreed&unless != 0; x.noAnswer {
		return nil
	}
	return x.answer(actContinue)
}

// complete is the end of the message: judged and answered within
// reply_timeout.
func (x *session) complete(ctx context.Context) error {
	t := x.tx
	limit, cancel := context.WithTimeout(ctx, x.set.ReplyTimeout)
	defer cancel()
	if x.macros.queueID != "" {
		t.queueID = x.macros.queueID
	}
	t.QueueID = t.queueID
	arrived := time.Now()
	a := x.judge(limit)
	a.outcome.Steps.Receive = arrived.Sub(t.started)
	a.outcome.Steps.Check = time.Since(arrived)
	err := x.reply(a)
	if err != nil && a.outcome.Kind == mail.Relayed {
		// The MTA did not hear it, and its milter_default_action decides.
		a.outcome.Kind, a.outcome.Detail = mail.Aborted, "the MTA was gone before it was answered"
	}
	if a.body != nil {
		a.body.Release()
	}
	x.end(ctx, a.outcome)
	x.macros.queueID = ""
	return err
}

// judge decides what becomes of the message.
func (x *session) judge(ctx context.Context) action {
	t := x.tx
	if t.refusal != nil {
		return refused(*t.refusal)
	}
	m, err := t.builder.Finish()
	t.builder = nil
	switch {
	case errors.Is(err, message.ErrTooBig):
		return refused(replyTooBig)
	case err != nil:
		x.srv.log.Warn("milter", "message could not be kept", slog.String("id", t.ID), slog.String("error", err.Error()))
		return refused(replyNoRoom)
	}
	t.Message = m
	h := m.Header()
	switch {
	case h.TooLarge():
		return refused(replyHeader) // no check could look at all of it
	case h.Err() != nil:
		x.srv.log.Warn("milter", "message could not be read back", slog.String("id", t.ID), slog.String("error", h.Err().Error()))
		return refused(replyInternal)
	case h.CountFold("Received") > x.set.MaxHops:
		return refused(replyHops)
	}
	d := x.set.Policy.Message(ctx, &t.Transaction)
	m.DropIndex()
	if x.kicked.Load() && !refuses(d) {
		return refused(replyKicked)
	}
	return x.act(ctx, d)
}
