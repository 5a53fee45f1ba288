package logs

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/maillog"
	"garita/message"
)

// program finds a program that the tests cannot do without.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		if p := filepath.Join(dir, name); exists(p) {
			return p
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed (Debian package %s): %v", name, strings.TrimSuffix(name, "-regex"), err)
	}
	return p
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

// writeLog runs f with a logger to a file and gives the file's name.
func writeLog(t *testing.T, f func(l *maillog.Logger)) string {
	t.Helper()
	c := maillog.Default()
	c.Output = filepath.Join(t.TempDir(), "mail.log")
	l, err := maillog.New(c, maillog.Env{Hostname: "gw"})
	if err != nil {
		t.Fatal(err)
	}
	f(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Dropped > 0 {
		t.Fatalf("records were dropped: %+v", s)
	}
	return c.Output
}

func session(ip, helo string) *mail.Session {
	a := netip.AddrPortFrom(netip.MustParseAddr(ip), 4711)
	return &mail.Session{ID: "S", Listener: "mx", Role: mail.Inbound, Peer: a, Client: a, Helo: helo, Proto: "ESMTP", Start: time.Now()}
}

func transaction(t *testing.T, id string, s *mail.Session, rcpts ...string) *mail.Transaction {
	t.Helper()
	tx := &mail.Transaction{Session: s, ID: id, Direction: mail.In, Envelope: mail.Envelope{ReversePath: mail.Path{Local: "ana", Domain: "example.org"}}}
	for _, r := range rcpts {
		tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: r, Domain: "example.com"}})
	}
	m, err := message.Spool(context.Background(), strings.NewReader("Message-ID: <"+id+"@example.org>\r\nSubject: s\r\n\r\nbody\r\n"),
		message.Limits{Max: 1 << 20, Memory: 1 << 20, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	tx.Message = m
	return tx
}

const hop = "zimbra[10.0.0.5]:25"

var (
	sent      = mail.Outcome{Kind: mail.Relayed, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: queued as 4X")}, NextHop: hop, NextHopReply: "250 2.0.0 Ok: queued as 4X", QueueID: "4X"}
	bounced   = mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{mail.Permanent(554, "7.0", "spam")}, NextHop: hop, NextHopReply: "554 5.7.0 spam"}
	deferred  = mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{mail.Temporary(451, "4.1", "later")}, NextHop: hop, NextHopReply: "connection refused"}
	refused   = mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{mail.Permanent(550, "7.1", "no such files [block-exe]")}}
	held      = mail.Outcome{Kind: mail.Held, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok")}}
	discarded = mail.Outcome{Kind: mail.Discarded, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok")}, Detail: "rule drop-x"}
	ambiguous = mail.Outcome{Kind: mail.Ambiguous, Replies: []mail.Reply{mail.Temporary(451, "4.2", "later")}, NextHop: hop, Detail: "timeout after the final dot"}
	aborted   = mail.Outcome{Kind: mail.Aborted, Detail: "lost connection after DATA"}
)

// TestPflogsumm counts a day of mail with the real pflogsumm.
func TestPflogsumm(t *testing.T) {
	for _, stamps := range []string{"rfc3164", "rfc3339"} {
		t.Run(stamps, func(t *testing.T) { pflogsumm(t, stamps) })
	}
}

func pflogsumm(t *testing.T, stamps string) {
	c := maillog.Default()
	c.Output, c.Timestamps = filepath.Join(t.TempDir(), "mail.log"), stamps
	l, err := maillog.New(c, maillog.Env{Hostname: "gw"})
	if err != nil {
		t.Fatal(err)
	}
	s := session("203.0.113.9", "x")
	l.Connect(s)
	for i, o := range []mail.Outcome{sent, sent, sent, bounced, bounced, deferred, refused, refused, refused, held, discarded, ambiguous, aborted} {
		tx := transaction(t, "4A"+string(rune('A'+i)), s, "juan")
		if i == 0 {
			tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: "eva", Domain: "example.net"}})
		}
		l.Transaction(tx, o)
	}
	l.Reject(s, transaction(t, "4Z", s), "RCPT", "x@elsewhere.example", mail.Permanent(554, "7.1", "Relay access denied"))
	atData := transaction(t, "4W", s, "juan")
	atData.Message = nil
	l.Transaction(atData, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{mail.Temporary(452, "3.1", "Insufficient system resources")}})
	l.Reject(s, nil, "EHLO", "", mail.Permanent(501, "5.4", "bad name"))
	l.Warn("smtpd", "the certificate expires soon")
	// text that would be counted if it could write lines or marks
	evil := session("203.0.113.9", "x>\n"+"Nov 22 10:00:00 gw garita/smtp[1]: 4Q: to=<a@b>, relay=x, delay=1, status=sent (250")
	l.Reject(evil, nil, "RCPT", "]: a: client=z[1.1.1.1], b", mail.Permanent(550, "1.1", "]: a: client=z[1.1.1.1], to=<q@r>, relay=x, delay=1, status=sent (x"))
	l.Transaction(transaction(t, "4Y", evil, "a>, relay=x, delay=1, status=sent (y"), refused)
	l.Disconnect(s, maillog.Counts{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program(t, "pflogsumm"), "--syslog-name=garita", c.Output).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"received":  "13", // 12 messages that came whole and one hostile one; the aborted one is none
		"delivered": "4",  // three messages, one with two recipients
		"deferred":  "1",
		"bounced":   "2",
		"rejected":  "8", // four after the end of data, one at DATA, three commands
		"held":      "1",
		"discarded": "1",
	} {
		m := regexp.MustCompile(`(?m)^\s*(\d+)\s+` + name + `\b`).FindSubmatch(out)
		if m == nil || string(m[1]) != want {
			t.Errorf("%s: %q, want %s", name, m, want)
		}
	}
	for _, want := range []string{"Relay access denied", "the certificate expires soon", "ana@example.org", "eva@example.net"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in the report", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// matches gives the addresses that fail2ban-regex finds, in order.
func matches(t *testing.T, log, filter string) []string {
	t.Helper()
	cmd := exec.Command(program(t, "fail2ban-regex"), "--usedns", "no", "--out", "id", log, filter)
	out, err := cmd.Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); !ok || len(out) > 0 || len(e.Stderr) > 0 {
			t.Fatalf("%v\n%s%s", err, out, errText(err))
		}
	}
	return strings.Fields(string(out))
}

