package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"garita/mail"
	"garita/smtpproxy"
)

// earlyWait is how long we look for a reply after a write failed.
const earlyWait = 2 * time.Second

// fate is what becomes of the connection after a message.
type fate uint8

const (
	closeIt fate = iota // zero: whatever is not known to be in step is closed
	resetIt
	reuseIt
)

// Data sends the message. The dot is written only after the whole body went
// out and its octets were counted.
func (d *delivery) Data(ctx context.Context, m smtpproxy.Body) mail.Outcome {
	start := time.Now()
	o, fate := d.data(ctx, m)
	o.Steps.Relay = time.Since(start)
	d.ended, d.sending = true, false
	if c := d.c; c != nil {
		o.NextHop, o.TLS = c.name, c.tls
		d.c = nil
		switch {
		case fate == reuseIt:
			d.hop.recycle(c, d.priority)
		case fate == resetIt:
			d.hop.recycleReset(c, d.priority)
		default:
			d.hop.discard(c, d.priority)
		}
	}
	switch o.Kind {
	case mail.Relayed:
		d.hop.relayed.Add(1)
	case mail.Ambiguous:
		d.hop.ambiguous.Add(1)
		d.hop.warn("ambiguous", "the next hop took a message and its answer was lost: a duplicate is possible", errors.New(o.Detail))
	default:
		d.hop.refused.Add(1)
	}
	return o
}

// refusedBy is the outcome of a fault before the end of data.
func (d *delivery) refusedBy(f *fault) mail.Outcome {
	if d.broken == nil {
		d.fail(f)
	}
	return mail.Outcome{
		Kind: mail.Refused, Replies: []mail.Reply{f.reply}, Detail: f.err.Error(),
		NextHopReply: clean([]byte(f.err.Error()), false),
	}
}

func (d *delivery) data(ctx context.Context, m smtpproxy.Body) (mail.Outcome, fate) {
	switch {
	case d.ended:
		return d.refusedBy(internal(fmt.Errorf("DATA: %w", errEnded))), closeIt
	case d.broken != nil:
		return d.refusedBy(d.broken), closeIt
	case len(d.rcpts) == 0:
		r := mail.Permanent(554, "5.1", "No valid recipients")
		return mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}, Detail: "no recipient was accepted"}, resetIt
	case d.c == nil:
		if f := d.replay(ctx, m.Size()); f != nil {
			return d.refusedBy(f), closeIt
		}
	}
	c := d.c
	stop := c.watch(ctx)
	defer stop()
	d.sending = true
	r, err := c.command(ctx, d.hop.cfg.CommandTimeout, "DATA")
	if err != nil {
		return d.refusedBy(broken(c.name, "DATA", err)), closeIt
	}
	if r.code != 354 {
		return d.notStarted(r)
	}
	if c.ahead() {
		return d.tooSoon(ctx), closeIt
	}
	w := newBodyWriter(ctx, c, d.hop.cfg.DataTimeout)
	defer w.free()
	if _, err := m.WriteTo(w); err != nil || w.err != nil {
		return d.cutShort(ctx, w, err), closeIt
	}
	if w.count != m.Size() {
		// What goes out must be what was checked (B-27).
		return d.refusedBy(internal(fmt.Errorf("%s: message of %d octets rendered %d: not sent", c.name, m.Size(), w.count))), closeIt
	}
	if w.flushed && !c.quiet() {
		return d.tooSoon(ctx), closeIt
	}
	if dotSent, err := w.finish(); err != nil {
		if !dotSent {
			return d.cutShort(ctx, w, err), closeIt
		}
		return d.ambiguous(broken(c.name, "final dot", err)), closeIt
	}
	return d.final(ctx)
}

// tooSoon judges what the next hop said before the dot. The dot is not sent:
// an early refusal counts (B-11), an early 250 would be a lie.
func (d *delivery) tooSoon(ctx context.Context) mail.Outcome {
	c := d.c
	if err := c.within(ctx, earlyWait); err != nil {
		return d.refusedBy(broken(c.name, "the message", err))
	}
	r, err := c.rd.read()
	if err != nil {
		return d.refusedBy(broken(c.name, "the message", err))
	}
	return d.early(r)
}

