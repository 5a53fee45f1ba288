package helo

import (
	"net/netip"
	"os"
	"reflect"
	"strconv"
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
		c := Default()
		for _, line := range config {
			set(t, &c, line)
		}
		own := site
		own.Resolver = r
		check, err := New(c, own)
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

// set sets a key of the configuration.
func set(t *testing.T, c *Config, line string) {
	t.Helper()
	key, value, _ := strings.Cut(line, " ")
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") != key {
			continue
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(value)
		case reflect.Float64:
			x, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			f.SetFloat(x)
		default:
			f.Set(reflect.Append(f, reflect.ValueOf(value)))
		}
		return
	}
	t.Fatalf("no key %q", key)
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Errorf("default: %v", errs)
	}
	lines := []string{"mode loud", "own_names a b"}
	for key := range Default().parts() {
		lines = append(lines, key+" loud", key+"_score 1000")
	}
	for _, line := range lines {
		c := Default()
		set(t, &c, line)
		key, _, _ := strings.Cut(line, " ")
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), key) {
			t.Errorf("%s: %v", line, errs)
		}
		if _, err := New(c, site); err == nil {
			t.Errorf("%s: New took it", line)
		}
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := []string{SymbolTemporary}
	for _, p := range Default().parts() {
		words = append(words, p.Symbol)
	}
	typ := reflect.TypeFor[Config]()
	for i := range typ.NumField() {
		words = append(words, typ.Field(i).Tag.Get("toml"))
	}
	for _, w := range words {
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
