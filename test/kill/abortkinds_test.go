package kill

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
)

// strangerOf spreads sessions over a thousand clients, so that none exceeds
// its rate unless it is meant to.
func strangerOf(n int64) string {
	return netip.AddrFrom4([4]byte{198, 18, byte(n / 250 % 4), byte(1 + n%250)}).String()
}

// proxyAborts are the kinds behind a load balancer, and of clients that
// conduct has an eye on: those on loopback are exempt.
func proxyAborts(w *world) []abort {
	header := func(c *abortClient) { c.say(behind(strangerOf(c.n)), 0) }
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x12\x00\x07\x7f\x00\x00\x01\x9c\x40\x00\x19"
	return []abort{
		{name: "PROXY: nothing", addr: w.proxy, play: func(*abortClient) {}},
		{name: "PROXY: header cut", addr: w.proxy, play: func(c *abortClient) { c.say("PROXY TCP4 198.18.0", 0) }},
		{name: "PROXY: header cut and reset", addr: w.proxy, play: func(c *abortClient) { c.say("PROXY TC", 0); c.reset() }},
		{name: "PROXY: another word", addr: w.proxy, play: func(c *abortClient) { c.say(ehlo, 1) }},
		{name: "PROXY: a header without end", addr: w.proxy, play: func(c *abortClient) { c.say("PROXY "+strings.Repeat("x", 300), 1) }},
		{name: "PROXY v2: cut", addr: w.proxy, play: func(c *abortClient) { c.say(v2[:20], 0) }},
		{name: "PROXY v2: wrong length", addr: w.proxy, play: func(c *abortClient) { c.say(v2[:14]+"\xff\xff"+v2[16:], 0) }},
		{name: "PROXY v2: greeted", addr: w.proxy, play: func(c *abortClient) { c.say(v2, 1) }},
		{name: "PROXY: greeted and reset", addr: w.proxy, play: func(c *abortClient) { header(c); c.read(1); c.reset() }},
		{name: "PROXY: after RCPT", addr: w.proxy, play: func(c *abortClient) {
			header(c)
			c.read(1)
			c.say(ehlo, 1)
			c.say(envelope, 2)
		}},
		{name: "PROXY: a message and QUIT", addr: w.proxy, play: func(c *abortClient) {
			header(c)
			c.read(1)
			c.say(ehlo, 1)
			c.say(envelope+"DATA\r\n", 3)
			c.say("Subject: x\r\n\r\nx\r\n.\r\n", 1)
			c.say("QUIT\r\n", 1)
		}},
		{name: "a banned client", addr: w.proxy, play: func(c *abortClient) { c.say(behind(bannedClient), 1) }},
		{name: "a client over its rate", addr: w.proxy, play: func(c *abortClient) { c.say(behind(eagerClient), 1) }},
		{name: "an early talker", addr: w.greet, play: func(c *abortClient) { c.say(behind(strangerOf(c.n))+ehlo, 1) }},
		{name: "gone before the greeting", addr: w.greet, play: header},
		{name: "reset before the greeting", addr: w.greet, play: func(c *abortClient) { header(c); c.reset() }},
		{name: "XCLIENT: half", addr: w.xclient, play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("XCLIENT ADDR=198.18", 0)
		}},
		{name: "XCLIENT: nonsense", addr: w.xclient, play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("XCLIENT ADDR=nonsense WHAT=ever\r\n", 1)
		}},
		{name: "XCLIENT: greeted again and reset", addr: w.xclient, play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("XCLIENT ADDR="+strangerOf(c.n)+" NAME=[UNAVAILABLE]\r\n", 1)
			c.reset()
		}},
		{name: "XCLIENT: a banned client", addr: w.xclient, play: func(c *abortClient) {
			c.read(1)
			c.say(ehlo, 1)
			c.say("XCLIENT ADDR="+bannedClient+"\r\n", 1)
		}},
	}
}

// trustAborts are the kinds of AUTH, client certificates and TLS from the
// first octet.
func trustAborts(w *world) []abort {
	anonymous := w.tls.Clone()
	anonymous.Certificates = nil
	in := func(c *abortClient, conf *tls.Config, then func()) {
		if c.shake(conf) {
			c.read(1)
			c.say(ehlo, 1)
			then()
		}
	}
	auth := func(name string, then func(c *abortClient)) abort {
		return abort{name: name, addr: w.submission, play: func(c *abortClient) { in(c, anonymous, func() { then(c) }) }}
	}
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	return []abort{
		{name: "implicit TLS: nothing", addr: w.submission, play: func(*abortClient) {}},
		{name: "implicit TLS: in clear", addr: w.submission, play: func(c *abortClient) { c.say(ehlo, 1) }},
		{name: "implicit TLS: half a hello", addr: w.submission, play: func(c *abortClient) { c.say(hello, 0) }},
		{name: "implicit TLS: half a hello and reset", addr: w.submission, play: func(c *abortClient) { c.say(hello, 0); c.reset() }},
		{name: "implicit TLS: an old version", addr: w.submission, play: func(c *abortClient) {
			c.shake(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		}},
		auth("AUTH: half-way", func(c *abortClient) { c.say("AUTH LOGIN\r\n", 1) }),
		auth("AUTH: half-way and reset", func(c *abortClient) { c.say("AUTH PLAIN\r\n", 1); c.reset() }),
		auth("AUTH: the name alone", func(c *abortClient) { c.say("AUTH LOGIN\r\n", 1); c.say("YW5h\r\n", 1) }),
		auth("AUTH: cancelled", func(c *abortClient) { c.say("AUTH PLAIN\r\n", 1); c.say("*\r\n", 1) }),
		auth("AUTH: no base64", func(c *abortClient) { c.say("AUTH PLAIN ====\r\n", 1) }),
		auth("AUTH: gone while it is hashed", func(c *abortClient) { c.say(plainAuth(userName, userPassword)+"\r\n", 0); c.reset() }),
		auth("AUTH: logged in and reset", func(c *abortClient) { c.say(plainAuth(userName, userPassword)+"\r\n", 1); c.reset() }),
		auth("AUTH: a message and QUIT", func(c *abortClient) {
			c.say(plainAuth(userName, userPassword)+"\r\n", 1)
			c.say("MAIL FROM:<ana@our.example>\r\nRCPT TO:<b@elsewhere.example>\r\nDATA\r\n", 3)
			c.say("Subject: x\r\n\r\nx\r\n.\r\n", 1)
			c.say("QUIT\r\n", 1)
		}),
		{name: "a client certificate and reset", addr: w.submission, play: func(c *abortClient) { in(c, w.tls, c.reset) }},
		{name: "a client certificate, after RCPT", addr: w.submission, play: func(c *abortClient) {
			in(c, w.tls, func() {
				c.say(fmt.Sprintf("MAIL FROM:<a%d@our.example>\r\nRCPT TO:<b@elsewhere.example>\r\n", c.n%100), 2)
			})
		}},
	}
}
