package smtpproxy

import (
	"context"
	"log/slog"
	"time"

	"garita/mail"
)

// Answers to a recipient that are ours.
var (
	replyMaxRecipients = mail.Temporary(452, "5.3", "Error: too many recipients")
	replyAlone         = mail.Temporary(452, "5.3", "Send this recipient in a message of its own")
)

// maxOvershoot is how many recipients one message may have beyond those that
// fit, or that are in its envelope already, until each further one counts as
// chatter: Postfix's smtpd_recipient_overshoot_limit. A list's server that
// names 1,200 recipients, or 200 aliases of one mailbox, does as RFC 5321
// section 4.5.3.1.10 says; closing its session would lose the message for all
// that were accepted, again at every retry.
const maxOvershoot = 1000

// overshoot answers such a recipient.
func (s *session) overshoot(r mail.Reply) {
	if s.extra++; s.extra > maxOvershoot {
		s.chatter(r)
		return
	}
	s.out.reply(r)
}

// tooMany is refuse for a recipient that does not fit.
func (s *session) tooMany(to mail.Recipient, r mail.Reply) {
	s.srv.log.Reject(&s.s, &s.tx.Transaction, "RCPT", to.String(), r)
	s.srv.stats.refusals.Add(1)
	s.overshoot(r)
}

// ask routes a recipient, lets the checks look, and asks the next hop for
// what it stands for.
func (s *session) ask(ctx context.Context, r mail.Recipient, exempt bool) {
	t := s.tx
	hop, denied := s.ln.Router.Route(&t.Transaction, r)
	if denied != nil {
		s.refuse("RCPT", r.String(), *denied, mail.Decision{})
		return
	}
	if t.hop != nil && t.hop.Name() != hop.Name() || len(t.ForwardPaths) > 0 && t.exempt != exempt {
		// One transaction, one next hop and one way to be judged: the end of
		// data has one honest answer. The client comes back with this one.
		s.out.reply(replyAlone)
		return
	}
	if t.has(r.Path) {
		s.overshoot(replyRcptOK) // asked once, delivered once (S-149)
		return
	}
	if len(t.ForwardPaths) == 0 {
		t.exempt, t.Exempt = exempt, ""
	}
	d := s.set.Policy.Rcpt(ctx, &t.Transaction, r)
	toHold := t.holdAll
	if s.refuses(d) {
		if !s.becomesHold(d) {
			s.refuse("RCPT", r.String(), s.refusal(d), d)
			return
		}
		if toHold == nil {
			why := d // d itself stays on the stack
			toHold = &why
		}
	}
	if len(t.ForwardPaths) > 0 && (toHold == nil) != (t.toHold == nil) {
		s.out.reply(replyAlone) // nobody's mail is held for another's sake
		return
	}
	targets, bad := s.rewrite(r)
	if bad != nil {
		s.tooMany(r, *bad)
		return
	}
	if len(targets) == 0 {
		s.overshoot(replyRcptOK) // all of them are in the envelope
		return
	}
	if t.delivery == nil {
		t.hop, t.NextHop = hop, hop.Name()
		t.delivery = hop.Begin(&t.Transaction)
	}
	if s.accept(ctx, r, targets) {
		t.toHold = toHold
	}
}

// has tells that the envelope holds the path, or an alias by that name.
func (t *transaction) has(p mail.Path) bool {
	for i := range t.ForwardPaths {
		if f := &t.ForwardPaths[i]; f.Path == p && f.Alias.IsNull() || f.Alias == p {
			return true
		}
	}
	return false
}

// rewrite gives what the next hop is to be asked for: the recipient itself,
// or what an alias leads to, without those that are in the envelope already.
// Route has seen to it that all of them have the recipient's next hop.
func (s *session) rewrite(r mail.Recipient) (out []mail.Recipient, bad *mail.Reply) {
	t := s.tx
	targets := s.ln.Router.Rewrite(&t.Transaction, r)
	if len(targets) == 0 {
		targets = []mail.Recipient{r}
	}
	for _, to := range targets {
		if to.Path != r.Path {
			to.Alias = r.Path
		}
		if !contained(t.ForwardPaths, to.Path) && !contained(out, to.Path) {
			out = append(out, to)
		}
	}
	if len(t.ForwardPaths)+len(out) > s.set.Limits.MaxRecipients {
		if len(out) > s.set.Limits.MaxRecipients {
			s.srv.alarm("an alias names more than max_recipients addresses; its mail is deferred",
				slog.String("alias", r.String()), slog.Int("addresses", len(out)))
		}
		later := replyMaxRecipients
		return nil, &later
	}
	return out, nil
}

// contained tells that the path is one of the recipients.
func contained(rs []mail.Recipient, p mail.Path) bool {
	for i := range rs {
		if rs[i].Path == p {
			return true
		}
	}
	return false
}

// accept asks the next hop for all that a recipient stands for. All or none:
// when one is refused, those before it are taken out of the envelope again,
// because the sender is told that nobody was accepted.
func (s *session) accept(ctx context.Context, r mail.Recipient, targets []mail.Recipient) bool {
	t := s.tx
	var reply mail.Reply
	for i, to := range targets {
		if reply = s.askHop(ctx, to); reply.Positive() {
			continue
		}
		if i > 0 && t.delivery != nil {
			t.delivery.Forget(targets[:i])
			t.parked, t.waited = true, 0
			t.parks++
		}
		if reply.Code == 452 && reply.Enhanced == replyAlone.Enhanced {
			// The next hop takes this one in a message of its own (LMTP, too
			// many recipients): an order of things, no error of the client's.
			s.out.reply(reply)
			return false
		}
		if !to.Alias.IsNull() {
			if reply.Permanent() {
				s.srv.alarm("an alias leads to an address that the next hop refuses",
					slog.String("alias", r.String()), slog.String("to", to.String()), slog.String("reply", reply.String()))
			}
			// Not asked for by the client, so not counted as its guess.
			s.refuseAlias(r, reply)
			return false
		}
		s.refuse("RCPT", r.String(), reply, mail.Decision{})
		return false
	}
	t.ForwardPaths = append(t.ForwardPaths, targets...)
	s.out.reply(reply)
	return true
}

// refuseAlias is refuse without the count of unknown recipients.
func (s *session) refuseAlias(r mail.Recipient, reply mail.Reply) {
	s.srv.log.Reject(&s.s, &s.tx.Transaction, "RCPT", r.String(), reply)
	s.srv.stats.refusals.Add(1)
	s.refuseWith(reply)
}

// askHop asks the next hop for one address.
func (s *session) askHop(ctx context.Context, r mail.Recipient) mail.Reply {
	t := s.tx
	if t.parks >= maxParks {
		return mail.Temporary(451, "4.2", "Too slow, try again later")
	}
	if s.out.waitsSince(time.Second) && s.flush() != nil {
		s.close()
		return mail.Temporary(451, "4.2", "Connection lost")
	}
	t.parked = false // asking takes a connection again
	// A fault of the next hop is told by the relay, once a minute; here the
	// log has the refusal.
	reply, _ := t.delivery.Rcpt(ctx, r)
	return reply
}
