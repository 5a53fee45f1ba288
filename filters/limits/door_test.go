package limits

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

// spool is a message with a Message-ID; "" is none.
func spool(t testing.TB, id string) *message.Message {
	t.Helper()
	text := "Subject: x\r\n\r\nx\r\n"
	if id != "" {
		text = "Message-ID: <" + id + ">\r\n" + text
	}
	m, err := message.Spool(t.Context(), strings.NewReader(text), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

// door is one look at a message by one who sees it.
type door struct {
	source, id string
	byMTA      bool
	null       bool
	user       string
	m          *message.Message
	end        mail.OutcomeKind
}

func (k *kit) door(c door) mail.Verdict {
	k.t.Helper()
	tx := &mail.Transaction{ID: fmt.Sprint(k.n.Add(1)), Direction: mail.Out, Message: c.m, QueueID: c.id,
		Session: &mail.Session{ByMTA: c.byMTA}, Identity: mail.Identity{User: c.user, Source: c.source}}
	if !c.null {
		tx.ReversePath = mail.Path{Local: "x", Domain: "our.example"}
	}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "other.example"}}}
	ctx := context.Background()
	k.e.Mail(ctx, tx)
	var d mail.Decision
	if c.source == "policy" {
		d = k.e.Data(ctx, tx)
	} else {
		d = k.e.Message(ctx, tx)
	}
	o := mail.Outcome{Kind: c.end}
	if o.Kind == 0 {
		o.Kind = mail.Relayed
	}
	switch {
	case d.Verdict == mail.Quarantine && c.source != "policy":
		o.Kind = mail.Held
	case d.Verdict == mail.Defer || d.Verdict == mail.Reject:
		o.Kind = mail.Refused
	}
	k.e.Finish(ctx, tx, o)
	return d.Verdict
}

func (k *kit) used(user string) int64 {
	k.t.Helper()
	st, err := k.l.Standing(k.t.Context(), user)
	if err != nil {
		k.t.Fatal(err)
	}
	return st[0].Limits[0].Used
}

// TestTwoDoors: Postfix asks the policy server and the milter about one
// message, and the wire sees it too: it counts once, with a Message-ID or
// without, wherever count_at says.
func TestTwoDoors(t *testing.T) {
	for _, at := range []string{"door", "wire"} {
		for _, id := range []string{"a", ""} {
			s := open(t, "")
			k := newKit(t, s, func(c *Config) { c.User, c.CountAt = []string{"50 messages / 1h"}, at })
			for i := range 5 {
				q := fmt.Sprint("4Q", i)
				if id != "" {
					id = fmt.Sprint("a", i)
				}
				m := spool(t, id)
				k.door(door{source: "policy", user: "ana", id: q})
				k.door(door{source: "milter", user: "ana", id: q, byMTA: true, m: m})
				k.door(door{source: "received", user: "ana", id: q, m: m})
			}
			if n := k.used("ana"); n != 5 {
				t.Errorf("%s, Message-ID %q: five messages count as %d", at, id, n)
			}
			s.Close()
		}
	}
}

// TestWebmailAtTheMilter: the milter knows the user of a webmail by the header
// alone; that message comes to the wire all the same.
func TestWebmailAtTheMilter(t *testing.T) {
	for _, at := range []string{"door", "wire"} {
		for _, user := range []string{"ana", ""} {
			s := open(t, "")
			k := newKit(t, s, func(c *Config) {
				c.User, c.CountAt, c.Unknown = []string{"50 messages / 1h"}, at, []string{"4 messages / 1h"}
			})
			source := "x-authenticated-user"
			if user == "" {
				source = ""
			}
			for i := range 4 {
				m := spool(t, fmt.Sprint(i))
				k.door(door{source: source, user: user, byMTA: true, m: m, id: fmt.Sprint("Q", i)})
				k.door(door{source: source, user: user, m: m})
			}
			if n := k.used("ana"); user != "" && n != 4 {
				t.Errorf("%s: four messages count as %d", at, n)
			}
			if user == "" && len(k.events) > 0 {
				t.Errorf("%s: four of nobody count as more: %v", at, k.events)
			}
			k.door(door{source: source, user: user, byMTA: true, m: spool(t, "x")})
			k.door(door{source: source, user: user, m: spool(t, "x")})
			if user == "" && strings.Join(k.events, ",") != "unknown our.example 4 messages / 1h" {
				t.Errorf("%s: over the ceiling: %v", at, k.events)
			}
			s.Close()
		}
	}
}

