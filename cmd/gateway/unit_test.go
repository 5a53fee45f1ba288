package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"garita/hold"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
)

func TestStatusTable(t *testing.T) {
	s := status{
		Version: "v1", State: "running", Mode: "observe", PID: 7, Uptime: 93784, Config: "/etc/garita/config.toml",
		LastReload: "line one\x1b[2J",
		Listeners:  []listenerStatus{{Name: "in", Role: "inbound", Addresses: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:25")}, NextHop: "a"}},
		NextHops: []nextHopStatus{
			{Name: "a", URL: "smtp://a:25", State: "up", Can: capabilities{Known: true, Size: 25 << 20, DSN: true}},
			{Name: "b", URL: "smtp://b:25", State: "down", LastError: "554 \x1b]0;owned\x07 \u202ego away"},
			{Name: "c", URL: "smtp://c:25", State: "unknown"},
		},
		Traffic: smtpproxy.Stats{Outcomes: map[string]int64{"relayed": 3}},
		TLS:     []certStatus{{Name: "mx", NotAfter: time.Now().Add(time.Hour), SelfMade: true}},
		Hold:    &hold.Room{Totals: hold.Totals{Messages: 3, Octets: 2 << 20}, MaxMessages: 10, MaxSize: 5 << 30},
		Log:     logStatus{Dropped: 2, LastError: "no space\x00"},
	}
	var b strings.Builder
	writeStatus(&b, &terminal{out: io.Discard}, &s)
	got := b.String()
	for _, want := range []string{"up 1d2h", "mode observe", "0.0.0.0:25", "SIZE=25MB,DSN", "down", "unknown", `554 \x1b]0;owned\a \u202ego away`,
		"3 relayed", "3 of 10 messages, 2MB of 5GB", "self-signed", `2 records lost; no space\x00`, `line one\x1b[2J`} {
		if !strings.Contains(got, want) {
			t.Errorf("the table has no %q:\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "\x1b\x00\x07\u202e") {
		t.Errorf("hostile text reached the terminal: %q", got)
	}
}

// TestHeldList: a line for each message where there is room for it, three on a
// narrow terminal; where the output goes to a program, always one.
func TestHeldList(t *testing.T) {
	list := []hold.Entry{{ID: "HODWU8NETH-7QK2M4XA", State: "held", Size: 1000, From: "señora@s.example", To: []string{"juan@example.org"}, Recipients: 3,
		Symbols: []string{"attachment.archive_encrypted"}, Subject: "Año\x1b[2J"}}
	for columns, lines := range map[int]int{0: 2, 80: 3, 200: 2} {
		var b strings.Builder
		writeHeld(&b, list, columns)
		got := b.String()
		if strings.Count(got, "\n") != lines {
			t.Errorf("%d columns:\n%s", columns, got)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(line) - 1; columns > 0 && n > columns {
				t.Errorf("%d columns: %d in %q", columns, n, line)
			}
		}
		for _, want := range []string{"HODWU8NETH-7QK2M4XA", "señora@s.example", "juan@example.org +2", "attachment.archive_encrypted", `Año\x1b[2J`} {
			if !strings.Contains(got, want) {
				t.Errorf("%d columns: no %q in\n%s", columns, want, got)
			}
		}
	}
}

// TestFold: a long finding fits a terminal, loses no word, and is left alone
// where a program reads it.
func TestFold(t *testing.T) {
	line := "finding  mime.ambiguous_risky +6 quarantine in the message: part 2 has the name of an archive: \"año.zip\"; " +
		strings.Repeat("a b ", 60) + "; " + strings.Repeat("x", 100)
	if got := fold(line, 0); got != line {
		t.Errorf("without a terminal: %q", got)
	}
	if got := fold("  short", 80); got != "  short" {
		t.Errorf("%q", got)
	}
	got := fold(line, 80)
	if !slices.Equal(strings.Fields(got), strings.Fields(line)) {
		t.Errorf("words were lost:\n%s", got)
	}
	for one := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSpace(one)); n > 80 && !strings.Contains(one, "xxx") {
			t.Errorf("%d in %q", n, one)
		}
	}
}

func TestForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KB", 1536: "1.5KB", 25 << 20: "25MB", 2 << 30: "2GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0s", 61: "1m1s", 3661: "1h1m", 90061: "1d1h"} {
		if got := duration(n); got != want {
			t.Errorf("duration(%g) = %s, want %s", n, got, want)
		}
	}
}

