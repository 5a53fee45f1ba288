package kill

import (
	"crypto/tls"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/test/harness"
)

// TestDrainEverywhere (attacks L-02): SIGTERM finds sessions in AUTH, inside
// a PROXY header, before their greeting, in a handshake, between commands and
// inside a message. The message is finished; all others end at once, with 421
// where a reply can be read; the exit status is 0.
func TestDrainEverywhere(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: hop.Addr})
	// Longer than anybody here waits: only the drain can end it.
	harness.Configure(t, w.Config, harness.Setting{Table: "listener.greet", Key: "greet_delay", Value: `"30s"`})
	w.Start()
	type one struct {
		name string
		c    *harness.Client
		code int // of the farewell; 0: there is none
	}
	var all []one
	add := func(name string, code int, c *harness.Client) { all = append(all, one{name, c, code}) }

	auth := func() *harness.Client {
		c, err := w.submit(t)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := auth()
	c.Say("AUTH LOGIN").Want(334)
	add("AUTH LOGIN, asked for the name", 421, c)
	c = auth()
	c.Say("AUTH LOGIN").Want(334)
	c.Say("YW5h").Want(334)
	add("AUTH LOGIN, asked for the password", 421, c)
	c = auth()
	c.Say("AUTH PLAIN").Want(334)
	add("AUTH PLAIN, asked for the response", 421, c)
	c = auth()
	c.Say(plainAuth(userName, userPassword)).Want(235)
	add("logged in", 421, c)

	add("before the greeting", 421, harness.Dial(t, w.greet).Raw(behind("198.18.0.1")))
	add("before TLS", 0, harness.Dial(t, w.submission))
	add("half a ClientHello", 0, harness.Dial(t, w.submission).Raw("\x16\x03\x01\x02\x00\x01"))
	add("between commands", 421, harness.Greeted(t, w.Inbound))
	add("half a command", 421, harness.Greeted(t, w.Inbound).Raw("MAIL FR"))
	c = harness.Greeted(t, w.Inbound)
	c.Say("STARTTLS").Want(220)
	add("STARTTLS and no handshake", 0, c)
	c = harness.Greeted(t, w.Inbound)
	c.Envelope("a@x.example", "b@our.example")
	add("between RCPT and DATA", 421, c)
	c = harness.Dial(t, w.xclient)
	c.Want(220)
	c.Say("EHLO client.example").Want(250)
	c.Say("XCLIENT ADDR=198.18.0.2").Want(220)
	add("behind XCLIENT", 421, c)

	sending := harness.Greeted(t, w.Inbound)
	sending.Envelope("a@x.example", "b@our.example").Say("DATA").Want(354)
	sending.Raw("Subject: s\r\n\r\nhalf a li")
	// Last: such a header has five seconds, and all must be there at once.
	add("PROXY, nothing yet", 0, harness.Dial(t, w.proxy))
	add("PROXY, half a header", 0, harness.Dial(t, w.proxy).Raw("PROXY TCP4 198.18"))
	add("PROXY, half a header of version 2", 0, harness.Dial(t, w.proxy).Raw("\r\n\r\n\x00\r\nQU"))
	// Every session has been taken from the queue of the kernel.
	harness.Eventually(t, "the sessions are not there", func() bool {
		return w.figure(t, "garita_smtp_connections") == float64(len(all)+1)
	})
	begin := time.Now()
	w.Signal(syscall.SIGTERM)
	for _, o := range all {
		last := harness.Reply{}
		for {
			r := o.c.ReplyWithin(harness.Patience)
			if r.Code == 0 {
				if r.Text() == "(silence)" {
					t.Errorf("%s: still open %s after SIGTERM", o.name, time.Since(begin).Round(time.Second))
				}
				break
			}
			last = r
		}
		if last.Code != o.code {
			t.Errorf("%s: ends with %s, want %d", o.name, last, o.code)
		}
	}
	t.Logf("%d sessions have ended %s after SIGTERM", len(all), time.Since(begin).Round(time.Millisecond))
	if w.Ended() {
		t.Error("the gateway has not waited for a message")
	}
	if conn, err := tls.Dial("tcp", w.submission, w.tls); err == nil {
		conn.Close()
		t.Error("a new session is let in")
	}
	sending.Raw("ne\r\n.\r\n")
	if r := sending.Reply(); r.Code != 250 {
		t.Errorf("the message on its way gets %s", r)
	}
	harness.Eventually(t, "the gateway does not end after its last message", w.Ended)
	if code := w.Stop(); code != 0 {
		t.Errorf("exit status %d\n%s", code, w.Log())
	}
	if s := hop.Stored(); len(s) != 1 || !strings.Contains(string(s[0].Data), "half a line") {
		t.Errorf("%d messages arrived", len(s))
	}
}
