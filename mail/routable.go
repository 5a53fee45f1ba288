package mail

import "strings"

// Routable is the policy on what a recipient may look like beyond the
// grammar: nil, or the 553 that refuses it. It stops local parts that a next
// hop would read a second time:
//
//   - routes. Postfix turns user%host@ours into user@host
//     (allow_percent_hack), host!user@ours into user@host (swap_bangpath) and
//     "user@host"@ours into user@host (resolve_dequoted_address): mail for a
//     stranger through a next hop that trusts us (S-84 to S-94). So "@" is
//     refused; "%" when a letter, digit, "[" or non-ASCII octet follows it,
//     "!" when one stands before it, since only then is there a host to route
//     to. `#$%&` stays a plain local part (S-102).
//   - what Sendable refuses, and names of files: a leading "/", or "..".
func Routable(p Path) *Reply {
	bad := p.Local != "" && p.Local[0] == '/' || isRoute(p.Local) ||
		strings.Contains(p.Local, "../") || strings.Contains(p.Local, "/..")
	if bad || shellish(p.Local) {
		r := Permanent(553, "1.3", "Recipient address not accepted")
		return &r
	}
	return nil
}

// Sendable is the same policy for a sender, where no route can do harm: only
// signs by which logs and scripts behind us were made to run commands
// (S-104; CVE-2024-45519 in Zimbra) are refused, and a leading "-", which
// programs take for an option (Postfix: allow_min_user). A "$" is refused
// before "(" or "{" alone. A quote or backslash inside a local part serves
// nobody but who counts on one un-quoting too many (S-98).
func Sendable(p Path) *Reply {
	if shellish(p.Local) {
		r := Permanent(553, "1.7", "Sender address not accepted")
		return &r
	}
	return nil
}

func shellish(local string) bool {
	if strings.HasPrefix(local, "-") || strings.Contains(local, "$(") {
		return true
	}
	for i := 0; i < len(local); i++ {
		switch c := local[i]; c {
		case '`', '|', ';', '{', '}', '<', '>', '"', '\\', 0x7f:
			return true
		default:
			if c < ' ' {
				return true
			}
		}
	}
	return false
}

func isRoute(local string) bool {
	if strings.IndexByte(local, '@') >= 0 {
		return true
	}
	if i := strings.IndexByte(local, '%'); i >= 0 && hasHost(local[i+1:]) {
		return true
	}
	i := strings.LastIndexByte(local, '!')
	return i >= 0 && hasHost(local[:i])
}

func hasHost(s string) bool {
	for i := 0; i < len(s); i++ {
		if isAlnum(s[i]) || s[i] == '[' || s[i] >= 0x80 {
			return true
		}
	}
	return false
}
