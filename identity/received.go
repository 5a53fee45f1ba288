package identity

import (
	"net/netip"
	"strings"
)

// maxReceived bounds a Received field that is read, in octets.
const maxReceived = 4096

// mark is how Postfix begins the comment (smtpd_sasl_authenticated_header).
const mark = "Authenticated sender: "

// hop is what a Received field says of where the message came from.
type hop struct {
	from   netip.Addr // as the host that wrote it saw it; invalid: it does not say
	sender string     // who had logged in there
}

// parseReceived reads "from HELO (name [address]) … (Authenticated sender: u)
// … by HOST …" (RFC 5321 section 4.4, RFC 5322 section 3.2.2). HELO is the
// client's word, so it says nothing here, whatever it holds; the address is
// the one in the first comment. Not ok is a line that could be read in two
// ways: two addresses, two marks, a mark inside a comment or with one inside,
// a comment or quote without its end.
func parseReceived(v string) (h hop, ok bool) {
	if len(v) > maxReceived {
		return hop{}, false
	}
	words, infos, senders := 0, 0, 0
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == ';':
			i = len(v)
		case c == '(':
			start := i
			text, nested, end := comment(v, i)
			if end < 0 || words == 1 {
				return hop{}, false // a comment in the place of HELO
			}
			i = end
			if words == 0 {
				continue
			}
			user, marked := strings.CutPrefix(text, mark)
			switch {
			case marked && (nested || infos == 0):
				return hop{}, false
			case marked:
				senders++
				h.sender = strings.TrimSpace(user)
			case strings.Contains(v[start:end], mark):
				return hop{}, false // inside a comment, or behind something in it
			case strings.HasSuffix(text, "]"):
				if infos++; infos == 1 {
					h.from = literal(text)
				}
			}
		case c == '"':
			end := quoted(v, i)
			if end < 0 {
				return hop{}, false
			}
			i, words = end, words+1
		default:
			n := strings.IndexAny(v[i:], " \t(\";")
			if n < 0 {
				n = len(v) - i
			}
			word := v[i : i+n]
			i, words = i+n, words+1
			switch {
			case words == 1 && !strings.EqualFold(word, "from"):
				return hop{}, true // written for a program on that host: from nowhere
			case words > 2 && strings.EqualFold(word, "by"):
				i = len(v) // what follows says nothing of the client
			}
		}
	}
	if infos > 1 || senders > 1 || senders == 1 && h.sender == "" {
		return hop{}, false
	}
	return h, true
}

// comment reads the comment that begins at i. text is what stands in it
// outside of comments within; nested tells that there were any, or a quoted
// pair. end is -1 when it has none.
func comment(v string, i int) (text string, nested bool, end int) {
	var b strings.Builder
	depth := 0
	for ; i < len(v); i++ {
		switch c := v[i]; c {
		case '\\':
			nested = true
			i++
		case '(':
			if depth++; depth > 1 {
				nested = true
			}
		case ')':
			if depth--; depth == 0 {
				return strings.Trim(b.String(), " \t"), nested, i + 1
			}
		default:
			if depth == 1 {
				b.WriteByte(c)
			}
		}
	}
	return "", nested, -1
}

// quoted gives the end of the quoted string that begins at i, or -1.
func quoted(v string, i int) int {
	for i++; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// literal reads the address at the end of "name [address]".
func literal(text string) netip.Addr {
	open := strings.LastIndexByte(text, '[')
	if open < 0 {
		return netip.Addr{}
	}
	in := text[open+1 : len(text)-1]
	if len(in) > 5 && strings.EqualFold(in[:5], "IPv6:") {
		in = in[5:]
	}
	a, err := netip.ParseAddr(in)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// commentAt gives the place of the mark's comment in the octets of a field,
// with the white space before it.
func commentAt(raw []byte) (from, to int, ok bool) {
	s := string(raw)
	from = strings.Index(s, "("+mark)
	if from < 0 {
		return 0, 0, false
	}
	_, _, to = comment(s, from)
	if to < 0 {
		return 0, 0, false
	}
	if to < len(s) && strings.IndexByte(" \t\r\n", s[to]) < 0 {
		return from, to, true // the white space parts two words
	}
	for from > 0 && strings.IndexByte(" \t\r\n", s[from-1]) >= 0 {
		from--
	}
	return from, to, true
}
