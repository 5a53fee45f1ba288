package main

import (
	"fmt"
	"time"

	"garita/accounts"
	"garita/alert"
	"garita/conduct"
	"garita/dnsbl"
	"garita/filters"
	"garita/filters/all"
	"garita/hold"
	"garita/identity"
	"garita/mail"
	"garita/maillog"
	"garita/message"
	"garita/metrics"
	"garita/milterd"
	"garita/policyd"
	"garita/resolver"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/routing"
	"garita/tls"
)

const defaultConfig = "/etc/garita/config.toml"

// Settings is the whole of config.toml: the tags are its keys and comments.
type Settings struct {
	Hostname string `toml:"hostname" required:"true" doc:"The full name of this gateway, as the greeting, Received fields and log lines give it. It should be what the reverse DNS of its address says."`
	Mode     string `toml:"mode" enum:"enforce,observe" doc:"enforce: checks decide. observe: checks only say in the log what they would have done, and mail passes. Relay permission, limits and protocol rules hold in both."`
	StateDir string `toml:"state_dir" doc:"Folder for what the gateway keeps: spool files, a self-made certificate. It is made when it is missing."`

	TLS    tls.Config       `toml:"tls" doc:"The certificate that listeners show at STARTTLS."`
	Limits smtpproxy.Limits `toml:"limits" doc:"Bounds that protect the machine and every other client, common to all listeners."`
	Log    maillog.Config   `toml:"log" doc:"Where the mail log goes and in which form."`
	Admin  AdminSettings    `toml:"admin" doc:"The local socket of garita reload, status and health."`

	DNS   resolver.Config `toml:"dns" doc:"The name servers that checks ask, and that clients get their names from. servers = [\"off\"] turns it off. Next hops are looked up as every program of this machine does (hosts file, resolv.conf)."`
	Users accounts.Config `toml:"users" doc:"Who may log in at listeners with auth = true."`

	Identity identity.Config `toml:"identity" doc:"Who sends: limits and suspensions are about this user (docs/limits.md)."`

	Conduct conduct.Config `toml:"conduct" doc:"How much a client may do in a minute, and who is banned for how long. Trusted peers are not counted."`
	Store   StoreSettings  `toml:"store" doc:"What is remembered from one session to the next: counters, bans, greylist triplets, suspended users."`
	Hold    hold.Config    `toml:"hold" doc:"The holding place: where mail is kept that a check quarantines, until garita hold release or delete."`
	Policyd policyd.Config `toml:"policyd" doc:"The policy server for Postfix, in the place of postgrey (docs/policyd.md)."`
	Metrics metrics.Config `toml:"metrics" doc:"Figures for Prometheus and health checks, by HTTP."`
	Milter  milterd.Config `toml:"milter" doc:"A door for an MTA that asks us about each message before it takes it: see docs/milter.md."`
	Alert   alert.Config   `toml:"alert" doc:"Who is told when something is wrong, and how. garita alert test tries it."`
	Route   routing.Config `toml:"route" doc:"Where mail goes by its recipient or sender, aliases, and which recipients exist."`

	RBL dnsbl.OwnConfig `toml:"rbl" doc:"How your own addresses and domains stand on DNS lists: asked regularly, told when it changes (garita rbl)."`

	Listener map[string]smtpproxy.ListenerConfig `toml:"listener" example:"inbound" doc:"One table for each thing that mail comes in by. The name is yours and stands in the log."`
	NextHop  map[string]relay.Config             `toml:"next_hop" example:"inbound" doc:"One table for each server that mail goes to."`

	MIME  MIMESettings  `toml:"mime" doc:"How far the inside of a message is taken apart, and with how much memory. What passes a bound is judged as unfinished (check.mime.unfinished), never as clean."`
	Score ScoreSettings `toml:"score" doc:"What the scores of all checks together lead to, where no check has a verdict of its own."`
	Check all.Config    `toml:"check" doc:"What is looked at, and how much each check may do."`

	// read is what check has made of the files that tables name; see lists.go.
	read readLists
	// steady is the clock of the store's counters; nil: the system's. The demo
	// has one of its own.
	steady func() time.Duration
}

