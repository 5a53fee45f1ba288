package main

import (
	"fmt"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"garita/alert"
)

type alertCommands struct {
	List    alertListCommand    `cmd:"" help:"Show what is wrong now."`
	Ack     alertAckCommand     `cmd:"" help:"Say that an alert was seen: no reminders until it becomes worse."`
	Silence alertSilenceCommand `cmd:"" help:"Keep an alert quiet for a while."`
	Test    alertTestCommand    `cmd:"" help:"Send a test by every channel, or by one."`
}

type alertListCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	All    bool   `help:"Also what was resolved lately."`
}

type alertAckCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Key    string `arg:"" help:"The key, as garita alert list shows it."`
}

type alertSilenceCommand struct {
	socketFlag
	Output string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Key    string        `arg:"" help:"The key; one that ends in * stands for all that begin so."`
	For    time.Duration `default:"4h" help:"How long (${default}); 0s: end the silence."`
}

type alertTestCommand struct {
	socketFlag
	Output  string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Channel string `help:"One channel, as mail.ops, instead of all."`
}

// me is who runs the command, for the list; who he really is the socket knows,
// and the log has it.
func me() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (c *alertListCommand) Run(t *terminal) error {
	all := alertList{Alerts: []alert.Entry{}}
	for more := true; more; {
		var page alertList
		if err := callWith(&c.socketFlag, "alert list", alertRequest{All: c.All, After: len(all.Alerts)}, &page); err != nil {
			return err
		}
		if len(all.Alerts) == 0 {
			all.Silences = page.Silences
		}
		all.Enabled, all.Alerts = page.Enabled, append(all.Alerts, page.Alerts...)
		more = page.More && len(page.Alerts) > 0
	}
	if c.Output == "json" {
		return t.json(all)
	}
	var b strings.Builder
	if len(all.Alerts) == 0 {
		b.WriteString("nothing is wrong\n")
	} else {
		w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tSEVERITY\tSINCE\tTIMES\tSTATE\tWHAT")
		for i := range all.Alerts {
			e := &all.Alerts[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", oneLine(e.Key), e.Severity, e.Raised.Local().Format(time.DateTime), e.Count, alertState(e), oneLine(e.Subject.EN))
		}
		w.Flush()
	}
	for _, s := range all.Silences {
		fmt.Fprintf(&b, "silent until %s: %s\n", s.Until.Local().Format(time.DateTime), oneLine(s.Key))
	}
	if !all.Enabled {
		b.WriteString("alert.enabled is false: nothing is watched\n")
	}
	_, err := fmt.Fprint(t.out, b.String())
	return err
}

func alertState(e *alert.Entry) string {
	switch {
	case !e.Resolved.IsZero():
		return "resolved"
	case !e.Acked.IsZero():
		return "seen"
	case e.Silenced.After(time.Now()):
		return "silenced"
	}
	return "open"
}

func (c *alertAckCommand) Run(t *terminal) error {
	var e alert.Entry
	if err := callWith(&c.socketFlag, "alert ack", alertRequest{Key: c.Key, By: me()}, &e); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(e)
	}
	_, err := fmt.Fprintf(t.out, "%s: seen; no reminders until it becomes worse\n", oneLine(e.Key))
	return err
}

func (c *alertSilenceCommand) Run(t *terminal) error {
	var s alertSilence
	if err := callWith(&c.socketFlag, "alert silence", alertRequest{Key: c.Key, For: c.For.Seconds()}, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(s)
	}
	text := "is not silenced any more"
	if !s.Until.IsZero() {
		text = "is silent until " + s.Until.Local().Format(time.DateTime)
	}
	_, err := fmt.Fprintf(t.out, "%s %s\n", oneLine(s.Key), text)
	return err
}

func (c *alertTestCommand) Run(t *terminal) error {
	var list []alert.Tested
	if err := callWith(&c.socketFlag, "alert test", alertRequest{Channel: c.Channel, By: me()}, &list); err != nil {
		return err
	}
	bad := 0
	var b strings.Builder
	for _, one := range list {
		if one.Error == "" {
			fmt.Fprintf(&b, "%s: sent\n", oneLine(one.Channel))
			continue
		}
		bad++
		fmt.Fprintf(&b, "%s: failed: %s\n", oneLine(one.Channel), oneLine(one.Error))
	}
	if len(list) == 0 {
		b.WriteString("no channel is configured in [alert]; the mail log has the test\n")
	}
	if c.Output == "json" {
		if err := t.json(list); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(t.out, b.String()); err != nil {
		return err
	}
	if bad > 0 {
		return fail(exitFailed, "%d of %s failed", bad, count(len(list), "channel"))
	}
	return nil
}
