package access

import (
	"errors"
	"fmt"
	"strings"

	"garita/mail"
)

// kind is what the entry is looked up by: the last thing that it names.
func (t Entry) kind() (k kind, ok bool) {
	for i, s := range t.keys() {
		if s != "" {
			k, ok = kind(i), true
		}
	}
	return k, ok
}

func (t Entry) keys() [kindCount]string {
	return [kindCount]string{t.Client, t.Name, t.Helo, t.Sender, t.Recipient}
}

// weight is the number of things that the entry names.
func (t Entry) weight() (n int) {
	for _, s := range append(t.keysSlice(), t.Role, t.Direction) {
		if s != "" {
			n++
		}
	}
	return n
}

func (t Entry) keysSlice() []string { k := t.keys(); return k[:] }

// what describes the entry for the log.
func (t Entry) what() string {
	var parts []string
	for k, s := range t.keys() {
		if s != "" {
			parts = append(parts, [kindCount]string{"client", "name", "helo", "sender", "recipient"}[k]+"="+s)
		}
	}
	return strings.Join(parts, " ")
}

// table puts one table into the list of its kind.
func (b *builder) table(l *list, k kind, key, label string, t Entry) {
	before := len(b.errs) + b.moreErrs
	also := b.conditions(k, key, t)
	a := b.tableAction(k, key, t)
	if a != nil {
		// By address or confirmed name we know who it is: then the sender is
		// no longer anybody's word.
		known := t.Client != "" || t.Name != ""
		a.needsTrust = !known && (t.Helo != "" || t.Sender != "" && b.c.SenderAccept != "any")
		b.expired(spot{key: key, text: t.what()}, a)
	}
	e := entry{what: t.what(), act: a, also: also, line: int32(len(l.labels)), next: none}
	at := spot{key: key, text: t.what()}
	own := t.keys()[k]
	b.room--
	if k == byClient {
		p, _, err := parseNetwork(own)
		if err != nil {
			b.fail("%s.client: %w", key, err)
		}
		if len(b.errs)+b.moreErrs == before {
			l.labels = append(l.labels, label)
			b.network(l, at, p, e)
		}
		return
	}
	p := b.keyOf(k, key, own)
	if len(b.errs)+b.moreErrs == before {
		l.labels = append(l.labels, label)
		b.pattern(l, at, p, e)
	}
}

// keyOf reads a name or an address of a table.
func (b *builder) keyOf(k kind, key, s string) (p pattern) {
	if s == "" {
		return p
	}
	var err error
	if k == byName || k == byHelo {
		p, err = parseName(s, k, b.ls.parents)
	} else {
		p, err = parsePath(s, k, b.ls.parents)
	}
	if err != nil {
		b.fail("%s.%s: %w", key, [kindCount]string{byName: "name", byHelo: "helo", bySender: "sender", byRecipient: "recipient"}[k], err)
	}
	return p
}

// conditions are all that a table names but the key of kind k.
func (b *builder) conditions(k kind, key string, t Entry) *conditions {
	c := &conditions{}
	some := false
	if t.Client != "" && k != byClient {
		some = true
		p, _, err := parseNetwork(t.Client)
		if err != nil {
			b.fail("%s.client: %w", key, err)
		}
		c.client = p
	}
	for _, v := range []struct {
		k    kind
		text string
		into *pattern
	}{{byName, t.Name, &c.name}, {byHelo, t.Helo, &c.helo}, {bySender, t.Sender, &c.sender}} {
		if v.k < k && v.text != "" {
			some = true
			*v.into = b.keyOf(v.k, key, v.text)
		}
	}
	if t.Role != "" {
		some = true
		for _, r := range []mail.Role{mail.Inbound, mail.Outbound, mail.ContentFilter} {
			if r.String() == t.Role {
				c.role = r
			}
		}
		if c.role == 0 {
			b.fail("%s.role: %q is not inbound, outbound or content-filter", key, t.Role)
		}
	}
	switch t.Direction {
	case "":
	case "in", "out":
		some = true
		c.direction = mail.In
		if t.Direction == "out" {
			c.direction = mail.Out
		}
		if k < bySender {
			b.fail("%s.direction: is known of mail alone (give sender or recipient too)", key)
		}
	default:
		b.fail("%s.direction: %q is not in or out", key, t.Direction)
	}
	if !some {
		return nil
	}
	return c
}

// tableAction reads what is to be done, from fields of their own.
func (b *builder) tableAction(k kind, key string, t Entry) *action {
	a := &action{reason: t.Reason, until: t.Expires.until}
	if err := checkReason(t.Reason); err != nil {
		b.fail("%s.reason: %w", key, err)
	}
	code := 0
	switch t.Action {
	case "accept":
		a.verdict = mail.Accept
		if t.Text != "" {
			b.fail("%s.text: %w", key, errors.New("accept shows no text (reason goes to the log)"))
		}
	case "reject":
		a.verdict, code = mail.Reject, 554
	case "defer":
		a.verdict, code = mail.Defer, 450
	case "":
		b.fail("%s.action is missing: it is reject, defer or accept", key)
		return nil
	default:
		b.fail("%s.action: %s", key, fmt.Sprintf("%q is not reject, defer or accept", t.Action))
		return nil
	}
	if code > 0 {
		r, err := reply(k, code, t.Text)
		if err != nil {
			b.fail("%s.text: %w", key, err)
			return nil
		}
		a.reply = r
	}
	return a
}
