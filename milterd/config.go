package milterd

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the table [milter].
type Config struct {
	Enabled         bool           `toml:"enabled" doc:"Be a milter of Postfix, Zimbra or Sendmail (smtpd_milters, zimbraMtaSmtpdMilters)."`
	Listen          []string       `toml:"listen" doc:"Where: address with port, or unix: and the path of a socket."`
	Clients         []netip.Prefix `toml:"clients" doc:"The MTAs that may connect over TCP. Whoever may can say anything about anybody: who the client is, and who has logged in."`
	SocketMode      string         `toml:"socket_mode" doc:"Permissions of a unix socket, octal. Postfix connects as its user postfix."`
	TrustedNetworks []netip.Prefix `toml:"trusted_networks" doc:"Clients of the MTA whose mail is outbound, as mail of users who logged in at the MTA always is. All other mail is inbound. Empty: only users who logged in."`
	Quarantine      string         `toml:"quarantine" doc:"Where a message goes that is to be held: mta (Postfix's hold queue; see postqueue, postsuper -H) or own (our holding place; the MTA is told to discard it, and only after it is durably here)."`
	ReleaseTo       string         `toml:"release_to" doc:"Name of the [next_hop.NAME] that mail goes to which is released from our own holding place. It must not lead back to this milter, or the mail is held again."`
	BodyEdits       string         `toml:"body_edits" doc:"Where checks want the body changed (disarm, body rules): replace it at the MTA, or reject the message."`
	MaxConnections  int            `toml:"max_connections" doc:"Connections at once. Postfix has one for each smtpd process that serves a client; beyond the bound its milter_default_action counts."`
	MaxMessageSize  int64          `toml:"max_message_size" unit:"bytes" doc:"Largest message; larger ones are refused (552). The MTA's own limit should be the smaller one."`
	CommandTimeout  time.Duration  `toml:"command_timeout" doc:"For our answer to each step before the message. Keep it below Postfix's milter_command_timeout (30s)."`
	ReplyTimeout    time.Duration  `toml:"reply_timeout" doc:"For our answer to a message. Keep it below Postfix's milter_content_timeout (300s)."`
	IdleTimeout     time.Duration  `toml:"idle_timeout" doc:"A connection on which the MTA says nothing for so long is closed. Postfix is silent while its client sends a message."`
}

// Default is off.
func Default() Config {
	return Config{
		Listen: []string{"127.0.0.1:8446"}, SocketMode: "0660",
		Clients:    []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Quarantine: "mta", BodyEdits: "replace", MaxConnections: 500, MaxMessageSize: 50 << 20,
		CommandTimeout: 20 * time.Second, ReplyTimeout: 240 * time.Second, IdleTimeout: time.Hour,
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Enabled && len(c.Listen) == 0 {
		bad(`listen: is empty: write an address such as "127.0.0.1:8446"`)
	}
	for i, l := range c.Listen {
		if _, _, err := Address(l); err != nil {
			bad("listen = %q: %w", l, err)
		} else if slices.Contains(c.Listen[:i], l) {
			bad("listen = %q: stands there twice", l)
		}
	}
	if c.Enabled && len(c.Clients) == 0 {
		bad("clients: is empty: name the addresses of your MTAs, or nobody could connect over TCP")
	}
	for _, one := range []struct {
		key  string
		nets []netip.Prefix
	}{{"clients", c.Clients}, {"trusted_networks", c.TrustedNetworks}} {
		for _, n := range one.nets {
			if n.Bits() == 0 {
				bad("%s = %s: that is everybody: name your own networks", one.key, n)
			}
		}
	}
	if _, err := strconv.ParseUint(c.SocketMode, 8, 9); err != nil {
		bad(`socket_mode = %q: must be octal permissions such as "0660"`, c.SocketMode)
	}
	if c.Quarantine != "mta" && c.Quarantine != "own" {
		bad("quarantine = %q: must be mta or own", c.Quarantine)
	}
	if c.BodyEdits != "replace" && c.BodyEdits != "reject" {
		bad("body_edits = %q: must be replace or reject", c.BodyEdits)
	}
	if c.MaxConnections < 1 || c.MaxConnections > 100_000 {
		bad("max_connections = %d: must be from 1 to 100000", c.MaxConnections)
	}
	if c.MaxMessageSize < 64<<10 || c.MaxMessageSize > 2<<30 {
		bad("max_message_size = %d: must lie between 64KB and 2GB", c.MaxMessageSize)
	}
	for _, one := range []struct {
		key             string
		value, min, max time.Duration
	}{
		{"command_timeout", c.CommandTimeout, time.Second, 10 * time.Minute},
		{"reply_timeout", c.ReplyTimeout, 10 * time.Second, 10 * time.Minute},
		{"idle_timeout", c.IdleTimeout, time.Minute, 24 * time.Hour},
	} {
		if one.value < one.min || one.value > one.max {
			bad("%s = %s: must be from %s to %s", one.key, one.value, one.min, one.max)
		}
	}
	return errs
}

// Address reads one entry of listen: "unix" and a path, or "tcp" and an
// address with a port.
func Address(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) || len(path) > 107 {
			return "", "", fmt.Errorf("a socket needs an absolute path of at most 107 bytes")
		}
		return "unix", path, nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return "", "", fmt.Errorf(`is not an address with a port ("127.0.0.1:8446") nor unix: and a path`)
	}
	return "tcp", a.String(), nil
}

func contains(nets []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(a) })
}
