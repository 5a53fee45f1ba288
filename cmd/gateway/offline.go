package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"garita/mail"
	"garita/smtpproxy"
)

// This file is the world around garita test: a client on a pipe, and a next
// hop that takes everything.

// sinkHop is a next hop with every extension that sends nothing anywhere.
type sinkHop struct{ name string }

func (h sinkHop) Name() string { return h.name }

func (h sinkHop) Capabilities() smtpproxy.Capabilities {
	return smtpproxy.Capabilities{Known: true, EightBitMIME: true, SMTPUTF8: true, DSN: true}
}

// LeadsTo is nobody: there is no network here.
func (sinkHop) LeadsTo(netip.Addr) (uint16, bool) { return 0, false }

func (h sinkHop) Begin(*mail.Transaction) smtpproxy.Delivery { return sinkDelivery(h) }

type sinkDelivery struct{ name string }

func (d sinkDelivery) Rcpt(context.Context, mail.Recipient) (mail.Reply, error) {
	return mail.OK(250, "1.5", "Ok"), nil
}

func (d sinkDelivery) Data(_ context.Context, m smtpproxy.Body) mail.Outcome {
	if _, err := m.WriteTo(io.Discard); err != nil {
		return mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{mail.Temporary(451, "3.0", "Message could not be read")}, Detail: err.Error()}
	}
	return mail.Outcome{Kind: mail.Relayed, NextHop: d.name, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: would go to "+d.name)}}
}

func (d sinkDelivery) Park() {}

func (d sinkDelivery) Forget([]mail.Recipient) {}

// Wanted is never: nobody waits for this one.
func (d sinkDelivery) Wanted() bool { return false }
func (d sinkDelivery) Abort()       {}

// sinkKeeper is a holding place that keeps nothing.
type sinkKeeper struct{}

func (sinkKeeper) Hold(_ context.Context, tx *mail.Transaction, _ mail.Decision, m smtpproxy.Body) (string, error) {
	_, err := m.WriteTo(io.Discard)
	return tx.ID, err
}

func (k sinkKeeper) Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m smtpproxy.Body) (string, error) {
	return k.Hold(ctx, tx, d, m)
}

func (sinkKeeper) Drop(string) error { return nil }

// withoutNetwork leaves out of a listener what only a network can have: TLS,
// a load balancer before it, and clients that are made to wait.
func withoutNetwork(l smtpproxy.ListenerConfig) smtpproxy.ListenerConfig {
	l.RequireTLS, l.ImplicitTLS = false, false
	l.ProxyFrom, l.GreetDelay = nil, 0
	return l
}

// pipeListener hands out the ends of pipes as connections.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// dial gives the client's end of a new connection from peer.
func (l *pipeListener) dial(peer netip.AddrPort) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- namedConn{theirs, net.TCPAddrFromAddrPort(peer)}:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// namedConn is a pipe's end that says where it comes from.
type namedConn struct {
	net.Conn
	remote net.Addr
}

func (c namedConn) RemoteAddr() net.Addr { return c.remote }

// offlineClient is who sends the message.
type offlineClient struct {
	listener, user, helo string
	peer                 netip.AddrPort
	forwarded            netip.Addr // what a content filter's peer tells by XFORWARD
	from                 mail.Path
	rcpts                []mail.Path
}

