package kill

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/test/harness"
)

// abort is one way to end a session badly (or well: the last ones).
type abort struct {
	name string
	play func(c *abortClient)
	addr string // empty: the inbound listener
}

// abortClient is a client without niceties, so that a million of them are
// quick. Whatever fails is none of its business.
type abortClient struct {
	tcp  *net.TCPConn
	conn net.Conn // tcp, or the TLS on it
	in   *bufio.Reader
	n    int64 // which session it is
}

// say sends text and reads n replies.
func (c *abortClient) say(text string, n int) {
	if _, err := c.conn.Write([]byte(text)); err != nil {
		return
	}
	c.read(n)
}

func (c *abortClient) read(n int) {
	for n > 0 {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		if len(line) < 4 || line[3] != '-' {
			n--
		}
	}
}

// shake begins TLS.
func (c *abortClient) shake(conf *tls.Config) bool {
	t := tls.Client(c.tcp, conf)
	if t.Handshake() != nil {
		return false
	}
	c.conn, c.in = t, bufio.NewReader(t)
	return true
}

// reset ends the connection with RST instead of FIN.
func (c *abortClient) reset() { c.tcp.SetLinger(0) }

const envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@our.example>\r\n"

const ehlo = "EHLO client.example\r\n"

// aborts are the kinds of plain SMTP, at every stage of the dialogue.
func aborts() []abort {
	data := func(c *abortClient) {
		c.read(1)
		c.say(ehlo, 1)
		c.say(envelope+"DATA\r\n", 3)
	}
	return []abort{
		{name: "nothing", play: func(*abortClient) {}},
		{name: "reset at once", play: func(c *abortClient) { c.reset() }},
		{name: "after the greeting", play: func(c *abortClient) { c.read(1) }},
		{name: "half a command", play: func(c *abortClient) { c.say("EHLO clie", 1) }},
		{name: "after EHLO", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1) }},
		{name: "reset after EHLO", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.reset() }},
		{name: "a browser", play: func(c *abortClient) { c.read(1); c.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1) }},
		{name: "TLS at once", play: func(c *abortClient) { c.say("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1) }},
		{name: "STARTTLS and nothing", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say("STARTTLS\r\n", 1) }},
		{name: "STARTTLS and nonsense", play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("STARTTLS\r\n", 1)
			c.say("nonsense nonsense nonsense\r\n", 1)
		}},
		{name: "TLS and reset", play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("STARTTLS\r\n", 1)
			if c.shake(&tls.Config{InsecureSkipVerify: true}) {
				c.say(ehlo, 0)
			}
			c.reset()
		}},
		{name: "after RCPT", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(envelope, 2) }},
		{name: "reset after RCPT", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(envelope, 2); c.reset() }},
		{name: "after DATA", play: data},
		{name: "inside the message", play: func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nhalf a li", 0) }},
		{name: "reset inside the message", play: func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nhalf a li", 0); c.reset() }},
		{name: "dot and gone", play: func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nx\r\n.\r\n", 0) }},
		{name: "short BDAT", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(envelope+"BDAT 1000 LAST\r\nshort", 2) }},
		{name: "a line too long", play: func(c *abortClient) { c.read(1); c.say(strings.Repeat("x", 3000), 1) }},
		{name: "pipelined behind QUIT", play: func(c *abortClient) { c.read(1); c.say("QUIT\r\n"+envelope, 1) }},
		{name: "out of step", play: func(c *abortClient) { c.read(1); c.say(ehlo+envelope+"DATA\r\n", 1) }},
		{name: "refused recipient", play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@elsewhere.example>\r\nQUIT\r\n", 3)
		}},
		{name: "a bare line feed", play: func(c *abortClient) { c.read(1); c.say("EHLO client.example\n", 1) }},
		{name: "a message and QUIT", play: func(c *abortClient) {
			data(c)
			c.say("Subject: x\r\n\r\nx\r\n.\r\n", 1)
			c.say("QUIT\r\n", 1)
		}},
	}
}

