package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"garita/admin"
	"garita/alert"
	"garita/filters/all"
	"garita/identity"
	"garita/smtpproxy"
	"garita/users"
)

// This file joins the registry of users to the wire and the admin socket.

// hooksAtOnce bounds the programs that run about users.
const hooksAtOnce = 4

// sending is who may send, and what the daemon does about it.
type sending struct {
	registry *users.Registry
	slots    chan struct{}
	wg       sync.WaitGroup
	end      context.CancelFunc
	ctx      context.Context
}

// openUsers opens the registry; the wire is there already.
func (p *parts) openUsers() error {
	p.users.ctx, p.users.end = context.WithCancel(context.Background())
	p.users.slots = make(chan struct{}, hooksAtOnce)
	r, err := users.New(users.Options{Store: p.store, OnChange: p.userChanged, Log: func(text string, err error) {
		p.log.Warn("users", text, slog.String("error", err.Error()))
	}})
	if err != nil {
		return err
	}
	p.users.registry = r
	return nil
}

// closeUsers ends the watch; programs that run get their timeout's rest, and
// are ended with ctx.
func (p *parts) closeUsers() {
	if p.users.registry == nil {
		return
	}
	p.users.registry.Close()
	p.users.end()
	p.users.wg.Wait()
}

// rules of names and the program, of the configuration in use.
type userRules struct {
	names   identity.Names
	hook    users.Hook
	domains []string // ours, as mail.DomainKey gives them
	limits  *all.Limits
}

// canonical is the user whom an operator means.
func (p *parts) canonical(user string) (string, error) {
	if r := p.userRules.Load(); r != nil {
		if name, ok := r.names.Canonical(user); ok {
			return name, nil
		}
	}
	return "", &admin.Error{Code: admin.CodeUsage, Text: fmt.Sprintf("%.80q is not the name of a user; write one user, as ana@example.org", user)}
}

// userChanged acts on a suspension and its end, decided here or elsewhere. It
// must not block: the registry is held.
func (p *parts) userChanged(c users.Change) {
	user, by := slog.String("user", c.User), slog.String("by", c.By)
	rules := p.userRules.Load()
	if rules == nil {
		return
	}
	if c.Suspended {
		n := p.kick(c.User)
		p.alertSuspension(c)
		p.log.Warn("users", "a user is suspended", user, by, slog.String("reason", c.Reason), slog.Int("sessions", n))
	} else {
		p.log.Info("users", "a user may send again", user, by)
		p.alerts.manager.Resolve("suspension/" + c.User)
	}
	if !c.Here || len(rules.hook.Command) == 0 {
		return
	}
	p.users.wg.Go(func() {
		select {
		case p.users.slots <- struct{}{}:
			defer func() { <-p.users.slots }()
		case <-p.users.ctx.Done():
			return
		}
		if err := rules.hook.Run(p.users.ctx, c); err != nil {
			p.log.Warn("users", "the command about a user failed; lock the account by hand", slog.String("user", c.User), slog.String("error", err.Error()))
		}
	})
}

// alertSuspension tells people of a suspension; the text is the same on every
// gateway, so that shared alerts are one.
func (p *parts) alertSuspension(c users.Change) {
	p.alerts.manager.Raise(alert.Alert{Key: "suspension/" + c.User, Kind: alert.Suspension, Severity: alert.Critical,
		Subject: alert.Text{EN: c.User + " is suspended and cannot send", ES: c.User + " está suspendido y no puede enviar"},
		Text: alert.Text{EN: "By " + c.By + ": " + c.Reason + ". See docs/incident.md.",
			ES: "Por " + c.By + ": " + c.Reason + ". Véase docs/incident.es.md."},
		Command: []string{"garita", "user", "show", c.User}})
}

