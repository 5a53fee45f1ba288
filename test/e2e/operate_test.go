package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// TestBypass: for an hour checks refuse nothing, over kill -9 too; relay
// permission, limits and bans hold meanwhile (design section 4.5).
func TestBypass(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "check.access", Key: "senders", Value: `["spam.example reject"]`},
		harness.Setting{Table: "limits", Key: "max_recipients", Value: "100"})
	g.Start()
	spam := visit{from: "a@spam.example"}
	if r := spam.say(t, g); r.Code != 554 {
		t.Fatalf("before the bypass: %s", r)
	}
	open := harness.GreetedFrom(t, "198.51.100.3", g.Inbound)
	if out, code := g.Run("bypass", "--for", "1h", "--reason", "night \x1b[2J", "--config", g.Config); code != 0 || strings.Contains(out, "\x1b") {
		t.Fatalf("garita bypass: %d\n%q", code, out)
	}
	open.Say("MAIL FROM:<a@spam.example>").Want(250)
	open.Say("RCPT TO:<b@our.example>").Want(250) // an open session too
	bypassed := func(when string) {
		t.Helper()
		if r := spam.say(t, g); r.Code != 250 {
			t.Errorf("%s: %s", when, r)
		}
		if r := (visit{to: "b@far.example"}).say(t, g); r.Code != 554 {
			t.Errorf("%s: a stranger relays: %s", when, r)
		}
		if out, code := g.Run("health", "--strict", "--config", g.Config); code == 0 || !strings.Contains(out, "bypass") {
			t.Errorf("%s: garita health --strict: %d\n%s", when, code, out)
		}
	}
	bypassed("in the bypass")
	g.Run("ban", "add", "198.51.100.9", "--config", g.Config)
	harness.From(t, "198.51.100.9", g.Inbound).Want(421)
	g.Kill()
	g.Start()
	bypassed("after kill -9 and a start")
	reload(t, g, 0)
	bypassed("after a reload")
	if g.Stop() != 0 {
		t.Error("the gateway ended badly")
	}
	g.Start()
	bypassed("after a restart")
	if out, code := g.Run("bypass", "--off", "--config", g.Config); code != 0 {
		t.Fatalf("garita bypass --off: %d\n%s", code, out)
	}
	if r := spam.say(t, g); r.Code != 554 {
		t.Errorf("after the end: %s", r)
	}
	g.Kill()
	g.Start()
	if r := spam.say(t, g); r.Code != 554 {
		t.Errorf("after the end, kill -9 and a start: %s", r)
	}
	g.WaitLog("bypass: checks are observed only")
	g.WaitLog("access.sender(")
	if strings.Contains(g.Log(), "\x1b") {
		t.Error("the reason reached the log as it was (L-21)")
	}
}

// TestSessionCommand: the fake dialogue says what the real one would, and
// delivers nothing.
func TestSessionCommand(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "check.access", Key: "clients", Value: `["203.0.113.66 reject Not you"]`})
	g.Start()
	const dialogue = "EHLO mail.partner.example\nMAIL FROM:<a@partner.example>\nRCPT TO:<b@our.example>\nRCPT TO:<b@far.example>\nDATA\nSubject: x\n\nx\n.\nQUIT\n"
	for _, c := range []struct {
		ip   string
		want []string
	}{
		{"198.51.100.1", []string{"220 gw.example", "250 2.1.5", "554 5.7.1", "354 ", "250 2.0.0", "221 2.0.0"}},
		{"203.0.113.66", []string{"554 5.7.1 Not you"}},
		{"2001:db8::1", []string{"250 2.0.0"}},
	} {
		out, code := harness.CommandInput(t, []byte(dialogue), harness.Binary(t), "session", "--ip", c.ip, "--config", g.Config)
		if code != 0 {
			t.Errorf("garita session --ip %s: exit status %d", c.ip, code)
		}
		// The end of the input is the client's: no stop of the service is told.
		if cut, code := harness.CommandInput(t, []byte("EHLO a.example\n"), harness.Binary(t), "session", "--ip", c.ip, "--config", g.Config); code != 0 || strings.Contains(cut, "421 ") {
			t.Errorf("garita session --ip %s without QUIT: exit status %d\n%s", c.ip, code, cut)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("garita session --ip %s lacks %q:\n%s", c.ip, want, out)
			}
		}
	}
	// On listeners that a network alone can reach, too.
	certs := harness.NewCerts(t, "gw.example")
	other, _ := submission(t, certs, hop.Addr())
	harness.Configure(t, other.Config, harness.Setting{Table: "listener.smtps", Key: "proxy_from", Value: `["198.51.100.0/24"]`},
		harness.Setting{Table: "listener.smtps", Key: "greet_delay", Value: `"20s"`})
	for _, command := range [][]string{{"session", "--ip", "192.0.2.7", "--listener", "smtps"}, {"test", "-", "--ip", "192.0.2.7", "--listener", "smtps", "--rcpt", "b@far.example"}} {
		input := dialogue
		if command[0] == "test" {
			input = "Subject: x\n\nx\n"
		}
		out, code := harness.CommandInput(t, []byte(input), harness.Binary(t), append(command, "--config", other.Config)...)
		if code != 0 {
			t.Errorf("garita %v: exit status %d\n%s", command, code, out)
		}
	}
	if hop.Count("MAIL") != 0 {
		t.Error("a fake session reached the next hop")
	}
}

