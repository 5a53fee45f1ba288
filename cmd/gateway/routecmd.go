package main

import (
	"fmt"
	"maps"
	"slices"

	"garita/mail"
	"garita/smtpproxy"
	"garita/smtpproxy/routing"
)

// routeCommand is garita route: where mail for an address goes, and which line
// says so. It reads the configuration and asks nobody.
type routeCommand struct {
	configFlag
	To       string `arg:"" help:"The recipient."`
	From     string `help:"The sender, for routes by sender; empty for a bounce." placeholder:"ADDRESS"`
	Listener string `help:"Name of the listener that it comes in by." placeholder:"NAME"`
	Output   string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// routeReport is the answer of route -o json. Its form is fixed: scripts read
// it. Lines are "file:line"; "" where no line decided.
type routeReport struct {
	Accepted bool          `json:"accepted"`
	Reply    string        `json:"reply,omitempty"` // of a refusal
	Because  string        `json:"because"`
	By       string        `json:"by,omitempty"`
	NextHop  string        `json:"next_hop,omitempty"`
	Targets  []routeTarget `json:"targets"`
}

type routeTarget struct {
	Address string   `json:"address"`
	NextHop string   `json:"next_hop"`
	Because string   `json:"because"`
	Route   string   `json:"route,omitempty"`
	Aliases []string `json:"aliases"`
}

func reportRoute(e routing.Explanation) routeReport {
	at := func(l routing.Line) string {
		if l == (routing.Line{}) {
			return ""
		}
		return l.String()
	}
	r := routeReport{Accepted: e.Refused == nil, Because: e.Because, By: at(e.By), NextHop: e.NextHop, Targets: []routeTarget{}}
	if e.Refused != nil {
		r.Reply = e.Refused.String()
	}
	for _, t := range e.Targets {
		one := routeTarget{Address: t.Address, NextHop: t.NextHop, Because: t.Because, Route: at(t.Route), Aliases: []string{}}
		for _, a := range t.Aliases {
			one.Aliases = append(one.Aliases, at(a))
		}
		r.Targets = append(r.Targets, one)
	}
	return r
}

// Run exits 0 when the mail goes somewhere, 1 when it is refused.
func (c *routeCommand) Run(t *terminal) error {
	s, _, problems := load(c.Config, nil)
	if len(problems) > 0 {
		return &exitError{exitConfig, problems.Error()}
	}
	name := c.Listener
	if name == "" {
		name = usualListener(s)
	}
	l, ok := s.Listener[name]
	if !ok {
		return fail(exitUsage, "--listener: there is no listener %q; %s", c.Listener, known(slices.Sorted(maps.Keys(s.Listener))))
	}
	to, rest, err := mail.ParseForward("<"+c.To+">", true)
	if err != nil || rest != "" {
		return fail(exitUsage, "%q is not an address", c.To)
	}
	from, rest, err := mail.ParseReverse("<"+c.From+">", true)
	if err != nil || rest != "" {
		return fail(exitUsage, "--from: %q is not an address", c.From)
	}
	var r smtpproxy.Router
	if r, err = sinkRouter(s, l); err != nil {
		return fail(exitConfig, "%s", err)
	}
	e := r.(*routing.Router).Explain(to, from)
	if c.Output == "json" {
		if err := t.json(reportRoute(e)); err != nil {
			return err
		}
	} else {
		for _, line := range e.Lines() {
			fmt.Fprintln(t.out, oneLine(line))
		}
	}
	if e.Refused != nil {
		return &exitError{code: exitFailed}
	}
	return nil
}
