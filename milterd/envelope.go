package milterd

import (
	"context"
	stdtls "crypto/tls"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"garita/mail"
	"garita/message"
)

// transaction is one message: MAIL to the end of it. It is one value and is
// dropped whole.
type transaction struct {
	mail.Transaction
	started time.Time
	raw     []string // the recipients as the MTA wrote them, for it to find them again
	tried   int

	begun   bool // header or body have begun
	inBody  bool
	fields  int // header fields that the MTA has sent
	builder *message.Builder
	grant   *message.Grant
	refusal *mail.Reply // said at the end of the message
	queueID string      // the MTA's
}

// connect is the MTA's word about its client: name, family, port, address.
func (x *session) connect(ctx context.Context, p []byte) error {
	name, p, ok := cstring(p)
	if !ok || len(p) == 0 {
		return broken("connect without a name")
	}
	family := p[0]
	port, addr := uint16(0), netip.Addr{}
	switch family {
	case '4', '6':
		if len(p) < 3 {
			return broken("connect without a port")
		}
		port = binary.BigEndian.Uint16(p[1:])
		text, _, _ := strings.Cut(string(p[3:]), "\x00")
		if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
			text = text[5:]
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			return broken("connect with a bad address")
		}
		addr = a.Unmap().WithZone("")
	case 'L':
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case 'U':
		// Nobody knows who it is: an address that is in no network.
		addr = netip.IPv4Unspecified()
	default:
		return broken("connect with family %q", rune(family))
	}
	m := x.macros
	x.part(ctx) // an MTA that reuses its connection without saying so
	x.macros = m
	client := netip.AddrPortFrom(addr, port)
	x.met, x.role = true, mail.Inbound
	x.s = mail.Session{ID: x.srv.ids.Next(), Listener: ListenerName, Peer: client, Client: client, Host: hostName(name, m),
		Proto: "SMTP", Start: time.Now(), ByMTA: true}
	if x.s.Trusted = contains(x.set.TrustedNetworks, addr); x.s.Trusted {
		x.role = mail.Outbound
	}
	x.s.Role = x.role
	ctx, cancel := context.WithTimeout(ctx, x.set.CommandTimeout)
	defer cancel()
	return x.rule("CONNECT", "", x.set.Policy.Connect(ctx, &x.s))
}

// hostName is the client's name as the MTA found it. Postfix gives only names
// that it has confirmed, or "unknown"; Sendmail gives the address in brackets,
// and says by {client_resolve} whether a name was confirmed.
func hostName(name string, m macros) mail.HostName {
	if name != "" && !strings.EqualFold(name, "unknown") && name[0] != '[' && (m.resolve == "" || m.resolve == "OK") {
		return mail.HostName{Name: name, Confirmed: true}
	}
	if m.ptr != "" && !strings.EqualFold(m.ptr, "unknown") {
		return mail.HostName{Name: m.ptr}
	}
	return mail.HostName{}
}

// helo is HELO or EHLO; the protocol does not say which. It comes again after
// STARTTLS.
func (x *session) helo(ctx context.Context, p []byte) error {
	name, _, ok := cstring(p)
	if !ok {
		return broken("HELO without an end")
	}
	x.end(ctx, mail.Outcome{Kind: mail.Aborted, Detail: "HELO"})
	x.s.Helo = name
	x.secured()
	ctx, cancel := context.WithTimeout(ctx, x.set.CommandTimeout)
	defer cancel()
	return x.rule("HELO", name, x.set.Policy.Helo(ctx, &x.s))
}

