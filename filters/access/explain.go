package access

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"garita/mail"
)

// Found is an entry as Explain tells of it.
type Found struct {
	Rule    string // where it stands: "file:line" or key
	Key     string // as written
	Verdict mail.Verdict
	Reply   string // empty for an accept
	Reason  string
}

// Explain looks a value up as mail would: kind is client, name, helo, sender
// or recipient. The session is taken as trusted and its name as confirmed;
// tables with further conditions are passed over, since there is nothing that
// could fit them. found is false where no entry has anything to say; err is a
// value that cannot be looked up, or a configuration that cannot be used.
func Explain(c Config, kind, value string, now time.Time) (f Found, found bool, err error) {
	ls, errs, _ := build(c, func() time.Time { return now })
	if len(errs) > 0 {
		return f, false, errors.Join(errs...)
	}
	q := &query{s: &mail.Session{}, trusted: true}
	var m match
	switch kind {
	case "client":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return f, false, fmt.Errorf("%q is not an address", value)
		}
		m = ls.client(q, a)
	case "name":
		m = ls.host(q, value)
	case "helo":
		m = ls.heloName(q, value)
	case "sender", "recipient":
		p, rest, err := mail.ParseReverse("<"+value+">", true)
		if err != nil || rest != "" || kind == "recipient" && p.IsNull() {
			return f, false, fmt.Errorf("%q is not an address", value)
		}
		k := bySender
		if kind == "recipient" {
			k = byRecipient
		}
		m = ls.path(q, k, p)
	default:
		return f, false, fmt.Errorf("%q is not client, name, helo, sender or recipient", kind)
	}
	if m.entry == nil {
		return f, false, nil
	}
	a := m.entry.act
	f = Found{Rule: m.list.rule(m.entry), Key: m.entry.what, Verdict: a.verdict, Reason: a.reason}
	if a.reply != nil {
		f.Reply = a.reply.String()
	}
	return f, true, nil
}
