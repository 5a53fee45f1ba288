package smtpproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
)

// step is one exchange: what is sent and how the reply begins.
type step struct{ send, want string }

func (k *kit) play(t *testing.T, steps []step) *client {
	t.Helper()
	c := k.dial()
	c.want("220")
	for _, s := range steps {
		if s.send != "" {
			c.send(s.send)
		}
		if s.want == "" {
			c.closed()
			return c
		}
		c.want(s.want)
	}
	return c
}

var ehlo = step{"EHLO c.example\r\n", "250"}

func TestStateMachine(t *testing.T) {
	k := newKit(t, "inbound", nil)
	for name, steps := range map[string][]step{
		"S-54 order": {{"MAIL FROM:<a@s.example>\r\n", "503"}, ehlo, {"RCPT TO:<b@our.example>\r\n", "503"},
			{"DATA\r\n", "503"}, {"MAIL FROM:a@s.example\r\n", "501"}, {"MAIL <a@s.example>\r\n", "501"},
			{"MAIL FROM:<a@s.example>\r\n", "250"}, {"DATA\r\n", "503"}, {"DATA now\r\n", "501"}, {"RSET x\r\n", "501"},
			{"QUIT x\r\n", "501"}, {"RCPT TO:<b@our.example>\r\n", "250"}, {"RSET\r\n", "250"}, {"RCPT TO:<b@our.example>\r\n", "503"}},
		"S-57 nested MAIL": {ehlo, {"MAIL FROM:<a@s.example>\r\n", "250"}, {"RCPT TO:<b@our.example>\r\n", "250"},
			{"MAIL FROM:<z@s.example>\r\n", "503"}, {"DATA\r\n", "354"}, {"Subject: n\r\n\r\n.\r\n", "250"}},
		"S-58 after QUIT":      {ehlo, {"QUIT\r\nMAIL FROM:<a@s.example>\r\n", "221"}, {"", ""}},
		"S-61 NUL":             {ehlo, {"MA\x00IL FROM:<a@s.example>\r\n", "500"}, {"NOOP\x00\r\n", "500"}, {"NOOP\r\n", "250"}},
		"S-19 bare CR":         {ehlo, {"MAIL FROM:<a@b.example>\rRCPT TO:<c@d>\r\n", "500"}, {"EHLO x\rMAIL\r\n", "500"}, {"RCPT TO:<b@our.example>\r\n", "503"}},
		"S-18 bare LF":         {{"EHLO c.example\nMAIL FROM:<a@b>\n", "500"}, {"", ""}},
		"S-62 GET":             {{"GET / HTTP/1.1\r\nEHLO x\r\n", "521"}, {"", ""}},
		"S-62 POST":            {{"POST / HTTP/1.1\r\nHost: a\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n", "521"}, {"", ""}},
		"S-62 label":           {{"Host: x\r\n", "521"}, {"", ""}},
		"S-62 TLS":             {{"\x16\x03\x01\x02\x00\x01\r\n", "521"}, {"", ""}},
		"S-62 space":           {{" MAIL\r\n", "521"}, {"", ""}},
		"S-64 unknown":         {ehlo, {"FROB\r\n", "500"}, {"EXPN list\r\n", "502"}, {"ETRN x\r\n", "502"}, {"XCLIENT ADDR=1.2.3.4\r\n", "550"}, {"XFORWARD ADDR=1.2.3.4\r\n", "550"}, {"AUTH PLAIN AAAA\r\n", "502"}, {strings.Repeat("x", 1000) + "\r\n", "500"}},
		"S-35 STARTTLS":        {ehlo, {"STARTTLSx\r\n", "500"}, {"STARTTLS now\r\n", "501"}, {"STARTTLS\r\n", "502"}},
		"S-152 long":           {ehlo, {"NOOP " + strings.Repeat("x", 2041) + "\r\n", "250"}, {"NOOP " + strings.Repeat("x", 2042) + "\r\nNOOP\r\n", "500"}, {"", ""}},
		"S-152 endless":        {{strings.Repeat("x", 5000), "500"}, {"", ""}},
		"HELO":                 {{"HELO c.example\r\n", "250 mx.our.example\r\n"}, {"MAIL FROM:<a@s.example> SIZE=5\r\n", "555"}, {"MAIL FROM:<a@s.example>\r\n", "250"}},
		"empty HELO":           {{"EHLO\r\n", "501"}, {"EHLO  \r\n", "501"}},
		"VRFY all the same":    {ehlo, {"VRFY b@our.example\r\n", "252"}, {"VRFY nobody\r\n", "252"}, {"VRFY\r\n", "501"}, {"HELP\r\n", "214"}},
		"S-69 BINARYMIME":      {ehlo, {"MAIL FROM:<a@s.example> BODY=BINARYMIME\r\n", "5"}},
		"S-99 parameters":      {ehlo, {"MAIL FROM:<a@s.example> SIZE=1 SIZE=2\r\n", "501"}, {"MAIL FROM:<a@s.example> FOO=1\r\n", "555"}, {"MAIL FROM:<a@s.example> =x\r\n", "5"}},
		"lower case":           {{"ehlo c.example\r\n", "250"}, {"mail from:<A@S.example>\r\n", "250"}, {"rcpt to:<B@OUR.example>\r\n", "250"}, {"data\r\n", "354"}, {".\r\n", "250"}, {"quit\r\n", "221"}},
		"S-55 after a refusal": {ehlo, {"MAIL FROM:<a@s.example>\r\n", "250"}, {"RCPT TO:<b@our.example>\r\n", "250"}, {"DATA\r\n", "354"}, {"a\rb\r\n.\r\n", "550"}, {"RCPT TO:<b@our.example>\r\n", "503"}, {"DATA\r\n", "503"}},
		"S-51 EHLO ahead":      {{"EHLO c.example\r\nMAIL FROM:<a@s.example>\r\n", "554 5.5.0"}, {"", ""}},
		"S-51 DATA ahead":      {ehlo, {"MAIL FROM:<a@s.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\nSubject: x\r\n", "250"}, {"", "250"}, {"", "554 5.5.0"}, {"", ""}},
		"S-52 none good":       {ehlo, {"MAIL FROM:<a@s.example>\r\nRCPT TO:<x@other.example>\r\nDATA\r\n", "250"}, {"", "554"}, {"", "554 5.5.1"}, {"NOOP\r\n", "250"}},
	} {
		t.Run(name, func(t *testing.T) { k.play(t, steps).Close() })
	}
}

