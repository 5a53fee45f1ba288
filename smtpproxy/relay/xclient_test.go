package relay

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

var allXClient = []string{"PIPELINING", "XFORWARD NAME ADDR PROTO HELO", "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"}

func xclientConfig(url string) Config {
	c := impatient(url)
	c.XClient = true
	return c
}

// session gives transactions of one client session.
func session(id, addr string) func(*mail.Transaction) {
	return func(tx *mail.Transaction) {
		tx.Session.ID = id
		tx.Session.Client = netip.MustParseAddrPort(addr)
	}
}

// TestXClient: XCLIENT, a second EHLO, no XFORWARD; one connection for each
// client session, however many messages it has, and never another's (B-20).
func TestXClient(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: allXClient})
	h, _ := hop(t, xclientConfig(s.URL()))
	one, two := session("S1", "192.0.2.7:4321"), session("S2", "[2001:db8::1]:99")
	for _, who := range []func(*mail.Transaction){one, one, two, one, two} {
		if _, o := send(t, h, transaction(who), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	if len(s.Conns()) != 2 {
		t.Fatalf("%d connections", len(s.Conns()))
	}
	got := strings.Join(s.Conns()[0].Commands(), "|")
	want := "EHLO gw.example|XCLIENT HELO=client.example PROTO=ESMTP LOGIN=[UNAVAILABLE] REVERSE_NAME=mx.client.example NAME=mx.client.example PORT=4321 ADDR=192.0.2.7|EHLO client.example|MAIL FROM"
	if !strings.HasPrefix(got, want) || strings.Contains(got, "XFORWARD") || strings.Count(got, "XCLIENT") != 1 {
		t.Errorf("%q", got)
	}
	for i, conn := range []int{0, 0, 1, 0, 1} {
		m := s.Accepted()[i]
		addr := []string{"ADDR=192.0.2.7", "ADDR=IPV6:2001:db8::1"}[conn]
		if m.Conn != conn || len(m.XClient) != 1 || !strings.HasSuffix(m.XClient[0], addr) {
			t.Errorf("message %d: connection %d, %q", i, m.Conn, m.XClient)
		}
	}
	// The same session says something else of itself: it has logged in.
	if _, o := send(t, h, transaction(one, func(tx *mail.Transaction) { tx.Session.Login = "eve" }), "a"); o.Kind != mail.Relayed {
		t.Fatalf("%+v", o)
	}
	if m := s.Accepted()[5]; m.Conn != 2 || !strings.Contains(m.XClient[0], "LOGIN=eve") {
		t.Errorf("%+v", m)
	}
}

// TestXClientIdle: a session's connection quits when nothing more comes, and
// at once when another needs its place.
func TestXClientIdle(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: allXClient})
	c := xclientConfig(s.URL())
	c.MaxConnections = 2
	h, _ := hop(t, c)
	for i, id := range []string{"S1", "S2", "S3", "S4", "S5"} {
		if _, o := send(t, h, transaction(session(id, "192.0.2.7:1")), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
		if s.Accepted()[i].Conn != i {
			t.Error("the connection of another session")
		}
		if st := h.Stats(); st.Idle+st.Busy > 2 {
			t.Errorf("%+v", st)
		}
	}
	// Parked while the client uploads: the place is free for others, and the
	// replay introduces the client again.
	d := h.Begin(transaction(session("S6", "192.0.2.8:1")))
	d.Rcpt(t.Context(), rcpt("a"))
	d.Park()
	for _, id := range []string{"S7", "S8", "S9"} {
		if _, o := send(t, h, transaction(session(id, "192.0.2.7:1")), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Fatalf("%+v", o)
	}
	if m := s.Accepted()[8]; !strings.HasSuffix(m.XClient[0], "ADDR=192.0.2.8") {
		t.Errorf("%+v", m)
	}
	c.IdleTimeout = 20e6
	h2, _ := hop(t, c)
	if _, o := send(t, h2, transaction(), "a"); o.Kind != mail.Relayed {
		t.Fatalf("%+v", o)
	}
	eventually(t, "the idle one has quit", func() bool { return h2.Hosts()[0].Open == 0 && h2.Stats().Idle == 0 })
	if h.pool.patience(&conn{owner: "x"}) != sessionIdle || h.pool.patience(&conn{}) <= sessionIdle {
		t.Error("patience")
	}
}

// TestXClientFaults: any refusal closes the connection and is 451; nothing is
// sent under the wrong address.
func TestXClientFaults(t *testing.T) {
	rows := map[string]fakehop.Action{
		"550": {Reply: "550 5.7.0 not authorised\r\n"}, "554": {Reply: "554 5.7.1 blocked client\r\n"}, "501": {Reply: "501 5.5.4 bad\r\n"}, "503": {Reply: "503 5.5.1 in MAIL\r\n"},
		"450": {Reply: "450 4.7.1 later\r\n"}, "421": {Reply: "421 4.3.2 bye\r\n"}, "250": {Reply: "250 ok\r\n"}, "221": {Reply: "221 ok\r\n"}, "354": {Reply: "354 go\r\n"}, "nonsense": {Reply: "hi\r\n"},
		"two": {Reply: "220 a\r\n250 b\r\n"}, "drop": {Silent: true, Drop: true}, "reset": {Silent: true, Reset: true}, "hang": {Silent: true, Hang: true}, "cut": {Reply: "220 o", Drop: true},
	}
	for name, a := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakehop.Config{Extensions: allXClient, Script: script{"XCLIENT": {a}}})
			h, l := hop(t, xclientConfig(s.URL()))
			answers, o := send(t, h, transaction(), "a")
			if answers[0].Code != 451 || o.Kind != mail.Refused || o.Replies[0].Code != 451 || len(l.lines) == 0 {
				t.Errorf("%v %+v %q", answers, o, l.lines)
			}
			if s.Count("MAIL") != 0 || s.Count("RSET") != 0 {
				t.Errorf("more was said: %q", s.Conns()[0].Commands())
			}
			eventually(t, "closed, slot free", func() bool { return (a.Hang || s.Conns()[0].Ended()) && h.Stats().Busy == 0 && h.Hosts()[0].Open == 0 })
			relayed(t, h, s)
		})
	}
	for name, second := range map[string]fakehop.Action{"450": {Reply: "450 4.3.2 later\r\n"}, "drop": {Silent: true, Drop: true}, "nonsense": {Reply: "hi\r\n"}, "hang": {Silent: true, Hang: true}} {
		t.Run("EHLO after it "+name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakehop.Config{Extensions: allXClient, Script: script{"EHLO": {{}, second}}})
			h, _ := hop(t, xclientConfig(s.URL()))
			if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || s.Count("MAIL") != 0 {
				t.Errorf("%v", answers)
			}
			eventually(t, "slot is free", func() bool { return h.Stats().Busy == 0 })
		})
	}
}

