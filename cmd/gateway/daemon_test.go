package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
)

// bound on everything that must happen; it is never what a test measures.
const patience = 90 * time.Second

// gateway is a running garita run with a folder of its own.
type gateway struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	err   *safeBuffer
	ended chan struct{}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// garita runs a command to its end.
func garita(args ...string) (code int, out, errText string) {
	cmd := exec.Command("garita", args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), o.String(), e.String()
	}
	if err != nil {
		return -1, "", err.Error()
	}
	return 0, o.String(), e.String()
}

// shortDir is a folder whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// initialise writes a configuration as the command does.
func initialise(t *testing.T, hop string) string {
	t.Helper()
	dir := shortDir(t)
	code, _, text := garita("init", "--dir", dir, "--hostname", "mx.example.org", "--domain", "example.org,example.net",
		"--next-hop", hop, "--inbound", "127.0.0.1:0", "--outbound", "127.0.0.1:0", "--smart-host", hop,
		"--trust", "127.0.0.0/8", "--mode", "enforce", "--yes")
	if code != 0 {
		t.Fatalf("init: %d %s", code, text)
	}
	// No question leaves this machine.
	g := &gateway{t: t, dir: dir}
	g.edit("[dns]", "[dns]\nservers = [\"off\"]")
	return dir
}

// start runs the gateway of a folder and waits until it is ready.
func start(t *testing.T, dir string, env ...string) *gateway {
	t.Helper()
	g := launch(t, dir, env...)
	if code, _, text := g.command("health", "--wait", patience.String()); code != 0 {
		t.Fatalf("health: %d %s\nrun said: %s", code, text, g.err)
	}
	return g
}

func launch(t *testing.T, dir string, env ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: dir, err: &safeBuffer{}, ended: make(chan struct{})}
	g.cmd = exec.Command("garita", "run", "--config", g.file("config.toml"))
	g.cmd.Env = append(os.Environ(), env...)
	g.cmd.Stderr = g.err
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = g.cmd.Wait(); close(g.ended) }()
	t.Cleanup(func() {
		select {
		case <-g.ended:
		default:
			_ = g.cmd.Process.Kill()
			<-g.ended
		}
	})
	return g
}

func (g *gateway) file(name string) string { return filepath.Join(g.dir, name) }

// command runs a command with the gateway's configuration.
func (g *gateway) command(args ...string) (int, string, string) {
	return garita(append(args, "--config", g.file("config.toml"))...)
}

func (g *gateway) signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// exit waits for the end and gives the exit code.
func (g *gateway) exit() int {
	g.t.Helper()
	select {
	case <-g.ended:
		return g.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		g.t.Fatal("garita run has not ended")
		return -1
	}
}

func (g *gateway) status() (s status) {
	g.t.Helper()
	code, out, text := g.command("status", "-o", "json")
	if code != 0 {
		g.t.Fatalf("status: %d %s", code, text)
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// address of the named listener.
func (g *gateway) address(name string) string {
	g.t.Helper()
	for _, l := range g.status().Listeners {
		if l.Name == name && len(l.Addresses) > 0 {
			return l.Addresses[0].String()
		}
	}
	g.t.Fatalf("listener %s is not open", name)
	return ""
}

// edit replaces text in the configuration.
func (g *gateway) edit(old, now string) {
	g.t.Helper()
	raw, err := os.ReadFile(g.file("config.toml"))
	if err != nil {
		g.t.Fatal(err)
	}
	if !strings.Contains(string(raw), old) {
		g.t.Fatalf("the configuration has no %q", old)
	}
	if err := os.WriteFile(g.file("config.toml"), []byte(strings.Replace(string(raw), old, now, 1)), 0o640); err != nil {
		g.t.Fatal(err)
	}
}

// await polls until ok, and says what it waited for when that never comes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (g *gateway) awaitLog(part string) {
	g.t.Helper()
	await(g.t, "the log line "+part, func() bool {
		raw, _ := os.ReadFile(g.file("garita.log"))
		return strings.Contains(string(raw), part)
	})
}

// smtp is a client of a few words.
type smtp struct {
	t *testing.T
	*textproto.Conn
}

func dial(t *testing.T, addr string) *smtp {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(3 * patience))
	s := &smtp{t, textproto.NewConn(c)}
	t.Cleanup(func() { s.Close() })
	s.expect(220)
	return s
}

