package client

import (
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/resolver"
)

func TestClient(t *testing.T) {
	filtertest.RunDNS(t, "testdata/*.txt", func(t *testing.T, config []string, r resolver.Resolver) filters.Check {
		c := filtertest.With(t, Default(), config)
		check, err := New(c, filters.Site{Resolver: r})
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

func TestValidate(t *testing.T) {
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c, filters.Site{}); return err },
		"mode loud", "no_ptr loud", "no_ptr_score 1000", "unknown loud", "unknown_score -1000", "reply no")
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolNoPTR, SymbolUnknown, SymbolTemporary)
}
