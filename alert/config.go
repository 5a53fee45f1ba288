package alert

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"garita/mail"
)

// Config is the [alert] table.
type Config struct {
	Enabled       bool          `toml:"enabled" doc:"Watch the gateway and tell what is wrong: always in the mail log, and on the channels below."`
	Language      string        `toml:"language" enum:"both,en,es" doc:"Of notices: en, es, or both."`
	After         time.Duration `toml:"after" doc:"How long something must be wrong before it is told: a restart of clamd is no alert."`
	HoldOff       time.Duration `toml:"hold_off" doc:"The same alert is told again no sooner than this after it was told last, unless it has become worse."`
	Remind        time.Duration `toml:"remind" doc:"An alert that stays open and that nobody has acknowledged is told again after this time. 0: never."`
	EscalateAfter time.Duration `toml:"escalate_after" doc:"A warning that stays open and that nobody has acknowledged becomes critical after this time. 0: never."`
	Rate          int           `toml:"rate" doc:"Notices an hour, all together. What is more is gathered into one."`
	Gather        time.Duration `toml:"gather" doc:"How long notices beyond rate are gathered before they go out as one."`
	Timeout       time.Duration `toml:"timeout" doc:"For one attempt of a channel."`
	HoldAge       time.Duration `toml:"hold_age" doc:"A message that is held for longer than this is an alert. 0: never."`
	DiskFree      int           `toml:"disk_free" doc:"Percent of the file system of state_dir: less that is free is a warning, less than half of it critical. 0: never."`

	Mail    map[string]MailConfig    `toml:"mail" example:"ops" doc:"One table for each group of people that gets mail. It goes to a server of its own: the next hop may be what is down."`
	Webhook map[string]WebhookConfig `toml:"webhook" example:"tickets" doc:"One table for each address that gets JSON by POST, signed; see docs/alerts.md."`
	Exec    map[string]ExecConfig    `toml:"exec" example:"pager" doc:"One table for each program that is run, with the alert as JSON on its standard input. There is no shell."`
	Syslog  map[string]SyslogConfig  `toml:"syslog" example:"siem" doc:"One table for each syslog that gets alerts beside the mail log."`
	Notify  map[string]NotifyConfig  `toml:"notify" example:"chat" doc:"One table for each chat or push service, by a URL of shoutrrr: Telegram, Slack, Teams, Matrix, ntfy, PagerDuty and others."`
}

// MailConfig is one [alert.mail.NAME] table.
type MailConfig struct {
	Server         string   `toml:"server" required:"true" doc:"host:port of an SMTP server other than the next hop, as \"smtp.provider.example:587\"."`
	From           string   `toml:"from" required:"true" doc:"Address in the From field. The reverse-path is null, so that a bounce cannot come back."`
	To             []string `toml:"to" doc:"Addresses that get it."`
	TLS            string   `toml:"tls" enum:"starttls,implicit,none" doc:"starttls: required; implicit: from the first octet (port 465); none: clear text, for this machine. The certificate must be valid for the host."`
	CAFile         string   `toml:"ca_file" doc:"PEM file of the authorities to trust; empty for the system's."`
	User           string   `toml:"user" doc:"Name for AUTH PLAIN; empty for none."`
	Password       string   `toml:"password" secret:"true" doc:"Password for AUTH."`
	SeverityConfig          // severity
}

// WebhookConfig is one [alert.webhook.NAME] table.
type WebhookConfig struct {
	URL            string `toml:"endpoint" secret:"true" doc:"https:// address; http:// only to this machine itself. Redirects are not followed."`
	Secret         string `toml:"secret" secret:"true" doc:"Key of the signature in X-Garita-Signature, at least 16 octets."`
	SeverityConfig        // severity
}

// ExecConfig is one [alert.exec.NAME] table.
type ExecConfig struct {
	Command        []string `toml:"command" doc:"The program by its whole path, and its arguments."`
	SeverityConfig          // severity
}

// SyslogConfig is one [alert.syslog.NAME] table.
type SyslogConfig struct {
	Address        string `toml:"address" doc:"Path of a socket, as /dev/log, or udp://host:port or tcp://host:port."`
	SeverityConfig        // severity
}

// NotifyConfig is one [alert.notify.NAME] table.
type NotifyConfig struct {
	URL            string `toml:"service" secret:"true" doc:"URL of the service, as \"ntfy://ntfy.example/topic\"; it holds its password. See docs/alerts.md."`
	SeverityConfig        // severity
}

// SeverityConfig is what every channel has.
type SeverityConfig struct {
	Severity string `toml:"severity" enum:"info,warning,critical" doc:"The least severity that it is told."`
}

// Default gives the defaults of the [alert] table: the log alone is told.
func Default() Config {
	return Config{
		Enabled: true, Language: "both", After: time.Minute, HoldOff: time.Hour, Remind: 24 * time.Hour, EscalateAfter: 4 * time.Hour,
		Rate: 20, Gather: 10 * time.Minute, Timeout: 30 * time.Second, HoldAge: 72 * time.Hour, DiskFree: 10,
	}
}

// The defaults of one channel of each kind.
func DefaultMail() MailConfig       { return MailConfig{TLS: "starttls", SeverityConfig: fromWarning()} }
func DefaultWebhook() WebhookConfig { return WebhookConfig{SeverityConfig: fromWarning()} }
func DefaultExec() ExecConfig       { return ExecConfig{SeverityConfig: fromWarning()} }
func DefaultSyslog() SyslogConfig {
	return SyslogConfig{Address: "/dev/log", SeverityConfig: fromWarning()}
}
func DefaultNotify() NotifyConfig { return NotifyConfig{SeverityConfig: fromWarning()} }

func fromWarning() SeverityConfig { return SeverityConfig{Severity: "warning"} }