// TestInitAsks: at most six questions, answers filled in before, an empty line
// takes them.
func TestInitAsks(t *testing.T) {
	c := initCommand{Dir: "/x", Hostname: "mx.example.org", Inbound: "0.0.0.0:25", Mode: "observe"}
	var said bytes.Buffer
	term := &terminal{in: strings.NewReader("\nexample.org, example.net\nmail.example.org:25\n10.0.0.5\n\nsmart\nsmart.example.net:25\nenforce\n"), err: &said}
	if err := c.ask(term); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(said.String(), "]: "); n > 8 {
		t.Errorf("%d questions, two of them asked again", n)
	}
	// The mail server itself is not proposed as the smart host: its mail would
	// go round.
	if strings.Contains(said.String(), "[mail.example.org:25]") || strings.Count(said.String(), "delivers to the Internet") != 3 {
		t.Errorf("asked:\n%s", said.String())
	}
	a, err := c.understand()
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.text()
	if err != nil {
		t.Fatal(err)
	}
	if ps, warned := a.check("config.toml", text); len(ps)+len(warned) > 0 {
		t.Fatal(ps, warned)
	}
	for _, want := range []string{`hostname = "mx.example.org"`, `relay_domains = ["example.org", "example.net"]`, `url = "smtp://mail.example.org:25"`, `url = "smtp://smart.example.net:25"`,
		`trusted_networks = ["10.0.0.5/32"]`, `listen = ["0.0.0.0:26"]`, `mode = "enforce"`} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the file has no %s", want)
		}
	}

	// No folder named: the places of the unit.
	c.Dir = ""
	if a, err = c.understand(); err != nil || a.dir != "/etc/garita" {
		t.Fatalf("%v, %+v", err, a)
	}
	if text, err = a.text(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`state_dir = "/var/lib/garita"`, `output = "/var/log/garita/mail.log"`, `socket = "/run/garita/admin.sock"`} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the file of a system has no %s", want)
		}
	}

	// Without outbound mail there are five, and the end of the answers writes
	// nothing.
	c = initCommand{Dir: "/x", Hostname: "mx.example.org", Inbound: "0.0.0.0:25", Mode: "observe"}
	term.in = strings.NewReader("\nexample.org\nmail.example.org:25\nnone\n\n")
	if err := c.ask(term); err != nil || c.Outbound != "" {
		t.Errorf("without outbound mail: %v, outbound %q", err, c.Outbound)
	}
	term.in = strings.NewReader("\nexample.org\n")
	if err := c.ask(term); err == nil {
		t.Error("answers that end in the middle were taken")
	}
}

// FuzzAddresses: what init takes, run takes.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"mail.example.org:25", "[2001:db8::1]:25", ":25", "h:0", "smtp://a:1", "a:b:c", "127.0.0.1:99999", "\"x\":1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if hop, err := serverAddress(s); err == nil {
			c := relay.DefaultConfig()
			c.URL = "smtp://" + hop
			if errs := c.Validate(); len(errs) > 0 {
				t.Errorf("--next-hop %q gives %q, which the relay refuses: %v", s, hop, errs)
			}
		}
		if a, err := listenAddress(s); err == nil {
			c := smtpproxy.ListenerConfig{Listen: []string{a.String()}}
			if _, err := c.ListenAddresses(); err != nil {
				t.Errorf("--inbound %q gives %s, which the listener refuses: %v", s, a, err)
			}
		}
	})
}

