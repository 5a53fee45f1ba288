package smtpproxy

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

const lines = "Subject: x\r\n\r\none\r\nBAD\r\nthree\r\n"

// replacing are the edits of a table: BAD becomes good, with a line before.
func replacing(tx *mail.Transaction) mail.Decision {
	d := mail.Decision{Because: []mail.Finding{{Symbol: "t.bad"}}, Edits: []message.Edit{{Insert: []byte("X-New: 1\r\n")}}}
	raw, err := io.ReadAll(tx.Message.Raw())
	if err != nil {
		panic(err)
	}
	if i := bytes.Index(raw, []byte("BAD")); i >= 0 {
		d.Rewrite = []message.Edit{{At: int64(i), Insert: []byte("before\r\n")}, {At: int64(i), Delete: 3, Insert: []byte("good")}}
	}
	return d
}

// TestRewrite: what goes on is what was judged again, with no original kept
// and no field that tells of it; nothing else changes. It needs no Keeper.
func TestRewrite(t *testing.T) {
	for _, role := range []string{"inbound", "content-filter"} {
		keep := &fakeKeeper{}
		for _, keeper := range []Keeper{keep, nil} {
			k := newKit(t, role, func(s *Settings, _ *Listener) { s.Keeper = keeper })
			k.policy.message = replacing
			looked := 0
			left := "Subject: x\r\n\r\none\r\nbefore\r\ngood\r\nthree\r\n"
			k.policy.again = func(tx *mail.Transaction, m *message.Message) mail.Decision {
				if looked++; text(t, m) != left || text(t, tx.Message) != lines {
					t.Errorf("the second look saw %q", text(t, m))
				}
				return mail.Decision{Rewrite: []message.Edit{{At: 14, Delete: 3}}}
			}
			k.hello().give("250 2.0.0 Ok: queued", lines)
			got := k.hop.messages()
			if looked != 1 || len(got) != 1 || len(keep.all()) != 0 {
				t.Fatalf("%s: %d looks, %d relayed, %+v", role, looked, len(got), keep.all())
			}
			if s := below(t, got[0].data); s != "X-New: 1\r\n"+left {
				t.Errorf("%s: relayed %q", role, s)
			}
		}
	}
}

// TestRewriteAndDisarm: both in one round, and the original is kept for the
// sake of what was disarmed.
func TestRewriteAndDisarm(t *testing.T) {
	k, keep := disarmKit(t, "inbound", nil)
	raw := lines + "DANGER\r\n"
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		d := replacing(tx)
		d.Disarm = harmless(tx).Disarm
		return d
	}
	looked := 0
	k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision { looked++; return mail.Decision{} }
	k.hello().give("250 2.0.0 Ok: queued", raw)
	held, got := keep.all(), k.hop.messages()
	if looked != 1 || len(held) != 1 || !held[0].copied || len(got) != 1 {
		t.Fatalf("%d looks, %+v, %d relayed", looked, held, len(got))
	}
	if s := below(t, got[0].data); s != "X-Garita-Disarmed: "+held[0].id+"\r\nX-New: 1\r\nSubject: x\r\n\r\none\r\nbefore\r\ngood\r\nthree\r\na note\r\n" {
		t.Errorf("relayed %q", s)
	}
	if s := below(t, []byte(held[0].text)); s != "X-New: 1\r\n"+raw {
		t.Errorf("kept %q", s)
	}
	// Where they collide all the same, nothing is changed.
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		d := replacing(tx)
		d.Disarm = []message.Edit{{At: d.Rewrite[1].At + 1, Delete: 20}}
		return d
	}
	k.hello().give("250 2.0.0 Ok: held", raw)
	if held := keep.all(); len(held) != 2 || held[1].copied || !strings.HasPrefix(held[1].because, "disarm.conflict ") || !strings.Contains(held[1].text, "BAD") {
		t.Errorf("%+v", held)
	}
}

