package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/width"

	"garita/mail"
)

// maxName bounds a user's name, in octets.
const maxName = 254

// Names is the rule by which two names are one user (attacks Q-10): case,
// forms of Unicode (RFC 8265 section 3.3), the domain that is left away, the
// tag behind a plus sign.
type Names struct {
	Domain  string // of names without one
	KeepTag bool
}

// Canonical gives the one spelling of a name; not ok for what is no name.
// Applied again it changes nothing.
func (n Names) Canonical(name string) (string, bool) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return "", false
	}
	// Full-width signs first: "ana＠our.example" has a domain too.
	local, domain, has := cutLast(width.Fold.String(name))
	if i := strings.IndexByte(local, '+'); i > 0 && !n.KeepTag {
		local = local[:i]
	}
	local, ok := fold(local)
	if !ok || strings.Contains(local, "@") || !n.KeepTag && strings.LastIndexByte(local, '+') > 0 {
		return "", false
	}
	if !has {
		// The names of logins without an account ("cert/…") have no domain.
		if n.Domain == "" || strings.Contains(local, "/") {
			return local, len(local) <= maxName
		}
		domain = n.Domain
	}
	if !mail.ValidDomain(domain, true) {
		return "", false
	}
	out := local + "@" + mail.DomainKey(domain)
	return out, len(out) <= maxName
}

// fold is the form of RFC 8265. A name whose form has another form again is
// none: two forms of one user would be two users.
func fold(local string) (string, bool) {
	once, err := precis.UsernameCaseMapped.String(local)
	if err != nil || once == "" {
		return "", false
	}
	twice, err := precis.UsernameCaseMapped.String(once)
	return once, err == nil && once == twice && width.Fold.String(once) == once
}

// Login is Canonical for a name that somebody has logged in with. One that is
// no name is still a user: an unknown one would be counted by nobody.
func (n Names) Login(name string) string {
	if c, ok := n.Canonical(name); ok {
		return c
	}
	sum := sha256.Sum256([]byte(name))
	return "odd/" + hex.EncodeToString(sum[:8])
}

// Domain is what stands behind the last @ of a canonical name.
func Domain(user string) string {
	_, d, _ := cutLast(user)
	return d
}

func cutLast(s string) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
