package smtpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/maillog"
)

// What a session is doing, for Shutdown: only one that waits for a command
// may be woken, a message on its way is never cut.
const (
	busy int32 = iota
	waiting
)

// session is one connection. Its goroutine alone touches it, but for state.
type session struct {
	srv   *Server
	set   *Settings // those it began with: a reload never changes them under it
	ln    *Listener
	raw   net.Conn // the socket; never changes, so others may use it
	conn  net.Conn // raw, or TLS over it
	in    reader
	out   replyWriter
	s     mail.Session
	state atomic.Int32

	greeted bool // HELO or EHLO was accepted
	esmtp   bool
	offer   offer // what EHLO announced
	tx      *transaction
	forward *mail.Forwarded // XFORWARD, for the next transaction

	login login // what AUTH has shown, see auth.go
	// who has logged in, and that his session is to end: see loggedin.go.
	who    atomic.Pointer[LoggedIn]
	kicked atomic.Bool

	place   place          // how it counts
	dst     netip.AddrPort // where the client connected to, if a peer said so
	vouched bool           // the peer may speak for others and has named nobody
	named   bool           // XCLIENT has named the client
	said    *identity      // by XCLIENT
	opened  bool           // the log has its beginning
	since   atomic.Int64   // waits for a command since then; see pressure.go

	errors, junk int
	extra        int // recipients of this transaction that did not fit; see overshoot
	messages     int
	counts       maillog.Counts
	closing      bool
}

// run serves the connection to its end. A panic ends this session alone.
func (s *session) run(ctx context.Context) {
	defer func() {
		s.ended(ctx, recover())
	}()
	if !s.arrive(ctx) {
		s.out.flush()
		return
	}
	for !s.closing {
		line, err := s.readCommand()
		if err != nil {
			s.readFailed(ctx, err)
			break
		}
		s.dispatch(ctx, line)
	}
	s.dropTransaction(ctx, "session ended")
	s.out.flush()
}

// ended closes the connection of a session that is over, by a panic or not.
func (s *session) ended(ctx context.Context, panicked any) {
	s.endWait()
	if panicked != nil {
		s.srv.stats.panics.Add(1)
		s.srv.log.Warn("smtpd", "panic in a session; the client was told to try again",
			slog.String("panic", fmt.Sprintf("%T", panicked)), slog.String("session", s.s.ID),
			slog.String("stack", string(debug.Stack())))
		s.endTransaction(ctx, mail.Outcome{Kind: mail.Aborted, Detail: "panic"})
		if s.s.TLS != nil || !s.ln.ImplicitTLS {
			s.out.reply(replyInternal)
			s.out.flush()
		}
	}
	s.in.release()
	s.conn.Close()
	s.set.Policy.Closed(&s.s)
	if s.opened {
		s.srv.log.Disconnect(&s.s, s.counts)
	}
}

// readCommand waits for the next command line. What was answered so far goes
// out before it blocks. Its frames, those of its callers and those below are
// all that an idle session's stack holds, and must stay small: see trim.go.
func (s *session) readCommand() ([]byte, error) {
	line, err := s.readLine(s.lineLimit())
	if err == nil && s.tooLong(line) {
		s.in.kill()
		err = errLineTooLong
	}
	return line, err
}

// readLine waits for a line of at most limit octets.
func (s *session) readLine(limit int) ([]byte, error) {
	var w wait
	if err := s.beginWait(&w); err != nil {
		return nil, err
	}
	for {
		if err := s.mayWait(&w); err != nil {
			s.endWait()
			return nil, err
		}
		line, err := s.in.readLine(limit)
		if again, err := s.waited(&w, err); !again {
			s.endWait()
			return line, err
		}
	}
}

// wait is a wait for a line: since when, and until when at most.
type wait struct{ now, end time.Time }

// beginWait sends what was answered and begins to wait, unless a line is
// there. What it needs of the stack is given back before the wait.
//
//go:noinline
func (s *session) beginWait(w *wait) error {
	if bytes.IndexByte(s.in.buf[s.in.r:s.in.w], '\n') < 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.state.Store(waiting)
	if s.stranger() {
		s.since.Store(s.srv.clock())
	}
	w.now = time.Now()
	w.end = w.now.Add(s.within(s.set.Limits.CommandTimeout, stressCommand))
	return nil
}

// endWait makes the session busy again. A panic comes by here too (run).
func (s *session) endWait() {
	s.since.Store(0)
	s.state.Store(busy)
}

// mayWait sets the deadline of a read, and tells why there is to be none.
//
//go:noinline
func (s *session) mayWait(w *wait) error {
	s.conn.SetReadDeadline(s.tx.wake(w.now, w.end))
	// After the deadline was set: Shutdown sets its flag first and the
	// deadline after, so one of us always sees the other.
	if s.srv.draining.Load() {
		return errDraining
	}
	if s.since.Load() == shedMark {
		return errShed
	}
	if s.kicked.Load() {
		return errKicked
	}
	return nil
}

