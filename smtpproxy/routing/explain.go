package routing

import (
	"garita/mail"
	"garita/smtpproxy"
)

// Explanation says which lines decided on a recipient, for `garita route`.
type Explanation struct {
	// Refused is the answer at RCPT; nil when the recipient is taken.
	Refused *mail.Reply
	// Because is the reason in words, for the operator.
	Because string
	// By is the line that refused or allowed: of a recipient list or an alias.
	By Line
	// NextHop is where the mail goes; empty when it is refused.
	NextHop string
	// Targets are the addresses that go to the next hop, one at least.
	Targets []Target
}

// Target is one address of an Explanation.
type Target struct {
	Address string // by the grammar, as it would be sent
	NextHop string
	// Route is the line of the route; none when a next_hop key decided.
	Route Line
	// Because is what decided, in words.
	Because string
	// Aliases are the lines that led from the recipient to this address.
	Aliases []Line
}

// Explain tells what would become of a recipient of a permitted client:
// trusted or logged in where the listener asks for that. The circle, which
// depends on the client, it does not look at.
func (r *Router) Explain(to, from mail.Path) Explanation {
	tx := &mail.Transaction{Session: &mail.Session{Trusted: true}}
	tx.ReversePath = from
	if !r.may(tx, to) {
		return Explanation{Refused: refuse(replyRelay), Because: to.DomainKey() + " is not in relay_domains"}
	}
	if r.role == mail.ContentFilter {
		return Explanation{
			NextHop: r.fallback.Name(), Because: "a content filter gives all mail to the listener's next_hop",
			Targets: []Target{{Address: to.String(), NextHop: r.fallback.Name(), Because: "the listener's next_hop"}},
		}
	}
	var e Explanation
	var buf [maxKey]byte
	k := makeKey(buf[:], to, r.t.sign())
	home, ours := r.own[string(k.domain())]
	boxes, err := r.boxes(to, true)
	if err != nil {
		e.Refused, e.Because = replyFor(err), "the alias "+err.Error()
		a, _, _ := r.t.findAlias(k)
		e.By = r.t.at(a.where)
		return e
	}
	switch {
	case !ours:
		e.Because = "not a domain of ours"
	case len(boxes) > 0:
		e.Because = "an alias"
		a, _, _ := r.t.findAlias(k)
		e.By = r.t.at(a.where)
	default:
		var ok, listed bool
		var at where
		if ok, listed, at = r.t.exists(k); !ok && string(k.full) != r.postmaster {
			return Explanation{Refused: refuse(replyUnknown), Because: "the recipient list has the domain and not this recipient", By: r.t.at(at)}
		}
		e.Because = "a domain of ours without a recipient list: the next hop is asked"
		if listed {
			e.Because, e.By = "a recipient that exists", r.t.at(at)
		}
	}
	e.targets(r, to, from, home, boxes)
	return e
}

// targets fills in where each address goes.
func (e *Explanation) targets(r *Router, to, from mail.Path, home smtpproxy.NextHop, boxes []mailbox) {
	if len(boxes) == 0 {
		var buf [maxKey]byte
		hop, at := r.route(makeKey(buf[:], to, r.t.sign()), from, home)
		e.Targets = []Target{{Address: to.String(), NextHop: hop.Name(), Because: r.because(at, home != nil)}}
		if at.file != 0 {
			e.Targets[0].Route = r.t.at(at)
		}
	}
	for _, b := range boxes {
		hop, at := r.boxRoute(b.Path, home)
		t := Target{Address: b.String(), NextHop: hop.Name(), Because: r.because(at, true)}
		if at.file != 0 {
			t.Route = r.t.at(at)
		}
		for _, w := range b.via {
			t.Aliases = append(t.Aliases, r.t.at(w))
		}
		e.Targets = append(e.Targets, t)
	}
	e.NextHop = e.Targets[0].NextHop
	for _, t := range e.Targets {
		if t.NextHop != e.NextHop {
			e.NextHop, e.Refused, e.Because = "", refuse(replyTables), "the targets lead to more than one next hop"
		}
	}
}

// because says what decided on a next hop.
func (r *Router) because(at where, ours bool) string {
	switch {
	case at.file != 0:
		return "a route"
	case ours && r.role == mail.Outbound:
		return "the next_hop of the inbound listener with the domain"
	}
	return "the listener's next_hop"
}

// Lines is the explanation as text, one fact a line. Addresses stand in the
// form of the grammar, which holds no control characters.
func (e Explanation) Lines() []string {
	because := e.Because
	if e.By != (Line{}) {
		because += " (" + e.By.String() + ")"
	}
	out := []string{"accepted: " + because}
	if e.Refused != nil {
		out[0] = "refused: " + e.Refused.String() + ": " + because
	}
	for _, t := range e.Targets {
		s := t.Address + " -> " + t.NextHop + ": " + t.Because
		if t.Route != (Line{}) {
			s += " (" + t.Route.String() + ")"
		}
		for i, a := range t.Aliases {
			if i == 0 {
				s += ", by alias "
			} else {
				s += ", "
			}
			s += a.String()
		}
		out = append(out, s)
	}
	return out
}
