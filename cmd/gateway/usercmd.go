package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"garita/identity"
	"garita/smtpproxy"
	"garita/users"
)

type userCommands struct {
	List     userListCommand     `cmd:"" help:"Show who is suspended."`
	Show     userShowCommand     `cmd:"" help:"Show one user: suspension, limits of his own, open sessions."`
	Suspend  userSuspendCommand  `cmd:"" help:"Stop a user from sending, in open sessions too. He still receives."`
	Resume   userResumeCommand   `cmd:"" help:"Let a user send again."`
	Limit    userLimitCommand    `cmd:"" help:"Give a user limits of his own, for a while."`
	Sessions userSessionsCommand `cmd:"" help:"Show the open sessions of users who have logged in, here or at an MTA that asks us as a milter."`
	Trust    userTrustCommand    `cmd:"" help:"Say that a user is himself, whatever the detector of hijacked accounts thinks."`
	Kick     userKickCommand     `cmd:"" help:"End the open sessions of a user."`
	Coverage userCoverageCommand `cmd:"" help:"Show how the senders of outbound mail are known."`
}

// userOne is what commands about one user have in common.
type userOne struct {
	socketFlag
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
	User   string `arg:"" help:"The user: ana, or ana@example.org."`
}

type userListCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

type userShowCommand struct{ userOne }

type userSuspendCommand struct {
	userOne
	Reason string        `help:"Why, for the log and for the list."`
	For    time.Duration `help:"How long: 12h, 7d; without it until garita user resume."`
	Force  bool          `help:"The name is right, though it looks like a mistake."`
}

type userResumeCommand struct{ userOne }

type userSessionsCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	User   string `arg:"" optional:"" help:"Of this user alone."`
}

type userKickCommand struct{ userOne }

type userCoverageCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// Run lists.
func (c *userListCommand) Run(t *terminal) error {
	all := userList{Users: []users.Suspension{}}
	for more := true; more; {
		var page userList
		if err := callWith(&c.socketFlag, "user list", userRequest{After: len(all.Users)}, &page); err != nil {
			return err
		}
		all.Users = append(all.Users, page.Users...)
		more = page.More && len(page.Users) > 0
	}
	if c.Output == "json" {
		return t.json(all)
	}
	var b strings.Builder
	if len(all.Users) == 0 {
		b.WriteString("nobody is suspended\n")
	} else {
		w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', 0)
		fmt.Fprintln(w, "USER\tSINCE\tUNTIL\tBY\tREASON")
		for i := range all.Users {
			s := &all.Users[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", oneLine(s.User), s.Since.Local().Format(time.DateTime), untilText(s.Until), oneLine(s.By), oneLine(s.Reason))
		}
		w.Flush()
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// believed is said where many senders are known by their own word.
const believed = `sender: the envelope says so and nothing proves it; who writes another sender there is somebody else, or nobody.
Name your mail servers in identity.hosts, and let them say who has logged in: docs/limits.md, docs/limits.es.md
`

// unseen is said of a user whom nothing is known of.
const unseen = "nobody of this name has sent anything that the gateway knows of: is it right? garita top users --out --since 24h shows who sends\n"

func untilText(t time.Time) string {
	if t.IsZero() {
		return "resumed"
	}
	return t.Local().Format(time.DateTime)
}

// Run shows one.
func (c *userShowCommand) Run(t *terminal) error {
	var s userState
	if err := callWith(&c.socketFlag, "user show", userRequest{User: c.User}, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(s)
	}
	var b strings.Builder
	if u := s.Suspended; u != nil {
		fmt.Fprintf(&b, "%s is suspended since %s by %s, until %s: %s\n", oneLine(s.User), u.Since.Local().Format(time.DateTime), oneLine(u.By), untilText(u.Until), oneLine(u.Reason))
	} else {
		fmt.Fprintf(&b, "%s may send\n", oneLine(s.User))
	}
	if !s.Seen {
		b.WriteString(unseen)
	}
	if o := s.Override; o != nil {
		fmt.Fprintf(&b, "limits of his own, by %s, until %s: %s\n", oneLine(o.By), untilText(o.Until), oneLine(strings.Join(o.Limits, ", ")))
	}
	writeHabits(&b, s.Habits)
	for _, l := range s.Limits {
		used := make([]string, len(l.Limits))
		for i, one := range l.Limits {
			used[i] = fmt.Sprintf("%d of %s", one.Used, oneLine(one.Limit))
		}
		how := ""
		if l.Claimed {
			how = " (known by the sender alone)"
		}
		fmt.Fprintf(&b, "used%s: %s\n", how, strings.Join(used, ", "))
	}
	writeSessions(&b, s.Sessions)
	fmt.Fprintf(&b, "held: garita hold list --user %s\n", shellWord(oneLine(s.User)))
	_, err := io.WriteString(t.out, b.String())
	return err
}

func writeSessions(b *strings.Builder, list []smtpproxy.LoggedIn) {
	if len(list) == 0 {
		b.WriteString("no open session\n")
		return
	}
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tLOGIN\tMETHOD\tCLIENT\tLISTENER\tSINCE")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(s.ID), oneLine(s.Login), oneLine(s.Method), oneLine(s.Client), oneLine(s.Listener), s.Since.Local().Format(time.DateTime))
	}
	w.Flush()
}

// Run suspends.
func (c *userSuspendCommand) Run(t *terminal) error {
	if c.For < 0 {
		return fail(exitUsage, "--for is below 0")
	}
	var d userDone
	if err := callWith(&c.socketFlag, "user suspend", userRequest{User: c.User, Reason: c.Reason, By: caller(), For: c.For.Seconds(), Force: c.Force}, &d); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(d)
	}
	until := "somebody resumes him"
	if d.Suspension != nil && !d.Suspension.Until.IsZero() {
		until = untilText(d.Suspension.Until)
	}
	_, err := fmt.Fprintf(t.out, `%s is suspended until %s; %d open sessions end
on Zimbra, lock the account too:
  su - zimbra -c %s
what is held of his:  garita hold list --user %s
when it is over:      garita user resume %s
`, oneLine(d.User), until, d.Sessions, shellWord("zmprov ma "+shellWord(oneLine(d.User))+" zimbraAccountStatus locked"), shellWord(oneLine(d.User)), shellWord(oneLine(d.User)))
	if err == nil && !d.Seen {
		_, err = io.WriteString(t.out, unseen)
	}
	return err
}

// Run resumes.
func (c *userResumeCommand) Run(t *terminal) error {
	var d userDone
	if err := callWith(&c.socketFlag, "user resume", userRequest{User: c.User, By: caller()}, &d); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(d)
	}
	text := "%s was not suspended; garita user list shows who is\n"
	if d.Was {
		// Also what a limit held before: it may be what he was suspended for.
		text = "%s may send again; what was held before and meanwhile waits for you:\n  garita hold list --parked --user " + strings.ReplaceAll(shellWord(oneLine(d.User)), "%", "%%") + "\n"
	}
	_, err := fmt.Fprintf(t.out, text, oneLine(d.User))
	return err
}

// Run shows sessions.
func (c *userSessionsCommand) Run(t *terminal) error {
	var s userSessions
	if err := callWith(&c.socketFlag, "user sessions", userRequest{User: c.User}, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(s)
	}
	var b strings.Builder
	writeSessions(&b, s.Sessions)
	if s.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", s.More)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// Run ends sessions.
func (c *userKickCommand) Run(t *terminal) error {
	var d userDone
	if err := callWith(&c.socketFlag, "user kick", userRequest{User: c.User}, &d); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(d)
	}
	_, err := fmt.Fprintf(t.out, "%d sessions of %s end; he may log in again (garita user suspend stops him)\n", d.Sessions, oneLine(d.User))
	return err
}

// Run shows the shares.
func (c *userCoverageCommand) Run(t *terminal) error {
	var v userCoverage
	if err := callWith(&c.socketFlag, "user coverage", userRequest{}, &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(v)
	}
	var total, claimed int64
	for _, s := range v.Shares {
		total += s.Messages
		if s.Source == identity.SourceSender {
			claimed = s.Messages
		}
	}
	var b strings.Builder
	if total == 0 {
		b.WriteString("no outbound message since the start\n")
	} else {
		w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SOURCE\tMESSAGES\tSHARE")
		for _, s := range v.Shares {
			if s.Messages > 0 {
				fmt.Fprintf(w, "%s\t%d\t%.1f %%\n", oneLine(s.Source), s.Messages, 100*float64(s.Messages)/float64(total))
			}
		}
		w.Flush()
		if 10*claimed > total {
			b.WriteString(believed)
		}
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}
