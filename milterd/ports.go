package milterd

import (
	"context"
	"io"

	"garita/mail"
	"garita/message"
)

// Policy is the engine of checks, as a milter needs it; see the Policy of
// smtpproxy.
type Policy interface {
	Connect(ctx context.Context, s *mail.Session) mail.Decision
	Helo(ctx context.Context, s *mail.Session) mail.Decision
	Mail(ctx context.Context, tx *mail.Transaction) mail.Decision
	Rcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision
	Data(ctx context.Context, tx *mail.Transaction) mail.Decision
	Message(ctx context.Context, tx *mail.Transaction) mail.Decision
	Again(ctx context.Context, tx *mail.Transaction, m *message.Message) mail.Decision
	Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome)
	Closed(s *mail.Session)
}

// Body is a rendered message.
type Body interface {
	Size() int64
	io.WriterTo
}

// Keeper holds a message durably: it returns only after file and folder are
// on stable storage.
type Keeper interface {
	Hold(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (id string, err error)
	Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (id string, err error)
	Drop(id string) error
}

// Settings are one generation of the configuration. A connection keeps the one
// that it began with.
type Settings struct {
	Config
	Hostname string
	Policy   Policy
	Keeper   Keeper // nil: there is no holding place
	Index    message.IndexOptions
	// Memory, FreeDisk, MaxRecipients and MaxHops are those of [limits].
	Memory, FreeDisk       int64
	MaxRecipients, MaxHops int
}
