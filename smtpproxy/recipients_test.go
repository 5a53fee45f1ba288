package smtpproxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"garita/mail"
)

// aliasRouter is the router of one next hop with a table of aliases.
type aliasRouter struct {
	Router
	table map[string][]string
}

func (a aliasRouter) Rewrite(_ *mail.Transaction, r mail.Recipient) []mail.Recipient {
	var out []mail.Recipient
	for _, to := range a.table[r.String()] {
		p, _, err := mail.ParseForward("<"+to+">", false)
		if err != nil {
			panic(err)
		}
		n := r
		n.Path = p
		out = append(out, n)
	}
	return out
}

func aliasKit(t *testing.T, table map[string][]string, change func(*Settings, *Listener)) *kit {
	hop := newFakeHop()
	k := newKit(t, "inbound", func(s *Settings, l *Listener) {
		if change != nil {
			change(s, l)
		}
		l.Router = aliasRouter{NewRouter(l.ListenerConfig, hop), table}
	})
	k.hop = hop
	return k
}

var aliases = map[string][]string{
	"sales@our.example": {"ana@our.example", "leo@out.example"},
	"all@our.example":   {"ana@our.example", "eva@our.example", "bad@our.example"},
	"self@our.example":  {"self@our.example", "ana@our.example"},
	"dup@our.example":   {"ana@our.example", "ana@our.example"},
}

func TestAliases(t *testing.T) {
	k := aliasKit(t, aliases, nil)
	var envelope []mail.Recipient
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		envelope = slices.Clone(tx.ForwardPaths)
		return mail.Decision{}
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example> RET=HDRS ENVID=x")
	c.do("250", "RCPT TO:<sales@our.example> NOTIFY=FAILURE ORCPT=rfc822;sales@our.example")
	c.do("250", "RCPT TO:<sales@our.example>")
	c.do("250", "RCPT TO:<ana@our.example>") // delivered once
	c.do("250", "RCPT TO:<self@our.example>")
	c.do("250", "RCPT TO:<dup@our.example>")
	c.do("554 5.7.1", "RCPT TO:<leo@out.example>") // an alias opens nothing
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\nx\r\n.")
	got := k.hop.messages()
	if len(got) != 1 || !slices.Equal(got[0].to, []string{"ana@our.example", "leo@out.example", "self@our.example"}) {
		t.Fatalf("%v", got)
	}
	if r := envelope[1]; r.Alias.String() != "sales@our.example" || r.Orcpt != "sales@our.example" || len(r.Notify) != 1 || r.Asked() != r.Alias {
		t.Errorf("%+v", r)
	}
	if r := envelope[2]; !r.Alias.IsNull() || r.Asked() != r.Path {
		t.Errorf("%+v", r)
	}
}

// All or none: the sender who is told that an alias was refused must not find
// half of it delivered, nor lose what another recipient asked for.
func TestAliasIsAllOrNone(t *testing.T) {
	for _, bad := range []mail.Reply{mail.Permanent(550, "1.1", "User unknown"), mail.Temporary(450, "2.1", "Later")} {
		k := aliasKit(t, aliases, func(s *Settings, _ *Listener) {
			s.Conduct = &countingConduct{refuse: map[string]Act{"127.0.0.1": ActUnknownRecipient}} // it was no guess
		})
		k.hop.rcpt = func(r mail.Recipient) mail.Reply {
			if r.Local == "bad" {
				return bad
			}
			return replyRcptOK
		}
		c := k.hello()
		c.do("250", "MAIL FROM:<a@s.example>")
		c.do("250", "RCPT TO:<ana@our.example>")
		if r := c.do("", "RCPT TO:<all@our.example>"); !strings.HasPrefix(r, bad.String()[:9]) {
			t.Fatalf("%q", r)
		}
		c.do("354", "DATA")
		c.do("250", "Subject: x\r\n\r\nx\r\n.")
		got := k.hop.messages()
		if len(got) != 1 || !slices.Equal(got[0].to, []string{"ana@our.example"}) {
			t.Fatalf("%v", got)
		}
		// Refused before anybody was accepted: nothing is left at all.
		c.do("250", "MAIL FROM:<a@s.example>")
		c.do(bad.String()[:9], "RCPT TO:<all@our.example>")
		c.do("554 5.5.1", "DATA")
	}
}

