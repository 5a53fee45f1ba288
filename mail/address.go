package mail

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The bounds of RFC 5321 section 4.5.3.1, in octets. maxPath counts the angle
// brackets, as the section says, so the address itself has 254; the 255 of a
// domain are then never reached, and a label's 63 are.
const (
	maxLocal  = 64
	maxDomain = 255
	maxLabel  = 63
	maxPath   = 256
)

// Path is the address of a reverse-path or forward-path without its angle
// brackets. Local is the local part with quoting removed; Domain is as the
// client wrote it, an address literal with its brackets. The zero value is
// the null reverse-path. <postmaster> is {"postmaster", ""}.
type Path struct{ Local, Domain string }

// IsNull tells the null reverse-path.
func (p Path) IsNull() bool { return p == Path{} }

// IsASCII tells that no SMTPUTF8 is needed to carry the path (RFC 6531).
func (p Path) IsASCII() bool { return ascii(p.Local) && ascii(p.Domain) }

// IsLiteral tells a domain that is an address literal.
func (p Path) IsLiteral() bool { return strings.HasPrefix(p.Domain, "[") }

// String writes the path by the grammar, quoted where it must be and without
// angle brackets: the one form that may reach a log or a next hop. The null
// path is "". For a path that the parser made, parsing "<"+String()+">" gives
// that path again.
func (p Path) String() string { return p.write(p.Domain) }

// Key is the path for comparisons: the local part as it is, because its case
// belongs to its own domain (RFC 5321 section 2.4), and the DomainKey.
func (p Path) Key() string { return p.write(p.DomainKey()) }

// Equal tells that both paths name the same mailbox as far as we may know.
func (p Path) Equal(q Path) bool {
	return p.Local == q.Local && (p.Domain == q.Domain || p.DomainKey() == q.DomainKey())
}

// DomainKey is the domain for comparisons: lower case, U-labels as A-labels,
// an address literal in the short form of its address.
func (p Path) DomainKey() string { return DomainKey(p.Domain) }

// DomainKey is the form in which two domains are compared, for names from
// the configuration too: lower case and A-labels. A domain that the grammar
// refuses comes back in lower case, and so equals no domain of a parsed path.
func DomainKey(domain string) string {
	if strings.HasPrefix(domain, "[") {
		if a, ok := literal(domain); ok {
			if a.Is4() {
				return "[" + a.String() + "]"
			}
			return "[ipv6:" + a.String() + "]"
		}
		return strings.ToLower(domain)
	}
	if ascii(domain) {
		return strings.ToLower(domain)
	}
	if a, ok := toASCII(domain); ok {
		return a
	}
	return strings.ToLower(domain)
}

// ValidDomain tells that the grammar takes s as the domain of an address: a
// name (U-labels only if allowed) or an address literal.
func ValidDomain(s string, utf8ok bool) bool {
	return domainOK(s) && (utf8ok || ascii(s))
}

func (p Path) write(domain string) string {
	if p.Domain == "" {
		if isDotString(p.Local) || p.Local == "" {
			return p.Local
		}
		return quote(p.Local)
	}
	local := p.Local
	if !isDotString(local) {
		local = quote(local)
	}
	return local + "@" + domain
}

// AddressError says why a path was refused. Reply is fit for the client: its
// text is fixed and repeats nothing of what the client sent.
type AddressError struct{ Reply Reply }

func (e *AddressError) Error() string { return e.Reply.String() }

// side is which of the two paths is being read.
type side uint8

const (
	reverse side = iota
	forward
)

func (s side) syntax() error {
	if s == reverse {
		return &AddressError{Permanent(501, "1.7", "Bad sender address syntax")}
	}
	return &AddressError{Permanent(501, "1.3", "Bad recipient address syntax")}
}

func (s side) route() error {
	if s == reverse {
		return &AddressError{Permanent(553, "1.7", "Source routes are not supported")}
	}
	return &AddressError{Permanent(553, "1.3", "Source routes are not supported")}
}

