package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxAnswer bounds one line that a person types.
const maxAnswer = 4096

// ask asks at most six questions; an empty line takes what stands in brackets.
func (c *initCommand) ask(t *terminal) error {
	if c.Hostname == "" {
		c.Hostname = ownName()
	}
	if c.Dir == "" {
		return fail(exitUsage, "--dir is missing: the folder for config.toml and everything the gateway keeps")
	}
	q := &questions{in: bufio.NewReaderSize(t.in, maxAnswer), out: t.err}
	q.text("Full name of this gateway", &c.Hostname)
	q.list("Domains that mail comes in for (comma between them)", &c.Domain)
	q.text("The mail server behind the gateway (HOST:PORT)", &c.NextHop)
	q.list("Networks whose servers send mail out through here (CIDR, comma between them; none = no outbound mail)", &c.Trust)
	if len(c.Trust) > 0 {
		if c.Outbound == "" {
			c.Outbound = "0.0.0.0:26"
		}
		// Nothing is proposed: the mail server itself, which is at hand, would
		// get its own mail back for ever.
		q.need("A server that delivers outbound mail to the Internet, not the one above (HOST:PORT)", &c.SmartHost)
	}
	q.text("Begin with observe (checks only say what they would do) or enforce", &c.Mode)
	return q.err
}

// questions asks one thing after the other and stops at the first fault.
type questions struct {
	in  *bufio.Reader
	out io.Writer
	err error
}

func (q *questions) text(what string, answer *string) {
	if q.err != nil {
		return
	}
	fmt.Fprintf(q.out, "%s [%s]: ", what, printable(*answer))
	line, err := q.in.ReadSlice('\n')
	if err != nil {
		q.err = fail(exitFailed, "the answers ended; nothing was written")
		return
	}
	if s := strings.TrimSpace(string(line)); s != "" {
		*answer = s
	}
}

// need asks until there is an answer.
func (q *questions) need(what string, answer *string) {
	for q.text(what, answer); q.err == nil && *answer == ""; {
		q.text(what, answer)
	}
}

func (q *questions) list(what string, answer *[]string) {
	s := strings.Join(*answer, ",")
	q.text(what, &s)
	*answer = nil
	if s == "none" {
		return
	}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*answer = append(*answer, part)
		}
	}
}
