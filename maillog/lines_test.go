package maillog

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
)

const at = "Nov 22 10:00:00 gw garita"

func expect(t *testing.T, got string, want ...string) {
	t.Helper()
	w := strings.Join(want, "\n") + "\n"
	if got != w {
		t.Errorf("got\n%swant\n%s", got, w)
	}
}

func TestSessionLines(t *testing.T) {
	s := testSession()
	s.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	got := capture(t, nil, func(l *Logger) {
		l.Connect(s)
		l.TLS(s)
		l.Lost(s, "DATA", 1234)
		l.Lost(s, "", 0)
		l.Timeout(s, "END-OF-MESSAGE", 9)
		l.TooManyErrors(s, "RCPT")
		l.Pipelining(s, "CONNECT")
		l.Disconnect(s, Counts{Ehlo: Count{1, 1}, Mail: Count{1, 1}, Rcpt: Count{0, 3}, Quit: Count{1, 1}})
	})
	expect(t, got,
		at+"/smtpd[812]: connect from mail.example.org[203.0.113.9]",
		at+"/smtpd[812]: Anonymous TLS connection established from mail.example.org[203.0.113.9]: TLSv1.3 with cipher TLS_AES_128_GCM_SHA256",
		at+"/smtpd[812]: lost connection after DATA (1234 bytes) from mail.example.org[203.0.113.9]",
		at+"/smtpd[812]: lost connection after CONNECT from mail.example.org[203.0.113.9]",
		at+"/smtpd[812]: timeout after END-OF-MESSAGE (9 bytes) from mail.example.org[203.0.113.9]",
		at+"/smtpd[812]: too many errors after RCPT from mail.example.org[203.0.113.9]",
		at+"/smtpd[812]: improper command pipelining after CONNECT from mail.example.org[203.0.113.9]",
		at+"/smtpd[812]: disconnect from mail.example.org[203.0.113.9] ehlo=1 mail=1 rcpt=0/3 quit=1 commands=3/6",
	)
}

func TestRejectLines(t *testing.T) {
	s := testSession()
	s.Host.Confirmed = false
	s.Client = netip.MustParseAddrPort("[2001:db8::1]:9")
	s.Helo = "x"
	tx := &mail.Transaction{Session: s, ID: "4A", Envelope: mail.Envelope{ReversePath: mail.Path{Local: "a", Domain: "b"}}}
	with := *tx
	with.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "ok", Domain: "d"}}}
	got := capture(t, nil, func(l *Logger) {
		l.Reject(s, tx, "RCPT", "c@d", mail.Permanent(554, "7.1", "Relay access denied"))
		l.Reject(s, tx, "RCPT", "c@d", mail.Permanent(554, "7.1", "<c@d>: Recipient address rejected: Access denied"))
		l.Reject(s, nil, "EHLO", "", mail.Permanent(501, "", "Syntax: EHLO hostname"))
		l.Reject(s, &with, "DATA", "", mail.Temporary(451, "3.0", "try\nlater"))
		l.Reject(s, &mail.Transaction{Session: s}, "RCPT", "c@d", mail.Temporary(450, "2.0", "no"))
	})
	expect(t, got,
		at+"/smtpd[812]: NOQUEUE: reject: RCPT from unknown[2001:db8::1]: 554 5.7.1 <c@d>: Relay access denied; from=<a@b> to=<c@d> proto=ESMTP helo=<x> listener=mx",
		at+"/smtpd[812]: NOQUEUE: reject: RCPT from unknown[2001:db8::1]: 554 5.7.1 <c@d>: Recipient address rejected: Access denied; from=<a@b> to=<c@d> proto=ESMTP helo=<x> listener=mx",
		at+"/smtpd[812]: NOQUEUE: reject: EHLO from unknown[2001:db8::1]: 501 Syntax: EHLO hostname; proto=ESMTP helo=<x> listener=mx",
		at+"/smtpd[812]: 4A: reject: DATA from unknown[2001:db8::1]: 451 4.3.0 try later; from=<a@b> to=<ok@d> proto=ESMTP helo=<x> listener=mx",
		at+"/smtpd[812]: NOQUEUE: reject: RCPT from unknown[2001:db8::1]: 450 4.2.0 <c@d>: no; from=<> to=<c@d> proto=ESMTP helo=<x> listener=mx",
	)
}