// TestXClientCapabilities: what EHLO says after XCLIENT counts.
func TestXClientCapabilities(t *testing.T) {
	after := fakehop.Action{Reply: "250-fake.example\r\n250 SIZE 7\r\n"}
	s := start(t, fakehop.Config{Extensions: append([]string{"8BITMIME", "DSN"}, allXClient...), Script: script{"EHLO": {{}, after}}})
	h, _ := hop(t, xclientConfig(s.URL()))
	d := h.Begin(transaction(func(tx *mail.Transaction) { tx.Params.Body = mail.Body8BitMIME }))
	if r, _ := d.Rcpt(t.Context(), rcpt("a")); r.Code != 554 {
		t.Error(r)
	}
	d.Abort()
}

// TestXClientNotOffered: XFORWARD takes its place, connections are shared, and
// the operator is told.
func TestXClientNotOffered(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: []string{"XFORWARD ADDR", "XCLIENT"}})
	h, l := hop(t, xclientConfig(s.URL()))
	for _, id := range []string{"S1", "S2"} {
		if _, o := send(t, h, transaction(session(id, "192.0.2.9:1")), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	if len(s.Conns()) != 1 || len(s.Accepted()[1].XForward) != 1 || !l.has("does not offer XCLIENT") {
		t.Errorf("%d connections, %+v, %q", len(s.Conns()), s.Accepted(), l.lines)
	}
	if !h.XClientMissing() {
		t.Error("that it is missing is no state")
	}
	// With several servers each counts, and only those that were asked.
	c := xclientConfig(start(t, fakehop.Config{Extensions: allXClient}).URL())
	c.FallbackURLs = []string{s.URL()}
	h, _ = hop(t, c)
	if h.XClientMissing() {
		t.Error("missing before anybody was asked")
	}
	if err := h.Probe(context.Background()); err != nil || !h.XClientMissing() {
		t.Errorf("the second server does not offer it: %v", err)
	}
	c.FallbackURLs = nil
	h, _ = hop(t, c)
	if err := h.Probe(context.Background()); err != nil || h.XClientMissing() {
		t.Errorf("missing where it is offered: %v", err)
	}
	// Off, and offered: not used.
	s = start(t, fakehop.Config{Extensions: []string{"XFORWARD ADDR"}})
	h, _ = hop(t, testConfig(s.URL()))
	relayed(t, h, s)
	if h.XClientMissing() {
		t.Error("missing where nobody wants it")
	}
	s = start(t, fakehop.Config{Extensions: allXClient})
	h, _ = hop(t, testConfig(s.URL()))
	relayed(t, h, s)
	if s.Count("XCLIENT") != 0 {
		t.Error("XCLIENT with xclient = false")
	}
}

// TestXClientValues: nothing of a client is read as an attribute of ours (S-100).
func TestXClientValues(t *testing.T) {
	const all = 1<<len(xclientAttrs) - 1
	for helo, want := range map[string]string{
		"a ADDR=127.0.0.1":               "HELO=a+20ADDR+3D127.0.0.1",
		"a\r\nMAIL FROM:<x@y>":           "HELO=a+0D+0AMAIL+20FROM:<x@y>",
		"a+b=c d":                        "HELO=a+2Bb+3Dc+20d",
		"bücher":                         "HELO=b+C3+BCcher",
		"\x00\x7f":                       "HELO=+00+7F",
		"[UNAVAILABLE]":                  "HELO=[UNAVAILABLE]",
		"":                               "HELO=[UNAVAILABLE]",
		"[192.0.2.1]":                    "HELO=[192.0.2.1]",
		strings.Repeat("\xff", 1000):     "HELO=" + strings.Repeat("+FF", 85),
		strings.Repeat("x", 253) + " yz": "HELO=" + strings.Repeat("x", 253),
	} {
		s := &mail.Session{Helo: helo, Proto: "ESMTPS", Client: netip.MustParseAddrPort("[::ffff:192.0.2.1]:25"), Login: "u ADDR=1\r\n"}
		lines := xclientLines(s, all)
		joined := strings.Join(lines, "\n")
		if !strings.Contains(joined+" ", want+" ") {
			t.Errorf("%.40q: %q", helo, joined)
		}
		for _, l := range lines {
			if len(l)+2 > maxXForwardLine || !printable(l) || !strings.HasPrefix(l, "XCLIENT ") {
				t.Errorf("%q", l)
			}
		}
		if n := strings.Count(joined, "ADDR="); n != 1 || !strings.HasSuffix(joined, " ADDR=192.0.2.1") {
			t.Errorf("%.40q: %q", helo, joined)
		}
		if !strings.Contains(joined, "PROTO=ESMTP ") || !strings.Contains(joined, "LOGIN=u+20ADDR+3D1+0D+0A") || !strings.Contains(joined, " NAME=[UNAVAILABLE]") {
			t.Errorf("%q", joined)
		}
	}
	// A name that nobody confirmed is the reverse name alone.
	s := &mail.Session{Host: mail.HostName{Name: "claim.example"}, Proto: "SMTP"}
	if got := xclientLines(s, all)[0]; !strings.Contains(got, "REVERSE_NAME=claim.example NAME=[UNAVAILABLE] PORT=[UNAVAILABLE] ADDR=[UNAVAILABLE]") || !strings.Contains(got, "PROTO=SMTP ") {
		t.Errorf("%q", got)
	}
	s.Host = mail.HostName{Name: "a ADDR=1", Confirmed: true}
	if got := xclientLines(s, all)[0]; strings.Count(got, "ADDR=") != 1 {
		t.Errorf("%q", got)
	}
	if got := xclientLines(s, parseXClient(strings.Fields("addr name FOO"))); len(got) != 1 || got[0] != "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]" {
		t.Errorf("%q", got)
	}
	long := &mail.Session{Helo: strings.Repeat("h", 300), Login: strings.Repeat("l", 300), Client: netip.MustParseAddrPort("192.0.2.1:25")}
	if got := xclientLines(long, all); len(got) != 2 || !strings.HasSuffix(got[1], "ADDR=192.0.2.1") {
		t.Errorf("%q", got)
	}
}

// TestXClientGreets: the greeting after XCLIENT has the client's name, and no
// other words of the client (S-100).
func TestXClientGreets(t *testing.T) {
	for helo, want := range map[string]string{
		"mail.client.example": "mail.client.example", "[192.0.2.1]": "[192.0.2.1]", "[IPv6:2001:db8::1]": "[IPv6:2001:db8::1]",
		"": "gw.example", "a b": "gw.example", "a\r\nRSET": "gw.example", "bücher": "gw.example", "[x]": "gw.example", "a=b": "gw.example", strings.Repeat("a.", 500): "gw.example",
	} {
		s := start(t, fakehop.Config{Extensions: allXClient})
		h, _ := hop(t, xclientConfig(s.URL()))
		if _, o := send(t, h, transaction(func(tx *mail.Transaction) { tx.Session.Helo = helo }), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
		if got := s.Conns()[0].Commands()[2]; got != "EHLO "+want {
			t.Errorf("%.30q: %q", helo, got)
		}
	}
}

// TestXClientUnderTLS: STARTTLS before it, once.
func TestXClientUnderTLS(t *testing.T) {
	cfg, _ := certificate(t, newClock().now(), "127.0.0.1")
	s := start(t, fakehop.Config{TLS: cfg, Extensions: append([]string{"STARTTLS"}, allXClient...)})
	c := xclientConfig(s.URL())
	c.TLS = "encrypt"
	h, _ := hop(t, c)
	relayed(t, h, s)
	var verbs []string
	for _, l := range s.Conns()[0].Commands() {
		v, _, _ := strings.Cut(l, " ")
		verbs = append(verbs, v)
	}
	if got := strings.Join(verbs, " "); got != "EHLO STARTTLS EHLO XCLIENT EHLO MAIL RCPT DATA" {
		t.Error(got)
	}
}

// TestXClientReconnects: a session whose connection died, or whose server did,
// is introduced again before anything else is said.
func TestXClientReconnects(t *testing.T) {
	first, second := start(t, fakehop.Config{Extensions: allXClient}), start(t, fakehop.Config{Extensions: allXClient})
	c := xclientConfig(first.URL())
	c.FallbackURLs = []string{second.URL()}
	h, _ := hop(t, c)
	who := session("S1", "192.0.2.7:1")
	for i := range 3 {
		if _, o := send(t, h, transaction(who), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
		if m := first.Accepted()[i]; m.Conn != i || len(m.XClient) != 1 || !strings.HasSuffix(m.XClient[0], "ADDR=192.0.2.7") {
			t.Errorf("%+v", m)
		}
		first.CloseConns()
	}
	first.Close()
	for range 2 {
		if _, o := send(t, h, transaction(who), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	if m := second.Accepted(); len(m) != 2 || m[1].Conn != 0 || len(m[1].XClient) != 1 {
		t.Errorf("%+v", m)
	}
	eventually(t, "slots are free", func() bool { return h.Stats().Busy == 0 })
}

// TestXClientAnswersAreTheClients: what the next hop's rules say to one client
// is not told to another, though the code is that of an unknown user.
func TestXClientAnswersAreTheClients(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: allXClient, Script: script{"RCPT": {{Reply: "550 5.1.1 not for you\r\n"}}}})
	h, _ := hop(t, xclientConfig(s.URL()))
	for id, want := range []int{550, 250} {
		if answers, _ := send(t, h, transaction(session("S"+string(rune('1'+id)), "192.0.2.7:1")), "a"); answers[0].Code != want {
			t.Errorf("%v, want %d", answers, want)
		}
	}
}
