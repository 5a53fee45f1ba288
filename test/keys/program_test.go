package keys

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// programRows are the keys that the program as a whole makes true.
func programRows() []effect {
	const l, n = "listener.NAME.", "tls.certificate.NAME."
	return []effect{
		{key: "hostname", value: `"other.example"`, want: "+reply: 220 other.example"},
		{key: "mode", value: `"observe"`, base: `check.access.clients = ["127.0.0.1 reject Go away"]`, want: "-reply: 554 5.7.1 Go away", still: "first next hop: 1 messages"},
		{key: "state_dir", value: `"{dir}/elsewhere"`, want: "+file: elsewhere/state.db\n"},
		{key: "admin.socket", value: `"{dir}/other.sock"`, want: "+file: other.sock\n"},
		{key: "tls.certificate_file", value: `"{cert}"`, base: `tls.key_file = "{key}"`, scene: "tls", want: "+names: mail.our.example"},
		{key: "tls.key_file", value: `"{key}"`, base: `tls.certificate_file = "{cert}"`, scene: "tls", want: "+names: mail.our.example"},
		{key: "tls.min_version", value: `"1.3"`, scene: "tls", want: "-TLS 1.2: taken", still: "TLS 1.3: taken"},
		{key: "tls.self_signed_dir", value: `"{dir}/own"`, want: "+file: own/"},
		{key: n + "certificate_file", value: `"{cert}"`, base: n + `key_file = "{key}"`, scene: "tls", want: "+names: mail.our.example"},
		{key: n + "key_file", value: `"{key}"`, base: n + `certificate_file = "{cert}"`, scene: "tls", want: "+names: mail.our.example"},
		{key: "log.output", value: `"{dir}/other.log"`, want: "+file: other.log\n"},
		{key: "log.format", value: `"json"`, want: "+log: {"},
		{key: "log.level", value: `"notice"`, want: "-connect from", still: "smtpd["},
		{key: "log.timestamps", value: `"rfc3339"`, want: "+log: 20"},
		{key: "log.syslog_name", value: `"gate"`, want: "+gate/smtpd["},
		{key: "metrics.listen", value: `"{addr2}"`, scene: "metrics", want: "+metrics: 200"},
		{key: l + "listen", value: `["{addr}", "{addr2}"]`, scene: "second", want: "+reply: 220"},
		{key: l + "next_hop", value: `"other"`, base: `next_hop.other.url = "smtp://{hop2}"`, want: "+second next hop: 1 messages"},
		{key: "hold.enabled", value: "false", scene: "letter external_body", want: "-Ok: held as", still: "reply: 451"},
		{key: "mime.depth", value: "2", scene: "letter deep", want: "+Ok: held as", still: "mime.limit"},
		{key: "mime.parts", value: "2", scene: "letter parts", want: "+Ok: held as", still: "mime.limit"},
		{key: "mime.fields", value: "10", scene: "letter fields", want: "+Ok: held as", still: "mime.limit"},
		{key: "mime.decoded", value: `"1MB"`, scene: "letter decoded", want: "+Ok: held as", still: "mime.limit"},
		{key: "limits.messages_total", value: `"60MB"`, scene: "room", want: "+reply: 452 4.3.1"},
		{key: "limits.messages_memory", value: `"1MB"`, scene: "spool", want: "+open: spool"},
	}
}

// TestProgram: a gateway for each value, a scene with it, and all that can be
// seen of it: replies, its log, what it prints, its files and next hops.
func TestProgram(t *testing.T) { run(t, programRows(), program) }

// gateway is a program that runs, and what was seen of it.
type gateway struct {
	t       *testing.T
	dir     string
	addr    string
	addr2   string
	process *harness.Process
	seen    strings.Builder
}

func (g *gateway) note(format string, a ...any) { fmt.Fprintf(&g.seen, format+"\n", a...) }

func program(t *testing.T, toml string, e effect) string {
	t.Helper()
	g := &gateway{t: t, dir: harness.Dir(t), addr: harness.Addr(t), addr2: harness.Addr(t)}
	first, second := startHop(t), startHop(t)
	certs := harness.NewCerts(t, "mail.our.example")
	for _, u := range [][2]string{
		{"hostname", `"gw.example"`}, {"state_dir", `"{dir}/state"`}, {"admin.socket", `"{dir}/admin.sock"`}, {"log.output", `"{dir}/mail.log"`},
		{"dns.servers", `["off"]`}, {"limits.free_disk", `"0B"`}, {"listener.NAME.role", `"inbound"`}, {"listener.NAME.listen", `["{addr}"]`},
		{"listener.NAME.next_hop", `"hop"`}, {"listener.NAME.relay_domains", `["our.example"]`}, {"next_hop.hop.url", `"smtp://{hop}"`},
	} {
		if !strings.Contains("\n"+toml, "\n"+u[0]+" ") {
			toml += "\n" + u[0] + " = " + u[1]
		}
	}
	toml = strings.NewReplacer("{dir}", g.dir, "{addr}", g.addr, "{addr2}", g.addr2, "{hop}", first.Addr(), "{hop2}", second.Addr(),
		"{cert}", certs.CertFile, "{key}", certs.KeyFile).Replace(toml)
	file := filepath.Join(g.dir, "config.toml")
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := harness.Binary(t)
	g.process = harness.Start(t, bin, "run", "--config", file)
	for {
		if _, code := harness.Command(t, bin, "health", "--wait", "1s", "--config", file); code == 0 {
			break
		}
		if g.process.Ended() { // the key that is missing may be one that it cannot be without
			return g.process.Output()
		}
	}
	g.scene(e.scene)
	g.files()
	g.process.Signal(syscall.SIGTERM)
	if code := g.process.Wait(t, time.Minute); code != 0 {
		t.Errorf("exit status %d\n%s", code, g.process.Output())
	}
	g.note("first next hop: %d messages\nsecond next hop: %d messages", len(first.Accepted()), len(second.Accepted()))
	g.note("prints: %s", g.process.Output())
	return g.seen.String() + g.logs()
}

