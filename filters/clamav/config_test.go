package clamav

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
)

func TestValidate(t *testing.T) {
	lines := []string{"mode loud", "servers /run/clamd", "servers unix:rel", "servers tcp:host", "servers tcp::3310", "servers tcp:h:0",
		"servers unix:/run/clamav/clamd.ctl", "servers unix:/" + strings.Repeat("a", 120),
		"max_scans 0", "wait 0s", "connect_timeout 2m", "write_timeout 0s", "timeout 1h", "signature_age -1s", "cache_for 0s", "cache_entries -1",
		"without_for -1s", "stream_max -1", "max_file_size -1", "max_scan_size -1", "parts some", "ignore *", "ignore a b", "classes x", "classes x y",
		"oversize maybe", "timed_out reject", "poison off", "without_text reject", "virus_score 101", "virus kill", "virus score hold"}
	filtertest.Refused(t, Default, func(c Config) error { _, _, err := New(c, Options{}); return err }, lines...)
	c := Default()
	c.Servers = nil
	if len(c.Validate()) != 1 {
		t.Error("no servers")
	}
}

func TestExplained(t *testing.T) {
	filtertest.Explained[Config](t, SymbolVirus, SymbolPhishing, SymbolPUA, SymbolHeuristic, SymbolLimits, SymbolEncrypted, SymbolMacro,
		SymbolUnofficial, SymbolIgnored, SymbolOversize, SymbolUnscanned, SymbolPoison, SymbolDown)
}

// TestContract: off until it is turned on, out of reach of allow lists, and
// an error of it is no pass.
func TestContract(t *testing.T) {
	said := &logged{}
	off := Default()
	off.ConfigFile = filepath.Join(t.TempDir(), "none")
	if _, _, err := New(off, Options{Log: said.log}); err != nil || len(said.lines) > 0 {
		t.Errorf("off, and says %q %v", said.lines, err)
	}
	off.Mode = "observe"
	if _, _, err := New(off, Options{Log: said.log}); err != nil || len(said.lines) != 1 {
		t.Errorf("observe, and says %q %v", said.lines, err)
	}
	c, s, err := New(Default(), Options{})
	if err != nil || c.Name != "clamav" || !c.IO || c.Class != filters.Policy || c.OnError != filters.DeferOnError ||
		c.Mode.String() != "off" || c.Timeout <= Default().Timeout || c.Impl != s {
		t.Errorf("%+v %v", c, err)
	}
}

func TestLimits(t *testing.T) {
	name := filepath.Join(t.TempDir(), "clamd.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := enforcing("unix:/run/x", "tcp:127.0.0.1:3310")
	c.ConfigFile = name
	write("# StreamMaxLength 1M\nStreamMaxLength 5M\nmaxfilesize 6000K\nMaxScanSize 0\nAlertExceedsMax yes\nScanMail false\n")
	l, err := c.limits()
	if err != nil || l.StreamMax != 5<<20 || l.MaxFile != 6000<<10 || l.MaxScan != 0 || !l.AlertsExceeded || l.ScansMail || !l.ScansArchives || l.Recursion != 17 {
		t.Errorf("%+v %v", l, err)
	}
	if l.takes(5<<20+1) || !l.takes(5<<20) || l.whole(6000<<10+1) || !l.whole(6000<<10) {
		t.Error("bounds")
	}
	for _, bad := range []string{"MaxFileSize many", "AlertExceedsMax perhaps", "MaxScanSize -1", "StreamMaxLength 99999999999G"} {
		write(bad)
		if l, err := c.limits(); err == nil || l.StreamMax != careful().StreamMax {
			t.Errorf("%s: %+v %v", bad, l, err)
		}
	}
	// A clamd elsewhere has another file; keys go before the file.
	write("StreamMaxLength 5M")
	c.MaxFileSize = 7
	if l, _ := c.limits(); l.StreamMax != 5<<20 || l.MaxFile != 7 {
		t.Errorf("%+v", l)
	}
	c.Servers = append(c.Servers, "tcp:192.0.2.1:3310")
	if l, err := c.limits(); err != nil || l.StreamMax != careful().StreamMax || l.FromFile != "" {
		t.Errorf("%+v %v", l, err)
	}
	c.Servers, c.ConfigFile = c.Servers[:1], t.TempDir()
	if _, err := c.limits(); err == nil {
		t.Error("a folder")
	}
}

func TestCompare(t *testing.T) {
	name := filepath.Join(t.TempDir(), "clamd.conf")
	c := enforcing("unix:/run/x")
	c.ConfigFile, c.Timeout = name, 130*time.Second
	keys := func(max int64) string { return fmt.Sprint(Compare(c, max)) }
	if got := keys(1); !strings.Contains(got, "config_file") || !strings.Contains(got, "assumed") {
		t.Errorf("no file: %s", got)
	}
	text := "StreamMaxLength 30M\nMaxFileSize 30M\nMaxScanSize 100M\nAlertExceedsMax yes\nMaxScanTime 120000\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Compare(c, 30<<20); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := Compare(c, 30<<20+1); len(got) != 2 || !strings.HasPrefix(got[0].Error(), "stream_max: ") || !strings.HasPrefix(got[1].Error(), "max_file_size: ") {
		t.Errorf("%v", got)
	}
	if err := os.WriteFile(name, []byte("ScanArchive no\nMaxThreads 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Timeout = time.Minute
	got := keys(1)
	for _, want := range []string{"AlertExceedsMax", "ScanArchive", "max_scans", "timeout"} {
		if !strings.Contains(got, want) {
			t.Errorf("no word about %s: %s", want, got)
		}
	}
	c.Mode = "off"
	if len(Compare(c, 1<<40)) != 0 {
		t.Error("off and loud")
	}
}
