package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/hold"
)

// criterion is one word of a filter. One that is given and empty is a variable
// that a script has not set: taken for "any" it would pick everybody's mail.
type criterion string

// UnmarshalText refuses what says nothing.
func (c *criterion) UnmarshalText(raw []byte) error {
	s := strings.TrimSpace(string(raw))
	if strings.Trim(s, "@,") == "" {
		return fmt.Errorf("%.40q picks nothing", raw)
	}
	*c = criterion(s)
	return nil
}

// holdFilter picks messages by what they are.
type holdFilter struct {
	Sender    criterion `help:"Of this sender: an address, @domain, or <> for bounces."`
	User      criterion `help:"Sent by this user: ana@example.org."`
	Recipient criterion `help:"To this recipient: an address or @domain."`
	Reason    criterion `help:"With this symbol, or with those of a check: clamav. Several with commas."`
	Parked    bool      `help:"What a limit, a suspension or the detector of hijacked accounts parked. With release: that alone, nothing that another check holds too."`
	Since     criterion `help:"Held since: a date, a date with time, or a span such as 24h."`
	Before    criterion `help:"Held before: as --since."`
	since     time.Time `kong:"-"`
	before    time.Time `kong:"-"`
}

func (f *holdFilter) empty() bool {
	return f.Sender == "" && f.User == "" && f.Recipient == "" && f.Reason == "" && f.Since == "" && f.Before == "" && !f.Parked
}

// parkedBy are the checks that hold mail for how much or by whom it is, not for
// what it says.
func parkedBy() []string { return []string{"limits", "suspension", "hijack"} }

// onlyParked tells that nothing else holds a message.
func onlyParked(l *hold.Letter) bool {
	return len(l.Reasons) > 0 && !slices.ContainsFunc(l.Reasons, func(r hold.Reason) bool {
		check, _, _ := strings.Cut(r.Symbol, ".")
		return r.Verdict != "continue" && !slices.Contains(parkedBy(), check)
	})
}

// filter reads it.
func (f *holdFilter) filter() (hold.Filter, error) {
	var err error
	if f.since, err = pointInTime(string(f.Since)); err == nil {
		f.before, err = pointInTime(string(f.Before))
	}
	if f.Parked {
		if f.Reason != "" {
			err = fail(exitUsage, "--parked is a reason already: without --reason")
		}
		f.Reason = criterion(strings.Join(parkedBy(), ","))
	}
	return hold.Filter{Sender: string(f.Sender), User: string(f.User), Recipient: string(f.Recipient), Reason: string(f.Reason), Since: f.since, Before: f.before}, err
}

// pointInTime reads a date, a time, or a span before now.
func pointInTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.Atoi(n); err == nil && days >= 0 && days < 36600 {
			return time.Now().AddDate(0, 0, -days), nil
		}
	}
	for _, form := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fail(exitUsage, "%.40q is no time: write 2026-01-31, \"2026-01-31 15:04\", 24h or 7d", s)
}
