package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// dialogueTime is for one whole dialogue, so that a gateway that hangs cannot
// hang the demo.
const dialogueTime = 20 * time.Second

// Reply is one reply of the gateway.
type Reply struct {
	Code int
	Text string // with the enhanced code, its lines separated by line feeds
}

func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	return strconv.Itoa(r.Code) + " " + r.Text
}

// Dialogue is one SMTP connection to the gateway, seen by the client. After
// the first refusal, or a fault, everything that would follow is left out: so
// a case reads as one straight line.
type Dialogue struct {
	conn    net.Conn
	in      *bufio.Reader
	stop    func() bool
	decided Reply // the first refusal, else the reply to the end of data
	over    bool  // a refusal was read
	lines   []string
	err     error
}

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// dial connects from a given address of this machine and reads the greeting.
func dial(ctx context.Context, to string, from netip.Addr) *Dialogue {
	if !from.IsValid() {
		from = loopback()
	}
	d := connect(ctx, to, from)
	if d.err == nil {
		d.read()
	}
	return d
}

// connect connects and says nothing yet.
func connect(ctx context.Context, to string, from netip.Addr) *Dialogue {
	d := &Dialogue{}
	nd := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: dialogueTime}
	if d.conn, d.err = nd.DialContext(ctx, "tcp", to); d.err != nil {
		return d
	}
	d.stop = context.AfterFunc(ctx, func() { d.conn.Close() })
	_ = d.conn.SetDeadline(time.Now().Add(dialogueTime))
	d.in = bufio.NewReader(d.conn)
	return d
}

func (d *Dialogue) close() {
	if d.conn == nil {
		return
	}
	if d.stop != nil {
		d.stop()
	}
	d.conn.Close()
}

func (d *Dialogue) done() bool { return d.over || d.err != nil }

// note keeps a line for -v.
func (d *Dialogue) note(who, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		d.lines = append(d.lines, who+": "+line)
	}
}

// write sends octets as they are.
func (d *Dialogue) write(p []byte) {
	if d.done() {
		return
	}
	if _, err := d.conn.Write(p); err != nil && !gone(err) {
		d.err = err
	}
}

// gone tells that the other side closed: its reply may still be there to read.
func gone(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// read takes one reply.
func (d *Dialogue) read() Reply {
	if d.done() {
		return Reply{}
	}
	var r Reply
	var texts []string
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			d.err = fmt.Errorf("no reply: %w", err)
			return Reply{}
		}
		line = strings.TrimRight(line, "\r\n")
		code, err := strconv.Atoi(line[:min(3, len(line))])
		if err != nil || code < 200 || code > 599 {
			d.err = fmt.Errorf("no reply: %q", line)
			return Reply{}
		}
		d.note("S", line)
		r.Code = code
		texts = append(texts, line[min(4, len(line)):])
		if len(line) < 4 || line[3] != '-' {
			break
		}
	}
	r.Text = strings.Join(texts, "\n")
	if r.Code >= 400 {
		d.decided, d.over = r, true
	}
	return r
}

// Say sends one command and reads its reply.
func (d *Dialogue) Say(line string) Reply {
	if d.done() {
		return Reply{}
	}
	return d.Secret(line, line)
}

// Secret is Say for a command that is shown in another way.
func (d *Dialogue) Secret(line, shown string) Reply {
	if d.done() {
		return Reply{}
	}
	d.note("C", shown)
	d.write([]byte(line + "\r\n"))
	return d.read()
}

// Try is Say for a command whose refusal does not end the case; the refusal
// must begin with want.
func (d *Dialogue) Try(line, want string) {
	r := d.Say(line)
	if !d.over || !strings.HasPrefix(r.String(), want) {
		if d.err == nil {
			d.err = fmt.Errorf("%s was answered %q, not %q", line, r, want)
		}
		return
	}
	d.over, d.decided = false, Reply{}
}

// Envelope greets and names sender and recipients; params follow MAIL FROM.
func (d *Dialogue) Envelope(from, params string, to ...string) {
	d.Say("EHLO " + clientName)
	d.Mail(from, params, to...)
}

