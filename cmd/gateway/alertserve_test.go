package main

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"garita/admin"
	"garita/alert"
	"garita/hold"
	"garita/mail"
	"garita/message"
	"garita/metrics"
)

// hopDown makes every next hop of a gateway one that does not answer.
func hopDown(t *testing.T, d *daemon, file string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw = regexp.MustCompile(`(?m)^url = ".*"$`).ReplaceAll(raw, []byte(`url = "smtp://`+l.Addr().String()+`"`))
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func keysOf(list []alert.Alert) string {
	var out []string
	for _, a := range list {
		out = append(out, a.Severity.String()+" "+a.Key)
	}
	return strings.Join(out, ", ")
}

// TestFindings: what a gateway knows of itself becomes alerts with texts in
// both languages and a command, and is gone when it is mended.
func TestFindings(t *testing.T) {
	d, file, _ := inProcess(t)
	if got := keysOf(d.findings(d.now.Load(), time.Now())); got != "" {
		t.Errorf("a gateway that is well: %s", got)
	}
	hopDown(t, d, file)
	why := "config.toml:3: \x1b broken"
	d.badReload.Store(&why)
	d.parts.bypass.set(time.Now().Add(time.Hour), "test")
	found := d.findings(d.now.Load(), time.Now())
	got := keysOf(found)
	for _, want := range []string{"critical next-hop/", "warning config/reload", "warning bypass/on"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing: %s", want, got)
		}
	}
	for _, a := range found {
		if a.Subject.EN == "" || a.Subject.ES == "" || a.Subject.EN == a.Subject.ES || a.Text.EN == "" || a.Text.ES == "" || len(a.Command) == 0 {
			t.Errorf("%s lacks a text or a command: %+v", a.Key, a)
		}
	}
	// Certificates: the day before the end is critical, two weeks are told,
	// and more is not.
	end := d.now.Load().tls.Certificates()[0].NotAfter
	for left, want := range map[time.Duration]string{30 * time.Hour: "warning", time.Hour: "critical", -time.Hour: "critical", 20 * 24 * time.Hour: ""} {
		list := certificateAlerts(d.now.Load(), end.Add(-left))
		if want == "" && len(list) != 0 || want != "" && (len(list) != 1 || list[0].Severity.String() != want || !strings.HasPrefix(list[0].Key, "certificate/")) {
			t.Errorf("%v left: %s", left, keysOf(list))
		}
	}
	// A look raises what is wrong; here all of it is watched.
	a := &d.parts.alerts
	a.judge(found, time.Now(), 0)
	for _, one := range found {
		if !a.manager.IsOpen(one.Key) {
			t.Errorf("%s is not open", one.Key)
		}
	}
	a.judge(nil, time.Now(), 0)
	if list := a.manager.List(false); len(list) != 0 {
		t.Errorf("still open: %+v", list)
	}
	d.alert(alert.Alert{Key: "limit/juan", Kind: alert.Limit, Severity: alert.Warning})
	a.judge(nil, time.Now(), 0) // others' alerts are not touched
	if !a.manager.IsOpen("limit/juan") {
		t.Error("an alert of another part was resolved")
	}
	d.alertOver("limit/juan")
	if a.manager.IsOpen("limit/juan") {
		t.Error("it is still open")
	}
}

