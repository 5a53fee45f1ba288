package smtpproxy

import (
	"net/netip"
	"time"
)

// ListenerConfig is one [listener.NAME] table. The struct tags are the keys,
// the comments of config.toml and the text of `garita config explain`.
type ListenerConfig struct {
	Role            string         `toml:"role" doc:"inbound (the Internet, for relay_domains only), outbound (trusted_networks, to anywhere) or content-filter (an MTA hands mail over and gets it back at next_hop)."`
	Listen          []string       `toml:"listen" doc:"Addresses and ports to listen on: \"0.0.0.0:25\", \"[::]:25\", \"127.0.0.1:10024\"."`
	NextHop         string         `toml:"next_hop" doc:"Name of the [next_hop.NAME] table that accepted mail goes to."`
	RelayDomains    []string       `toml:"relay_domains" doc:"inbound only: the domains that we take mail for. Mail to any other domain is refused. Sub-domains count only when they are listed."`
	TrustedNetworks []netip.Prefix `toml:"trusted_networks" doc:"outbound and content-filter: who may use the listener, as addresses or CIDR. Never 0.0.0.0/0."`
	Postmaster      string         `toml:"postmaster" doc:"Where <postmaster> without a domain goes. Empty: postmaster@ the first relay domain, or postmaster@ hostname."`
	ImplicitTLS     bool           `toml:"implicit_tls" doc:"TLS from the first octet (port 465, RFC 8314) instead of STARTTLS."`
	Auth            bool           `toml:"auth" doc:"outbound only: offer AUTH PLAIN and LOGIN under TLS, against [users]. Who has logged in may send to anywhere."`
	ClientCerts     []string       `toml:"client_certificates" doc:"outbound only: SHA-256 fingerprints of client certificates whose holders may use the listener, as openssl x509 -fingerprint -sha256 prints them."`
	ClientCAFile    string         `toml:"client_ca_file" doc:"outbound only: PEM file of the authorities whose client certificates may use the listener. Name your own authority, never a public one: every certificate of it is let in."`
	ProxyFrom       []netip.Prefix `toml:"proxy_from" doc:"Load balancers that begin each connection with a PROXY header (v1 or v2). With this key set the listener takes connections from them alone, and each must have the header. They must not be in trusted_networks."`
	XClientFrom     []netip.Prefix `toml:"xclient_from" doc:"Peers that may say by XCLIENT who their client is; access control then looks at that client. Trust is looked up anew for it."`
	GreetDelay      time.Duration  `toml:"greet_delay" doc:"Let clients without a confirmed host name wait so long for the greeting; who talks before it is refused (554 5.5.0). 0s is off. Never for trusted peers."`
	STARTTLS        bool           `toml:"starttls" doc:"Offer STARTTLS with the [tls] certificate."`
	RequireTLS      bool           `toml:"require_tls" doc:"Refuse MAIL in clear text (530 5.7.0). Leave it off on a public MX: RFC 3207 section 4."`
	Chunking        bool           `toml:"chunking" doc:"Announce CHUNKING (BDAT, RFC 3030)."`
	XForward        bool           `toml:"xforward" doc:"content-filter and outbound: take XFORWARD from trusted_networks, for the log alone; it never earns trust."`
	BareLF          string         `toml:"bare_lf" doc:"A line feed without carriage return inside a message: normalise (to CR LF) or reject. Only CR LF . CR LF ends a message, either way."`
	BareCR          string         `toml:"bare_cr" doc:"A carriage return without line feed inside a message: normalise (to a space) or reject. In the content-filter role normalise is the default."`
	NUL             string         `toml:"nul" doc:"A NUL octet inside a message: normalise (to a space) or reject. It is never removed silently."`
	MaxMessageSize  int64          `toml:"max_message_size" unit:"bytes" doc:"Largest message; exactly this size passes. The next hop's own limit counts too: the smaller one is announced."`
	RejectAs        string         `toml:"reject_as" doc:"What a reject of a check becomes: reject or hold. A 5xx in the content-filter role makes the MTA bounce to a forged sender, so hold is the default there; without a holding place hold is answered 451."`
	ReplyTimeout    time.Duration  `toml:"reply_timeout" doc:"From the client's final dot to our reply, at most; too little left means 451 and nothing sent."`
}

