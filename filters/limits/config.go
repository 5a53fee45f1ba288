package limits

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/identity"
	"garita/mail"
)

// Config is the table [check.limits].
type Config struct {
	Mode             string           `toml:"mode" enum:"off,observe,enforce" doc:"off, observe (counts and says in the log what would be over) or enforce. Begin with observe: after two weeks garita limits suggest knows what your users really send."`
	Profile          string           `toml:"profile" enum:"default,cert-strict" doc:"Limits of users where the key user is empty. default: 60 messages and 150 recipients an hour, 300 and 500 a day, 100 first-time recipients a day. cert-strict: 10 messages an hour, 50 a day."`
	User             []string         `toml:"user" doc:"Limits of each user: \"60 messages / 1h\". What is counted: messages, recipients, bytes, new-recipients (to whom he has not written for new_for), refusals (recipients that the next hop refused). \"unlimited messages / 1h\" counts only. Empty: those of profile."`
	Domain           []string         `toml:"domain" doc:"Limits of all users of a domain together."`
	Address          []string         `toml:"address" doc:"Limits of each client address, for mail of users who are known. Leave it empty where a relay brings everybody's mail."`
	Everybody        []string         `toml:"everybody" doc:"Limits of all users together."`
	Unknown          []string         `toml:"unknown" doc:"Ceiling of outbound mail whose user is not known (bounces, system mail), by domain of the sender; domains that are not yours count together. Over it there is a warning; nobody's mail is held."`
	Action           string           `toml:"action" enum:"hold,defer,reject" doc:"What is over a limit: hold (and it drips out as the window frees), defer (451) or reject (554)."`
	WarnAt           float64          `toml:"warn_at" doc:"Share of a user's limit at which there is a warning. 0: never."`
	SuspendAt        float64          `toml:"suspend_at" doc:"At so many times a user's limit he is suspended: what he was held or refused over it counts. Not with defer, and not for users known by the envelope sender alone. 0: never."`
	NewFor           time.Duration    `toml:"new_for" doc:"A recipient is a first-time one when the user has not written to him for so long."`
	CountAt          string           `toml:"count_at" enum:"wire,door" doc:"Where a message is counted that a milter or policy server of ours and the wire both see: wire, or door (and the wire leaves it out, as long as it has the same Message-ID or queue id)."`
	ExemptUsers      []string         `toml:"exempt_users" doc:"Users without limits: addresses, or @domain."`
	ExemptRecipients []string         `toml:"exempt_recipients" doc:"Recipients who do not count, addresses or @domain. The others of the message do."`
	DripRate         int              `toml:"drip_rate" doc:"How many messages that a limit holds are released a minute, of all users, as the windows free. 0: none; they wait for garita hold release."`
	NotifyUsers      bool             `toml:"notify_users" doc:"Tell a user by mail, within a minute and once for each incident, that mail of his is held over a limit, and when it goes. Never one who is suspended, nor one known by the envelope sender alone."`
	Group            map[string]Group `toml:"group" example:"newsletter" doc:"Users with other limits. A user's own (garita user limit) come first, then a group that names him, then one that names his domain."`
}

// Group is one [check.limits.group.NAME] table.
type Group struct {
	Members []string `toml:"members" doc:"Users, or @domain."`
	File    string   `toml:"file" doc:"File with more of them, one a line; # begins a comment."`
	Limits  []string `toml:"limits" doc:"Their limits. One of the same kind and span stands in the place of the general one; the others stay."`
	Until   string   `toml:"until" doc:"Last day on which it holds: 2026-12-31. Empty: always."`
}

// Default observes.
func Default() Config {
	return Config{Mode: "observe", Profile: "default", User: []string{}, Domain: []string{"1000 messages / 1h"}, Address: []string{}, Everybody: []string{},
		Unknown: []string{"1000 messages / 1h"}, Action: "hold", WarnAt: 0.8, SuspendAt: 2.5, NewFor: 60 * 24 * time.Hour, CountAt: "wire",
		ExemptUsers: []string{}, ExemptRecipients: []string{}, DripRate: 30, NotifyUsers: true, Group: map[string]Group{}}
}

// profiles are the limits of users by profile.
func profiles(name string) []string {
	if name == "cert-strict" {
		return []string{"10 messages / 1h", "50 messages / 24h", "50 recipients / 1h", "150 recipients / 24h", "50 new-recipients / 24h"}
	}
	return []string{"60 messages / 1h", "300 messages / 24h", "150 recipients / 1h", "500 recipients / 24h", "100 new-recipients / 24h"}
}

// Kind is what is counted.
type Kind uint8

