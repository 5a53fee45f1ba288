package smtpproxy

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"

	"garita/mail"
)

const (
	// maxAuthLine bounds a line of an AUTH exchange (RFC 4954 section 4).
	maxAuthLine = 12288
	// maxAuthFailures ends the session (attacks S-156): guessing costs a
	// connection and a handshake each few tries.
	maxAuthFailures = 3
)

// login is what a session remembers of AUTH.
type login struct {
	done     bool // an AUTH was successful: there is no other (RFC 4954 section 4)
	failures int
}

// Replies of AUTH. All failures have one code and text, whatever was wrong
// (attacks S-157).
var (
	replyLoggedIn    = mail.OK(235, "7.0", "Authentication successful")
	replyWrongLogin  = mail.Permanent(535, "7.8", "Error: authentication failed")
	replyLoginLater  = mail.Temporary(454, "7.0", "Temporary authentication failure, try again later")
	replyLoginLimit  = mail.Temporary(421, "7.0", "Error: too many failed logins")
	replyLoginDecode = mail.Permanent(501, "5.2", "Error: cannot decode the response")
	replyMustLogin   = mail.Permanent(530, "7.0", "Authentication required")
	replyMustTLS     = mail.Permanent(530, "7.0", "Must issue a STARTTLS command first")
)

// hasAuth tells that the listener takes logins at all.
func (s *session) hasAuth() bool { return s.ln.Auth && s.set.Accounts != nil }

// offersAuth tells that AUTH can be used now: under TLS alone, and once
// (attacks S-39).
func (s *session) offersAuth() bool {
	return s.hasAuth() && s.s.TLS != nil && s.esmtp && !s.login.done
}

// mustLogin is the refusal of a MAIL from somebody who may send to nobody
// here: neither in the trusted networks nor logged in, on a listener that
// takes logins. Without logins RCPT is what refuses.
func (s *session) mustLogin() (mail.Reply, bool) {
	switch {
	case s.s.Trusted || s.s.Login != "" || !s.ln.Auth && s.ln.certs == nil:
		return mail.Reply{}, false
	case s.s.TLS == nil:
		return replyMustTLS, true
	}
	return replyMustLogin, true
}

// identity is who sends, as the session has shown it.
func (s *session) identity() mail.Identity {
	switch {
	case s.s.Login == "":
		return mail.Identity{}
	case s.login.done:
		return mail.Identity{User: s.s.Login, Source: "auth"}
	}
	return mail.Identity{User: s.s.Login, Source: "certificate"}
}

// forgetLogin drops what the client has shown of itself. The count of failures
// stays: it belongs to the connection.
func (s *session) forgetLogin() {
	s.s.Login, s.s.LoginMethod, s.login.done = "", "", false
	s.who.Store(nil)
}

// lineLimit bounds the next command line. Only AUTH may have the long one;
// readCommand looks at the verb.
func (s *session) lineLimit() int {
	if s.offersAuth() {
		return max(s.set.Limits.CommandLength, maxAuthLine)
	}
	return s.set.Limits.CommandLength
}

// tooLong tells a line that lineLimit let in and that is no AUTH.
func (s *session) tooLong(line []byte) bool {
	return len(line)+2 > s.set.Limits.CommandLength && (len(line) < 5 || !strings.EqualFold(string(line[:5]), "AUTH "))
}

// auth is AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN.
func (s *session) auth(ctx context.Context, arg string) {
	mechanism, initial, given := strings.Cut(strings.TrimRight(arg, " "), " ")
	switch {
	case !s.hasAuth():
		notImplemented(s, ctx, arg)
		return
	case mechanism == "" || given && (initial == "" || strings.Contains(initial, " ")):
		s.fail(mail.Permanent(501, "5.4", "Syntax: AUTH mechanism [initial-response]"))
		return
	case !s.greeted || !s.esmtp:
		s.fail(mail.Permanent(503, "5.1", "Error: send EHLO first"))
		return
	case s.login.done:
		s.fail(mail.Permanent(503, "5.1", "Error: already authenticated"))
		return
	case s.tx != nil:
		s.fail(mail.Permanent(503, "5.1", "Error: MAIL transaction in progress"))
		return
	case s.s.TLS == nil:
		s.fail(mail.Permanent(538, "7.11", "Encryption required for requested authentication mechanism"))
		return
	}
	x := exchange{s: s, ctx: ctx, initial: initial, given: given}
	switch mechanism = strings.ToUpper(mechanism); mechanism {
	case "PLAIN":
		user, password, ok := x.plain()
		if ok {
			s.verify(ctx, mechanism, user, password)
		}
	case "LOGIN":
		user, ok := x.next("VXNlcm5hbWU6") // Username:
		if !ok {
			return
		}
		password, ok := x.next("UGFzc3dvcmQ6") // Password:
		if ok {
			s.verify(ctx, mechanism, string(user), string(password))
		}
	default:
		s.fail(mail.Permanent(504, "5.4", "Unrecognized authentication type"))
	}
}

