package helo

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
)

var site = filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Addresses: []string{"203.0.113.5", "0.0.0.0"}}

func TestHelo(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		c.Mode = "enforce"
		for _, line := range config {
			key, value, _ := strings.Cut(line, " ")
			switch key {
			case "mode":
				c.Mode = value
			case "own_names":
				c.OwnNames = append(c.OwnNames, value)
			default:
				t.Fatalf("config %q", line)
			}
		}
		check, err := New(c, site)
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Errorf("default: %v", errs)
	}
	errs := Config{Mode: "x", OwnNames: []string{"ok.example", "a b"}}.Validate()
	if len(errs) != 2 || !strings.HasPrefix(errs[0].Error(), "mode:") || !strings.HasPrefix(errs[1].Error(), "own_names[1]:") {
		t.Errorf("%v", errs)
	}
	if _, err := New(Config{Mode: "x"}, site); err == nil {
		t.Error("New took it")
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{SymbolSyntax, SymbolOwnName, SymbolOwnAddress, SymbolBareIP, SymbolLiteral, SymbolNotFQDN, "mode", "own_names"} {
		if !strings.Contains(string(text), "`"+w+"`") {
			t.Errorf("README.md does not explain %s", w)
		}
	}
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