// Mail names sender and recipients.
func (d *Dialogue) Mail(from, params string, to ...string) {
	d.Say(strings.TrimRight("MAIL FROM:<"+from+"> "+params, " "))
	for _, r := range to {
		d.Say("RCPT TO:<" + r + ">")
	}
}

// Data sends a message by DATA, dot-stuffed (RFC 5321 section 4.5.2), and
// keeps the reply.
func (d *Dialogue) Data(msg []byte) {
	d.Raw(append(stuff(msg), ".\r\n"...))
}

// Raw sends DATA and then octets that are not touched: the end of data is the
// caller's.
func (d *Dialogue) Raw(octets []byte) {
	d.Say("DATA")
	d.body(octets)
	d.final()
}

// body sends octets and notes the beginning of them.
func (d *Dialogue) body(octets []byte) {
	if d.done() {
		return
	}
	d.note("C", summary(octets))
	d.write(octets)
}

// final reads the reply that decides and takes leave.
func (d *Dialogue) final() {
	r := d.read()
	if d.done() {
		return
	}
	d.decided = r
	d.Say("QUIT")
}

// Chunks sends a message in parts by BDAT (RFC 3030), all of them at once, as
// PIPELINING allows.
func (d *Dialogue) Chunks(parts ...[]byte) {
	var all []byte
	for i, p := range parts {
		line := "BDAT " + strconv.Itoa(len(p))
		if i == len(parts)-1 {
			line += " LAST"
		}
		if !d.done() {
			d.note("C", line+" + "+summary(p))
		}
		all = append(append(append(all, line...), "\r\n"...), p...)
	}
	d.write(all)
	for range len(parts) - 1 {
		d.read()
	}
	d.final()
}

// StartTLS goes on under TLS. The certificate is one that the gateway made for
// itself, so the name in it is all that can be checked.
func (d *Dialogue) StartTLS() {
	d.Say("EHLO " + clientName)
	d.Say("STARTTLS")
	if d.done() {
		return
	}
	c := tls.Client(d.conn, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: Hostname,
		InsecureSkipVerify: true, // self-signed; see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return s.PeerCertificates[0].VerifyHostname(Hostname)
		},
	})
	if err := c.Handshake(); err != nil {
		d.err = fmt.Errorf("TLS: %w", err)
		return
	}
	d.note("C", "("+tls.VersionName(c.ConnectionState().Version)+")")
	d.conn, d.in = c, bufio.NewReader(c)
}

// Vanish sends octets behind DATA and then ends the connection. It waits until
// the gateway has closed too, and so has done what it does then.
func (d *Dialogue) Vanish(octets []byte) {
	d.Say("DATA")
	d.body(octets)
	if d.done() {
		return
	}
	d.note("C", "(connection ends)")
	if t, ok := d.conn.(*net.TCPConn); ok {
		d.err = t.CloseWrite()
	}
	if d.err == nil {
		if line, err := d.in.ReadString('\n'); err == nil {
			d.err = fmt.Errorf("half a message was answered %q", strings.TrimRight(line, "\r\n"))
		}
	}
}

// stuff doubles the dots that begin lines.
func stuff(msg []byte) []byte {
	out := bytes.ReplaceAll(msg, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(out, []byte(".")) {
		out = append([]byte("."), out...)
	}
	return out
}

// summary is the beginning of a body and its length.
func summary(p []byte) string {
	const shown = 60
	head := string(p[:min(len(p), shown)])
	if len(p) <= shown {
		return strconv.Quote(head)
	}
	return strconv.Quote(head) + fmt.Sprintf("… (%d octets)", len(p))
}

// Message sends one more message over the connection and gives the reply that
// decides, whatever it is; the connection stays.
func (d *Dialogue) Message(from, to string, msg []byte) Reply {
	d.fresh()
	d.Mail(from, "", to)
	d.Say("DATA")
	d.body(append(stuff(msg), ".\r\n"...))
	if r := d.read(); r.Code != 0 {
		return r
	}
	return d.decided
}

// fresh begins anew after a refusal, with the time of a whole dialogue.
func (d *Dialogue) fresh() {
	d.over, d.decided = false, Reply{}
	if d.conn != nil {
		_ = d.conn.SetDeadline(time.Now().Add(dialogueTime))
	}
}
