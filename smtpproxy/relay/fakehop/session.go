package fakehop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// session is one connection as the server lives it.
type session struct {
	s       *Server
	rec     *Conn
	raw, nc net.Conn
	rd      *bufio.Reader
	number  int
	tls     bool
	msg     Message
	inMail  bool
	xfwd    []string
	xclient []string
	login   string
	full    bool
}

func (ss *session) run() {
	ss.rd = bufio.NewReader(recorder{ss.nc, ss.rec})
	if ss.full {
		ss.answer(Action{Reply: "421 4.7.0 fake.example Error: too many connections\r\n", Drop: true}, "")
		return
	}
	if ss.s.cfg.Implicit && !ss.handshake() {
		return
	}
	if !ss.answer(ss.s.next("CONNECT", ""), "220 fake.example ESMTP\r\n") {
		return
	}
	for {
		line, ok := ss.line()
		if !ok || !ss.command(line) {
			return
		}
	}
}

// line reads one line and notes it.
func (ss *session) line() (string, bool) {
	line, err := ss.rd.ReadString('\n')
	if err != nil {
		return "", false
	}
	line = strings.TrimRight(line, "\r\n")
	ss.rec.mu.Lock()
	ss.rec.cmd = append(ss.rec.cmd, line)
	ss.rec.mu.Unlock()
	return line, true
}

// command obeys one line; false ends the connection.
func (ss *session) command(line string) bool {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	addr, params := "", ""
	if verb == "MAIL" || verb == "RCPT" {
		addr, params = address(arg)
	}
	a := ss.s.next(verb, addr)
	switch verb {
	case "EHLO", "LHLO":
		if ss.s.cfg.LMTP != (verb == "LHLO") {
			return ss.answer(a, "500 5.5.1 the other protocol\r\n")
		}
		ss.reset()
		return ss.answer(a, ss.ehlo())
	case "AUTH":
		return ss.auth(a, arg)
	case "XCLIENT":
		if !ss.answer(a, "220 fake.example ESMTP\r\n") {
			return false
		}
		if positive(a, "220") {
			ss.reset()
			ss.xclient = append(ss.xclient, arg)
		}
		return true
	case "HELO", "RSET":
		ss.reset()
		return ss.answer(a, "250 2.0.0 Ok\r\n")
	case "STARTTLS":
		return ss.startTLS(a)
	case "XFORWARD":
		ok := ss.answer(a, "250 2.0.0 Ok\r\n")
		ss.xfwd = append(ss.xfwd, arg)
		return ok
	case "MAIL":
		if ss.inMail {
			return ss.answer(Action{}, "503 5.5.1 nested MAIL command\r\n")
		}
		if positive(a, "250") {
			ss.inMail = true
			ss.msg = Message{From: addr, FromParams: params, XForward: ss.xfwd, XClient: ss.xclient, Login: ss.login, TLS: ss.tls, Conn: ss.number}
			ss.xfwd = nil
		}
		return ss.answer(a, "250 2.1.0 Ok\r\n")
	case "RCPT":
		if !ss.inMail {
			return ss.answer(a, "503 5.5.1 need MAIL command\r\n")
		}
		if positive(a, "250") {
			ss.msg.To = append(ss.msg.To, addr)
			ss.msg.ToParams = append(ss.msg.ToParams, params)
		}
		return ss.answer(a, "250 2.1.5 Ok\r\n")
	case "DATA":
		return ss.data(a)
	case "QUIT":
		ss.answer(a, "221 2.0.0 Bye\r\n")
		return false
	}
	return ss.answer(a, "502 5.5.2 command not recognized\r\n")
}

func (ss *session) reset() { ss.inMail, ss.msg, ss.xfwd = false, Message{}, nil }

func positive(a Action, standard string) bool {
	if a.Silent {
		return false
	}
	if a.Reply != "" {
		standard = a.Reply
	}
	return standard[0] == '2'
}

func (ss *session) ehlo() string {
	ext := ss.s.cfg.Extensions
	if ext == nil {
		ext = []string{"PIPELINING", "SIZE 26214400", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"}
		if ss.s.cfg.TLS != nil && !ss.tls {
			ext = append(ext, "STARTTLS")
		}
	}
	if ss.tls && ss.s.cfg.TLSExtensions != nil {
		ext = ss.s.cfg.TLSExtensions
	}
	lines := []string{"fake.example"}
	for _, e := range ext {
		if ss.tls && e == "STARTTLS" {
			continue
		}
		lines = append(lines, e)
	}
	var b strings.Builder
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + l + "\r\n")
	}
	return b.String()
}

func (ss *session) startTLS(a Action) bool {
	if ss.s.cfg.TLS == nil && a.Reply == "" {
		return ss.answer(a, "502 5.5.1 not offered\r\n")
	}
	if !ss.answer(a, "220 2.0.0 Ready to start TLS\r\n") {
		return false
	}
	if a.Reply != "" && !strings.HasPrefix(a.Reply, "220") {
		return true
	}
	if a.Garbage != "" {
		// After the peer's first octets, so that it comes in the place of
		// the handshake and not as an injection before it.
		ss.rd.ReadByte()
		io.WriteString(ss.nc, a.Garbage)
		return false
	}
	if ss.s.cfg.TLS == nil {
		return true
	}
	ss.reset()
	return ss.handshake()
}

