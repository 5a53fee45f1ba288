package yardstick

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// pooledFor is how long a connection to the next hop is kept unused.
const pooledFor = 10 * time.Second

// Raw is the pass-through straight on the sockets: a message is kept in the
// form it has on the wire, its end is searched for in bulk, and it goes to a
// pooled connection with MAIL, RCPT and DATA in one write.
type Raw struct {
	NextHop string
	TLS     *tls.Config // nil: no STARTTLS

	pool   chan *hopConn
	bodies sync.Pool
}

type hopConn struct {
	lines
	used time.Time
}

// Serve accepts until the listener fails.
func (r *Raw) Serve(l net.Listener) error {
	r.pool = make(chan *hopConn, 200)
	r.bodies.New = func() any { b := make([]byte, 0, 64<<10); return &b }
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go (&rawSession{raw: r, lines: lines{conn: c, buf: make([]byte, 512)}}).serve()
	}
}

func (r *Raw) connect() (*hopConn, error) {
	for {
		select {
		case h := <-r.pool:
			if time.Since(h.used) < pooledFor {
				return h, nil
			}
			h.conn.Close()
		default:
			return r.dial()
		}
	}
}

func (r *Raw) dial() (*hopConn, error) {
	c, err := net.Dial("tcp", r.NextHop)
	if err != nil {
		return nil, err
	}
	h := &hopConn{lines: lines{conn: c, buf: make([]byte, 4096)}}
	if _, err := h.reply(); err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte("EHLO raw\r\n")); err != nil {
		return nil, err
	}
	_, err = h.reply()
	return h, err
}

// deliver gives the code of the next hop, or 451.
func (r *Raw) deliver(commands []byte, replies int, body []byte) int {
	h, err := r.connect()
	if err != nil {
		return 451
	}
	code := h.deliver(commands, replies, body)
	if code != 250 {
		h.conn.Close()
		return code
	}
	h.used = time.Now()
	select {
	case r.pool <- h:
	default:
		h.conn.Close()
	}
	return code
}

func (h *hopConn) deliver(commands []byte, replies int, body []byte) int {
	if _, err := h.conn.Write(commands); err != nil {
		return 451
	}
	for range replies {
		if c, err := h.reply(); err != nil || c >= 400 {
			return 451
		}
	}
	if _, err := h.conn.Write(body); err != nil {
		return 451
	}
	c, err := h.reply()
	if err != nil {
		return 451
	}
	return c
}

type rawSession struct {
	raw *Raw
	lines
	out      []byte
	commands []byte // MAIL and RCPT as they came
	replies  int
}

func (s *rawSession) say(t string) { s.out = append(s.out, t...) }

func (s *rawSession) flush() bool {
	if len(s.out) == 0 {
		return true
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err == nil
}

func (s *rawSession) serve() {
	defer func() { s.conn.Close() }()
	s.say("220 raw ESMTP\r\n")
	for {
		if !s.more() && !s.flush() {
			return
		}
		s.conn.SetReadDeadline(time.Now().Add(5 * time.Minute))
		line, err := s.line()
		if err != nil || !s.command(line) {
			return
		}
	}
}

// command does what a line says; false ends the session.
func (s *rawSession) command(line []byte) bool {
	switch {
	case is(line, "EHLO"):
		s.say("250-raw\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n")
		if s.raw.TLS != nil {
			s.say("250-STARTTLS\r\n")
		}
		s.say("250 8BITMIME\r\n")
	case is(line, "STARTTLS") && s.raw.TLS != nil:
		s.say("220 2.0.0 Ready\r\n")
		if !s.flush() {
			return false
		}
		c := tls.Server(s.conn, s.raw.TLS)
		if c.Handshake() != nil {
			return false
		}
		s.conn, s.r, s.w = c, 0, 0
	case is(line, "MAIL FROM:"):
		s.commands, s.replies = append(s.commands[:0], line...), 1
		s.say("250 2.1.0 Ok\r\n")
	case is(line, "RCPT TO:") && s.replies > 0:
		s.commands = append(s.commands, line...)
		s.replies++
		s.say("250 2.1.5 Ok\r\n")
	case is(line, "DATA") && s.replies > 1:
		return s.message()
	case is(line, "QUIT"):
		s.say("221 2.0.0 Bye\r\n")
		s.flush()
		return false
	default:
		s.say("250 2.0.0 Ok\r\n")
	}
	return true
}

func (s *rawSession) message() bool {
	s.say("354 End data with <CR><LF>.<CR><LF>\r\n")
	if !s.flush() {
		return false
	}
	bp := s.raw.bodies.Get().(*[]byte)
	body, err := s.body((*bp)[:0])
	code := 0
	if err == nil {
		code = s.raw.deliver(append(s.commands, "DATA\r\n"...), s.replies+1, body)
	}
	if *bp = body[:0]; cap(body) <= 4<<20 {
		s.raw.bodies.Put(bp)
	}
	if err != nil {
		return false
	}
	s.replies = 0
	if code == 250 {
		s.say("250 2.0.0 Ok\r\n")
	} else {
		s.say("451 4.3.0 Error\r\n")
	}
	return true
}
