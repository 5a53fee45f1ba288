package smtpproxy

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"garita/mail"
)

// maxCopies bounds the recipients that rules add to one message.
const maxCopies = 20

// replyAstray stands for whatever keeps us from sending a message where the
// operator's rules want it: his fault or another server's, never the sender's,
// who is not told where his mail was to go.
var replyAstray = mail.Temporary(451, "3.5", "Mail cannot be routed now, try again later")

// readdressed is what became of the envelope by the operator's rules.
type readdressed struct {
	done      []mail.EnvelopeEdit
	to        []mail.Recipient // that the next hop was given; nil: the client's
	elsewhere bool
	note      string
}

// readdress does to the envelope what rules ask for, after the message was
// judged and before DATA: nothing was sent yet, so whatever fails here leaves
// the message with its sender and nothing delivered, and a 250 is still that
// of the next hop which takes it.
//
// A redirect beats routes, and the last of each counts (as Postfix's REDIRECT
// overrides FILTER). For both the delivery that was opened while the client
// talked is given up and another is begun; what answers otherwise there than
// 2xx is our 451, because every recipient was accepted before (design section
// 6). Copies are recipients more, whatever else was done: one that is refused
// for good is left out with a warning, as Postfix would bounce the copy alone;
// one that is refused for now defers the message, so that no copy is lost.
//
// A next hop over LMTP takes one recipient: a copy there is left out, and a
// route of several recipients to it is 451. A message that is sent round in a
// circle is ended by the count of its Received fields.
func (s *session) readdress(ctx context.Context, edits []mail.EnvelopeEdit) (r readdressed, ok bool) {
	var redirect, route *mail.EnvelopeEdit
	var copies []mail.EnvelopeEdit
	for i := range edits {
		switch e := &edits[i]; e.Kind {
		case mail.EditRedirect:
			redirect = e
		case mail.EditRoute:
			route = e
		case mail.EditBCC:
			copies = append(copies, *e)
		default: // of a rule that we do not understand: not a silent no
			s.astray(e, "an unknown edit of the envelope", mail.Reply{})
			r.note = "unknown edit of the envelope"
			return r, false
		}
	}
	switch {
	case redirect != nil:
		ok = s.redirect(ctx, redirect, &r)
	case route != nil:
		ok = s.route(ctx, route, &r)
	default:
		ok = true
	}
	return r, ok && s.copies(ctx, copies, &r)
}

// redirect begins a delivery to the one address.
func (s *session) redirect(ctx context.Context, e *mail.EnvelopeEdit, r *readdressed) bool {
	t := s.tx
	hop, paths, denied := s.ln.Router.Redirect(&t.Transaction, e.To.Path)
	if denied != nil {
		r.note = "a rule's redirect has no route"
		s.astray(e, "a rule redirects mail to an address that has no route; it is deferred", *denied)
		return false
	}
	first := t.ForwardPaths[0]
	to := make([]mail.Recipient, 0, len(paths))
	for _, p := range paths {
		if contained(to, p) {
			continue
		}
		// What the sender asked of the first recipient's delivery holds for the
		// one that takes his place, as in Postfix.
		n := first
		n.Path, n.Alias = p, first.Asked()
		if n.Path == n.Alias {
			n.Alias = mail.Path{}
		}
		to = append(to, n)
	}
	if len(to) == 1 && len(t.ForwardPaths) == 1 && to[0].Path == first.Path && hop.Name() == t.hop.Name() {
		return true // it goes there
	}
	if !s.instead(ctx, e, hop, to, r) {
		return false
	}
	r.to = to
	return true
}

// route begins a delivery of all recipients to the next hop that is named.
func (s *session) route(ctx context.Context, e *mail.EnvelopeEdit, r *readdressed) bool {
	t := s.tx
	hop := s.ln.Router.Hop(e.Hop)
	if hop == nil {
		r.note = "a rule's route names no next hop"
		s.astray(e, "a rule routes mail to a next hop that does not exist; it is deferred", mail.Reply{})
		return false
	}
	if hop.Name() == t.hop.Name() {
		return true
	}
	return s.instead(ctx, e, hop, t.ForwardPaths, r)
}