func TestRelayedLines(t *testing.T) {
	tx := testTransaction(t, plainMessage)
	tx.Login = "ana"
	tx.Findings = []mail.Finding{
		{Symbol: "HELO_BARE", Score: 1.5, Counted: true},
		{Symbol: "ACCESS_BLOCK", Score: 5, Verdict: mail.Reject, Mode: mail.Observe},
	}
	tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: "a@b", Domain: "example.com"}})
	got := capture(t, nil, func(l *Logger) { l.Transaction(tx, relayed()) })
	expect(t, got,
		at+"/smtpd[812]: 4ABCDEF01: client=mail.example.org[203.0.113.9], sasl_username=ana",
		at+"/cleanup[812]: 4ABCDEF01: message-id=<1@example.org>",
		at+"/qmgr[812]: 4ABCDEF01: from=<ana@example.org>, size=62, nrcpt=2 (queue active)",
		at+"/smtp[812]: 4ABCDEF01: to=<juan@example.com>, relay=zimbra[10.0.0.5]:25, delay=1.4, delays=0.12/0/0/1.3, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4XYZ)",
		at+"/smtp[812]: 4ABCDEF01: to=<\"a@b\"@example.com>, relay=zimbra[10.0.0.5]:25, delay=1.4, delays=0.12/0/0/1.3, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4XYZ)",
		at+"/qmgr[812]: 4ABCDEF01: removed",
		at+"[812]: 4ABCDEF01: relayed verdict=continue score=1.50 symbols=HELO_BARE(1.50),ACCESS_BLOCK(5,observe) would=reject listener=mx code=250 next_hop_id=4XYZ receive_ms=120.00 check_ms=1.50 relay_ms=1250.00",
	)
}

func TestEndLines(t *testing.T) {
	tx := testTransaction(t, plainMessage)
	const head, tail = at + "/smtpd[812]: 4ABCDEF01: client=mail.example.org[203.0.113.9]", "; from=<ana@example.org> to=<juan@example.com> proto=ESMTP helo=<mail.example.org>"
	const msgid = at + "/cleanup[812]: 4ABCDEF01: message-id=<1@example.org>"
	const active = at + "/qmgr[812]: 4ABCDEF01: from=<ana@example.org>, size=62, nrcpt=1 (queue active)"
	const smtp = at + "/smtp[812]: 4ABCDEF01: to=<juan@example.com>, relay=zimbra[10.0.0.5]:25, delay=0, delays=0/0/0/0, "
	const ms = " receive_ms=0.00 check_ms=0.00 relay_ms=0.00"
	for _, c := range []struct {
		name string
		o    mail.Outcome
		want []string
	}{
		{"our refusal", mail.Outcome{Kind: mail.Refused, NextHop: "zimbra[10.0.0.5]:25", Replies: []mail.Reply{mail.Permanent(550, "7.1", "no [block-exe]")}},
			[]string{head, msgid,
				at + "/cleanup[812]: 4ABCDEF01: milter-reject: END-OF-MESSAGE from mail.example.org[203.0.113.9]: 5.7.1 no [block-exe]" + tail,
				at + "[812]: 4ABCDEF01: refused verdict=continue score=0 symbols=- listener=mx code=550" + ms}},
		{"the next hop's refusal", mail.Outcome{Kind: mail.Refused, NextHop: "zimbra[10.0.0.5]:25", NextHopReply: "554 5.7.0 spam", Replies: []mail.Reply{mail.Permanent(554, "7.0", "spam")}},
			[]string{head, msgid, active, smtp + "dsn=5.7.0, status=bounced (554 5.7.0 spam)",
				at + "/qmgr[812]: 4ABCDEF01: removed",
				at + "[812]: 4ABCDEF01: refused verdict=continue score=0 symbols=- listener=mx code=554" + ms}},
		{"a next hop that fails", mail.Outcome{Kind: mail.Refused, NextHop: "zimbra[10.0.0.5]:25", NextHopReply: "lost connection", Replies: []mail.Reply{mail.Temporary(451, "4.1", "try later")}},
			[]string{head, msgid, active, smtp + "dsn=4.4.1, status=deferred (lost connection)",
				at + "/qmgr[812]: 4ABCDEF01: removed",
				at + "[812]: 4ABCDEF01: refused verdict=continue score=0 symbols=- listener=mx code=451" + ms}},
		{"held", mail.Outcome{Kind: mail.Held, Replies: []mail.Reply{mail.OK(250, "0.0", "ok")}},
			[]string{head, msgid,
				at + "/cleanup[812]: 4ABCDEF01: hold: END-OF-MESSAGE from mail.example.org[203.0.113.9]: quarantined" + tail,
				at + "[812]: 4ABCDEF01: held verdict=continue score=0 symbols=- listener=mx code=250" + ms}},
		{"discarded", mail.Outcome{Kind: mail.Discarded, Detail: "rule drop-x"},
			[]string{head, msgid,
				at + "/cleanup[812]: 4ABCDEF01: discard: END-OF-MESSAGE from mail.example.org[203.0.113.9]: rule drop-x" + tail,
				at + "[812]: 4ABCDEF01: discarded verdict=continue score=0 symbols=- listener=mx" + ms}},
		{"ambiguous", mail.Outcome{Kind: mail.Ambiguous, NextHop: "zimbra[10.0.0.5]:25", Replies: []mail.Reply{mail.Temporary(451, "4.2", "try later")}, Detail: "timeout"},
			[]string{head, msgid, active, smtp + "dsn=4.4.2, status=ambiguous (timeout)",
				at + "/smtp[812]: 4ABCDEF01: warning: the answer to the end of data was lost: the client was told to try again, a duplicate is possible",
				at + "[812]: 4ABCDEF01: ambiguous verdict=continue score=0 symbols=- listener=mx code=451" + ms}},
		{"aborted", mail.Outcome{Kind: mail.Aborted, Detail: "lost connection after DATA"},
			[]string{at + "/smtpd[812]: 4ABCDEF01: aborted: lost connection after DATA from mail.example.org[203.0.113.9]" + tail,
				at + "[812]: 4ABCDEF01: aborted verdict=continue score=0 symbols=- listener=mx" + ms}},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, capture(t, nil, func(l *Logger) { l.Transaction(tx, c.o) }), c.want...)
		})
	}
}