func (s *smtp) expect(code int) string {
	s.t.Helper()
	got, text, err := s.ReadResponse(code)
	if err != nil {
		s.t.Fatalf("reply %d %q, want %d: %v", got, text, code, err)
	}
	return text
}

func (s *smtp) say(code int, line string) string {
	s.t.Helper()
	if err := s.PrintfLine("%s", line); err != nil {
		s.t.Fatal(err)
	}
	return s.expect(code)
}

// envelope goes as far as 354.
func (s *smtp) envelope(to string) {
	s.t.Helper()
	s.say(250, "EHLO client.example")
	s.say(250, "MAIL FROM:<a@sender.example>")
	s.say(250, "RCPT TO:<"+to+">")
	s.say(354, "DATA")
}

func send(t *testing.T, addr, to string) {
	t.Helper()
	s := dial(t, addr)
	s.envelope(to)
	s.say(250, "Subject: x\r\n\r\ntext\r\n.")
	s.say(221, "QUIT")
}

func startHop(t *testing.T, c fakehop.Config) *fakehop.Server {
	t.Helper()
	h, err := fakehop.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// TestLife is the life of a gateway as the issue tells it: init, run, health,
// mail in both directions, status, reload good and bad, log rotation, SIGTERM.
func TestLife(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	g := start(t, dir)

	send(t, g.address("inbound"), "b@example.net")
	send(t, g.address("outbound"), "b@anywhere.example")
	c := dial(t, g.address("inbound"))
	c.say(250, "EHLO client.example")
	c.say(250, "MAIL FROM:<a@sender.example>")
	c.say(554, "RCPT TO:<b@anywhere.example>")
	c.say(221, "QUIT")
	if n := len(hop.Accepted()); n != 2 {
		t.Fatalf("the next hop has %d messages, want 2", n)
	}
	if code, out, text := g.command("health", "--strict"); code != 0 || out != "ready\n" {
		t.Errorf("health --strict: %d %q %q", code, out, text)
	}
	if code, out, text := g.command("health", "--strict", "-o", "json"); code != 0 || out != "{\n  \"ready\": true,\n  \"problems\": [],\n  \"concerns\": []\n}\n" {
		t.Errorf("health -o json: %d %q %q", code, out, text)
	}
	s := g.status()
	if s.Traffic.Outcomes["relayed"] != 2 || s.Mode != "enforce" || s.State != "running" || s.PID != g.cmd.Process.Pid ||
		len(s.NextHops) != 2 || !s.NextHops[0].Can.Known || !s.NextHops[0].Can.DSN || s.Uptime <= 0 ||
		len(s.TLS) != 1 || !s.TLS[0].SelfMade || time.Until(s.TLS[0].NotAfter) < 24*time.Hour || s.Budget.Total != 2<<30 {
		t.Errorf("status: %+v", s)
	}
	code, out, _ := g.command("status")
	for _, want := range []string{"running", "mode enforce", "inbound", "outbound", "SIZE=25MB", "2 relayed"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("status does not tell %q:\n%s", want, out)
		}
	}

	reloads(t, g)
	rotation(t, g)

	// A second one must touch nothing of the first.
	if code, _, text := garita("run", "--config", g.file("config.toml")); code != exitFailed || !strings.Contains(text, "another garita") {
		t.Errorf("second instance: %d %q", code, text)
	}
	send(t, g.address("inbound"), "b@example.org")

	g.signal(syscall.SIGTERM)
	if code := g.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, g.err)
	}
	g.awaitLog("stopped")
	if _, err := os.Lstat(g.file("admin.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the admin socket is still there: %v", err)
	}
	if code, _, _ := g.command("health"); code != exitUnreachable {
		t.Errorf("health after the end: %d", code)
	}
	// And again, from the same folder.
	g = start(t, dir)
	send(t, g.address("inbound"), "b@example.org")
}

