package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"garita/smtpproxy"
)

// extensions are what the next hop's last EHLO offered.
type extensions struct {
	pipelining, size, eightBit, utf8, dsn, starttls bool
	maxSize                                         int64
	xforward                                        uint8
	xclient                                         uint16
	auth                                            uint8
}

// parseEHLO reads the reply to EHLO tolerantly: any case, tabs, odd values;
// what is not understood is not used. Its first line is the greeting.
func parseEHLO(text []byte) extensions {
	var e extensions
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if i == 0 || len(words) == 0 {
			continue
		}
		switch strings.ToUpper(words[0]) {
		case "PIPELINING":
			e.pipelining = true
		case "SIZE":
			e.size = true
			if len(words) > 1 {
				if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
					e.maxSize = n
				}
			}
		case "8BITMIME":
			e.eightBit = true
		case "SMTPUTF8":
			e.utf8 = true
		case "DSN":
			e.dsn = true
		case "STARTTLS":
			e.starttls = true
		case "XFORWARD":
			e.xforward |= parseXForward(words[1:])
		case "XCLIENT":
			e.xclient |= parseXClient(words[1:])
		case "AUTH":
			e.auth |= parseAuth(words[1:])
		default:
			// "AUTH=PLAIN LOGIN" is how some say it to old clients.
			if w := words[0]; len(w) > 5 && strings.EqualFold(w[:5], "AUTH=") {
				e.auth |= parseAuth(append(words[1:], w[5:]))
			}
		}
	}
	// RFC 6531 section 3.1: SMTPUTF8 needs 8BITMIME.
	e.utf8 = e.utf8 && e.eightBit
	return e
}

func (e extensions) capabilities() smtpproxy.Capabilities {
	return smtpproxy.Capabilities{Known: true, Size: e.maxSize, EightBitMIME: e.eightBit, SMTPUTF8: e.utf8, DSN: e.dsn}
}

// conn is one connection to the next hop. One goroutine uses it at a time.
type conn struct {
	hop       *NextHop
	host      *host
	nc        net.Conn     // what commands and body go through: TCP or TLS over it
	tcp       *net.TCPConn // nc when it takes writev, else nil
	raw       net.Conn     // the socket
	under     *records     // between TLS and the socket; nil in clear text
	ext       extensions
	rd        replyReader
	batch     batch
	iov       [][]byte    // reused by the body writer
	vec       net.Buffers // likewise
	uses      int         // transactions that it has completed
	idle      time.Time   // since when it is idle
	name      string      // "host[address]:port"
	tls       string      // description, empty in clear text
	near, far netip.AddrPort
	peek      syscall.RawConn // of raw, made on first use by quiet
	// greeted: it counts among the host's live connections.
	greeted bool
	// owner is the client session that XCLIENT was said for, with what was
	// said; empty on a connection that may serve anybody.
	owner string
	// tainted: a cancelled context may still move its deadline; never reuse.
	tainted bool
}

// close drops the socket at once: no QUIT, and above all no dot.
func (c *conn) close() {
	c.raw.Close()
	if c.greeted {
		c.greeted = false
		c.host.live.Add(-1)
	}
	if c.far.IsValid() {
		c.hop.own.Remove(c.near, c.far)
	}
}

// quitWait bounds the politeness of QUIT.
const quitWait = 2 * time.Second

// quit says QUIT and closes. It is only for connections that are between
// transactions; everywhere else close.
func (c *conn) quit() {
	c.raw.SetDeadline(time.Now().Add(quitWait))
	if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
		c.rd.read()
	}
	c.close()
}

// within sets the deadline of the next step: d from now, or the context's end
// when that is sooner.
func (c *conn) within(ctx context.Context, d time.Duration) error {
	t := time.Now().Add(d)
	if dl, ok := ctx.Deadline(); ok && dl.Before(t) {
		t = dl
	}
	if err := c.raw.SetDeadline(t); err != nil {
		return err
	}
	// After the deadline is set: a cancellation that comes later will move
	// it by watch, one that came before is seen here.
	return ctx.Err()
}

// watch lets the end of the context cut short whatever the connection waits
// for. The function that it returns ends the watch.
func (c *conn) watch(ctx context.Context) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { c.raw.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !stop() {
			c.tainted = true
		}
	}
}

// command sends one command and reads its reply.
func (c *conn) command(ctx context.Context, d time.Duration, line string) (reply, error) {
	if err := c.within(ctx, d); err != nil {
		return reply{}, err
	}
	c.batch.reset()
	c.batch.buf = append(append(c.batch.buf, line...), '\r', '\n')
	if _, err := c.nc.Write(c.batch.buf); err != nil {
		return reply{}, err
	}
	return c.rd.read()
}

// reset is RSET with its answer; false means that the connection is unfit.
func (c *conn) reset(ctx context.Context) bool {
	r, err := c.command(ctx, min(c.hop.cfg.CommandTimeout, resetWait), "RSET")
	return err == nil && r.class() == 2 && c.rd.buffered() == 0
}

// resetWait bounds RSET, which no client waits for.
const resetWait = 10 * time.Second

// hello greets: EHLO, and HELO where EHLO is refused (RFC 5321 section 3.2);
// LHLO in LMTP, which has no other (RFC 2033 section 4.1).
func (c *conn) hello(ctx context.Context, name string) *fault {
	verb := "EHLO"
	if c.host.lmtp {
		verb = "LHLO"
	}
	r, err := c.command(ctx, c.hop.cfg.CommandTimeout, verb+" "+name)
	if err != nil {
		return broken(c.name, verb, err)
	}
	switch {
	case r.class() == 2:
		c.ext = parseEHLO(r.text)
		return c.stepDone(verb)
	case r.class() != 5 || c.host.lmtp:
		return unexpected(c.name, verb, r)
	}
	said := r.line()
	c.ext = extensions{}
	if r, err = c.command(ctx, c.hop.cfg.CommandTimeout, "HELO "+name); err != nil {
		return broken(c.name, "HELO", err)
	}
	if r.class() != 2 {
		return nonsense(fmt.Errorf("%s: answered EHLO with %q, HELO with %q", c.name, said, r.line()))
	}
	return c.stepDone("HELO")
}

// stepDone refuses a connection that has more to say than was asked.
func (c *conn) stepDone(stage string) *fault {
	if c.rd.buffered() > 0 {
		return nonsense(fmt.Errorf("%s: %w: more than one reply to %s", c.name, errProtocol, stage))
	}
	return nil
}
