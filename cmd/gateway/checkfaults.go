package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"garita/config"
	"garita/filters/all"
)

// rule takes a mistake or a warning in a rule file, which has its own place and
// line; false: the error is another.
func (f *faults) rule(err error) bool {
	var rule *all.RuleError
	if !errors.As(err, &rule) {
		return false
	}
	p := rule.Problem
	key := "check.rules." + rule.Key
	if p.Rule != "" {
		p.Text = "rule " + p.Rule + ": " + p.Text
	}
	f.add(key, p.Suggestion, "%s", p.Text)
	f.last().other = &config.Problem{File: p.File, Line: p.Line, Column: p.Column, Key: key, Text: p.Text, Suggestion: p.Suggestion, Source: p.Excerpt}
	return true
}

// observed warns of what an operator believes to work: his own lists are
// lowered with every other check.
func (f *faults) observed() {
	if lists, err := checksOf(f.s); f.s.Mode == "observe" && err == nil {
		if ids := refusals(lists.Rules()); len(ids) > 0 {
			some := strings.Join(ids[:min(len(ids), 3)], ", ")
			if len(ids) > 3 {
				some += fmt.Sprintf(" and %d more", len(ids)-3)
			}
			f.add("mode", "set mode = \"enforce\", and the checks that shall not decide to observe", "observe: your rules refuse and hold nothing either (%s)", some)
			f.last().warning = true
		}
	}
	a := &f.s.Check.Access
	if f.s.Mode != "observe" || len(slices.Concat(a.Clients, a.Names, a.Helo, a.Senders, a.Recipients, a.ClientFiles, a.NameFiles,
		a.HeloFiles, a.SenderFiles, a.RecipientFiles)) == 0 && len(a.Entry) == 0 {
		return
	}
	f.add("mode", "set mode = \"enforce\", and the checks that shall not decide to observe", "observe: the entries of check.access refuse nothing either")
	f.last().warning = true
}
