package relay

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Config is one [next_hop.NAME] table.
type Config struct {
	URL          string   `toml:"url" doc:"smtp://host:port of the next hop; smtps://host:port for TLS from the first octet; lmtp://host:port; lmtp+unix:///path or smtp+unix:///path for a unix socket. The port is always written; no MX look-up is made, so mail cannot come back by way of the MX. Over LMTP each recipient is a transaction of its own, since it has an answer of its own."`
	FallbackURLs []string `toml:"fallback_urls" doc:"Further servers for the same mail, tried in this order when the one before cannot be reached or does not greet. Such a server is set aside for 5 seconds, growing to 5 minutes, and tried again in the background. All speak the protocol of url."`
	Balance      string   `toml:"balance" enum:"order,round-robin" doc:"order: url as long as it answers, then the fallbacks; round-robin: all of them in turn."`

	TLS                   string   `toml:"tls" doc:"none; may (STARTTLS when offered, any certificate); encrypt (required, any certificate); verify (required, certificate valid for the host); fingerprint (required, certificate listed in fingerprints). encrypt, verify and fingerprint never fall back to clear text."`
	CAFile                string   `toml:"ca_file" doc:"PEM file of the authorities that verify trusts; empty for the system's."`
	TLSServerName         string   `toml:"tls_server_name" doc:"Name that the certificate must have and that is sent as SNI; empty for the host in the URL."`
	Fingerprints          []string `toml:"fingerprints" doc:"For tls = \"fingerprint\": SHA-256 of the certificate or of its public key, 64 hexadecimal digits, colons allowed (openssl x509 -noout -fingerprint -sha256)."`
	ClientCertificateFile string   `toml:"client_certificate_file" doc:"PEM file of the certificate that we show to the next hop."`
	ClientKeyFile         string   `toml:"client_key_file" doc:"PEM file of its private key, which nobody else may read."`

	Login          string `toml:"login" doc:"Name for AUTH (PLAIN, else LOGIN) at the next hop; empty for none."`
	Password       string `toml:"password" secret:"true" doc:"Password for AUTH."`
	AuthWithoutTLS bool   `toml:"auth_without_tls" doc:"Send the password in clear text to a next hop that is not this machine. Whoever listens on the way has it then."`

	XForward bool `toml:"xforward" doc:"Tell the next hop the client's address by XFORWARD when it offers it (smtpd_authorized_xforward_hosts)."`
	XClient  bool `toml:"xclient" doc:"Let the next hop treat us as the client, by XCLIENT when it offers it (smtpd_authorized_xclient_hosts). Every client session has a connection of its own then. Goes before xforward. A Postfix with inet_protocols = ipv4 refuses IPv6 clients, which are then answered 451."`

	MaxConnections int           `toml:"max_connections" doc:"Connections at once to this next hop; keep it below the next hop's own process limit. One fifth is kept for outbound and content-filter mail."`
	WaitBudget     time.Duration `toml:"wait_budget" doc:"How long a message waits for a free connection before it is answered 451."`
	IdleTimeout    time.Duration `toml:"idle_timeout" doc:"An unused connection is closed after this time."`
	MaxUses        int           `toml:"max_uses" doc:"Messages over one connection before it is closed."`
	ConnectTimeout time.Duration `toml:"connect_timeout" doc:"For the TCP connection and, again, for the greeting, and for the TLS of smtps before it."`
	CommandTimeout time.Duration `toml:"command_timeout" doc:"For each reply to EHLO, STARTTLS, AUTH, XCLIENT, XFORWARD, MAIL, RCPT and DATA."`
	DataTimeout    time.Duration `toml:"data_timeout" doc:"For each block of a message to be taken."`
	FinalTimeout   time.Duration `toml:"final_timeout" doc:"For the reply to the final dot. After it the outcome is unknown: the client is told 451, and a duplicate is possible."`
	ShowReplies    bool          `toml:"show_replies" doc:"Pass the next hop's own text and queue id on to the client; off says only the code and a general text."`
}

// maxHosts bounds the servers of one next hop: the first message that finds
// all of them dead waits for each.
const maxHosts = 8

