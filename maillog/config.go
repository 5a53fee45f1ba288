package maillog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// Config is the [log] table.
type Config struct {
	Output         string `toml:"output" doc:"stderr, stdout, the absolute path of a file (reopened after a rename and on SIGUSR1), or syslog:/dev/log."`
	Format         string `toml:"format" doc:"postfix (lines that pflogsumm and fail2ban read) or json (one object a line)."`
	Level          string `toml:"level" doc:"info (everything), notice (without connect, disconnect and TLS lines) or warning (warnings alone; transactions and refusals are not logged)."`
	Timestamps     string `toml:"timestamps" doc:"Of postfix lines: rfc3164 (Nov 22 10:00:00, what most log watchers expect) or rfc3339. JSON always has RFC 3339 in UTC."`
	SyslogName     string `toml:"syslog_name" doc:"What the lines begin with, as Postfix's syslog_name: garita/smtpd[812]. Letters, digits, hyphen and underscore."`
	LinesPerClient int    `toml:"lines_per_client" doc:"Connect, disconnect, TLS, error and refusal records of one client (IPv4 address, IPv6 /64) in a minute, at most; more are counted and told as one line. 0: no limit. Transactions and trusted clients are never limited."`
	Queue          int64  `toml:"queue" unit:"bytes" doc:"Records that wait to be written, at most; more are dropped and counted, because mail never waits for a log. Twice this is the memory at worst."`
}

// Default gives the defaults of the [log] table.
func Default() Config {
	return Config{
		Output:         "stderr",
		Format:         "postfix",
		Level:          "info",
		Timestamps:     "rfc3164",
		SyslogName:     "garita",
		LinesPerClient: 1000,
		Queue:          4 << 20,
	}
}

// Validate gives every fault at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	switch {
	case c.Output == "stderr", c.Output == "stdout", filepath.IsAbs(c.Output):
	case strings.HasPrefix(c.Output, syslogPrefix) && filepath.IsAbs(c.Output[len(syslogPrefix):]):
	default:
		errs = append(errs, fmt.Errorf("output: %q is not stderr, stdout, an absolute path or syslog:/path", c.Output))
	}
	if c.Format != "postfix" && c.Format != "json" {
		errs = append(errs, fmt.Errorf("format: %q is not postfix or json", c.Format))
	}
	if _, ok := parseLevel(c.Level); !ok {
		errs = append(errs, fmt.Errorf("level: %q is not info, notice or warning", c.Level))
	}
	if c.Timestamps != "rfc3164" && c.Timestamps != "rfc3339" {
		errs = append(errs, fmt.Errorf("timestamps: %q is not rfc3164 or rfc3339", c.Timestamps))
	}
	if !validName(c.SyslogName) {
		errs = append(errs, fmt.Errorf("syslog_name: %q is not 1 to 32 letters, digits, hyphens or underscores", c.SyslogName))
	}
	if c.LinesPerClient < 0 {
		errs = append(errs, fmt.Errorf("lines_per_client: %d is below 0", c.LinesPerClient))
	}
	if c.Queue < 64<<10 || c.Queue > 1<<30 {
		errs = append(errs, fmt.Errorf("queue: %d is not between 64KB and 1GB", c.Queue))
	}
	return errors.Join(errs...)
}

// validName keeps the tag of the lines one word: pflogsumm puts it into a
// regular expression, syslogd cuts it at the first odd character.
func validName(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// Env is what the logger needs of its surroundings; every zero field has a
// working meaning.
type Env struct {
	Hostname string           // the host of the lines; empty: localhost
	PID      int              // zero: this process
	Now      func() time.Time // nil: time.Now; its location is the one of the lines
	// Stdout and Stderr stand in for the process's own, for tests.
	Stdout, Stderr io.Writer
}

type level uint8

const (
	levelInfo level = iota
	levelNotice
	levelWarning
)

func parseLevel(s string) (level, bool) {
	switch s {
	case "info":
		return levelInfo, true
	case "notice":
		return levelNotice, true
	case "warning":
		return levelWarning, true
	}
	return 0, false
}
