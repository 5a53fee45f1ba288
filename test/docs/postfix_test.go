package docs

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"garita/test/harness"
)

// An arrangement is one section of postfix.md, with its addresses replaced by
// free ones of this machine.
type arrangement struct {
	toml, mainCF, masterCF string
	at                     map[string]string // address in the text: address of the test
}

// section takes the blocks of one section of postfix.md.
func section(t *testing.T, heading string, addresses ...string) arrangement {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, "docs", "postfix.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("postfix.md has no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	a := arrangement{at: map[string]string{}}
	for _, text := range addresses {
		a.at[text] = harness.Addr(t)
	}
	here := func(text string) string {
		for old, now := range a.at {
			host, port, _ := strings.Cut(old, ":")
			_, to, _ := strings.Cut(now, ":")
			text = strings.ReplaceAll(text, old, now)
			text = strings.ReplaceAll(text, "["+host+"]:"+port, "[127.0.0.1]:"+to)
		}
		return strings.ReplaceAll(text, `["192.0.2.20"]`, `["127.0.0.1"]`)
	}
	for _, b := range parse(t, heading, rest).blocks {
		switch b.info {
		case "toml":
			a.toml += here(b.text)
		case "main.cf":
			a.mainCF += here(b.text)
		case "master.cf":
			a.masterCF += here(b.text)
		}
	}
	return a
}

// options are the lines of main.cf.
func (a arrangement) options() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(a.mainCF) {
		if k, v, ok := strings.Cut(line, "="); ok {
			out[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return out
}

// services are the services of master.cf, and the options of the one that
// stands for port 25.
func (a arrangement) services() (services, front []string) {
	for line := range strings.Lines(a.masterCF) {
		switch line = strings.TrimRight(line, "\n"); {
		case strings.HasPrefix(line, "smtp inet "):
			front = []string{}
		case !strings.HasPrefix(line, " "):
			services = append(services, line)
		case front != nil && len(services) == 0:
			front = append(front, strings.TrimPrefix(strings.TrimSpace(line), "-o "))
		default:
			services[len(services)-1] += "\n" + line
		}
	}
	return services, front
}

// start runs garita with the configuration of the section.
func (a arrangement) start(t *testing.T) *harness.Process {
	t.Helper()
	dir := harness.Dir(t)
	file := filepath.Join(dir, "config.toml")
	text := "state_dir = \"" + dir + "/state\"\n" + a.toml + "\n[admin]\nsocket = \"" + dir + "/admin.sock\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, harness.Binary(t), "run", "--config", file)
	if out, code := harness.Command(t, harness.Binary(t), "health", "--wait", harness.Patience.String(), "--config", file); code != 0 {
		t.Fatalf("%s\n%s", out, p.Output())
	}
	return p
}

const letter = "Message-ID: <1@x.example>\r\nSubject: s\r\n\r\nhello\r\n"

// arrives sends a message to a Postfix and waits until it is stored there.
func arrives(t *testing.T, front, store *harness.Postfix, gate *harness.Process) {
	t.Helper()
	if r := harness.Greeted(t, front.Addr).Send("a@x.example", []string{"b@our.example"}, letter); r.Code != 250 {
		t.Fatalf("%s\n%s\n%s", r, gate.Output(), front.Log())
	}
	for _, got := range store.WaitDelivered(t, 1) {
		rest, received := harness.WithoutTrace(got)
		if rest != strings.ReplaceAll(letter, "\r\n", "\n") || !slices.ContainsFunc(received, func(f string) bool { return strings.Contains(f, "(Garita)") }) {
			t.Errorf("arrived: %q", got)
		}
	}
	harness.Eventually(t, "garita logs no delivery", func() bool { return strings.Contains(gate.Output(), "status=sent") })
}

// TestPostfixXClientAsWritten follows postfix.md: the Postfix behind an inbound
// listener takes the client of the gateway for its own.
func TestPostfixXClientAsWritten(t *testing.T) {
	t.Parallel()
	a := section(t, "Inbound with XCLIENT", "0.0.0.0:25", "192.0.2.20:25")
	main := a.options()
	main["smtpd_authorized_xclient_hosts"] = strings.ReplaceAll(main["smtpd_authorized_xclient_hosts"], "192.0.2.10", "127.0.0.1")
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"example.org"}, Main: main})
	a.toml = strings.ReplaceAll(a.toml, a.at["192.0.2.20:25"], p.Addr)
	gate := a.start(t)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	conn, err := d.Dial("tcp4", a.at["0.0.0.0:25"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := harness.NewClient(t, conn)
	c.Want(220)
	c.Say("EHLO client.example").Want(250)
	if r := c.Send("a@x.example", []string{"b@example.org"}, letter); r.Code != 250 {
		t.Fatalf("%s\n%s\n%s", r, gate.Output(), p.Log())
	}
	p.WaitLog(t, ": client=unknown[127.0.0.9]")
	if strings.Contains(p.Log(), "client=localhost[127.0.0.1]") || !strings.Contains(p.Log(), ": client=") {
		t.Errorf("Postfix did not take the client:\n%s", p.Log())
	}
}

// TestPostfixContentFilterAsWritten follows postfix.md to the letter.
func TestPostfixContentFilterAsWritten(t *testing.T) {
	t.Parallel()
	a := section(t, "Content filter, after the queue", "127.0.0.1:10024", "127.0.0.1:10025")
	gate := a.start(t)
	services, _ := a.services()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}, Main: a.options(), Services: services})
	arrives(t, p, p, gate)
}

