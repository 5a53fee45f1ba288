package sender

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/resolver"
)

func TestSender(t *testing.T) {
	filtertest.RunDNS(t, "testdata/*.txt", func(t *testing.T, config []string, r resolver.Resolver) filters.Check {
		c := Default()
		for _, line := range config {
			set(t, &c, line)
		}
		check, err := New(c, filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Addresses: []string{"203.0.113.5"}, Resolver: r})
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
	for _, line := range []string{"mode loud", "fqdn loud", "fqdn_score 1000", "unknown_domain loud", "unknown_domain_score -1000", "null_mx loud", "null_mx_score 1000",
		"bad_mx loud", "bad_mx_score 1000", "reply no"} {
		c := Default()
		set(t, &c, line)
		key, _, _ := strings.Cut(line, " ")
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), key) {
			t.Errorf("%s: %v", line, errs)
		}
		if _, err := New(c, filters.Site{}); err == nil {
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
	words := []string{SymbolNotFQDN, SymbolUnknown, SymbolNullMX, SymbolBadMX, SymbolTemporary}
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