func TestHarmlessPipelining(t *testing.T) {
	k := newKit(t, "inbound", nil)
	k.hop.rcpt = func(r mail.Recipient) mail.Reply {
		if strings.HasPrefix(r.Local, "bad") {
			return mail.Permanent(550, "1.1", "No such user")
		}
		return mail.OK(250, "1.5", "Ok")
	}
	c := k.hello()
	var b strings.Builder
	b.WriteString("MAIL FROM:<a@s.example>\r\n")
	for i := range 20 {
		name := "good"
		if i%3 == 0 {
			name = "bad"
		}
		fmt.Fprintf(&b, "RCPT TO:<%s%d@our.example>\r\n", name, i)
	}
	c.send(b.String() + "DATA\r\n")
	c.want("250")
	for i := range 20 {
		want := "250"
		if i%3 == 0 {
			want = "550 5.1.1 No such user"
		}
		c.want(want)
	}
	c.want("354")
	c.do("250", "Subject: x\r\n\r\n.")
	if got := k.hop.messages(); len(got) != 1 || len(got[0].to) != 13 {
		t.Fatalf("%v", got)
	}
}

// Open-relay probes (S-80 to S-98): none may pass, and the next hop may hear
// of none of them.
var relayProbes = []struct{ id, from, to string }{
	{"S-80", "<>", "<user@victim.example>"},
	{"S-81", "<spam@victim.example>", "<user@victim.example>"},
	{"S-82", "<spam@our.example>", "<user@victim.example>"},
	{"S-84", "<spam@our.example>", "<user%victim.example@our.example>"},
	{"S-85", "<spam@our.example>", "<user%victim.example@[127.0.0.1]>"},
	{"S-85", "<spam@our.example>", "<user%victim.example@mx.our.example>"},
	{"S-86", "<>", `<"user@victim.example">`},
	{"S-87", "<>", `<"user%victim.example">`},
	{"S-88", "<>", "<user@victim.example@our.example>"},
	{"S-89", "<>", `<"user@victim.example"@our.example>`},
	{"S-90", "<>", `<"user@victim.example"@[127.0.0.1]>`},
	{"S-91", "<>", "<@our.example:user@victim.example>"},
	{"S-92", "<>", "<@[127.0.0.1]:user@victim.example>"},
	{"S-92", "<>", "<@a,@b,@our.example:user@victim.example>"},
	{"S-93", "<>", "<victim.example!user>"},
	{"S-93", "<>", "<victim.example!user@our.example>"},
	{"S-93", "<>", "<victim.example!user@[127.0.0.1]>"},
	{"S-94", "<>", "<our.example!victim.example!user@our.example>"},
	{"S-94", "<>", "<user%victim.example%our.example@our.example>"},
	{"S-95", "<>", "<user@victim.example.>"},
	{"S-95", "<>", "<user@VICTIM.example>"},
	{"S-95", "<>", "<user@victim%2eexample>"},
	{"S-95", "<>", "<user@[192.0.2.1]>"},
	{"S-95", "<>", "<user@[IPv6:2001:db8::1]>"},
	{"S-96", "<>", "<user@our.example.victim.example>"},
	{"S-96", "<>", "<user@notour.example>"},
	{"S-97", "<>", "<user@our.example\x00.victim.example>"},
	{"S-97", "<>", "<user@our.example\r.victim.example>"},
	{"S-97", "<>", "<user@our.example(comment)victim.example>"},
	{"S-98", "<>", `<"x> NOTIFY=NEVER "@our.example>`},
	{"S-98", "<>", `<"a\"> ORCPT=rfc822;v@victim "@our.example>`},
}

