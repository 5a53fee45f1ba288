// Package clamav is the check of messages by clamd, the daemon of ClamAV, over
// its INSTREAM command (clamd(8)), through unix sockets and TCP.
//
// The raw message always goes to clamd, which reads mail itself; where the
// structure of the message is in doubt, every reading of every part goes, too
// (C-14). Only the exact answer "stream: OK" is clean, only from a clamd that
// has shown that it finds the EICAR test file, and only for what lies inside
// clamd's own limits. Everything else is either a signature, which has a
// class with an action of its own, or "not scanned", which has a verdict of
// its own for each reason: never a silent pass.
//
// It does not unpack archives, load signatures, or talk to clamd's SCAN and
// FILDES, which need a common file system. It fails towards the sender trying
// again; where clamd has been away for long, towards the holding place.
//
// # Limits
//
// A reply is read up to 8 KB. Verdicts are cached up to cache_entries for
// cache_for, failures of clamd on 4,096 messages for a day. At most maxParts
// different readings of parts are scanned. clamd stops at its first signature:
// where that one only scores, a second one in the same file stays unseen, so
// the parts are scanned one by one then. What clamd did not look at inside an
// archive it says by AlertExceedsMax alone: see Compare.
package clamav

import (
	"fmt"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
)

// Name of the check.
const Name = "clamav"

// The symbols. A signature's is the name of its class.
const (
	SymbolVirus      = "clamav.virus"
	SymbolPhishing   = "clamav.phishing"
	SymbolPUA        = "clamav.pua"
	SymbolHeuristic  = "clamav.heuristic"
	SymbolLimits     = "clamav.limits"
	SymbolEncrypted  = "clamav.encrypted"
	SymbolMacro      = "clamav.macro"
	SymbolUnofficial = "clamav.unofficial"
	SymbolIgnored    = "clamav.ignored"
	SymbolOversize   = "clamav.oversize"
	SymbolUnscanned  = "clamav.unscanned"
	SymbolPoison     = "clamav.poison"
	// SymbolDown is in place of clamav.unscanned after WithoutFor.
	SymbolDown = "clamav.down"
)