// secured takes over what the MTA says of TLS. Certificates are its business.
func (x *session) secured() {
	x.s.TLS = nil
	if x.macros.tls == "" {
		return
	}
	cs := &stdtls.ConnectionState{HandshakeComplete: true}
	for _, v := range []uint16{stdtls.VersionTLS10, stdtls.VersionTLS11, stdtls.VersionTLS12, stdtls.VersionTLS13} {
		name := strings.Replace(stdtls.VersionName(v), " ", "v", 1) // "TLS 1.3" is Postfix's "TLSv1.3"
		if strings.EqualFold(strings.TrimSuffix(name, ".0"), strings.TrimSuffix(x.macros.tls, ".0")) {
			cs.Version = v
		}
	}
	for _, c := range stdtls.CipherSuites() {
		if c.Name == x.macros.cipher {
			cs.CipherSuite = c.ID
		}
	}
	x.s.TLS = cs
}

// protocol is how the client speaks, in the words of RFC 3848, as far as the
// MTA tells.
func (x *session) protocol(args int) string {
	p := "SMTP"
	if args > 0 || x.s.TLS != nil || x.s.Login != "" {
		p = "ESMTP"
	}
	if x.s.TLS != nil {
		p += "S"
	}
	if x.s.Login != "" {
		p += "A"
	}
	return p
}

// mail is MAIL with its parameters, and with who has logged in.
func (x *session) mail(ctx context.Context, p []byte) error {
	path, params, args, ok := sender(p)
	if !ok {
		return broken("MAIL without an address")
	}
	x.end(ctx, mail.Outcome{Kind: mail.Aborted, Detail: "another MAIL"})
	m := x.macros
	if x.s.TLS == nil && m.tls != "" {
		x.secured()
	}
	x.s.Login, x.s.LoginMethod, x.s.Role = m.user, m.method, x.role
	t := &transaction{started: time.Now(), queueID: m.queueID}
	t.Session, t.ID, t.Direction = &x.s, x.srv.ids.Next(), mail.In
	if m.user != "" {
		x.s.Role = mail.Outbound
		t.Identity = mail.Identity{User: m.user, Source: "milter"}
	} else {
		x.s.LoginMethod = ""
	}
	if x.s.Role == mail.Outbound {
		t.Direction = mail.Out
	}
	x.s.Proto = x.protocol(args)
	x.known()
	t.ReversePath, t.Params = path, params
	x.macros.user, x.macros.method, x.macros.sender = "", "", ""
	x.tx = t
	bad := mail.Sendable(path)
	if bad == nil && params.Size > x.set.MaxMessageSize {
		r := replyTooBig
		bad = &r
	}
	ctx, cancel := context.WithTimeout(ctx, x.set.CommandTimeout)
	defer cancel()
	if bad != nil {
		return x.refuseMail(ctx, path, *bad)
	}
	d := x.set.Policy.Mail(ctx, &t.Transaction)
	if refuses(d) {
		return x.refuseMail(ctx, path, x.refusal(d))
	}
	if x.kicked.Load() {
		return x.refuseMail(ctx, path, replyKicked)
	}
	return x.answer(actContinue)
}

// refuseMail ends the transaction that MAIL began.
func (x *session) refuseMail(ctx context.Context, path mail.Path, r mail.Reply) error {
	x.srv.stats.refusals.Add(1)
	x.srv.log.Reject(&x.s, &x.tx.Transaction, "MAIL", path.String(), r)
	x.end(ctx, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}})
	return x.answer(actReply, text(r))
}

// rcpt is RCPT. The MTA has allowed it already: relaying is its business.
func (x *session) rcpt(ctx context.Context, p []byte) error {
	raw, args, ok := cstring(p)
	if !ok {
		return broken("RCPT without an address")
	}
	t := x.tx
	if t.begun {
		return broken("RCPT behind the message")
	}
	t.tried++
	r := mail.Recipient{Path: address(raw, mail.ParseForward)}
	if with, bad := mail.ParseRcptParams(joined(args), mail.Allowed{DSN: true}); bad == nil {
		with.Path = r.Path
		r = with
	}
	refuse := func(reply mail.Reply) error {
		x.srv.stats.refusals.Add(1)
		x.srv.log.Reject(&x.s, &t.Transaction, "RCPT", r.String(), reply)
		return x.answer(actReply, text(reply))
	}
	if bad := mail.Routable(r.Path); bad != nil {
		return refuse(*bad)
	}
	if len(t.ForwardPaths) >= x.set.MaxRecipients {
		return refuse(replyMaxRecipients)
	}
	ctx, cancel := context.WithTimeout(ctx, x.set.CommandTimeout)
	defer cancel()
	if d := x.set.Policy.Rcpt(ctx, &t.Transaction, r); refuses(d) {
		return refuse(x.refusal(d))
	}
	if x.kicked.Load() {
		return refuse(replyKicked)
	}
	t.ForwardPaths = append(t.ForwardPaths, r)
	t.raw = append(t.raw, raw)
	return x.answer(actContinue)
}