// A refusal instead of a message: no report counts it as received.
func TestRefusedAtData(t *testing.T) {
	tx := testTransaction(t, "")
	o := mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{mail.Temporary(452, "3.1", "no room")}}
	expect(t, capture(t, nil, func(l *Logger) { l.Transaction(tx, o) }),
		at+"/smtpd[812]: 4ABCDEF01: reject: DATA from mail.example.org[203.0.113.9]: 452 4.3.1 no room; from=<ana@example.org> to=<juan@example.com> proto=ESMTP helo=<mail.example.org>",
		at+"[812]: 4ABCDEF01: refused verdict=continue score=0 symbols=- listener=mx code=452 receive_ms=0.00 check_ms=0.00 relay_ms=0.00")
}

// A transaction that never had a recipient is told by its refusals alone.
func TestNothingToTell(t *testing.T) {
	tx := testTransaction(t, "")
	tx.ForwardPaths = nil
	if got := capture(t, nil, func(l *Logger) { l.Transaction(tx, mail.Outcome{}) }); got != "" {
		t.Errorf("got %q", got)
	}
}

// In the content-filter role the lines name the client that XFORWARD told of.
func TestForwardedClient(t *testing.T) {
	tx := testTransaction(t, "")
	tx.Forwarded = &mail.Forwarded{Name: "evil[9.9.9.9]", Addr: "198.51.100.7", Proto: "SMTP", Helo: "inner"}
	got := capture(t, nil, func(l *Logger) {
		l.Transaction(tx, mail.Outcome{Kind: mail.Held})
		l.Reject(tx.Session, tx, "RCPT", "x@y", mail.Permanent(550, "1.1", "User unknown"))
	})
	for _, want := range []string{`client=evil\x5b9.9.9.9\x5d[198.51.100.7]`, "proto=SMTP helo=<inner>", `RCPT from evil\x5b9.9.9.9\x5d[198.51.100.7]: 550`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestNotes(t *testing.T) {
	got := capture(t, nil, func(l *Logger) {
		l.Warn("smtpd", "certificate not loaded", slog.Any("error", errors.New("open \"x\"\nfoo")), slog.Int("n", 3))
		l.Info("relay", "probe", slog.String("next hop", "a=b"))
		l.ClientWarn(testSession(), "TLS handshake failed", slog.String("error", "x[6.6.6.6]: SASL"))
		l.Admin("root", "reload", "")
		l.Admin("root", "init", "dir /x")
	})
	expect(t, got,
		at+`/smtpd[812]: warning: certificate not loaded error="open \x22x\x22\x0afoo" n="3"`,
		at+`/relay[812]: info: probe next\x20hop="a=b"`,
		at+`/smtpd[812]: warning: mail.example.org[203.0.113.9]: TLS handshake failed error="x[6.6.6.6]\x3a SASL"`,
		at+`/admin[812]: info: administration user="root" act="reload"`,
		at+`/admin[812]: info: administration user="root" act="init" detail="dir /x"`,
	)
}

func TestLevels(t *testing.T) {
	all := func(l *Logger) {
		s := testSession()
		l.Connect(s)
		l.Disconnect(s, Counts{})
		l.Reject(s, nil, "HELO", "", mail.Permanent(501, "", "x"))
		l.Info("x", "info")
		l.Warn("x", "warn")
		l.Admin("root", "act", "")
	}
	for lv, want := range map[string]int{"info": 6, "notice": 4, "warning": 2} {
		got := capture(t, func(c *Config) { c.Level = lv }, all)
		if n := strings.Count(got, "\n"); n != want {
			t.Errorf("%s: %d lines, want %d:\n%s", lv, n, want, got)
		}
	}
}

func TestRFC3339(t *testing.T) {
	got := capture(t, func(c *Config) { c.Timestamps = "rfc3339" }, func(l *Logger) { l.Connect(testSession()) })
	if !strings.HasPrefix(got, "2026-11-22T10:00:00+00:00 gw garita/smtpd[812]: connect") {
		t.Error(got)
	}
}

// Every method does nothing on a nil Logger.
func TestNil(t *testing.T) {
	var l *Logger
	s := testSession()
	l.Connect(s)
	l.Disconnect(s, Counts{})
	l.Lost(s, "x", 1)
	l.Timeout(s, "x", 1)
	l.TooManyErrors(s, "x")
	l.Pipelining(s, "x")
	l.Reject(s, nil, "RCPT", "", mail.Reply{})
	l.Transaction(&mail.Transaction{Session: s}, mail.Outcome{})
	l.TLS(s)
	l.Warn("x", "y")
	l.ClientWarn(s, "y")
	l.Info("x", "y")
	l.Admin("x", "y", "z")
	l.Reopen()
	l.Flush()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if l.Stats() != (Stats{}) {
		t.Error("stats of nothing")
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0", 0: "0", 4 * time.Millisecond: "0", 5 * time.Millisecond: "0.01", 50 * time.Millisecond: "0.05",
		100 * time.Millisecond: "0.1", 120 * time.Millisecond: "0.12", 999 * time.Millisecond: "1",
		1250 * time.Millisecond: "1.3", 2 * time.Second: "2", 9960 * time.Millisecond: "10", 34400 * time.Millisecond: "34",
	} {
		if got := string(appendSeconds(nil, d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestJSONTransaction(t *testing.T) {
	tx := testTransaction(t, plainMessage)
	tx.Findings = []mail.Finding{{Symbol: "A", Score: 2, Counted: true, Verdict: mail.Reject, Stage: mail.StageRcpt, Rule: "r.toml:3", Detail: "d"}}
	o := relayed()
	got := capture(t, asJSON, func(l *Logger) { l.Transaction(tx, o) })
	if strings.Count(got, "\n") != 1 {
		t.Fatalf("not one line: %s", got)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(got), &m); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	for k, want := range map[string]any{
		"@timestamp": "2026-11-22T10:00:00.123Z", "event.action": "relayed", "event.outcome": "success", "host.hostname": "gw",
		"source.ip": "203.0.113.9", "email.local_id": "4ABCDEF01", "email.from.address": "ana@example.org", "email.message_id": "1@example.org",
		"email.size": 62.0, "email.direction": "inbound", "verdict": "reject", "score": 2.0, "next_hop.queue_id": "4XYZ", "process.pid": 812.0,
	} {
		if m[k] != want {
			t.Errorf("%s = %v, want %v", k, m[k], want)
		}
	}
	if ms := m["ms"].(map[string]any); ms["relay"] != 1250.0 || ms["check"] != 1.5 {
		t.Errorf("ms = %v", ms)
	}
	if f := m["findings"].([]any)[0].(map[string]any); f["symbol"] != "A" || f["rule.name"] != "r.toml:3" || f["counted"] != true {
		t.Errorf("findings = %v", f)
	}
}

// A reject line names the checks behind the general answer: those of this
// recipient, and only those that counted.
func TestRejectNamesTheCheck(t *testing.T) {
	tx := testTransaction(t, plainMessage)
	tx.ForwardPaths = nil
	other := mail.Recipient{Path: mail.Path{Local: "x", Domain: "y"}}
	tx.Findings = []mail.Finding{
		{Symbol: "access.sender", Verdict: mail.Reject, Counted: true},
		{Symbol: "helo.seen", Score: 1, Counted: true},
		{Symbol: "observed", Verdict: mail.Reject},
		{Symbol: "nothing", Counted: true},
		{Symbol: "theirs", Verdict: mail.Reject, Counted: true, Rcpt: &other},
	}
	got := capture(t, nil, func(l *Logger) {
		l.Reject(tx.Session, tx, "RCPT", "c@d", mail.Permanent(554, "7.1", "no"))
	})
	if want := " listener=mx symbols=access.sender,helo.seen\n"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want the end %q", got, want)
	}
}
