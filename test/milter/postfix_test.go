package milter

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"garita/mail"
	"garita/milterd"
	"garita/test/harness"
)

func letter(subject, body string) string {
	return "From: a@x.test\r\nSubject: " + subject + "\r\nMessage-ID: <" + subject + "@x.test>\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\n\r\n" + body
}

// TestVerdicts: what the client is told, at each stage.
func TestVerdicts(t *testing.T) {
	o := start(t, nil)
	p := postfix(t, o.addr, nil)
	long := "no, 100% sure"
	for _, c := range []struct {
		name, helo, from, to, subject string
		code                          int
		text                          string
	}{
		{"accept", "h.test", "a@x.test", "b@our.test", "fine", 250, "queued as"},
		{"helo reject", "reject.test", "a@x.test", "b@our.test", "fine", 554, long},
		{"mail reject", "h.test", "reject@x.test", "b@our.test", "fine", 554, "5.7.1 " + long},
		{"mail defer", "h.test", "defer@x.test", "b@our.test", "fine", 450, "4.7.1 not now"},
		{"mail suspended", "h.test", "suspend@x.test", "b@our.test", "fine", 421, "4.7.0 account suspended"},
		{"rcpt reject", "h.test", "a@x.test", "reject@our.test", "fine", 554, "5.7.1 second line"},
		{"rcpt defer", "h.test", "a@x.test", "defer@our.test", "fine", 450, "4.7.1 not now"},
		{"data reject", "h.test", "data@reject.test", "b@our.test", "fine", 554, "5.7.1 " + long},
		{"data defer", "h.test", "data@defer.test", "b@our.test", "fine", 450, "not now"},
		{"message reject", "h.test", "a@x.test", "b@our.test", "reject", 554, "5.7.1 " + long},
		{"message reject, no text", "h.test", "a@x.test", "b@our.test", "plainrefusal", 554, "5.7.1 Refused by local policy"},
		{"message defer", "h.test", "a@x.test", "b@our.test", "defer", 450, "4.7.1 not now"},
		{"message suspended", "h.test", "a@x.test", "b@our.test", "suspend", 421, "4.7.0 account suspended"},
		{"message discard", "h.test", "a@x.test", "b@our.test", "discard", 250, "queued as"},
		{"message quarantine", "h.test", "a@x.test", "b@our.test", "quarantine", 250, "queued as"},
		{"route", "h.test", "a@x.test", "b@our.test", "route", 451, "4.3.5"},
		{"shell in a sender (S-104)", "h.test", `"a;b"@x.test`, "b@our.test", "fine", 553, "5.1.7"},
	} {
		r := said(t, p, c.helo, c.from, c.to, letter(c.subject, "text\r\n"))
		if r.Code != c.code || !strings.Contains(r.Text(), c.text) {
			t.Errorf("%s: %v, not %d %s", c.name, r, c.code, c.text)
		}
	}
	p.WaitDelivered(t, 1)
	if !strings.Contains(p.Log(), "milter-hold: END-OF-MESSAGE from unknown[127.0.0.1]: milter triggers HOLD action") {
		t.Errorf("no hold: %s", p.Log())
	}
	if n := len(p.Delivered(t)); n != 1 {
		t.Errorf("%d messages are delivered", n)
	}
	for _, want := range []string{
		"milter-reject: END-OF-MESSAGE from ", "reject: RCPT from ", "hold: END-OF-MESSAGE from ", "discard: END-OF-MESSAGE from ", "accepted",
	} {
		if !strings.Contains(o.log(), want) {
			t.Errorf("our log lacks %q:\n%s", want, o.log())
		}
	}
	if t.Failed() {
		t.Log(p.Log())
		t.Log(o.log())
	}
}