// send plays the client and gives the reply that decided.
func (o *offlineClient) send(l *pipeListener, body io.Reader) (mail.Reply, error) {
	conn, err := l.dial(o.peer)
	if err != nil {
		return mail.Reply{}, err
	}
	defer conn.Close()
	p := &player{conn: conn, replies: make(chan mail.Reply, 16)}
	go p.read()
	if r, err := p.expect(); err != nil || !r.Positive() {
		return r, err
	}
	if r, err := p.say("EHLO " + o.helo); err != nil || !r.Positive() {
		return r, err
	}
	if o.forwarded.IsValid() {
		if r, err := p.say("XFORWARD ADDR=" + xforwardAddr(o.forwarded) + " HELO=" + mail.EncodeXtext(o.helo)); err != nil || !r.Positive() {
			return r, err
		}
	}
	utf8 := ""
	if !o.from.IsASCII() {
		utf8 = " SMTPUTF8"
	}
	for _, to := range o.rcpts {
		if !to.IsASCII() {
			utf8 = " SMTPUTF8"
		}
	}
	if r, err := p.say("MAIL FROM:<" + o.from.String() + "> BODY=8BITMIME" + utf8); err != nil || !r.Positive() {
		return r, err
	}
	var refusal mail.Reply
	accepted := 0
	for _, to := range o.rcpts {
		r, err := p.say("RCPT TO:<" + to.String() + ">")
		if err != nil {
			return r, err
		}
		if r.Positive() {
			accepted++
		} else if refusal.IsZero() {
			refusal = r
		}
	}
	if accepted == 0 {
		return refusal, nil
	}
	if r, err := p.say("DATA"); err != nil || r.Code != 354 {
		return r, err
	}
	return p.data(body)
}

// xforwardAddr writes an address as Postfix's XFORWARD does.
func xforwardAddr(a netip.Addr) string {
	if a.Is6() {
		return "IPV6:" + a.String()
	}
	return a.String()
}

// player speaks SMTP over the pipe. Replies are read apart from writing: the
// server may answer, and close, before it has taken everything.
type player struct {
	conn    net.Conn
	replies chan mail.Reply
}

func (p *player) read() {
	defer close(p.replies)
	r := bufio.NewReader(p.conn)
	var texts []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		code, err := strconv.Atoi(line[:min(3, len(line))])
		if err != nil {
			return
		}
		text := line[min(4, len(line)):]
		enhanced, rest, ok := strings.Cut(text, " ")
		if ok && strings.Count(enhanced, ".") == 2 && enhanced[0] == line[0] {
			text = rest
		} else {
			enhanced = ""
		}
		texts = append(texts, text)
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		p.replies <- mail.Reply{Code: code, Enhanced: enhanced, Text: strings.Join(texts, "\n")}
		texts = nil
	}
}

var errNoReply = errors.New("the session ended without a reply")

func (p *player) expect() (mail.Reply, error) {
	r, ok := <-p.replies
	if !ok {
		return r, errNoReply
	}
	return r, nil
}

func (p *player) say(line string) (mail.Reply, error) {
	if _, err := io.WriteString(p.conn, line+"\r\n"); err != nil {
		return p.expect() // it said why, then closed
	}
	return p.expect()
}

// data sends the message, dot-stuffed (RFC 5321 section 4.5.2).
func (p *player) data(body io.Reader) (mail.Reply, error) {
	in := bufio.NewReaderSize(body, 64<<10)
	out := bufio.NewWriterSize(p.conn, 64<<10)
	start, last := true, byte('\n')
	var err error
	for err == nil {
		var part []byte
		part, err = in.ReadSlice('\n')
		if len(part) > 0 {
			if start && part[0] == '.' {
				out.WriteByte('.')
			}
			start = bytes.HasSuffix(part, []byte("\r\n")) || len(part) == 1 && part[0] == '\n' && last == '\r'
			last = part[len(part)-1]
			if _, werr := out.Write(part); werr != nil {
				return p.expect()
			}
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
	}
	if !errors.Is(err, io.EOF) {
		return mail.Reply{}, fmt.Errorf("the message cannot be read: %w", err)
	}
	end := ".\r\n"
	if !start {
		end = "\r\n.\r\n"
	}
	out.WriteString(end)
	out.Flush() // what it could not say shows in the reply
	return p.expect()
}

// crlfReader makes every LF a CR LF.
type crlfReader struct {
	in   *bufio.Reader
	left []byte
}

func (c *crlfReader) Read(p []byte) (int, error) {
	for len(c.left) == 0 {
		part, err := c.in.ReadSlice('\n')
		if len(part) > 0 && part[len(part)-1] == '\n' {
			c.left = append(append(c.left[:0:0], part[:len(part)-1]...), "\r\n"...)
		} else {
			c.left = append(c.left[:0:0], part...)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(c.left) == 0 {
			return 0, err
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}