// alertLimit tells people that a user is near a limit or over it; a suspension
// has an alert of its own.
func (p *parts) alertLimit(kind, subject, en, es string) {
	text := alert.Text{EN: en + ".", ES: es + "."}
	switch kind {
	case "warned", "over":
		if strings.Contains(subject, "@") { // a user, not a domain or an address
			who := shellWord(subject)
			text.EN += " If it is not his doing: garita user suspend " + who + ", docs/incident.md."
			text.ES += " Si no es cosa suya: garita user suspend " + who + ", docs/incident.es.md."
		}
	case "unknown":
	default:
		return
	}
	command := []string{"garita", "limits", "list", subject}
	if kind == "unknown" {
		command = []string{"garita", "user", "coverage"} // there is nobody to list
	}
	p.alerts.manager.Raise(alert.Alert{Key: "limit/" + kind + "/" + subject, Kind: alert.Limit, Severity: alert.Warning, Event: true,
		Subject: alert.Text{EN: en, ES: es}, Text: text, Command: command})
}

// kick ends the open sessions of a user.
func (p *parts) kick(user string) int {
	rules := p.userRules.Load()
	if rules == nil {
		return 0
	}
	is := func(login string) bool { return rules.names.Login(login) == user }
	return p.server.Kick(is) + p.milter.server.Kick(is)
}

// userRequest holds the arguments of all user verbs.
type userRequest struct {
	User   string   `json:"user,omitempty"`
	Reason string   `json:"reason,omitempty"`
	By     string   `json:"by,omitempty"`
	For    float64  `json:"for_seconds,omitempty"`
	Limits []string `json:"limits,omitempty"`
	After  int      `json:"after,omitempty"`
	What   string   `json:"what,omitempty"` // of top
	In     bool     `json:"in,omitempty"`
	Limit  int      `json:"limit,omitempty"`
	Force  bool     `json:"force,omitempty"` // the name is meant as it is
}

// userPage is how many users fit an answer of the socket with certainty.
const userPage = 200

type userList struct {
	Users []users.Suspension `json:"users"`
	More  bool               `json:"more,omitempty"`
}

// userState is all that is known of a user.
type userState struct {
	User      string               `json:"user"`
	Suspended *users.Suspension    `json:"suspended,omitempty"`
	Override  *users.Override      `json:"own_limits,omitempty"`
	Sessions  []smtpproxy.LoggedIn `json:"sessions"`
	Seen      bool                 `json:"seen"` // he has sent, or has a session, or something was set for him
	Limits    []all.Standing       `json:"limits,omitempty"`
	// Habits are what the detector of hijacked accounts knows.
	Habits *all.HijackState `json:"habits,omitempty"`
}

// userDone is the answer to a change.
type userDone struct {
	User       string            `json:"user"`
	Suspension *users.Suspension `json:"suspension,omitempty"`
	Sessions   int               `json:"sessions"` // that were ended
	Was        bool              `json:"was_suspended"`
	Seen       bool              `json:"seen"`
}

type userSessions struct {
	Sessions []smtpproxy.LoggedIn `json:"sessions"`
	More     int                  `json:"more,omitempty"`
}

type userCoverage struct {
	Shares []identity.Share `json:"shares"`
}

// userVerbs are the verbs of the running gateway.
func (d *daemon) userVerbs() map[string]admin.Verb {
	verb := func(act bool, do func(context.Context, *parts, userRequest) (any, error)) admin.Verb {
		return admin.Verb{Act: act, Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q userRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of a user"}
			}
			if d.now.Load() == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			if q.User != "" {
				var err error
				if q.User, err = d.parts.canonical(q.User); err != nil {
					return nil, err
				}
			}
			v, err := do(ctx, d.parts, q)
			return v, userError(err)
		}}
	}
	return map[string]admin.Verb{
		"user list":     verb(false, listUsers),
		"user show":     verb(false, d.showHabits),
		"user trust":    verb(true, d.trustUser),
		"user suspend":  verb(true, suspendUser),
		"user resume":   verb(true, d.resumeUser),
		"user sessions": verb(false, sessionsOfUser),
		"user kick":     verb(true, kickUser),
		"user coverage": verb(false, func(_ context.Context, p *parts, _ userRequest) (any, error) {
			return userCoverage{p.identities.Shares()}, nil
		}),
	}
}

