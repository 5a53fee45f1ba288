// Package spamassassin is the check that asks SpamAssassin's spamd about a
// message (SPAMC/1.5, command SYMBOLS, over TCP or a unix socket). Its score
// decides by the limits tag, hold and reject of the configuration, and counts,
// times a factor, among our points.
//
// It never takes a changed message from spamd, never repeats its texts to the
// client and adds no header fields but X-Spam-Flag, X-Spam-Score and
// X-Spam-Status. It is off until switched on.
//
// Several servers are asked in their order until one answers within its share
// of the time; one that failed three times in a row rests for 30 seconds. When
// none answers the check fails, and the finding spamassassin.error has the
// effect of on_error: continue by default, since spam is no danger that mail
// must wait for. A message that is larger than max_size is not sent, and a
// finding says so.
//
// # Limits
//
// A reply has at most 64 KB. Each message has a connection of its own, as the
// protocol wants; spamd queues what is more than its children can do.
package spamassassin

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"garita/failover"
	"garita/filters"
	"garita/mail"
	"garita/message"
)

// Name of the check.
const Name = "spamassassin"

// The symbols. A message has one of the first four at most.
const (
	SymbolScore    = "spamassassin.score" // points alone
	SymbolTag      = "spamassassin.tag"
	SymbolHold     = "spamassassin.hold"
	SymbolReject   = "spamassassin.reject"
	SymbolTooLarge = "spamassassin.too_large"
)

// maxPoints bounds what SpamAssassin can add to our points or take from them.
const maxPoints = 100

// grace is how much later than its own deadline the engine gives the check up:
// the fields from outside are removed even when no server answers.
const grace = 2 * time.Second

// Options are what the check needs besides its configuration.
type Options struct {
	// Log hears when a server begins to rest (with the reason) and when it
	// answers again; nil is silence. It must be safe for concurrent use.
	Log func(text string, err error)
	// Now is the clock of the breakers and of the Received field; nil is
	// time.Now.
	Now func() time.Time
}

// New makes the check. Its Impl is a *Check.
func New(c Config, site filters.Site, o Options) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("spamassassin: %w", errs[0])
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Check{cfg: c, hostname: site.Hostname, now: o.Now, servers: failover.New(c.Servers, o.Now, o.Log)}
	for _, s := range c.Servers {
		network, addr, err := parseServer(s)
		if err != nil {
			return filters.Check{}, fmt.Errorf("spamassassin: servers: %w", err)
		}
		k.addrs = append(k.addrs, address{network, addr})
	}
	mode, _ := mail.ParseMode(c.Mode)
	onError, _ := filters.ParseOnError(c.OnError)
	return filters.Check{Name: Name, Impl: k, Mode: mode, OnError: onError, IO: true, Timeout: c.Timeout + grace}, nil
}

// Check is the check at work.
type Check struct {
	cfg      Config
	hostname string
	now      func() time.Time
	servers  *failover.List
	addrs    []address
}

type address struct{ network, addr string }

// Status gives how each server does, in the order of the configuration.
func (k *Check) Status() []failover.State { return k.servers.States() }

// CheckMessage asks about the message.
func (k *Check) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	var res filters.Result
	m := tx.Message
	if k.cfg.RemoveHeaders {
		for _, f := range m.Header().Fields() {
			if resultField(f.Name) {
				res.Edits = append(res.Edits, message.Edit{At: f.Start, Delete: f.End - f.Start})
			}
		}
	}
	if n := m.Size(); n > k.cfg.MaxSize {
		res.Findings = []mail.Finding{{Symbol: SymbolTooLarge, Mode: mail.Observe, Detail: strconv.FormatInt(n, 10) + " octets"}}
		return res, nil
	}
	var sent []message.Edit
	if k.cfg.Received {
		sent = append(sent, m.Header().Prepend(trace(tx, k.hostname, k.now())))
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	var rep *reply
	err := k.servers.Ask(ctx, func(ctx context.Context, i int) error {
		r, err := m.Render(sent)
		if err != nil {
			return err
		}
		rep, err = ask(ctx, k.addrs[i].network, k.addrs[i].addr, k.cfg.User, r)
		return err
	})
	if err != nil {
		return res, fmt.Errorf("spamassassin: %w", err)
	}
	return k.judge(m, rep, res), nil
}

// judge makes findings and edits of a reply.
func (k *Check) judge(m *message.Message, rep *reply, res filters.Result) filters.Result {
	e := k.cfg.decide(rep.score)
	f := mail.Finding{Symbol: SymbolScore, Score: points(rep.score, k.cfg.Factor), Detail: rep.detail()}
	switch e {
	case tag:
		f.Symbol = SymbolTag
	case hold:
		f.Symbol, f.Verdict = SymbolHold, mail.Quarantine
	case reject:
		r := mail.Permanent(554, "7.1", "Refused as spam")
		f.Symbol, f.Verdict, f.Reply = SymbolReject, mail.Reject, &r
	}
	if e != none || f.Score != 0 {
		res.Findings = []mail.Finding{f}
	}
	if h := m.Header(); k.cfg.Headers && len(h.Fields()) > 0 {
		res.Edits = append([]message.Edit{{At: h.Start(), Insert: rep.fields(e)}}, res.Edits...)
	}
	return res
}

// points is what a score adds to ours.
func points(score, factor float64) float64 {
	p := math.Round(score*factor*100) / 100
	return max(-maxPoints, min(p, maxPoints)) + 0 // never -0
}

// fields are the header fields of a reply.
func (r *reply) fields(e effect) []byte {
	verdict := "No"
	var b []byte
	if e != none {
		verdict = "Yes"
		b = append(b, "X-Spam-Flag: YES\r\n"...)
	}
	return fmt.Appendf(b, "X-Spam-Score: %s\r\nX-Spam-Status: %s, score=%s required=%s\r\n", number(r.score), verdict, number(r.score), number(r.required))
}

// resultField tells a field of the namespace of SpamAssassin.
func resultField(name string) bool {
	const prefix = "X-Spam"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}
