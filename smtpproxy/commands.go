package smtpproxy

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"garita/mail"
)

// offer is what EHLO announced; a parameter that was not offered is refused.
type offer struct {
	size                        int64
	eightBit, utf8, dsn, chunks bool
}

// offerNow is what every next hop of the listener has (RFC 5321 section
// 2.2.1: announce only what we can keep; attacks S-176, S-178).
func (s *session) offerNow() offer {
	o := offer{size: s.ln.MaxMessageSize, eightBit: true, utf8: true, dsn: true, chunks: s.ln.Chunking}
	for _, hop := range s.ln.Router.NextHops() {
		c := hop.Capabilities()
		o.eightBit = o.eightBit && c.EightBitMIME
		o.utf8 = o.utf8 && c.SMTPUTF8
		o.dsn = o.dsn && c.DSN
		if c.Size > 0 && (o.size == 0 || c.Size < o.size) {
			o.size = c.Size
		}
	}
	return o
}

func (s *session) helo(ctx context.Context, arg string) { s.hello(ctx, arg, false) }
func (s *session) ehlo(ctx context.Context, arg string) { s.hello(ctx, arg, true) }

// maxHelo bounds the name that is kept of a client: a domain has 255 octets.
const maxHelo = 255

// hello is HELO and EHLO (RFC 5321 section 4.1.1.1). The name is not judged
// here, beyond what could harm; filters/helo does that.
func (s *session) hello(ctx context.Context, arg string, esmtp bool) {
	name := strings.TrimSpace(arg)
	if name == "" || len(name) > maxHelo {
		s.fail(mail.Permanent(501, "5.4", "Syntax: EHLO hostname"))
		return
	}
	if s.srv.isOwnSocket(s.s.Peer, addrPort(s.raw.LocalAddr())) || s.dst.IsValid() && s.srv.isOwnSocket(s.s.Client, s.dst) {
		s.srv.log.ClientWarn(&s.s, "our own relay connected to us: a next hop leads back here",
			slog.String("listener", s.ln.Name))
		s.out.reply(mail.Temporary(421, "4.6", "Mail would loop back to myself"))
		s.close()
		return
	}
	if !s.s.Trusted && !s.inStep() {
		return
	}
	s.dropTransaction(ctx, "EHLO")
	s.s.Helo, s.esmtp = name, esmtp
	if s.said != nil && s.said.helo != nil && *s.said.helo != "" {
		s.s.Helo = *s.said.helo // XCLIENT: this EHLO is the peer's own
	}
	s.s.Proto = s.protocol(esmtp)
	if d := s.set.Policy.Helo(ctx, &s.s); d.Verdict == mail.Reject || d.Verdict == mail.Defer {
		s.refuse("HELO", name, s.refusal(d), d)
		return
	}
	if s.greeted { // a repeated EHLO is chatter
		if s.junk++; s.junk > s.set.Limits.JunkCommands {
			s.fail(mail.Temporary(450, "7.0", "Error: too many EHLO commands"))
			return
		}
	}
	s.greeted = true
	if !esmtp {
		s.out.bare = true
		s.out.reply(mail.OK(250, "", s.set.Hostname))
		return
	}
	s.out.bare = false
	s.offer = s.offerNow()
	s.out.reply(mail.OK(250, "", s.announce()))
}

func (s *session) protocol(esmtp bool) string {
	switch {
	case s.s.TLS == nil && s.said != nil && s.said.proto != nil && *s.said.proto != "":
		return *s.said.proto
	case s.login.done && s.s.TLS == nil:
		return "ESMTPA" // XCLIENT said who it is; AUTH is under TLS alone
	case s.login.done:
		return "ESMTPSA" // RFC 3848
	case s.s.TLS != nil:
		return "ESMTPS"
	case esmtp:
		return "ESMTP"
	}
	return "SMTP"
}

