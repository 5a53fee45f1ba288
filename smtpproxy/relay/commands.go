package relay

import (
	"errors"
	"strconv"
	"strings"

	"garita/mail"
)

// batch is a run of commands that may go out in one write, with the end of
// each and what it is for.
type batch struct {
	buf   []byte
	ends  []int
	kinds []kind
}

type kind uint8

const (
	kindXForward kind = iota
	kindMail
	kindRcpt
)

func (k kind) String() string {
	return [...]string{"XFORWARD", "MAIL", "RCPT"}[k]
}

func (b *batch) reset() {
	b.buf, b.ends, b.kinds = b.buf[:0], b.ends[:0], b.kinds[:0]
}

// end closes the command that was appended last.
func (b *batch) end(k kind) {
	b.buf = append(b.buf, '\r', '\n')
	b.ends = append(b.ends, len(b.buf))
	b.kinds = append(b.kinds, k)
}

var errAddress = errors.New("address is not fit for a command")

// maxPath bounds a path in a command; RFC 5321 section 4.5.3.1.3 says 256,
// the grammar of package mail holds it, this is the second fence.
const maxPath = 1000

// checkPath is the last look before an address goes on the wire: no octet may
// end the path or the line, whatever parsed it (attack: a quoted local part
// `"x> NOTIFY=NEVER "` that lost its quotes on the way).
func checkPath(s string, utf8OK bool) error {
	if len(s) > maxPath {
		return errAddress
	}
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f, c >= 0x80 && !utf8OK:
			return errAddress
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
			if i == len(s) || s[i] < ' ' || s[i] >= 0x7f {
				return errAddress
			}
		case (c == ' ' || c == '<' || c == '>' || c == '\\') && !quoted:
			return errAddress
		}
	}
	if quoted {
		return errAddress
	}
	return nil
}

// mail appends MAIL, built from values; parameters that the next hop did not
// offer are left out and told by dropped.
func (b *batch) mail(path string, p mail.Params, e extensions) (dropped bool) {
	b.buf = append(b.buf, "MAIL FROM:<"...)
	b.buf = append(b.buf, path...)
	b.buf = append(b.buf, '>')
	if e.size && p.Size > 0 {
		b.buf = append(b.buf, " SIZE="...)
		b.buf = strconv.AppendInt(b.buf, p.Size, 10)
	}
	if p.Body == mail.Body8BitMIME && e.eightBit {
		b.buf = append(b.buf, " BODY=8BITMIME"...)
	}
	if p.SMTPUTF8 && e.utf8 {
		b.buf = append(b.buf, " SMTPUTF8"...)
	}
	if p.Ret == "FULL" || p.Ret == "HDRS" {
		if e.dsn {
			b.buf = append(b.buf, " RET="...)
			b.buf = append(b.buf, p.Ret...)
		}
		dropped = dropped || !e.dsn
	}
	if p.EnvID != "" {
		// RFC 3461 section 4.4: at most 100 characters, printable ASCII.
		if id := mail.EncodeXtext(p.EnvID); e.dsn && printable(p.EnvID) && len(id) <= 100 {
			b.buf = append(b.buf, " ENVID="...)
			b.buf = append(b.buf, id...)
		} else {
			dropped = true
		}
	}
	b.end(kindMail)
	return dropped
}

// rcpt appends RCPT with its delivery status parameters (RFC 3461 4.1, 4.2).
func (b *batch) rcpt(path string, r *mail.Recipient, e extensions) (dropped bool) {
	b.buf = append(b.buf, "RCPT TO:<"...)
	b.buf = append(b.buf, path...)
	b.buf = append(b.buf, '>')
	if len(r.Notify) > 0 {
		if e.dsn && validNotify(r.Notify) {
			b.buf = append(b.buf, " NOTIFY="...)
			for i, n := range r.Notify {
				if i > 0 {
					b.buf = append(b.buf, ',')
				}
				b.buf = append(b.buf, n...)
			}
		} else {
			dropped = true
		}
	}
	if r.Orcpt != "" {
		// At most 500 characters; the utf-8 type needs an encoding of its
		// own (RFC 6533), so what is not ASCII is left out.
		x := mail.EncodeXtext(r.Orcpt)
		if e.dsn && isAtom(r.OrcptType) && printable(r.Orcpt) && len(x)+len(r.OrcptType) < 500 {
			b.buf = append(b.buf, " ORCPT="...)
			b.buf = append(b.buf, r.OrcptType...)
			b.buf = append(b.buf, ';')
			b.buf = append(b.buf, x...)
		} else {
			dropped = true
		}
	}
	b.end(kindRcpt)
	return dropped
}

func validNotify(list []string) bool {
	for _, n := range list {
		switch n {
		case "SUCCESS", "FAILURE", "DELAY":
		case "NEVER":
			if len(list) > 1 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// isAtom is RFC 3461's address type, bounded.
func isAtom(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\".[]+=`, c) >= 0 {
			return false
		}
	}
	return true
}
