package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"garita/mail"
)

// delivery is one transaction. One goroutine uses it.
type delivery struct {
	hop *NextHop
	tx  *mail.Transaction
	want
	c      *conn // nil before the first Rcpt, after Park and after the end
	opened bool  // MAIL was accepted on c
	parked bool
	ended  bool
	// sending: commands or DATA went out and their end was not reached. If a
	// panic leaves it so, Abort must not say a word into the body, nor give
	// the connection on.
	sending bool
	// rcpts are those that the next hop accepted, for the replay.
	rcpts []mail.Recipient
	one   [1]mail.Recipient
	// mailReply is the refusal of MAIL: every recipient gets it.
	mailReply mail.Reply
	// broken is the fault that ended it: every later step gets it.
	broken *fault
}

var errEnded = errors.New("delivery has ended")

// Rcpt asks the next hop for one recipient while the client waits.
func (d *delivery) Rcpt(ctx context.Context, r mail.Recipient) (mail.Reply, error) {
	switch {
	case d.broken != nil:
		return d.broken.reply, d.broken.err
	case d.ended:
		f := internal(fmt.Errorf("RCPT: %w", errEnded))
		return f.reply, f.err
	case !d.mailReply.IsZero():
		return d.mailReply, nil
	}
	if d.hop.lmtp && len(d.rcpts) > 0 {
		// RFC 2033 section 4.2 has one answer for each recipient after the
		// dot and SMTP one for all: the client comes back with this one.
		return mail.Temporary(452, "5.3", textOneRecipient), nil
	}
	path := r.Path.String()
	if err := checkPath(path, d.tx.Params.SMTPUTF8); err != nil || path == "" {
		return mail.Permanent(553, "1.3", "Recipient address is not valid"), fmt.Errorf("RCPT: %w", errAddress)
	}
	if rep, ok := d.hop.unknown.get(r.Path); ok {
		return d.show(rep), nil
	}
	if d.parked {
		d.parked = false
		if len(d.rcpts) > 0 {
			if f := d.replay(ctx, d.tx.Params.Size); f != nil {
				d.drop()
				return d.fail(f)
			}
		}
	}
	rep, f := d.ask(ctx, path, &r)
	if f != nil {
		return d.fail(f)
	}
	if rep.Positive() {
		if d.rcpts == nil {
			d.rcpts = d.one[:0]
		}
		d.rcpts = append(d.rcpts, r)
	} else if d.mailReply.IsZero() && !d.hop.cfg.XClient {
		// By XCLIENT the next hop's rules are about each client: what it
		// says to one is no answer for others.
		d.hop.unknown.add(r.Path, rep)
	}
	return d.show(rep), nil
}

// fail ends the delivery by a fault.
func (d *delivery) fail(f *fault) (mail.Reply, error) {
	d.broken = f
	if !f.told {
		d.hop.warn("fault", "a delivery to the next hop failed", f.err)
	}
	return f.reply, f.err
}

// show hides the next hop's text where the operator wants that.
func (d *delivery) show(r mail.Reply) mail.Reply {
	if d.hop.cfg.ShowReplies {
		return r
	}
	switch {
	case r.Positive():
		r.Text = "Ok"
	case r.Temporary():
		r.Text = "Not possible at the moment, please try again later"
	default:
		r.Text = "Refused by the next mail server"
	}
	return r
}

// ask opens connection and transaction when it must, and asks for one
// recipient. A pooled connection that is dead is replaced once, as long as no
// recipient of this delivery was accepted on it (B-19).
func (d *delivery) ask(ctx context.Context, path string, r *mail.Recipient) (mail.Reply, *fault) {
	if d.c == nil {
		if f := d.obtain(ctx, false); f != nil {
			return mail.Reply{}, f
		}
	}
	rep, f := d.exchange(ctx, path, r)
	if f == nil {
		return rep, nil
	}
	again := f.retry && d.c.uses > 0 && len(d.rcpts) == 0 && ctx.Err() == nil
	d.c.close()
	d.c, d.opened = nil, false
	if !again {
		d.hop.pool.put(nil, d.priority)
		return mail.Reply{}, f
	}
	if f := d.obtain(ctx, true); f != nil { // the slot is still ours
		return mail.Reply{}, f
	}
	if rep, f = d.exchange(ctx, path, r); f != nil {
		d.drop()
		return mail.Reply{}, f
	}
	return rep, nil
}

