package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	good := func() Config {
		c := Default()
		c.Mail = map[string]MailConfig{"ops": mailTo("smtp.example:587", "starttls", "ops@example.org")}
		c.Webhook = map[string]WebhookConfig{"t": {URL: "https://tickets.example/hook", Secret: testSecret, SeverityConfig: fromWarning()}}
		c.Exec = map[string]ExecConfig{"p": {Command: []string{"/usr/local/bin/pager", "now"}, SeverityConfig: fromWarning()}}
		c.Syslog = map[string]SyslogConfig{"s": DefaultSyslog()}
		c.Notify = map[string]NotifyConfig{"n": {URL: "telegram://token@telegram?chats=1", SeverityConfig: fromWarning()}}
		return c
	}
	if errs := good().Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := Default().Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	mail := func(change func(*MailConfig)) func(*Config) {
		return func(c *Config) { m := c.Mail["ops"]; change(&m); c.Mail["ops"] = m }
	}
	hook := func(url, secret string) func(*Config) {
		return func(c *Config) {
			c.Webhook["t"] = WebhookConfig{URL: url, Secret: secret, SeverityConfig: fromWarning()}
		}
	}
	for want, change := range map[string]func(*Config){
		"language = ":                           func(c *Config) { c.Language = "fr" },
		"hold_off = ":                           func(c *Config) { c.HoldOff = 0 },
		"after = ":                              func(c *Config) { c.After = -1 },
		"remind = ":                             func(c *Config) { c.Remind = time.Minute },
		"rate = ":                               func(c *Config) { c.Rate = 0 },
		"gather = ":                             func(c *Config) { c.Gather = 0 },
		"timeout = ":                            func(c *Config) { c.Timeout = time.Hour },
		"disk_free = ":                          func(c *Config) { c.DiskFree = 100 },
		"mail: the name ":                       func(c *Config) { c.Mail["Ops\x1b"] = c.Mail["ops"] },
		"mail.ops.server = ":                    mail(func(m *MailConfig) { m.Server = "smtp.example" }),
		"mail.ops.from = ":                      mail(func(m *MailConfig) { m.From = "x@example.org>\r\nRCPT TO:<y@z.example" }),
		"mail.ops.to: ":                         mail(func(m *MailConfig) { m.To = nil }),
		"mail.ops.to[0] = ":                     mail(func(m *MailConfig) { m.To = []string{"\"a b\"@example.org"} }),
		"mail.ops.tls = \"maybe\": must":        mail(func(m *MailConfig) { m.TLS = "maybe" }),
		"mail.ops.tls = \"none\": a password":   mail(func(m *MailConfig) { m.TLS, m.User, m.Password = "none", "u", "p" }),
		"mail.ops.user: ":                       mail(func(m *MailConfig) { m.Password = "p" }),
		"mail.ops.password: ":                   mail(func(m *MailConfig) { m.User = "p" }),
		"mail.ops.ca_file = ":                   mail(func(m *MailConfig) { m.CAFile = "/nonexistent" }),
		"mail.ops.severity = ":                  mail(func(m *MailConfig) { m.Severity = "" }),
		"webhook.t.endpoint: write https; http": hook("http://tickets.example/topsecret", testSecret),
		"webhook.t.endpoint: write an https":    hook("ftp://tickets.example/topsecret", testSecret),
		"webhook.t.endpoint: has a fragment":    hook("https://tickets.example/#topsecret", testSecret),
		"webhook.t.secret: ":                    hook("https://tickets.example/", "topsecret"),
		"exec.p.command: ":                      func(c *Config) { c.Exec["p"] = ExecConfig{Command: []string{"pager"}, SeverityConfig: fromWarning()} },
		"exec.p.command[1]: ": func(c *Config) {
			c.Exec["p"] = ExecConfig{Command: []string{"/p", "\x00"}, SeverityConfig: fromWarning()}
		},
		"syslog.s.address = \"udp://h\": ": func(c *Config) { c.Syslog["s"] = SyslogConfig{Address: "udp://h", SeverityConfig: fromWarning()} },
		"syslog.s.address = \"log\": ":     func(c *Config) { c.Syslog["s"] = SyslogConfig{Address: "log", SeverityConfig: fromWarning()} },
		"notify.n.service: shoutrrr has no service": func(c *Config) {
			c.Notify["n"] = NotifyConfig{URL: "nobody://topsecret", SeverityConfig: fromWarning()}
		},
	} {
		c := good()
		change(&c)
		errs := c.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) || strings.Contains(fmt.Sprint(errs), "topsecret") {
			t.Errorf("%q: %v", want, errs)
		}
	}
}