func TestAliasTargetsCountAsRecipients(t *testing.T) {
	many := make([]string, 0, 101)
	for i := range 101 {
		many = append(many, "u"+strings.Repeat("x", i%50)+string(rune('a'+i/50))+"@our.example")
	}
	k := aliasKit(t, map[string][]string{"some@our.example": many[:60], "many@our.example": many}, func(s *Settings, _ *Listener) { s.Limits.MaxRecipients = 100 })
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	for i := range 50 {
		c.do("250", "RCPT TO:<v"+strings.Repeat("x", i)+"@our.example>")
	}
	c.do("452 4.5.3", "RCPT TO:<some@our.example>")
	c.do("452 4.5.3", "RCPT TO:<many@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
	if got := k.hop.messages(); len(got[0].to) != 50 {
		t.Errorf("%d recipients", len(got[0].to))
	}
}

// abuse@ and postmaster@ reach a person, whatever the checks say.
func TestRoleAddressesReachAPerson(t *testing.T) {
	for _, v := range []mail.Verdict{mail.Reject, mail.Defer, mail.Quarantine, mail.Discard} {
		k := newKit(t, "inbound", nil)
		k.policy.rcpt = func(*mail.Transaction, mail.Recipient) mail.Decision { return mail.Decision{Verdict: v} }
		k.policy.message = func(*mail.Transaction) mail.Decision { return mail.Decision{Verdict: v} }
		var marked string
		k.policy.finish = func(tx *mail.Transaction) { marked = tx.Exempt }
		c := k.hello()
		for _, to := range []string{"postmaster", "Postmaster@our.example", "ABUSE@OUR.example"} {
			c.do("250", "MAIL FROM:<a@s.example>")
			c.do("250", "RCPT TO:<"+to+">")
			c.do("354", "DATA")
			c.do("250 2.0.0 Ok: queued", "Subject: x\r\n\r\nx\r\n.")
			if marked != "postmaster" {
				t.Errorf("%v %s: marked %q", v, to, marked)
			}
		}
		if got := k.hop.messages(); len(got) != 3 {
			t.Errorf("%v: %d messages", v, len(got))
		}
		if v >= mail.Defer {
			c.do("250", "MAIL FROM:<a@s.example>")
			for _, to := range []string{"b@our.example", "postmaster2@our.example", "abuse+x@our.example"} {
				if r := c.do("", "RCPT TO:<"+to+">"); !strings.HasPrefix(r, "554") && !strings.HasPrefix(r, "451") {
					t.Errorf("%v %s: %q", v, to, r)
				}
			}
		}
	}
}

// What is no check's verdict stands for them too: mandatory findings, relaying,
// size, form, rates; and nobody rides along.
func TestWhatStandsForRoleAddresses(t *testing.T) {
	k := newKit(t, "inbound", func(s *Settings, l *Listener) {
		l.MaxMessageSize = 100
		s.Conduct = &countingConduct{refuse: map[string]Act{"127.0.0.1": ActRecipient}, after: 8}
	})
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("554 5.7.1", "RCPT TO:<postmaster@other.example>")
	c.do("250", "RCPT TO:<abuse@our.example>")
	c.do("452 4.5.3", "RCPT TO:<b@our.example>")
	c.do("354", "DATA")
	c.do("552", strings.Repeat("x", 200)+"\r\n.")
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("452 4.5.3", "RCPT TO:<abuse@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
	k.policy.message = func(*mail.Transaction) mail.Decision {
		return mail.Decision{Verdict: mail.Reject, Mandatory: true}
	}
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<abuse@our.example>")
	c.do("354", "DATA")
	c.do("554", ".")
	k.policy.rcpt = func(*mail.Transaction, mail.Recipient) mail.Decision {
		return mail.Decision{Verdict: mail.Defer, Mandatory: true}
	}
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("451", "RCPT TO:<abuse@our.example>")
	c.do("451", "RCPT TO:<abuse@our.example>")
	c.do("450 4.7.1", "RCPT TO:<abuse@our.example>") // the rate of this client

	// A long s is another letter, whatever Unicode folds it to.
	c = newKit(t, "inbound", func(_ *Settings, _ *Listener) {}).hello()
	c.do("250", "MAIL FROM:<a@s.example> SMTPUTF8")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("250", "RCPT TO:<po\u017ftmaster@our.example>")
	c.do("250", "RCPT TO:<abu\u017fe@our.example>")
	c.do("501", "RCPT TO:<po\u017ftmaster>")

	out := newKit(t, "outbound", nil) // our own users' mail has no such exception
	out.policy.rcpt = func(*mail.Transaction, mail.Recipient) mail.Decision { return mail.Decision{Verdict: mail.Reject} }
	c = out.hello()
	c.do("250", "MAIL FROM:<a@our.example>")
	c.do("554", "RCPT TO:<postmaster@our.example>")
}

// TestAloneIsNoError: a next hop that takes one recipient a message (LMTP) has
// an order of things; a client with fifty recipients has made no error.
func TestAloneIsNoError(t *testing.T) {
	k := newKit(t, "inbound", nil)
	n := 0
	k.hop.rcpt = func(mail.Recipient) mail.Reply {
		if n++; n == 1 {
			return mail.OK(250, "1.5", "Ok")
		}
		return mail.Temporary(452, "5.3", "One at a time")
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<first@our.example>")
	for i := range 50 {
		c.do("452", fmt.Sprintf("RCPT TO:<u%d@our.example>", i))
	}
	c.do("354", "DATA")
}

// A message with more recipients than fit, or many that stand for one mailbox,
// arrives all the same: what is too much is no error until it is far too much
// (RFC 5321 section 4.5.3.1.10).
func TestOvershootIsNoError(t *testing.T) {
	small := func(s *Settings, _ *Listener) {
		s.Limits.MaxRecipients, s.Limits.JunkCommands, s.Limits.SoftErrors, s.Limits.HardErrors = 100, 3, 1000, 5
	}
	table := map[string][]string{}
	for i := range 200 {
		table[fmt.Sprintf("u%d@our.example", i)] = []string{"box@our.example"}
	}
	k := aliasKit(t, table, small)
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	for i := range 200 {
		c.do("250", fmt.Sprintf("RCPT TO:<u%d@our.example>", i))
	}
	c.do("354", "DATA")
	c.do("250", ".")
	c.do("250", "MAIL FROM:<a@s.example>")
	for i := range 100 + maxOvershoot {
		want := "250"
		if i >= 100 {
			want = "452 4.5.3"
		}
		c.do(want, fmt.Sprintf("RCPT TO:<v%d@our.example>", i))
	}
	c.do("354", "DATA")
	c.do("250", ".")
	if got := k.hop.messages(); len(got) != 2 || len(got[0].to) != 1 || len(got[1].to) != 100 {
		t.Fatalf("%d messages: %v", len(got), got)
	}
	// There is an end to it.
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<u1@our.example>")
	for range maxOvershoot + 3 + 4 {
		c.do("250", "RCPT TO:<u1@our.example>")
	}
	c.do("421 4.7.0", "RCPT TO:<u1@our.example>")
	c.closed()
}
