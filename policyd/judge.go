package policyd

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"garita/mail"
)

const (
	dunno = "DUNNO"
	// finishTime is for telling the checks how a message ended.
	finishTime = 10 * time.Second
)

// judge gives the action for a request.
func (c *conn) judge(ctx context.Context, r *Request) string {
	state := r.State
	if state == "" && r.Recipient != "" {
		state = stateRcpt // Exim, and what was written for postgrey alone
	}
	switch state {
	case stateConnect, stateEHLO, stateHELO, stateMail, stateRcpt, stateData, stateEnd:
	default: // VRFY, ETRN, and what may come
		return dunno
	}
	if state == stateRcpt && (!r.hasSender || r.Recipient == "" || r.ClientAddress == "") {
		return dunno
	}
	set := c.s.set.Load()
	now := c.s.now()
	i := c.s.seen.get(r.Instance, now)
	if last := c.last; last != i {
		// One smtpd process has one client at a time: what was asked about
		// before has come to its end.
		c.last = i
		if last != nil {
			c.s.seen.end(last)
		}
	}
	action := c.s.about(ctx, set, i, c, state, r, now)
	if r.Instance == "" {
		c.last = nil
		c.s.seen.end(i)
	}
	return action
}

// about asks about one message, one question at a time.
func (s *Server) about(ctx context.Context, set *settings, i *instance, c *conn, state string, r *Request, now time.Time) string {
	i.mu.Lock()
	defer i.mu.Unlock() // whatever the engine does
	if i.tx == nil || i.ended {
		i.begin(set.policy, r, c, now)
	}
	i.update(r)
	d, again := i.ask(ctx, state, r)
	return s.action(set, i, state, d, again)
}

// action puts a decision into Postfix's words (access(5)).
func (s *Server) action(set *settings, i *instance, state string, d mail.Decision, again bool) string {
	switch d.Verdict {
	case mail.Defer:
		s.deferred.Add(1)
		if !again {
			s.tell(i, state, d.Reply)
		}
		if d.Close {
			return closing("421", d.Reply)
		}
		if set.DeferIfPermit {
			return "DEFER_IF_PERMIT " + words(d.Reply)
		}
		return strconv.Itoa(d.Reply.Code) + " " + words(d.Reply)
	case mail.Reject:
		s.refused.Add(1)
		if !again {
			s.tell(i, state, d.Reply)
		}
		if d.Close {
			return closing("521", d.Reply)
		}
		return strconv.Itoa(d.Reply.Code) + " " + words(d.Reply)
	case mail.Discard:
		return "DISCARD by policy"
	}
	if state == stateRcpt || state == stateData {
		if field := i.field(); field != "" {
			return "PREPEND " + field
		}
	}
	return dunno
}

// closing is a reply after which Postfix closes the connection of its client.
func closing(code string, r mail.Reply) string { return code + " " + words(r) }

// words are the enhanced code and the text, in one line of printable signs.
func words(r mail.Reply) string {
	text := r.Text
	if r.Enhanced != "" {
		text = r.Enhanced + " " + text
	}
	return oneLine(text)
}

func oneLine(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return ' '
				}
				return r
			}, s)
		}
	}
	return s
}

// tell logs a refusal in the words of the other doors.
func (s *Server) tell(i *instance, state string, reply mail.Reply) {
	if s.log != nil {
		s.log.Reject(i.tx.Session, i.tx, state, i.asked, reply)
	}
}

// field gives a header field that a check has asked for, one for each answer:
// PREPEND takes no more.
func (i *instance) field() string {
	for i.edits < len(i.tx.Edits) {
		e := &i.tx.Edits[i.edits]
		i.edits++
		if e.At != 0 || e.Delete != 0 {
			continue
		}
		f := bytes.ReplaceAll(bytes.TrimRight(e.Insert, "\r\n"), []byte("\r\n"), nil) // unfolded
		if bytes.IndexByte(f, ':') > 0 {
			return oneLine(string(f))
		}
	}
	return ""
}
