package relay

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// Config is one [next_hop.NAME] table.
type Config struct {
	URL            string        `toml:"url" doc:"smtp://host:port of the next hop. The port is always written; no MX look-up is made, so mail cannot come back by way of the MX."`
	TLS            string        `toml:"tls" doc:"none; may (STARTTLS when offered, any certificate); encrypt (required, any certificate); verify (required, certificate valid for the host). encrypt and verify never fall back to clear text."`
	CAFile         string        `toml:"ca_file" doc:"PEM file of the authorities that verify trusts; empty for the system's."`
	XForward       bool          `toml:"xforward" doc:"Tell the next hop the client's address by XFORWARD when it offers it (smtpd_authorized_xforward_hosts)."`
	MaxConnections int           `toml:"max_connections" doc:"Connections at once to this next hop; keep it below the next hop's own process limit. One fifth is kept for outbound and content-filter mail."`
	WaitBudget     time.Duration `toml:"wait_budget" doc:"How long a message waits for a free connection before it is answered 451."`
	IdleTimeout    time.Duration `toml:"idle_timeout" doc:"An unused connection is closed after this time."`
	MaxUses        int           `toml:"max_uses" doc:"Messages over one connection before it is closed."`
	ConnectTimeout time.Duration `toml:"connect_timeout" doc:"For the TCP connection and, again, for the greeting."`
	CommandTimeout time.Duration `toml:"command_timeout" doc:"For each reply to EHLO, STARTTLS, XFORWARD, MAIL, RCPT and DATA."`
	DataTimeout    time.Duration `toml:"data_timeout" doc:"For each block of a message to be taken."`
	FinalTimeout   time.Duration `toml:"final_timeout" doc:"For the reply to the final dot. After it the outcome is unknown: the client is told 451, and a duplicate is possible."`
	ShowReplies    bool          `toml:"show_replies" doc:"Pass the next hop's own text and queue id on to the client; off says only the code and a general text."`
}

// DefaultConfig gives the defaults; the URL has none.
func DefaultConfig() Config {
	return Config{
		TLS:            "may",
		XForward:       true,
		MaxConnections: 20,
		WaitBudget:     30 * time.Second,
		IdleTimeout:    30 * time.Second,
		MaxUses:        1000,
		ConnectTimeout: 10 * time.Second,
		CommandTimeout: 60 * time.Second,
		DataTimeout:    60 * time.Second,
		FinalTimeout:   200 * time.Second,
		ShowReplies:    true,
	}
}

// Validate gives every error of the table at once; each names key and value
// and says how to mend it.
func (c Config) Validate() []error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if _, _, err := splitURL(c.URL); err != nil {
		errs = append(errs, err)
	}
	switch c.TLS {
	case "none", "may", "encrypt", "verify":
	default:
		bad("tls = %q: write none, may, encrypt or verify", c.TLS)
	}
	if c.CAFile != "" && c.TLS != "verify" && c.TLS != "encrypt" && c.TLS != "may" {
		bad("ca_file = %q has no use with tls = %q: remove it, or set tls = \"verify\"", c.CAFile, c.TLS)
	}
	if c.MaxConnections < 1 || c.MaxConnections > 10_000 {
		bad("max_connections = %d: write a number from 1 to 10000", c.MaxConnections)
	}
	if c.MaxUses < 1 {
		bad("max_uses = %d: write 1 for a connection per message, or more", c.MaxUses)
	}
	for _, d := range []struct {
		key       string
		v         time.Duration
		low, high time.Duration
	}{
		{"wait_budget", c.WaitBudget, 0, 5 * time.Minute},
		{"idle_timeout", c.IdleTimeout, time.Millisecond, time.Hour},
		{"connect_timeout", c.ConnectTimeout, time.Millisecond, 5 * time.Minute},
		{"command_timeout", c.CommandTimeout, time.Millisecond, 10 * time.Minute},
		{"data_timeout", c.DataTimeout, time.Millisecond, 10 * time.Minute},
		{"final_timeout", c.FinalTimeout, time.Millisecond, 20 * time.Minute},
	} {
		if d.v < d.low || d.v > d.high {
			bad("%s = %q: write a time from %s to %s", d.key, d.v, d.low, d.high)
		}
	}
	return errs
}

// splitURL takes smtp://host:port apart. The port is never guessed.
func splitURL(s string) (host string, port uint16, err error) {
	const mend = "write it as \"smtp://host:port\", such as \"smtp://127.0.0.1:10025\""
	if s == "" {
		return "", 0, fmt.Errorf("url is missing: %s", mend)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "smtp" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.Opaque != "" {
		return "", 0, fmt.Errorf("url = %q: %s", s, mend)
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("url = %q has no port from 1 to 65535: %s", s, mend)
	}
	host = u.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() || a.IsMulticast() {
			return "", 0, fmt.Errorf("url = %q: %s is not the address of a server: %s", s, host, mend)
		}
	} else if !soundHost(host) {
		return "", 0, fmt.Errorf("url = %q: %q is no host name or address: %s", s, host, mend)
	}
	return host, uint16(n), nil
}