// early is an answer to a message that was not at its end.
func (d *delivery) early(r reply) mail.Outcome {
	if (r.class() == 4 || r.class() == 5) && r.code != 421 && !ourFault(r.code) {
		return d.refusedAs(r)
	}
	return d.refusedBy(unexpected(d.c.name, "the message, before its end", r))
}

// notStarted judges a reply to DATA that is not 354.
func (d *delivery) notStarted(r reply) (mail.Outcome, fate) {
	pass := r.class() == 4 && r.code != 421 || r.code/10 == 55
	if !pass {
		return d.refusedBy(unexpected(d.c.name, "DATA", r)), closeIt
	}
	return d.refusedAs(r), resetIt
}

// refusedAs is a refusal by the next hop itself, passed on.
func (d *delivery) refusedAs(r reply) mail.Outcome {
	return mail.Outcome{
		Kind: mail.Refused, Replies: []mail.Reply{d.show(r.forClient(d.tx.Params.SMTPUTF8))},
		NextHopReply: r.line(), Detail: "refused by the next hop",
	}
}

// cutShort ends a body that broke off. The socket will be closed without the
// dot. When the next hop had answered already ("552 too big", then close) its
// answer counts and the write error does not mask it (B-11).
func (d *delivery) cutShort(ctx context.Context, w *bodyWriter, err error) mail.Outcome {
	c := d.c
	if w.err == nil {
		return d.refusedBy(internal(fmt.Errorf("%s: message could not be read: %w", c.name, err)))
	}
	if ctx.Err() == nil && c.within(ctx, earlyWait) == nil {
		if r, rerr := c.rd.read(); rerr == nil {
			return d.early(r)
		}
	}
	return d.refusedBy(broken(c.name, "message", w.err))
}

// final reads the reply to the dot, to its true end.
func (d *delivery) final(ctx context.Context) (mail.Outcome, fate) {
	c := d.c
	if err := c.within(ctx, d.hop.cfg.FinalTimeout); err != nil {
		return d.ambiguous(broken(c.name, "end of data", err)), closeIt
	}
	r, err := c.rd.read()
	if err != nil {
		return d.ambiguous(broken(c.name, "end of data", err)), closeIt
	}
	if d.hop.lmtp && len(d.rcpts) > 1 {
		if f := d.restOfFinal(ctx, &r); f != nil {
			return d.ambiguous(f), closeIt
		}
	}
	switch {
	case r.class() == 2:
		return mail.Outcome{
			Kind: mail.Relayed, Replies: []mail.Reply{d.show(r.forClient(d.tx.Params.SMTPUTF8))},
			NextHopReply: r.line(), QueueID: queueID(r.text),
		}, reuseIt
	case r.class() == 3:
		return d.ambiguous(unexpected(c.name, "end of data", r)), closeIt
	case r.code == 421, ourFault(r.code):
		// A plain no, in words that are not for the client.
		return d.refusedBy(unexpected(c.name, "end of data", r)), closeIt
	}
	return d.refusedAs(r), resetIt
}

// restOfFinal reads the replies of LMTP after the first, exactly one for each
// recipient that was accepted (RFC 2033 section 4.2), and leaves one that speaks
// for all in r. Rcpt lets one recipient into a transaction, so this does not
// come about; if ever it did, a mixed answer must not be a yes.
func (d *delivery) restOfFinal(ctx context.Context, r *reply) *fault {
	c := d.c
	first := reply{code: r.code, text: append([]byte(nil), r.text...)}
	for range len(d.rcpts) - 1 {
		if err := c.within(ctx, d.hop.cfg.FinalTimeout); err != nil {
			return broken(c.name, "end of data", err)
		}
		next, err := c.rd.read()
		if err != nil {
			return broken(c.name, "end of data", err)
		}
		if next.class() != first.class() {
			return nonsense(fmt.Errorf("%s: answered the end of data with %q for one recipient and %q for another", c.name, first.line(), next.line()))
		}
	}
	*r = first
	return nil
}

// ambiguous: the next hop may have the message; the client is told to try
// again, for a duplicate is better than a loss (RFC 1047).
func (d *delivery) ambiguous(f *fault) mail.Outcome {
	return mail.Outcome{
		Kind: mail.Ambiguous, Replies: []mail.Reply{mail.Temporary(451, "4.2", textLost)},
		NextHopReply: clean([]byte(f.err.Error()), false) + " -- message may be sent more than once",
		Detail:       f.err.Error(),
	}
}