// Config is the table [check.clamav].
type Config struct {
	Mode            string        `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce. off: clamd is another program, and mail would wait for it. Turn it on when clamd runs; docs/clamav.md tells how."`
	Servers         []string      `toml:"servers" doc:"Where clamd listens: \"unix:/run/clamav/clamd.ctl\", \"tcp:127.0.0.1:3310\". With several, the one with the least to do is asked, and another when that one fails. TCP is in clear text: for your own network only."`
	MaxScans        int           `toml:"max_scans" doc:"Scans at once at each server; at most MaxThreads of clamd.conf. Large messages leave one place to small ones."`
	Wait            time.Duration `toml:"wait" doc:"How long a message waits for a place; then it was not scanned (busy)."`
	ConnectTimeout  time.Duration `toml:"connect_timeout" doc:"For the connection."`
	WriteTimeout    time.Duration `toml:"write_timeout" doc:"For each piece of the message to be taken."`
	Timeout         time.Duration `toml:"timeout" doc:"For all scans of a message together. A little more than MaxScanTime of clamd.conf, and well below reply_timeout of the listeners."`
	SelfTest        bool          `toml:"self_test" doc:"Ask each server for the EICAR test file at start, when its signatures change and every hour. One that does not find it has no signatures loaded, and its OK is not believed."`
	SignatureAge    time.Duration `toml:"signature_age" doc:"Warn in the log when the signatures are older. 0s: never."`
	Parts           string        `toml:"parts" enum:"auto,always,never" doc:"Scan decoded parts, too, besides the raw message: auto (where the structure is in doubt, clamd lacks the encoding, the message is too large, or a signature was found that only scores), always or never."`
	ConfigFile      string        `toml:"config_file" doc:"clamd.conf, for the limits beyond which an OK of clamd means nothing. It counts when all servers are on this machine. Empty: not read."`
	StreamMax       int64         `toml:"stream_max" unit:"bytes" doc:"StreamMaxLength of clamd. 0: as config_file says, or 25 MB."`
	MaxFileSize     int64         `toml:"max_file_size" unit:"bytes" doc:"MaxFileSize of clamd. 0: as config_file says, or 25 MB."`
	MaxScanSize     int64         `toml:"max_scan_size" unit:"bytes" doc:"MaxScanSize of clamd. 0: as config_file says, or 100 MB."`
	CacheEntries    int           `toml:"cache_entries" doc:"Verdicts kept by the digest of what was scanned, 300 octets each. 0: none. They end when clamd's signatures or limits change."`
	CacheFor        time.Duration `toml:"cache_for" doc:"How long a verdict is kept at most."`
	Virus           string        `toml:"virus" enum:"off,observe,score,hold,reject" doc:"What is done with a virus (clamav.virus): off, observe, score, hold or reject. All signatures that are in no other class."`
	VirusScore      float64       `toml:"virus_score" doc:"Points for it, whatever is done." brief:"true"`
	Phishing        string        `toml:"phishing" enum:"off,observe,score,hold,reject" doc:"Phishing.*, Heuristics.Phishing.*, Email.Phishing.* (clamav.phishing). hold: they err more than others."`
	PhishingScore   float64       `toml:"phishing_score" doc:"Points for it." brief:"true"`
	PUA             string        `toml:"pua" enum:"off,observe,score,hold,reject" doc:"PUA.*: unwanted programs, packers, tools (clamav.pua). clamd looks for them with DetectPUA."`
	PUAScore        float64       `toml:"pua_score" doc:"Points for it." brief:"true"`
	Heuristic       string        `toml:"heuristic" enum:"off,observe,score,hold,reject" doc:"Other Heuristics.* (clamav.heuristic)."`
	HeuristicScore  float64       `toml:"heuristic_score" doc:"Points for it." brief:"true"`
	Limits          string        `toml:"limits" enum:"off,observe,score,hold,reject" doc:"Heuristics.Limits.Exceeded.*: clamd did not look at all of it (clamav.limits); it says so with AlertExceedsMax."`
	LimitsScore     float64       `toml:"limits_score" doc:"Points for it." brief:"true"`
	Encrypted       string        `toml:"encrypted" enum:"off,observe,score,hold,reject" doc:"Heuristics.Encrypted.* (clamav.encrypted); clamd says so with AlertEncrypted. Names inside are judged by the attachment check."`
	EncryptedScore  float64       `toml:"encrypted_score" doc:"Points for it." brief:"true"`
	Macro           string        `toml:"macro" enum:"off,observe,score,hold,reject" doc:"Heuristics.OLE2.ContainsMacros* (clamav.macro); clamd says so with AlertOLE2Macros."`
	MacroScore      float64       `toml:"macro_score" doc:"Points for it." brief:"true"`
	Unofficial      string        `toml:"unofficial" enum:"off,observe,score,hold,reject" doc:"Signatures of third parties, *.UNOFFICIAL (clamav.unofficial). Move those that you trust to another class by classes."`
	UnofficialScore float64       `toml:"unofficial_score" doc:"Points for it." brief:"true"`
	Ignore          []string      `toml:"ignore" doc:"Names of signatures that do not count, with * for anything, in any case: \"PUA.Win.Packer.*\". The finding clamav.ignored tells of them."`
	Classes         []string      `toml:"classes" doc:"Names of signatures that are of another class than their name says: \"Sanesecurity.Malware.* virus\". The first that fits counts."`
	Oversize        string        `toml:"oversize" enum:"pass,hold,defer,reject" doc:"The message is larger than clamd takes or scans (clamav.oversize): pass (tagged), hold, defer or reject. Not defer: the sender would try for days."`
	Failed          string        `toml:"failed" enum:"pass,hold,defer" doc:"clamd said ERROR (clamav.unscanned): pass (tagged), hold or defer."`
	TimedOut        string        `toml:"timed_out" enum:"pass,hold,defer" doc:"clamd did not answer in time (clamav.unscanned)."`
	Closed          string        `toml:"closed" enum:"pass,hold,defer" doc:"clamd closed the connection before its answer, once more at the second try (clamav.unscanned)."`
	Reloading       string        `toml:"reloading" enum:"pass,hold,defer" doc:"clamd said that it loads its signatures (clamav.unscanned)."`
	Nonsense        string        `toml:"nonsense" enum:"pass,hold,defer" doc:"The answer is none that we know (clamav.unscanned)."`
	Unavailable     string        `toml:"unavailable" enum:"pass,hold,defer" doc:"No server takes connections and finds the test file (clamav.unscanned)."`
	Busy            string        `toml:"busy" enum:"pass,hold,defer" doc:"No place came free within wait (clamav.unscanned)."`
	Poison          string        `toml:"poison" enum:"pass,hold,defer,reject" doc:"clamd closed the connection twice, or failed three times, on this very message and not on others (clamav.poison). hold: somebody has to look at it."`
	WithoutFor      time.Duration `toml:"without_for" doc:"After so long without a clamd that scans, the next two keys count in place of the others (clamav.down). 0s: never."`
	WithoutActive   string        `toml:"without_active" enum:"pass,hold,defer" doc:"Then: a message with attachments, HTML or anything but plain text."`
	WithoutText     string        `toml:"without_text" enum:"pass,hold,defer" doc:"Then: a message of plain text alone. pass: with the header field X-Garita-Virus-Scan, which says that it was not scanned."`
}

