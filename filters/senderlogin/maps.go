package senderlogin

import (
	"fmt"
	"slices"
	"strings"

	"garita/identity"
	"garita/mail"
	"garita/tables"
)

// maxUsers bounds the users of one address.
const maxUsers = 100

// address is one of a mailbox, with quoting removed.
type address struct{ local, domain string }

// String writes it by the grammar.
func (a address) String() string { return mail.Path{Local: a.local, Domain: a.domain}.String() }

// key is the form in which addresses are compared. Other than the DNS, local
// parts may tell case apart; those of our own users do not.
func (a address) key() string { return strings.ToLower(a.local) + "@" + mail.DomainKey(a.domain) }

// untagged is a key without the tag behind a plus sign.
func untagged(key string) string {
	at := strings.LastIndexByte(key, '@')
	if plus := strings.IndexByte(key[:at], '+'); plus > 0 {
		return key[:plus] + key[at:]
	}
	return key
}

// Maps are the files of a configuration, as they were read: users by address,
// not yet in the spelling of the site.
type Maps struct {
	lines []line
}

type line struct {
	key   string
	users []string
}

// owners are the users of each address or "@domain".
type owners map[string][]string

// Read reads the maps, and gives the errors of Validate and lines that Postfix
// would warn of.
func (c Config) Read() (m *Maps, errs, warnings []error) {
	m = &Maps{}
	errs = c.own()
	seen := map[string]string{}
	take := func(where string, key, value string) error {
		l, bad := parseLine(key, value)
		if bad != "" {
			return fmt.Errorf("%s: %s", where, bad)
		}
		if first, have := seen[l.key]; have {
			warnings = append(warnings, fmt.Errorf("%s: %.100q is there twice; the first counts, at %s", where, l.key, first))
			return nil
		}
		seen[l.key] = where
		m.lines = append(m.lines, l)
		return nil
	}
	for i, text := range c.Owners {
		where := fmt.Sprintf("owners[%d]", i)
		entries, bad := tables.Parse(where, []byte(text), tables.Options{})
		switch {
		case len(bad) > 0:
			errs = append(errs, fmt.Errorf("%s: %s", where, bad[0].Text))
		case len(entries) != 1:
			errs = append(errs, fmt.Errorf(`%s: %.80q must be an address and its users, as "info@our.example ana@our.example"`, where, text))
		default:
			if err := take(where, entries[0].Key, entries[0].Value); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, file := range c.Files {
		entries, bad := tables.Read(file, tables.Options{})
		for _, p := range bad {
			errs = append(errs, fmt.Errorf("files: %w", p))
		}
		for i := range entries {
			e := &entries[i]
			err := take(fmt.Sprintf("files: %s:%d", e.File, e.Line), strings.Clone(e.Key), e.Value)
			if err == nil {
				continue
			}
			if errs = append(errs, err); len(errs) >= tables.MaxProblems {
				return m, errs, warnings
			}
		}
	}
	return m, errs, warnings[:min(len(warnings), tables.MaxProblems)]
}

// parseLine reads one line; bad says what is wrong with it.
func parseLine(key, value string) (l line, bad string) {
	if domain, ok := strings.CutPrefix(key, "@"); ok {
		if !mail.ValidDomain(domain, true) {
			return l, fmt.Sprintf("%.80q is not a domain: write it as @our.example", key)
		}
		l.key = "@" + mail.DomainKey(domain)
	} else {
		p, rest, err := mail.ParseForward("<"+key+">", true)
		if err != nil || rest != "" || p.Domain == "" {
			return l, fmt.Sprintf("%.80q is neither an address nor @ and a domain", key)
		}
		l.key = address{p.Local, p.Domain}.key()
	}
	users := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	if len(users) == 0 {
		return l, fmt.Sprintf("%.80q has no users: write them behind it", key)
	}
	if len(users) > maxUsers {
		return l, fmt.Sprintf("%.80q has more than %d users", key, maxUsers)
	}
	for _, u := range users {
		if _, ok := (identity.Names{}).Canonical(u); !ok {
			return l, fmt.Sprintf("%.80q is not the name of a user", u)
		}
		l.users = append(l.users, strings.Clone(u))
	}
	return l, ""
}

// owners gives users their one spelling.
func (m *Maps) owners(names identity.Names) owners {
	out := make(owners, len(m.lines))
	for _, l := range m.lines {
		users := make([]string, 0, len(l.users))
		for _, u := range l.users {
			if u = names.Login(u); !slices.Contains(users, u) {
				users = append(users, u)
			}
		}
		out[l.key] = users
	}
	return out
}