// instead gives up the delivery that was opened and begins another one. The
// first goes before: it may hold the one connection that there is.
func (s *session) instead(ctx context.Context, e *mail.EnvelopeEdit, hop NextHop, to []mail.Recipient, r *readdressed) bool {
	t := s.tx
	t.delivery.Abort()
	t.hop, t.NextHop, t.parked = hop, hop.Name(), false
	t.delivery = hop.Begin(&t.Transaction)
	for _, n := range to {
		if reply, _ := t.delivery.Rcpt(ctx, n); !reply.Positive() {
			r.note = "a rule's " + e.Kind + " was refused: " + reply.String()
			s.astray(e, "the server that a rule sends mail to refuses it; the mail is deferred", reply)
			return false
		}
	}
	r.done, r.elsewhere = append(r.done, *e), true
	return true
}

// copies adds recipients to the delivery.
func (s *session) copies(ctx context.Context, edits []mail.EnvelopeEdit, r *readdressed) bool {
	t := s.tx
	added := 0
	for i := range edits {
		e := &edits[i]
		_, paths, denied := s.ln.Router.Redirect(&t.Transaction, e.To.Path)
		if denied != nil {
			// The message's own next hop may know it all the same.
			paths = []mail.Path{e.To.Path}
		}
		made := false
		for _, p := range paths {
			have := r.to
			if have == nil {
				have = t.ForwardPaths
			}
			if slices.ContainsFunc(have, func(to mail.Recipient) bool { return to.Path.Equal(p) }) {
				continue
			}
			if added++; added > maxCopies {
				if made {
					r.done = append(r.done, *e)
				}
				s.astray(e, "rules add too many recipients to a message; the rest was left out", mail.Reply{})
				return true
			}
			n := mail.Recipient{Path: p, Notify: []string{"NEVER"}}
			t.parked = false // asking takes a connection again
			reply, _ := t.delivery.Rcpt(ctx, n)
			switch {
			case reply.Positive():
				r.to = append(append(make([]mail.Recipient, 0, len(have)+1), have...), n)
				made = true
			case reply.Permanent(), reply.Code == 452 && reply.Enhanced == replyAlone.Enhanced:
				// "Too many recipients" would be said again at each attempt.
				s.astray(e, "a copy that a rule asks for was refused; the message goes on without it", reply)
				r.note = "the copy for " + p.String() + " was refused: " + reply.String()
			default:
				s.astray(e, "a copy that a rule asks for was refused for now; the mail is deferred", reply)
				r.note = "a rule's copy was refused for now: " + reply.String()
				return false
			}
		}
		if made {
			r.done = append(r.done, *e)
		}
	}
	return true
}

// astray warns of an edit that could not be made, and counts it.
func (s *session) astray(e *mail.EnvelopeEdit, text string, reply mail.Reply) {
	s.srv.stats.astray.Add(1)
	attrs := []slog.Attr{slog.String("id", s.tx.ID), slog.String("rule", e.Rule), slog.String(e.Kind, target(e))}
	if !reply.IsZero() {
		attrs = append(attrs, slog.String("reply", reply.String()))
	}
	s.srv.log.Warn("smtpd", text, attrs...)
}

// target is where an edit leads.
func target(e *mail.EnvelopeEdit) string {
	if e.Kind == mail.EditRoute {
		return e.Hop
	}
	return e.To.String()
}

// tell puts what was done into the outcome.
func (r *readdressed) tell(o *mail.Outcome) {
	o.Envelope, o.Recipients = r.done, r.to
	if r.note != "" {
		if o.Detail != "" {
			o.Detail += "; "
		}
		o.Detail += r.note
	}
	if !r.elsewhere && r.to == nil {
		return
	}
	for i := range o.Replies {
		// What a server says may name its own users ("<x> saved"), and whoever
		// has a copy is nobody whom the sender is to know.
		switch p := &o.Replies[i]; {
		case p.Positive() && o.QueueID != "" && strings.Contains(p.Text, o.QueueID):
			p.Text = "Ok: queued as " + o.QueueID
		case p.Positive():
			p.Text = "Ok"
		case p.Permanent():
			p.Text = "Refused by the next mail server"
		case p.Temporary():
			p.Text = "Not possible at the moment, please try again later"
		}
	}
}

// notReaddressed are notes for whoever looks at a message that is held: it is
// kept for those whom it was sent to, and a person decides where it goes.
func notReaddressed(edits []mail.EnvelopeEdit) (out []mail.Finding) {
	for i := range edits {
		e := &edits[i]
		out = append(out, mail.Finding{Symbol: "envelope." + e.Kind, Filter: "envelope", Rule: e.Rule, Stage: mail.StageMessage, Counted: true,
			Detail: "a rule asks for it; a message that is held stays for those whom it was sent to: " + target(e)})
	}
	return out
}