// waited judges a read that has ended; again is true when there is time left.
//
//go:noinline
func (s *session) waited(w *wait, err error) (again bool, _ error) {
	if s.tx.holds() || err != nil {
		was := w.now
		w.now = time.Now()
		s.tx.waitedFor(w.now.Sub(was))
	}
	switch {
	case err == nil || !isTimeout(err):
		return false, err
	case s.srv.draining.Load():
		return false, errDraining
	case s.since.Load() == shedMark:
		return false, errShed
	case s.kicked.Load():
		return false, errKicked
	}
	return w.now.Before(w.end), err
}

// flush sends the replies. A client that does not read holds the next hop's
// connection no longer than one that does not write.
func (s *session) flush() error {
	whole := s.within(s.srv.writeTimeout, stressWrite)
	if !s.tx.holds() {
		return s.out.flushIn(whole)
	}
	was := time.Now()
	d := parkSoon
	if s.s.TLS != nil {
		d = parkAfter // a TLS stream ends with a write that was cut off
	}
	err := s.out.send(d)
	if err == nil {
		s.tx.waitedFor(time.Since(was))
		return nil
	}
	s.tx.park()
	if !isTimeout(err) || s.s.TLS != nil {
		s.out.err = err
		return err
	}
	return s.out.flushIn(whole)
}

// readFailed says why the session ends, where there is somebody to say it to.
func (s *session) readFailed(ctx context.Context, err error) {
	after := s.phase()
	switch {
	case errors.Is(err, errDraining):
		s.out.reply(replyShutdown)
	case errors.Is(err, errShed):
		s.out.reply(mail.Temporary(421, "3.2", "Too busy, try again later"))
		s.srv.log.ClientWarn(&s.s, "under pressure: an idle session made room", slog.String("after", after))
	case errors.Is(err, errKicked):
		s.out.reply(replyKicked)
		s.srv.log.ClientWarn(&s.s, "session ended by command", slog.String("sasl_username", s.s.Login), slog.String("after", after))
	case errors.Is(err, errAlien):
		s.alien([]byte{s.in.alien})
		return
	case errors.Is(err, errLineTooLong):
		s.out.reply(mail.Permanent(500, "5.2", "Line too long"))
		s.srv.log.ClientWarn(&s.s, "command line too long; connection closed")
	case errors.Is(err, errBareLF):
		s.out.reply(mail.Permanent(500, "5.2", "Line ended by a bare line feed; CR LF is required"))
		s.srv.log.ClientWarn(&s.s, "command line ended by a bare line feed; connection closed")
	case isTimeout(err):
		s.out.reply(mail.Temporary(421, "4.2", "Error: timeout exceeded"))
		s.srv.log.Timeout(&s.s, after, 0)
	default:
		s.srv.log.Lost(&s.s, after, 0)
	}
	s.in.kill()
}

// phase is how far the dialogue has come, in Postfix's words.
func (s *session) phase() string {
	switch {
	case s.tx != nil && len(s.tx.ForwardPaths) > 0:
		return "RCPT"
	case s.tx != nil:
		return "MAIL"
	case s.messages > 0:
		return "END-OF-MESSAGE"
	case s.greeted:
		return "EHLO"
	}
	return "CONNECT"
}

// dispatch executes one command line.
func (s *session) dispatch(ctx context.Context, line []byte) {
	if foreign(line) != "" {
		s.alien(line)
		return
	}
	for _, c := range line {
		if c == 0 || c == '\r' || (c < ' ' && c != '\t') || c == 0x7f {
			s.fail(mail.Permanent(500, "5.2", "Syntax error: control character in the command"))
			return
		}
	}
	if s.greeted && !s.esmtp && !s.s.Trusted && !s.inStep() {
		return // HELO announces no PIPELINING
	}
	verb, arg, _ := bytes.Cut(line, []byte{' '})
	if c, ok := commands[upper(verb)]; ok {
		n := c.count(&s.counts)
		n.Total++
		c.run(s, ctx, string(arg))
		if s.out.last < 400 {
			n.OK++
		}
		return
	}
	s.counts.Unknown.Total++
	s.fail(mail.Permanent(500, "5.2", "Error: command not recognized"))
}

