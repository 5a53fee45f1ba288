package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// ending is one sequence that some server takes for the end of data, and what
// it must be at the next hop, un-stuffed, where all three faults are mended.
type ending struct{ id, seq, mended string }

func endings() []ending {
	return []ending{
		{"S-01", "\n.\n", "\r\n.\r\n"},
		{"S-02", "\n.\r\n", "\r\n.\r\n"},
		{"S-03", "\r\n.\n", "\r\n.\r\n"},
		{"S-04", "\r.\r", " . "},
		{"S-05", "\r.\n", " .\r\n"},
		{"S-06", "\n.\r", "\r\n. "},
		{"S-07", "\r.\r\n", " .\r\n"},
		{"S-08", "\r\n.\r", "\r\n. "},
		{"S-09", "\r\n\x00.\r\n", "\r\n .\r\n"},
		{"S-10", "\r\n.\x00\r\n", "\r\n \r\n"},
		// Read literally this one is an end behind a bare CR, and who keeps or
		// strips that CR sees none: refused under any policy, and closed, so
		// that nothing behind it runs.
		{"S-11", "\r\r\n.\r\n", ""},
		{"S-12", "\r\n.\r\r\n", "\r\n. \r\n"},
		{"S-14", "\n\r.\r\n", "\r\n .\r\n"},
		{"lf-lf", "\n\n.\n\n", "\r\n\r\n.\r\n\r\n"},
		{"cr-cr", "\r\r.\r\r", "  .  "},
		{"lf-dot-dot", "\n..\n", "\r\n..\r\n"},
	}
}

const (
	smuggleHead = "From: a@x.example\r\nSubject: s\r\n\r\nA"
	smuggleTail = "MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<v@our.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
)

// policies are the settings of the listener that the table runs under.
func policies() map[string][]harness.Setting {
	three := func(lf, cr, nul string) []harness.Setting {
		return []harness.Setting{
			{Table: "listener.inbound", Key: "bare_lf", Value: quoted(lf)},
			{Table: "listener.inbound", Key: "bare_cr", Value: quoted(cr)},
			{Table: "listener.inbound", Key: "nul", Value: quoted(nul)},
		}
	}
	return map[string][]harness.Setting{
		"default":   nil,
		"normalise": three("normalise", "normalise", "normalise"),
		"reject":    three("reject", "reject", "reject"),
	}
}

// taken tells whether a sequence passes under a policy: what it is made of
// decides, seen without the pairs CR LF.
func taken(policy, seq string) bool {
	if strings.Contains(seq, "\r\r\n.\r\n") {
		return false
	}
	rest := strings.ReplaceAll(seq, "\r\n", "")
	lf, cr, nul := strings.Contains(rest, "\n"), strings.Contains(rest, "\r"), strings.Contains(rest, "\x00")
	switch policy {
	case "normalise":
		return true
	case "reject":
		return !lf && !cr && !nul
	}
	return !cr && !nul
}

// TestTableEndOfData: every sequence, in one packet and cut into two at every
// octet, is no end of data: one transaction, one reply, no bare CR or LF and
// no NUL at the next hop, and exactly the octets that it must be.
func TestTableEndOfData(t *testing.T) {
	t.Parallel()
	results := map[string]string{}
	for policy, settings := range policies() {
		hop := startHop(t, fakehop.Config{})
		g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: settings})
		for _, e := range endings() {
			body := smuggleHead + e.seq + smuggleTail + ".\r\n"
			from := len(smuggleHead) - 2
			to := len(smuggleHead) + len(e.seq) + 2
			cuts := []int{0}
			for i := from; i <= to; i++ {
				cuts = append(cuts, i)
			}
			for i := len(body) - 6; i < len(body); i++ {
				cuts = append(cuts, i)
			}
			verdicts := map[string]int{}
			t.Run(policy+" "+e.id, func(t *testing.T) {
				for _, cut := range cuts {
					verdicts[smuggle(t, hop, g, e, policy, body[:cut], body[cut:])]++
				}
				verdicts[smuggle(t, hop, g, e, policy, strings.Split(body, "")...)]++
			})
			if len(verdicts) != 1 {
				t.Errorf("%s %s: it depends on the packets: %v", policy, e.id, verdicts)
			}
			for v := range verdicts {
				results[policy+e.id] = v
			}
		}
	}
	var rows [][]string
	for _, e := range endings() {
		rows = append(rows, []string{e.id, fmt.Sprintf("%q", e.seq), results["default"+e.id], results["normalise"+e.id], results["reject"+e.id], fmt.Sprintf("%q", e.mended)})
	}
	table(t, []string{"id", "sequence", "default", "normalise all", "reject all", "at the next hop, where it passes"}, rows)
}