func TestOpenRelayProbes(t *testing.T) {
	// Even a policy that accepts everything opens nothing.
	k := newKit(t, "inbound", nil)
	k.policy.rcpt = func(*mail.Transaction, mail.Recipient) mail.Decision { return mail.Decision{Verdict: mail.Accept} }
	for _, p := range relayProbes {
		c := k.hello()
		c.do("250", "MAIL FROM:"+p.from)
		if r := c.do("5", "RCPT TO:"+p.to); !strings.HasPrefix(r, "5") {
			t.Errorf("%s %s: %q", p.id, p.to, r)
		}
		c.Close()
	}
	if k.hop.begun != 0 {
		t.Errorf("the next hop was asked %d times", k.hop.begun)
	}
	// The listener for our own networks, from outside of them.
	for _, role := range []string{"outbound", "content-filter"} {
		k := newKit(t, role, func(_ *Settings, l *Listener) {
			l.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		})
		c := k.dial()
		if role == "content-filter" {
			c.want("554 5.7.1")
			c.closed()
			continue
		}
		c.want("220")
		c.do("250", "EHLO x.example")
		c.do("250", "MAIL FROM:<a@our.example>")
		c.do("554 5.7.1", "RCPT TO:<b@our.example>")
		if k.hop.begun != 0 {
			t.Errorf("%s: the next hop was asked", role)
		}
	}
}

func TestPostmasterIsRouted(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	for _, to := range []string{"<postmaster>", "<Postmaster>", "<Postmaster@our.example>"} {
		c.do("250", "MAIL FROM:<a@s.example>")
		c.do("250", "RCPT TO:"+to)
		c.do("354", "DATA")
		c.do("250", "Subject: x\r\n\r\n.")
	}
	got := k.hop.messages()
	if len(got) != 3 || got[0].to[0] != "postmaster@our.example" || got[2].to[0] != "Postmaster@our.example" {
		t.Fatalf("%v", got)
	}
}

func TestRecipientLimits(t *testing.T) {
	k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.MaxRecipients = 100; s.Limits.HardErrors = 1000 })
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	for i := range 100 {
		c.do("250", fmt.Sprintf("RCPT TO:<u%d@our.example>", i))
	}
	c.do("452 4.5.3", "RCPT TO:<one-more@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
	if got := k.hop.messages(); len(got[1].to) != 1 {
		t.Errorf("the same recipient twice: %v", got[1].to)
	}
}

func TestBudgetsOfErrorsAndChatter(t *testing.T) {
	for name, line := range map[string]string{"errors": "FROB\r\n", "chatter": "NOOP\r\n", "hello": "EHLO x\r\n", "unknown recipients": "RCPT TO:<x@other.example>\r\n"} {
		k := newKit(t, "inbound", nil)
		c := k.hello()
		c.do("250", "MAIL FROM:<a@s.example>")
		seen := 0
		for ; seen < 300; seen++ {
			if _, err := c.Write([]byte(line)); err != nil {
				break
			}
			r := c.reply()
			if strings.HasPrefix(r, "421") {
				c.closed()
				break
			}
			if r == "" {
				break
			}
		}
		if seen >= 300 {
			t.Errorf("%s: no end after %d", name, seen)
		}
		// S-59: what stood behind in the same packet was not executed.
		k2 := newKit(t, "inbound", nil)
		c2 := k2.hello()
		c2.send(strings.Repeat("FROB\r\n", 25) + "MAIL FROM:<a@s.example>\r\nRCPT TO:<b@our.example>\r\n")
		for r := c2.reply(); r != ""; r = c2.reply() {
			if strings.HasPrefix(r, "250") {
				t.Errorf("executed behind the end: %q", r)
			}
		}
		if k2.hop.begun != 0 {
			t.Error("the next hop was asked")
		}
	}
	// A trusted relay's connection is never closed over its users' faults.
	k := newKit(t, "outbound", nil)
	c := k.hello()
	for range 200 {
		c.do("500", "FROB")
		c.do("250", "NOOP")
	}
}