// TestAborts (attacks L-06): sessions of all abort kinds leave nothing behind:
// goroutines, descriptors and memory are flat after the warm-up.
// GARITA_SESSIONS says how many; make soak plays a million.
func TestAborts(t *testing.T) {
	total := 8_000
	if n, err := strconv.Atoi(os.Getenv("GARITA_SESSIONS")); err == nil {
		total = n
	}
	hop := harness.StartSandbox(t, harness.SandboxOptions{Discard: true, Forget: true})
	dns := startNames(t)
	_, port, _ := net.SplitHostPort(startLMTP(t))
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: hop.Addr, Plain: true}, []harness.Setting{
		// Their number is the point, not their rate from one address.
		{Table: "limits", Key: "max_connections_per_client", Value: "800"},
		{Table: "log", Key: "level", Value: `"warning"`},
		{Table: "dns", Key: "servers", Value: dns.setting()},
		{Table: "route", Key: "recipients", Value: `["` + mailbox + " lmtp:[127.0.0.1]:" + port + `"]`},
	}...)
	w.Start()
	w.command(t, "ban", "add", bannedClient, "--for", "2h")
	kinds := slices.Concat(aborts(), lmtpAborts(), proxyAborts(w), trustAborts(w))
	playAll(t, w.Inbound, kinds, max(total/6, 4_000))
	settle(t, w.Gateway)
	was := w.measure(t)
	begin := time.Now()
	n := playAll(t, w.Inbound, kinds, total)
	took := time.Since(begin)
	settle(t, w.Gateway)
	now := w.measure(t)
	// What ends in the background takes its time on a slow machine; a leak stays.
	for range 10 {
		if now.fds <= was.fds+8 && now.goroutines <= was.goroutines+8 && now.rss <= was.rss+48<<20 {
			break
		}
		now = w.measure(t)
	}
	t.Logf("%d sessions of %d kinds in %s: %s, then %s", n, len(kinds), took.Round(time.Second), was, now)
	if now.fds > was.fds+8 {
		t.Errorf("%d descriptors after the warm-up, %d at the end", was.fds, now.fds)
	}
	if now.goroutines > was.goroutines+8 {
		t.Errorf("%d goroutines after the warm-up, %d at the end", was.goroutines, now.goroutines)
	}
	// The heap may be anywhere between two collections; a leak of a hundred
	// octets a session would show in a million.
	if now.rss > was.rss+48<<20 {
		t.Errorf("%d MB after the warm-up, %d MB at the end", was.rss>>20, now.rss>>20)
	}
	// What two of the kinds are for happens: ban and rate are looked at.
	if r := w.greeting(t, bannedClient); r.Code != 421 {
		t.Errorf("a banned client is greeted with %s", r)
	}
	tries := 0
	for ; tries < 500 && w.greeting(t, eagerClient).Code != 421; tries++ {
	}
	if tries == 500 {
		t.Error("a client may connect 500 times in a minute")
	}
	// One ban, by the operator: what the banned client tries makes no more.
	if now, made := w.figure(t, "garita_conduct_bans"), w.figure(t, "garita_conduct_bans_total"); now != 1 || made != 0 {
		t.Errorf("%.0f bans hold and %.0f were made by conduct, want 1 and 0", now, made)
	}
	if n := w.figure(t, "garita_smtp_panics_total"); n != 0 {
		t.Errorf("%.0f panics", n)
	}
	if r := letterTo(t, w.Inbound); r.Code != 250 {
		t.Errorf("after all of them a good message gets %s", r)
	}
	if r := harness.Greeted(t, w.Inbound).Send("a@x.example", []string{mailbox}, "Subject: s\r\n\r\nx\r\n"); r.Code != 250 {
		t.Errorf("after all of them a message by LMTP gets %s", r)
	}
	c, err := w.submit(t)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r := login(c, userName, userPassword); r.Code != 235 {
		t.Errorf("after all of them a good login gets %s", r)
	}
	holder, err := w.submitAs(t, w.tls)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if r := holder.Send("ana@our.example", []string{"b@elsewhere.example"}, "Subject: s\r\n\r\nx\r\n"); r.Code != 250 {
		t.Errorf("after all of them the holder of a certificate gets %s", r)
	}
}

// figures are what must be flat.
type figures struct {
	fds, goroutines int
	rss             int64
}

func (f figures) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %d MB", f.fds, f.goroutines, f.rss>>20)
}

// measure reads them when no session is left. Connections that idle in a pool,
// and those that end in the background, are given the time that they may take:
// the lowest figures of two seconds count.
func (w *world) measure(t *testing.T) figures {
	t.Helper()
	low := figures{1 << 30, 1 << 30, 1 << 60}
	for range 20 {
		now, _ := w.RSS()
		low.fds = min(low.fds, descriptors(t, w.Gateway))
		low.goroutines = min(low.goroutines, int(w.figure(t, "go_goroutines")))
		low.rss = min(low.rss, now)
		time.Sleep(100 * time.Millisecond)
	}
	return low
}

// playAll plays n sessions, all kinds in turn, and gives how many connected.
func playAll(t *testing.T, addr string, kinds []abort, n int) int64 {
	t.Helper()
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				kind := kinds[i%int64(len(kinds))]
				to := kind.addr
				if to == "" {
					to = addr
				}
				conn, err := net.DialTimeout("tcp", to, harness.Patience)
				if err != nil {
					continue
				}
				c := &abortClient{conn.(*net.TCPConn), conn, bufio.NewReader(conn), i}
				conn.SetDeadline(time.Now().Add(harness.Patience))
				kind.play(c)
				conn.Close()
				done.Add(1)
			}
		}()
	}
	wg.Wait()
	if done.Load() < int64(n)*9/10 {
		t.Errorf("only %d of %d sessions came about", done.Load(), n)
	}
	return done.Load()
}

// settle waits until no session is left.
func settle(t *testing.T, g *harness.Gateway) {
	t.Helper()
	harness.Eventually(t, "sessions are left over", func() bool {
		out, _ := g.Run("status", "-o", "json", "--config", g.Config)
		return strings.Contains(out, `"sessions": 0,`)
	})
}

func descriptors(t *testing.T, g *harness.Gateway) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(g.PID()), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