// TestOctets: what goes on is delivered octet for octet, and what we judge is
// the same message.
func TestOctets(t *testing.T) {
	o := start(t, nil)
	p := postfix(t, o.addr, nil)
	line := strings.Repeat("x", 10_000)
	n := 0
	for name, m := range map[string]string{
		"plain":     "From: a@x.test\r\nSubject: plain\r\nMessage-ID: <1@x>\r\nDate: x\r\n\r\nbody\r\n",
		"dots":      letter("dots", ".\r\n..\r\n.x\r\n\r\n.\r\n"),
		"eight":     letter("eight", "gr\xfc\xdfe \xff\xfe\x80\r\n"),
		"nul":       letter("nul", "a\x00b\r\n"),
		"long":      letter("long", line+"\r\n"+line+"\r\n"),
		"openend":   letter("openend", "no line end in front of the dot\r\n"),
		"folded":    "From: a@x.test\r\nSubject:\tfolded\r\nX-Long: a\r\n b\r\n\tc\r\nX-Empty:\r\nX-Spaces:    four  \r\nMessage-ID: <2@x>\r\nDate: x\r\n\r\n\r\nbody\r\n",
		"nobody":    "From: a@x.test\r\nSubject: nobody\r\nMessage-ID: <3@x>\r\nDate: x\r\n\r\n",
		"barecr":    letter("barecr", "a\rb\r\n"),
		"unchanged": letter("unchanged", strings.Repeat("0123456789abcdef\r\n", 5000)),
	} {
		r := said(t, p, "h.test", "a@x.test", "b@our.test", m)
		if r.Code != 250 {
			t.Errorf("%s: %v", name, r)
			continue
		}
		n++
		id := harness.QueueID(r.Text())
		stored := p.WaitDelivered(t, n)[id]
		rest, _ := harness.WithoutTrace(stored)
		if name == "barecr" { // Postfix's own smtpd_forbid_bare_newline puts a space
			m = strings.ReplaceAll(m, "a\rb", "a b")
		}
		want := strings.ReplaceAll(m, "\r\n", "\n")
		o.mu.Lock()
		seen := o.seen[name]
		o.mu.Unlock()
		if rest != want {
			t.Errorf("%s: delivered\n%.300q\nnot\n%.300q", name, rest, want)
		}
		if strings.ReplaceAll(seen, "\r\n", "\n") != want || seen != m {
			t.Errorf("%s: we judged\n%.300q\nnot\n%.300q", name, seen, m)
		}
	}
}

// TestLargeMessage: 25 MB, and one more octet than we take.
func TestLargeMessage(t *testing.T) {
	size := 25 << 20
	o := start(t, func(s *milterd.Settings) { s.MaxMessageSize = int64(size) })
	p := postfix(t, o.addr, nil)
	m := letter("large", "")
	m += strings.Repeat(strings.Repeat("y", 76)+"\r\n", (size-len(m))/78)
	m += strings.Repeat("z", size-len(m)-2) + "\r\n"
	if r := said(t, p, "h.test", "a@x.test", "b@our.test", m); r.Code != 250 {
		t.Fatal(r)
	}
	o.mu.Lock()
	seen := o.seen["large"]
	o.mu.Unlock()
	if seen != m {
		t.Errorf("we judged %d octets that are not the message's", len(seen))
	}
	for _, stored := range p.WaitDelivered(t, 1) {
		rest, _ := harness.WithoutTrace(stored)
		if !bytes.Equal([]byte(rest), bytes.ReplaceAll([]byte(m), []byte("\r\n"), []byte("\n"))) {
			t.Errorf("%d octets are delivered that are not the message's", len(rest))
		}
	}
	if r := said(t, p, "h.test", "a@x.test", "b@our.test", strings.Replace(m, "large", "larger", 1)); r.Code != 552 {
		t.Errorf("one octet more: %v", r)
	}
}