// exchange is one AUTH dialogue.
type exchange struct {
	s       *session
	ctx     context.Context
	initial string
	given   bool // an initial response that was not used yet
}

// next gives the client's next response, decoded; not ok when the dialogue is
// over, and then it has been answered.
func (x *exchange) next(challenge string) ([]byte, bool) {
	s := x.s
	text := x.initial
	if x.given {
		if x.given = false; text == "=" {
			return nil, true // an empty response (RFC 4954 section 4)
		}
	} else {
		s.out.reply(mail.Reply{Code: 334, Text: challenge})
		line, err := s.readLine(maxAuthLine)
		if errors.Is(err, errLineTooLong) {
			s.out.reply(mail.Permanent(500, "5.6", "Authentication exchange line is too long"))
			s.srv.log.ClientWarn(&s.s, "authentication exchange line is too long; connection closed")
			s.close()
			return nil, false
		}
		if err != nil {
			s.readFailed(x.ctx, err)
			s.close()
			return nil, false
		}
		if text = string(line); text == "*" {
			s.fail(mail.Permanent(501, "7.0", "Authentication cancelled"))
			return nil, false
		}
	}
	// The decoder would pass over a stray CR.
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || strings.ContainsRune(text, '\r') {
		s.fail(replyLoginDecode)
		return nil, false
	}
	return b, true
}

// plain reads the one message of PLAIN: authzid NUL authcid NUL password.
func (x *exchange) plain() (user, password string, ok bool) {
	b, ok := x.next("")
	if !ok {
		return "", "", false
	}
	part := strings.Split(string(b), "\x00")
	if len(part) != 3 {
		x.s.fail(replyLoginDecode)
		return "", "", false
	}
	if part[0] != "" && part[0] != part[1] {
		// To act for another is no right that anybody has here.
		x.s.wrongLogin("PLAIN", "the authorisation identity is another user", part[1])
		return "", "", false
	}
	return part[1], part[2], true
}

// verify asks whether the password is right and answers.
func (s *session) verify(ctx context.Context, mechanism, user, password string) {
	if user == "" || password == "" {
		s.wrongLogin(mechanism, "empty user or password", user)
		return
	}
	ok, err := s.set.Accounts.Verify(ctx, s.s.Client.Addr(), user, password)
	switch {
	case err != nil:
		s.srv.log.ClientWarn(&s.s, "SASL "+mechanism+" login put off", slog.String("sasl_username", user), slog.String("error", err.Error()))
		s.failedLogin(replyLoginLater)
	case !ok:
		s.wrongLogin(mechanism, "wrong user or password", user)
	default:
		s.login.done = true
		s.s.Login, s.s.LoginMethod = s.canonical(user), mechanism
		s.loggedIn()
		s.s.Proto = s.protocol(true)
		s.out.reply(replyLoggedIn)
	}
}

// canonical is the one spelling of a user's name: what is counted or allowed
// for "ana" must not be missed for "ANA" (attacks S-109).
func (s *session) canonical(user string) string {
	if a, ok := s.set.Accounts.(interface{ Canonical(user string) string }); ok {
		return a.Canonical(user)
	}
	return user
}

// wrongLogin answers a failure. The line is Postfix's: fail2ban reads it.
func (s *session) wrongLogin(mechanism, why, user string) {
	s.srv.log.ClientWarn(&s.s, "SASL "+mechanism+" authentication failed: "+why, slog.String("sasl_username", user))
	if s.over(ActAuthFailure) {
		s.out.reply(replyLoginLimit)
		s.close()
		return
	}
	s.failedLogin(replyWrongLogin)
}

// failedLogin counts a try that let nobody in; the last one ends the session.
func (s *session) failedLogin(r mail.Reply) {
	if s.login.failures++; s.login.failures >= maxAuthFailures {
		s.out.reply(replyLoginLimit)
		if !r.Temporary() { // fail2ban reads it; a put-off may be our own fault
			s.srv.log.TooManyErrors(&s.s, "AUTH")
		}
		s.close()
		return
	}
	if r.Temporary() {
		s.out.reply(r) // no error of the client's
		return
	}
	s.fail(r)
}