// announce is the EHLO answer.
func (s *session) announce() string {
	var b strings.Builder
	b.WriteString(s.set.Hostname)
	b.WriteString("\nPIPELINING\nSIZE ")
	b.WriteString(strconv.FormatInt(s.offer.size, 10))
	if s.canTLS() {
		b.WriteString("\nSTARTTLS")
	}
	if s.offersAuth() {
		b.WriteString("\nAUTH PLAIN LOGIN")
	}
	if s.ln.XForward && s.s.Trusted {
		b.WriteString("\nXFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
	}
	if s.mayXClient() {
		b.WriteString("\nXCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT")
	}
	b.WriteString("\nENHANCEDSTATUSCODES")
	if s.offer.eightBit {
		b.WriteString("\n8BITMIME")
	}
	if s.offer.utf8 {
		b.WriteString("\nSMTPUTF8")
	}
	if s.offer.dsn {
		b.WriteString("\nDSN")
	}
	if s.offer.chunks {
		b.WriteString("\nCHUNKING")
	}
	return b.String()
}

func (s *session) canTLS() bool { return s.ln.STARTTLS && s.ln.TLS != nil && s.s.TLS == nil }

// mail is MAIL FROM (RFC 5321 section 4.1.1.2).
func (s *session) mail(ctx context.Context, arg string) {
	switch {
	case !s.greeted:
		s.fail(mail.Permanent(503, "5.1", "Error: send HELO/EHLO first"))
		return
	case s.tx != nil:
		// The first transaction stays as it was (attacks M-12, S-57).
		s.fail(mail.Permanent(503, "5.1", "Error: nested MAIL command"))
		return
	case s.ln.RequireTLS && s.s.TLS == nil:
		s.fail(mail.Permanent(530, "7.0", "Must issue a STARTTLS command first"))
		return
	}
	rest, ok := cutFold(arg, "FROM:")
	if !ok {
		s.fail(mail.Permanent(501, "5.4", "Syntax: MAIL FROM:<address>"))
		return
	}
	path, params, reply := mail.ParseMail(rest, s.allowed())
	if reply != nil {
		s.fail(*reply)
		return
	}
	if r, must := s.mustLogin(); must {
		s.refuse("MAIL", path.String(), r, mail.Decision{})
		return
	}
	if r := mail.Sendable(path); r != nil {
		s.refuse("MAIL", path.String(), *r, mail.Decision{})
		return
	}
	if limit := s.sizeLimit(); limit > 0 && params.Size > limit {
		s.refuse("MAIL", path.String(), mail.Permanent(552, "3.4", "Message size exceeds fixed limit"), mail.Decision{})
		return
	}
	if err := s.srv.spoolRoom(s.set.Limits.FreeDisk); err != nil {
		s.srv.alarm("spool file system is short of space; mail is deferred", slog.String("error", err.Error()))
		s.refuse("MAIL", path.String(), mail.Temporary(452, "3.1", "Insufficient system storage"), mail.Decision{})
		return
	}
	if s.over(ActMessage) {
		s.refuse("MAIL", path.String(), replyMessages, mail.Decision{})
		return
	}
	s.begin(ctx, path, params)
}

// allowed are the parameters that we announced to this client.
func (s *session) allowed() mail.Allowed {
	if !s.esmtp {
		return mail.Allowed{}
	}
	return mail.Allowed{Size: true, EightBitMIME: s.offer.eightBit, SMTPUTF8: s.offer.utf8, DSN: s.offer.dsn, Auth: s.hasAuth()}
}

// begin opens the transaction that MAIL asked for.
func (s *session) begin(ctx context.Context, path mail.Path, params mail.Params) {
	t := &transaction{started: time.Now(), limit: s.sizeLimit()}
	t.Session = &s.s
	t.ID = s.srv.ids.Next()
	t.Direction = mail.In
	t.Forwarded, s.forward = s.forward, nil
	if s.s.Role == mail.Outbound || (t.Forwarded != nil && t.Forwarded.Source == "LOCAL") {
		t.Direction = mail.Out
	}
	t.ReversePath, t.Params, t.Identity = path, params, s.identity()
	d := s.set.Policy.Mail(ctx, &t.Transaction)
	s.tx, s.extra = t, 0
	if (d.Verdict == mail.Reject || d.Verdict == mail.Defer) && !s.holdsInstead(d) {
		r := s.refusal(d)
		s.refuse("MAIL", path.String(), r, d)
		s.endTransaction(ctx, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}})
		return
	}
	s.out.reply(replyMailOK)
}

var (
	replyMailOK = mail.OK(250, "1.0", "Ok")
	replyRcptOK = mail.OK(250, "1.5", "Ok")
	replyOK     = mail.OK(250, "0.0", "Ok")
)

// sizeLimit is the largest message that this listener takes now, in octets.
func (s *session) sizeLimit() int64 {
	if s.offer.size > 0 {
		return s.offer.size
	}
	return s.ln.MaxMessageSize
}

