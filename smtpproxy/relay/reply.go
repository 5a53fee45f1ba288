package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"garita/mail"
)

// Bounds of one reply of the next hop. RFC 5321 section 4.5.3.1.5 gives a
// reply line 512 octets; real servers exceed it, hostile ones never end.
const (
	readBuffer    = 4 << 10  // octets of a connection's read buffer
	maxReplyLines = 100      // lines of one reply
	maxReplyBytes = 64 << 10 // octets of one reply, line ends included
	maxLineKept   = 1 << 10  // octets kept of one line; the rest is read and dropped
	maxReplyKept  = 8 << 10  // octets kept of one reply
	maxTextShown  = 400      // octets of a reply's text that go on to the client
)

// errProtocol marks a reply that is not one: mixed codes, no code, no CR LF,
// beyond the bounds. The connection is out of step and must be closed.
var errProtocol = errors.New("protocol error")

// reply is one complete reply. text holds its lines without codes, parted by
// '\n'; it aliases the reader and is valid until the next read.
type reply struct {
	code int
	text []byte
}

func (r reply) class() int { return r.code / 100 }

// replyReader reads replies from one connection with a fixed buffer.
type replyReader struct {
	src  io.Reader
	r, w int
	text []byte
	buf  [readBuffer]byte
}

// buffered tells how many octets were received and not yet read: after the
// last expected reply any such octet means that the dialogue is out of step.
func (r *replyReader) buffered() int { return r.w - r.r }

// read reads one reply to its true end: its last line with CR LF. A reply cut
// short by the end of the connection is an error and never counts.
func (r *replyReader) read() (reply, error) {
	r.text = r.text[:0]
	budget := maxReplyBytes
	code := 0
	for n := range maxReplyLines {
		line, err := r.line(&budget)
		if err != nil {
			return reply{}, err
		}
		c, text, last, err := parseLine(line)
		if err != nil {
			return reply{}, err
		}
		if n > 0 {
			// RFC 5321 section 4.2.1: every line has the same code. A
			// "250-" that ends in "451 " must never be read as either.
			if c != code {
				return reply{}, fmt.Errorf("%w: a reply with the codes %d and %d", errProtocol, code, c)
			}
			r.text = append(r.text, '\n')
		}
		code = c
		room := max(0, maxReplyKept-len(r.text))
		r.text = append(r.text, text[:min(len(text), room, maxLineKept)]...)
		if last {
			return reply{code: code, text: r.text}, nil
		}
	}
	return reply{}, fmt.Errorf("%w: a reply of more than %d lines", errProtocol, maxReplyLines)
}

// line reads up to CR LF and returns what stands before it. A line longer
// than the buffer is consumed to its end; its head is returned.
func (r *replyReader) line(budget *int) ([]byte, error) {
	scanned, empty := 0, 0
	for {
		if i := bytes.IndexByte(r.buf[r.r+scanned:r.w], '\n'); i >= 0 {
			end := r.r + scanned + i
			line := r.buf[r.r:end]
			*budget -= len(line) + 1
			r.r = end + 1
			if *budget < 0 {
				return nil, fmt.Errorf("%w: a reply of more than %d octets", errProtocol, maxReplyBytes)
			}
			if len(line) == 0 || line[len(line)-1] != '\r' {
				return nil, fmt.Errorf("%w: a reply line without CR LF", errProtocol)
			}
			return line[:len(line)-1], nil
		}
		if r.r > 0 {
			r.w = copy(r.buf[:], r.buf[r.r:r.w])
			r.r = 0
		}
		scanned = r.w
		if r.w == len(r.buf) {
			keep := maxLineKept
			*budget -= r.w - keep
			if *budget < 0 {
				return nil, fmt.Errorf("%w: a reply of more than %d octets", errProtocol, maxReplyBytes)
			}
			if r.buf[r.w-1] == '\r' { // its LF may come with the next read
				r.buf[keep] = '\r'
				keep++
			}
			r.w, scanned = keep, keep
		}
		n, err := r.src.Read(r.buf[r.w:])
		if n > 0 {
			r.w += n
			continue
		}
		if err == nil {
			if empty++; empty < 100 {
				continue
			}
			err = io.ErrNoProgress
		}
		return nil, err
	}
}