// TestConfigDiff: what a reload would change is told before, and is what the
// reload then tells; secrets are never shown.
func TestConfigDiff(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), SmartHost: hop.Addr()})
	diff := func() string {
		t.Helper()
		out, code := g.Run("config", "diff", "--config", g.Config)
		if code != 0 {
			t.Fatalf("garita config diff: %d\n%s", code, out)
		}
		return out
	}
	if out := diff(); !strings.Contains(out, "no key differs") {
		t.Errorf("nothing has changed:\n%s", out)
	}
	next := "next_hop." + harness.Value(t, g.Config, harness.TableOf(t, g.Config, "outbound"), "next_hop")
	harness.Configure(t, g.Config, harness.Setting{Table: "limits", Key: "hard_errors", Value: "7"},
		harness.Setting{Table: next, Key: "login", Value: `"gate"`}, harness.Setting{Table: next, Key: "password", Value: `"hunter2-secret"`},
		harness.Setting{Table: next, Key: "auth_without_tls", Value: "true"})
	out := diff()
	for _, want := range []string{"limits.hard_errors", next + ".login", next + ".password"} {
		if !strings.Contains(out, want) {
			t.Errorf("garita config diff lacks %s:\n%s", want, out)
		}
	}
	said := reload(t, g, 0)
	if !strings.Contains(said, "limits.hard_errors") || !strings.Contains(diff(), "no key differs") {
		t.Errorf("the reload:\n%s", said)
	}
	harness.Configure(t, g.Config, harness.Setting{Table: next, Key: "password", Value: `"another-secret"`})
	if out := diff(); !strings.Contains(out, "password") {
		t.Errorf("another password is no difference:\n%s", out)
	}
	shown, _ := g.Run("config", "show", "--config", g.Config)
	for _, text := range []string{out, said, shown, diff(), g.Log()} {
		if strings.Contains(text, "-secret") {
			t.Errorf("the password is shown (L-23):\n%s", text)
		}
	}
	harness.Append(t, g.Config, "\nnonsense = 1\n")
	if out, code := g.Run("config", "diff", "--config", g.Config); code != 78 || !strings.Contains(out, "nonsense") {
		t.Errorf("garita config diff of a broken file: %d\n%s", code, out)
	}
}

// TestSocketActivation: the sockets are systemd's, so that a connection that
// comes before the program is served by it, and a restart loses none.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr(), SmartHost: hop.Addr()})
	tool := harness.Need(t, "systemd-socket-activate", "systemd")
	p := harness.Start(t, tool, "--listen="+g.Inbound, "--listen="+g.Outbound, harness.Binary(t), "run", "--config", g.Config)
	var conn net.Conn
	harness.Eventually(t, "systemd-socket-activate does not listen", func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", g.Inbound) // it is what starts the program
		return err == nil
	})
	defer conn.Close()
	c := harness.NewClient(t, conn)
	c.Want(220)
	c.Say("EHLO client.example").Want(250)
	if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Errorf("the first client: %s\n%s", r, p.Output())
	}
	if r := harness.Greeted(t, g.Outbound).Send("a@our.example", []string{"b@far.example"}, message); r.Code != 250 {
		t.Errorf("the other socket: %s", r)
	}
	reload(t, g, 0)
	if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Errorf("after a reload: %s", r)
	}
	if log := g.Log() + p.Output(); strings.Contains(log, "address already in use") {
		t.Errorf("a socket was opened twice:\n%s", log)
	}
	if n := len(hop.Accepted()); n != 3 {
		t.Errorf("%d messages arrived", n)
	}
}