func TestReaches(t *testing.T) {
	for _, c := range []struct {
		to, bound string
		want      bool
	}{
		{"127.0.0.1:25", "0.0.0.0:25", true},
		{"127.0.0.1:25", "[::]:25", true}, // may take IPv4 too
		{"[::1]:25", "[::]:25", true},
		{"[::1]:25", "0.0.0.0:25", false},
		{"127.0.0.1:26", "0.0.0.0:25", false},
		{"192.0.2.7:25", "0.0.0.0:25", false}, // not ours
		{"192.0.2.7:25", "192.0.2.7:25", true},
		{"127.0.0.2:25", "127.0.0.1:25", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
	} {
		if got := reaches(netip.MustParseAddrPort(c.to), netip.MustParseAddrPort(c.bound)); got != c.want {
			t.Errorf("%s reaches %s: %v", c.to, c.bound, got)
		}
	}
	// A name counts by what it means.
	f := &faults{s: &Settings{}, lookup: func(string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}}
	f.notOurselves("k", "smtp://mail.example.org:25", []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:25")})
	if len(f.list) != 1 {
		t.Errorf("a name that means ourselves: %v", f.list)
	}
	f.lookup = func(string) ([]netip.Addr, error) { return nil, errors.New("no resolver") }
	f.list = nil
	f.notOurselves("k", "smtp://mail.example.org:25", []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:25")})
	if len(f.list) != 1 || !f.list[0].warning {
		t.Errorf("a name that cannot be looked up is no mistake, and worth a warning: %v", f.list)
	}
}

func TestMemoryLimits(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self := filepath.Join(root, "self")
	if got := cgroupLimit(root, self); got != 0 {
		t.Errorf("no control group: %d", got)
	}
	write("self", "0::/system.slice/garita.service\n")
	write("system.slice/garita.service/memory.max", "max\n")
	if got := cgroupLimit(root, self); got != 0 {
		t.Errorf("no limit: %d", got)
	}
	write("system.slice/memory.max", "1000000000\n")
	write("system.slice/garita.service/memory.max", "536870912\n")
	if got := cgroupLimit(root, self); got != 512<<20 {
		t.Errorf("version 2: %d", got)
	}
	write("memory/memory.limit_in_bytes", "9223372036854771712\n")
	if got := cgroupLimit(root, self); got != 512<<20 {
		t.Errorf("version 1 without a limit: %d", got)
	}
	write("memory/memory.limit_in_bytes", "1048576\n")
	if got := cgroupLimit(root, self); got != 1<<20 {
		t.Errorf("version 1: %d", got)
	}
	write("self", "0::/../escape\n")
	if got := cgroupLimit(root, self); got != 1<<20 {
		t.Errorf("a path with ..: %d", got)
	}
	if got := memoryLimit(128<<20, 1000, 0); got < 128<<20+1000*64<<10 {
		t.Errorf("limit %d is less than what may be used", got)
	}
	if got := memoryLimit(128<<20, 1000, 512<<20); got >= 512<<20 || got < 400<<20 {
		t.Errorf("in a group of 512 MB: %d", got)
	}
}

// TestCRLF: LF files become CR LF ones, whatever the sizes of the reads.
func TestCRLF(t *testing.T) {
	long := strings.Repeat("x", 100000)
	in := "a\n\nb" + long + "\n.\n" + long
	want := strings.ReplaceAll(in, "\n", "\r\n")
	for _, n := range []int{1, 2, 7, 4096, 1 << 20} {
		r := &crlfReader{in: bufio.NewReaderSize(strings.NewReader(in), 16)}
		var got []byte
		b := make([]byte, n)
		for {
			k, err := r.Read(b)
			got = append(got, b[:k]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if string(got) != want {
			t.Errorf("reads of %d: %d octets, want %d", n, len(got), len(want))
		}
	}
}

func TestVersion(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "1d6c6cbc0aad4da4aa4c4c48ca151368c911378f"}, {Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		info         *debug.BuildInfo
		linked, want string
	}{
		{nil, "", "devel"},
		{nil, "1d6c6cbc0aad", "devel-1d6c6cbc0aad"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "", "devel"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20261122032912-1d6c6cbc0aad+dirty"}, Settings: vcs}, "other", "devel-1d6c6cbc0aad-modified"},
		{&debug.BuildInfo{Settings: vcs[:1]}, "", "devel-1d6c6cbc0aad"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: vcs[:1]}, "other", "v1.2.3"},
	} {
		if got := versionOf(c.info, c.linked); got != c.want {
			t.Errorf("%+v, %q: %s, want %s", c.info, c.linked, got, c.want)
		}
	}
}

// TestUnit: the systemd unit fits what the program does.
func TestUnit(t *testing.T) {
	raw, err := os.ReadFile("../../packaging/systemd/garita.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			unit[k] = v
		}
	}
	for k, want := range map[string]string{"Type": "notify", "RestartPreventExitStatus": "78", "StateDirectory": "garita", "RuntimeDirectory": "garita",
		"ProtectSystem": "strict", "NoNewPrivileges": "yes", "User": "garita"} {
		if unit[k] != want {
			t.Errorf("%s=%s, want %s", k, unit[k], want)
		}
	}
	s := defaults()
	if filepath.Dir(s.Admin.Socket) != "/run/"+unit["RuntimeDirectory"] || s.StateDir != "/var/lib/"+unit["StateDirectory"] {
		t.Errorf("the defaults %s and %s are outside of the unit's folders", s.Admin.Socket, s.StateDir)
	}
	if p := system(); p.dir != "/etc/"+unit["ConfigurationDirectory"] || p.state != s.StateDir || p.socket != s.Admin.Socket ||
		filepath.Dir(p.log) != "/var/log/"+unit["LogsDirectory"] || unit["Group"] != serviceGroup {
		t.Errorf("init writes for %+v, which are not the unit's folders", p)
	}
	if rotate, err := os.ReadFile("../../packaging/logrotate/garita"); err != nil || !strings.Contains(string(rotate), "\n"+system().log+" {\n") {
		t.Errorf("nothing rotates %s: %v", system().log, err)
	}
	stop, err := time.ParseDuration(unit["TimeoutStopSec"])
	if err != nil || stop <= 60*time.Second {
		t.Errorf("TimeoutStopSec=%s is not longer than the drain", unit["TimeoutStopSec"])
	}
	for _, k := range []string{"ExecStart", "ExecReload"} {
		m := regexp.MustCompile(`^/usr/bin/garita (run|reload) --config (\S+)$`).FindStringSubmatch(unit[k])
		if m == nil || m[2] != defaultConfig {
			t.Errorf("%s=%s", k, unit[k])
		}
	}
}