// rcpt is RCPT TO (RFC 5321 section 4.1.1.3): grammar, then relay permission
// and route, then the checks, then the next hop itself.
func (s *session) rcpt(ctx context.Context, arg string) {
	t := s.tx
	switch {
	case t == nil:
		s.fail(mail.Permanent(503, "5.1", "Error: need MAIL command"))
		return
	case t.body != nil:
		s.fail(mail.Permanent(503, "5.1", "Error: BDAT has begun"))
		return
	}
	rest, ok := cutFold(arg, "TO:")
	if !ok {
		s.fail(mail.Permanent(501, "5.4", "Syntax: RCPT TO:<address>"))
		return
	}
	r, reply := mail.ParseRcpt(rest, t.Params.SMTPUTF8, s.allowed())
	if reply != nil {
		s.fail(*reply)
		return
	}
	t.tried++
	if bad := mail.Routable(r.Path); bad != nil {
		s.refuse("RCPT", r.String(), *bad, mail.Decision{})
		return
	}
	if len(t.ForwardPaths) >= s.set.Limits.MaxRecipients {
		s.tooMany(r, replyMaxRecipients)
		return
	}
	if s.over(ActRecipient) {
		s.refuse("RCPT", r.String(), replyRecipients, mail.Decision{})
		return
	}
	exempt := s.ln.roleAddress(r.Path)
	if r.Domain == "" {
		r.Path = s.ln.postmaster // RFC 5321 section 4.5.1
	}
	s.ask(ctx, r, exempt)
}

// refusal is the reply of a refusing decision on this listener. Where a 5xx
// would make the MTA before us bounce to a forged sender, a reject becomes a
// hold; without a holding place that is "try again" (design section 4.10).
func (s *session) refusal(d mail.Decision) mail.Reply {
	r := decisionReply(d)
	if d.Verdict == mail.Reject && s.ln.RejectAs == "hold" {
		return mail.Temporary(451, "7.1", "Held back by local policy")
	}
	return r
}

// becomesHold tells a reject before the message for which the message is taken
// and held: the MTA before us gets no 5xx, and keeps nothing in its queue.
func (s *session) becomesHold(d mail.Decision) bool {
	return d.Verdict == mail.Reject && s.ln.RejectAs == "hold" && s.set.Keeper != nil
}

// holdsInstead notes such a reject.
func (s *session) holdsInstead(d mail.Decision) bool {
	if !s.becomesHold(d) {
		return false
	}
	if s.tx.toHold == nil {
		s.tx.toHold, s.tx.holdAll = &d, &d
	}
	return true
}

// refuse answers a refusal and logs it. The refusals of policy and of the
// next hop spend the error budget too: that is what stops a harvest.
func (s *session) refuse(verb, what string, r mail.Reply, d mail.Decision) {
	var tx *mail.Transaction
	if s.tx != nil {
		tx = &s.tx.Transaction
	}
	s.srv.log.Reject(&s.s, tx, verb, what, r)
	s.srv.stats.refusals.Add(1)
	s.refuseWith(r)
	if verb == "RCPT" {
		s.harvest(r)
	}
	if d.Close && s.ownUser() && !s.closing {
		s.close()
	}
}

func (s *session) rset(ctx context.Context, arg string) {
	if arg != "" {
		s.fail(mail.Permanent(501, "5.4", "Syntax: RSET"))
		return
	}
	s.dropTransaction(ctx, "RSET")
	s.forward = nil
	s.chatter(replyOK)
}

func (s *session) noop(context.Context, string) { s.chatter(replyOK) }

// vrfy says the same of every address (RFC 5321 section 7.3).
func (s *session) vrfy(_ context.Context, arg string) {
	if strings.TrimSpace(arg) == "" {
		s.fail(mail.Permanent(501, "5.4", "Syntax: VRFY address"))
		return
	}
	s.chatter(mail.OK(252, "5.2", "Cannot VRFY user, but will accept message and attempt delivery"))
}

func (s *session) help(context.Context, string) {
	s.chatter(mail.OK(214, "0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS"))
}

func (s *session) quit(ctx context.Context, arg string) {
	if arg != "" {
		s.fail(mail.Permanent(501, "5.4", "Syntax: QUIT"))
		return
	}
	s.dropTransaction(ctx, "QUIT")
	s.out.reply(mail.OK(221, "0.0", "Bye"))
	s.close()
}

// cutFold removes a prefix whatever its case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
