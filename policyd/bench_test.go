package policyd

import (
	"context"
	"fmt"
	"testing"

	"garita/mail"
)

// BenchmarkAnswer is a request without the network and with an engine that does
// nothing: what this package itself costs.
func BenchmarkAnswer(b *testing.B) {
	c := &conn{s: New(Options{Config: Default(), Policy: &idle{}}), nc: &pipe{}}
	n := 0
	texts := make([]string, 1000)
	for i := range texts {
		texts[i] = rcpt(fmt.Sprint(i), "ok@our.example")
		texts[i] = texts[i][:len(texts[i])-1]
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.answer(texts[n%len(texts)]); err != nil {
			b.Fatal(err)
		}
		c.out = c.out[:0]
		n++
	}
}

// idle is an engine that lets everything go on.
type idle struct{}

func (idle) Connect(context.Context, *mail.Session) mail.Decision    { return mail.Decision{} }
func (idle) Helo(context.Context, *mail.Session) mail.Decision       { return mail.Decision{} }
func (idle) Mail(context.Context, *mail.Transaction) mail.Decision   { return mail.Decision{} }
func (idle) Data(context.Context, *mail.Transaction) mail.Decision   { return mail.Decision{} }
func (idle) Finish(context.Context, *mail.Transaction, mail.Outcome) {}
func (idle) Closed(*mail.Session)                                    {}

func (idle) Rcpt(context.Context, *mail.Transaction, mail.Recipient) mail.Decision {
	return mail.Decision{}
}
