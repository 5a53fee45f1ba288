package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"garita/admin"
	"garita/alert"
	"garita/filters/all"
)

// This file joins the detector of hijacked accounts to alerts and commands.

// mostTrust bounds a person's word: an account that is trusted for months is
// not watched.
const mostTrust = 31 * 24 * time.Hour

// userTrustCommand is garita user trust.
type userTrustCommand struct {
	userOne
	For   string `default:"8h" help:"How long: 8h, 2d; at most 31d. 0s ends an open case and that is all."`
	Force bool   `help:"The name is right, though it looks like a mistake."`
}

// trusted is the answer to it.
type trusted struct {
	User  string          `json:"user"`
	Trust all.HijackTrust `json:"trust"`
}

// alertHijack tells people of a case: text has a line in each language.
func (p *parts) alertHijack(kind, user, text string) {
	en, es, _ := strings.Cut(text, "\n")
	p.log.Warn(all.HijackName, "a user does not send like himself", slog.String("what", kind), slog.String("user", user), slog.String("detail", en))
	p.alerts.manager.Raise(alert.Alert{Key: "hijack/" + user, Kind: alert.Hijack, Severity: alert.Critical, Event: true,
		Subject: alert.Text{EN: user + " does not send like himself: the account may be hijacked", ES: user + " no envía como siempre: la cuenta puede estar secuestrada"},
		Text: alert.Text{EN: en + ". If it was himself: garita user trust " + shellWord(user) + ". Else docs/incident.md.",
			ES: es + ". Si fue él mismo: garita user trust " + shellWord(user) + ". Si no, docs/incident.es.md."},
		Command: []string{"garita", "user", "show", user}})
}

// showHabits is showUser, with what the detector knows.
func (d *daemon) showHabits(ctx context.Context, p *parts, q userRequest) (any, error) {
	v, err := showUser(ctx, p, q)
	out, ok := v.(userState)
	if err != nil || !ok {
		return v, err
	}
	// A store that fails has an alert of its own, and the rest is worth showing.
	out.Limits, _ = d.now.Load().helpers.Limits().Standing(ctx, q.User)
	s, err := d.now.Load().helpers.Hijack().Standing(ctx, q.User)
	if err != nil {
		p.log.Warn(all.HijackName, "the past of a user could not be read", slog.String("error", err.Error()))
		return out, nil // the rest is worth showing
	}
	if s.Days > 0 || s.Case != nil || s.Trust != nil {
		out.Habits = &s
	}
	return out, nil
}

// resumeUser resumes, and begins the detector's counting anew: who has looked
// at a user is not to meet the same suspicion at his next message.
func (d *daemon) resumeUser(ctx context.Context, p *parts, q userRequest) (any, error) {
	if _, err := d.now.Load().helpers.Hijack().Vouch(ctx, q.User, q.By, 0); err != nil {
		p.log.Warn(all.HijackName, "the case of a user could not be closed", slog.String("error", err.Error()))
	}
	return resumeUser(ctx, p, q)
}

// trustUser takes a person's word.
func (d *daemon) trustUser(ctx context.Context, p *parts, q userRequest) (any, error) {
	span := time.Duration(q.For * float64(time.Second))
	if q.User == "" || !(q.For >= 0 && q.For <= mostTrust.Seconds()) {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: "a user and a span from 0s to 31d"}
	}
	if err := p.meant(q); err != nil {
		return nil, err
	}
	t, err := d.now.Load().helpers.Hijack().Vouch(ctx, q.User, q.By, span)
	if err != nil {
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: err.Error()}
	}
	p.alerts.manager.Resolve("hijack/" + q.User)
	p.log.Info(all.HijackName, "a user is trusted", slog.String("user", q.User), slog.String("by", q.By), slog.Duration("for", span))
	return trusted{q.User, t}, nil
}

// Run takes it.
func (c *userTrustCommand) Run(t *terminal) error {
	span, err := all.ParseSpan(c.For)
	if err != nil || span < 0 || span > mostTrust {
		return fail(exitUsage, "%.40q is no span from 0s to 31d: write 8h or 2d", c.For)
	}
	var v trusted
	if err := callWith(&c.socketFlag, "user trust", userRequest{User: c.User, By: caller(), For: span.Seconds(), Force: c.Force}, &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(v)
	}
	text := fmt.Sprintf("%s is watched as before, and what he sent so far does not count\n", oneLine(v.User))
	if span > 0 {
		text = fmt.Sprintf("%s is trusted until %s: nothing of his is suspicious, and all of it is learned\n", oneLine(v.User), untilText(v.Trust.Until))
	}
	_, err = fmt.Fprintf(t.out, "%swhat was held waits for you:  garita hold list --reason hijack --user %s\n", text, shellWord(oneLine(v.User)))
	return err
}

// writeHabits shows what the detector knows of a user.
func writeHabits(b *strings.Builder, s *all.HijackState) {
	if s == nil {
		return
	}
	if c := s.Case; c != nil {
		fmt.Fprintf(b, "does not send like himself since %s, score %.1f: %s\n", c.Since.Local().Format(time.DateTime), c.Score, oneLine(all.HijackText(c)))
	}
	if s.Trust != nil {
		fmt.Fprintf(b, "trusted by %s until %s\n", oneLine(s.Trust.By), untilText(s.Trust.Until))
	}
	fmt.Fprintf(b, "known for %d days on which he sent: at most %d messages in a day, %d in an hour; at most %d new recipients in a day, %d in an hour; knows %d people\n",
		s.Days, s.BusiestDay, s.Busiest, s.NewDay, s.NewHour, s.Known)
}
