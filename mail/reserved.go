package mail

import (
	"strings"

	"garita/message"
)

// Reserved tells a field that only we, called hostname, may write: X-Garita-*,
// and Authentication-Results in our name (RFC 8601 section 5). One that comes
// from outside is removed before it can speak for us.
func Reserved(f message.Field, hostname string) bool {
	if len(f.Name) > 9 && strings.EqualFold(f.Name[:9], "X-Garita-") {
		return true
	}
	return strings.EqualFold(f.Name, "Authentication-Results") && strings.EqualFold(authservID(f.Value()), hostname)
}

// authservID reads the identifier in front of a field of results, past white
// space, comments, quotes and quoted pairs, which forgers use to slip by
// (attacks S-183). What some reader may take for a separator is one here, and
// a version behind it or a last dot does not count: a field removed too many
// costs nothing.
func authservID(v string) string {
	depth := 0
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\':
			if i++; depth == 0 && i < len(v) {
				b.WriteByte(v[i])
			}
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0 || c == '"':
		case c <= ' ' || c >= 0x7f:
			if b.Len() > 0 {
				return strings.TrimSuffix(b.String(), ".")
			}
		case c == ';' || c == '/':
			return strings.TrimSuffix(b.String(), ".")
		default:
			b.WriteByte(c)
		}
	}
	return strings.TrimSuffix(b.String(), ".")
}
