package tls

import (
	"crypto/ecdsa"
	stdtls "crypto/tls"
	"slices"
	"strings"
)

// A choice maps the server name of a ClientHello to certificates. It never
// changes; a reload makes another.
type choice struct {
	fallback []*stdtls.Certificate            // for no name and for unknown ones
	names    map[string][]*stdtls.Certificate // "mx.example.org", "*.example.org"
}

// newChoice sorts certificates under their names. first is the default.
func newChoice(certs []*stdtls.Certificate, first *stdtls.Certificate) *choice {
	c := &choice{names: map[string][]*stdtls.Certificate{}}
	ordered := append([]*stdtls.Certificate{first}, certs...)
	for i, cert := range ordered {
		if slices.Contains(ordered[:i], cert) {
			continue
		}
		for _, n := range namesOf(cert) {
			if !slices.Contains(c.names[n], cert) {
				c.names[n] = append(c.names[n], cert)
			}
		}
	}
	c.fallback = []*stdtls.Certificate{first}
	for _, n := range namesOf(first) { // its twin with the other kind of key
		for _, cert := range c.names[n] {
			if !slices.Contains(c.fallback, cert) {
				c.fallback = append(c.fallback, cert)
			}
		}
	}
	// An ECDSA signature costs us a twentieth of an RSA one.
	byCost := func(a, b *stdtls.Certificate) int { return cost(a) - cost(b) }
	for n, list := range c.names {
		if covered(list) {
			slices.SortStableFunc(c.names[n], byCost)
		}
	}
	if covered(c.fallback) {
		slices.SortStableFunc(c.fallback, byCost)
	}
	return c
}

// covered tells that all certificates of a list are for the first name of the
// first: then they are twins and the kind of key may decide. Otherwise the
// order of the configuration does.
func covered(list []*stdtls.Certificate) bool {
	names := namesOf(list[0])
	if len(names) == 0 {
		return false
	}
	for _, c := range list[1:] {
		if !slices.Contains(namesOf(c), names[0]) {
			return false
		}
	}
	return true
}

func cost(c *stdtls.Certificate) int {
	if _, ok := c.Leaf.PublicKey.(*ecdsa.PublicKey); ok {
		return 0
	}
	return 1
}

// namesOf are the DNS names of a certificate, in lower case. The common name
// counts only where there is no alternative name at all (RFC 6125 6.4.4).
func namesOf(c *stdtls.Certificate) []string {
	list := c.Leaf.DNSNames
	if len(list) == 0 && len(c.Leaf.IPAddresses) == 0 && c.Leaf.Subject.CommonName != "" {
		list = []string{c.Leaf.Subject.CommonName}
	}
	out := make([]string, 0, len(list))
	for _, n := range list {
		out = append(out, strings.ToLower(strings.TrimSuffix(n, ".")))
	}
	return out
}

// pick gives the certificate for a ClientHello, always one: a client that gets
// an alert because of a name sends in clear text. The name is hostile (NUL, 64
// KB, anything); it is looked up and nothing else.
func (c *choice) pick(hello *stdtls.ClientHelloInfo) *stdtls.Certificate {
	list := c.find(hello.ServerName)
	if len(list) > 1 {
		able := *hello
		able.ServerName = "" // found already; an unknown one would fit nothing
		for _, cert := range list {
			if able.SupportsCertificate(cert) == nil {
				return cert
			}
		}
	}
	return list[0]
}

// find looks a server name up: itself, then with the first label as a
// wildcard (RFC 6125 6.4.3: the star stands for one whole label).
func (c *choice) find(server string) []*stdtls.Certificate {
	const longest = 253 // a name of the DNS, without the last dot
	if server == "" || len(server) > longest || strings.ContainsFunc(server, notASCII) {
		return c.fallback // and ToLower makes no ASCII of foreign letters
	}
	server = strings.ToLower(server)
	if list, ok := c.names[server]; ok && server[0] != '*' {
		return list
	}
	if label, rest, ok := strings.Cut(server, "."); ok && label != "" {
		if list, ok := c.names["*."+rest]; ok {
			return list
		}
	}
	return c.fallback
}

func notASCII(r rune) bool { return r >= 0x80 }