// data is DATA, which an MTA before Postfix 2.5 does not tell of.
func (x *session) data(ctx context.Context) error {
	t := x.tx
	if t.begun {
		return broken("DATA twice")
	}
	ctx, cancel := context.WithTimeout(ctx, x.set.CommandTimeout)
	defer cancel()
	if d := x.set.Policy.Data(ctx, &t.Transaction); refuses(d) || x.kicked.Load() {
		r := replyKicked
		if refuses(d) {
			r = x.refusal(d)
		}
		x.srv.stats.refusals.Add(1)
		x.end(ctx, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{r}})
		return x.answer(actReply, text(r))
	}
	return x.answer(actContinue)
}

// rule answers a decision about the session.
func (x *session) rule(verb, what string, d mail.Decision) error {
	if !refuses(d) {
		return x.answer(actContinue)
	}
	r := x.refusal(d)
	x.srv.stats.refusals.Add(1)
	x.srv.log.Reject(&x.s, nil, verb, what, r)
	return x.answer(actReply, text(r))
}

func refuses(d mail.Decision) bool { return d.Verdict == mail.Reject || d.Verdict == mail.Defer }

// sender reads MAIL's address and those of its parameters that we understand.
// What the MTA took is no longer ours to refuse for its grammar.
func sender(p []byte) (path mail.Path, params mail.Params, args int, ok bool) {
	raw, rest, ok := cstring(p)
	if !ok {
		return path, params, 0, false
	}
	path = address(raw, mail.ParseReverse)
	for _, one := range arguments(rest) {
		args++
		allowed := mail.Allowed{Size: true, EightBitMIME: true, SMTPUTF8: true, DSN: true}
		one, bad := mail.ParseMailParams(" "+one, allowed)
		if bad != nil {
			continue
		}
		params.Size = max(params.Size, one.Size)
		params.SMTPUTF8 = params.SMTPUTF8 || one.SMTPUTF8
		if one.Body != "" {
			params.Body = one.Body
		}
		if one.Ret != "" {
			params.Ret = one.Ret
		}
		if one.EnvID != "" {
			params.EnvID = one.EnvID
		}
	}
	return path, params, args, true
}

// maxArguments bounds the parameters of a command.
const maxArguments = 32

func arguments(p []byte) (out []string) {
	for len(p) > 0 && len(out) < maxArguments {
		one, rest, ok := cstring(p)
		if !ok {
			one, rest = string(p), nil
		}
		if one != "" {
			out = append(out, one)
		}
		p = rest
	}
	return out
}

func joined(p []byte) string {
	list := arguments(p)
	if len(list) == 0 {
		return ""
	}
	return " " + strings.Join(list, " ")
}

// address reads a path. One that the grammar refuses and the MTA has taken is
// read as the MTA does: the last @ parts it. It is quoted wherever it is shown.
func address(raw string, parse func(string, bool) (mail.Path, string, error)) mail.Path {
	if !strings.HasPrefix(raw, "<") {
		raw = "<" + raw + ">"
	}
	if p, rest, err := parse(raw, true); err == nil && rest == "" {
		return p
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(raw, "<"), ">")
	if at := strings.LastIndexByte(bare, '@'); at >= 0 {
		return mail.Path{Local: bare[:at], Domain: bare[at+1:]}
	}
	return mail.Path{Local: bare}
}