func (ss *session) handshake() bool {
	tc := tls.Server(ss.raw, ss.s.cfg.TLS)
	if err := tc.Handshake(); err != nil {
		return false
	}
	ss.nc, ss.tls = tc, true
	ss.rd = bufio.NewReader(recorder{tc, ss.rec})
	return true
}

// auth is AUTH PLAIN and LOGIN; the actions come before what is right.
func (ss *session) auth(a Action, arg string) bool {
	mechanism, initial, _ := strings.Cut(arg, " ")
	var said []string
	if initial != "" {
		said = append(said, initial)
	}
	want := map[string]int{"PLAIN": 1, "LOGIN": 2}[strings.ToUpper(mechanism)]
	for verb := "AUTH2"; len(said) < want; verb = "AUTH3" {
		if !ss.answer(a, "334 VXNlcm5hbWU6\r\n") {
			return false
		}
		if a.Silent || a.Reply != "" && !strings.HasPrefix(a.Reply, "334") {
			return true
		}
		line, ok := ss.line()
		if !ok {
			return false
		}
		said = append(said, line)
		a = ss.s.next(verb, "")
	}
	var plain []string
	for _, s := range said {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return ss.answer(a, "501 5.5.2 not base64\r\n")
		}
		plain = append(plain, string(b))
	}
	right := "\x00" + ss.s.cfg.Login + "\x00" + ss.s.cfg.Password
	if strings.EqualFold(mechanism, "LOGIN") {
		right = ss.s.cfg.Login + "\x00" + ss.s.cfg.Password
	}
	if ss.s.cfg.Login == "" || strings.Join(plain, "\x00") != right {
		return ss.answer(a, "535 5.7.8 authentication failed\r\n")
	}
	if positive(a, "235") {
		ss.login = ss.s.cfg.Login
	}
	return ss.answer(a, "235 2.7.0 welcome\r\n")
}

func (ss *session) data(a Action) bool {
	standard := "354 End data with <CR><LF>.<CR><LF>\r\n"
	if len(ss.msg.To) == 0 {
		standard = "554 5.5.1 no valid recipients\r\n"
	}
	if !ss.answer(a, standard) {
		return false
	}
	if a.Reply != "" {
		standard = a.Reply
	}
	if a.Silent || !strings.HasPrefix(standard, "354") {
		return true
	}
	body, ok := ss.body(a)
	if !ok {
		return false
	}
	if ss.s.cfg.LMTP {
		return ss.endLMTP(body)
	}
	end := ss.s.next(".", "")
	if positive(end, "250") {
		m := ss.msg
		m.Data = body
		ss.s.accept(m)
	}
	number := len(ss.s.Accepted())
	ss.reset()
	return ss.answer(end, fmt.Sprintf("250 2.0.0 Ok: queued as FAKE%d\r\n", number))
}

// endLMTP gives each recipient that was accepted its answer; a message counts
// as accepted with those that were told yes.
func (ss *session) endLMTP(body []byte) bool {
	m := ss.msg
	ss.reset()
	yes := m
	yes.To, yes.Data = nil, body
	var answers []Action
	for _, to := range m.To {
		a := ss.s.next(".", to)
		if positive(a, "250") {
			yes.To = append(yes.To, to)
		}
		answers = append(answers, a)
	}
	if len(yes.To) > 0 {
		ss.s.accept(yes)
	}
	for i, a := range answers {
		if !ss.answer(a, "250 2.0.0 <"+m.To[i]+"> Saved\r\n") {
			return false
		}
	}
	return true
}

// body reads to CR LF . CR LF and un-stuffs. Only CR LF ends a line here.
func (ss *session) body(a Action) ([]byte, bool) {
	var data, line []byte
	got := 0
	for {
		part, err := ss.rd.ReadSlice('\n')
		line = append(line, part...)
		got += len(part)
		if a.Early != "" && got >= a.EarlyAfter {
			io.WriteString(ss.nc, a.Early)
			return nil, false
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, false
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			continue
		}
		if string(line) == ".\r\n" {
			return data, true
		}
		if line[0] == '.' {
			line = line[1:]
		}
		data = append(data, line...)
		line = line[:0]
	}
}

// answer does what the action says; false ends the connection.
func (ss *session) answer(a Action, standard string) bool {
	if a.Hold != nil {
		select {
		case <-a.Hold:
		case <-ss.s.quit:
			return false
		}
	}
	if a.Delay > 0 {
		select {
		case <-time.After(a.Delay):
		case <-ss.s.quit:
			return false
		}
	}
	if a.Reply != "" {
		standard = a.Reply
	}
	switch {
	case a.Silent:
	case a.Drip:
		for i := range len(standard) {
			if _, err := ss.nc.Write([]byte(standard[i : i+1])); err != nil {
				return false
			}
		}
	default:
		if _, err := io.WriteString(ss.nc, standard); err != nil {
			return false
		}
	}
	switch {
	case a.Deaf:
		<-ss.s.quit
		return false
	case a.Hang:
		io.Copy(io.Discard, ss.rd)
		<-ss.s.quit
		return false
	case a.Reset:
		if t, ok := ss.raw.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		return false
	case a.Drop:
		return false
	}
	return true
}
