package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"garita/filters/all"
	"garita/mail"
	"garita/rules"
	"garita/smtpproxy/routing"
	"garita/tables"
)

// readLists are the files of lists that a configuration names, as they were
// read when it was checked. Long ones take a while, so that whoever uses the
// configuration afterwards does not read them again; and what was checked is
// what is used. A nil part was not read.
type readLists struct {
	checkOf all.Config
	checks  *all.Lists
	routeOf routing.Config
	routes  *routing.Tables
}

// checks reads the lists of the checks.
func (s *Settings) checks() (l *all.Lists, errs, warnings []error) {
	l, errs, warnings = s.Check.Read(time.Now, slices.Sorted(maps.Keys(s.NextHop)))
	warnings = append(warnings, s.Check.Compare(budgetFor(s).Headroom)...) // the largest message
	if l != nil {
		warnings = append(warnings, hiddenByRules(s, l)...)
	}
	s.read.checkOf, s.read.checks = s.Check, l
	return l, errs, warnings
}

// routes reads the tables of routes.
func (s *Settings) routes() (*routing.Tables, []tables.Problem) {
	t, problems := routing.Compile(s.Route)
	s.read.routeOf, s.read.routes = s.Route, nil
	if len(problems) == 0 {
		s.read.routes = t
	}
	return t, problems
}

// checksOf gives the lists of the checks, read if need be.
func checksOf(s *Settings) (*all.Lists, error) {
	if l := s.read.checks; l != nil && reflect.DeepEqual(s.read.checkOf, s.Check) {
		return l, nil
	}
	l, errs, _ := s.checks()
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return l, nil
}

// routesOf gives the tables of routes, read if need be.
func routesOf(s *Settings) (*routing.Tables, error) {
	if t := s.read.routes; t != nil && reflect.DeepEqual(s.read.routeOf, s.Route) {
		return t, nil
	}
	t, problems := s.routes()
	if len(problems) > 0 {
		return nil, fmt.Errorf("route: %w", problems[0])
	}
	return t, nil
}

// ruleHops are the next hops that rules name. A table of Postfix may name any
// (FILTER), so that with one all of them are in use.
func ruleHops(s *Settings, l *all.Lists) (names []string) {
	names = s.milterHops()
	if l == nil {
		return names
	}
	for _, r := range l.Rules().Rules() {
		for _, a := range r.Actions {
			if a.Kind == rules.Route && r.Mode != mail.Off {
				names = append(names, a.Text)
			}
		}
	}
	if len(s.postfixTables()) > 0 {
		names = slices.AppendSeq(names, maps.Keys(s.NextHop))
	}
	return names
}
