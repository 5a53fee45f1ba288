package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
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
	if c, ok := n.directory(name); ok {
		return c
	}
	sum := sha256.Sum256([]byte(strings.ToLower(norm.NFKC.String(bare(name)))))
	return "odd/" + hex.EncodeToString(sum[:8])
}

// directory is Canonical for a name by which a directory has found an account.
// There are spellings without end of which none is a name here: RFC 4518
// section 2.2 maps soft hyphens and the like to nothing, section 2.6 many spaces
// to one. They are one user, not as many.
func (n Names) directory(name string) (string, bool) {
	if c, ok := n.Canonical(name); ok {
		return c, true
	}
	return n.Canonical(bare(name))
}

func bare(name string) string { return strings.Join(strings.Fields(strings.Map(meaning, name)), " ") }

// meaning drops what a directory does not see.
func meaning(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case r == 0x034f || r == 0x1806 || r == 0xfffc, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
		return -1
	}
	return r
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