// TestPostfixProxyAsWritten likewise.
func TestPostfixProxyAsWritten(t *testing.T) {
	t.Parallel()
	a := section(t, "Before-queue proxy", "127.0.0.1:10025", "127.0.0.1:10026")
	gate := a.start(t)
	services, front := a.services()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}, Smtpd: front, Services: services})
	arrives(t, p, p, gate)
}

// TestPostfixRelayhostAsWritten likewise; the second Postfix is the one on the
// gateway, with the service that the page gives it.
func TestPostfixRelayhostAsWritten(t *testing.T) {
	t.Parallel()
	a := section(t, "Outbound: relayhost", "0.0.0.0:26", "192.0.2.10:26", "192.0.2.30:25", "127.0.0.1:10026")
	a.toml = strings.ReplaceAll(a.toml, a.at["192.0.2.30:25"], a.at["127.0.0.1:10026"])
	a.mainCF = regexp.MustCompile(`\[127\.0\.0\.1\]:\d+`).ReplaceAllString(a.mainCF, "[127.0.0.1]:"+strings.Split(a.at["0.0.0.0:26"], ":")[1])
	services, _ := a.services()
	out := harness.StartPostfix(t, harness.PostfixOptions{Name: "out", Services: services})
	gate := a.start(t)
	main := a.options()
	main["relay_transport"], main["default_transport"] = "smtp", "smtp"
	office := harness.StartPostfix(t, harness.PostfixOptions{Name: "office", Main: main})
	arrives(t, office, out, gate)
}

// TestStatusIsJSON: scripts that operations.md has in mind can read it.
func TestStatusIsJSON(t *testing.T) {
	t.Parallel()
	dir := harness.Dir(t)
	bin := harness.Binary(t)
	if out, code := harness.Command(t, bin, "init", "--dir", dir+"/g", "--hostname", "mx.example.org", "--domain", "example.org",
		"--next-hop", harness.Addr(t), "--inbound", harness.Addr(t), "--yes"); code != 0 {
		t.Fatal(out)
	}
	harness.Start(t, bin, "run", "--config", dir+"/g/config.toml")
	if out, code := harness.Command(t, bin, "health", "--wait", harness.Patience.String(), "--config", dir+"/g/config.toml"); code != 0 {
		t.Fatal(out)
	}
	raw, err := exec.Command(bin, "status", "-o", "json", "--config", dir+"/g/config.toml").Output()
	if err != nil || !json.Valid(raw) {
		t.Errorf("%v %s", err, raw)
	}
	// Nothing listens behind it: that is what --strict is for.
	if out, code := harness.Command(t, bin, "health", "--strict", "--config", dir+"/g/config.toml"); code != 1 || !strings.Contains(out, "does not answer") {
		t.Errorf("health --strict: %d %s", code, out)
	}
}

// TestMain takes away what the harness has built.
func TestMain(m *testing.M) {
	code := m.Run()
	harness.CleanUp()
	os.RemoveAll(place())
	os.Exit(code)
}
