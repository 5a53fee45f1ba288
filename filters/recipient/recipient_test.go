package recipient

import (
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/resolver"
)

func TestRecipient(t *testing.T) {
	filtertest.RunDNS(t, "testdata/*.txt", func(t *testing.T, config []string, r resolver.Resolver) filters.Check {
		c := filtertest.With(t, Default(), config)
		check, err := New(c, filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Addresses: []string{"203.0.113.5"}, Resolver: r})
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

func TestValidate(t *testing.T) {
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c, filters.Site{}); return err },
		"mode loud", "fqdn loud", "fqdn_score 1000", "unknown_domain loud", "unknown_domain_score -1000", "null_mx loud", "null_mx_score 1000",
		"exempt_domains a b", "exempt_domains [192.0.2.1]", "reply no")
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolNotFQDN, SymbolUnknown, SymbolNullMX, SymbolTemporary)
}