// TestKeys: keys whose effect is in the book; the tests of channels show
// theirs.
func TestKeys(t *testing.T) {
	for key, play := range map[string]func(c *Config, set bool) string{
		"hold_off": func(c *Config, set bool) string {
			if set {
				c.HoldOff = time.Minute
			}
			b := newBook(*c, "h")
			b.raise(start(), hopDown(Warning))
			b.resolve(start(), "next-hop/mail")
			return told(b.raise(start().Add(2*time.Minute), hopDown(Warning)))
		},
		"remind": func(c *Config, set bool) string {
			if set {
				c.Remind = 2 * time.Hour
			}
			b := newBook(*c, "h")
			b.raise(start(), hopDown(Critical))
			return told(b.tick(start().Add(3 * time.Hour)))
		},
		"escalate_after": func(c *Config, set bool) string {
			if set {
				c.EscalateAfter = 0
			}
			b := newBook(*c, "h")
			b.raise(start(), hopDown(Warning))
			return told(b.tick(start().Add(5 * time.Hour)))
		},
		"rate": func(c *Config, set bool) string {
			if set {
				c.Rate = 1
			}
			b := newBook(*c, "h")
			b.raise(start(), hopDown(Warning))
			return told(b.raise(start(), Alert{Key: "b"}))
		},
		"gather": func(c *Config, set bool) string {
			c.Rate = 1
			if set {
				c.Gather = time.Hour
			}
			b := newBook(*c, "h")
			b.raise(start(), hopDown(Warning))
			b.raise(start(), Alert{Key: "b"})
			return told(b.tick(start().Add(15 * time.Minute)))
		},
		"language": func(c *Config, set bool) string {
			if set {
				c.Language = "es"
			}
			return body(sampleNotice(), c.Language)
		},
	} {
		without, with := Default(), Default()
		if a, b := play(&without, false), play(&with, true); a == b {
			t.Errorf("%s changes nothing: %q", key, a)
		}
	}
}

// TestTimeout: alert.timeout bounds one attempt.
func TestTimeout(t *testing.T) {
	c := Default()
	c.Timeout = 50 * time.Millisecond
	c.Exec = map[string]ExecConfig{"slow": {Command: []string{script(t, "exec sleep 1000")}}}
	k := newKit(t, c, nil)
	got, err := k.Test(t.Context(), "exec.slow", "root")
	if err != nil || len(got) != 1 || got[0].Error != "it did not end in time and was killed" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestSeverity: each channel is told from its own severity on.
func TestSeverity(t *testing.T) {
	c := Default()
	s := SeverityConfig{Severity: "critical"}
	mail := mailTo("127.0.0.1:1", "none", "ops@example.org")
	mail.SeverityConfig = s
	c.Mail = map[string]MailConfig{"a": mail}
	c.Webhook = map[string]WebhookConfig{"a": {URL: "https://127.0.0.1:1/", Secret: testSecret, SeverityConfig: s}}
	c.Exec = map[string]ExecConfig{"a": {Command: []string{"/bin/false"}, SeverityConfig: s}}
	c.Syslog = map[string]SyslogConfig{"a": {Address: "/nonexistent", SeverityConfig: s}}
	c.Notify = map[string]NotifyConfig{"a": {URL: "ntfy://127.0.0.1/x", SeverityConfig: s}}
	if errs := c.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	k := newKit(t, c, nil)
	// Nobody delivers here; what has been given to a worker waits in its queue
	// or was tried.
	k.Raise(Alert{Key: "a", Severity: Warning})
	for name, w := range k.workers {
		if _, ok := w.head(); ok || w.least != Critical {
			t.Errorf("%s was told of a warning", name)
		}
	}
	if len(k.workers) != 5 {
		t.Errorf("%d channels", len(k.workers))
	}
	if d := DefaultMail(); d.least() != Warning {
		t.Errorf("%v", d.least())
	}
}