// smuggle sends one message in the given packets and gives the answer's code.
func smuggle(t *testing.T, hop *fakehop.Server, g *harness.Gateway, e ending, policy string, packets ...string) string {
	t.Helper()
	before := len(hop.Accepted())
	mails := hop.Count("MAIL")
	c := harness.Greeted(t, g.Inbound)
	defer c.Close()
	c.Envelope("a@x.example", "b@our.example")
	c.Say("DATA").Want(354)
	for _, p := range packets {
		if p == "" {
			continue
		}
		c.Raw(p)
		if len(packets) > 1 {
			// Only so that the packets are likely to be read one by one;
			// nothing is expected of the time itself.
			time.Sleep(200 * time.Microsecond)
		}
	}
	r := c.Reply()
	c.Say("QUIT")
	rest := c.WantClosed()
	if len(rest) > 1 || len(rest) == 1 && rest[0].Code != 221 {
		t.Fatalf("%s %s: words of the message were answered: %v", policy, e.id, rest)
	}
	name := fmt.Sprintf("%s %s %q in %d packets", policy, e.id, e.seq, len(packets))
	if n := hop.Count("MAIL") - mails; n != 1 {
		t.Fatalf("%s: the next hop saw %d transactions", name, n)
	}
	got := hop.Accepted()[before:]
	want := taken(policy, e.seq)
	switch {
	case want && (r.Code != 250 || len(got) != 1):
		t.Fatalf("%s: answered %s, %d messages arrived", name, r, len(got))
	case !want && (r.Class() != 5 || len(got) != 0):
		t.Fatalf("%s: answered %s, %d messages arrived", name, r, len(got))
	case want:
		data, _ := harness.WithoutTrace(string(got[0].Data))
		if expect := smuggleHead + e.mended + smuggleTail; data != expect {
			t.Fatalf("%s: the next hop got\n%q, want\n%q", name, data, expect)
		}
	}
	for _, conn := range hop.Conns() {
		sent := conn.Transcript()
		plain := strings.ReplaceAll(sent, "\r\n", "")
		if strings.ContainsAny(plain, "\r\n\x00") {
			t.Fatalf("%s: a bare CR, LF or a NUL went to the next hop:\n%q", name, sent)
		}
	}
	return fmt.Sprint(r.Code)
}

// TestTableTrueEnd: S-15 to S-17. The true end in any packets, commands right
// behind it, and lines that begin with dots.
func TestTableTrueEnd(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers})
	send := func(packets ...string) []harness.Reply {
		c := harness.Greeted(t, g.Inbound)
		c.Envelope("a@x.example", "b@our.example")
		c.Say("DATA").Want(354)
		for _, p := range packets {
			c.Raw(p)
			time.Sleep(200 * time.Microsecond)
		}
		return c.WantClosed()
	}
	const body = "Subject: s\r\n\r\ntext\r\n.\r\nQUIT\r\n"
	for cut := 1; cut < len(body); cut++ {
		all := send(body[:cut], body[cut:])
		if len(all) != 2 || all[0].Code != 250 || all[1].Code != 221 {
			t.Errorf("S-16 cut at %d: %v", cut, all)
		}
	}
	if all := send(strings.Split(body, "")...); len(all) != 2 || all[0].Code != 250 {
		t.Errorf("S-16 octet by octet: %v", all)
	}

	before := len(hop.Accepted())
	all := send("Subject: 1\r\n\r\n1\r\n.\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\nSubject: 2\r\n\r\n2\r\n.\r\nQUIT\r\n")
	got := len(hop.Accepted()) - before
	if got != 1 || all[0].Code != 250 {
		t.Errorf("S-15: a second message that did not wait for 354: %d messages, %v", got, all)
	}
	t.Logf("S-15: replies %v", all)

	for _, m := range []string{".\r\n", "..\r\n", "...\r\n", ".x\r\n", ".\r\n.\r\n", "a\r\n.\r\n\r\n.b\r\n..c\r\n", "\r\n.\r\n", ". \r\n", ".\t.\r\n"} {
		c := harness.Greeted(t, g.Inbound)
		if r := c.Send("a@x.example", []string{"b@our.example"}, m); r.Code != 250 {
			t.Errorf("S-17 %q: %s", m, r)
			continue
		}
		list := hop.Accepted()
		// A message without header section gets the empty line that ends
		// ours, or its first line would be read as a field.
		want := m
		if !strings.HasPrefix(m, "\r\n") {
			want = "\r\n" + m
		}
		if data, _ := harness.WithoutTrace(string(list[len(list)-1].Data)); data != want {
			t.Errorf("S-17 %q became %q", m, data)
		}
	}
}