const (
	Messages Kind = iota
	Recipients
	Bytes
	NewRecipients
	Refusals
	kinds
)

// String gives the kind as the configuration spells it.
func (k Kind) String() string {
	return [...]string{"messages", "recipients", "bytes", "new-recipients", "refusals"}[k]
}

// Limit is so much in such a time.
type Limit struct {
	Kind Kind
	Max  int64 // 0: counted without a limit
	Span time.Duration
}

// String is the limit as the configuration writes it.
func (l Limit) String() string {
	n := "unlimited"
	if l.Max > 0 {
		n = strconv.FormatInt(l.Max, 10)
	}
	return n + " " + l.Kind.String() + " / " + spanText(l.Span)
}

func spanText(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}

const (
	minSpan = time.Minute
	maxSpan = 31 * 24 * time.Hour
	maxMax  = 1 << 50
	// mostLimits of a scope, so that an act fits into one reservation.
	mostLimits = 7
	mostNames  = 10_000
)

var errLimit = errors.New(`must be like "60 messages / 1h": a number (or "unlimited"), messages, recipients, bytes, new-recipients or refusals, and a span from 1m to 31d`)

// ParseLimit reads one limit.
func ParseLimit(s string) (Limit, error) {
	what, span, ok := strings.Cut(s, "/")
	words := strings.Fields(what)
	if !ok || len(words) != 2 || len(s) > 100 {
		return Limit{}, errLimit
	}
	var l Limit
	if words[0] != "unlimited" {
		n, err := number(words[0])
		if err != nil || n < 1 || n > maxMax {
			return Limit{}, errLimit
		}
		l.Max = n
	}
	for l.Kind = 0; l.Kind < kinds && l.Kind.String() != words[1]; l.Kind++ {
	}
	d, err := ParseSpan(strings.TrimSpace(span))
	if l.Kind == kinds || err != nil || d < minSpan || d > maxSpan {
		return Limit{}, errLimit
	}
	l.Span = d
	return l, nil
}

// number reads 500, 500KB, 20MB, 1GB.
func number(s string) (int64, error) {
	unit := int64(1)
	for suffix, n := range map[string]int64{"KB": 1e3, "MB": 1e6, "GB": 1e9} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = t, n
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxMax/unit {
		return 0, errLimit
	}
	return n * unit, nil
}

// ParseSpan reads 1h, 90m or 7d.
func ParseSpan(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.Atoi(n)
		if err != nil || days < 0 || days > 36600 {
			return 0, errLimit
		}
		return time.Duration(days) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

// ParseLimits reads a list; two of one kind and span are a mistake.
func ParseLimits(list []string) (out []Limit, errs []error) {
	for i, s := range list {
		l, err := ParseLimit(s)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("[%d]: %.60q %w", i, s, err))
		case slices.ContainsFunc(out, func(o Limit) bool { return o.Kind == l.Kind && o.Span == l.Span }):
			errs = append(errs, fmt.Errorf("[%d]: %.60q: another one has the same kind and span", i, s))
		default:
			out = append(out, l)
		}
	}
	if len(list) > mostLimits {
		errs = append(errs, fmt.Errorf(": has %d limits; at most %d", len(list), mostLimits))
	}
	return out, errs
}

// compiled is what a configuration says, worked out.
type compiled struct {
	user, domain, address, everybody, unknown []Limit
	exemptUser, exemptRcpt                    map[string]bool
	groups                                    []group
	reply                                     mail.Reply
	verdict                                   mail.Verdict
}

type group struct {
	members map[string]bool
	limits  []Limit
	until   time.Time
}

// mostMembers bounds a group.
const mostMembers = 100_000