// parseLine takes a reply line apart: RFC 5321 section 4.2, Reply-code is
// 2-5, 0-5, 0-9, then a space, a hyphen or nothing.
func parseLine(line []byte) (code int, text []byte, last bool, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '5' || line[2] < '0' || line[2] > '9' {
		return 0, nil, false, fmt.Errorf("%w: no reply code in %q", errProtocol, head(line))
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	switch {
	case len(line) == 3:
		return code, nil, true, nil
	case line[3] == ' ':
		return code, line[4:], true, nil
	case line[3] == '-':
		return code, line[4:], false, nil
	}
	return 0, nil, false, fmt.Errorf("%w: no reply code in %q", errProtocol, head(line))
}

// head is the beginning of a line for an operator's error.
func head(line []byte) []byte { return line[:min(len(line), 40)] }

// enhanced splits an RFC 3463 code of the given class off a line. A code of
// another class than the reply's is dropped: the two must agree.
func enhanced(line []byte, class int) (code string, rest []byte) {
	n := 0
	for part := range 3 {
		digits := 0
		for n < len(line) && line[n] >= '0' && line[n] <= '9' {
			n++
			digits++
		}
		if digits == 0 || digits > 3 || part == 0 && digits > 1 {
			return "", line
		}
		if part < 2 {
			if n >= len(line) || line[n] != '.' {
				return "", line
			}
			n++
		}
	}
	if n < len(line) && line[n] != ' ' {
		return "", line
	}
	rest = bytes.TrimLeft(line[n:], " ")
	if int(line[0]-'0') != class {
		return "", rest
	}
	return intern(line[:n]), rest
}

// intern spares an allocation for what nearly every reply says.
func intern(b []byte) string {
	switch string(b) {
	case "2.0.0":
		return "2.0.0"
	case "2.1.0":
		return "2.1.0"
	case "2.1.5":
		return "2.1.5"
	case "Ok":
		return "Ok"
	}
	return string(b)
}

// forClient makes the mail.Reply of a next hop's reply: enhanced code apart,
// text cleaned to one line. Without an enhanced code X.0.0 is given, since we
// announce ENHANCEDSTATUSCODES (RFC 2034 section 4).
func (r reply) forClient(utf8OK bool) mail.Reply {
	code, text := r.split(utf8OK)
	if code == "" {
		switch r.class() {
		case 2:
			code = "2.0.0"
		case 4:
			code = "4.0.0"
		case 5:
			code = "5.0.0"
		}
	}
	n := r.code
	if r.class() == 2 && n != 251 && n != 252 {
		n = 250 // the first digit is what counts (RFC 5321 section 4.2); 221 would be our farewell
	}
	return mail.Reply{Code: n, Enhanced: code, Text: text}
}

// split gives the enhanced code and the text as one clean line.
func (r reply) split(utf8OK bool) (code, text string) {
	if bytes.IndexByte(r.text, '\n') < 0 {
		code, rest := enhanced(r.text, r.class())
		if len(rest) <= 2 && string(rest) == "Ok" {
			return code, "Ok"
		}
		return code, clean(rest, utf8OK)
	}
	var joined []byte
	for line := range bytes.SplitSeq(r.text, []byte{'\n'}) {
		c, rest := enhanced(line, r.class())
		if code == "" {
			code = c
		}
		if len(rest) == 0 {
			continue
		}
		if len(joined) > 0 {
			joined = append(joined, ' ')
		}
		joined = append(joined, rest...)
	}
	return code, clean(joined, utf8OK)
}

// line is the whole reply as one clean line for the log.
func (r reply) line() string {
	code, text := r.split(false)
	return mail.Reply{Code: r.code, Enhanced: code, Text: text}.String()
}

// clean makes hostile text fit for a reply, a log line and a terminal: one
// line, printable ASCII (or printable UTF-8 where the client asked for
// SMTPUTF8, RFC 6531 section 3.7.4), at most maxTextShown octets.
func clean(text []byte, utf8OK bool) string {
	plain := len(text) <= maxTextShown
	for i := 0; plain && i < len(text); i++ {
		plain = text[i] >= ' ' && text[i] < 0x7f
	}
	if plain {
		return string(text)
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r == '\t' || r == '\n':
			r = ' '
		case r >= ' ' && r < 0x7f:
		case r >= 0x80 && utf8OK && r != utf8.RuneError && unicode.IsPrint(r):
		default:
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > maxTextShown {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// queueID finds the next hop's queue id in the reply to the end of data:
// "queued as ABC" of Postfix, "id=1abc-…" of Exim. Empty when there is none.
func queueID(text []byte) string {
	for _, mark := range []string{"queued as ", "id="} {
		_, rest, ok := bytes.Cut(text, []byte(mark))
		if !ok {
			continue
		}
		n := 0
		for n < len(rest) && n < 64 && isQueueIDByte(rest[n]) {
			n++
		}
		if n > 0 {
			return string(rest[:n])
		}
	}
	return ""
}

func isQueueIDByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_'
}