// obtain gets a connection that is ready for MAIL, with XCLIENT said where that
// is wanted and offered.
func (d *delivery) obtain(ctx context.Context, held bool) *fault {
	h := d.hop
	if h.cfg.XClient && !held {
		d.owner = xclientOwner(d.tx.Session)
	}
	d.host = h.turn()
	c, f := h.take(ctx, d.want, held)
	if f != nil {
		return f
	}
	d.c, d.opened = c, false
	if !h.cfg.XClient || c.owner != "" {
		return nil
	}
	if c.ext.xclient == 0 {
		h.warn("xclient", "the next hop does not offer XCLIENT and takes our own address for every client's (xclient = true)", errors.New(c.name))
		return nil
	}
	stop := c.watch(ctx)
	f = c.introduce(ctx, d.tx.Session)
	stop()
	if f != nil {
		d.drop()
	}
	return f
}

// drop closes the connection as it stands and gives the slot back.
func (d *delivery) drop() {
	if d.c != nil {
		d.hop.discard(d.c, d.priority)
		d.c, d.opened = nil, false
	}
}

// exchange sends what the first or a later recipient needs.
func (d *delivery) exchange(ctx context.Context, path string, r *mail.Recipient) (mail.Reply, *fault) {
	b := &d.c.batch
	b.reset()
	dropped := false
	if !d.opened {
		if refusal := d.begin(b, d.tx.Params.Size); !refusal.IsZero() {
			d.mailReply = refusal
			return refusal, nil
		}
		dropped = d.hop.dropsDSN(d.tx.Params, d.c.ext)
	}
	if b.rcpt(path, r, d.c.ext) || dropped {
		d.hop.warn("dsn", "the next hop has no DSN: delivery status parameters were dropped", fmt.Errorf("transaction %s", d.tx.ID))
	}
	stop := d.c.watch(ctx)
	defer stop()
	var answer mail.Reply
	f := d.run(ctx, func(k kind, rep reply) *fault {
		switch k {
		case kindXForward:
			if rep.class() != 2 {
				return unexpected(d.c.name, "XFORWARD", rep)
			}
		case kindMail:
			a, f := d.judge("MAIL", rep)
			if f != nil {
				return f
			}
			if d.opened = a.Positive(); !d.opened {
				d.mailReply = d.show(a)
				answer = a
			}
		case kindRcpt:
			if !d.mailReply.IsZero() {
				return nil // pipelined behind a refused MAIL: 503, no news
			}
			a, f := d.judge("RCPT", rep)
			if f != nil {
				return f
			}
			answer = a
		}
		return nil
	})
	if f != nil && !d.mailReply.IsZero() {
		// MAIL was refused and the rest got lost: the refusal stands.
		d.drop()
		f = nil
	}
	return answer, f
}

// begin appends XFORWARD and MAIL, or refuses what this next hop cannot take:
// for now, when it is a fallback that has less than the server in its place.
func (d *delivery) begin(b *batch, size int64) mail.Reply {
	p, e := d.tx.Params, d.c.ext
	p.Size = size
	switch {
	case p.SMTPUTF8 && !e.utf8:
		if len(d.hop.hosts) > 1 {
			return mail.Temporary(451, "6.7", "No mail server that takes SMTPUTF8 at the moment")
		}
		return mail.Permanent(550, "6.7", "The next mail server does not take SMTPUTF8")
	case p.Body == mail.Body8BitMIME && !e.eightBit:
		if len(d.hop.hosts) > 1 {
			return mail.Temporary(451, "6.3", "No mail server that takes 8BITMIME at the moment")
		}
		return mail.Permanent(554, "6.3", "The next mail server does not take 8BITMIME")
	}
	path := d.tx.ReversePath.String()
	if err := checkPath(path, p.SMTPUTF8); err != nil {
		return mail.Permanent(553, "1.7", "Sender address is not valid")
	}
	if d.hop.cfg.XForward && d.c.owner == "" {
		b.xforward(d.tx, e.xforward)
	}
	b.mail(path, p, e)
	return mail.Reply{}
}

func (h *NextHop) dropsDSN(p mail.Params, e extensions) bool {
	return !e.dsn && (p.Ret != "" || p.EnvID != "")
}

// run is exchangeAll with a mark: should it panic, replies are still due, and
// Abort must not give the connection to anybody.
func (d *delivery) run(ctx context.Context, judge func(kind, reply) *fault) *fault {
	d.sending = true
	f := d.exchangeAll(ctx, judge)
	d.sending = false
	return f
}

