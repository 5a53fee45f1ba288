package main

import (
	"garita/accounts"
	"garita/conduct"
	"garita/filters/all"
	"garita/maillog"
	"garita/metrics"
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

	Conduct conduct.Config `toml:"conduct" doc:"How much a client may do in a minute, and who is banned for how long. Trusted peers are not counted."`
	Metrics metrics.Config `toml:"metrics" doc:"Figures for Prometheus and health checks, by HTTP."`
	Route   routing.Config `toml:"route" doc:"Where mail goes by its recipient or sender, aliases, and which recipients exist."`

	Listener map[string]smtpproxy.ListenerConfig `toml:"listener" example:"inbound" doc:"One table for each thing that mail comes in by. The name is yours and stands in the log."`
	NextHop  map[string]relay.Config             `toml:"next_hop" example:"inbound" doc:"One table for each server that mail goes to."`

	Check all.Config `toml:"check" doc:"What is looked at, and how much each check may do."`

	// read is what check has made of the files that tables name; see lists.go.
	read readLists
}

// AdminSettings is the [admin] table.
type AdminSettings struct {
	Socket string `toml:"socket" doc:"Path of the socket, at most 107 bytes. Its folder decides who may give commands: user and group of the gateway."`
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
		Conduct:  conduct.Default(),
		Metrics:  metrics.Default(),
		Route:    routing.Default(),
		Check:    all.Default(),
	}
}