// NeedUTF8 is the reply to an address that needs SMTPUTF8 in a transaction
// that did not ask for it (RFC 6531 section 3.5).
func NeedUTF8() Reply {
	return Permanent(553, "6.7", "Non-ASCII address without SMTPUTF8")
}

// ParseReverse reads the path after "MAIL FROM:" and gives the text of the
// parameters that follow. utf8ok allows RFC 6531 addresses; since the
// parameter that asks for them comes after the path, a caller that announced
// SMTPUTF8 passes true and looks at IsASCII once it has read the parameters
// (ParseMail does all of it). An error is an *AddressError.
func ParseReverse(arg string, utf8ok bool) (Path, string, error) {
	return parsePath(arg, utf8ok, reverse)
}

// ParseForward reads the path after "RCPT TO:" and gives the text of the
// parameters that follow. utf8ok is whether MAIL said SMTPUTF8. An error is
// an *AddressError.
func ParseForward(arg string, utf8ok bool) (Path, string, error) {
	return parsePath(arg, utf8ok, forward)
}

// parsePath is RFC 5321 section 4.1.2 with RFC 6531 section 3.3. It departs
// from the grammar in these points, each on purpose:
//   - white space before the bracket is skipped (Postfix does, S-102);
//   - an underscore may stand in a domain label: real mail has it;
//   - a source route is refused, not stripped: what is checked must be what
//     is forwarded (S-91);
//   - an empty quoted local part, a numeric top label ("1.2.3.4" without
//     brackets) and general address literals are refused: next hops do not
//     agree on what they mean.
func parsePath(arg string, utf8ok bool, s side) (Path, string, error) {
	in := strings.TrimLeft(arg, " \t")
	if !strings.HasPrefix(in, "<") {
		return Path{}, "", s.syntax()
	}
	if strings.HasPrefix(in, "<>") {
		if s == forward {
			return Path{}, "", s.syntax()
		}
		return finish(Path{}, in, 2, s)
	}
	if strings.HasPrefix(in, "<@") {
		return Path{}, "", s.route()
	}
	local, n, ok := parseLocal(in[1:])
	if !ok || n > maxLocal {
		return Path{}, "", s.syntax()
	}
	i := 1 + n
	p := Path{Local: local}
	switch {
	case i < len(in) && in[i] == '@':
		end := strings.IndexByte(in[i:], '>')
		if end < 0 {
			return Path{}, "", s.syntax()
		}
		p.Domain = in[i+1 : i+end]
		i += end
		if !domainOK(p.Domain) {
			return Path{}, "", s.syntax()
		}
	case s == forward && i < len(in) && in[1] != '"' && ascii(local) && strings.EqualFold(local, "postmaster"):
		// RFC 5321 section 4.1.1.3: the one local part without a domain.
		p.Local = "postmaster"
	default:
		return Path{}, "", s.syntax()
	}
	if i >= len(in) || in[i] != '>' || i+1 > maxPath {
		return Path{}, "", s.syntax()
	}
	if !utf8ok && !p.IsASCII() {
		return Path{}, "", &AddressError{NeedUTF8()}
	}
	return finish(p, in, i+1, s)
}

// finish parts the path, which ends at in[:n], from the parameters.
func finish(p Path, in string, n int, s side) (Path, string, error) {
	rest := in[n:]
	if rest != "" && rest[0] != ' ' {
		return Path{}, "", s.syntax()
	}
	return p, strings.Trim(rest, " "), nil
}

// parseLocal reads a Dot-string or a Quoted-string at the start of s and
// gives it unquoted, with the octets that it took.
func parseLocal(s string) (local string, n int, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	for n < len(s) && s[n] != '@' && s[n] != '>' {
		n++
	}
	return s[:n], n, isDotString(s[:n])
}

// parseQuoted reads a Quoted-string. Its length is bounded by maxLocal in the
// caller and by the command line before that.
func parseQuoted(s string) (local string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1, b.Len() > 0
		case c == '\\':
			// quoted-pairSMTP: printable ASCII and space only.
			if i+1 >= len(s) || s[i+1] < ' ' || s[i+1] > '~' {
				return "", 0, false
			}
			b.WriteByte(s[i+1])
			i += 2
		case c < ' ' || c == 0x7f:
			return "", 0, false
		case c < utf8.RuneSelf:
			b.WriteByte(c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if !runeOK(r, size) {
				return "", 0, false
			}
			b.WriteString(s[i : i+size])
			i += size
		}
	}
	return "", 0, false
}