// reloads: a good one says what it changed, a bad one changes nothing.
func reloads(t *testing.T, g *gateway) {
	t.Helper()
	before := g.address("inbound")
	old := dial(t, before)
	old.say(250, "EHLO client.example")

	g.edit(`relay_domains = ["example.org", "example.net"]`, `relay_domains = ["example.org"]`)
	g.edit(`#queue = "4MB"`, `queue = "8MB"`)
	code, out, text := g.command("reload")
	if code != 0 || !strings.Contains(out, `listener.inbound.relay_domains: ["example.org", "example.net"] -> ["example.org"]`) ||
		!strings.Contains(out, "needs a restart: log") {
		t.Errorf("reload: %d %q %q", code, out, text)
	}
	if now := g.address("inbound"); now != before {
		t.Errorf("the address changed from %s to %s though nothing asked for it", before, now)
	}
	c := dial(t, before)
	c.say(250, "EHLO client.example")
	c.say(250, "MAIL FROM:<a@sender.example>")
	c.say(554, "RCPT TO:<b@example.net>")
	// A session keeps what it began with.
	old.say(250, "MAIL FROM:<a@sender.example>")
	old.say(250, "RCPT TO:<b@example.net>")
	old.say(250, "RSET")

	g.edit(`relay_domains = ["example.org"]`, `relay_domain = ["example.org"]`)
	code, _, text = g.command("reload")
	if code != exitConfig || !strings.Contains(text, `did you mean "relay_domains"`) || !strings.Contains(text, "unchanged") {
		t.Errorf("bad reload: %d %q", code, text)
	}
	if s := g.status(); !strings.Contains(s.LastReload, "relay_domain") {
		t.Errorf("status says nothing of the failed reload: %q", s.LastReload)
	}
	if code, _, _ := g.command("health"); code != 0 {
		t.Errorf("health after a bad reload: %d", code)
	}
	if code, _, text := g.command("health", "--strict"); code != exitFailed || !strings.Contains(text, "reload") {
		t.Errorf("health --strict after a bad reload: %d %q", code, text)
	}
	send(t, before, "b@example.org")

	g.signal(syscall.SIGHUP)
	g.awaitLog("reload failed")
	g.edit(`relay_domain = ["example.org"]`, `relay_domains = ["example.org", "example.net"]`)
	g.signal(syscall.SIGHUP)
	g.awaitLog("reloaded by signal")
	send(t, before, "b@example.net")
	if s := g.status(); s.LastReload != "" {
		t.Errorf("a good reload left %q", s.LastReload)
	}
	g.awaitLog(`act="reload" detail="refused`)
	g.awaitLog(`act="reload" detail="done"`)
}

// rotation is what logrotate does: rename, then SIGUSR1.
func rotation(t *testing.T, g *gateway) {
	t.Helper()
	if err := os.Rename(g.file("garita.log"), g.file("garita.log.1")); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGUSR1)
	await(t, "the new log file", func() bool {
		_, err := os.Stat(g.file("garita.log"))
		return err == nil
	})
	send(t, g.address("inbound"), "b@example.org")
	g.awaitLog("status=sent")
}

// TestDrain: after SIGTERM a message on its way comes to its end, an idle
// client is sent away, and the exit code is 0.
func TestDrain(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	g := start(t, initialise(t, hop.Addr()))
	addr := g.address("inbound")
	idle, busy := dial(t, addr), dial(t, addr)
	busy.envelope("b@example.org")
	g.signal(syscall.SIGTERM)
	if text := idle.expect(421); !strings.HasPrefix(text, "4.3.2 ") {
		t.Errorf("idle client: 421 %s", text)
	}
	await(t, "closed listeners", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if code, out, _ := g.command("health", "-o", "json"); code != exitFailed || !strings.Contains(out, `"ready": false`) || !strings.Contains(out, "draining") {
		t.Errorf("health -o json of one that ends: %d %q", code, out)
	}
	if code, _, text := g.command("health"); code != exitFailed || !strings.Contains(text, "draining") {
		t.Errorf("health while draining: %d %q", code, text)
	}
	if code, _, text := g.command("reload"); code != exitTemporary {
		t.Errorf("reload while draining: %d %q", code, text)
	}
	busy.say(250, "Subject: x\r\n\r\ntext\r\n.")
	if code := g.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := len(hop.Accepted()); n != 1 {
		t.Errorf("the next hop has %d messages, want 1", n)
	}
}

// TestSecondSignal ends a drain that would take long; the next hop never sees
// a final dot.
func TestSecondSignal(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	g := start(t, initialise(t, hop.Addr()))
	busy := dial(t, g.address("inbound"))
	busy.envelope("b@example.org")
	if err := busy.PrintfLine("Subject: cut"); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGTERM)
	g.awaitLog("stopping")
	g.signal(syscall.SIGTERM)
	if code := g.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := len(hop.Accepted()); n != 0 {
		t.Errorf("the next hop has %d messages of a cut one", n)
	}
}

