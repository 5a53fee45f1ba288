package kill

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
}

// abortClient is a client without niceties, so that a million of them are
// quick. Whatever fails is none of its business.
type abortClient struct {
	conn *net.TCPConn
	in   *bufio.Reader
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

// reset ends the connection with RST instead of FIN.
func (c *abortClient) reset() { c.conn.SetLinger(0) }

const envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@our.example>\r\n"

// aborts are all kinds, at every stage of the dialogue.
func aborts() []abort {
	const ehlo = "EHLO client.example\r\n"
	data := func(c *abortClient) {
		c.read(1)
		c.say(ehlo, 1)
		c.say(envelope+"DATA\r\n", 3)
	}
	return []abort{
		{"nothing", func(*abortClient) {}},
		{"reset at once", func(c *abortClient) { c.reset() }},
		{"after the greeting", func(c *abortClient) { c.read(1) }},
		{"half a command", func(c *abortClient) { c.say("EHLO clie", 1) }},
		{"after EHLO", func(c *abortClient) { c.read(1); c.say(ehlo, 1) }},
		{"reset after EHLO", func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.reset() }},
		{"a browser", func(c *abortClient) { c.read(1); c.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1) }},
		{"TLS at once", func(c *abortClient) { c.say("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1) }},
		{"STARTTLS and nothing", func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say("STARTTLS\r\n", 1) }},
		{"STARTTLS and nonsense", func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("STARTTLS\r\n", 1)
			c.say("nonsense nonsense nonsense\r\n", 1)
		}},
		{"TLS and reset", func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("STARTTLS\r\n", 1)
			t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
			if t.Handshake() == nil {
				t.Write([]byte(ehlo))
			}
			c.reset()
		}},
		{"after RCPT", func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(envelope, 2) }},
		{"reset after RCPT", func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(envelope, 2); c.reset() }},
		{"after DATA", data},
		{"inside the message", func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nhalf a li", 0) }},
		{"reset inside the message", func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nhalf a li", 0); c.reset() }},
		{"dot and gone", func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nx\r\n.\r\n", 0) }},
		{"short BDAT", func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(envelope+"BDAT 1000 LAST\r\nshort", 2) }},
		{"a line too long", func(c *abortClient) { c.read(1); c.say(strings.Repeat("x", 3000), 1) }},
		{"pipelined behind QUIT", func(c *abortClient) { c.read(1); c.say("QUIT\r\n"+envelope, 1) }},
		{"out of step", func(c *abortClient) { c.read(1); c.say(ehlo+envelope+"DATA\r\n", 1) }},
		{"refused recipient", func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@elsewhere.example>\r\nQUIT\r\n", 3)
		}},
		{"a bare line feed", func(c *abortClient) { c.read(1); c.say("EHLO client.example\n", 1) }},
		{"a message and QUIT", func(c *abortClient) {
			data(c)
			c.say("Subject: x\r\n\r\nx\r\n.\r\n", 1)
			c.say("QUIT\r\n", 1)
		}},
	}
}

// TestAborts (attacks L-06): sessions of all abort kinds leave nothing behind:
// descriptors and memory are flat after the warm-up. GARITA_SESSIONS says how
// many; make soak plays a million.
func TestAborts(t *testing.T) {
	total := 6_000
	if n, err := strconv.Atoi(os.Getenv("GARITA_SESSIONS")); err == nil {
		total = n
	}
	hop := harness.StartSandbox(t, harness.SandboxOptions{Discard: true, Forget: true})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr, Trust: "192.0.2.0/24", Plain: true, Settings: []harness.Setting{
		// Their number is the point, not their rate from one address.
		{Table: "limits", Key: "max_connections_per_client", Value: "800"},
		{Table: "log", Key: "level", Value: `"warning"`},
	}})
	kinds := aborts()
	playAll(t, g.Inbound, kinds, total/6)
	settle(t, g)
	fds, rss := descriptors(t, g), resident(g)
	begin := time.Now()
	n := playAll(t, g.Inbound, kinds, total)
	took := time.Since(begin)
	settle(t, g)
	fdsNow, rssNow := descriptors(t, g), resident(g)
	t.Logf("%d sessions of %d kinds in %s: descriptors %d, then %d; resident %d MB, then %d MB",
		n, len(kinds), took.Round(time.Second), fds, fdsNow, rss>>20, rssNow>>20)
	if fdsNow > fds+8 {
		t.Errorf("%d descriptors after the warm-up, %d at the end", fds, fdsNow)
	}
	// The heap may be anywhere between two collections; a leak of a hundred
	// octets a session would show in a million.
	if rssNow > rss+48<<20 {
		t.Errorf("%d MB after the warm-up, %d MB at the end", rss>>20, rssNow>>20)
	}
	if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n"); r.Code != 250 {
		t.Errorf("after all of them a good message gets %s", r)
	}
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
				conn, err := net.DialTimeout("tcp", addr, harness.Patience)
				if err != nil {
					continue
				}
				c := &abortClient{conn.(*net.TCPConn), bufio.NewReader(conn)}
				conn.SetDeadline(time.Now().Add(harness.Patience))
				kinds[i%int64(len(kinds))].play(c)
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

func resident(g *harness.Gateway) int64 {
	now, _ := g.RSS()
	return now
}