// TestEdits: header fields in front, between, changed, removed and behind, the
// body replaced, and nothing else changed.
func TestEdits(t *testing.T) {
	o := start(t, nil)
	p := postfix(t, o.addr, nil)
	send := func(subject, m string, n int) string {
		t.Helper()
		r := said(t, p, "h.test", "a@x.test", "b@our.test", m)
		if r.Code != 250 {
			t.Fatalf("%s: %v\n%s", subject, r, o.log())
		}
		return p.WaitDelivered(t, n)[harness.QueueID(r.Text())]
	}
	got := send("edits", "Received: from old\r\n\tby older; now\r\nFrom: a@x.test\r\nX-Garita-Verdict: forged\r\nX-B: 1\r\nX-B: 2\r\nX-B: 3\r\nSubject: edits\r\nMessage-ID: <e@x>\r\nDate: x\r\n\r\ntext\r\n", 1)
	front, rest, ok := strings.Cut(got, "Received: ")
	if !ok || front != "X-Front: one\n two\nX-Front: three\n" {
		t.Errorf("in front of all stands %q", front)
	}
	rest, _ = harness.WithoutTrace("Received: " + rest)
	want := "From: a@x.test\nX-Before-B: yes\nX-B: 1\nX-B: 3\nSubject:  [tag] edits\n\tfolded\nMessage-ID: <e@x>\nDate: x\nX-Last: end\n\ntext\n"
	if rest != want {
		t.Errorf("delivered\n%s\nnot\n%s", rest, want)
	}
	long := strings.Repeat("line of a body that is replaced\r\n", 10000)
	m := letter("rewrite", "the secret word\r\n.\r\n\r\n"+long)
	got, _ = harness.WithoutTrace(send("rewrite", m, 2))
	if want := strings.ReplaceAll(strings.Replace(m, "secret", "******", 1), "\r\n", "\n"); got != want {
		t.Errorf("delivered\n%.400q\nnot\n%.400q", got, want)
	}
	send("redirect", letter("redirect", "x\r\n"), 3)
	send("bcc", letter("bcc", "x\r\n"), 5)
	p.WaitEmpty(t)
	log := p.Log()
	if n := strings.Count(log, "to=<copy@our.test>"); n != 2 {
		t.Errorf("%d deliveries to the copy", n)
	}
	if n := strings.Count(log, "to=<b@our.test>, relay=store"); n != 3 {
		t.Errorf("%d deliveries to the recipient", n)
	}
}

// TestOwnHold: the MTA forgets the message, and we have it.
func TestOwnHold(t *testing.T) {
	o := start(t, func(s *milterd.Settings) { s.Quarantine = "own" })
	p := postfix(t, o.addr, nil)
	m := letter("quarantine", "held text\r\n")
	if r := said(t, p, "h.test", "a@x.test", "b@our.test", m); r.Code != 250 {
		t.Fatal(r)
	}
	o.box.mu.Lock()
	defer o.box.mu.Unlock()
	if len(o.box.held) != 1 || o.box.held[0] != m {
		t.Errorf("held: %q", o.box.held)
	}
	p.WaitEmpty(t)
	if len(p.Delivered(t)) != 0 {
		t.Error("it was delivered as well")
	}
	if _, out := o.last(); out.Kind != mail.Held {
		t.Error(out.Kind)
	}
}

// TestManyMessages: one session of a client, many transactions, each its own.
func TestManyMessages(t *testing.T) {
	o := start(t, nil)
	p := postfix(t, o.addr, nil)
	c := harness.Greeted(t, p.Addr)
	for i := range 20 {
		c.Envelope("a@x.test", "b@our.test")
		c.Say("RSET").Want(250)
		c.Say("MAIL FROM:<reject@x.test>").Want(554)
		c.Say("MAIL FROM:<a@x.test>").Want(250)
		c.Say("RCPT TO:<reject@our.test>").Want(554)
		c.Say("RCPT TO:<b@our.test>").Want(250)
		c.Say("DATA").Want(354)
		subject := fmt.Sprintf("fine%d", i)
		want := 250
		if i%3 == 2 { // S-55: what follows a refused message is judged anew
			subject, want = "reject", 554
		}
		c.Raw(harness.Stuff(letter(subject, "x\r\n"))).Want(want)
	}
	c.Say("QUIT").Want(221)
	harness.Eventually(t, "not all ends were told", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return len(o.ends) == 60 })
	n := map[mail.OutcomeKind]int{}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.ends {
		n[e.Kind]++
	}
	if n[mail.Relayed] != 14 || n[mail.Refused] != 26 || n[mail.Aborted] != 20 {
		t.Errorf("%v", n)
	}
}
