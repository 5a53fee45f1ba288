package yardstick

import (
	"bytes"
	"errors"
	"net"
	"strconv"
)

var (
	errLong = errors.New("line too long")
	errCode = errors.New("not a reply")
)

// lines reads lines from a connection.
type lines struct {
	conn net.Conn
	buf  []byte
	r, w int
}

// more tells whether a whole line has arrived already.
func (l *lines) more() bool { return bytes.IndexByte(l.buf[l.r:l.w], '\n') >= 0 }

// line gives the next line with its end; it is valid until the next call.
func (l *lines) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.r:l.w], '\n'); i >= 0 {
			s := l.buf[l.r : l.r+i+1]
			l.r += i + 1
			return s, nil
		}
		if l.r > 0 {
			l.w = copy(l.buf, l.buf[l.r:l.w])
			l.r = 0
		}
		if l.w == len(l.buf) {
			return nil, errLong
		}
		n, err := l.conn.Read(l.buf[l.w:])
		if err != nil {
			return nil, err
		}
		l.w += n
	}
}

// reply reads one reply and gives its code.
func (l *lines) reply() (int, error) {
	for {
		s, err := l.line()
		if err != nil {
			return 0, err
		}
		if len(s) < 4 {
			return 0, errCode
		}
		if s[3] != '-' {
			return strconv.Atoi(string(s[:3]))
		}
	}
}

// body appends all up to and with CRLF.CRLF to p.
func (l *lines) body(p []byte) ([]byte, error) {
	p = append(p, "\r\n"...) // so that an empty message ends too
	p = append(p, l.buf[l.r:l.w]...)
	l.r, l.w = 0, 0
	from := 0
	for {
		if i := bytes.Index(p[from:], endOfData); i >= 0 {
			end := from + i + len(endOfData)
			l.w = copy(l.buf, p[end:])
			return p[2:end], nil
		}
		from = max(0, len(p)-4)
		if cap(p)-len(p) < 32<<10 {
			q := make([]byte, len(p), 2*cap(p)+64<<10)
			copy(q, p)
			p = q
		}
		n, err := l.conn.Read(p[len(p) : len(p)+32<<10])
		if err != nil {
			return p, err
		}
		p = p[:len(p)+n]
	}
}

// is tells whether a line begins with that verb.
func is(line []byte, verb string) bool {
	return len(line) >= len(verb) && bytes.EqualFold(line[:len(verb)], []byte(verb))
}
