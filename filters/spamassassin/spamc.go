package spamassassin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"garita/mail"
	"garita/message"

	"garita/filters"
)

// Bounds of a reply.
const (
	maxReply   = 64 << 10
	maxScore   = 1000000
	maxSymbols = 20 // in a finding
	maxName    = 48 // octets of a symbol's name
)

const dialTimeout = 3 * time.Second

// reply is what spamd said, checked.
type reply struct {
	score, required float64
	symbols         []string
}

// ask sends the message to one spamd and reads its reply. The protocol has one
// message to a connection.
func ask(ctx context.Context, network, addr, user string, r *message.Rendering) (*reply, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	// Every read and write ends with ctx, whether by its deadline or because
	// the client is gone.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	rep, err := talk(c, user, r)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	return rep, err
}

func talk(c net.Conn, user string, r *message.Rendering) (*reply, error) {
	head := fmt.Appendf(nil, "SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n", r.Size())
	if user != "" {
		head = fmt.Appendf(head, "User: %s\r\n", user)
	}
	if _, err := c.Write(append(head, "\r\n"...)); err != nil {
		return nil, err
	}
	if _, err := r.WriteTo(c); err != nil {
		return nil, err
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return nil, err
		}
	}
	text, err := io.ReadAll(io.LimitReader(c, maxReply+1))
	if err != nil {
		return nil, err
	}
	return parseReply(text)
}

// parseReply reads a whole reply, strictly:
//
//	SPAMD/1.1 0 EX_OK
//	Content-length: 21
//	Spam: True ; 6.0 / 5.0
//
//	ONE_SYMBOL,ANOTHER...
//
// One that is cut, that has no Spam field or two, or a number that is none, is
// no reply.
func parseReply(text []byte) (*reply, error) {
	if len(text) > maxReply {
		return nil, fmt.Errorf("reply: longer than %d octets", maxReply)
	}
	head, body, whole := bytes.Cut(text, []byte("\r\n\r\n"))
	if !whole {
		return nil, errors.New("reply: it ended before its end")
	}
	lines := strings.Split(string(head), "\r\n")
	if err := status(lines[0]); err != nil {
		return nil, err
	}
	length, spam := -1, ""
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errors.New("reply: a line that is no field")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || length >= 0 {
				return nil, errors.New("reply: the length is not one number")
			}
			length = int(n)
		case "spam":
			if spam != "" || value == "" {
				return nil, errors.New("reply: not one result")
			}
			spam = value
		}
	}
	// The length is spamd's promise: less is a cut reply. Without it there is
	// no way to tell, so there must be one.
	if length != len(body) {
		return nil, fmt.Errorf("reply: %d octets of %d", len(body), length)
	}
	r, err := result(spam)
	if err != nil {
		return nil, err
	}
	for _, s := range strings.FieldsFunc(string(body), func(c rune) bool { return c == ',' || c == '\r' || c == '\n' || c == ' ' }) {
		r.symbols = append(r.symbols, filters.Printable(s, maxName))
	}
	return r, nil
}

// status reads the first line; any code but 0 is a failure.
func status(line string) error {
	rest, ok := strings.CutPrefix(line, "SPAMD/")
	words := strings.Fields(rest)
	if !ok || len(words) < 2 {
		return errors.New("reply: it is not from spamd")
	}
	if words[1] != "0" {
		return fmt.Errorf("reply: failure %s", filters.Printable(strings.Join(words[1:], " "), 60))
	}
	return nil
}

// result reads "True ; 6.0 / 5.0".
func result(s string) (*reply, error) {
	verdict, numbers, ok := strings.Cut(s, ";")
	score, required, ok2 := strings.Cut(numbers, "/")
	switch strings.ToLower(strings.TrimSpace(verdict)) {
	case "true", "false", "yes", "no":
	default:
		ok = false
	}
	a, err := decimal(score)
	b, err2 := decimal(required)
	if !ok || !ok2 || err != nil || err2 != nil {
		return nil, errors.New("reply: the result is not one")
	}
	return &reply{score: a, required: b}, nil
}

// decimal reads a plain number: no exponent, no NaN, no hexadecimal.
func decimal(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 24 || strings.Trim(s, "+-.0123456789") != "" {
		return 0, errors.New("not a number")
	}
	f, err := strconv.ParseFloat(s, 64)
	if err == nil && math.Abs(f) > maxScore {
		err = errors.New("out of all bounds")
	}
	return f, err
}

// detail is the reply for the log.
func (r *reply) detail() string {
	s := "score " + number(r.score) + " of " + number(r.required)
	if n := len(r.symbols); n > maxSymbols {
		return s + ": " + strings.Join(r.symbols[:maxSymbols], " ") + " and " + strconv.Itoa(n-maxSymbols) + " more"
	} else if n > 0 {
		return s + ": " + strings.Join(r.symbols, " ")
	}
	return s
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

// trace is what tells SpamAssassin who the client is: it knows nothing but
// the message. The form of the Received field is Postfix's, which it reads.
func trace(tx *mail.Transaction, hostname string, now time.Time) []byte {
	name, addr := tx.ClientForLog()
	helo, proto := tx.Helo, tx.Proto
	if f := tx.Forwarded; f != nil && f.Helo != "" {
		helo = f.Helo
	}
	if proto == "" {
		proto = "ESMTP"
	}
	if tx.Login != "" {
		proto = "ESMTPA" // RFC 3848: rules about clients let users alone
		if tx.TLS != nil {
			proto = "ESMTPSA"
		}
	}
	ip := "unknown"
	if addr.IsValid() {
		ip = addr.Unmap().WithZone("").String()
		if strings.Contains(ip, ":") {
			ip = "IPv6:" + ip
		}
	}
	if hostname == "" {
		hostname = "localhost"
	}
	b := fmt.Appendf(nil, "Return-Path: <%s>\r\n", printable(tx.ReversePath.String()))
	return fmt.Appendf(b, "Received: from %s (%s [%s])\r\n\tby %s (Postfix) with %s id %s;\r\n\t%s\r\n",
		word(helo), word(name), ip, word(hostname), word(proto), word(tx.ID), now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
}

// word makes what a stranger said one harmless word.
func word(s string) string {
	b := []byte(s[:min(len(s), 255)])
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte(".-_:[]", c) >= 0:
		default:
			b[i] = '?'
		}
	}
	if len(b) == 0 {
		return "unknown"
	}
	return string(b)
}

// printable replaces what may not stand in a line.
func printable(s string) string {
	b := []byte(s[:min(len(s), 400)])
	for i, c := range b {
		if c < ' ' || c == 0x7f || c == '>' || c == '<' {
			b[i] = '?'
		}
	}
	return string(b)
}