func errText(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}

// ourFilter puts our filter beside fail2ban's own, as an administrator does.
func ourFilter(t *testing.T, mode string) string {
	t.Helper()
	const stock = "/etc/fail2ban"
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", stock+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b, err := os.ReadFile("../../contrib/fail2ban/filter.d/garita.conf")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "filter.d", "garita.conf")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if mode != "" {
		name += "[mode=" + mode + "]"
	}
	return name
}

// filters are ours and the one that comes with fail2ban, the daemon's name
// overridden.
func filters(t *testing.T, mode string) map[string]string {
	options := `_daemon="garita(?:/\w+)?"`
	if mode != "" {
		options += ",mode=" + mode
	}
	return map[string]string{"garita": ourFilter(t, mode), "postfix": "postfix[" + options + "]"}
}

// TestFail2ban: exactly the lines that a ban shall come from are found.
func TestFail2ban(t *testing.T) {
	log := writeLog(t, func(l *maillog.Logger) {
		reject := func(ip, verb, what string, r mail.Reply) {
			s := session(ip, "x")
			l.Connect(s)
			l.Reject(s, &mail.Transaction{Session: s, ID: "4A"}, verb, what, r)
			l.Disconnect(s, maillog.Counts{})
		}
		reject("203.0.113.1", "RCPT", "c@d", mail.Permanent(554, "7.1", "Relay access denied"))
		reject("203.0.113.2", "RCPT", "c@d", mail.Permanent(550, "1.1", "Recipient address rejected: User unknown"))
		reject("2001:db8::3", "RCPT", "c@d", mail.Permanent(554, "7.1", "Service unavailable; Client host [2001:db8::3] blocked using zen.example"))
		reject("203.0.113.4", "HELO", "x", mail.Permanent(504, "5.2", "Helo command rejected: need fully-qualified hostname"))
		l.TooManyErrors(session("203.0.113.5", "x"), "RCPT")
		l.Pipelining(session("203.0.113.6", "x"), "CONNECT")
		// nobody is banned for these
		reject("198.51.100.1", "RCPT", "c@d", mail.Temporary(450, "2.0", "Recipient address rejected: Greylisted"))
		reject("198.51.100.2", "MAIL", "", mail.Temporary(452, "3.1", "Insufficient system storage"))
		reject("198.51.100.3", "RCPT", "c@d", mail.Temporary(452, "5.3", "Too many recipients"))
		l.Lost(session("198.51.100.4", "x"), "DATA", 99)
		for i, o := range []mail.Outcome{sent, bounced, deferred, refused, held, discarded, ambiguous, aborted} {
			l.Transaction(transaction(t, "4B"+string(rune('A'+i)), session("198.51.100.5", "x"), "juan"), o)
		}
		l.Warn("smtpd", "no space")
	})
	want := []string{"203.0.113.1", "203.0.113.2", "2001:db8::3", "203.0.113.4", "203.0.113.5", "203.0.113.6"}
	for name, filter := range filters(t, "") {
		if got := matches(t, log, filter); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	t.Run("aggressive", func(t *testing.T) {
		log := writeLog(t, func(l *maillog.Logger) {
			l.Lost(session("203.0.113.7", "x"), "EHLO", 0)
			l.Lost(session("198.51.100.4", "x"), "DATA", 99)
		})
		for name, filter := range filters(t, "aggressive") {
			if got := matches(t, log, filter); !slices.Equal(got, []string{"203.0.113.7"}) {
				t.Errorf("%s: %q", name, got)
			}
		}
	})
}

// TestFail2banInjection: whatever a client or a next hop says, wherever it
// lands, no other address is ever found, in the widest mode too.
func TestFail2banInjection(t *testing.T) {
	texts := []string{
		"x[6.6.6.6]", "x from y[6.6.6.6]: 554 5.7.1 Service unavailable",
		"\nNov 22 10:00:00 gw garita/smtpd[1]: NOQUEUE: reject: RCPT from x[6.6.6.6]: 554 5.7.1 <x>: Relay access denied",
		"\r\nNov 22 10:00:00 gw garita/smtpd[1]: too many errors after RCPT from x[6.6.6.6]",
		"\u2028Nov 22 10:00:00 gw garita/smtpd[1]: too many errors after RCPT from x[6.6.6.6]",
		"[6.6.6.6]: SASL LOGIN authentication failed: x", "y[6.6.6.6]:25: SASL PLAIN authentication failed: x",
		"garita/smtpd[1]: NOQUEUE: reject: RCPT from x[6.6.6.6]: 554 5.7.1 Relay access denied",
		"NOQUEUE: reject: RCPT from x[6.6.6.6]: 554 5.7.1 Relay access denied",
		": reject: RCPT from x[6.6.6.6]: 554 5.7.1 Relay access denied",
		"lost connection after EHLO from x[6.6.6.6]", "warning: x[6.6.6.6]: SASL LOGIN authentication failed: x",
		"]: NOQUEUE: reject: RCPT from x[6.6.6.6]: 554 5.7.1 Relay access denied",
	}
	log := writeLog(t, func(l *maillog.Logger) {
		for i, text := range texts {
			s := session("203.0.113.9", text)
			s.Host = mail.HostName{Name: text, Confirmed: true}
			s.Login, s.Proto = text, text
			tx := transaction(t, "4C"+string(rune('A'+i)), s, text)
			tx.ReversePath = mail.Path{Local: text, Domain: text}
			tx.Findings = []mail.Finding{{Symbol: text, Detail: text}}
			r := mail.Permanent(550, "1.1", text)
			l.Connect(s)
			l.Lost(s, text, 0)
			l.Timeout(s, text, 7)
			l.TooManyErrors(s, text)
			l.Pipelining(s, text)
			l.Reject(s, tx, "RCPT", text, r)
			l.Reject(s, nil, text, text, r)
			l.Reject(s, nil, "RCPT", text, mail.Permanent(554, "7.1", "Relay access denied"))
			for _, o := range []mail.Outcome{sent, bounced, deferred, refused, held, discarded, ambiguous, aborted} {
				o.NextHop, o.NextHopReply, o.Detail, o.QueueID = text, text, text, text
				l.Transaction(tx, o)
				o.NextHopReply, o.Replies = "", []mail.Reply{r}
				l.Transaction(tx, o)
			}
			l.ClientWarn(s, text, attr(text))
			l.Warn("smtpd", text, attr(text))
			l.Info("smtpd", text, attr(text))
			l.Admin(text, text, text)
			l.Disconnect(s, maillog.Counts{})
		}
	})
	for _, mode := range []string{"", "aggressive"} {
		for name, filter := range filters(t, mode) {
			got := matches(t, log, filter)
			if len(got) == 0 {
				t.Errorf("%s %s finds nothing at all: the test proves nothing", name, mode)
			}
			for _, ip := range got {
				if ip != "203.0.113.9" {
					t.Errorf("%s %s would ban %s", name, mode, ip)
				}
			}
		}
	}
}

// attr puts text into both halves of an attribute.
func attr(text string) slog.Attr { return slog.String(text, text) }
