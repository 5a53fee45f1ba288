package policyd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// conn is one connection of an MTA.
type conn struct {
	s    *Server
	nc   net.Conn
	peer netip.AddrPort
	last *instance // the message asked about last

	in   []byte // received and not yet answered
	read int    // of in, without an end of request in it
	// partial tells that the time of the request in the buffer runs.
	partial bool
	out     []byte

	// idleFrom and writeFrom are when the deadlines of an idle connection and
	// of a write were set last, idleFor and writeFor their times; zero: not.
	idleFrom, writeFrom time.Time
	idleFor, writeFor   time.Duration

	mu       sync.Mutex
	idle     bool // waits for a request
	draining bool
}

// keepBuffer is the size of a buffer that a connection keeps while it waits.
const keepBuffer = 8 << 10

// serve answers until the end.
func (c *conn) serve() {
	defer c.nc.Close()
	defer func() {
		if p := recover(); p != nil {
			c.s.faults.Add(1)
			c.s.warn("a request could not be answered; the connection was closed",
				slog.String("error", fmt.Sprintf("panic: %v\n%s", p, debug.Stack())))
			_ = c.flush()
		}
	}()
	c.in = make([]byte, 0, 4<<10)
	for {
		text, err := c.next()
		if err == nil {
			err = c.answer(text)
		}
		if err == nil {
			continue
		}
		// What was asked before it is answered all the same.
		_ = c.flush()
		if !quiet(err) {
			c.s.faults.Add(1)
			c.s.warn("a request could not be answered; the connection was closed", slog.String("error", err.Error()))
		}
		return
	}
}

// quiet are ends that are nobody's fault.
func quiet(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errIdle) || errors.Is(err, errClosing)
}

var (
	errIdle = errors.New("idle")
	errLate = errors.New("the request did not come in time")
	errCut  = errors.New("the connection ended within a request")
)

// next gives the next request without its end. While there are more in the
// buffer, answers are collected; they go out before we wait.
func (c *conn) next() (string, error) {
	for {
		if end, skip, err := c.find(); err != nil || end >= 0 {
			if err != nil {
				return "", err
			}
			text := string(c.in[:end])
			n := copy(c.in, c.in[end+skip:])
			c.in, c.read, c.partial = c.in[:n], 0, false
			return text, nil
		}
		if err := c.flush(); err != nil {
			return "", err
		}
		if err := c.fill(); err != nil {
			return "", err
		}
	}
}

// find looks for the empty line; end is -1 where there is none yet. Each octet
// is looked at once, however slowly they come.
func (c *conn) find() (end, skip int, err error) {
	for c.read < len(c.in) {
		i := bytes.IndexByte(c.in[c.read:], '\n')
		if i < 0 {
			if len(c.in)-c.read > maxLine {
				return 0, 0, errLong
			}
			break
		}
		if i > maxLine {
			return 0, 0, errLong
		}
		if i == 0 || i == 1 && c.in[c.read] == '\r' {
			return c.read, i + 1, nil
		}
		c.read += i + 1
	}
	if len(c.in) >= maxRequest {
		return 0, 0, errLong
	}
	return -1, 0, nil
}

// fill waits for more octets.
func (c *conn) fill() error {
	set := c.s.set.Load()
	wait, late := set.RequestTimeout, errLate
	fresh := len(c.in) == 0
	if fresh {
		wait, late = set.IdleTimeout, errIdle
		if cap(c.in) > keepBuffer {
			c.in = make([]byte, 0, 4<<10)
		}
		if cap(c.out) > keepBuffer {
			c.out = nil
		}
	}
	if len(c.in) == cap(c.in) {
		c.in = append(c.in, 0)[:len(c.in)]
	}
	// A request's time runs from its first octets, not from the last ones.
	if !c.wait(fresh, !c.partial, wait) {
		return errClosing
	}
	c.partial = !fresh
	n, err := c.nc.Read(c.in[len(c.in):cap(c.in)])
	c.busy()
	if n > 0 {
		c.in = c.in[:len(c.in)+n]
		return nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.isDraining() {
			return errClosing
		}
		return late
	case errors.Is(err, io.EOF) && !fresh:
		return errCut
	case err == nil:
		return io.ErrNoProgress
	case fresh:
		return io.EOF // a reset of an idle connection is its end
	}
	return err
}

// wait notes whether the connection is idle, and sets the end of the wait;
// false: it must end instead.
func (c *conn) wait(idle, begins bool, wait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = idle
	if c.draining && idle {
		return false
	}
	switch now := time.Now(); {
	case idle && wait == c.idleFor && now.Sub(c.idleFrom) < wait/slack:
	case idle:
		c.idleFrom, c.idleFor = now, wait
		c.nc.SetReadDeadline(now.Add(wait))
	case begins:
		c.idleFor = 0
		c.nc.SetReadDeadline(now.Add(wait))
	}
	return true
}

// slack is the part of a time to wait by which it may be shorter: to set a
// deadline for each request is a good part of what one costs.
const slack = 16

func (c *conn) busy() {
	c.mu.Lock()
	c.idle = false
	c.mu.Unlock()
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// drain ends the connection when it waits, or after its request.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.idle {
		c.nc.SetReadDeadline(time.Now())
	}
}

// flush sends the answers.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if now, wait := time.Now(), c.s.set.Load().RequestTimeout; wait != c.writeFor || now.Sub(c.writeFrom) >= wait/slack {
		c.writeFrom, c.writeFor = now, wait
		c.nc.SetWriteDeadline(now.Add(wait))
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// answer judges one request. Answers are collected to a bound, so that who
// sends a million requests and reads nothing fills no memory.
func (c *conn) answer(text string) error {
	r, err := parse(text)
	if err != nil {
		return err
	}
	c.s.requests.Add(1)
	begun := time.Now()
	action := c.judge(context.Background(), &r)
	c.s.figures.answered(action, time.Since(begun))
	c.out = append(c.out, "action="...)
	c.out = append(c.out, action...)
	c.out = append(c.out, "\n\n"...)
	if len(c.out) >= keepBuffer {
		return c.flush()
	}
	return nil
}
