// Package yardstick has the servers that Garita is measured against and the
// next hop of all of them: a sink that takes SMTP mail and forgets it, a
// pass-through straight on the sockets, and one on emersion/go-smtp.
//
// They are the least that can be called a relay: no log, no limits, no
// checks, no trace field, no word about what went wrong. None of them may
// ever stand on a wire. They listen where they are told and end with their
// process.
package yardstick

import (
	"bytes"
	"fmt"
	"net"
	"sync/atomic"
)

// endOfData is the only end of DATA that the yardsticks look for.
var endOfData = []byte("\r\n.\r\n")

// Sink answers 250 to everything, in as few system calls and octets looked at
// as it can, so that the time of a measurement goes to the relay before it.
// HELP answers how many messages it has taken.
type Sink struct{ taken atomic.Int64 }

// Serve accepts until the listener fails.
func (s *Sink) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			sc := &sinkConn{sink: s, lines: lines{conn: c, buf: make([]byte, 64<<10)}}
			sc.serve()
		}()
	}
}

type sinkConn struct {
	sink *Sink
	lines
	out []byte
}

func (c *sinkConn) say(s string) { c.out = append(c.out, s...) }

func (c *sinkConn) flush() bool {
	if len(c.out) == 0 {
		return true
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err == nil
}

func (c *sinkConn) serve() {
	c.say("220 sink ESMTP\r\n")
	for {
		if !c.more() && !c.flush() {
			return
		}
		line, err := c.line()
		if err != nil {
			return
		}
		switch {
		case is(line, "EHLO"):
			c.say("250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600\r\n")
		case is(line, "DATA"):
			c.say("354 go\r\n")
			if !c.flush() || !c.skipBody() {
				return
			}
			c.sink.taken.Add(1)
			c.say("250 2.0.0 Ok: queued as 4Rz0X10000z9\r\n")
		case is(line, "HELP"):
			c.say(fmt.Sprintf("214 %d\r\n", c.sink.taken.Load()))
		case is(line, "QUIT"):
			c.say("221 bye\r\n")
			c.flush()
			return
		default:
			c.say("250 2.0.0 Ok\r\n")
		}
	}
}

// skipBody reads to the end of data and keeps nothing. What has been searched
// is dropped, but for the four octets that may begin the end mark.
func (c *sinkConn) skipBody() bool {
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r = 0
	if c.w >= 3 && string(c.buf[:3]) == ".\r\n" {
		c.r = 3
		return true
	}
	for {
		if i := bytes.Index(c.buf[:c.w], endOfData); i >= 0 {
			c.r = i + len(endOfData)
			return true
		}
		if c.w > 4 {
			c.w = copy(c.buf, c.buf[c.w-4:c.w])
		}
		n, err := c.conn.Read(c.buf[c.w:])
		if err != nil {
			return false
		}
		c.w += n
	}
}
