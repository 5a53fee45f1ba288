package access

import (
	"os"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
)

func TestAccess(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		for _, line := range config {
			key, value, _ := strings.Cut(line, " ")
			switch key {
			case "mode":
				c.Mode = value
			case "sender_accept":
				c.SenderAccept = value
			case "clients":
				c.Clients = append(c.Clients, value)
			case "helo":
				c.Helo = append(c.Helo, value)
			case "senders":
				c.Senders = append(c.Senders, value)
			case "recipients":
				c.Recipients = append(c.Recipients, value)
			default:
				t.Fatalf("config %q", line)
			}
		}
		check, err := New(c)
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
	c := Config{
		Mode:         "loud",
		Clients:      []string{"192.0.2.1", "192.0.2.7/24 reject", "host.example reject", "::ffff:192.0.2.1 reject", "fe80::1%eth0 reject", "192.0.2.1 reject ok"},
		Helo:         []string{"a@b reject", "<> reject", "a b reject"},
		Senders:      []string{"a@b@c reject", "x reject a\x1bb", "x drop", "<a@b> reject", "a@b> reject", "x accept text", "x reject " + strings.Repeat("x", 301)},
		Recipients:   []string{"@x reject", ". reject", ""},
		SenderAccept: "",
	}
	want := []string{
		"mode:", "sender_accept:", "clients[0]:", "clients[1]:", "clients[2]:", "clients[3]:", "clients[4]:", "helo[0]:", "helo[1]:", "helo[2]:",
		"senders[0]:", "senders[1]:", "senders[2]:", "senders[3]:", "senders[4]:", "senders[5]:", "senders[6]:", "recipients[0]:", "recipients[1]:", "recipients[2]:",
	}
	errs := c.Validate()
	for i, err := range errs {
		if i >= len(want) || !strings.HasPrefix(err.Error(), want[i]) {
			t.Errorf("error %d: %v", i, err)
		}
		if strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("raw escape in %q", err)
		}
	}
	if len(errs) != len(want) {
		t.Errorf("%d errors, want %d", len(errs), len(want))
	}
	if _, err := New(c); err == nil {
		t.Error("New took it")
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{SymbolClient, SymbolHelo, SymbolSender, SymbolRecipient, "clients", "helo", "senders", "recipients", "sender_accept", "mode"} {
		if !strings.Contains(string(text), "`"+w+"`") {
			t.Errorf("README.md does not explain %s", w)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24 reject Not here", ".a.example defer", "<> reject", "u@ accept", `"a b"@c reject`, "bücher.example reject"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Default()
		for _, list := range []*[]string{&c.Clients, &c.Helo, &c.Senders, &c.Recipients} {
			*list = []string{s}
			for _, err := range c.Validate() {
				if strings.ContainsAny(err.Error(), "\x1b\r\n\x00") {
					t.Fatalf("raw octets in %q", err)
				}
			}
			*list = nil
		}
		c.Clients = []string{s}
		if len(c.Validate()) == 0 {
			if _, err := New(c); err != nil {
				t.Fatalf("%q is valid, but %v", s, err)
			}
		}
	})
}

// A pattern that looks right and never matches is a block that blocks nobody.
func TestNoWildcards(t *testing.T) {
	for _, list := range []func(*Config, string){
		func(c *Config, s string) { c.Senders = []string{s} },
		func(c *Config, s string) { c.Recipients = []string{s} },
		func(c *Config, s string) { c.Helo = []string{s} },
	} {
		for _, what := range []string{"*@spam.example", "@spam.example", "*.spam.example"} {
			c := Default()
			list(&c, what+" reject")
			errs := c.Validate()
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), `try "spam.example", or ".spam.example"`) {
				t.Errorf("%s: %v", what, errs)
			}
		}
	}
}
