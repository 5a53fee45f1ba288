package spamassassin

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
)

// Config is the table [check.spamassassin].
type Config struct {
	Mode          string        `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce. off: there may be no spamd."`
	Servers       []string      `toml:"servers" doc:"spamd of SpamAssassin, asked in this order until one answers: host:port or unix:/path."`
	User          string        `toml:"user" doc:"The user whose preferences spamd takes. Empty: those of spamd itself."`
	Timeout       time.Duration `toml:"timeout" doc:"For the answer, all servers together. SpamAssassin takes seconds where its rules ask the network."`
	MaxSize       int64         `toml:"max_size" unit:"bytes" doc:"A larger message is not sent to spamd (spamassassin.too_large in the log): its time grows faster than the message."`
	OnError       string        `toml:"on_error" enum:"continue,defer" doc:"When no server answers: continue without it, or defer the message."`
	Received      bool          `toml:"received" doc:"Send a Return-Path and a Received field in front of the message, so that SpamAssassin's rules about the client and the envelope work. They do not go to the next hop."`
	Factor        float64       `toml:"factor" doc:"The score times this counts among our points. 0: not at all. Below 1, since SpamAssassin looks at much that other checks have points for."`
	Tag           float64       `toml:"tag" doc:"From this score of SpamAssassin on the message is tagged. 0: never."`
	Hold          float64       `toml:"hold" doc:"From this score on it is held. 0: never."`
	Reject        float64       `toml:"reject" doc:"From this score on it is refused. 0: never."`
	Headers       bool          `toml:"headers" doc:"Add X-Spam-Score and X-Spam-Status, and X-Spam-Flag: YES to what is tagged."`
	RemoveHeaders bool          `toml:"remove_headers" doc:"Take X-Spam fields out that come from outside, whether spamd answers or not: the server behind may sort by them."`
}

// Default asks a spamd on this machine, once it is switched on.
func Default() Config {
	return Config{
		Mode: "off", Servers: []string{"127.0.0.1:783"}, Timeout: 30 * time.Second, MaxSize: 512 << 10, OnError: "continue",
		Received: true, Factor: 0.5, Tag: 5, Hold: 0, Reject: 15,
		Headers: true, RemoveHeaders: true,
	}
}

const (
	maxTimeout = 10 * time.Minute
	maxSize    = 1 << 30
	maxServers = 16
	maxFactor  = 10
	maxUser    = 64
)

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := mail.ParseMode(c.Mode); !ok {
		bad("mode = %q: must be off, observe, score or enforce", c.Mode)
	}
	if len(c.Servers) == 0 && c.Mode != "off" || len(c.Servers) > maxServers {
		bad("servers: must be 1 to %d addresses", maxServers)
	}
	for i, s := range c.Servers {
		if _, _, err := parseServer(s); err != nil {
			bad("servers[%d] = %q: %w", i, s, err)
		}
	}
	if len(c.User) > maxUser || strings.IndexFunc(c.User, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == '/' }) >= 0 {
		bad("user = %q: must be a name of at most %d letters and signs", c.User, maxUser)
	}
	if c.Timeout <= 0 || c.Timeout > maxTimeout {
		bad("timeout = %v: must be more than 0 and at most %v", c.Timeout, maxTimeout)
	}
	if c.MaxSize < 1 || c.MaxSize > maxSize {
		bad("max_size = %d: must be from 1 to %d", c.MaxSize, maxSize)
	}
	if _, ok := filters.ParseOnError(c.OnError); !ok {
		bad("on_error = %q: must be continue or defer", c.OnError)
	}
	if math.IsNaN(c.Factor) || c.Factor < 0 || c.Factor > maxFactor {
		bad("factor = %v: must be from 0 to %d", c.Factor, maxFactor)
	}
	for _, l := range c.limits() {
		if math.IsNaN(l.value) || l.value < 0 || l.value > maxScore {
			bad("%s = %v: must be from 0 (never) to %d", l.key, l.value, maxScore)
		}
	}
	return errs
}

// effect is what a score leads to.
type effect int

const (
	none effect = iota
	tag
	hold
	reject
)

type limit struct {
	key   string
	value float64
	then  effect
}

// limits, the gravest first.
func (c Config) limits() []limit {
	return []limit{{"reject", c.Reject, reject}, {"hold", c.Hold, hold}, {"tag", c.Tag, tag}}
}

// decide tells what a score leads to.
func (c Config) decide(score float64) effect {
	for _, l := range c.limits() {
		if l.value > 0 && score >= l.value {
			return l.then
		}
	}
	return none
}

// parseServer gives what net.Dial wants.
func parseServer(s string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
			return "", "", fmt.Errorf("the path of the socket must be absolute")
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(host, "/ @") {
		return "", "", fmt.Errorf("must be host:port or unix:/path")
	}
	return "tcp", s, nil
}