// isDotString tells atoms joined by single dots, with RFC 6531's octets.
func isDotString(s string) bool {
	dot := true // at the start and after a dot no dot may stand
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '.':
			if dot {
				return false
			}
			dot = true
			i++
			continue
		case c < utf8.RuneSelf:
			if !isAtext(c) {
				return false
			}
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if !runeOK(r, size) {
				return false
			}
			i += size
		}
		dot = false
	}
	return !dot
}

func isAtext(c byte) bool {
	return isAlnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// runeOK refuses, beside invalid UTF-8, what only serves to deceive whoever
// reads the address: C1 controls, line and paragraph separators, strange
// spaces, and the marks that turn the direction of writing.
func runeOK(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size <= 1:
		return false
	case unicode.IsControl(r), unicode.IsSpace(r), r == '\u2028', r == '\u2029':
		return false
	case r == '\u061c', '\u200e' <= r && r <= '\u200f', '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
		return false
	}
	return true
}

// quote writes a Quoted-string with no more escapes than it needs.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 4)
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// domainOK tells a valid domain name or address literal.
func domainOK(s string) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	if s[0] == '[' {
		_, ok := literal(s)
		return ok
	}
	if !ascii(s) {
		a, ok := toASCII(s)
		return ok && canonical(a, s)
	}
	return nameOK(s)
}

// nameOK tells a name of LDH labels, with underscores, whose last label is
// not a number. A label in A-label form must be the form of something.
func nameOK(s string) bool {
	for {
		label, rest, more := strings.Cut(s, ".")
		if !labelOK(label) {
			return false
		}
		if !more {
			return strings.Trim(label, "0123456789") != ""
		}
		s = rest
	}
}

func labelOK(l string) bool {
	if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := 0; i < len(l); i++ {
		if !isAlnum(l[i]) && l[i] != '-' && l[i] != '_' {
			return false
		}
	}
	if len(l) >= 4 && strings.EqualFold(l[:4], "xn--") {
		// "xn--" alone, or one that decodes to plain ASCII, would be a second
		// spelling of a name (S-110).
		u, err := idna.Lookup.ToUnicode(l)
		return err == nil && !ascii(u)
	}
	return true
}

// toASCII turns a name with U-labels into lower-case A-labels, label by
// label: what IDNA would map to a dot, an @ or another sign is refused by the
// look at the result, and invisible signs that it would drop before.
func toASCII(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	labels := strings.Split(s, ".")
	for i, l := range labels {
		if !ascii(l) {
			if strings.ContainsFunc(l, invisible) {
				return "", false
			}
			a, err := idna.Lookup.ToASCII(l)
			if err != nil || !labelOK(a) {
				return "", false
			}
			labels[i] = a
		}
	}
	a := strings.ToLower(strings.Join(labels, "."))
	return a, len(a) <= maxDomain && nameOK(a)
}

// canonical tells that s is the name a itself but for case, and no other
// spelling that IDNA maps to it: full-width letters, for instance. The octets
// that were checked as one name go out, and a next hop that does not map them
// would read another (I3).
func canonical(a, s string) bool {
	u, err := idna.Lookup.ToUnicode(a)
	return err == nil && (u == s || u == strings.ToLower(s))
}

// invisible tells format characters but the two joiners, whose use IDNA
// checks.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d'
}

// literal reads "[1.2.3.4]" or "[IPv6:::1]" (RFC 5321 section 4.1.3).
func literal(s string) (netip.Addr, bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return netip.Addr{}, false
	}
	s = s[1 : len(s)-1]
	const tag = "IPv6:"
	six := len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag)
	if six {
		s = s[len(tag):]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4() == six {
		return netip.Addr{}, false
	}
	return a, true
}
