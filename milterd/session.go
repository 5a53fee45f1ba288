package milterd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
)

// session is one connection of an MTA; its goroutine alone touches it, but for
// wake.
type session struct {
	srv *Server
	set *Settings
	w   *wire

	agreed   uint32 // protocol steps
	may      uint32 // actions
	greeted  bool   // options were negotiated
	met      bool   // the SMTP client was told of
	s        mail.Session
	role     mail.Role // of a client who has not logged in
	macros   macros
	tx       *transaction
	closing  bool
	noAnswer bool // the MTA does not wait for an answer to this command

	who    atomic.Pointer[LoggedIn] // nil: nobody, or not known
	kicked atomic.Bool              // its next command is answered 421

	mu    sync.Mutex
	idle  bool // waits for a packet, and no message is on its way
	woken bool
}

var errDraining = errors.New("draining")

// run serves the connection to its end. A panic ends this session alone, and
// defers its message.
func (x *session) run(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			x.srv.stats.panics.Add(1)
			x.srv.log.Warn("milter", "panic in a session; the client is told to try again", slog.String("panic", fmt.Sprintf("%T", p)),
				slog.String("stack", string(debug.Stack())))
			x.end(ctx, mail.Outcome{Kind: mail.Aborted, Detail: "panic"})
			if !x.noAnswer {
				x.w.send(actReply, text(replyInternal))
				x.w.flush()
			}
		}
		x.part(ctx)
		x.w.conn.Close()
	}()
	for !x.closing {
		err := x.step(ctx)
		if err == nil {
			continue
		}
		if errors.Is(err, errProtocol) {
			x.srv.stats.broken.Add(1)
			x.srv.log.Warn("milter", "connection closed", slog.String("peer", x.w.conn.RemoteAddr().String()), slog.String("error", err.Error()))
		}
		return
	}
}

