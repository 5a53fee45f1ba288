package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// AUTH towards a smart host (RFC 4954), once for each connection, before it
// goes to the pool: PLAIN (RFC 4616), else LOGIN, which has no RFC.

// maxCredential bounds name and password: PLAIN's answer with both stays within
// the 12,288 octets of RFC 4954 section 4.
const maxCredential = 1000

// maxAuthLine is the longest command line (RFC 5321 section 4.5.3.1.4); a
// longer answer waits for a line of its own.
const maxAuthLine = 512

const (
	authPlain uint8 = 1 << iota
	authLogin
)

func parseAuth(words []string) (mask uint8) {
	for _, w := range words {
		switch strings.ToUpper(w) {
		case "PLAIN":
			mask |= authPlain
		case "LOGIN":
			mask |= authLogin
		}
	}
	return mask
}

// authenticate logs in, where that is configured. Whatever comes of it but a
// yes is our fault or the next hop's, never a sender's.
func (c *conn) authenticate(ctx context.Context) *fault {
	cfg := &c.hop.cfg
	if cfg.Login == "" {
		return nil
	}
	if c.tls == "" && c.host.path == "" && !c.far.Addr().IsLoopback() && !cfg.AuthWithoutTLS {
		return noTLS(fmt.Errorf("%s: no TLS, the password is not sent in clear text", c.name))
	}
	// The buffer of the last line holds the password; the next command would
	// write over it, a shorter one not over all.
	defer func() { clear(c.batch.buf[:cap(c.batch.buf)]) }()
	offered := c.ext.auth
	if offered&authPlain != 0 {
		r, f := c.plain(ctx)
		if f != nil {
			return f
		}
		// 504 is about the mechanism (RFC 4954 section 6).
		if r.code != 504 || offered&authLogin == 0 {
			return c.authenticated("PLAIN", r)
		}
	}
	if offered&authLogin != 0 {
		r, f := c.login(ctx)
		if f != nil {
			return f
		}
		return c.authenticated("LOGIN", r)
	}
	return misconfigured(fmt.Errorf("%s: login is set and the next hop offers neither AUTH PLAIN nor AUTH LOGIN", c.name))
}

// plain gives the last reply of AUTH PLAIN.
func (c *conn) plain(ctx context.Context) (reply, *fault) {
	cfg := &c.hop.cfg
	answer := base64.StdEncoding.EncodeToString([]byte("\x00" + cfg.Login + "\x00" + cfg.Password))
	if one := "AUTH PLAIN " + answer; len(one)+2 <= maxAuthLine {
		return c.say(ctx, "AUTH PLAIN", one)
	}
	r, f := c.say(ctx, "AUTH PLAIN", "AUTH PLAIN")
	if f != nil || r.code != 334 {
		return r, f
	}
	return c.say(ctx, "AUTH PLAIN", answer)
}

// login gives the last reply of AUTH LOGIN. What the two prompts say is not
// looked at: no two servers agree on it.
func (c *conn) login(ctx context.Context) (reply, *fault) {
	cfg := &c.hop.cfg
	r, f := c.say(ctx, "AUTH LOGIN", "AUTH LOGIN")
	for _, answer := range []string{cfg.Login, cfg.Password} {
		if f != nil || r.code != 334 {
			return r, f
		}
		r, f = c.say(ctx, "AUTH LOGIN", base64.StdEncoding.EncodeToString([]byte(answer)))
	}
	return r, f
}

// say is command whose errors never quote what was said.
func (c *conn) say(ctx context.Context, stage, line string) (reply, *fault) {
	r, err := c.command(ctx, c.hop.cfg.CommandTimeout, line)
	if errors.Is(err, errProtocol) {
		// It tells what came in the place of a reply: our own line, where
		// somebody sends everything back.
		err = fmt.Errorf("%w: not shown, for it may repeat the password", errProtocol)
	}
	if err != nil {
		return r, broken(c.name, stage, err)
	}
	return r, c.stepDone(stage)
}

// authenticated judges the last reply.
func (c *conn) authenticated(mechanism string, r reply) *fault {
	switch {
	case r.class() == 2:
		return nil
	case r.class() == 5:
		f := misconfigured(fmt.Errorf("%s: the next hop refused our login by AUTH %s with %q: look at login and password", c.name, mechanism, c.withoutSecret(r)))
		f.credentials = true
		return f
	case r.code == 421:
		return lost(fmt.Errorf("%s: answered AUTH %s with %q", c.name, mechanism, c.withoutSecret(r)))
	}
	return nonsense(fmt.Errorf("%s: answered AUTH %s with %q", c.name, mechanism, c.withoutSecret(r)))
}

// withoutSecret is the reply for the log: its code alone when it repeats what
// it was told.
func (c *conn) withoutSecret(r reply) string {
	cfg := &c.hop.cfg
	for _, secret := range []string{
		cfg.Password,
		base64.RawStdEncoding.EncodeToString([]byte(cfg.Password)),
		base64.RawStdEncoding.EncodeToString([]byte("\x00" + cfg.Login + "\x00" + cfg.Password)),
	} {
		if bytes.Contains(r.text, []byte(secret)) {
			return fmt.Sprintf("%d (a text that repeats the password)", r.code)
		}
	}
	return r.line()
}
