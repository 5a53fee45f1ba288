package resolver

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Config is the [dns] table.
type Config struct {
	Servers      []string      `toml:"servers" doc:"DNS servers that do recursion, in the order of preference: \"127.0.0.1\", \"[::1]:5353\". Empty: those of /etc/resolv.conf. Best is one of your own on this machine (unbound): block lists refuse the big public ones."`
	Timeout      time.Duration `toml:"timeout" doc:"For one question to one server, before the next is asked."`
	Attempts     int           `toml:"attempts" doc:"Rounds over the list of servers when they are silent."`
	Budget       time.Duration `toml:"budget" doc:"For one look-up with all its repetitions; then it is a temporary failure, which refuses no mail."`
	CacheEntries int           `toml:"cache_entries" doc:"Answers kept in memory, of 512 octets each on average."`
	MinTTL       time.Duration `toml:"min_ttl" doc:"Answers are kept for at least so long, whatever their zone says: a zone with a TTL of 0 cannot make us ask for every mail."`
	MaxTTL       time.Duration `toml:"max_ttl" doc:"Answers are kept for at most so long."`
	NegativeTTL  time.Duration `toml:"negative_ttl" doc:"That there is no such record is kept for at most so long (RFC 2308); the zone may ask for less."`
	FailureTTL   time.Duration `toml:"failure_ttl" doc:"A failure is remembered so long before the same question is asked again, 1s to 30s."`
	Sockets      int           `toml:"sockets" doc:"UDP sockets for each server, each with a random port of its own, from which one is taken at random; they are changed after a few uses. At least 32."`
	MaxInFlight  int           `toml:"max_in_flight" doc:"Questions on their way at the same time; each has a socket."`
	BreakAfter   int           `toml:"break_after" doc:"After so many questions without an answer in a row a server is tried with one about the root; when that fails too, it is not asked for break_for."`
	BreakFor     time.Duration `toml:"break_for" doc:"How long a silent server is left alone before it is tried again. While all are silent, look-ups fail at once instead of holding mail up."`
}

// Default suits a resolver on the same machine or network.
func Default() Config {
	return Config{
		Servers: []string{}, Timeout: 1500 * time.Millisecond, Attempts: 2, Budget: 5 * time.Second,
		CacheEntries: 50_000, MinTTL: time.Minute, MaxTTL: time.Hour, NegativeTTL: 15 * time.Minute,
		FailureTTL: 10 * time.Second, Sockets: 64, MaxInFlight: 512, BreakAfter: 8, BreakFor: 10 * time.Second,
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	bad := func(key string, value any, text string) {
		errs = append(errs, fmt.Errorf("%s = %v: %s", key, value, text))
	}
	for i, s := range c.Servers {
		if _, err := parseServer(s); err != nil {
			errs = append(errs, fmt.Errorf("servers[%d]: %w", i, err))
		}
	}
	if len(c.Servers) > maxServers {
		bad("servers", fmt.Sprintf("%d entries", len(c.Servers)), fmt.Sprintf("at most %d", maxServers))
	}
	between := func(key string, v, low, high time.Duration) {
		if v < low || v > high {
			bad(key, v, fmt.Sprintf("must be from %s to %s", low, high))
		}
	}
	number := func(key string, v, low, high int) {
		if v < low || v > high {
			bad(key, v, fmt.Sprintf("must be from %d to %d", low, high))
		}
	}
	between("timeout", c.Timeout, 50*time.Millisecond, 30*time.Second)
	number("attempts", c.Attempts, 1, 5)
	between("budget", c.Budget, 50*time.Millisecond, time.Minute)
	if c.Budget < c.Timeout {
		bad("budget", c.Budget, "must not be shorter than timeout")
	}
	number("cache_entries", c.CacheEntries, 16, 10_000_000)
	between("min_ttl", c.MinTTL, 0, time.Hour)
	between("max_ttl", c.MaxTTL, time.Second, 7*24*time.Hour)
	if c.MaxTTL < c.MinTTL {
		bad("max_ttl", c.MaxTTL, "must not be less than min_ttl")
	}
	between("negative_ttl", c.NegativeTTL, 0, 24*time.Hour)
	between("failure_ttl", c.FailureTTL, time.Second, 30*time.Second)
	number("sockets", c.Sockets, 32, 1024)
	number("max_in_flight", c.MaxInFlight, 1, 16384)
	number("break_after", c.BreakAfter, 1, 1000)
	between("break_for", c.BreakFor, 100*time.Millisecond, 10*time.Minute)
	return errs
}

// maxServers bounds what one look-up may ask.
const maxServers = 8

// parseServer reads an address with or without a port.
func parseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 53), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address, as 127.0.0.1 or [::1]:5353", s)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// servers gives those of the configuration, else of resolv.conf(5), else the
// one of this machine, as that page says.
func servers(c Config, resolvConf string) ([]netip.AddrPort, error) {
	names := c.Servers
	if len(names) == 0 {
		cc, err := dns.ClientConfigFromFile(resolvConf)
		if err != nil || len(cc.Servers) == 0 {
			names = []string{"127.0.0.1"}
		} else {
			for _, s := range cc.Servers {
				if strings.Contains(s, ":") {
					s = "[" + s + "]"
				}
				names = append(names, s+":"+cc.Port)
			}
		}
	}
	var out []netip.AddrPort
	for i, s := range names {
		if i == maxServers {
			break
		}
		a, err := parseServer(s)
		if err != nil {
			return nil, fmt.Errorf("dns: servers[%s]: %w", strconv.Itoa(i), err)
		}
		out = append(out, a)
	}
	return out, nil
}
