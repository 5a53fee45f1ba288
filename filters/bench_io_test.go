package filters

import (
	"context"
	"testing"

	"garita/mail"
)

// prompt is a check that has its answer at once.
type prompt struct{}

func (prompt) CheckConnect(context.Context, *mail.Session) (Result, error) { return Result{}, nil }
func (prompt) CheckHelo(context.Context, *mail.Session) (Result, error)    { return Result{}, nil }
func (prompt) CheckMail(context.Context, *mail.Transaction) (Result, error) {
	return Result{}, nil
}
func (prompt) CheckRcpt(context.Context, *mail.Transaction, mail.Recipient) (Result, error) {
	return Result{}, nil
}

// BenchmarkIO is what it costs that a check declares I/O.
func BenchmarkIO(b *testing.B) {
	for name, last := range map[string]Check{"inline": {}, "io": {IO: true}, "cached": {IO: true, Cached: true}} {
		last.Name, last.Impl = "c", prompt{}
		b.Run(name, func(b *testing.B) {
			e, err := New(Config{Checks: []Check{{Name: "a", Impl: prompt{}}, {Name: "b", Impl: prompt{}}, last}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s := &mail.Session{ID: "S"}
				e.Connect(b.Context(), s)
				e.Helo(b.Context(), s)
				tx := &mail.Transaction{Session: s, ID: "T", Direction: mail.In}
				e.Mail(b.Context(), tx)
				e.Rcpt(b.Context(), tx, mail.Recipient{Path: mail.Path{Local: "a", Domain: "b.example"}})
			}
		})
	}
}
