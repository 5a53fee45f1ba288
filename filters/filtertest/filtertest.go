// Package filtertest runs the tests of a check that are written as text: the
// facts of a session, what the check must find, and if it likes a message.
//
//	== a title
//	config clients 192.0.2.0/24 reject Not from here
//	client 192.0.2.1
//	host mail.example          (its confirmed name; unconfirmed: host ?mail.example)
//	login ana@our.example
//	role outbound
//	dns mail.example A 192.0.2.1       (as resolver.Mock.Add reads it)
//	helo mail.example
//	from <a@sender.example>
//	rcpt <b@our.example>
//	trusted yes
//	direction in
//	expect access.client reject
//	answer 554 5.7.1 Not from here
//
//	Subject: a message, if the check looks at one
//
// Every finding must be expected and every expectation be found, so a case
// without "expect" says that there is none. "answer" is the reply to the last
// RCPT; without it there must be none. "config" lines belong to the test of
// the check. Lines that begin with "#" are comments.
package filtertest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"garita/filters"
	"garita/mail"
	"garita/message"
	"garita/resolver"
)

// Case is one test.
type Case struct {
	Title   string
	Config  []string // without the word "config"
	Session mail.Session
	From    mail.Path
	Rcpts   []mail.Recipient
	Dir     mail.Direction
	Message []byte // nil for none
	Expect  []string
	Answer  string
	DNS     *resolver.Mock // nil: there is none
}

// Run runs all cases of the files against the check that build makes of a
// case's config lines.
func Run(t *testing.T, glob string, build func(t *testing.T, config []string) filters.Check) {
	t.Helper()
	RunDNS(t, glob, func(t *testing.T, config []string, _ resolver.Resolver) filters.Check { return build(t, config) })
}

// RunDNS is Run for checks that ask the DNS: r is what the "dns" lines of the
// case say, nil where it has none.
func RunDNS(t *testing.T, glob string, build func(t *testing.T, config []string, r resolver.Resolver) filters.Check) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files like %s: %v", glob, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := Parse(string(text))
		if err != nil || len(cases) == 0 {
			t.Fatalf("%s: %d cases, %v", name, len(cases), err)
		}
		for _, c := range cases {
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txt")+"/"+c.Title, func(t *testing.T) {
				var r resolver.Resolver
				if c.DNS != nil {
					r = c.DNS
				}
				found, answer := c.play(t, build(t, c.Config, r))
				slices.Sort(found)
				slices.Sort(c.Expect)
				if !slices.Equal(found, c.Expect) {
					t.Errorf("found %q, want %q", found, c.Expect)
				}
				if answer != c.Answer {
					t.Errorf("answer %q, want %q", answer, c.Answer)
				}
			})
		}
	}
}

// Parse reads the cases of a file.
func Parse(text string) ([]Case, error) {
	var cases []Case
	body := false
	for n, line := range strings.Split(text, "\n") {
		if title, ok := strings.CutPrefix(line, "== "); ok {
			cases = append(cases, Case{Title: title, Dir: mail.In})
			body = false
			continue
		}
		if len(cases) == 0 {
			if line != "" && line[0] != '#' {
				return nil, fmt.Errorf("line %d: no case has begun", n+1)
			}
			continue
		}
		c := &cases[len(cases)-1]
		switch {
		case body:
			c.Message = append(append(c.Message, line...), "\r\n"...)
		case line == "":
			body = true
		case line[0] == '#':
		default:
			if err := c.fact(line); err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
		}
	}
	for i := range cases {
		if strings.TrimSpace(string(cases[i].Message)) == "" {
			cases[i].Message = nil // the empty line between two cases
		}
	}
	return cases, nil
}

func (c *Case) fact(line string) error {
	key, value, _ := strings.Cut(line, " ")
	switch key {
	case "config":
		c.Config = append(c.Config, value)
	case "client":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return err
		}
		c.Session.Client = netip.AddrPortFrom(a, 40000)
		c.Session.Peer = c.Session.Client
	case "host":
		name, claimed := strings.CutPrefix(value, "?")
		c.Session.Host = mail.HostName{Name: name, Confirmed: !claimed}
	case "login":
		c.Session.Login = value
	case "role":
		for _, r := range []mail.Role{mail.Inbound, mail.Outbound, mail.ContentFilter} {
			if r.String() == value {
				c.Session.Role = r
				return nil
			}
		}
		return fmt.Errorf("unknown role %q", value)
	case "dns":
		if c.DNS == nil {
			c.DNS = &resolver.Mock{}
		}
		return c.DNS.Add(value)
	case "helo":
		c.Session.Helo = value
	case "from":
		p, _, err := mail.ParseReverse(value, true)
		c.From = p
		return err
	case "rcpt":
		p, _, err := mail.ParseForward(value, true)
		c.Rcpts = append(c.Rcpts, mail.Recipient{Path: p})
		return err
	case "trusted":
		c.Session.Trusted = value == "yes"
	case "direction":
		if value == "out" {
			c.Dir = mail.Out
		}
	case "expect":
		c.Expect = append(c.Expect, value)
	case "answer":
		c.Answer = value
	default:
		return fmt.Errorf("unknown fact %q", key)
	}
	return nil
}

// play walks the stages as the wire does.
func (c *Case) play(t *testing.T, check filters.Check) (found []string, answer string) {
	t.Helper()
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	s := c.Session
	s.ID = "TEST"
	note := func(fs []mail.Finding) {
		for _, f := range fs {
			found = append(found, f.Symbol+" "+f.Verdict.String())
		}
	}
	note(e.Connect(ctx, &s).Because)
	note(e.Helo(ctx, &s).Because)
	tx := &mail.Transaction{Session: &s, ID: "TEST", Direction: c.Dir}
	if s.Login != "" { // as the wire does
		tx.Identity = mail.Identity{User: s.Login, Source: "auth"}
	}
	tx.ReversePath = c.From
	note(e.Mail(ctx, tx).Because)
	for _, r := range c.Rcpts {
		d := e.Rcpt(ctx, tx, r)
		for _, f := range d.Because {
			if f.Stage == mail.StageRcpt {
				note([]mail.Finding{f})
			}
		}
		answer = ""
		if d.Verdict == mail.Continue {
			tx.ForwardPaths = append(tx.ForwardPaths, r)
		} else {
			answer = d.Reply.String()
		}
	}
	if c.Message != nil {
		m, err := message.Spool(ctx, strings.NewReader(string(c.Message)), message.Limits{Max: 1 << 20, Memory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		tx.Message = m
		note(slices.DeleteFunc(e.Message(ctx, tx).Because, func(f mail.Finding) bool { return f.Stage < mail.StageData }))
	}
	e.Finish(ctx, tx, mail.Outcome{})
	e.Closed(&s)
	return found, answer
}
