package senderlogin

import (
	"strings"
	"unicode/utf8"

	"garita/message/field"
)

const (
	maxFrom      = 64 << 10 // octets of a From field that is read
	maxMailboxes = 1000     // of it
	maxDepth     = 50       // of comments within comments
	maxInName    = 20       // addresses within one name
)

// mailbox is one of a From field. name is what stands before the address and
// in comments: different programs show either.
type mailbox struct {
	address
	name string
}

// parseFrom reads the mailbox-list or address-list of RFC 5322 section 3.6.2
// and RFC 6854, groups among them. Not ok is what two programs may read in two
// ways, and what has no address; the mailboxes that were read before are given
// all the same. "a@x <b@y>" has both addresses: some programs show the first.
func parseFrom(v string) (list []mailbox, ok bool) {
	if len(v) > maxFrom {
		return nil, false
	}
	r := &reader{s: v}
	for group := false; ; {
		m, n, good := r.mailbox()
		list = append(list, m[:n]...)
		if !good || len(list) > maxMailboxes {
			return list, false
		}
		switch r.peek() {
		case 0:
			return list, r.i >= len(r.s) && !group && len(list) > 0
		case ',':
		case ':':
			if group || n > 0 {
				return list, false
			}
			group = true
		case ';':
			if !group {
				return list, false
			}
			group = false
		default:
			return list, false
		}
		r.i++
	}
}

// reader walks through a value once.
type reader struct {
	s        string
	i        int
	comments strings.Builder
}

// peek is the next octet, 0 at the end: a NUL is no part of any From.
func (r *reader) peek() byte {
	if r.i < len(r.s) {
		return r.s[r.i]
	}
	return 0
}

// skip passes over white space and comments, which it keeps. false: one has no
// end.
func (r *reader) skip() bool {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\r', '\n':
			r.i++
		case '(':
			if !r.comment() {
				return false
			}
		default:
			return true
		}
	}
	return true
}

func (r *reader) comment() bool {
	depth := 0
	r.comments.WriteByte(' ')
	for ; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; c {
		case '\\':
			if r.i++; r.i < len(r.s) {
				r.comments.WriteByte(r.s[r.i])
			}
		case '(':
			if depth++; depth > maxDepth {
				return false
			}
		case ')':
			if depth--; depth == 0 {
				r.i++
				return true
			}
		default:
			r.comments.WriteByte(c)
		}
	}
	return false
}

// mailbox reads up to the end of one element: a comma, a colon, a semicolon or
// the end. It may have two addresses, and none when it is empty or the name of
// a group.
func (r *reader) mailbox() (out [2]mailbox, n int, ok bool) {
	var name strings.Builder
	words := 0
	last, lastQuoted := "", false
	r.comments.Reset()
	finish := func(ok bool) ([2]mailbox, int, bool) {
		for i := range n {
			out[i].name = name.String() + r.comments.String()
		}
		return out, n, ok
	}
	for {
		if !r.skip() {
			return finish(false)
		}
		switch c := r.peek(); {
		case c == 0 || c == ',' || c == ';' || c == ':':
			// Words without an address, but for the name of a group.
			return finish(n > 0 && c != ':' || n == 0 && (words == 0 && c != ':' || words > 0 && c == ':'))
		case c == '<':
			r.i++
			a, good := r.inAngle()
			if n == 2 || !good {
				return finish(false)
			}
			out[n] = mailbox{address: a}
			n++
			if !r.skip() {
				return finish(false)
			}
			c = r.peek()
			return finish(c == 0 && r.i >= len(r.s) || c == ',' || c == ';')
		case c == '@':
			// The one word before it is a local part.
			if words != 1 || n > 0 || !lastQuoted && !dotAtom(last) {
				return finish(false)
			}
			r.i++
			domain, good := r.domain()
			if !good || !utf8.ValidString(last) {
				return finish(false)
			}
			out[0], n = mailbox{address: address{last, domain}}, 1
			name.Reset()
		case n > 0:
			return finish(false) // "a@x b"
		default:
			var good bool
			if last, lastQuoted, good = r.word(); !good {
				return finish(false)
			}
			if words++; words > 1 {
				name.WriteByte(' ')
			}
			name.WriteString(last)
		}
	}
}

// word reads a quoted string, or atoms and dots.
func (r *reader) word() (w string, quoted, ok bool) {
	if r.peek() == '"' {
		w, ok = r.quoted()
		return w, true, ok
	}
	from := r.i
	for r.i < len(r.s) && (isAtext(r.s[r.i]) || r.s[r.i] == '.') {
		r.i++
	}
	return r.s[from:r.i], false, r.i > from
}

func (r *reader) quoted() (string, bool) {
	var b strings.Builder
	for r.i++; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; c {
		case '"':
			r.i++
			return b.String(), true
		case '\\':
			if r.i++; r.i < len(r.s) {
				b.WriteByte(r.s[r.i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// inAngle reads the address behind "<", and its ">". A route (RFC 5322 section
// 4.4) is none that programs agree on.
func (r *reader) inAngle() (a address, ok bool) {
	if !r.skip() {
		return a, false
	}
	local, quoted, ok := r.word()
	if !ok || !quoted && !dotAtom(local) || !utf8.ValidString(local) || !r.skip() || r.peek() != '@' {
		return a, false
	}
	r.i++
	domain, ok := r.domain()
	if !ok || !r.skip() || r.peek() != '>' {
		return a, false
	}
	r.i++
	return address{local, domain}, true
}

// domain reads what stands behind "@".
func (r *reader) domain() (string, bool) {
	if !r.skip() {
		return "", false
	}
	if r.peek() == '[' {
		end := strings.IndexAny(r.s[r.i:], "]\\ \t\r\n")
		if end < 0 || r.s[r.i+end] != ']' {
			return "", false
		}
		from := r.i
		r.i += end + 1
		return r.s[from:r.i], utf8.ValidString(r.s[from:r.i])
	}
	w, quoted, ok := r.word()
	return w, ok && !quoted && dotAtom(w) && utf8.ValidString(w)
}

// isAtext is RFC 5322 section 3.2.3, and RFC 6532's octets above.
func isAtext(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>[]:;@\,."`, c) < 0
}

// dotAtom tells that there is something between the dots.
func dotAtom(s string) bool {
	return s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// addressesIn finds what looks like addresses in a name, in each reading of
// its encoded words.
func addressesIn(name string) (out []address) {
	if !strings.ContainsAny(name, "@=＠﹫") {
		return nil
	}
	for _, text := range field.Words(name) {
		text = strings.NewReplacer("＠", "@", "﹫", "@", "\u200b", "", "\u00ad", "", "\u2060", "").Replace(text)
		for text != "" {
			at := strings.IndexByte(text, '@')
			if at < 0 {
				break
			}
			before, after := text[:at], text[at+1:]
			if i := strings.LastIndexFunc(before, outside); i >= 0 {
				_, size := utf8.DecodeRuneInString(before[i:])
				before = before[i+size:]
			}
			end := strings.IndexFunc(after, outside)
			if end < 0 {
				end = len(after)
			}
			domain := strings.Trim(after[:end], ".")
			text = after
			if before == "" || !strings.Contains(domain, ".") {
				continue
			}
			if out = append(out, address{before, domain}); len(out) >= maxInName {
				return out
			}
		}
	}
	return out
}

// outside ends an address within text.
func outside(c rune) bool {
	return c <= ' ' || c == 0x7f || strings.ContainsRune("()<>[]:;@,\"'`|/\\“”‘’«»", c) || c == '\u00a0'
}
