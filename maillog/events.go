package maillog

import (
	"crypto/tls"
	"log/slog"
	"strconv"
	"strings"

	"garita/mail"
)

// Count is how often a command was given and how often it was answered 2xx or
// 3xx.
type Count struct{ OK, Total uint32 }

// Counts are the commands of one session, for the disconnect line.
type Counts struct {
	Helo, Ehlo, StartTLS, Auth, XClient, XForward, Mail, Rcpt, Data, Bdat Count
	Rset, Noop, Vrfy, Help, Quit, Unknown                                 Count
}

// each calls f for the commands in the order of the line.
func (c *Counts) each(f func(name string, n Count)) {
	f("ehlo", c.Ehlo)
	f("helo", c.Helo)
	f("starttls", c.StartTLS)
	f("auth", c.Auth)
	f("xclient", c.XClient)
	f("xforward", c.XForward)
	f("mail", c.Mail)
	f("rcpt", c.Rcpt)
	f("data", c.Data)
	f("bdat", c.Bdat)
	f("rset", c.Rset)
	f("noop", c.Noop)
	f("vrfy", c.Vrfy)
	f("help", c.Help)
	f("quit", c.Quit)
	f("unknown", c.Unknown)
}

func appendCount(b []byte, name string, n Count) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, '=')
	b = strconv.AppendUint(b, uint64(n.OK), 10)
	if n.OK != n.Total {
		b = append(b, '/')
		b = strconv.AppendUint(b, uint64(n.Total), 10)
	}
	return b
}

func (l *Logger) off(at level) bool { return l == nil || l.level > at }

// Connect tells that a client has connected.
func (l *Logger) Connect(s *mail.Session) {
	if l.off(levelInfo) || l.suppressed(s) {
		return
	}
	l.simple(s, "connect", "connect from ", "")
}

// simple writes a session event whose line is words, peer, rest.
func (l *Logger) simple(s *mail.Session, action, words, rest string) {
	p := l.take()
	b := *p
	if l.json {
		b = l.openSessionJSON(b, s, action, "info")
		if rest != "" {
			b = appendKey(b, "message", rest)
		}
		b = append(b, "}\n"...)
	} else {
		b = l.openLine(b, "smtpd")
		b = append(b, words...)
		b = appendSessionPeer(b, s)
		b = append(b, rest...)
		b = append(b, '\n')
	}
	*p = b
	l.put(p)
}

// Disconnect tells that a session is over and what its client asked for.
func (l *Logger) Disconnect(s *mail.Session, counts Counts) {
	if l.off(levelInfo) || l.suppressed(s) {
		return
	}
	var sum Count
	p := l.take()
	b := *p
	if l.json {
		b = l.openSessionJSON(b, s, "disconnect", "info")
		b = appendKeyInt(b, "event.duration", int64(l.now().Sub(s.Start)))
		b = append(b, `,"commands":{`...)
		counts.each(func(name string, n Count) {
			if n.Total > 0 {
				b = appendCountJSON(b, name, n)
			}
		})
		b = append(b, "}}\n"...)
		*p = b
		l.put(p)
		return
	}
	b = l.openLine(b, "smtpd")
	b = append(b, "disconnect from "...)
	b = appendSessionPeer(b, s)
	counts.each(func(name string, n Count) {
		sum.OK += n.OK
		sum.Total += n.Total
		if n.Total > 0 {
			b = appendCount(b, name, n)
		}
	})
	b = appendCount(b, "commands", sum)
	*p = append(b, '\n')
	l.put(p)
}

// Lost tells that the client went away inside a session. after is the last
// command; octets, if above zero, is how much of a message had come.
func (l *Logger) Lost(s *mail.Session, after string, octets int64) {
	l.broke(s, "lost connection", after, octets)
}

// Timeout tells that the client was too slow; see Lost.
func (l *Logger) Timeout(s *mail.Session, after string, octets int64) {
	l.broke(s, "timeout", after, octets)
}

// TooManyErrors tells that the session was closed for its errors.
func (l *Logger) TooManyErrors(s *mail.Session, after string) {
	l.broke(s, "too many errors", after, 0)
}