// Default has the check off, for one clamd as Debian sets it up.
func Default() Config {
	return Config{
		Mode: "off", Servers: []string{"unix:/run/clamav/clamd.ctl"}, MaxScans: 4,
		Wait: 20 * time.Second, ConnectTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, Timeout: 130 * time.Second,
		SelfTest: true, SignatureAge: 7 * 24 * time.Hour, Parts: "auto", ConfigFile: "/etc/clamav/clamd.conf",
		CacheEntries: 20000, CacheFor: time.Hour,
		Virus: "reject", VirusScore: 20, Phishing: "hold", PhishingScore: 8, PUA: "score", PUAScore: 3,
		Heuristic: "score", HeuristicScore: 4, Limits: "hold", LimitsScore: 2, Encrypted: "score", EncryptedScore: 1,
		Macro: "score", MacroScore: 3, Unofficial: "score", UnofficialScore: 4,
		Ignore: []string{}, Classes: []string{"*eicar* virus"},
		Oversize: "hold", Failed: "defer", TimedOut: "defer", Closed: "defer", Reloading: "defer", Nonsense: "defer",
		Unavailable: "defer", Busy: "defer", Poison: "hold",
		WithoutFor: 30 * time.Minute, WithoutActive: "hold", WithoutText: "pass",
	}
}

// maxScore bounds a configured score: far beyond any threshold.
const maxScore = 100

// choice is a key with the values that it may have.
type choice struct{ key, value, allowed string }

