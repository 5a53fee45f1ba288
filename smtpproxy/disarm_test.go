package smtpproxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

const armed = "Subject: x\r\nX-Garita-Disarmed: forged\r\n\r\nbefore DANGER between DANGER after\r\n"

// harmless takes every DANGER out.
func harmless(tx *mail.Transaction) mail.Decision {
	d := mail.Decision{Because: []mail.Finding{{Symbol: "a.danger"}}}
	raw, err := io.ReadAll(tx.Message.Raw())
	if err != nil {
		panic(err)
	}
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte("DANGER"))
		if i < 0 {
			return d
		}
		d.Disarm = append(d.Disarm, message.Edit{At: int64(at + i), Delete: 6, Insert: []byte("a note")})
		at += i + 6
	}
}

func text(t *testing.T, m *message.Message) string {
	t.Helper()
	raw, err := io.ReadAll(m.Raw())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// disarmKit is a server whose policy disarms, and what its keeper has.
func disarmKit(t *testing.T, role string, change func(*Settings, *Listener)) (*kit, *fakeKeeper) {
	t.Helper()
	keep := &fakeKeeper{}
	k := newKit(t, role, func(s *Settings, l *Listener) {
		s.Keeper = keep
		if change != nil {
			change(s, l)
		}
	})
	k.policy.message = harmless
	return k, keep
}

func (k *kit) last() mail.Outcome {
	k.policy.mu.Lock()
	defer k.policy.mu.Unlock()
	return k.policy.outcomes[len(k.policy.outcomes)-1]
}

// give sends a message of one recipient.
func (c *client) give(want, text string) string {
	c.t.Helper()
	c.envelope()
	c.do("354", "DATA")
	return c.do(want, text+".")
}

// TestDisarm: what goes on is the message with these edits and ours, and
// nothing else; the original is kept, as it would have been relayed; the second
// look saw what is left.
func TestDisarm(t *testing.T) {
	for _, role := range []string{"inbound", "content-filter"} {
		k, keep := disarmKit(t, role, nil)
		left := strings.ReplaceAll(armed, "DANGER", "a note")
		looked := 0
		k.policy.again = func(tx *mail.Transaction, m *message.Message) mail.Decision {
			if looked++; text(t, m) != left || text(t, tx.Message) != armed {
				t.Errorf("the second look saw %q", text(t, m))
			}
			return mail.Decision{Verdict: mail.Accept, Edits: []message.Edit{{Insert: []byte("X-No: no\r\n")}}}
		}
		c := k.hello()
		c.give("250 2.0.0 Ok: queued", armed)
		held, got := keep.all(), k.hop.messages()
		if looked != 1 || len(held) != 1 || !held[0].copied || len(got) != 1 {
			t.Fatalf("%s: %d looks, %+v, %d relayed", role, looked, held, len(got))
		}
		want := "X-Garita-Disarmed: " + held[0].id + "\r\n" + strings.Replace(left, "X-Garita-Disarmed: forged\r\n", "", 1)
		if s := below(t, got[0].data); s != want {
			t.Errorf("%s: relayed %q", role, s)
		}
		if s := below(t, []byte(held[0].text)); s != strings.Replace(armed, "X-Garita-Disarmed: forged\r\n", "", 1) || held[0].because != "a.danger " {
			t.Errorf("%s: kept %q because of %s", role, s, held[0].because)
		}
		if o := k.last(); o.Kind != mail.Relayed || !strings.Contains(o.Detail, held[0].id) {
			t.Errorf("%s: %+v", role, o)
		}
	}
}

// TestDisarmBytes is the property: outside the spliced ranges every octet is
// that of the message, in memory and in a file.
func TestDisarmBytes(t *testing.T) {
	k, _ := disarmKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.MessageMemory = 64 << 10 })
	r := rand.New(rand.NewPCG(1, 2))
	files := 0
	for i := range 40 {
		var b strings.Builder
		b.WriteString("Subject: bytes\r\n\r\n")
		for range 1 + r.IntN(40)*(1+i%3*40) {
			line := make([]byte, r.IntN(120))
			for j := range line {
				line[j] = byte(' ' + r.IntN(94))
			}
			b.WriteString("x" + string(line) + "\r\n")
		}
		raw := b.String()
		var edits []message.Edit
		want := ""
		pos := strings.Index(raw, "\r\n\r\n") + 4
		want = raw[:pos]
		for lines := strings.SplitAfter(raw[pos:], "\r\n"); len(lines) > 0; lines = lines[1:] {
			if n := len(lines[0]); n > 4 && r.IntN(3) == 0 {
				at := 1 + r.IntN(n-3)
				del := r.IntN(n - 2 - at)
				ins := strings.Repeat("n", r.IntN(9)) + "\r\nNOTE\r\n"
				edits = append(edits, message.Edit{At: int64(pos + at), Delete: int64(del), Insert: []byte(ins)})
				want += lines[0][:at] + ins + lines[0][at+del:]
			} else {
				want += lines[0]
			}
			pos += len(lines[0])
		}
		if len(edits) == 0 {
			continue
		}
		k.policy.message = func(tx *mail.Transaction) mail.Decision { return mail.Decision{Disarm: edits} }
		k.policy.again = func(_ *mail.Transaction, m *message.Message) mail.Decision {
			if m.InFile() {
				files++
			}
			return mail.Decision{}
		}
		k.hello().give("250", raw)
		got := k.hop.messages()
		if _, s, _ := strings.Cut(below(t, got[len(got)-1].data), "\r\n"); s != want {
			t.Fatalf("message %d with %d edits is another", i, len(edits))
		}
	}
	if files == 0 {
		t.Error("none was in a file")
	}
}