// Pipelining tells that a client spoke before its turn.
func (l *Logger) Pipelining(s *mail.Session, after string) {
	l.broke(s, "improper command pipelining", after, 0)
}

func (l *Logger) broke(s *mail.Session, what, after string, octets int64) {
	if l.off(levelNotice) || l.suppressed(s) {
		return
	}
	if after == "" {
		after = "CONNECT"
	}
	p := l.take()
	b := *p
	if l.json {
		b = l.openSessionJSON(b, s, strings.ReplaceAll(what, " ", "-"), "info")
		b = appendKey(b, "after", after)
		if octets > 0 {
			b = appendKeyInt(b, "octets", octets)
		}
		*p = append(b, "}\n"...)
		l.put(p)
		return
	}
	b = l.openLine(b, "smtpd")
	b = append(b, what...)
	b = append(b, " after "...)
	b = appendField(b, after, angleClass())
	if octets > 0 {
		b = append(b, " ("...)
		b = strconv.AppendInt(b, octets, 10)
		b = append(b, " bytes)"...)
	}
	b = append(b, " from "...)
	b = appendSessionPeer(b, s)
	*p = append(b, '\n')
	l.put(p)
}

// Reject tells that a command was refused. tx may be nil (before MAIL); what
// is the text that was refused, a recipient for instance, and may be empty.
func (l *Logger) Reject(s *mail.Session, tx *mail.Transaction, verb string, what string, reply mail.Reply) {
	if l.off(levelNotice) || l.suppressed(s) {
		return
	}
	name, addr := s.HostOrUnknown(), s.Client.Addr()
	if tx != nil && tx.Session != nil {
		name, addr = tx.ClientForLog()
	}
	to := ""
	if verb == "RCPT" {
		to = what
	}
	p := l.take()
	b := *p
	if l.json {
		b = l.rejectJSON(b, s, tx, verb, what, reply)
	} else {
		// a queue id only when the transaction lives on, as Postfix has it
		id := "NOQUEUE"
		if tx != nil && len(tx.ForwardPaths) > 0 && tx.ID != "" {
			id = tx.ID
		}
		b = l.openID(b, "smtpd", id)
		b = append(b, "reject: "...)
		b = appendField(b, verb, hostClass())
		b = append(b, " from "...)
		b = appendPeer(b, name, addr)
		b = append(b, ": "...)
		b = appendReply(b, reply, what)
		b = appendTail(b, s, tx, to)
		b = appendBecause(b, s, tx, what)
		b = append(b, '\n')
	}
	*p = b
	l.put(p)
}

// maxBecause bounds the symbols of one reject line.
const maxBecause = 5

// appendBecause names the listener and the checks that refused: an answer of
// ours to a stranger is general, the operator must find the list behind it.
func appendBecause(b []byte, s *mail.Session, tx *mail.Transaction, what string) []byte {
	if s.Listener != "" {
		b = append(b, " listener="...)
		b = appendField(b, s.Listener, wordClass())
	}
	if tx == nil {
		return b
	}
	n := 0
	for i := range tx.Findings {
		f := &tx.Findings[i]
		if !f.Counted || f.Verdict < mail.Defer && f.Score <= 0 || f.Rcpt != nil && f.Rcpt.Path.String() != what || n == maxBecause {
			continue
		}
		if n == 0 {
			b = append(b, " symbols="...)
		} else {
			b = append(b, ',')
		}
		b = appendField(b, f.Symbol, wordClass())
		n++
	}
	return b
}

// TLS tells that a session went over to TLS; s.TLS is set.
func (l *Logger) TLS(s *mail.Session) {
	if l.off(levelInfo) || s.TLS == nil || l.suppressed(s) {
		return
	}
	proto, cipher := tlsNames(s.TLS)
	p := l.take()
	b := *p
	if l.json {
		b = l.openSessionJSON(b, s, "tls", "info")
		*p = append(b, "}\n"...)
		l.put(p)
		return
	}
	b = l.openLine(b, "smtpd")
	if s.Login != "" {
		b = append(b, "Trusted"...) // by a client certificate
	} else {
		b = append(b, "Anonymous"...)
	}
	b = append(b, " TLS connection established from "...)
	b = appendSessionPeer(b, s)
	b = append(b, ": "...)
	b = append(b, proto...)
	b = append(b, " with cipher "...)
	b = append(b, cipher...)
	if s.TLS.DidResume {
		b = append(b, " (resumed)"...)
	}
	*p = append(b, '\n')
	l.put(p)
}