// TestEarlyTalker: with greet_delay a client without a name waits for its
// greeting, and who does not wait is refused; who is known does not wait
// (attacks S-50).
func TestEarlyTalker(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	zone := harness.StartDNS(t, "1.100.51.198.in-addr.arpa. 300 IN PTR mail.partner.example.", "mail.partner.example. 300 IN A 198.51.100.1",
		"partner.example. 300 IN A 198.51.100.1", "x.example. 300 IN A 198.51.100.1")
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "dns", Key: "servers", Value: "[" + quoted(zone.Addr) + "]"})
	harness.Configure(t, g.Config, harness.Setting{Table: harness.TableOf(t, g.Config, "inbound"), Key: "greet_delay", Value: `"6s"`})
	g.Start()
	patient := harness.From(t, "198.51.100.2", g.Inbound)
	begin := time.Now()
	known := harness.From(t, "198.51.100.1", g.Inbound)
	known.Want(220)
	if r := patient.ReplyWithin(time.Millisecond); r.Code != 0 {
		t.Errorf("a client without a name was greeted as soon as one with a name: %s", r)
	}
	for _, early := range []string{"EHLO client.example\r\n", "EHLO x.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\n", "GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01"} {
		c := harness.From(t, "198.51.100.3", g.Inbound)
		c.Raw(early)
		c.Want(554)
		c.WantClosed()
	}
	patient.Want(220)
	if took := time.Since(begin); took < 6*time.Second {
		t.Errorf("the greeting came after %s, before its time", took)
	}
	patient.Say("EHLO client.example").Want(250)
	if r := patient.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Errorf("who waited: %s", r)
	}
	if n := hop.Count("MAIL"); n != 1 {
		t.Errorf("the next hop saw MAIL %d times", n)
	}
	g.WaitLog("improper command pipelining after CONNECT from unknown[198.51.100.3]")
}

// TestForeignProtocols: a browser, a TLS client, SSH and others on the mail
// port are told once and are gone; nothing of what they say runs (attacks
// S-62, S-190).
func TestForeignProtocols(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers})
	const mail = "EHLO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
	for name, words := range map[string]string{
		"GET":            "GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n" + mail,
		"POST with SMTP": "POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n" + mail,
		"HTTP/2":         "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TLS":            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"SSH":            "SSH-2.0-OpenSSH_9.2\r\n" + mail,
		"SIP":            "INVITE sip:a@our.example SIP/2.0\r\n" + mail,
		"a header":       "Subject: x\r\n" + mail,
		"PROXY, v1":      "PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n" + mail,
		"PROXY, v2":      "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x19" + mail,
		"binary":         "\xff\xfe\x00\x01\r\n" + mail,
		"an open relay":  "CONNECT far.example:25 HTTP/1.1\r\n\r\n" + mail,
	} {
		c := harness.Dial(t, g.Inbound)
		c.Want(220)
		c.Raw(words)
		for _, r := range c.WantClosed() {
			if r.Class() == 2 || r.Class() == 3 {
				t.Errorf("%s: %s", name, r)
			}
		}
	}
	if n := hop.Count("MAIL"); n != 0 {
		t.Errorf("the next hop saw MAIL %d times", n)
	}
	if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Errorf("an honest client: %s", r)
	}
}

// TestSlowReader: clients that do not read their answers hold their own
// sessions alone; others are served meanwhile, and under pressure those are
// let go soon (slowloris the other way round).
func TestSlowReader(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: []harness.Setting{
		{Table: "limits", Key: "command_timeout", Value: `"5s"`}, {Table: "limits", Key: "junk_commands", Value: "10000000"},
		{Table: "limits", Key: "max_connections", Value: "25"}, // 20 for outsiders
	}})
	const many = 17
	var slow []*harness.Client
	for range many {
		c := harness.Greeted(t, g.Inbound)
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	g.WaitLog("under pressure")
	for _, c := range slow {
		go func() {
			// Each asks for far more than the buffers of both ends hold; the
			// answer to HELP is the longest that may be asked for at a stretch.
			line := strings.Repeat("HELP\r\n", 2000)
			c.SetWriteDeadline(time.Now().Add(4 * harness.Patience))
			for range 100 {
				if _, err := fmt.Fprint(c.Conn, line); err != nil {
					return
				}
			}
		}()
	}
	for range 5 {
		c := harness.Greeted(t, g.Inbound)
		if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
			t.Errorf("another client meanwhile: %s", r)
		}
		c.Close()
	}
	for end := time.Now().Add(4 * harness.Patience); strings.Count(g.Log(), "disconnect from") < many+5; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("sessions of clients that do not read are kept")
		}
	}
	if _, peak := g.RSS(); peak > 300<<20 {
		t.Errorf("%d MB of memory for %d clients that do not read", peak>>20, many)
	}
}