// Limits is the [limits] table: bounds that protect the machine and every
// other client, common to all listeners.
type Limits struct {
	MaxConnections          int           `toml:"max_connections" doc:"Sessions at once, all listeners together. One fifth is kept for outbound and content-filter peers."`
	MaxConnectionsPerClient int           `toml:"max_connections_per_client" doc:"Sessions at once from one IPv4 address or one IPv6 /64. Trusted networks are not counted."`
	CommandLength           int           `toml:"command_length" doc:"Longest command line in octets, with its CR LF. Longer: 500 and the connection is closed."`
	MaxRecipients           int           `toml:"max_recipients" doc:"Recipients of one message; more get 452 4.5.3 and come back. RFC 5321 asks for at least 100."`
	SoftErrors              int           `toml:"soft_errors" doc:"After so many errors in a session each further error costs a second. Not for trusted networks."`
	HardErrors              int           `toml:"hard_errors" doc:"After so many errors the session is closed with 421. Not for trusted networks."`
	JunkCommands            int           `toml:"junk_commands" doc:"NOOP, RSET, VRFY, HELP and EHLO beyond this number between two messages count as errors. Not for trusted networks."`
	CommandTimeout          time.Duration `toml:"command_timeout" doc:"For a whole command line to arrive, however slowly its octets drip."`
	DataTimeout             time.Duration `toml:"data_timeout" doc:"Longest silence inside a message."`
	MinDataRate             int64         `toml:"min_data_rate" unit:"bytes" doc:"Octets a second that a message must arrive with, on average, after the first minute. More is asked of large messages: half an hour is enough for the SIZE that was announced, so that 25 MB need 14 KB a second."`
	MessageMemory           int64         `toml:"message_memory" unit:"bytes" doc:"A message larger than this goes to a spool file."`
	MessagesMemory          int64         `toml:"messages_memory" unit:"bytes" doc:"Memory of all messages together; beyond it they go to spool files."`
	MessagesTotal           int64         `toml:"messages_total" unit:"bytes" doc:"Memory and spool files of all messages together; over it DATA is answered 452 before the message is sent. One fifth is kept for outbound and content-filter peers."`
	FreeDisk                int64         `toml:"free_disk" unit:"bytes" doc:"Free space that must stay in the spool folder's file system; below it MAIL is answered 452."`
	MaxHops                 int           `toml:"max_hops" doc:"Received fields of a message before it is refused as a loop (554 5.4.6)."`
}

// DefaultLimits are safe for a machine of one or two gigabytes.
func DefaultLimits() Limits {
	return Limits{
		MaxConnections:          1000,
		MaxConnectionsPerClient: 50,
		CommandLength:           2048,
		MaxRecipients:           1000,
		SoftErrors:              10,
		HardErrors:              20,
		JunkCommands:            100,
		CommandTimeout:          5 * time.Minute,
		DataTimeout:             3 * time.Minute,
		MinDataRate:             500,
		MessageMemory:           2 << 20,
		MessagesMemory:          128 << 20,
		MessagesTotal:           2 << 30,
		FreeDisk:                256 << 20,
		MaxHops:                 50,
	}
}

// DefaultListener gives the defaults of a listener with that role.
func DefaultListener(role string) ListenerConfig {
	c := ListenerConfig{
		Role:           role,
		STARTTLS:       true,
		Chunking:       true,
		BareLF:         "normalise",
		BareCR:         "reject",
		NUL:            "reject",
		MaxMessageSize: 25 << 20,
		RejectAs:       "reject",
		ReplyTimeout:   240 * time.Second,
	}
	if role == "content-filter" {
		// The MTA has taken the message already: a refusal for its line ends
		// would make it bounce to a sender who may be forged.
		c.BareCR, c.NUL = "normalise", "normalise"
		c.STARTTLS = false
		c.XForward = true
		c.RejectAs = "hold"
		c.ReplyTimeout = 540 * time.Second
	}
	return c
}
