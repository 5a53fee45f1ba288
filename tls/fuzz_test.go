package tls

import (
	stdtls "crypto/tls"
	"strings"
	"testing"
)

// FuzzServerName: whatever a ClientHello names, there is a certificate; one
// that is not the default's is for that name, as the library itself sees it.
func FuzzServerName(f *testing.F) {
	for _, s := range []string{"", "mx.example.com", "Mail.Other.EXAMPLE", "a.wild.example", "*.wild.example", "a.b.wild.example", "mx.example.com\x00x", "\u212A", "."} {
		f.Add(s)
	}
	c := namedStore(f).choice.Load()
	f.Fuzz(func(t *testing.T, name string) {
		got := c.pick(&stdtls.ClientHelloInfo{ServerName: name})
		if got == nil {
			t.Fatalf("%q: no certificate", name)
		}
		if got == c.fallback[0] {
			return
		}
		// The library takes no star in a name that is asked for; clients that
		// ask for one get the wildcard, which is harmless.
		if err := got.Leaf.VerifyHostname(strings.ReplaceAll(name, "*", "x")); err != nil && !odd(name) {
			t.Errorf("%q: %v", name, err)
		}
	})
}

// odd tells that a name is no host name: a wildcard stands for any first
// label, and the library is stricter about which there are.
func odd(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '*')
	}) || strings.HasPrefix(name, "-") || strings.Contains(name, "-.") || strings.Contains(name, ".-")
}
