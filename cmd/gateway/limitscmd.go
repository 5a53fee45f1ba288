package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"garita/admin"
	"garita/filters/all"
	"garita/users"
)

type limitsCommands struct {
	List    limitsListCommand    `cmd:"" help:"Show how much of their limits users have used."`
	Reset   limitsResetCommand   `cmd:"" help:"Begin a user's counters anew."`
	Suggest limitsSuggestCommand `cmd:"" help:"Show what users really send in an hour (99th percentile)."`
}

type limitsListCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	User   string `arg:"" optional:"" help:"Of this user alone."`
}

type limitsResetCommand struct {
	userOne
	Force bool `help:"The name is right, though it looks like a mistake."`
}

type limitsSuggestCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json,toml" default:"table" help:"table, json, or toml: [check.limits] to paste."`
	Limit  int    `default:"50" help:"Show at most so many users."`
}

// userLimitCommand is garita user limit.
type userLimitCommand struct {
	userOne
	MessagesPerHour   int64    `help:"Messages in an hour."`
	MessagesPerDay    int64    `help:"Messages in a day."`
	RecipientsPerHour int64    `help:"Recipients in an hour."`
	RecipientsPerDay  int64    `help:"Recipients in a day."`
	Set               []string `name:"set" sep:"none" help:"A limit as the configuration writes it: \"100 new-recipients / 24h\"."`
	For               string   `help:"How long: 12h, 7d. Without it until it is taken away."`
	Remove            bool     `help:"Take his own limits away."`
	Force             bool     `help:"The name is right, though it looks like a mistake."`
}

type limitsList struct {
	Mode  string         `json:"mode"`
	Users []all.Standing `json:"users"`
	More  int            `json:"more,omitempty"`
}

// limitVerbs are the verbs of the running gateway.
func (d *daemon) limitVerbs() map[string]admin.Verb {
	verb := func(act bool, do func(context.Context, *parts, *all.Limits, userRequest) (any, error)) admin.Verb {
		return admin.Verb{Act: act, Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q userRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of limits"}
			}
			g := d.now.Load()
			if g == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			if q.User != "" {
				var err error
				if q.User, err = d.parts.canonical(q.User); err != nil {
					return nil, err
				}
			}
			v, err := do(ctx, d.parts, g.helpers.Limits(), q)
			return v, userError(err)
		}}
	}
	return map[string]admin.Verb{
		"limits list":    verb(false, listLimits),
		"limits reset":   verb(true, resetLimits),
		"limits suggest": verb(false, suggestLimits),
		"user limit":     verb(true, limitUser),
		"top":            verb(false, topOf),
	}
}

func listLimits(ctx context.Context, _ *parts, l *all.Limits, q userRequest) (any, error) {
	names := []string{q.User}
	if q.User == "" {
		names = l.Active()
	}
	n := min(len(names), userPage)
	out := limitsList{Mode: l.Mode(), Users: []all.Standing{}, More: len(names) - n}
	for _, u := range names[:n] {
		s, err := l.Standing(ctx, u)
		if err != nil {
			return nil, err
		}
		out.Users = append(out.Users, s...)
	}
	return out, nil
}

// resetLimits gives the user counters with another name; those of before end by
// themselves.
func resetLimits(ctx context.Context, p *parts, _ *all.Limits, q userRequest) (any, error) {
	if err := p.meant(q); err != nil {
		return nil, err
	}
	o, have := p.users.registry.Override(q.User)
	if !have {
		o = users.Override{User: q.User}
	}
	o.By = q.By
	o.Epoch = max(o.Epoch+1, int(time.Now().Unix())) // never one that was used before
	_, err := p.users.registry.Limit(ctx, o)
	return userDone{User: q.User}, err
}

func limitUser(ctx context.Context, p *parts, _ *all.Limits, q userRequest) (any, error) {
	until, err := spanOf(q.For)
	if err != nil {
		return nil, err
	}
	if len(q.Limits) > 0 {
		if err := p.meant(q); err != nil {
			return nil, err
		}
	}
	o, _ := p.users.registry.Override(q.User)
	o = users.Override{User: q.User, By: q.By, Until: until, Epoch: o.Epoch}
	for _, s := range q.Limits {
		one, err := all.ParseLimit(s)
		if err != nil {
			return nil, &admin.Error{Code: admin.CodeUsage, Text: fmt.Sprintf("%.80q %v", s, err)}
		}
		o.Limits = append(o.Limits, one)
	}
	if len(o.Limits) == 0 {
		o.Until = time.Time{}
	}
	return p.users.registry.Limit(ctx, o)
}

