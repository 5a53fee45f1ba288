package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// Exactly the limit passes, one octet more does not, whatever SIZE says.
func TestSizeLimit(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	const limit = 100_000
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: []harness.Setting{
		{Table: "listener.inbound", Key: "max_message_size", Value: fmt.Sprintf(`"%dB"`, limit)},
	}})
	sized := func(n int) string {
		m := "Subject: s\r\n\r\n"
		for n-len(m) > 1000 {
			m += strings.Repeat("x", 998) + "\r\n"
		}
		return m + strings.Repeat("x", n-len(m)-2) + "\r\n"
	}
	cases := []struct {
		declared string
		size     int
		code     int
	}{
		{"", limit, 250},
		{fmt.Sprintf(" SIZE=%d", limit), limit, 250},
		{"", limit + 1, 552},
		{" SIZE=10", limit + 1, 552},
		{" SIZE=10", 3 * limit, 552},
		{fmt.Sprintf(" SIZE=%d", limit+1), 0, 552},
	}
	for _, c := range cases {
		conn := harness.Greeted(t, g.Inbound)
		r := conn.Say("MAIL FROM:<a@x.example>" + c.declared).Reply()
		if r.Code == 250 {
			conn.Say("RCPT TO:<b@our.example>").Want(250)
			conn.Say("DATA").Want(354)
			// What follows the refused message is no command of ours: the
			// smuggler who knows the limit.
			conn.Raw(harness.Stuff(sized(c.size)))
			r = conn.Reply()
		}
		if r.Code != c.code {
			t.Errorf("%d octets%s: %s, want %d", c.size, c.declared, r, c.code)
		}
		conn.Say("NOOP").Want(250)
	}
	if n := len(hop.Accepted()); n != 2 {
		t.Errorf("the next hop took %d messages, want 2", n)
	}
}

// A client that stalls inside the message and then goes on with commands.
func TestStallInsideMessage(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: []harness.Setting{
		{Table: "limits", Key: "data_timeout", Value: `"1s"`},
	}})
	for _, begin := range []string{"DATA\r\n", "BDAT 1000 LAST\r\n"} {
		c := harness.Greeted(t, g.Inbound)
		c.Envelope("a@x.example", "b@our.example")
		c.Raw(begin)
		if begin == "DATA\r\n" {
			c.Want(354)
		}
		c.Raw("Subject: s\r\n\r\nfirst line\r\n")
		c.Want(421)
		c.Raw("MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n")
		if rest := c.WantClosed(); len(rest) > 0 {
			t.Errorf("%q: answered %v after the 421", begin, rest)
		}
	}
	if hop.Count("DATA") != 0 || len(hop.Accepted()) != 0 {
		t.Errorf("the next hop saw DATA %d times and took %d messages", hop.Count("DATA"), len(hop.Accepted()))
	}
}

// Loops end, and forged fields of our namespace do not pass.
func TestLoopAndForgedFields(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers})
	for _, c := range []struct{ hops, code int }{{0, 250}, {50, 250}, {51, 554}, {101, 554}} {
		m := strings.Repeat("rEceived: from a by b; Sun, 22 Nov 2026\r\n 00:00:00 +0000\r\n", c.hops) + "Subject: s\r\n\r\nx\r\n"
		if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, m); r.Code != c.code {
			t.Errorf("%d hops: %s, want %d", c.hops, r, c.code)
		}
	}
	forged := "Authentication-Results: gw.example; dkim=pass\r\nX-GARITA-Score:\r\n 0\r\nauthentication-results : GW.example (x);\r\n\tspf=pass\r\n"
	kept := "Authentication-Results: other.example; dkim=pass\r\nX-Garitas: 1\r\nSubject: s\r\n\r\nX-Garita-In-Body: 1\r\n"
	if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, forged+kept); r.Code != 250 {
		t.Fatal(r)
	}
	list := hop.Accepted()
	if data, _ := harness.WithoutTrace(string(list[len(list)-1].Data)); data != kept {
		t.Errorf("got %q, want %q", data, kept)
	}
}

// A gateway whose next hop is itself, by way of its own listener, starts not
// at all; one that a Postfix behind it sends back to ends the loop.
func TestNextHopIsOurselves(t *testing.T) {
	t.Parallel()
	g := harness.NewGateway(t, harness.Options{Trust: strangers})
	hop := "next_hop." + harness.Value(t, g.Config, "listener.inbound", "next_hop")
	harness.Configure(t, g.Config, harness.Setting{Table: hop, Key: "url", Value: quoted("smtp://" + g.Inbound)})
	out, code := g.Run("config", "check", "--config", g.Config)
	if code == 0 {
		t.Errorf("config check took it:\n%s", out)
	}
	out, code = g.Run("run", "--config", g.Config)
	if code == 0 || !strings.Contains(out, "own") {
		t.Errorf("garita run: exit status %d\n%s", code, out)
	}
}

func TestMailLoopThroughPostfix(t *testing.T) {
	t.Parallel()
	addr := harness.Addr(t)
	g := harness.StartGateway(t, harness.Options{NextHop: addr, Trust: strangers})
	p := harness.StartPostfix(t, harness.PostfixOptions{Name: "loop", Addr: addr, Domains: []string{"our.example"}, RelayHost: g.Inbound, Main: map[string]string{
		"hopcount_limit": "1000",
	}})
	if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Fatal(r)
	}
	p.WaitLog(t, "554 5.4.6")
	if n := strings.Count(g.Log(), "status=sent"); n > 60 {
		t.Errorf("the message went round %d times", n)
	}
}

// The real pflogsumm reads the log of real traffic and counts it right.
func TestPflogsummReadsTheLog(t *testing.T) {
	t.Parallel()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}})
	g := harness.StartGateway(t, harness.Options{NextHop: p.Addr, Trust: strangers})
	for range 3 {
		if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example", "c@our.example"}, message); r.Code != 250 {
			t.Fatal(r)
		}
	}
	for range 2 {
		c := harness.Greeted(t, g.Inbound)
		c.Say("MAIL FROM:<a@x.example>").Want(250)
		c.Say("RCPT TO:<v@victim.example>").Want(554)
		c.Say("QUIT").Want(221)
	}
	if code := g.Stop(); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	file := filepath.Join(harness.Dir(t), "mail.log")
	if err := os.WriteFile(file, []byte(g.Log()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := harness.Command(t, harness.Need(t, "pflogsumm", "pflogsumm"), "--syslog_name=garita", file)
	if code != 0 {
		t.Fatalf("pflogsumm: %d\n%s", code, out)
	}
	for _, want := range []string{"3   received", "6   delivered", "2   rejected"} {
		if !strings.Contains(out, want) {
			t.Errorf("pflogsumm does not say %q:\n%s\n%s", want, out, g.Log())
		}
	}
}