// TestDisarmHeld: what would be left is no better, or cannot be made: the
// original is held with the findings of both looks, and nothing is relayed.
func TestDisarmHeld(t *testing.T) {
	edit := func(at, n int64, insert string) func(*mail.Transaction) mail.Decision {
		return func(*mail.Transaction) mail.Decision {
			return mail.Decision{Because: []mail.Finding{{Symbol: "a.danger"}}, Disarm: []message.Edit{{At: at, Delete: n, Insert: []byte(insert)}}}
		}
	}
	for title, c := range map[string]struct {
		first func(*mail.Transaction) mail.Decision
		again mail.Decision
		why   string
	}{
		"quarantine": {harmless, because(mail.Quarantine, "b.virus"), "disarm.again b.virus a.danger "},
		"reject":     {harmless, because(mail.Reject, "b.virus"), "disarm.again b.virus a.danger "},
		"discard":    {harmless, because(mail.Discard, "b.rule"), "disarm.again b.rule a.danger "},
		"not enough": {harmless, mail.Decision{Disarm: []message.Edit{{At: 60}}}, "disarm.again a.danger "},
		"outside":    {edit(60, 1000, ""), mail.Decision{}, "disarm.conflict a.danger "},
		"bare LF":    {edit(60, 1, "a\nb"), mail.Decision{}, "disarm.conflict a.danger "},
		"header":     {edit(3, 1, ""), mail.Decision{}, "disarm.conflict a.danger "},
		// The empty line goes: the body would begin as a field.
		"header end": {edit(39, 2, "Bcc: x"), mail.Decision{}, "disarm.conflict a.danger "},
		"other edits": {func(tx *mail.Transaction) mail.Decision {
			d := harmless(tx)
			d.Edits = []message.Edit{{At: 50, Delete: 1}}
			return d
		}, mail.Decision{}, "disarm.conflict a.danger "},
	} {
		k, keep := disarmKit(t, "inbound", nil)
		k.policy.message = c.first
		k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision { return c.again }
		k.hello().give("250 2.0.0 Ok: held as", armed)
		held := keep.all()
		if len(held) != 1 || held[0].copied || held[0].because != c.why || !strings.Contains(held[0].text, "DANGER") {
			t.Errorf("%s: %+v", title, held)
		}
		if len(k.hop.messages()) != 0 {
			t.Errorf("%s: relayed", title)
		}
	}
}

// TestDisarmFaults: a fault of ours leaves the message with its sender, nothing
// is relayed and no copy stays.
func TestDisarmFaults(t *testing.T) {
	full := errors.New("no space left on device")
	for title, c := range map[string]struct {
		set   func(*kit, *fakeKeeper)
		reply string
		kept  int
	}{
		"the original cannot be kept": {func(_ *kit, h *fakeKeeper) { h.fail = full }, "451 4.3.0", 0},
		"a check fails": {func(k *kit, _ *fakeKeeper) {
			k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision {
				return mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(451, "3.0", "later")}
			}
		}, "451 4.3.0 later", 0},
		"no spool": {func(k *kit, _ *fakeKeeper) {
			k.policy.message = func(tx *mail.Transaction) mail.Decision { k.srv.spoolDir += "/gone"; return harmless(tx) }
		}, "451 4.3.1", 0},
		"refused for now":  {refusing(mail.Refused, mail.Temporary(451, "2.0", "busy")), "451 4.2.0 busy", 0},
		"refused for good": {refusing(mail.Refused, mail.Permanent(554, "6.0", "no")), "554 5.6.0 no", 0},
		"aborted":          {refusing(mail.Aborted, replyInternal), "451", 0},
		"answer lost":      {refusing(mail.Ambiguous, replyInternal), "451", 1},
		"no copy removed": {func(k *kit, h *fakeKeeper) {
			h.failDrop = full
			refusing(mail.Refused, mail.Permanent(554, "6.0", "no"))(k, h)
		}, "554 5.6.0 no", 1},
	} {
		k, keep := disarmKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.MessageMemory = 64 << 10 })
		c.set(k, keep)
		raw := armed
		if title == "no spool" {
			raw += strings.Repeat(strings.Repeat("x", 70)+"\r\n", 2000)
		}
		if r := k.hello().give(c.reply, raw); strings.Contains(r, "space") {
			t.Errorf("%s: a stranger was told %q", title, r)
		}
		if held := keep.all(); len(held) != c.kept || len(k.hop.messages()) != 0 {
			t.Errorf("%s: %+v", title, held)
		}
	}
	k := newKit(t, "inbound", nil)
	k.policy.message = harmless
	k.hello().give("451 4.7.1", armed)
	if len(k.hop.messages()) != 0 {
		t.Error("relayed without a holding place")
	}
}

