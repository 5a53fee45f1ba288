package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxAnswer bounds one line that a person types.
const maxAnswer = 4096

// ask asks at most six questions; an empty line takes what stands in brackets,
// and a question whose answer cannot be is asked again.
func (c *initCommand) ask(t *terminal) error {
	if c.Hostname == "" {
		c.Hostname = ownName()
	}
	q := &questions{in: bufio.NewReaderSize(t.in, maxAnswer), out: t.err}
	q.text("Full name of this gateway", &c.Hostname, func(s string) error { return checkHostname(strings.TrimSuffix(s, ".")) })
	q.list("Domains that mail comes in for (comma between them)", &c.Domain, func(list []string) error {
		_, err := domainList(list)
		return err
	})
	server := func(s string) error {
		_, err := serverAddress(s)
		return err
	}
	q.text("The mail server behind the gateway (HOST:PORT)", &c.NextHop, server)
	q.list("Networks whose servers send mail out through here (CIDR, comma between them; none = no outbound mail)", &c.Trust, func(list []string) error {
		if len(list) == 0 {
			return nil
		}
		_, err := trustList(list)
		return err
	})
	if len(c.Trust) > 0 {
		if c.Outbound == "" {
			c.Outbound = "0.0.0.0:26"
		}
		// Nothing is proposed: the mail server itself, which is at hand, would
		// get its own mail back for ever.
		q.text("A server that delivers to the Internet: your provider's, not the one above (HOST:PORT)", &c.SmartHost, server)
	}
	q.text("Begin with observe (checks only say what they would do) or enforce", &c.Mode, checkMode)
	return q.err
}

// questions asks one thing after the other and stops at the first fault.
type questions struct {
	in  *bufio.Reader
	out io.Writer
	err error
}

// text asks until valid is content.
func (q *questions) text(what string, answer *string, valid func(string) error) {
	given := *answer
	for q.err == nil {
		*answer = given
		fmt.Fprintf(q.out, "%s [%s]: ", what, printable(given))
		line, err := q.in.ReadSlice('\n')
		if err != nil {
			q.err = fail(exitFailed, "the answers ended; nothing was written")
			return
		}
		if s := strings.TrimSpace(string(line)); s != "" {
			*answer = s
		}
		wrong := valid(*answer)
		if wrong == nil {
			return
		}
		fmt.Fprintf(q.out, "  the answer %s\n", printable(wrong.Error()))
	}
}

func (q *questions) list(what string, answer *[]string, valid func([]string) error) {
	s := strings.Join(*answer, ",")
	q.text(what, &s, func(s string) error { return valid(commas(s)) })
	*answer = commas(s)
}

// commas takes a list with commas apart; "none" is the empty one.
func commas(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" && s != "none" {
			out = append(out, part)
		}
	}
	return out
}
