package conduct

import (
	"fmt"
	"net/netip"
	"time"

	"garita/smtpproxy"
)

// Config is the [conduct] table.
type Config struct {
	Mode              string         `toml:"mode" enum:"off,observe,enforce" doc:"enforce: who does too much is told to come back (4xx, never 5xx). observe: it is counted and logged, nobody is refused. off: nothing is counted, and bans do not hold."`
	Connections       int            `toml:"connections" doc:"Connections a minute from one client: an IPv4 address or an IPv6 /64. Trusted peers are not counted here or below. A large provider sends from many addresses and reuses connections; two a second from one address is no mail server's habit. 0 is off."`
	Handshakes        int            `toml:"handshakes" doc:"TLS handshakes a minute from one client; each costs us about a millisecond. Usually one for each connection. 0 is off."`
	Messages          int            `toml:"messages" doc:"Messages (MAIL commands) a minute from one client. A mailing list's server may well send five a second. 0 is off."`
	Recipients        int            `toml:"recipients" doc:"Recipients (RCPT commands) a minute from one client: messages times what a list addresses in each. 0 is off."`
	AuthFailures      int            `toml:"auth_failures" doc:"Wrong passwords a minute from one client. An office behind one address has a telephone or two with an old password. 0 is off."`
	UnknownRecipients int            `toml:"unknown_recipients" doc:"Recipients a minute that do not exist (550 5.1.1) from one client; more is a harvest of addresses. An old mailing list has some. 0 is off."`
	Junk              int            `toml:"junk" doc:"Abuses of the protocol a minute from one client: another protocol on the mail port, talking out of turn, too many errors. 0 is off."`
	Exempt            []netip.Prefix `toml:"exempt" doc:"Clients that are never counted, refused or banned: a second MX, a monitor, an office with many people behind one address. This machine never is."`
	BanAfter          int            `toml:"ban_after" doc:"Points within ban_window that ban a client: a wrong password is 1, an unknown recipient over the limit 1, an abuse of the protocol 2. 0: nobody is banned but by garita ban add."`
	BanWindow         time.Duration  `toml:"ban_window" doc:"How long a point counts."`
	BanFor            time.Duration  `toml:"ban_for" doc:"Length of a first ban. Each further one within 30 days is twice as long, up to ban_max."`
	BanMax            time.Duration  `toml:"ban_max" doc:"Longest ban that Garita makes by itself. The owner of an address changes: keep it to days."`
	OnError           string         `toml:"on_error" enum:"continue,defer" doc:"When the store cannot be asked: continue (mail goes on, without limits; bans hold) or defer (4xx)."`
}

// Default gives limits that no mail server of good will meets.
func Default() Config {
	return Config{
		Mode: "enforce", Connections: 120, Handshakes: 120, Messages: 300, Recipients: 1000,
		AuthFailures: 10, UnknownRecipients: 30, Junk: 10,
		BanAfter: 30, BanWindow: 10 * time.Minute, BanFor: 10 * time.Minute, BanMax: 24 * time.Hour,
		OnError: "continue",
	}
}

// longest bounds spans of time: more is a mistake in the unit.
const longest = 366 * 24 * time.Hour

// Validate gives every mistake at once.
func (c Config) Validate() []error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if c.Mode != "off" && c.Mode != "observe" && c.Mode != "enforce" {
		add("mode = %q: must be off, observe or enforce", c.Mode)
	}
	if c.OnError != "continue" && c.OnError != "defer" {
		add("on_error = %q: must be continue or defer", c.OnError)
	}
	for _, n := range []struct {
		key string
		n   int
	}{{"connections", c.Connections}, {"handshakes", c.Handshakes}, {"messages", c.Messages}, {"recipients", c.Recipients},
		{"auth_failures", c.AuthFailures}, {"unknown_recipients", c.UnknownRecipients}, {"junk", c.Junk}, {"ban_after", c.BanAfter}} {
		if n.n < 0 {
			add("%s = %d: cannot be below 0; 0 is off", n.key, n.n)
		}
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"ban_window", c.BanWindow}, {"ban_for", c.BanFor}, {"ban_max", c.BanMax}} {
		if d.d < time.Second || d.d > longest {
			add("%s = %s: must be from 1s to a year; ban_after = 0 turns bans off", d.key, d.d)
		}
	}
	if c.BanFor > c.BanMax {
		add("ban_for = %s: is longer than ban_max = %s", c.BanFor, c.BanMax)
	}
	for i, p := range c.Exempt {
		switch {
		case !p.IsValid():
			add("exempt[%d]: is not an address or network", i)
		case p.Bits() == 0:
			add("exempt[%d] = %s: exempts everybody; mode = \"off\" says that plainly", i, p)
		case p.Addr().Is4In6():
			add("exempt[%d] = %s: an IPv4 address in IPv6 form never matches; write the IPv4 network", i, p)
		}
	}
	return bad
}

// limit is what may be done in a minute.
func (c *Config) limit(act smtpproxy.Act) int {
	switch act {
	case smtpproxy.ActConnection:
		return c.Connections
	case smtpproxy.ActHandshake:
		return c.Handshakes
	case smtpproxy.ActMessage:
		return c.Messages
	case smtpproxy.ActRecipient:
		return c.Recipients
	case smtpproxy.ActAuthFailure:
		return c.AuthFailures
	case smtpproxy.ActUnknownRecipient:
		return c.UnknownRecipients
	case smtpproxy.ActJunk:
		return c.Junk
	}
	return 0
}

// acts is how many acts there are, with the zero that is none.
const acts = int(smtpproxy.ActJunk) + 1

// label is the configuration's key of an act, and its label in metrics.
func label(act smtpproxy.Act) string {
	return [acts]string{"", "connections", "handshakes", "messages", "recipients", "auth_failures", "unknown_recipients", "junk"}[act]
}

// words says an act to a reader of the log.
func words(act smtpproxy.Act) string {
	return [acts]string{"", "connections", "TLS handshakes", "messages", "recipients", "wrong passwords", "unknown recipients", "abuse of the protocol"}[act]
}