// TestQ10ForgedMark: one message by the MTA does not pay for many that are sent
// here with its Message-ID.
func TestQ10ForgedMark(t *testing.T) {
	for _, source := range []string{"auth", "certificate"} {
		s := open(t, "")
		k := newKit(t, s, func(c *Config) {
			c.User, c.CountAt, c.SuspendAt = []string{"500 messages / 1h", "20 recipients / 1h"}, "door", 0
		})
		passed := 0
		for i := range 100 {
			m := spool(t, fmt.Sprint(i))
			k.door(door{source: "milter", user: "ana", byMTA: true, m: m, end: mail.Refused}) // counted, and given back
			k.door(door{source: "milter", user: "ana", byMTA: true, m: m})
			if k.send(msg{user: "ana", source: source, message: m, rcpts: []string{"a", "b", "c", "d"}}) == mail.Continue {
				passed += 4
			}
		}
		if passed > 20 {
			t.Errorf("%s: %d recipients passed of 20", source, passed)
		}
		s.Close()
	}
}

// TestQ14RefusedAtTheDoor: what a door refuses never comes to the wire; it leads
// to a suspension all the same.
func TestQ14RefusedAtTheDoor(t *testing.T) {
	for _, at := range []string{"door", "wire"} {
		for _, source := range []string{"milter", "policy"} {
			s := open(t, "")
			k := newKit(t, s, func(c *Config) {
				c.User, c.CountAt, c.Action = []string{"10 messages / 1h"}, at, "reject"
			})
			n := 0
			for ; n < 60; n++ {
				q := fmt.Sprint("Q", n)
				c := door{source: source, user: "ana", byMTA: source == "milter", id: q}
				if source == "milter" {
					c.m = spool(t, q)
				}
				if k.door(c) == mail.Continue {
					k.door(door{source: "received", user: "ana", id: q, m: spool(t, q)})
				}
				if _, ok := k.users.Suspended("ana"); ok {
					break
				}
			}
			if n != 24 {
				t.Errorf("%s at %s: suspended at message %d, want 25", at, source, n+1)
			}
			s.Close()
		}
	}
}

// TestQ15Scopes: what a forger claims fills neither the ceiling of a domain nor
// that of everybody for those who have logged in.
func TestQ15Scopes(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) {
		c.User, c.Domain, c.Everybody, c.SuspendAt = []string{"5 messages / 1h"}, []string{"10 messages / 1h"}, []string{"12 messages / 1h"}, 0
	})
	passed := 0
	for i := range 40 {
		passed += k.passes(1, msg{user: fmt.Sprintf("forged%d@our.example", i), source: "sender"})
	}
	if passed != 10 {
		t.Errorf("%d of made-up senders pass, the ceiling is 10", passed)
	}
	if n := k.passes(5, msg{user: "ana@our.example"}) + k.passes(5, msg{user: "bob@our.example"}); n != 10 {
		t.Errorf("%d of 10 messages of users pass: forged senders have used up their domain", n)
	}
}

// TestExemptRoute: a route through an exempt domain is not mail to it.
func TestExemptRoute(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) {
		c.User, c.ExemptRecipients, c.SuspendAt = []string{"2 messages / 1h"}, []string{"@other.example"}, 0
	})
	if n := k.passes(9, msg{user: "ana", rcpts: []string{"b"}}); n != 9 {
		t.Errorf("%d of exempt mail pass", n)
	}
	for i, local := range []string{"victim%far.example", "far.example!victim", "victim@far.example"} {
		if n := k.passes(9, msg{user: fmt.Sprint("u", i), rcpts: []string{local}}); n != 2 {
			t.Errorf("%s: %d pass, the limit is 2", local, n)
		}
	}
}