// TestKill: after kill -9 the next start needs no hand.
func TestKill(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	g := start(t, dir)
	g.signal(syscall.SIGKILL)
	g.exit()
	if _, err := os.Lstat(g.file("admin.sock")); err != nil {
		t.Fatalf("this test wants a stale socket: %v", err)
	}
	if err := os.WriteFile(g.file("state/spool/garita-1.spool"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g = start(t, dir)
	send(t, g.address("inbound"), "b@example.org")
	if left, _ := filepath.Glob(g.file("state/spool/*")); len(left) != 0 {
		t.Errorf("the spool still has %v", left)
	}
}

// TestDegraded: next hops that are down keep nothing from starting; mail is
// told to come back.
func TestDegraded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	g := start(t, initialise(t, dead))
	if code, _, text := g.command("health", "--strict"); code != exitFailed || !strings.Contains(text, "next hop inbound does not answer") {
		t.Errorf("health --strict: %d %q", code, text)
	}
	c := dial(t, g.address("inbound"))
	c.say(250, "EHLO client.example")
	c.say(250, "MAIL FROM:<a@sender.example>")
	c.say(451, "RCPT TO:<b@example.org>")
	if _, out, _ := g.command("status"); !strings.Contains(out, "down") || !strings.Contains(out, "connection refused") {
		t.Errorf("status:\n%s", out)
	}
}

// TestStartFaults: what keeps a gateway from starting is said, with the exit
// code that tells a service manager what to do.
func TestStartFaults(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name, old, now string
		code           int
		says           string
	}{
		{"address in use", `listen = ["127.0.0.1:0"]`, fmt.Sprintf(`listen = [%q]`, taken.Addr()), exitFailed, "is in use by another program"},
		{"address not ours", `listen = ["127.0.0.1:0"]`, `listen = ["192.0.2.1:2525"]`, exitFailed, "is not an address of this machine"},
		{"state in a file", `/state"`, `/config.toml/state"`, exitConfig, "is not a folder"},
		{"no certificate", `#certificate_file = ""`, `certificate_file = "/nonexistent/c.pem"`, exitConfig, "give both or neither"},
		{"unknown key", "hostname =", "hostnam =", exitConfig, "did you mean"},
		{"log is a folder", `/garita.log"`, `"`, exitFailed, "regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &gateway{t: t, dir: initialise(t, hop.Addr())}
			g.edit(c.old, c.now)
			code, _, text := g.command("run")
			if code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("exit %d, said %q; want %d and %q", code, text, c.code, c.says)
			}
			if _, err := os.Lstat(g.file("admin.sock")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an admin socket was left behind: %v", err)
			}
		})
	}
}

// TestNotify plays systemd: it hears READY, RELOADING with the clock,
// WATCHDOG and STOPPING.
func TestNotify(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	path := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 1024) // read always: the socket's queue is short
	go func() {
		defer close(heard)
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			select {
			case heard <- string(b[:n]):
			default: // watchdog pings that nobody waits for
			}
		}
	}()
	g := start(t, dir, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=100000")
	hear := func(want string) string {
		t.Helper()
		late := time.After(patience)
		for {
			select {
			case s := <-heard:
				if strings.HasPrefix(s, want) {
					return s
				}
			case <-late:
				t.Fatalf("systemd did not hear %s", want)
			}
		}
	}
	hear("READY=1")
	hear("WATCHDOG=1")
	if code, _, text := g.command("reload"); code != 0 {
		t.Fatalf("reload: %d %s", code, text)
	}
	if s := hear("RELOADING=1"); !strings.Contains(s, "\nMONOTONIC_USEC=") {
		t.Errorf("RELOADING without the clock: %q", s)
	}
	hear("READY=1")
	g.signal(syscall.SIGINT)
	hear("STOPPING=1")
	if code := g.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestDeafManager: a service manager that does not read its socket keeps us
// from nothing.
func TestDeafManager(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	path := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err == nil {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = c.Write([]byte("full"))
	}
	g := start(t, dir, "NOTIFY_SOCKET="+path)
	send(t, g.address("inbound"), "b@example.org")
	if code, _, text := g.command("reload"); code != 0 {
		t.Errorf("reload: %d %s", code, text)
	}
	g.signal(syscall.SIGTERM)
	if code := g.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestDrainVerb: the admin socket's drain ends the process like SIGTERM.
func TestDrainVerb(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	g := start(t, initialise(t, hop.Addr()))
	c, err := net.Dial("unix", g.file("admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("{\"verb\":\"drain\"}\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(line, `"ok":true`) {
		t.Fatalf("drain: %q %v", line, err)
	}
	if code := g.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	g.awaitLog(`act="drain"`)
}