// Run lists.
func (c *limitsListCommand) Run(t *terminal) error {
	var v limitsList
	if err := callWith(&c.socketFlag, "limits list", userRequest{User: c.User}, &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(v)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tUSED\tLIMIT")
	for _, u := range v.Users {
		for _, l := range u.Limits {
			name := oneLine(u.User)
			if u.Claimed {
				name += " (sender)"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", name, l.Used, oneLine(l.Limit))
		}
		if len(u.Limits) == 0 {
			fmt.Fprintf(w, "%s\t-\tnone\n", oneLine(u.User))
		}
	}
	w.Flush()
	if len(v.Users) == 0 {
		b.Reset()
		b.WriteString("no user has sent anything since the start; name one\n")
	}
	if v.More > 0 {
		fmt.Fprintf(&b, "and %d users more: name one\n", v.More)
	}
	if slices.ContainsFunc(v.Users, func(s all.Standing) bool { return s.Claimed }) {
		b.WriteString("(sender): known by the envelope sender alone; garita user coverage says more\n")
	}
	if v.Mode != "enforce" {
		fmt.Fprintf(&b, "mode %s: nobody is held\n", oneLine(v.Mode))
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// Run resets.
func (c *limitsResetCommand) Run(t *terminal) error {
	var d userDone
	if err := callWith(&c.socketFlag, "limits reset", userRequest{User: c.User, By: caller(), Force: c.Force}, &d); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(d)
	}
	_, err := fmt.Fprintf(t.out, "the counters of %s begin anew\n", oneLine(d.User))
	return err
}

// Run gives a user limits of his own.
func (c *userLimitCommand) Run(t *terminal) error {
	q := userRequest{User: c.User, By: caller(), Limits: c.Set, Force: c.Force}
	for _, one := range []struct {
		n    int64
		text string
	}{{c.MessagesPerHour, "messages / 1h"}, {c.MessagesPerDay, "messages / 24h"}, {c.RecipientsPerHour, "recipients / 1h"}, {c.RecipientsPerDay, "recipients / 24h"}} {
		if one.n != 0 {
			q.Limits = append(q.Limits, fmt.Sprintf("%d %s", one.n, one.text))
		}
	}
	switch {
	case c.Remove && (len(q.Limits) > 0 || c.For != ""):
		return fail(exitUsage, "--remove goes alone")
	case !c.Remove && len(q.Limits) == 0:
		return fail(exitUsage, "say which limit: --messages-per-hour 200, or --set \"100 new-recipients / 24h\"")
	}
	if c.For != "" {
		d, err := all.ParseSpan(c.For)
		if err != nil || d <= 0 {
			return fail(exitUsage, "--for: %s", badSpan(c.For))
		}
		q.For = d.Seconds()
	}
	var o users.Override
	if err := callWith(&c.socketFlag, "user limit", q, &o); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(o)
	}
	text := fmt.Sprintf("%s has the general limits\n", oneLine(o.User))
	if len(o.Limits) > 0 {
		until := "they are taken away"
		if !o.Until.IsZero() {
			until = untilText(o.Until)
		}
		text = fmt.Sprintf("%s has limits of his own until %s: %s\n", oneLine(o.User), until, oneLine(strings.Join(o.Limits, ", ")))
	}
	// Those of his own stand beside the general ones: 800 an hour are of no use
	// to who keeps 300 a day.
	var v limitsList
	if callWith(&c.socketFlag, "limits list", userRequest{User: c.User}, &v) == nil && len(v.Users) > 0 && len(v.Users[0].Limits) > 0 {
		var all []string
		for _, l := range v.Users[0].Limits {
			all = append(all, oneLine(l.Limit))
		}
		text += "in effect: " + strings.Join(all, ", ") + "\n"
	}
	_, err := io.WriteString(t.out, text)
	return err
}