// TestRewriteHeld: what would be left is no better, or cannot be made: the
// message is held as it came. So is one that is held for another reason.
func TestRewriteHeld(t *testing.T) {
	edit := func(at, n int64, insert string) func(*mail.Transaction) mail.Decision {
		return func(*mail.Transaction) mail.Decision {
			return mail.Decision{Rewrite: []message.Edit{{At: at, Delete: n, Insert: []byte(insert)}}}
		}
	}
	for title, c := range map[string]struct {
		first func(*mail.Transaction) mail.Decision
		again mail.Decision
		why   string
	}{
		"quarantine":   {replacing, because(mail.Quarantine, "b.virus"), "rewrite.again b.virus t.bad "},
		"reject":       {replacing, because(mail.Reject, "b.virus"), "rewrite.again b.virus t.bad "},
		"to disarm":    {replacing, mail.Decision{Disarm: []message.Edit{{At: 14}}}, "rewrite.again t.bad "},
		"outside":      {edit(16, 1000, ""), mail.Decision{}, "rewrite.conflict "},
		"bare CR":      {edit(16, 1, "a\rb"), mail.Decision{}, "rewrite.conflict "},
		"in header":    {edit(3, 1, ""), mail.Decision{}, "rewrite.conflict "},
		"another head": {edit(12, 2, "Bcc: x"), mail.Decision{}, "rewrite.conflict "},
		"held anyway": {func(tx *mail.Transaction) mail.Decision {
			d := replacing(tx)
			d.Verdict = mail.Quarantine
			return d
		}, mail.Decision{}, "t.bad "},
	} {
		k, keep := disarmKit(t, "inbound", nil)
		k.policy.message = c.first
		k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision { return c.again }
		k.hello().give("250 2.0.0 Ok: held as", lines)
		held := keep.all()
		if len(held) != 1 || held[0].copied || held[0].because != c.why || !strings.Contains(held[0].text, "\r\nBAD\r\n") || len(k.hop.messages()) != 0 {
			t.Errorf("%s: %+v, %d relayed", title, held, len(k.hop.messages()))
		}
	}
	// Without a holding place it stays with its sender.
	k := newKit(t, "inbound", nil)
	k.policy.message = replacing
	k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision { return because(mail.Reject, "b.virus") }
	k.hello().give("451 4.7.1", lines)
	// A check that fails at the second look is 451.
	k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision {
		return mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(451, "3.0", "later")}
	}
	k.hello().give("451 4.3.0 later", lines)
	if len(k.hop.messages()) != 0 {
		t.Error("relayed")
	}
}

// TestRewriteNot: mail to role addresses stays as it came.
func TestRewriteNot(t *testing.T) {
	k, _ := disarmKit(t, "inbound", nil)
	k.policy.message = replacing
	c := k.hello()
	c.do("250", "MAIL FROM:<a@sender.example>")
	c.do("250", "RCPT TO:<abuse@our.example>")
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: queued", lines+".")
	if got := k.hop.messages(); len(got) != 1 || !bytes.Contains(got[0].data, []byte("BAD")) {
		t.Errorf("%+v", got)
	}
}

// TestEditsBesideOurs: what a check wants of a field that we take out is not
// made, and the message goes on.
func TestEditsBesideOurs(t *testing.T) {
	k := newKit(t, "inbound", nil)
	raw := "X-Garita-Verdict: forged\r\nSubject: x\r\n\r\nx\r\n" // the forged field has 26 octets
	for title, c := range map[string]struct {
		edits []message.Edit
		want  string
	}{
		"replaced":       {[]message.Edit{{Delete: 26, Insert: []byte("X-Garita-Verdict: mine\r\n")}}, "Subject: x\r\n\r\nx\r\n"},
		"taken out too":  {[]message.Edit{{Delete: 26}}, "Subject: x\r\n\r\nx\r\n"},
		"in part":        {[]message.Edit{{At: 3, Delete: 4}}, "Subject: x\r\n\r\nx\r\n"},
		"in the middle":  {[]message.Edit{{At: 3, Insert: []byte("z")}}, "Subject: x\r\n\r\nx\r\n"},
		"beyond":         {[]message.Edit{{At: 20, Delete: 10}}, "Subject: x\r\n\r\nx\r\n"},
		"before it":      {[]message.Edit{{Insert: []byte("A: a\r\n")}}, "A: a\r\nSubject: x\r\n\r\nx\r\n"},
		"behind it":      {[]message.Edit{{At: 26, Insert: []byte("A: a\r\n")}}, "A: a\r\nSubject: x\r\n\r\nx\r\n"},
		"the next field": {[]message.Edit{{At: 26, Delete: 12, Insert: []byte("Subject: y\r\n")}}, "Subject: y\r\n\r\nx\r\n"},
	} {
		k.policy.message = func(*mail.Transaction) mail.Decision { return mail.Decision{Edits: c.edits} }
		k.hello().give("250", raw)
		got := k.hop.messages()
		if s := below(t, got[len(got)-1].data); s != c.want {
			t.Errorf("%s: %q", title, s)
		}
	}
	// What is added to the end of a header without an empty line stays there.
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		return mail.Decision{Edits: []message.Edit{{At: tx.Message.HeaderEnd(), Insert: []byte("A: a\r\n")}}}
	}
	k.hello().give("250", "Subject: x\r\nno field at all\r\n")
	got := k.hop.messages()
	if s := below(t, got[len(got)-1].data); s != "Subject: x\r\nA: a\r\n\r\nno field at all\r\n" {
		t.Errorf("%q", s)
	}
}
