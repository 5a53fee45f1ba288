package relay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	tests := []struct {
		change func(*Config)
		want   []string // parts of the messages; none: valid
	}{
		{func(c *Config) {}, nil},
		{func(c *Config) { c.URL = "smtp://[::1]:10025" }, nil},
		{func(c *Config) { c.URL = "smtp://mail-1.example.org:25" }, nil},
		{func(c *Config) { c.URL = "" }, []string{"url is missing", "smtp://host:port"}},
		{func(c *Config) { c.URL = "smtp://host" }, []string{"no port"}},
		{func(c *Config) { c.URL = "smtp://host:0" }, []string{"no port"}},
		{func(c *Config) { c.URL = "smtp://host:70000" }, []string{"70000"}},
		{func(c *Config) { c.URL = "host:25" }, []string{"smtp://host:port"}},
		{func(c *Config) { c.URL = "smtp://user:secret@host:25" }, []string{"smtp://host:port"}},
		{func(c *Config) { c.URL = "smtp://host:25/path" }, []string{"smtp://host:port"}},
		{func(c *Config) { c.URL = "smtp://0.0.0.0:25" }, []string{"not the address of a server"}},
		{func(c *Config) { c.URL = "smtp://ho_st-:25" }, []string{"no host name"}},
		{func(c *Config) { c.TLS = "yes"; c.MaxConnections = 0; c.MaxUses = 0; c.FinalTimeout = 0 },
			[]string{`tls = "yes"`, "none, may, encrypt, verify or fingerprint", "max_connections = 0", "max_uses = 0", "final_timeout"}},
		{func(c *Config) { c.TLS = "none"; c.CAFile = "x.pem" }, []string{"ca_file"}},
		{func(c *Config) { c.WaitBudget = -time.Second }, []string{"wait_budget"}},
	}
	for _, tt := range tests {
		c := DefaultConfig()
		c.URL = "smtp://127.0.0.1:10025"
		tt.change(&c)
		errs := c.Validate()
		text := ""
		if err := errors.Join(errs...); err != nil {
			text = err.Error()
		}
		if (text == "") != (tt.want == nil) {
			t.Errorf("%+v: %q", c, text)
		}
		for _, w := range tt.want {
			if !strings.Contains(text, w) {
				t.Errorf("%q lacks %q", text, w)
			}
		}
		if _, err := New(Options{Name: "n", Config: c, Hostname: "gw.example"}); tt.want != nil && err == nil {
			t.Errorf("New took %+v", c)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	c := DefaultConfig()
	c.URL = "smtp://127.0.0.1:10025"
	for _, name := range []string{"", "a b", "gw\r\nMAIL", "-x"} {
		if _, err := New(Options{Name: "n", Config: c, Hostname: name}); err == nil {
			t.Errorf("hostname %q was taken", name)
		}
	}
	for _, name := range []string{"gw.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "localhost"} {
		if _, err := New(Options{Name: "n", Config: c, Hostname: name}); err != nil {
			t.Errorf("hostname %q: %v", name, err)
		}
	}
	c.TLS, c.CAFile = "verify", filepath.Join(t.TempDir(), "ca.pem")
	if _, err := New(Options{Name: "n", Config: c, Hostname: "gw.example"}); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("missing ca_file: %v", err)
	}
	os.WriteFile(c.CAFile, []byte("no PEM"), 0o600)
	if _, err := New(Options{Name: "n", Config: c, Hostname: "gw.example"}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("empty ca_file: %v", err)
	}
}
