// Package rspamd is the check that asks rspamd about a message: its HTTP
// protocol (POST /checkv2 with the facts in header fields and the raw message
// as body, JSON back). What decides is rspamd's own action or its score, as
// configured; the score, times a factor, counts among our points.
//
// It never rewrites the subject, never repeats rspamd's texts to the client,
// and lets it add and remove no header fields but those of the namespace of
// results (X-Spam..., X-Rspamd-...). It is off until switched on.
//
// Several servers are asked in their order until one answers within its share
// of the time; one that failed three times in a row rests for 30 seconds. When
// none answers the check fails, and the finding rspamd.error has the effect of
// on_error: continue by default, since spam is no danger that mail must wait
// for. A message that is larger than max_size is not sent, and a finding says
// so.
//
// # Limits
//
// An answer has at most 1 MB; 100 recipients are named; 64 connections to a
// server at a time.
package rspamd

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"garita/failover"
	"garita/filters"
	"garita/mail"
	"garita/message"
)

// Name of the check.
const Name = "rspamd"

// The symbols. A message has one of the first five at most.
const (
	SymbolScore    = "rspamd.score" // points alone
	SymbolTag      = "rspamd.tag"
	SymbolHold     = "rspamd.hold"
	SymbolDefer    = "rspamd.defer"
	SymbolReject   = "rspamd.reject"
	SymbolSkipped  = "rspamd.skipped"
	SymbolTooLarge = "rspamd.too_large"
)

// maxPoints bounds what rspamd can add to our points or take from them.
const maxPoints = 100

// grace is how much later than its own deadline the engine gives the check up:
// the fields from outside are removed even when no server answers.
const grace = 2 * time.Second

// Options are what the check needs besides its configuration.
type Options struct {
	// Log hears when a server begins to rest (with the reason) and when it
	// answers again; nil is silence. It must be safe for concurrent use.
	Log func(text string, err error)
	// Now is the clock of the breakers; nil is time.Now.
	Now func() time.Time
}

// New makes the check. Its Impl is a *Check.
func New(c Config, site filters.Site, o Options) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("rspamd: %w", errs[0])
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Check{cfg: c, hostname: site.Hostname, servers: failover.New(c.Servers, o.Now, o.Log)}
	for _, s := range c.Servers {
		a, err := parseServer(s)
		if err != nil {
			return filters.Check{}, fmt.Errorf("rspamd: servers: %w", err)
		}
		k.bases, k.clients = append(k.bases, a.base), append(k.clients, newClient(a))
	}
	mode, _ := mail.ParseMode(c.Mode)
	onError, _ := filters.ParseOnError(c.OnError)
	return filters.Check{Name: Name, Impl: k, Mode: mode, OnError: onError, IO: true, Timeout: c.Timeout + grace}, nil
}

// Check is the check at work.
type Check struct {
	cfg      Config
	hostname string
	servers  *failover.List
	bases    []string
	clients  []*http.Client
}

// Status gives how each server does, in the order of the configuration.
func (k *Check) Status() []failover.State { return k.servers.States() }

// Close gives the idle connections back.
func (k *Check) Close() error {
	for _, c := range k.clients {
		c.CloseIdleConnections()
	}
	return nil
}

// CheckMessage asks about the message.
func (k *Check) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	var res filters.Result
	if k.cfg.RemoveHeaders {
		res.Edits = removal(tx.Message, resultField)
	}
	if n := tx.Message.Size(); n > k.cfg.MaxSize {
		res.Findings = []mail.Finding{{Symbol: SymbolTooLarge, Mode: mail.Observe, Detail: size(n)}}
		return res, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	h := facts(tx, k.hostname)
	var a *answer
	err := k.servers.Ask(ctx, func(ctx context.Context, i int) (err error) {
		a, err = ask(ctx, k.clients[i], k.bases[i], h, tx.Message)
		return err
	})
	if err != nil {
		return res, fmt.Errorf("rspamd: %w", err)
	}
	return k.judge(tx.Message, a, res), nil
}

// judge makes findings and edits of an answer.
func (k *Check) judge(m *message.Message, a *answer, res filters.Result) filters.Result {
	if a.skipped {
		res.Findings = []mail.Finding{{Symbol: SymbolSkipped, Mode: mail.Observe}}
		return res
	}
	e := k.cfg.decide(a)
	f := mail.Finding{Symbol: SymbolScore, Score: points(a.score, k.cfg.Factor), Detail: a.detail()}
	switch e {
	case tag:
		f.Symbol = SymbolTag
	case hold:
		f.Symbol, f.Verdict = SymbolHold, mail.Quarantine
	case deferred:
		r := mail.Temporary(451, "7.1", "Try again later")
		f.Symbol, f.Verdict, f.Reply = SymbolDefer, mail.Defer, &r
	case reject:
		r := mail.Permanent(554, "7.1", "Refused as spam")
		f.Symbol, f.Verdict, f.Reply = SymbolReject, mail.Reject, &r
	}
	if e != none || f.Score != 0 {
		res.Findings = []mail.Finding{f}
	}
	if !k.cfg.RemoveHeaders && len(a.remove) > 0 && k.cfg.Headers {
		res.Edits = removal(m, func(name string) bool {
			for _, r := range a.remove {
				if strings.EqualFold(name, r) {
					return true
				}
			}
			return false
		})
	}
	if h := m.Header(); k.cfg.Headers && len(h.Fields()) > 0 {
		res.Edits = append([]message.Edit{{At: h.Start(), Insert: a.fields(e)}}, res.Edits...)
	}
	return res
}

// points is what a score adds to ours.
func points(score, factor float64) float64 {
	p := math.Round(score*factor*100) / 100
	return max(-maxPoints, min(p, maxPoints)) + 0 // never -0
}

// fields are the header fields of an answer.
func (a *answer) fields(e effect) []byte {
	verdict := "No"
	var b []byte
	if e != none {
		verdict = "Yes"
		b = append(b, "X-Spam-Flag: YES\r\n"...)
	}
	b = fmt.Appendf(b, "X-Spam-Score: %s\r\nX-Spam-Status: %s, score=%s required=%s\r\n", number(a.score), verdict, number(a.score), number(a.required))
	for _, f := range a.add {
		switch strings.ToLower(f.name) {
		case "x-spam-flag", "x-spam-score", "x-spam-status":
			// Ours say what was decided here.
		default:
			b = fmt.Appendf(b, "%s: %s\r\n", f.name, f.value)
		}
	}
	return b
}

// removal takes the fields out whose name fits.
func removal(m *message.Message, fits func(name string) bool) (edits []message.Edit) {
	for _, f := range m.Header().Fields() {
		if fits(f.Name) {
			edits = append(edits, message.Edit{At: f.Start, Delete: f.End - f.Start})
		}
	}
	return edits
}
