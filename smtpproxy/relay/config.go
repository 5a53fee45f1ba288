package relay

import "time"

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
