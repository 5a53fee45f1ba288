// Package suspension is the check that stops a user whom an operator, a limit
// or a detector has suspended.
//
// In the user's own session (AUTH here, a milter or policy server asking about
// his session with the MTA) the answer is 421, which ends the session: locking
// an account elsewhere leaves open sessions alone, and they are what sends. On
// a trusted relay one connection carries the mail of everybody: there each
// message of his is held for a person to look at, and nobody else notices.
//
// It is a Mandatory check: a suspension is a command, and no mode, allow list
// or bypass lifts it. It cannot fail: the registry answers from memory.
package suspension

import (
	"context"
	"fmt"
	"strings"
	"time"

	"garita/filters"
	"garita/identity"
	"garita/mail"
	"garita/users"
)

// Name of the check.
const Name = "suspension"

// The symbols.
const (
	SymbolSession = "suspension.session" // the user's own session: 421
	SymbolHeld    = "suspension.held"    // his message among others': held
)

// Config is the table [check.suspension].
type Config struct {
	Text    string        `toml:"text" doc:"What a suspended user is told when his session ends (421). Say whom he should call."`
	Command []string      `toml:"command" doc:"Program that is run when a user is suspended or resumed, with its arguments: [\"/usr/local/sbin/lock-account\", \"{action}\", \"{user}\"]. {action} is suspend or resume; {reason} and {by} are known too. No shell. Empty: none."`
	Timeout time.Duration `toml:"command_timeout" doc:"For the program to end."`
}

// Default runs no program.
func Default() Config {
	return Config{Text: "Sending from this account is suspended, ask your administrator", Command: []string{}, Timeout: 30 * time.Second}
}

// Hook is the program as users runs it.
func (c Config) Hook() users.Hook { return users.Hook{Command: c.Command, Timeout: c.Timeout} }

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if c.Text == "" || len(c.Text) > 200 || strings.IndexFunc(c.Text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		errs = append(errs, fmt.Errorf("text = %.60q: must be 1 to 200 printable ASCII characters", c.Text))
	}
	return append(errs, c.Hook().Validate()...)
}

// Registry is who is suspended (users.Registry).
type Registry interface {
	Suspended(user string) (users.Suspension, bool)
}

// New makes the check; without a registry nobody is suspended.
func New(c Config, r Registry) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("%s: %w", Name, errs[0])
	}
	reply := mail.Temporary(421, "7.0", c.Text)
	return filters.Check{Name: Name, Class: filters.Mandatory, OnError: filters.DeferOnError, Impl: &check{registry: r, reply: reply}}, nil
}

type check struct {
	registry Registry
	reply    mail.Reply
}

// own looks for a suspension in the user's own session.
func (c *check) own(tx *mail.Transaction) (filters.Result, error) {
	if c.registry == nil || !identity.OwnSession(tx.Identity.Source) {
		return filters.Result{}, nil
	}
	s, ok := c.registry.Suspended(tx.Identity.User)
	if !ok {
		return filters.Result{}, nil
	}
	return filters.Found(mail.Finding{Symbol: SymbolSession, Verdict: mail.Defer, Reply: &c.reply, Detail: detail(s)}), nil
}

func detail(s users.Suspension) string {
	return fmt.Sprintf("%s was suspended by %s at %s: %s", s.User, s.By, s.Since.UTC().Format(time.RFC3339), s.Reason)
}

// CheckMail ends a session at its next message.
func (c *check) CheckMail(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	return c.own(tx)
}

// CheckRcpt catches a suspension that came after MAIL; one that MAIL has seen
// is not told twice.
func (c *check) CheckRcpt(_ context.Context, tx *mail.Transaction, _ mail.Recipient) (filters.Result, error) {
	return c.later(tx)
}

// CheckData is as CheckRcpt.
func (c *check) CheckData(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	return c.later(tx)
}

func (c *check) later(tx *mail.Transaction) (filters.Result, error) {
	for i := range tx.Findings {
		if tx.Findings[i].Symbol == SymbolSession {
			return filters.Result{}, nil
		}
	}
	return c.own(tx)
}

// CheckMessage is the last look, and the first one at users whom only the
// header names.
func (c *check) CheckMessage(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	if identity.OwnSession(tx.Identity.Source) {
		return c.later(tx)
	}
	if c.registry == nil {
		return filters.Result{}, nil
	}
	s, ok := c.registry.Suspended(tx.Identity.User)
	if !ok {
		return filters.Result{}, nil
	}
	return filters.Found(mail.Finding{Symbol: SymbolHeld, Verdict: mail.Quarantine, Detail: detail(s) + " (known by " + tx.Identity.Source + ")"}), nil
}