func TestConnectionLimits(t *testing.T) {
	k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.MaxConnectionsPerClient = 3; s.Limits.MaxConnections = 20 })
	var open []*client
	for range 3 {
		c := k.dial()
		c.want("220")
		open = append(open, c)
	}
	c := k.dial()
	c.want("421 4.7.0")
	c.closed()
	open[0].do("221", "QUIT")
	open[0].closed()
	eventually(t, "a slot is free", func() bool {
		c := k.dial()
		defer c.Close()
		return strings.HasPrefix(c.reply(), "220")
	})

	var s slots
	l := Limits{MaxConnections: 10, MaxConnectionsPerClient: 100}
	stranger := place{key: slotKey(netip.MustParseAddr("192.0.2.1")), counted: true}
	for i := range 8 {
		if why := s.take(stranger, l); why != "" {
			t.Fatalf("%d: %s", i, why)
		}
	}
	if s.take(stranger, l) == "" {
		t.Error("a stranger took what is kept for our own")
	}
	if why := s.take(place{key: stranger.key, reserve: true}, l); why != "" {
		t.Errorf("our own: %s", why)
	}
	if slotKey(netip.MustParseAddr("2001:db8::1")) != slotKey(netip.MustParseAddr("2001:db8::ffff:2")) {
		t.Error("an IPv6 /64 counts as many clients")
	}
}