// compile works it out with every mistake, each naming its key.
func (c Config) compile(names identity.Names) (out compiled, errs []error) {
	for _, s := range []struct {
		key  string
		list []string
		to   *[]Limit
	}{{"user", c.User, &out.user}, {"domain", c.Domain, &out.domain}, {"address", c.Address, &out.address},
		{"everybody", c.Everybody, &out.everybody}, {"unknown", c.Unknown, &out.unknown}} {
		var bad []error
		*s.to, bad = ParseLimits(s.list)
		for _, err := range bad {
			errs = append(errs, fmt.Errorf("%s%w", s.key, err))
		}
	}
	if len(c.User) == 0 {
		out.user, _ = ParseLimits(profiles(c.Profile))
	}
	if n := max(len(out.user), mostLimits) + len(out.domain) + len(out.address) + len(out.everybody); n > maxWindows {
		errs = append(errs, fmt.Errorf("user, domain, address and everybody: have %d limits together; at most %d", n, maxWindows))
	}
	list := func(key string, in []string) map[string]bool {
		m := map[string]bool{}
		for i, s := range in {
			if who, ok := member(s, names); ok {
				m[who] = true
			} else {
				errs = append(errs, fmt.Errorf("%s[%d]: %.80q is neither an address nor @domain", key, i, s))
			}
		}
		return m
	}
	out.exemptUser, out.exemptRcpt = list("exempt_users", c.ExemptUsers), list("exempt_recipients", c.ExemptRecipients)
	for _, name := range slices.Sorted(maps.Keys(c.Group)) {
		g, bad := c.Group[name].compile(names)
		for _, err := range bad {
			errs = append(errs, fmt.Errorf("group.%s.%w", name, err))
		}
		out.groups = append(out.groups, g)
	}
	switch c.Action {
	case "defer":
		out.verdict, out.reply = mail.Defer, mail.Temporary(451, "7.1", "Over your limit of mail for now, try again later")
	case "reject":
		out.verdict, out.reply = mail.Reject, mail.Permanent(554, "7.1", "Over your limit of mail, ask your administrator")
	default:
		out.verdict = mail.Quarantine
	}
	return out, errs
}

// maxWindows is what one act of the store takes.
const maxWindows = 16

// member reads a user, or @domain.
func member(s string, names identity.Names) (string, bool) {
	if d, ok := strings.CutPrefix(s, "@"); ok {
		return "@" + mail.DomainKey(d), mail.ValidDomain(d, true)
	}
	return names.Canonical(s)
}

func (g Group) compile(names identity.Names) (out group, errs []error) {
	var bad []error
	out.limits, bad = ParseLimits(g.Limits)
	for _, err := range bad {
		errs = append(errs, fmt.Errorf("limits%w", err))
	}
	out.members = map[string]bool{}
	add := func(where, s string) {
		if who, ok := member(s, names); !ok {
			errs = append(errs, fmt.Errorf("%s: %.80q is neither a user nor @domain", where, s))
		} else if out.members[who] = true; len(out.members) > mostMembers {
			errs = append(errs, fmt.Errorf("%s: more than %d members", where, mostMembers))
		}
	}
	for i, s := range g.Members {
		add(fmt.Sprintf("members[%d]", i), s)
	}
	if g.File != "" {
		raw, err := os.ReadFile(g.File)
		if err != nil {
			errs = append(errs, fmt.Errorf("file = %.200q: cannot be read", g.File))
		}
		n := 0
		for line := range strings.Lines(string(raw)) {
			n++
			text, _, _ := strings.Cut(line, "#")
			if text = strings.TrimSpace(text); text != "" && len(errs) < 20 {
				add(fmt.Sprintf("file = %.200q: line %d", g.File, n), text)
			}
		}
	}
	if g.Until != "" {
		day, err := time.ParseInLocation(time.DateOnly, g.Until, time.Local)
		if err != nil {
			errs = append(errs, fmt.Errorf("until = %.40q: must be a day such as 2026-12-31", g.Until))
		}
		out.until = day.AddDate(0, 0, 1)
	}
	return out, errs
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, e := range []struct {
		key, value string
		of         []string
	}{{"mode", c.Mode, []string{"off", "observe", "enforce"}}, {"profile", c.Profile, []string{"default", "cert-strict"}},
		{"action", c.Action, []string{"hold", "defer", "reject"}}, {"count_at", c.CountAt, []string{"wire", "door"}}} {
		if !slices.Contains(e.of, e.value) {
			add("%s = %.40q: must be %s", e.key, e.value, strings.Join(e.of, ", "))
		}
	}
	if !(c.WarnAt >= 0 && c.WarnAt <= 1) {
		add("warn_at = %v: must be from 0 (never) to 1", c.WarnAt)
	}
	if !(c.SuspendAt == 0 || c.SuspendAt >= 1.1 && c.SuspendAt <= 1000) {
		add("suspend_at = %v: must be 0 (never), or from 1.1 to 1000", c.SuspendAt)
	}
	if c.NewFor < time.Hour || c.NewFor > 366*24*time.Hour {
		add("new_for = %s: must be from 1h to a year", c.NewFor)
	}
	if c.DripRate < 0 || c.DripRate > 6000 {
		add("drip_rate = %d: must be from 0 (none) to 6000", c.DripRate)
	}
	if len(c.ExemptUsers) > mostNames || len(c.ExemptRecipients) > mostNames {
		add("exempt_users: more than %d names; make a group with a file", mostNames)
	}
	_, bad := c.compile(identity.Names{})
	return append(errs, bad...)
}