const (
	maxChannels = 50 // of one kind
	maxTo       = 100
	minSecret   = 16
	maxRate     = 10_000
	longest     = 366 * 24 * time.Hour
)

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains([]string{"both", "en", "es"}, c.Language) {
		bad("language = %q: must be both, en or es", c.Language)
	}
	for _, d := range []struct {
		key      string
		v        time.Duration
		min, max time.Duration
	}{
		{"after", c.After, 0, 24 * time.Hour},
		{"hold_off", c.HoldOff, time.Minute, longest},
		{"remind", c.Remind, 0, longest},
		{"escalate_after", c.EscalateAfter, 0, longest},
		{"gather", c.Gather, time.Second, 24 * time.Hour},
		{"timeout", c.Timeout, time.Second, 50 * time.Second},
		{"hold_age", c.HoldAge, 0, longest},
	} {
		if d.v < d.min || d.v > d.max {
			bad("%s = %v: must be from %v to %v", d.key, d.v, d.min, d.max)
		}
	}
	if c.Remind > 0 && c.Remind < c.HoldOff {
		bad("remind = %v: must not be less than hold_off (%v)", c.Remind, c.HoldOff)
	}
	if c.Rate < 1 || c.Rate > maxRate {
		bad("rate = %d: must be from 1 to %d", c.Rate, maxRate)
	}
	if c.DiskFree < 0 || c.DiskFree > 90 {
		bad("disk_free = %d: must be from 0 to 90", c.DiskFree)
	}
	errs = append(errs, validateEach("mail", c.Mail)...)
	errs = append(errs, validateEach("webhook", c.Webhook)...)
	errs = append(errs, validateEach("exec", c.Exec)...)
	errs = append(errs, validateEach("syslog", c.Syslog)...)
	errs = append(errs, validateEach("notify", c.Notify)...)
	return errs
}

func validateEach[T interface{ validate(func(string, ...any)) }](kind string, m map[string]T) (errs []error) {
	if len(m) > maxChannels {
		errs = append(errs, fmt.Errorf("%s: has more than %d tables", kind, maxChannels))
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !validName(name) {
			errs = append(errs, fmt.Errorf("%s: the name %.40q must be 1 to 32 of a-z, 0-9, - and _", kind, name))
			continue
		}
		m[name].validate(func(format string, args ...any) {
			errs = append(errs, fmt.Errorf(kind+"."+name+"."+format, args...))
		})
	}
	return errs
}

// validName keeps names what a label, an argument and a key may be.
func validName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 32
}

func (c SeverityConfig) severity(bad func(string, ...any)) {
	if _, ok := parseSeverity(c.Severity); !ok {
		bad("severity = %q: must be info, warning or critical", c.Severity)
	}
}

func (c SeverityConfig) least() Severity {
	s, _ := parseSeverity(c.Severity)
	return s
}

func (c MailConfig) validate(bad func(string, ...any)) {
	c.severity(bad)
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || host == "" || port == "" {
		bad("server = %q: write host:port", c.Server)
	}
	if !validAddress(c.From) {
		bad("from = %q: is no address", c.From)
	}
	if len(c.To) == 0 || len(c.To) > maxTo {
		bad("to: must be 1 to %d addresses", maxTo)
	}
	for i, a := range c.To[:min(len(c.To), maxTo)] {
		if !validAddress(a) {
			bad("to[%d] = %q: is no address", i, a)
		}
	}
	if !slices.Contains([]string{"starttls", "implicit", "none"}, c.TLS) {
		bad("tls = %q: must be starttls, implicit or none", c.TLS)
	}
	switch {
	case c.User == "" && c.Password != "":
		bad("user: is missing beside the password")
	case c.User != "" && c.Password == "":
		bad("password: is missing beside the user")
	case c.User != "" && c.TLS == "none" && err == nil && !isLoopback(host):
		bad("tls = %q: a password would cross the network in clear text; use starttls or implicit", c.TLS)
	}
	if c.CAFile != "" {
		if _, err := pool(c.CAFile); err != nil {
			bad("ca_file = %q: %w", c.CAFile, err)
		}
	}
}

// validAddress takes plain ASCII addresses: what is written into commands and
// header fields has no quotes and no spaces.
func validAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(s) > 254 || strings.ContainsAny(s, "\"\\<>()[],;: ") || !mail.ValidDomain(domain, false) {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isLoopback tells that a host can be nobody but this machine.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || err != nil && strings.EqualFold(host, "localhost")
}

func (c WebhookConfig) validate(bad func(string, ...any)) {
	c.severity(bad)
	// Not a word of the URL in the text: its path is often a secret.
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		bad("endpoint: write an https:// address")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		bad("endpoint: write https; http is for this machine only")
	case u.Fragment != "":
		bad("endpoint: has a fragment, which is never sent")
	}
	if len(c.Secret) < minSecret {
		bad("secret: must have at least %d octets; make one with: openssl rand -hex 32", minSecret)
	}
}

func (c ExecConfig) validate(bad func(string, ...any)) {
	c.severity(bad)
	if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
		bad("command: must begin with the whole path of a program")
	}
	for i, a := range c.Command {
		if strings.ContainsRune(a, 0) {
			bad("command[%d]: holds a NUL", i)
		}
	}
}

func (c SyslogConfig) validate(bad func(string, ...any)) {
	c.severity(bad)
	if _, _, err := c.target(); err != nil {
		bad("address = %q: %w", c.Address, err)
	}
}

func (c NotifyConfig) validate(bad func(string, ...any)) {
	c.severity(bad)
	if scheme, ok := serviceOf(c.URL); !ok {
		bad("service: shoutrrr has no service %.20q; it has %s", scheme, strings.Join(services(), ", "))
	}
}