// refusing makes the next hop end so.
func refusing(kind mail.OutcomeKind, r mail.Reply) func(*kit, *fakeKeeper) {
	return func(k *kit, _ *fakeKeeper) {
		k.hop.final = func() mail.Outcome { return mail.Outcome{Kind: kind, Replies: []mail.Reply{r}} }
	}
}

// TestDisarmNoRoom: what is left has a share of the budget of its own, given
// back whatever happens; without it the sender tries again.
func TestDisarmNoRoom(t *testing.T) {
	k, keep := disarmKit(t, "content-filter", nil)
	var taken []*message.Grant
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		for {
			g, ok := k.budget.Admit(4<<20, true)
			if !ok {
				break
			}
			taken = append(taken, g)
		}
		for {
			g, ok := k.budget.Admit(1, true)
			if !ok {
				return harmless(tx)
			}
			taken = append(taken, g)
		}
	}
	c := k.hello()
	c.give("451 4.3.1", armed)
	for _, g := range taken {
		g.Release()
	}
	k.policy.message = harmless
	c.give("250", armed)
	if len(keep.all()) != 1 || len(k.hop.messages()) != 1 {
		t.Errorf("%+v", keep.all())
	}
}

// TestDisarmPanic: a fault in the relay keeps the copy: the next hop may have
// the message.
func TestDisarmPanic(t *testing.T) {
	k, keep := disarmKit(t, "inbound", nil)
	k.hop.final = func() mail.Outcome { panic("a fault of ours") }
	c := k.hello()
	c.envelope()
	c.do("354", "DATA")
	c.send(armed + ".\r\n")
	if r := c.reply(); strings.HasPrefix(r, "2") {
		t.Error(r)
	}
	eventually(t, "the copy", func() bool { return len(keep.all()) == 1 })
}

// TestNotDisarmed: where the message is not relayed, or nobody may judge it, it
// stays as it is.
func TestNotDisarmed(t *testing.T) {
	k, keep := disarmKit(t, "inbound", nil)
	k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision {
		t.Error("looked again")
		return mail.Decision{}
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@sender.example>")
	c.do("250", "RCPT TO:<postmaster@our.example>")
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: queued", armed+".")
	if got := k.hop.messages(); len(got) != 1 || !bytes.Contains(got[0].data, []byte("DANGER")) || len(keep.all()) != 0 {
		t.Errorf("%+v", keep.all())
	}
	for v, want := range map[mail.Verdict]string{mail.Quarantine: "250 2.0.0 Ok: held", mail.Reject: "554", mail.Defer: "451", mail.Discard: "250 2.0.0 Ok: discarded"} {
		k.policy.message = func(tx *mail.Transaction) mail.Decision {
			d := harmless(tx)
			d.Verdict = v
			return d
		}
		c.give(want, armed)
	}
	held := keep.all()
	if len(held) != 1 || held[0].copied || !strings.Contains(held[0].text, "DANGER") || len(k.hop.messages()) != 1 {
		t.Errorf("%+v", held)
	}
}

// TestDisarmRejectAs: what became a hold is held as it came.
func TestDisarmRejectAs(t *testing.T) {
	k, keep := disarmKit(t, "content-filter", nil)
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		d := harmless(tx)
		d.Verdict = mail.Reject
		return d
	}
	k.hello().give("250 2.0.0 Ok: held", armed)
	if held := keep.all(); len(held) != 1 || held[0].copied || len(k.hop.messages()) != 0 {
		t.Errorf("%+v", held)
	}
}

// TestDisarmFindings: the log and the checks' last word know what both looks
// found, once.
func TestDisarmFindings(t *testing.T) {
	k, _ := disarmKit(t, "inbound", nil)
	k.policy.again = func(*mail.Transaction, *message.Message) mail.Decision {
		d := because(mail.Quarantine, "b.virus")
		d.Because[0].Stage = mail.StageMessage
		d.Because = append(d.Because, mail.Finding{Symbol: "early", Stage: mail.StageMail})
		return d
	}
	var found []string
	k.policy.finish = func(tx *mail.Transaction) {
		for _, f := range tx.Findings {
			found = append(found, f.Symbol)
		}
	}
	k.hello().give("250 2.0.0 Ok: held", armed)
	if !slices.Equal(found, []string{"disarm.again", "b.virus"}) {
		t.Errorf("%v", found)
	}
}

var _ Keeper = (*fakeKeeper)(nil)