// DefaultConfig gives the defaults; the URL has none.
func DefaultConfig() Config {
	return Config{
		Balance:        "order",
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

// Equal tells that two tables say the same: a next hop with its pooled
// connections is then taken over by a reload.
func (c Config) Equal(o Config) bool { return reflect.DeepEqual(c, o) }

// URLs are all servers, the first first.
func (c Config) URLs() []string { return append([]string{c.URL}, c.FallbackURLs...) }

// Format keeps the password out of everything that is printed.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	p := plain(c)
	if p.Password != "" {
		p.Password = "(hidden)"
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// Validate gives every error of the table at once; each names key and value
// and says how to mend it.
func (c Config) Validate() []error {
	v := &validation{}
	targets := v.targets(c)
	v.tls(c, targets)
	v.auth(c, targets)
	v.numbers(c)
	return v.errs
}

type validation struct{ errs []error }

func (v *validation) bad(format string, a ...any) { v.errs = append(v.errs, fmt.Errorf(format, a...)) }

// targets gives those servers that can be read.
func (v *validation) targets(c Config) []target {
	var list []target
	seen := map[string]bool{}
	for i, s := range c.URLs() {
		key := "url"
		if i > 0 {
			key = "fallback_urls"
		}
		t, err := parseURL(key, s)
		if err != nil {
			v.errs = append(v.errs, err)
			continue
		}
		if seen[t.String()] {
			v.bad("%s = %q is named twice: remove one", key, s)
		}
		seen[t.String()] = true
		if len(list) > 0 && list[0].lmtp != t.lmtp {
			v.bad("%s = %q: SMTP and LMTP in one next hop: write all with the protocol of url", key, s)
		}
		list = append(list, t)
	}
	if len(c.FallbackURLs) >= maxHosts {
		v.bad("fallback_urls has %d servers: write at most %d", len(c.FallbackURLs), maxHosts-1)
	}
	if c.Balance != "order" && c.Balance != "round-robin" {
		v.bad("balance = %q: write order or round-robin", c.Balance)
	}
	return list
}

func (v *validation) tls(c Config, targets []target) {
	must := false
	switch c.TLS {
	case "none", "may":
	case "encrypt", "verify", "fingerprint":
		must = true
	default:
		v.bad("tls = %q: write none, may, encrypt, verify or fingerprint", c.TLS)
		return
	}
	for _, t := range targets {
		if t.implicit && c.TLS == "none" {
			v.bad("tls = %q with %q, which is TLS from the first octet: write smtp://, or tls = \"verify\"", c.TLS, t)
		}
		if t.path != "" && must {
			v.bad("tls = %q has no use with %q, which does not leave this machine: set tls = \"none\"", c.TLS, t)
		}
	}
	if c.TLS == "none" {
		for _, k := range []struct{ key, value string }{
			{"ca_file", c.CAFile}, {"tls_server_name", c.TLSServerName}, {"client_certificate_file", c.ClientCertificateFile},
		} {
			if k.value != "" {
				v.bad("%s = %q has no use with tls = \"none\": remove it, or set tls = \"verify\"", k.key, k.value)
			}
		}
	}
	if s := c.TLSServerName; s != "" && !soundHost(s) {
		if _, err := netip.ParseAddr(s); err != nil {
			v.bad("tls_server_name = %q is no host name: write the name in the certificate, as \"mail.example.org\"", s)
		}
	}
	for _, s := range c.Fingerprints {
		if _, err := parseFingerprint(s); err != nil {
			v.bad("fingerprints: %q is no SHA-256: write its 64 hexadecimal digits, with or without colons", s)
		}
	}
	if (c.TLS == "fingerprint") != (len(c.Fingerprints) > 0) {
		v.bad("tls = %q and %d fingerprints: write tls = \"fingerprint\" together with at least one fingerprint", c.TLS, len(c.Fingerprints))
	}
	if (c.ClientCertificateFile == "") != (c.ClientKeyFile == "") {
		v.bad("client_certificate_file and client_key_file belong together: set both or neither")
	}
}

func (v *validation) auth(c Config, targets []target) {
	if (c.Login == "") != (c.Password == "") {
		v.bad("login and password belong together: set both (password_file reads it from a file) or neither")
	}
	if c.Login == "" {
		return
	}
	// RFC 4616 section 2: NUL parts the fields of PLAIN.
	if strings.ContainsAny(c.Login, "\x00\r\n") || len(c.Login) > maxCredential {
		v.bad("login: write at most %d octets without NUL and line ends", maxCredential)
	}
	if strings.ContainsAny(c.Password, "\x00\r\n") || len(c.Password) > maxCredential {
		v.bad("password: write at most %d octets without NUL and line ends", maxCredential)
	}
	if c.XClient {
		v.bad("xclient = true with login: a server that lets us speak for clients knows us by our address: remove login, or set xclient = false")
	}
	for _, t := range targets {
		if (c.TLS == "may" || c.TLS == "none") && !t.implicit && !t.local() && !c.AuthWithoutTLS {
			v.bad("login: the password would go to %q with tls = %q: set tls = \"verify\"", t, c.TLS)
		}
	}
}

func (v *validation) numbers(c Config) {
	if c.MaxConnections < 1 || c.MaxConnections > 10_000 {
		v.bad("max_connections = %d: write a number from 1 to 10000", c.MaxConnections)
	}
	if c.MaxUses < 1 {
		v.bad("max_uses = %d: write 1 for a connection per message, or more", c.MaxUses)
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
			v.bad("%s = %q: write a time from %s to %s", d.key, d.v, d.low, d.high)
		}
	}
}