// tlsNames gives version and cipher in the words of OpenSSL's users.
func tlsNames(cs *tls.ConnectionState) (proto, cipher string) {
	proto = strings.Replace(tls.VersionName(cs.Version), "TLS ", "TLSv", 1)
	return proto, tls.CipherSuiteName(cs.CipherSuite)
}

// Warn writes something that the operator should look at. text is a constant
// of ours: what comes from outside, errors too, belongs into attrs.
func (l *Logger) Warn(component, text string, attrs ...slog.Attr) {
	if l == nil {
		return
	}
	l.note(component, "warning", text, attrs)
}

// ClientWarn is Warn about something that a client did: its line is Postfix's
// "warning: host[address]: text", and lines_per_client bounds it, so that
// nobody fills the disk with warnings about himself.
func (l *Logger) ClientWarn(s *mail.Session, text string, attrs ...slog.Attr) {
	if l == nil || l.suppressed(s) {
		return
	}
	p := l.take()
	b := *p
	if l.json {
		b = l.openSessionJSON(b, s, "warning", "warning")
		b = appendKey(b, "message", text)
		b = appendAttrsJSON(b, attrs)
		b = append(b, "}\n"...)
	} else {
		b = l.openLine(b, "smtpd")
		b = append(b, "warning: "...)
		b = appendSessionPeer(b, s)
		b = append(b, ": "...)
		b = appendText(b, text, textClass())
		b = appendAttrs(b, attrs)
		b = append(b, '\n')
	}
	*p = b
	l.put(p)
}

// Info writes something that the operator may want to know; see Warn.
func (l *Logger) Info(component, text string, attrs ...slog.Attr) {
	if l.off(levelNotice) {
		return
	}
	l.note(component, "info", text, attrs)
}

// maxAttrs bounds the attributes of one record.
const maxAttrs = 32

func (l *Logger) note(component, severity, text string, attrs []slog.Attr) {
	p := l.take()
	b := *p
	if l.json {
		b = l.openJSON(b, component, severity)
		b = appendKey(b, "message", text)
		b = appendAttrsJSON(b, attrs)
		b = append(b, "}\n"...)
	} else {
		b = l.openLine(b, component)
		b = append(b, severity...)
		b = append(b, ": "...)
		b = appendText(b, text, textClass())
		b = appendAttrs(b, attrs)
		b = append(b, '\n')
	}
	*p = b
	l.put(p)
}

func appendAttrs(b []byte, attrs []slog.Attr) []byte {
	for _, a := range attrs[:min(len(attrs), maxAttrs)] {
		b = append(b, ' ')
		b = appendField(b, a.Key, wordClass())
		b = append(b, `="`...)
		b = appendText(b, a.Value.Resolve().String(), quotedClass())
		b = append(b, '"')
	}
	return b
}

func appendAttrsJSON(b []byte, attrs []slog.Attr) []byte {
	if len(attrs) == 0 {
		return b
	}
	b = append(b, `,"attributes":{`...)
	for i, a := range attrs[:min(len(attrs), maxAttrs)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, a.Key)
		b = append(b, ':')
		b = appendJSON(b, a.Value.Resolve().String())
	}
	return append(b, '}')
}

// Admin tells what somebody did over the admin socket: the Unix user, the act,
// and its detail, which may be empty. It is written at every level.
func (l *Logger) Admin(user, act, detail string) {
	if l == nil {
		return
	}
	attrs := make([]slog.Attr, 0, 3)
	attrs = append(attrs, slog.String("user", user), slog.String("act", act))
	if detail != "" {
		attrs = append(attrs, slog.String("detail", detail))
	}
	l.note("admin", "info", "administration", attrs)
}