// TestAlertAfter: alert.after is how long something is wrong before it is told;
// what was open at the last end is told as open at once.
func TestAlertAfter(t *testing.T) {
	m, err := alert.Open(alert.Options{Config: alert.Default()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a := &alerting{manager: m}
	found := []alert.Alert{{Key: "disk/state", Kind: alert.Disk, Severity: alert.Warning}}
	now := time.Now()
	for _, step := range []struct {
		at    time.Duration
		after time.Duration
		found bool
		open  bool
	}{
		{0, time.Minute, true, false}, {30 * time.Second, time.Minute, true, false}, {60 * time.Second, time.Minute, true, true},
		{90 * time.Second, time.Minute, false, false}, {120 * time.Second, time.Minute, true, false}, {121 * time.Second, 0, true, true},
	} {
		list := found
		if !step.found {
			list = nil
		}
		a.judge(list, now.Add(step.at), step.after)
		if m.IsOpen("disk/state") != step.open {
			t.Errorf("at %v: open %v", step.at, !step.open)
		}
	}
}

// TestDiskAlert: alert.disk_free is a share, and half of it is critical.
func TestDiskAlert(t *testing.T) {
	for _, tc := range []struct {
		free    uint64
		percent int
		want    string
	}{{1000, 10, ""}, {99, 10, "warning disk/state"}, {49, 10, "critical disk/state"}, {99, 0, ""}, {300, 50, "warning disk/state"}} {
		if got := keysOf(diskAlerts([]metrics.Disk{{Path: "/var/lib/garita", Free: tc.free, Total: 1000}}, tc.percent)); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

// TestHoldAge: alert.hold_age is how old a held message may become.
func TestHoldAge(t *testing.T) {
	now := time.Now()
	c := hold.Default()
	c.MinFree = 0
	k, err := hold.Open(hold.Options{Dir: t.TempDir(), Config: c, Now: func() time.Time { return now.Add(-100 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m, err := message.Spool(t.Context(), strings.NewReader("Subject: x\r\n\r\ntext\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	out, err := m.Render(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddrPort("192.0.2.1:4000")
	tx := &mail.Transaction{Session: &mail.Session{ID: "S", Listener: "in", Role: mail.Inbound, Client: client, Peer: client}, ID: "4ABCDEF01", Direction: mail.In, NextHop: "hop", Message: m}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "our.example"}}}
	if _, err := k.Hold(t.Context(), tx, mail.Decision{Verdict: mail.Quarantine}, out); err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]string{72 * time.Hour: "warning hold/age", 200 * time.Hour: "", 0: ""} {
		if got := keysOf(holdAlerts(k, age, now)); got != want {
			t.Errorf("hold_age = %v: %q", age, got)
		}
	}
	if n, late, err := heldNow(t.Context(), k, 72*time.Hour, now); n != 1 || late != 1 || err != nil {
		t.Errorf("%d %d %v", n, late, err)
	}
}

// alertKit is a socket with the verbs of alerts alone, and the commands for it.
func alertKit(t *testing.T) (*alert.Manager, func(args ...string) (int, string, string)) {
	t.Helper()
	m, err := alert.Open(alert.Options{Config: alert.Default(), Host: "mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	socket := filepath.Join(shortDir(t), "s")
	s, err := admin.Listen(admin.Config{Path: socket, Audit: func(admin.Act) {}, Verbs: alertVerbs(func() (*alert.Manager, bool) { return m, true })})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	t.Cleanup(func() { s.Close() })
	return m, func(args ...string) (int, string, string) {
		t.Helper()
		var line struct {
			Alert alertCommands `cmd:""`
		}
		parser, err := kong.New(&line, kong.Name("garita"), kong.Vars{"config": "/nonexistent"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, err := parser.Parse(append([]string{"alert"}, append(args, "--socket", socket)...))
		if err != nil {
			return exitUsage, "", err.Error()
		}
		var o, e bytes.Buffer
		term := terminal{in: strings.NewReader(""), out: &o, err: &e}
		return term.report(ctx.Run(&term)), o.String(), e.String()
	}
}

func TestAlertCommands(t *testing.T) {
	m, run := alertKit(t)
	if code, out, _ := run("list"); code != 0 || out != "nothing is wrong\n" {
		t.Errorf("%d %q", code, out)
	}
	for i := range 100 { // more than a page
		m.Raise(alert.Alert{Key: "limit/" + strings.Repeat("u", i+1), Kind: alert.Limit, Severity: alert.Critical, Subject: alert.Text{EN: "a \x1b[2J b", ES: "c"}})
	}
	code, out, _ := run("list")
	if code != 0 || strings.Count(out, "\n") != 101 || strings.Contains(out, "\x1b") || !strings.Contains(out, `limit/u `) || !strings.Contains(out, `a \x1b[2J b`) {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ = run("ack", "limit/u"); code != 0 || out != "limit/u: seen; no reminders until it becomes worse\n" {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := run("ack", "nothing"); code != exitFailed || !strings.Contains(errs, "there is no open alert with that key") {
		t.Errorf("%d %q", code, errs)
	}
	if code, out, _ = run("silence", "limit/*", "--for", "2h"); code != 0 || !strings.HasPrefix(out, "limit/* is silent until 2") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := run("silence", "limit/*", "--for=-1h"); code != exitUsage {
		t.Errorf("%d %q", code, errs)
	}
	_, out, _ = run("list")
	if !strings.Contains(out, "  seen  ") || !strings.Contains(out, "  silenced  ") || !strings.Contains(out, "silent until ") {
		t.Errorf("%q", out)
	}
	if code, out, _ = run("silence", "limit/*", "--for", "0s"); code != 0 || out != "limit/* is not silenced any more\n" {
		t.Errorf("%d %q", code, out)
	}
	m.Resolve("limit/u")
	if _, out, _ = run("list", "--all", "-o", "json"); !strings.Contains(out, `"resolved": "2`) || !strings.Contains(out, `"enabled": true`) {
		t.Errorf("%.300q", out)
	}
	if code, out, _ = run("test"); code != 0 || !strings.HasPrefix(out, "no channel is configured") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := run("test", "--channel", "mail.x"); code != exitUsage || !strings.Contains(errs, "there is no channel") {
		t.Errorf("%d %q", code, errs)
	}
	c := alert.Default()
	c.Exec = map[string]alert.ExecConfig{"good": {Command: []string{"/bin/true"}, SeverityConfig: alert.DefaultExec().SeverityConfig},
		"bad": {Command: []string{"/bin/false"}, SeverityConfig: alert.DefaultExec().SeverityConfig}}
	if err := m.Update(c); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run("test"); code != exitFailed || out != "exec.bad: failed: exit status 1\nexec.good: sent\n" || !strings.Contains(errs, "1 of 2 channels failed") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, out, _ := run("test", "--channel", "exec.good"); code != 0 || out != "exec.good: sent\n" {
		t.Errorf("%d %q", code, out)
	}
}
