package rules

import (
	"garita/mail"
)

// readEnvelope tries the conditions about the envelope, the connection and the
// message as a whole.
func (r *run) readEnvelope() {
	tx := r.in.Tx
	session := tx.Session
	if session == nil {
		session = &mail.Session{}
	}
	for _, v := range r.s.envelope {
		p := &spot{file: -1}
		switch v.subject {
		case Client:
			r.client(v, session, p)
		case Host:
			// A name that was not confirmed is a claim of a stranger.
			if session.Host.Confirmed {
				r.word(v, session.Host.Name, p)
			} else {
				r.word(v, "", p)
			}
		case Helo:
			r.word(v, session.Helo, p)
		case Sender:
			r.path(v, tx.ReversePath, p)
		case SenderDomain:
			r.domain(v, tx.ReversePath, p)
		case Recipient, RecipientDomain:
			r.recipients(v, tx, p)
		case Recipients:
			r.number(v, int64(len(tx.ForwardPaths)), p)
		case User:
			r.word(v, tx.Identity.User, p)
		case Listener:
			r.word(v, session.Listener, p)
		case Size:
			r.number(v, int64(len(r.in.Raw)), p)
		case Defect:
			r.defects(v)
		}
	}
}

func (r *run) word(v *view, s string, p *spot) { r.feed(v, []byte(s), p) }

func (r *run) client(v *view, s *mail.Session, p *spot) {
	a := s.Client.Addr()
	if !a.IsValid() {
		return
	}
	r.address(v, a, p)
	r.word(v, a.Unmap().WithZone("").String(), p)
}

// path tries an address as it was written and with its domain in A-labels.
func (r *run) path(v *view, a mail.Path, p *spot) {
	r.word(v, a.String(), p)
	if a.IsNull() {
		return
	}
	if plain := a.Local + "@" + a.Domain; plain != a.String() {
		r.word(v, plain, p)
	}
	if key := a.DomainKey(); key != a.Domain {
		r.word(v, a.Local+"@"+key, p)
	}
}

func (r *run) domain(v *view, a mail.Path, p *spot) {
	r.word(v, a.Domain, p)
	if key := a.DomainKey(); key != a.Domain {
		r.word(v, key, p)
	}
}

// recipients tries each recipient, also as the client asked for it.
func (r *run) recipients(v *view, tx *mail.Transaction, p *spot) {
	for i := range tx.ForwardPaths {
		rcpt := &tx.ForwardPaths[i]
		each := rcpt.Path
		for {
			if v.subject == Recipient {
				r.path(v, each, p)
			} else {
				r.domain(v, each, p)
			}
			if asked := rcpt.Asked(); asked != each {
				each = asked
				continue
			}
			break
		}
	}
}

func (r *run) defects(v *view) {
	if r.in.Index == nil {
		return
	}
	for i := range r.in.Index.Defects {
		d := &r.in.Index.Defects[i]
		p := &spot{file: -1, part: d.Part, at: d.At}
		if d.Part != nil {
			p.src = d.Part.Source
		}
		r.word(v, d.ID, p)
	}
}
