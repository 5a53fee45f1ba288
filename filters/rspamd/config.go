package rspamd

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
)

// Config is the table [check.rspamd].
type Config struct {
	Mode          string        `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce. off: there may be no rspamd."`
	Servers       []string      `toml:"servers" doc:"Normal workers of rspamd, asked in this order until one answers: http://127.0.0.1:11333, https://host:port or unix:/path."`
	Timeout       time.Duration `toml:"timeout" doc:"For the answer, all servers together; rspamd itself takes up to 8 s."`
	MaxSize       int64         `toml:"max_size" unit:"bytes" doc:"A larger message is not sent to rspamd (rspamd.too_large in the log)."`
	OnError       string        `toml:"on_error" enum:"continue,defer" doc:"When no server answers: continue without it, or defer the message."`
	By            string        `toml:"by" enum:"action,score" doc:"What decides: rspamd's own action, or its score against tag, hold and reject below."`
	Factor        float64       `toml:"factor" doc:"The score times this counts among our points. 0: not at all. Below 1, since rspamd looks at much that other checks have points for."`
	OnReject      string        `toml:"on_reject" enum:"none,tag,hold,defer,reject" doc:"What the action reject does."`
	OnSoftReject  string        `toml:"on_soft_reject" enum:"none,tag,hold,defer,reject" doc:"What the action soft reject does."`
	OnAddHeader   string        `toml:"on_add_header" enum:"none,tag,hold,defer,reject" doc:"What the actions add header and rewrite subject do; the subject is never rewritten."`
	OnGreylist    string        `toml:"on_greylist" enum:"none,tag,hold,defer,reject" doc:"What the action greylist does. none, as in rspamd's own milter: its greylist module says soft reject when it means to."`
	OnQuarantine  string        `toml:"on_quarantine" enum:"none,tag,hold,defer,reject" doc:"What the actions quarantine and discard do, and those that we do not know."`
	Tag           float64       `toml:"tag" doc:"With by = \"score\": from this score of rspamd on the message is tagged. 0: never."`
	Hold          float64       `toml:"hold" doc:"From this score on it is held. 0: never."`
	Reject        float64       `toml:"reject" doc:"From this score on it is refused. 0: never."`
	Headers       bool          `toml:"headers" doc:"Add X-Spam-Score and X-Spam-Status, X-Spam-Flag: YES to what is tagged, and what rspamd asks for in the namespace of X-Spam, X-Spamd and X-Rspamd."`
	RemoveHeaders bool          `toml:"remove_headers" doc:"Take fields of this namespace out that come from outside, whether rspamd answers or not: the server behind may sort by them."`
}

// Default asks a worker on this machine, once it is switched on.
func Default() Config {
	return Config{
		Mode: "off", Servers: []string{"http://127.0.0.1:11333"}, Timeout: 15 * time.Second, MaxSize: 20 << 20, OnError: "continue",
		By: "action", Factor: 0.5,
		OnReject: "reject", OnSoftReject: "defer", OnAddHeader: "tag", OnGreylist: "none", OnQuarantine: "hold",
		Tag: 6, Hold: 0, Reject: 15,
		Headers: true, RemoveHeaders: true,
	}
}

const (
	maxTimeout = 10 * time.Minute
	maxSize    = 1 << 30
	maxServers = 16
	maxFactor  = 10
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
		if _, err := parseServer(s); err != nil {
			bad("servers[%d] = %q: %w", i, s, err)
		}
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
	if c.By != "action" && c.By != "score" {
		bad("by = %q: must be action or score", c.By)
	}
	if math.IsNaN(c.Factor) || c.Factor < 0 || c.Factor > maxFactor {
		bad("factor = %v: must be from 0 to %d", c.Factor, maxFactor)
	}
	for _, a := range c.actions() {
		if _, ok := parseEffect(a.value); !ok {
			bad("%s = %q: must be none, tag, hold, defer or reject", a.key, a.value)
		}
	}
	for _, l := range c.limits() {
		if math.IsNaN(l.value) || l.value < 0 || l.value > maxScore {
			bad("%s = %v: must be from 0 (never) to %d", l.key, l.value, maxScore)
		}
	}
	return errs
}

func (c Config) actions() []struct{ key, value string } {
	return []struct{ key, value string }{
		{"on_reject", c.OnReject}, {"on_soft_reject", c.OnSoftReject}, {"on_add_header", c.OnAddHeader},
		{"on_greylist", c.OnGreylist}, {"on_quarantine", c.OnQuarantine},
	}
}

type limit struct {
	key   string
	value float64
	then  effect
}

// limits, the gravest first.
func (c Config) limits() []limit {
	return []limit{{"reject", c.Reject, reject}, {"hold", c.Hold, hold}, {"tag", c.Tag, tag}}
}

// address is where a server is.
type address struct {
	base string // of the URL
	path string // of the socket; empty for TCP
}

func parseServer(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
			return address{}, fmt.Errorf("the path of the socket must be absolute")
		}
		return address{base: "http://rspamd", path: path}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return address{}, fmt.Errorf("must be http://host:port, https://host:port or unix:/path")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return address{}, fmt.Errorf("must have nothing but host and port")
	}
	return address{base: u.Scheme + "://" + u.Host}, nil
}

// effect is what an answer leads to.
type effect int

const (
	none effect = iota
	tag
	hold
	deferred
	reject
)

func parseEffect(s string) (effect, bool) {
	for i, name := range []string{"none", "tag", "hold", "defer", "reject"} {
		if s == name {
			return effect(i), true
		}
	}
	return none, false
}

// decide tells what an answer leads to.
func (c Config) decide(a *answer) effect {
	if c.By == "score" {
		for _, l := range c.limits() {
			if l.value > 0 && a.score >= l.value {
				return l.then
			}
		}
		return none
	}
	var word string
	switch a.action {
	case "no action":
		return none
	case "greylist":
		word = c.OnGreylist
	case "add header", "rewrite subject":
		word = c.OnAddHeader
	case "soft reject":
		word = c.OnSoftReject
	case "reject":
		word = c.OnReject
	default:
		word = c.OnQuarantine
	}
	e, _ := parseEffect(word)
	return e
}
