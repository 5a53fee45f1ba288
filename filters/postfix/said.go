package postfix

import (
	"fmt"
	"strconv"
	"strings"

	"garita/filters"
	"garita/mail"
	tables "garita/rules/postfix"
)

// said are the findings about one message.
type said struct {
	k   *Check
	tx  *mail.Transaction
	res filters.Result
	// told are the findings so far, more those that are only counted.
	told, more int
	// what HOLD and FILTER asked for counts only if nothing stronger comes.
	held       int // its finding, from 1
	discarded  bool
	redirected bool
}

func (s *said) add(f mail.Finding) { s.res.Findings = append(s.res.Findings, f) }

// symbol is the finding's, by the parameter that names the table.
func symbol(v tables.View) string {
	switch v {
	case tables.MIMEHeader:
		return "postfix.mime_header_checks"
	case tables.NestedHeader:
		return "postfix.nested_header_checks"
	case tables.Body:
		return "postfix.body_checks"
	}
	return "postfix.header_checks"
}

// detail is the line that Postfix would log, without what the log line has
// anyhow: "reject: header Subject: x: the text".
func detail(h *tables.Hit) string {
	kind := "header"
	if h.View == tables.Body {
		kind = "body"
	}
	d := h.Action.String() + ": " + kind + " " + printable(h.Subject)
	if h.Text != "" {
		d += ": " + printable([]byte(h.Text))
	}
	if h.Problem != "" {
		d += " (" + h.Problem + ")"
	}
	return d
}

// printable is text as Postfix logs it: what is not printable is "?", and it
// is cut.
func printable(text []byte) string {
	text = text[:min(len(text), maxText)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(text))
}

// hit tells one hit. Those that only tell are bounded, those with an effect
// never left out.
func (s *said) hit(h *tables.Hit) {
	f := mail.Finding{
		Symbol: symbol(h.View), Detail: detail(h), Where: "line " + strconv.Itoa(h.Line),
		Rule: s.k.t.names[h.View][h.Table] + ":" + strconv.Itoa(h.Rule),
	}
	if s.effect(h, &f) {
		s.add(f)
		return
	}
	if s.told++; s.told > maxFindings {
		s.more++
		return
	}
	s.add(f)
}

// effect fills in what a hit does; false: it only tells.
func (s *said) effect(h *tables.Hit, f *mail.Finding) bool {
	switch h.Action {
	case tables.Reject:
		f.Verdict, f.Reply = refusal(h)
	case tables.Broken:
		r := mail.Temporary(451, "3.0", "Temporary failure, try again later")
		f.Verdict, f.Reply = mail.Defer, &r
	case tables.Discard:
		f.Verdict, s.discarded = mail.Discard, true
	case tables.Hold:
		f.Verdict, s.held = mail.Quarantine, len(s.res.Findings)+1
	case tables.Redirect:
		s.redirected = true
		return s.address(mail.EditRedirect, h, f)
	case tables.Bcc:
		return s.address(mail.EditBCC, h, f)
	case tables.Filter:
		hop, ok := hopOf(h.Text, s.k.hops)
		if !ok {
			f.Mode, f.Detail = mail.Observe, f.Detail+" ("+noHop+")"
			return false
		}
		s.envelope(mail.EnvelopeEdit{Kind: mail.EditRoute, Hop: hop, Rule: f.Rule})
		return false
	case tables.Prepend, tables.Replace, tables.Ignore, tables.Strip:
		return false
	case tables.GivenUp:
		f.Mode, f.Detail = mail.Observe, "given up: nobody knows what the table would have said"
		return false
	default: // Warn, Info, Pass, and what does nothing
		f.Mode = mail.Observe
		return h.Action == tables.Pass
	}
	return true
}

// envelope notes where the message goes: of several routes the last counts, and
// a second copy to one address is none. It is false when there are too many.
func (s *said) envelope(e mail.EnvelopeEdit) bool {
	for i := range s.res.Envelope {
		switch old := &s.res.Envelope[i]; {
		case old.Kind != e.Kind:
		case e.Kind == mail.EditRoute:
			*old = e
			return true
		case old.To.Equal(e.To.Path):
			return true
		}
	}
	if len(s.res.Envelope) >= maxEnvelope {
		return false
	}
	s.res.Envelope = append(s.res.Envelope, e)
	return true
}

// address reads that of REDIRECT and BCC. A redirection to nowhere must not
// bring the message to those whom the operator wanted to spare: it is held.
func (s *said) address(kind mail.EnvelopeKind, h *tables.Hit, f *mail.Finding) bool {
	text := strings.TrimSpace(h.Text)
	p, rest, err := mail.ParseForward("<"+strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")+">", false)
	switch {
	case err != nil || rest != "":
		f.Detail += " (this is no address)"
	case s.envelope(mail.EnvelopeEdit{Kind: kind, To: mail.Recipient{Path: p}, Rule: f.Rule}):
		return kind == mail.EditRedirect
	default:
		f.Detail += " (too many)"
	}
	if kind == mail.EditRedirect {
		f.Verdict = mail.Quarantine
		return true
	}
	f.Mode = mail.Observe
	return false
}

// end settles what several hits ask for together.
func (s *said) end() {
	if s.discarded && s.held > 0 {
		// cleanup(8) throws away what it was told to throw away.
		s.res.Findings[s.held-1].Verdict = mail.Continue
	}
	if s.redirected {
		// REDIRECT overrides FILTER.
		kept := s.res.Envelope[:0]
		for _, e := range s.res.Envelope {
			if e.Kind != mail.EditRoute {
				kept = append(kept, e)
			}
		}
		s.res.Envelope = kept
	}
	if s.more > 0 {
		s.add(mail.Finding{Symbol: symbol(tables.Header), Mode: mail.Observe, Detail: fmt.Sprintf("%d hits more", s.more)})
	}
}

// refusal is the answer of REJECT: the reply's text and nothing else, as
// Postfix gives it.
func refusal(h *tables.Hit) (mail.Verdict, *mail.Reply) {
	text := printable([]byte(h.Text))
	if strings.TrimSpace(text) == "" {
		text = "message content rejected"
	}
	subject := h.Code[min(2, len(h.Code)):]
	if h.Reply/100 == 4 {
		r := mail.Temporary(h.Reply, subject, text)
		return mail.Defer, &r
	}
	r := mail.Permanent(h.Reply, subject, text)
	return mail.Reject, &r
}