// exchangeAll sends the batch and hands each reply to judge, in order. With
// PIPELINING it is one write (RFC 2920 section 3.1: all of these commands may
// stand in one group); without, each command waits for its reply, and a
// refused MAIL ends the run.
func (d *delivery) exchangeAll(ctx context.Context, judge func(kind, reply) *fault) *fault {
	c := d.c
	b := &c.batch
	start := 0
	for i, end := range b.ends {
		k := b.kinds[i]
		if i == 0 || !c.ext.pipelining {
			if err := c.within(ctx, d.hop.cfg.CommandTimeout); err != nil {
				return broken(c.name, k.String(), err)
			}
			out := b.buf[start:end]
			if c.ext.pipelining {
				out = b.buf
			}
			if _, err := c.nc.Write(out); err != nil {
				return d.sendFailed(ctx, k, err)
			}
		}
		start = end
		// The time is for each reply, not for all of a group.
		if i > 0 {
			if err := c.within(ctx, d.hop.cfg.CommandTimeout); err != nil {
				return broken(c.name, k.String(), err)
			}
		}
		rep, err := c.rd.read()
		if err != nil {
			return broken(c.name, k.String(), err)
		}
		if f := judge(k, rep); f != nil {
			return f
		}
		if !c.ext.pipelining && !d.mailReply.IsZero() {
			break
		}
	}
	// One reply more than was asked, and every later one would be taken for
	// the answer to the wrong command.
	return c.stepDone("MAIL and RCPT")
}

// sendFailed looks for what a next hop said before it closed: "421 timeout".
func (d *delivery) sendFailed(ctx context.Context, k kind, err error) *fault {
	if d.c.within(ctx, earlyWait) == nil {
		if rep, rerr := d.c.rd.read(); rerr == nil {
			return lost(fmt.Errorf("%s: said %q before %s", d.c.name, rep.line(), k))
		}
	}
	return broken(d.c.name, k.String(), err)
}

// judge turns a reply to MAIL or RCPT into what the client is told. Codes that
// speak about our own session with the next hop are our fault, never the
// sender's.
func (d *delivery) judge(stage string, rep reply) (mail.Reply, *fault) {
	switch {
	case rep.code == 421, rep.class() == 3, ourFault(rep.code):
		return mail.Reply{}, unexpected(d.c.name, stage, rep)
	}
	return rep.forClient(d.tx.Params.SMTPUTF8), nil
}

// ourFault: bad sequence, and demands for TLS or AUTH.
func ourFault(code int) bool {
	switch code {
	case 503, 530, 534, 535, 538:
		return true
	}
	return false
}

// Park gives the connection back while the client is silent or uploads; the
// next Rcpt or Data replays the envelope.
func (d *delivery) Park() {
	if d.c == nil || d.ended {
		return
	}
	d.hop.recycleReset(d.c, d.priority)
	d.c, d.opened, d.parked = nil, false, true
}

// Forget is Park without these recipients: each takes one acceptance back,
// the last of it, so that a recipient that was also asked for by itself stays.
// SMTP cannot take back one RCPT, so the transaction begins anew.
func (d *delivery) Forget(rcpts []mail.Recipient) {
	if d.ended || d.broken != nil {
		return
	}
	d.Park()
	for i := range rcpts {
		for j := len(d.rcpts) - 1; j >= 0; j-- {
			if d.rcpts[j].Path == rcpts[i].Path {
				d.rcpts = slices.Delete(d.rcpts, j, j+1)
				break
			}
		}
	}
}

// Wanted tells that somebody waits for a connection.
func (d *delivery) Wanted() bool { return d.hop.pool.wanted() }

// Abort ends the delivery; nothing was delivered.
func (d *delivery) Abort() {
	if d.ended {
		return
	}
	d.ended = true
	if d.sending {
		d.drop()
	}
	if d.c != nil {
		d.hop.recycleReset(d.c, d.priority)
		d.c, d.opened = nil, false
	}
}

// replayGroup bounds the commands of one write, so that their replies fit the
// socket's buffers and neither side waits for the other (RFC 2920 section 3.1).
const replayGroup = 50

// replay opens the transaction again after Park. Every answer must be as
// before: anything else is a fault, and nothing is sent.
func (d *delivery) replay(ctx context.Context, size int64) *fault {
	if f := d.obtain(ctx, false); f != nil {
		return f
	}
	c := d.c
	stop := c.watch(ctx)
	defer stop()
	b := &c.batch
	b.reset()
	if refusal := d.begin(b, size); !refusal.IsZero() {
		return changed(c.name, "the extensions", refusal.String())
	}
	for i := range d.rcpts {
		b.rcpt(d.rcpts[i].Path.String(), &d.rcpts[i], c.ext)
		if len(b.ends) < replayGroup && i < len(d.rcpts)-1 {
			continue
		}
		f := d.run(ctx, func(k kind, rep reply) *fault {
			if rep.class() != 2 {
				f := changed(c.name, k.String(), rep.line())
				if k == kindMail && rep.code == 552 {
					// The size is known now: too big stays too big.
					f.reply = d.show(rep.forClient(d.tx.Params.SMTPUTF8))
				}
				return f
			}
			return nil
		})
		if f != nil {
			return f
		}
		b.reset()
	}
	d.opened = true
	return nil
}

func changed(name, what, now string) *fault {
	f := lost(fmt.Errorf("%s: after the upload %s was answered %q, before it was accepted", name, what, now))
	f.retry = false
	return f
}
