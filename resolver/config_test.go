package resolver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Errorf("default: %v", errs)
	}
	for key, change := range map[string]func(c *Config){
		"servers[1]":    func(c *Config) { c.Servers = []string{"127.0.0.1", "dns.example"} },
		"servers[0]":    func(c *Config) { c.Servers = []string{"127.0.0.1:0"} },
		"servers":       func(c *Config) { c.Servers = strings.Fields(strings.Repeat("127.0.0.1 ", 9)) },
		"timeout":       func(c *Config) { c.Timeout = 0 },
		"attempts":      func(c *Config) { c.Attempts = 0 },
		"budget":        func(c *Config) { c.Budget = time.Second },
		"cache_entries": func(c *Config) { c.CacheEntries = 1 },
		"min_ttl":       func(c *Config) { c.MinTTL = -1 },
		"max_ttl":       func(c *Config) { c.MaxTTL = 2 * time.Second },
		"negative_ttl":  func(c *Config) { c.NegativeTTL = 48 * time.Hour },
		"failure_ttl":   func(c *Config) { c.FailureTTL = time.Minute },
		"sockets":       func(c *Config) { c.Sockets = 31 },
		"max_in_flight": func(c *Config) { c.MaxInFlight = 0 },
		"break_after":   func(c *Config) { c.BreakAfter = 0 },
		"break_for":     func(c *Config) { c.BreakFor = 0 },
	} {
		c := Default()
		change(&c)
		errs := c.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), key+" = ") && !strings.HasPrefix(errs[0].Error(), key+": ") {
			t.Errorf("%s: %v", key, errs)
		}
		if _, err := New(Options{Config: c}); err == nil {
			t.Errorf("%s: New took it", key)
		}
	}
}

func TestServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("# x\nsearch our.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions ndots:5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		list []string
		file string
		want string
	}{
		{nil, file, "192.0.2.53:53 [2001:db8::53]:53"},
		{nil, file + ".none", "127.0.0.1:53"},
		{[]string{"192.0.2.1", "::1", "[::1]", "[::1]:5353", "127.0.0.1:54"}, file, "192.0.2.1:53 [::1]:53 [::1]:53 [::1]:5353 127.0.0.1:54"},
	} {
		c := Default()
		c.Servers = tc.list
		d, err := New(Options{Config: c, ResolvConf: tc.file})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range d.Stats().Servers {
			got = append(got, s.Addr.String())
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
		d.Close()
	}
}
