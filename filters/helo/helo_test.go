package helo

import (
	"net/netip"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/resolver"
)

var site = filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Addresses: []string{"203.0.113.5", "0.0.0.0"}}

func TestHelo(t *testing.T) {
	filtertest.RunDNS(t, "testdata/*.txt", func(t *testing.T, config []string, r resolver.Resolver) filters.Check {
		c := filtertest.With(t, Default(), config)
		own := site
		own.Resolver = r
		check, err := New(c, own)
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

func TestValidate(t *testing.T) {
	lines := []string{"mode loud", "own_names a b"}
	for key := range Default().parts() {
		lines = append(lines, key+" loud", key+"_score 1000")
	}
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c, site); return err }, lines...)
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	words := []string{SymbolTemporary}
	for _, p := range Default().parts() {
		words = append(words, p.Symbol)
	}
	filtertest.Explained[Config](t, words...)
}

func FuzzHelo(f *testing.F) {
	for _, s := range []string{"a.example", "[1.2.3.4]", "[IPv6:::1]", "1.2.3.4", "$(id)", "[", "]", "", ".", "our.example."} {
		f.Add(s)
	}
	check, err := New(Default(), site)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := check.Impl.(filters.HeloChecker).CheckHelo(t.Context(), &mail.Session{Helo: s, Client: netip.MustParseAddrPort("192.0.2.1:1")})
		if err != nil || len(r.Findings) > 1 {
			t.Fatalf("%q: %v, %v", s, r.Findings, err)
		}
		if len(r.Findings) == 0 && !mail.ValidDomain(strings.TrimSuffix(s, "."), false) {
			t.Fatalf("%q passes", s)
		}
	})
}
