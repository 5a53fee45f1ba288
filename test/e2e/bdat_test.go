package e2e

import (
	"fmt"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// A message by BDAT in chunks of every size is the same message, to a
// recording next hop and to Postfix.
func TestBDATChunks(t *testing.T) {
	t.Parallel()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}})
	hop := startHop(t, fakehop.Config{})
	fake := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers})
	real := harness.StartGateway(t, harness.Options{NextHop: p.Addr, Trust: strangers})
	// Chunks of a few octets are chatter and have a bound of their own.
	for _, size := range []int{7, 64, 100, len(message) - 1, len(message)} {
		c := harness.Greeted(t, fake.Inbound)
		if r := bdat(c, message, size); r.Code != 250 {
			t.Errorf("chunks of %d: %s", size, r)
			continue
		}
		list := hop.Accepted()
		if data, _ := harness.WithoutTrace(string(list[len(list)-1].Data)); data != message {
			t.Errorf("chunks of %d: got %q", size, data)
		}
	}
	c := harness.Greeted(t, real.Inbound)
	r := bdat(c, message, 100)
	if r.Code != 250 {
		t.Fatal(r)
	}
	wantMessage(t, p.WaitDelivered(t, 1)[harness.QueueID(r.Text())], unix(message))
}

// bdat sends a message in chunks.
func bdat(c *harness.Client, message string, size int) harness.Reply {
	c.Envelope("a@x.example", "b@our.example")
	for {
		n := min(size, len(message))
		last := ""
		if n == len(message) {
			last = " LAST"
		}
		c.Raw(fmt.Sprintf("BDAT %d%s\r\n%s", n, last, message[:n]))
		message = message[n:]
		r := c.Reply()
		if message == "" || r.Code != 250 {
			return r
		}
	}
}

// Truncation: whatever is missing at the end, nothing is delivered and the
// next hop's connection is closed without the dot.
func TestTruncatedMessages(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers})
	cases := []struct{ name, words string }{
		{"BDAT short last chunk", "BDAT 1000 LAST\r\n" + strings.Repeat("x", 500)},
		{"BDAT short first chunk", "BDAT 1000\r\n" + strings.Repeat("x", 500)},
		{"BDAT without last", "BDAT 5\r\nabc\r\n"},
		{"BDAT line alone", "BDAT 1000 LAST\r\n"},
		{"BDAT half a line", "BDAT 10"},
		{"DATA without end", "DATA\r\n"},
	}
	for _, k := range cases {
		for _, how := range []string{"FIN", "RST", "half-close"} {
			c := harness.Greeted(t, g.Inbound)
			c.Envelope("a@x.example", "b@our.example")
			c.Raw(k.words)
			if strings.HasPrefix(k.words, "DATA") {
				c.Want(354)
				c.Raw("Subject: s\r\n\r\ntext that goes on\r\n")
			}
			leave(t, c, how)
		}
	}
	// One whole message after all of them: what was cut is not in it, and the
	// gateway still serves.
	if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Fatal(r)
	}
	if n := len(hop.Accepted()); n != 1 {
		t.Errorf("the next hop took %d messages, want the whole one alone", n)
	}
	if n := hop.Count("DATA"); n != 1 {
		t.Errorf("the next hop saw DATA %d times", n)
	}
}