func (c Config) choices() []choice {
	const action, fault, lasting = "off observe score hold reject", "pass hold defer", "pass hold defer reject"
	return []choice{
		{"parts", c.Parts, "auto always never"},
		{"virus", c.Virus, action}, {"phishing", c.Phishing, action}, {"pua", c.PUA, action}, {"heuristic", c.Heuristic, action},
		{"limits", c.Limits, action}, {"encrypted", c.Encrypted, action}, {"macro", c.Macro, action}, {"unofficial", c.Unofficial, action},
		{"oversize", c.Oversize, lasting}, {"failed", c.Failed, fault}, {"timed_out", c.TimedOut, fault}, {"closed", c.Closed, fault},
		{"reloading", c.Reloading, fault}, {"nonsense", c.Nonsense, fault}, {"unavailable", c.Unavailable, fault},
		{"busy", c.Busy, fault}, {"poison", c.Poison, lasting},
		{"without_active", c.WithoutActive, fault}, {"without_text", c.WithoutText, fault},
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := mail.ParseMode(c.Mode); !ok {
		say("mode = %q: must be off, observe, score or enforce", c.Mode)
	}
	if len(c.Servers) == 0 || len(c.Servers) > 16 {
		say("servers: must have from 1 to 16 entries, as in unix:/run/clamav/clamd.ctl")
	}
	seen := map[string]bool{}
	for i, s := range c.Servers {
		if _, err := parseServer(s); err != nil {
			say("servers[%d] = %q: %w", i, s, err)
		} else if seen[s] {
			say("servers[%d] = %q: is there twice", i, s)
		}
		seen[s] = true
	}
	if c.MaxScans < 1 || c.MaxScans > 1000 {
		say("max_scans = %d: must be from 1 to 1000", c.MaxScans)
	}
	for _, d := range []struct {
		key      string
		value    time.Duration
		min, max time.Duration
	}{
		{"wait", c.Wait, time.Millisecond, 5 * time.Minute}, {"connect_timeout", c.ConnectTimeout, time.Millisecond, time.Minute},
		{"write_timeout", c.WriteTimeout, time.Millisecond, 5 * time.Minute}, {"timeout", c.Timeout, time.Millisecond, 10 * time.Minute},
		{"signature_age", c.SignatureAge, 0, 365 * 24 * time.Hour}, {"cache_for", c.CacheFor, time.Second, 24 * time.Hour},
		{"without_for", c.WithoutFor, 0, 7 * 24 * time.Hour},
	} {
		if d.value < d.min || d.value > d.max {
			say("%s = %q: must be from %s to %s", d.key, d.value, d.min, d.max)
		}
	}
	for _, n := range []struct {
		key   string
		value int64
	}{{"stream_max", c.StreamMax}, {"max_file_size", c.MaxFileSize}, {"max_scan_size", c.MaxScanSize}} {
		if n.value < 0 || n.value > 1<<40 {
			say("%s = %d: must be from 0 to 1 TB", n.key, n.value)
		}
	}
	if c.CacheEntries < 0 || c.CacheEntries > 10_000_000 {
		say("cache_entries = %d: must be from 0 to 10000000", c.CacheEntries)
	}
	for _, v := range c.choices() {
		if !strings.Contains(" "+v.allowed+" ", " "+v.value+" ") || strings.Contains(v.value, " ") || v.value == "" {
			say("%s = %q: must be one of %s", v.key, v.value, strings.ReplaceAll(v.allowed, " ", ", "))
		}
	}
	for cl := virus; cl < ignored; cl++ {
		if _, score := c.action(cl); !(score >= -maxScore && score <= maxScore) {
			say("%s_score = %v: must be from %d to %d", cl, score, -maxScore, maxScore)
		}
	}
	_, wrong := c.patterns()
	return append(errs, wrong...)
}

// action is what is done with a class, and its points.
func (c Config) action(of class) (string, float64) {
	switch of {
	case phishing:
		return c.Phishing, c.PhishingScore
	case pua:
		return c.PUA, c.PUAScore
	case heuristic:
		return c.Heuristic, c.HeuristicScore
	case limits:
		return c.Limits, c.LimitsScore
	case encrypted:
		return c.Encrypted, c.EncryptedScore
	case macro:
		return c.Macro, c.MacroScore
	case unofficial:
		return c.Unofficial, c.UnofficialScore
	case ignored:
		return "observe", 0
	}
	return c.Virus, c.VirusScore
}

// patterns are the operator's words about names, those to ignore first.
func (c Config) patterns() (out []pattern, errs []error) {
	for i, s := range c.Ignore {
		p, ok := parsePattern(s, ignored)
		if !ok || strings.Trim(s, "*.") == "" {
			errs = append(errs, fmt.Errorf("ignore[%d] = %q: must be the name of a signature, with * for anything, and not fit all of them", i, s))
		}
		out = append(out, p)
	}
	for i, s := range c.Classes {
		words := strings.Fields(s)
		if len(words) == 2 {
			if cl, known := parseClass(words[1]); known {
				if p, ok := parsePattern(words[0], cl); ok {
					out = append(out, p)
					continue
				}
			}
		}
		errs = append(errs, fmt.Errorf("classes[%d] = %q: must be a name with * for anything and a class: virus, phishing, pua, heuristic, limits, encrypted, macro or unofficial", i, s))
	}
	return out, errs
}

// faultAction is the configured verdict of a scan that did not happen.
func (c Config) faultAction(k kind) string {
	switch k {
	case oversize:
		return c.Oversize
	case failed:
		return c.Failed
	case timedOut:
		return c.TimedOut
	case closed:
		return c.Closed
	case reloading:
		return c.Reloading
	case unavailable:
		return c.Unavailable
	case busy:
		return c.Busy
	case poison:
		return c.Poison
	}
	return c.Nonsense
}

// Options are what the check needs of the program.
type Options struct {
	// Log is told of what changes: a clamd that is gone or back, messages that
	// are not scanned. A nil error is good news. Called by several goroutines.
	Log func(text string, err error)
	// Now is the time; nil: time.Now.
	Now func() time.Time
	// Previous is the scanner of the configuration before: what it knows of an
	// outage, of poison, and its cache go on.
	Previous *Scanner
}

// New makes the check and its scanner, whose Start and Close are the caller's.
func New(c Config, o Options) (filters.Check, *Scanner, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, nil, fmt.Errorf("clamav: %w", errs[0])
	}
	names, _ := c.patterns()
	s := &Scanner{cfg: c, names: names, pool: newPool(c, o)}
	mode, _ := mail.ParseMode(c.Mode)
	// A little more than ours: then the finding says what was slow.
	return filters.Check{Name: Name, Impl: s, Mode: mode, Class: filters.Policy, OnError: filters.DeferOnError,
		IO: true, Timeout: c.Timeout + 2*time.Second}, s, nil
}