func startHop(t *testing.T) *fakehop.Server {
	t.Helper()
	s, err := fakehop.Start(fakehop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// scene is what is done with the gateway.
func (g *gateway) scene(name string) {
	switch name {
	case "":
		g.talk(harness.Dial(g.t, g.addr), "EHLO c.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@our.example>", "DATA", "Subject: x\r\n\r\nx\r\n.", "QUIT")
	case "tls":
		g.secure(tls.VersionTLS13)
		g.secure(tls.VersionTLS12)
	case "metrics":
		r, err := http.Get("http://" + g.addr2 + "/metrics")
		if err != nil {
			return
		}
		r.Body.Close()
		g.note("metrics: %d", r.StatusCode)
	case "second":
		if c, err := harness.Connect(g.t, g.addr2); err == nil {
			g.talk(c)
			c.Close()
		}
	case "room":
		for range 2 {
			c := harness.Dial(g.t, g.addr)
			defer c.Close() // the end of the gateway waits for what is under way
			g.talk(c, "EHLO c.example", "MAIL FROM:<a@sender.example> SIZE=20000000", "RCPT TO:<b@our.example>", "DATA")
		}
	case "spool":
		c := harness.Dial(g.t, g.addr)
		defer c.Close()
		g.talk(c, "EHLO c.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@our.example>",
			"BDAT 1500002\r\n"+strings.Repeat(strings.Repeat("x", 98)+"\r\n", 15000))
		g.open()
	default:
		what, ok := strings.CutPrefix(name, "letter ")
		if !ok {
			g.t.Fatal(name)
		}
		g.talk(harness.Dial(g.t, g.addr), "EHLO c.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@our.example>", "DATA", inside(what)+".", "QUIT")
	}
}

// inside is a message that is within the bounds of [mime], and not by much.
func inside(what string) string {
	const head = "From: a@sender.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
	var b strings.Builder
	b.WriteString(head)
	switch what {
	case "deep":
		for i := range 4 {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%dx\r\n\r\n--b%dx\r\n", i, i)
		}
		b.WriteString("Content-Type: text/plain\r\n\r\nhola\r\n")
		for i := range 4 {
			fmt.Fprintf(&b, "--b%dx--\r\n", 3-i)
		}
	case "parts":
		b.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
		b.WriteString(strings.Repeat("--b\r\nContent-Type: text/plain\r\n\r\nhola\r\n", 5) + "--b--\r\n")
	case "fields":
		b.WriteString(strings.Repeat("X-Note: a\r\n", 50) + "\r\nhola\r\n")
	case "decoded":
		b.WriteString("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		b.WriteString(strings.Repeat(strings.Repeat("aG9sYSAg", 9)+"\r\n", 30000))
	default:
		return mimeLetters()[what]
	}
	return b.String()
}

// talk says lines and waits for the answer to each.
func (g *gateway) talk(c *harness.Client, lines ...string) {
	g.note("reply: %s", c.Reply())
	for _, l := range lines {
		g.note("reply: %s", c.Say(l).Reply())
	}
}

// secure asks for TLS of one version, with the name of a certificate.
func (g *gateway) secure(version uint16) {
	c := harness.Greeted(g.t, g.addr)
	c.Say("STARTTLS").Want(220)
	conn := tls.Client(c.Conn, &tls.Config{ServerName: "mail.our.example", InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}) //nolint:gosec // its name is what is looked at
	c.SetDeadline(time.Now().Add(harness.Patience))
	if err := conn.Handshake(); err != nil {
		g.note("%s: refused", tls.VersionName(version))
		return
	}
	g.note("%s: taken", tls.VersionName(version))
	g.note("names: %s", strings.Join(conn.ConnectionState().PeerCertificates[0].DNSNames, " "))
}

// open notes the spool files that the gateway has open: they have no name.
func (g *gateway) open() {
	folder := fmt.Sprintf("/proc/%d/fd", g.process.PID())
	fds, err := os.ReadDir(folder)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(folder, fd.Name())); err == nil && strings.Contains(to, "/state/spool/") {
			g.note("open: spool file")
		}
	}
}

// files notes every file of the folder.
func (g *gateway) files() {
	filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(g.dir, path)
			g.note("file: %s", name)
		}
		return nil
	})
}

// logs gives every line of every log.
func (g *gateway) logs() string {
	names, _ := filepath.Glob(filepath.Join(g.dir, "*.log"))
	var b strings.Builder
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			g.t.Fatal(err)
		}
		defer f.Close()
		text, err := io.ReadAll(f)
		if err != nil {
			g.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			b.WriteString("log: " + line)
		}
	}
	return b.String()
}
