package main

import (
	"fmt"
	"slices"
	"strings"

	"garita/admin"
	"garita/filters/all"
	"garita/identity"
	"garita/mail"
)

// This file stands between an operator's typing error and a user who goes on
// sending: a suspension of nobody looks like one of the right user, and at
// night nobody looks twice. It guesses from who has sent, so it can be told
// that the name is meant (--force); it never changes a name by itself.

// mostNames bounds the users that a name is compared with, the largest senders
// first.
const mostNames = 5000

// ownDomains are the domains whose users are ours.
func ownDomains(s *Settings) (out []string) {
	for _, d := range append(slices.Concat(site(s).Domains, s.Identity.Domains), s.Identity.DefaultDomain) {
		if key := mail.DomainKey(d); d != "" && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// knownUsers are those who have sent something, have a session, or for whom
// something was set.
func (p *parts) knownUsers() (out []string) {
	rules := p.userRules.Load()
	if rules == nil {
		return nil
	}
	for _, s := range p.sessionsOf("") {
		out = append(out, rules.names.Login(s.Login))
	}
	if rules.limits != nil {
		out = append(out, rules.limits.Active()...)
		for _, r := range rules.limits.Top(all.LimitsTable("users"), mail.Out, topKept, mostTop) {
			out = append(out, r.Name)
		}
	}
	return out[:min(len(out), mostNames)]
}

// seen tells whether a user is known.
func (p *parts) seen(user string) bool {
	if _, ok := p.users.registry.Suspended(user); ok {
		return true
	}
	if _, ok := p.users.registry.Override(user); ok {
		return true
	}
	return slices.Contains(p.knownUsers(), user)
}

// meant refuses a name that is most likely a mistake, and says what was meant.
func (p *parts) meant(q userRequest) error {
	rules := p.userRules.Load()
	if q.Force || rules == nil || p.seen(q.User) {
		return nil
	}
	no := func(format string, args ...any) error {
		return &admin.Error{Code: admin.CodeUsage, Text: fmt.Sprintf(format, args...) + " (--force takes the name as it is)"}
	}
	known := p.knownUsers()
	local, domain, has := strings.Cut(q.User, "@")
	example := "ana@example.org"
	if len(rules.domains) > 0 {
		example = "ana@" + rules.domains[0]
	}
	switch {
	case slices.Contains(rules.domains, local): // with the default domain behind it, or with none
		return no("%q is a domain of yours, not a user: name one user, as %s (garita top users shows who sends)", local, example)
	case !has && !strings.Contains(q.User, "/"):
		if near := sameLocal(local, known); near != "" {
			return no("%q has no domain: did you mean %s? identity.default_domain is for names without one", q.User, near)
		}
		return no("%q has no domain, and identity.default_domain is not set: write it as %s", q.User, example)
	case has && len(rules.domains) > 0 && !slices.Contains(rules.domains, domain) && !slices.ContainsFunc(known, func(u string) bool { return identity.Domain(u) == domain }):
		near := sameLocal(local, known)
		if near == "" {
			near = local + "@" + nearest(domain, rules.domains)
		}
		return no("%q is no domain of yours, and nobody there has sent anything: did you mean %s?", domain, near)
	}
	if near := nearest(q.User, known); near != "" && distance(q.User, near) <= 2 {
		return no("nobody called %s has sent anything: did you mean %s?", q.User, near)
	}
	return nil
}

// notRole keeps an operator from stopping the addresses that others complain
// to and that notices come from (RFC 2142).
func notRole(q userRequest) error {
	local, _, _ := strings.Cut(q.User, "@")
	switch local {
	case "postmaster", "abuse", "mailer-daemon", "hostmaster":
		if !q.Force {
			return &admin.Error{Code: admin.CodeUsage, Text: fmt.Sprintf("%s is an address of your servers, which notices come from, not a person: garita top users --out shows who sends; --force suspends it nonetheless", q.User)}
		}
	}
	return nil
}

// sameLocal is the first user of another domain with the same local part.
func sameLocal(local string, known []string) string {
	for _, u := range known {
		if l, _, ok := strings.Cut(u, "@"); ok && l == local {
			return u
		}
	}
	return ""
}

// nearest is the name that differs least.
func nearest(name string, from []string) (best string) {
	least := 0
	for _, f := range from {
		if d := distance(name, f); d > 0 && sameButDigits(name, f) {
			continue // pupil12 and pupil13 are two people
		} else if best == "" || d < least {
			best, least = f, d
		}
	}
	return best
}

func sameButDigits(a, b string) bool {
	strip := func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}
	return strings.Map(strip, a) == strings.Map(strip, b)
}

// distance is Levenshtein's, two swapped neighbours counting as one: what
// fingers do. Names are bounded by identity.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return max(d, -d) // no less, and more is not asked for
	}
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		now[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(last[j+1]+1, now[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