// commands are the verbs that we know. Those that we refuse by name get the
// answer that tells a person why.
var commands = map[string]command{
	"HELO":     {(*session).helo, func(c *maillog.Counts) *maillog.Count { return &c.Helo }},
	"EHLO":     {(*session).ehlo, func(c *maillog.Counts) *maillog.Count { return &c.Ehlo }},
	"MAIL":     {(*session).mail, func(c *maillog.Counts) *maillog.Count { return &c.Mail }},
	"RCPT":     {(*session).rcpt, func(c *maillog.Counts) *maillog.Count { return &c.Rcpt }},
	"DATA":     {(*session).data, func(c *maillog.Counts) *maillog.Count { return &c.Data }},
	"BDAT":     {(*session).bdat, func(c *maillog.Counts) *maillog.Count { return &c.Bdat }},
	"RSET":     {(*session).rset, func(c *maillog.Counts) *maillog.Count { return &c.Rset }},
	"NOOP":     {(*session).noop, func(c *maillog.Counts) *maillog.Count { return &c.Noop }},
	"VRFY":     {(*session).vrfy, func(c *maillog.Counts) *maillog.Count { return &c.Vrfy }},
	"HELP":     {(*session).help, func(c *maillog.Counts) *maillog.Count { return &c.Help }},
	"QUIT":     {(*session).quit, func(c *maillog.Counts) *maillog.Count { return &c.Quit }},
	"STARTTLS": {(*session).starttls, func(c *maillog.Counts) *maillog.Count { return &c.StartTLS }},
	"XFORWARD": {(*session).xforward, func(c *maillog.Counts) *maillog.Count { return &c.XForward }},
	"EXPN":     {notImplemented, unknownCount},
	"ETRN":     {notImplemented, unknownCount},
	"TURN":     {notImplemented, unknownCount},
	"AUTH":     {(*session).auth, func(c *maillog.Counts) *maillog.Count { return &c.Auth }},
	"XCLIENT":  {(*session).xclient, func(c *maillog.Counts) *maillog.Count { return &c.XClient }},
}

// command is one verb: what it does, and where the log counts it.
type command struct {
	run   func(s *session, ctx context.Context, arg string)
	count func(*maillog.Counts) *maillog.Count
}

func unknownCount(c *maillog.Counts) *maillog.Count { return &c.Unknown }

// upper gives a verb in upper case; one longer than any we know gives "".
func upper(verb []byte) string {
	if len(verb) > 8 {
		return ""
	}
	var b [8]byte
	for i, c := range verb {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		b[i] = c
	}
	return string(b[:len(verb)])
}

func notImplemented(s *session, _ context.Context, _ string) {
	s.fail(mail.Permanent(502, "5.1", "Error: command not implemented"))
}

// alien ends a session in which another protocol is spoken: nothing that
// follows may run (attacks S-62).
func (s *session) alien(line []byte) {
	s.srv.log.ClientWarn(&s.s, "not SMTP; connection closed", slog.String("what", foreign(line)))
	s.out.reply(mail.Permanent(521, "5.0", "This is an SMTP server"))
	s.abuse()
	s.close()
}

// fail answers an error of the client's and counts it. Trusted relays are not
// counted: there one connection serves many users (design section 4.10).
func (s *session) fail(r mail.Reply) {
	s.errors++
	if s.s.Trusted {
		s.out.reply(r)
		return
	}
	if s.errors >= s.set.Limits.HardErrors {
		s.out.reply(mail.Temporary(421, "7.0", "Error: too many errors"))
		s.srv.log.TooManyErrors(&s.s, s.phase())
		s.abuse()
		s.close()
		return
	}
	if s.errors > s.set.Limits.SoftErrors {
		s.flush()
		s.tx.waitedFor(time.Second)
		s.srv.sleep(time.Second)
	}
	s.out.reply(r)
}

// chatter counts commands that do nothing; beyond the budget they are errors.
func (s *session) chatter(r mail.Reply) {
	s.junk++
	if s.junk > s.set.Limits.JunkCommands {
		s.fail(r)
		return
	}
	s.out.reply(r)
}

// close ends the session after the replies were sent; what the client has
// pipelined behind is never executed (attacks M-13, S-58, S-59).
func (s *session) close() {
	s.closing = true
	s.in.kill()
}

// inStep tells that the client waited where it must. Bytes that came too
// early behind EHLO or DATA would be taken for something that they are not
// (RFC 2920 section 3.1; attacks S-51).
func (s *session) inStep() bool {
	if s.in.buffered() == 0 {
		return true
	}
	s.out.reply(replyOutOfStep)
	s.srv.log.Pipelining(&s.s, s.phase())
	s.abuse()
	s.close()
	return false
}

// Replies that are said in more than one place.
var (
	replyInternal = mail.Temporary(451, "3.0", "Error: internal fault, try again later")
	replyNotYou   = mail.Permanent(554, "7.1", "Error: access denied")
	replyShutdown = mail.Temporary(421, "3.2", "Service shutting down, try again")
	// replyOutOfStep is Postfix's, of clients that do not wait.
	replyOutOfStep = mail.Permanent(554, "5.0", "Error: SMTP protocol synchronization")
	replyRelay     = mail.Permanent(554, "7.1", "Relay access denied")
)

// decisionReply is the reply of a refusing decision, with a general text
// where the checks gave none.
func decisionReply(d mail.Decision) mail.Reply {
	switch r := d.Reply; {
	case d.Verdict == mail.Reject && r.Permanent(), d.Verdict == mail.Defer && r.Temporary():
		return r
	case d.Verdict == mail.Reject:
		return mail.Permanent(554, "7.1", "Refused by local policy")
	}
	return mail.Temporary(451, "7.1", "Refused by local policy for now, try again later")
}