func userError(err error) error {
	var e *admin.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, users.ErrNotDurable):
		return &admin.Error{Code: admin.CodeTemporary, Text: err.Error()}
	case errors.Is(err, users.ErrName):
		return &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
	}
	return &admin.Error{Code: admin.CodeFailed, Text: err.Error()}
}

func listUsers(_ context.Context, p *parts, q userRequest) (any, error) {
	all := p.users.registry.List()
	from := min(max(q.After, 0), len(all))
	to := min(from+userPage, len(all))
	return userList{Users: all[from:to], More: to < len(all)}, nil
}

func showUser(_ context.Context, p *parts, q userRequest) (any, error) {
	out := userState{User: q.User, Sessions: p.sessionsOf(q.User), Seen: p.seen(q.User)}
	if s, ok := p.users.registry.Suspended(q.User); ok {
		out.Suspended = &s
	}
	if o, ok := p.users.registry.Override(q.User); ok {
		out.Override = &o
	}
	out.Sessions = out.Sessions[:min(len(out.Sessions), userPage)]
	return out, nil
}

// spanOf reads the seconds of a request; 0 is no end.
func spanOf(seconds float64) (time.Time, error) {
	if !(seconds >= 0 && seconds <= 1e9) {
		return time.Time{}, &admin.Error{Code: admin.CodeUsage, Text: "the span is not one that can be meant"}
	}
	if seconds == 0 {
		return time.Time{}, nil
	}
	return time.Now().Add(time.Duration(seconds * float64(time.Second))).UTC().Truncate(time.Second), nil
}

func suspendUser(ctx context.Context, p *parts, q userRequest) (any, error) {
	until, err := spanOf(q.For)
	if err != nil {
		return nil, err
	}
	if err := p.meant(q); err != nil {
		return nil, err
	}
	if err := notRole(q); err != nil {
		return nil, err
	}
	seen := p.seen(q.User)
	open := len(p.sessionsOf(q.User))
	s, err := p.users.registry.Suspend(ctx, users.Suspension{User: q.User, Reason: q.Reason, By: q.By, Until: until})
	return userDone{User: q.User, Suspension: &s, Sessions: open, Seen: seen}, err
}

func resumeUser(ctx context.Context, p *parts, q userRequest) (any, error) {
	s, was, err := p.users.registry.Resume(ctx, q.User, q.By)
	return userDone{User: q.User, Suspension: &s, Was: was}, err
}

// sessionsOf are the sessions of a user, or of all with "": his own with us,
// and those with an MTA that asks us as a milter. Of those that ask the policy
// server nobody says when they end, so they are none.
func (p *parts) sessionsOf(user string) []smtpproxy.LoggedIn {
	all := p.server.LoggedIn()
	for _, s := range p.milter.server.LoggedIn() {
		all = append(all, smtpproxy.LoggedIn(s))
	}
	rules := p.userRules.Load()
	if user == "" || rules == nil {
		return all
	}
	out := []smtpproxy.LoggedIn{}
	for _, s := range all {
		if rules.names.Login(s.Login) == user {
			out = append(out, s)
		}
	}
	return out
}

func sessionsOfUser(_ context.Context, p *parts, q userRequest) (any, error) {
	all := p.sessionsOf(q.User)
	n := min(len(all), userPage)
	return userSessions{Sessions: all[:n], More: len(all) - n}, nil
}

func kickUser(_ context.Context, p *parts, q userRequest) (any, error) {
	if q.User == "" {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: "whose sessions?"}
	}
	return userDone{User: q.User, Sessions: p.kick(q.User)}, nil
}
