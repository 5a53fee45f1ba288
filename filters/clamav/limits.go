package clamav

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// Limits are those of clamd that decide what an OK of it is worth (C-05).
// Zero is no limit, as in clamd.conf.
type Limits struct {
	StreamMax int64 // StreamMaxLength
	MaxFile   int64 // MaxFileSize
	MaxScan   int64 // MaxScanSize
	Recursion int64 // MaxRecursion
	MaxFiles  int64 // MaxFiles
	Threads   int64 // MaxThreads
	Queue     int64 // MaxQueue
	ScanTime  int64 // MaxScanTime, milliseconds
	// AlertsExceeded: clamd says FOUND for what passes a limit. Without it the
	// answer is OK.
	AlertsExceeded bool
	// ScansMail, ScansArchives: clamd looks inside.
	ScansMail, ScansArchives bool
	// FromFile is the clamd.conf that they are from; empty: assumed.
	FromFile string
}

// careful limits are assumed of a clamd whose file we cannot read: the lowest
// that distributions ship.
func careful() Limits {
	return Limits{StreamMax: 25 << 20, MaxFile: 25 << 20, MaxScan: 100 << 20, Recursion: 17, MaxFiles: 10000,
		Threads: 10, Queue: 100, ScanTime: 120_000, ScansMail: true, ScansArchives: true}
}

// upstream are clamd's own defaults, for what its file does not say.
func upstream() Limits {
	l := careful()
	l.StreamMax, l.MaxFile, l.MaxScan = 100<<20, 100<<20, 400<<20
	return l
}

// maxConfigFile bounds what is read of clamd.conf.
const maxConfigFile = 256 << 10

// readLimits reads clamd.conf.
func readLimits(name string) (Limits, error) {
	f, err := os.Open(name)
	if err != nil {
		return Limits{}, fmt.Errorf("config_file: %w", err)
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return Limits{}, fmt.Errorf("config_file = %q: is not a file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return Limits{}, fmt.Errorf("config_file: %w", err)
	}
	if len(text) > maxConfigFile {
		return Limits{}, fmt.Errorf("config_file = %q: larger than %d octets", name, maxConfigFile)
	}
	l, err := parseLimits(text)
	if err != nil {
		return Limits{}, fmt.Errorf("config_file = %q: %w", name, err)
	}
	l.FromFile = name
	return l, nil
}

// parseLimits reads the text of a clamd.conf: "Name value" a line, "#" begins
// a comment. Names that we do not need are left alone; a value of one that we
// need and cannot read is an error, since a guess would be trusted.
func parseLimits(text []byte) (Limits, error) {
	l := upstream()
	numbers := map[string]*int64{
		"streammaxlength": &l.StreamMax, "maxfilesize": &l.MaxFile, "maxscansize": &l.MaxScan,
		"maxrecursion": &l.Recursion, "maxfiles": &l.MaxFiles, "maxthreads": &l.Threads, "maxqueue": &l.Queue,
		"maxscantime": &l.ScanTime,
	}
	switches := map[string]*bool{
		"alertexceedsmax": &l.AlertsExceeded, "scanmail": &l.ScansMail, "scanarchive": &l.ScansArchives,
	}
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) < 2 || strings.HasPrefix(words[0], "#") {
			continue
		}
		key := strings.ToLower(words[0])
		if at := numbers[key]; at != nil {
			n, ok := parseSize(words[1])
			if !ok {
				return Limits{}, fmt.Errorf("%s: not a number", words[0])
			}
			*at = n
		}
		if at := switches[key]; at != nil {
			switch strings.ToLower(words[1]) {
			case "yes", "true", "1":
				*at = true
			case "no", "false", "0":
				*at = false
			default:
				return Limits{}, fmt.Errorf("%s: neither yes nor no", words[0])
			}
		}
	}
	return l, nil
}

// parseSize reads a number with K, M or G behind it.
func parseSize(s string) (int64, bool) {
	unit := int64(1)
	if s == "" {
		return 0, false
	}
	switch s[len(s)-1] {
	case 'k', 'K':
		unit = 1 << 10
	case 'm', 'M':
		unit = 1 << 20
	case 'g', 'G':
		unit = 1 << 30
	}
	if unit > 1 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// limits of the configuration: clamd.conf's where it speaks of a clamd of this
// machine, then what the operator set.
func (c Config) limits() (Limits, error) {
	l, err := careful(), error(nil)
	if c.ConfigFile != "" && c.local() {
		var read Limits
		if read, err = readLimits(c.ConfigFile); err == nil {
			l = read
		}
	}
	for _, set := range []struct {
		to   *int64
		from int64
	}{{&l.StreamMax, c.StreamMax}, {&l.MaxFile, c.MaxFileSize}, {&l.MaxScan, c.MaxScanSize}} {
		if set.from > 0 {
			*set.to = set.from
		}
	}
	return l, err
}

// local tells that every endpoint is on this machine, so that its clamd.conf
// speaks of all of them.
func (c Config) local() bool {
	for _, s := range c.Servers {
		e, err := parseServer(s)
		if err != nil || e.network == "tcp" && !isLoopback(e.address) {
			return false
		}
	}
	return true
}

// takes tells that clamd takes a stream of that size, and whole that an OK
// speaks of all of it. Both count a limit itself as inside.
func (l Limits) takes(size int64) bool { return l.StreamMax == 0 || size <= l.StreamMax }

func (l Limits) whole(size int64) bool {
	return (l.MaxFile == 0 || size <= l.MaxFile) && (l.MaxScan == 0 || size <= l.MaxScan)
}

// Compare tells what in clamd's limits does not fit ours; maxMessageSize is
// the largest message that any listener takes. Nothing while the check is off.
// They are warnings: mail flows with them, some of it into the holding place.
func Compare(c Config, maxMessageSize int64) []error {
	if c.Mode == "off" || len(c.Validate()) > 0 {
		return nil
	}
	l, err := c.limits()
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission):
		say("config_file = %q: cannot be read, so the limits of clamd are assumed: set stream_max, max_file_size and max_scan_size, or let us read it", c.ConfigFile)
	case err != nil:
		errs = append(errs, err)
	}
	for _, v := range []struct {
		key, name string
		limit     int64
	}{{"stream_max", "StreamMaxLength", l.StreamMax}, {"max_file_size", "MaxFileSize", l.MaxFile}, {"max_scan_size", "MaxScanSize", l.MaxScan}} {
		if v.limit != 0 && v.limit < maxMessageSize {
			say("%s: clamd has %s = %d, and messages may have %d octets: larger ones are not scanned (oversize = %q); raise %s in clamd.conf", v.key, v.name, v.limit, maxMessageSize, c.Oversize, v.name)
		}
	}
	if l.FromFile == "" {
		return errs
	}
	if !l.AlertsExceeded {
		say("config_file = %q: AlertExceedsMax is not set, so clamd says OK to archives that it did not look through; set AlertExceedsMax yes", l.FromFile)
	}
	if !l.ScansMail || !l.ScansArchives {
		say("config_file = %q: ScanMail and ScanArchive must be yes, or clamd looks into no attachment", l.FromFile)
	}
	if l.Threads > 0 && int64(c.MaxScans) > l.Threads {
		say("max_scans = %d: clamd has MaxThreads = %d, and more only wait; lower one or raise the other", c.MaxScans, l.Threads)
	}
	if l.ScanTime == 0 || l.ScanTime > c.Timeout.Milliseconds() {
		say("timeout = %q: clamd goes on for MaxScanTime = %d ms when nobody waits any more; set MaxScanTime below it", c.Timeout, l.ScanTime)
	}
	return errs
}