// wake ends a wait for the next packet, where no message is on its way.
func (x *session) wake() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.woken = true
	if x.idle {
		x.w.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// step takes one packet and answers it.
func (x *session) step(ctx context.Context) error {
	x.mu.Lock()
	x.idle = x.tx == nil
	stop := x.woken && x.idle
	if !stop { // under the lock: wake must not be written over
		x.w.conn.SetReadDeadline(time.Now().Add(x.set.IdleTimeout))
	}
	x.mu.Unlock()
	if stop {
		return errDraining
	}
	cmd, n, err := x.w.head()
	x.mu.Lock()
	x.idle = false
	x.mu.Unlock()
	if err != nil {
		return err
	}
	if cmd == cmdBody || cmd == cmdEOB {
		return x.bodyPacket(ctx, cmd, n)
	}
	p, err := x.w.payload(n)
	if err != nil {
		return err
	}
	return x.command(ctx, cmd, p)
}

// command does what a packet says.
func (x *session) command(ctx context.Context, cmd byte, p []byte) error {
	x.noAnswer = false
	x.srv.stats.commands[indexOf(cmd)].Add(1)
	if !x.greeted && cmd != cmdOptions {
		return broken("command %q before the options", rune(cmd))
	}
	switch cmd {
	case cmdOptions:
		return x.options(p)
	case cmdMacro:
		x.noAnswer = true
		return x.defines(p)
	case cmdAbort:
		x.noAnswer = true
		x.end(ctx, mail.Outcome{Kind: mail.Aborted, Detail: "given up by the client or the MTA"})
		return nil
	case cmdQuit:
		x.noAnswer, x.closing = true, true
		return nil
	case cmdQuitNew:
		x.noAnswer = true
		x.part(ctx)
		return nil
	case cmdConnect:
		return x.connect(ctx, p)
	case cmdUnknown:
		return x.answer(actContinue)
	}
	if !x.met {
		return broken("command %q before the client", rune(cmd))
	}
	switch cmd {
	case cmdHelo:
		return x.helo(ctx, p)
	case cmdMail:
		return x.mail(ctx, p)
	}
	if x.tx == nil {
		return broken("command %q without MAIL", rune(cmd))
	}
	switch cmd {
	case cmdRcpt:
		return x.rcpt(ctx, p)
	case cmdData:
		return x.data(ctx)
	case cmdHeader:
		return x.header(ctx, p)
	case cmdEOH:
		return x.headerEnd(ctx)
	}
	return broken("unknown command %q", rune(cmd))
}

// macroNames are those that we ask for, by stage; an MTA that does not let us
// ask has its own lists (milter_mail_macros and so on).
var macroNames = [...]string{
	0: "j {daemon_name} {client_ptr} {client_resolve}",
	1: "{tls_version} {cipher}",
	2: "i {auth_type} {auth_authen} {mail_addr} {tls_version} {cipher}",
	3: "i {rcpt_addr}",
	4: "i",
	5: "i",
}

// options agrees on what each side does.
func (x *session) options(p []byte) error {
	if x.greeted || len(p) < 12 {
		return broken("options of %d octets", len(p))
	}
	version := binary.BigEndian.Uint32(p)
	if version < 2 {
		return broken("version %d", version)
	}
	offered := binary.BigEndian.Uint32(p[4:])
	x.may = offered & (mayAddHeader | mayBody | mayAddRcpt | mayDelRcpt | mayChangeHeader | mayQuarantine | maySetMacros)
	x.agreed = binary.BigEndian.Uint32(p[8:]) & (noUnknown | noReplyHeader | noReplyEOH | noReplyBody | leadingSpace)
	x.greeted = true
	lists := ""
	if x.may&maySetMacros != 0 {
		for stage, names := range macroNames {
			lists += number(uint32(stage)) + names + "\x00"
		}
	}
	x.w.send(cmdOptions, number(min(version, ourVersion)), number(x.may), number(x.agreed), lists)
	return x.w.flush()
}

// macros are what we use of what the MTA defines.
type macros struct {
	user, method, sender, tls, cipher, ptr, resolve, queueID string
}

// maxMacro bounds a value that is kept, maxMacros the names of one packet.
const (
	maxMacro  = 1024
	maxMacros = 64
)

// defines takes in what the MTA says before a command. What belongs to that
// command takes the place of what was said before: nobody keeps the login of
// an earlier message.
func (x *session) defines(p []byte) error {
	if len(p) == 0 {
		return broken("empty macros")
	}
	m := &x.macros
	switch p[0] {
	case cmdConnect:
		*m = macros{}
	case cmdHelo:
		m.tls, m.cipher = "", ""
	case cmdMail:
		m.user, m.method, m.sender, m.queueID = "", "", "", ""
	}
	p = p[1:]
	for i := 0; len(p) > 0 && i < maxMacros; i++ {
		name, rest, ok := cstring(p)
		if !ok {
			return broken("macros without an end")
		}
		value, rest, ok := cstring(rest)
		if !ok {
			return broken("macros without an end")
		}
		p = rest
		if to := m.place(name); to != nil && len(value) <= maxMacro {
			*to = value
		}
	}
	return nil
}

func (m *macros) place(name string) *string {
	switch name {
	case "{auth_authen}":
		return &m.user
	case "{auth_type}":
		return &m.method
	case "{mail_addr}":
		return &m.sender
	case "{tls_version}":
		return &m.tls
	case "{cipher}":
		return &m.cipher
	case "{client_ptr}":
		return &m.ptr
	case "{client_resolve}":
		return &m.resolve
	case "i", "{i}":
		return &m.queueID
	}
	return nil
}

// answer sends an action, unless the MTA does not wait for one.
func (x *session) answer(act byte, parts ...string) error {
	x.w.send(act, parts...)
	return x.w.flush()
}

// part ends the SMTP session that this connection serves.
func (x *session) part(ctx context.Context) {
	x.end(ctx, mail.Outcome{Kind: mail.Aborted, Detail: "session ended"})
	if x.met {
		x.met = false
		x.set.Policy.Closed(&x.s)
	}
	x.s, x.macros = mail.Session{}, macros{}
	x.unknown()
}

// end is the one way out of a transaction: what it holds is given back, the
// checks and the log are told, and the value is dropped whole.
func (x *session) end(ctx context.Context, o mail.Outcome) {
	t := x.tx
	if t == nil {
		return
	}
	x.tx = nil
	x.srv.count(o.Kind)
	if t.builder != nil {
		t.builder.Discard()
	}
	// The checks hear of it even when the time of the message has run out.
	x.set.Policy.Finish(context.WithoutCancel(ctx), &t.Transaction, o)
	switch {
	case len(t.ForwardPaths) == 0:
	case o.Kind == mail.Relayed:
		x.logAccepted(t, o)
	default:
		x.srv.log.Transaction(&t.Transaction, o)
	}
	if t.Message != nil {
		t.Message.Release()
	}
	t.grant.Release()
}

func (s *Server) count(k mail.OutcomeKind) {
	if int(k) < len(s.stats.outcomes) {
		s.stats.outcomes[k].Add(1)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

var _ io.Writer = (*wire)(nil)
