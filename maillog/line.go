package maillog

import (
	"net/netip"
	"strconv"
	"time"

	"garita/mail"
)

// openLine begins a line: "Nov 22 10:00:00 host garita/smtpd[812]: ". An empty
// component gives the plain tag, which pflogsumm passes over.
func (l *Logger) openLine(b []byte, component string) []byte {
	b = append(b, l.stampOf(l.now())...)
	b = append(b, l.host...)
	if component != "" {
		b = append(b, '/')
		b = appendField(b, component, hostClass())
	}
	return append(b, l.pid...)
}

// openID begins a line of a transaction.
func (l *Logger) openID(b []byte, component, id string) []byte {
	b = l.openLine(b, component)
	b = appendID(b, id)
	return append(b, ": "...)
}

// appendID keeps queue ids \w+, which every reader of such lines relies on.
func appendID(b []byte, id string) []byte {
	n := len(b)
	for i := 0; i < len(id) && i < 64; i++ {
		c := id[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b = append(b, c)
		}
	}
	if len(b) == n {
		b = append(b, '0')
	}
	return b
}

// appendPeer writes host[address], the address being the only thing in the
// first brackets of the line.
func appendPeer(b []byte, host string, a netip.Addr) []byte {
	b = appendField(b, host, hostClass())
	b = append(b, '[')
	b = appendAddr(b, a)
	return append(b, ']')
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, "unknown"...)
	}
	return a.Unmap().WithZone("").AppendTo(b)
}

func appendSessionPeer(b []byte, s *mail.Session) []byte {
	return appendPeer(b, s.HostOrUnknown(), s.Client.Addr())
}

// appendPath writes <local@domain>, or <> for the null reverse-path.
func appendPath(b []byte, p mail.Path) []byte {
	b = append(b, '<')
	b = appendBarePath(b, p)
	return append(b, '>')
}

// appendBarePath quotes the local part as the envelope has it wherever its
// characters ask for it, so that "a@b"@c is not read as a@b.
func appendBarePath(b []byte, p mail.Path) []byte {
	if p.Local == "" && p.Domain == "" {
		return b
	}
	quote := p.Local == "" || needsQuotes(p.Local)
	if quote {
		b = append(b, '"')
	}
	k := angleClass()
	if quote {
		k.lo &^= 1 << '"'
	}
	b = appendField(b, p.Local, k)
	if quote {
		b = append(b, '"')
	}
	if p.Domain != "" {
		b = append(b, '@')
		b = appendField(b, p.Domain, angleClass())
	}
	return b
}

func needsQuotes(local string) bool {
	for i := 0; i < len(local); i++ {
		switch c := local[i]; c {
		case '@', '"', '\\', ' ', '(', ')', '<', '>', ',', ';', ':', '[', ']':
			return true
		default:
			if c < ' ' || c == 0x7f {
				return true
			}
		}
	}
	return false
}

// appendSeconds writes a duration as Postfix does: seconds with two digits
// that matter, no trailing zeros: 0.05, 1.2, 34.
func appendSeconds(b []byte, d time.Duration) []byte {
	if d < 0 {
		d = 0
	}
	var tens, prec int64
	switch {
	case d >= 10*time.Second:
		return strconv.AppendInt(b, int64((d+time.Second/2)/time.Second), 10)
	case d >= time.Second:
		tens, prec = int64((d+50*time.Millisecond)/(100*time.Millisecond)), 10
	default:
		tens, prec = int64((d+5*time.Millisecond)/(10*time.Millisecond)), 100
	}
	b = strconv.AppendInt(b, tens/prec, 10)
	rest := tens % prec
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	if prec == 100 {
		b = append(b, byte('0'+rest/10))
		if rest%10 != 0 {
			b = append(b, byte('0'+rest%10))
		}
		return b
	}
	return append(b, byte('0'+rest))
}

// appendMillis writes milliseconds with two decimals; the summary line has
// them because Postfix's seconds show nothing of a fast check.
func appendMillis(b []byte, d time.Duration) []byte {
	if d < 0 {
		d = 0
	}
	h := int64(d / (10 * time.Microsecond))
	b = strconv.AppendInt(b, h/100, 10)
	return append(b, '.', byte('0'+h/10%10), byte('0'+h%10))
}

// appendReply writes "554 5.7.1 text"; with what, text is preceded by
// "<what>: " as Postfix does for the address or name that was refused.
func appendReply(b []byte, r mail.Reply, what string) []byte {
	b = strconv.AppendInt(b, int64(r.Code), 10)
	b = append(b, ' ')
	return appendReplyText(b, r, what)
}

// appendReplyText is appendReply without the code, as milter-reject has it.
func appendReplyText(b []byte, r mail.Reply, what string) []byte {
	if r.Enhanced != "" {
		b = appendField(b, r.Enhanced, hostClass())
		b = append(b, ' ')
	}
	if what != "" && (r.Text == "" || r.Text[0] != '<') {
		b = append(b, '<')
		b = appendField(b, what, angleClass())
		b = append(b, ">: "...)
	}
	return appendLines(b, r.Text)
}

// appendLines writes a reply's text as one sentence: its line ends are blanks.
func appendLines(b []byte, text string) []byte {
	text, more := cut(text)
	for text != "" {
		i := 0
		for i < len(text) && text[i] != '\n' {
			i++
		}
		b = appendText(b, text[:i], textClass())
		if i == len(text) {
			break
		}
		b = append(b, ' ')
		text = text[i+1:]
	}
	if more {
		b = append(b, "..."...)
	}
	return b
}

// appendTail writes "; from=<a> to=<b> proto=ESMTP helo=<x>".
func appendTail(b []byte, s *mail.Session, tx *mail.Transaction, to string) []byte {
	b = append(b, ';')
	proto, helo := s.Proto, s.Helo
	if tx != nil {
		b = append(b, " from="...)
		b = appendPath(b, tx.ReversePath)
		if f := tx.Forwarded; f != nil {
			if f.Proto != "" {
				proto = f.Proto
			}
			if f.Helo != "" {
				helo = f.Helo
			}
		}
		if to == "" && len(tx.ForwardPaths) > 0 {
			b = append(b, " to="...)
			b = appendPath(b, tx.ForwardPaths[0].Path)
		}
	}
	if to != "" {
		b = append(b, " to=<"...)
		b = appendField(b, to, angleClass())
		b = append(b, '>')
	}
	if proto == "" {
		proto = "SMTP"
	}
	b = append(b, " proto="...)
	b = appendField(b, proto, wordClass())
	if helo != "" {
		b = append(b, " helo=<"...)
		b = appendField(b, helo, angleClass())
		b = append(b, '>')
	}
	return b
}