func TestCommandDeadlineIsForTheWholeLine(t *testing.T) {
	t.Parallel()
	// EHLO has to come in this time too.
	k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.CommandTimeout = 2 * time.Second })
	c := k.hello()
	go func() { // an octet now and then does not buy time (S-140)
		for range 500 {
			if _, err := c.Write([]byte("N")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	c.want("421 4.4.2")
	c.closed()
}

func TestPanicIsIsolated(t *testing.T) {
	k := newKit(t, "inbound", nil)
	other := k.hello()
	k.policy.message = func(*mail.Transaction) mail.Decision { panic("a check that was never written") }
	c := k.hello()
	c.envelope()
	c.do("354", "DATA")
	c.do("451 4.3.0", "Subject: x\r\n\r\n.")
	c.closed()
	other.do("250", "NOOP")
	if k.hop.open() != 0 || len(k.hop.messages()) != 0 || k.srv.Stats().Panics != 1 {
		t.Errorf("open %d, messages %d", k.hop.open(), len(k.hop.messages()))
	}
}

func TestRepliesNeverEchoHostileText(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.dial()
	c.want("220")
	for _, line := range []string{"EHLO a<script>\x80\xff", "EHLO $(id)", "VRFY x\x80y", "FROB \xe2\x80\xae"} {
		c.send(line + "\r\n")
		r := c.reply()
		for _, b := range []byte(strings.NewReplacer("\r\n", "").Replace(r)) {
			if b < ' ' || b > '~' {
				t.Errorf("%q: reply %q", line, r)
			}
		}
		if strings.Contains(r, "script") || strings.Contains(r, "$(") {
			t.Errorf("echoed: %q", r)
		}
	}
}

func TestOneTransactionOneNextHop(t *testing.T) {
	k := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.Router = nil })
	other := newFakeHop()
	other.name = "other"
	k.set.Listeners["test"].Router = splitRouter{k.hop, other}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("452 4.5.3", "RCPT TO:<other@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
	if len(other.messages()) != 0 || len(k.hop.messages()) != 1 {
		t.Error("went to the wrong place")
	}
}

type splitRouter struct{ a, b *fakeHop }

func (r splitRouter) NextHops() []NextHop                                        { return []NextHop{r.a, r.b} }
func (r splitRouter) Rewrite(*mail.Transaction, mail.Recipient) []mail.Recipient { return nil }
func (r splitRouter) Redirect(_ *mail.Transaction, to mail.Path) (NextHop, []mail.Path, *mail.Reply) {
	return r.a, []mail.Path{to}, nil
}
func (r splitRouter) Hop(string) NextHop { return nil }
func (r splitRouter) Route(_ *mail.Transaction, to mail.Recipient) (NextHop, *mail.Reply) {
	if to.Local == "other" {
		return r.b, nil
	}
	return r.a, nil
}

func TestAnnouncedIsWhatEveryRouteHas(t *testing.T) {
	k := newKit(t, "inbound", nil)
	k.hop.caps = Capabilities{Known: true, EightBitMIME: true, Size: 1 << 20}
	c := k.dial()
	c.want("220")
	r := c.do("250", "EHLO x.example")
	for _, w := range []string{"250-SIZE 1048576\r\n", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "CHUNKING"} {
		if !strings.Contains(r, w) {
			t.Errorf("no %s in %q", w, r)
		}
	}
	for _, w := range []string{"SMTPUTF8", "DSN", "BINARYMIME", "STARTTLS", "XFORWARD", "AUTH", "VRFY"} {
		if strings.Contains(r, w) {
			t.Errorf("%s in %q", w, r)
		}
	}
	c.do("555", "MAIL FROM:<a@s.example> SMTPUTF8")
	c.do("555", "MAIL FROM:<a@s.example> RET=FULL")
	c.do("250", "MAIL FROM:<a@s.example> BODY=8BITMIME")
}

// A next hop that is the client itself: inbound always, outbound on port 25;
// the reinjection port of a Postfix is what it should be.
func TestNextHopIsTheClient(t *testing.T) {
	for _, c := range []struct {
		role string
		port uint16
		want string
	}{{"inbound", 25, "554 5.4.6"}, {"inbound", 10025, "554 5.4.6"}, {"outbound", 25, "451 4.4.6"},
		{"outbound", 10025, "250"}, {"content-filter", 25, "250"}, {"content-filter", 10025, "250"}} {
		k := newKit(t, c.role, nil)
		k.hop.machine, k.hop.port = netip.MustParseAddr("127.0.0.1"), c.port
		cl := k.hello()
		cl.do("250", "MAIL FROM:<a@s.example>")
		cl.do(c.want, "RCPT TO:<b@our.example>")
	}
}

func TestAlarmsAreBounded(t *testing.T) {
	var a alarms
	now := time.Unix(1000, 0)
	if _, yes := a.due("x", now); !yes {
		t.Error("the first is kept back")
	}
	for range 300 {
		if _, yes := a.due("x", now.Add(time.Second)); yes {
			t.Fatal("a flood")
		}
	}
	if _, yes := a.due("y", now); !yes {
		t.Error("another kind is kept back")
	}
	if kept, yes := a.due("x", now.Add(alarmEvery)); !yes || kept != 300 {
		t.Errorf("%d %v", kept, yes)
	}
}

func TestPostmasterOfAnInternationalDomain(t *testing.T) {
	k := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.RelayDomains = []string{"niñez.example"} })
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<postmaster>")
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\n.")
	if got := k.hop.messages(); got[0].to[0] != "postmaster@xn--niez-hqa.example" {
		t.Errorf("%v", got[0].to)
	}
	// Every recipient was refused: nothing was aborted.
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("554", "RCPT TO:<b@other.example>")
	c.do("221", "QUIT")
	eventually(t, "counted", func() bool { return k.srv.Stats().Outcomes["refused"] == 1 })
}

// "Try again" is not the client's error: an honest one that is put off many
// times in a session keeps it; there is an end all the same.
func TestPutOffIsNoError(t *testing.T) {
	k := newKit(t, "inbound", nil)
	k.hop.rcpt = func(mail.Recipient) mail.Reply { return mail.Temporary(451, "4.1", "later") }
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	for i := range 60 {
		c.do("451", fmt.Sprintf("RCPT TO:<r%d@our.example>", i))
	}
	for i := 0; ; i++ {
		c.send("RCPT TO:<b@our.example>\r\n")
		r := c.reply()
		if strings.HasPrefix(r, "421") {
			break
		}
		if i > 100 {
			t.Fatal("no end")
		}
	}
}

// S-51: HELO announces no PIPELINING; who pipelines all the same is out of
// step, unless we know him.
func TestPipeliningWithoutEHLO(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.dial()
	c.want("220")
	c.do("250", "HELO x.example")
	c.do("250", "MAIL FROM:<a@s.example>")
	c.send("RCPT TO:<b@our.example>\r\nDATA\r\nSubject: x\r\n")
	c.want("554 Error: SMTP protocol synchronization")
	c.closed()
	own := newKit(t, "outbound", nil)
	c = own.dial()
	c.want("220")
	c.do("250", "HELO x.example")
	c.send("MAIL FROM:<a@s.example>\r\nRCPT TO:<b@our.example>\r\n")
	c.want("250")
	c.want("250")
}