// AdminSettings is the [admin] table.
type AdminSettings struct {
	Socket string `toml:"socket" doc:"Path of the socket, at most 107 bytes. Its folder decides who may give commands: user and group of the gateway."`
}

// MIMESettings is the [mime] table.
type MIMESettings struct {
	Depth   int   `toml:"depth" doc:"Multiparts and messages inside each other."`
	Parts   int   `toml:"parts" doc:"Parts of one message, in all its readings."`
	Fields  int   `toml:"fields" doc:"Header fields of one part."`
	Decoded int64 `toml:"decoded" unit:"bytes" doc:"Octets of all decoded parts of one message."`
	Memory  int64 `toml:"memory" unit:"bytes" doc:"Memory for the insides of all messages that are looked at at once; more messages wait in line, small ones in a line of their own."`
}

// limits are the bounds of one index.
func (m MIMESettings) limits() message.IndexLimits {
	l := message.DefaultIndexLimits()
	l.Depth, l.Parts, l.Fields, l.Decoded = m.Depth, m.Parts, m.Fields, m.Decoded
	return l
}

// Validate gives every mistake, each naming its key.
func (m MIMESettings) Validate() (errs []error) {
	for _, b := range []struct {
		key             string
		value, min, max int64
	}{
		{"depth", int64(m.Depth), 1, 100},
		{"parts", int64(m.Parts), 1, 100_000},
		{"fields", int64(m.Fields), 10, 10_000},
		{"decoded", m.Decoded, 1 << 20, 4 << 30},
		{"memory", m.Memory, 16 << 20, 1 << 40},
	} {
		if b.value < b.min || b.value > b.max {
			errs = append(errs, fmt.Errorf("%s = %d: must be from %d to %d", b.key, b.value, b.min, b.max))
		}
	}
	return errs
}

func defaultMIME() MIMESettings {
	l := message.DefaultIndexLimits()
	return MIMESettings{Depth: l.Depth, Parts: l.Parts, Fields: l.Fields, Decoded: l.Decoded, Memory: 256 << 20}
}

// ScoreSettings is the [score] table.
type ScoreSettings struct {
	Inbound  filters.Thresholds `toml:"inbound" doc:"Mail to our domains."`
	Outbound filters.Thresholds `toml:"outbound" doc:"Mail that our users send."`
}

func (s ScoreSettings) thresholds() map[mail.Direction]filters.Thresholds {
	return map[mail.Direction]filters.Thresholds{mail.In: s.Inbound, mail.Out: s.Outbound}
}

func defaultScore() ScoreSettings {
	d := filters.DefaultThresholds()
	return ScoreSettings{Inbound: d[mail.In], Outbound: d[mail.Out]}
}

// defaults are the settings of an empty file.
func defaults() Settings {
	return Settings{
		Mode:     "enforce",
		StateDir: "/var/lib/garita",
		TLS:      tls.Default(),
		Limits:   smtpproxy.DefaultLimits(),
		Log:      maillog.Default(),
		Admin:    AdminSettings{Socket: "/run/garita/admin.sock"},
		DNS:      resolver.Default(),
		Users:    accounts.Default(),
		Identity: identity.Default(),
		Conduct:  conduct.Default(),
		Store:    defaultStore(),
		Hold:     hold.Default(),
		Policyd:  policyd.Default(),
		Metrics:  metrics.Default(),
		Milter:   milterd.Default(),
		Alert:    alert.Default(),
		Route:    routing.Default(),
		RBL:      dnsbl.DefaultOwn(),
		MIME:     defaultMIME(),
		Score:    defaultScore(),
		Check:    all.Default(),
	}
}
