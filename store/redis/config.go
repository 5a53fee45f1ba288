package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config is the section store.redis.
type Config struct {
	Mode             string        `toml:"mode" enum:"single,sentinel,cluster" doc:"single (one server), sentinel, or cluster."`
	URL              string        `toml:"server" secret:"true" doc:"redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS; of Sentinel the address of one Sentinel, of a cluster that of one node. "`
	Nodes            []string      `toml:"nodes" doc:"Further Sentinels or nodes as host:port, which have the same user and password."`
	Master           string        `toml:"master" doc:"Name by which Sentinel knows the master."`
	SentinelPassword string        `toml:"sentinel_password" secret:"true" doc:"Password of the Sentinels themselves, when they have one."`
	CAFile           string        `toml:"ca_file" doc:"Certificates of the authorities that rediss:// trusts, in PEM; empty: those of the system."`
	Prefix           string        `toml:"prefix" doc:"What our keys begin with. All gateways that share their state have the same."`
	Timeout          time.Duration `toml:"timeout" doc:"How long a call may take; after the first that takes longer the gateway goes on by itself, until the server answers again."`
}

// Default is one server on this machine.
func Default() Config {
	return Config{Mode: "single", URL: "redis://127.0.0.1:6379/0", Nodes: []string{}, Prefix: "garita:", Timeout: 50 * time.Millisecond}
}

const (
	minTimeout = 5 * time.Millisecond
	maxTimeout = 2 * time.Second
	maxPrefix  = 64
	maxNodes   = 64
	// connections to each node: an act holds one for its round trip only.
	connections = 64
)

// Validate finds what cannot work. No error shows the URL.
func (c Config) Validate() []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	opt, err := goredis.ParseURL(c.URL)
	switch {
	case err != nil:
		// The library's text may show the URL, and with it the password.
		add("server: it cannot be read; write redis://USER:PASSWORD@HOST:PORT/DATABASE or rediss://…")
	case opt.Network != "tcp":
		add("server: only redis:// and rediss:// are understood")
	case c.Mode == "cluster" && opt.DB != 0:
		add("server: a cluster has only database 0; leave the number out")
	}
	switch c.Mode {
	case "single":
		if len(c.Nodes) > 0 {
			add("nodes: mode = \"single\" has one server; set mode to sentinel or cluster, or leave nodes empty")
		}
	case "sentinel":
		if c.Master == "" {
			add("master: Sentinel needs the master's name; it is the word after \"sentinel monitor\" in sentinel.conf")
		}
	case "cluster":
	default:
		add("mode = %q: set single, sentinel or cluster", c.Mode)
	}
	if c.Mode != "sentinel" && (c.Master != "" || c.SentinelPassword != "") {
		add("master: only mode = \"sentinel\" has one; leave master and sentinel_password empty")
	}
	if len(c.Nodes) > maxNodes {
		add("nodes: more than %d; some are enough, the others are found by them", maxNodes)
	}
	for _, n := range c.Nodes {
		host, port, err := net.SplitHostPort(n)
		if p, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || p < 1 || p > 65535 {
			add("nodes = %q: write host:port", n)
		}
	}
	if c.Prefix == "" || len(c.Prefix) > maxPrefix || !plain(c.Prefix) {
		add("prefix = %q: 1 to %d letters, digits, and any of : . _ -", c.Prefix, maxPrefix)
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		add("timeout = %s: set %s to %s", c.Timeout, minTimeout, maxTimeout)
	}
	return errs
}

// plain has no braces, which would be the hash tag, and nothing that MATCH
// takes for a pattern.
func plain(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == ':', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}

// universal is the client's form of it.
func (c Config) universal() (*goredis.UniversalOptions, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("store.redis.%w", errs[0])
	}
	o, err := goredis.ParseURL(c.URL)
	if err != nil {
		return nil, errors.New("store.redis.server: it cannot be read")
	}
	if o.TLSConfig != nil {
		// Each node is known by its own name, which the dialer fills in.
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.CAFile != "" {
			pem, err := os.ReadFile(c.CAFile)
			if err != nil {
				return nil, fmt.Errorf("store.redis.ca_file: %w", err)
			}
			o.TLSConfig.RootCAs = x509.NewCertPool()
			if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("store.redis.ca_file = %q: no certificate is in it", c.CAFile)
			}
		}
	}
	return &goredis.UniversalOptions{
		Addrs: append([]string{o.Addr}, c.Nodes...), DB: o.DB, Username: o.Username, Password: o.Password,
		MasterName: c.Master, SentinelPassword: c.SentinelPassword, IsClusterMode: c.Mode == "cluster", TLSConfig: o.TLSConfig,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		// A call that failed may have counted: it is never sent twice.
		MaxRetries: -1, MaxRedirects: 2, DialerRetries: 1,
		ContextTimeoutEnabled: true, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		// Connecting goes on in the background when the call has given up.
		DialTimeout: max(10*c.Timeout, 500*time.Millisecond),
		PoolSize:    connections, PipelinePoolSize: -1,
	}, nil
}
