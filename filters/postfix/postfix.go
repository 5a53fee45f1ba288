// Package postfix is the check of Postfix's own pcre: and regexp: tables:
// header_checks, mime_header_checks, nested_header_checks and body_checks
// (header_checks(5)), as an administrator has them, with what they ask for
// done here. Package rules/postfix reads and runs them, oddity by oddity.
//
// The tables see the message as it came: the Received field that we add is not
// in it, where Postfix has its own. After edits of the body they are not asked
// again, as Postfix does not match what it has put there. FILTER works where
// it names a next hop of ours.
//
// It fails towards the sender trying again: an error, an empty result and a
// panic are 451, a message that makes the check panic twice is held. A look-up
// that was given up is told and has the configured verdict, never "no match".
//
// # Limits
//
// MessageTime bounds patterns that backtrack, maxHits the hits of a message,
// maxFindings those that are told one by one. As many messages at once as
// there are processors; a place more is for small ones alone (attacks I10).
package postfix

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/message"
	"garita/rules/pattern"
	tables "garita/rules/postfix"
)

// Name of the check.
const Name = "postfix"

// The symbols beside those of the tables, which are "postfix." and the
// parameter's name.
const (
	SymbolNesting    = "postfix.nesting"
	SymbolOverBudget = "postfix.over_budget"
)

const (
	// maxHits bounds the memory for one message: some 20 MB of the worst.
	maxHits = 100_000
	// maxFindings are told of one message, and those with a verdict.
	maxFindings = 20
	// maxEnvelope bounds the copies of one message.
	maxEnvelope = 20
	// maxText bounds hostile text in a finding.
	maxText = 200
	// timeout is for waiting and matching together.
	timeout = time.Minute
)

// Check is the check, apart from the list of checks.
type Check struct {
	t       *Tables
	options tables.Options
	time    time.Duration
	gate    *pattern.Gate
	hops    []string
	lanes   *filters.Lanes
	doubt   *filters.Doubt
	poison  filters.Poison
	now     func() time.Time
	// scan is that of package rules/postfix; tests make it fail.
	scan func([]byte, tables.Tables, tables.Options, *pattern.Budget) tables.Result
}

// New makes the check of tables that c.Read has read; with nil it reads them.
// Slow patterns wait at the gate, which may be nil.
func New(c Config, t *Tables, site filters.Site, gate *pattern.Gate) (filters.Check, error) {
	if t == nil {
		var errs []error
		if t, errs, _ = c.Read(site.NextHops); len(errs) > 0 {
			return filters.Check{}, fmt.Errorf("postfix: %w", errs[0])
		}
	}
	doubt, err := filters.NewDoubt(c.OverBudget)
	if err != nil {
		return filters.Check{}, fmt.Errorf("postfix: over_budget = %w", err)
	}
	k := &Check{
		t: t, time: c.MessageTime, gate: gate, hops: site.NextHops, doubt: doubt, poison: filters.Poison{Check: Name},
		options: tables.Options{NoMIME: c.DisableMIMEInputProcessing, WholeBody: c.WholeBody, KeepStray: c.KeepStrayCR, MaxHits: maxHits},
		lanes:   filters.NewLanes(runtime.GOMAXPROCS(0)), now: time.Now, scan: tables.Scan,
	}
	mode, _ := mail.ParseMode(c.Mode)
	return filters.Check{
		Name: Name, Impl: k, Mode: mode, Class: filters.Policy, OnError: filters.DeferOnError,
		IO: true, Cached: true, Timeout: timeout,
	}, nil
}

// CheckMessage asks the tables about the message.
func (k *Check) CheckMessage(ctx context.Context, tx *mail.Transaction) (res filters.Result, err error) {
	if !k.t.any() || tx.Message == nil || tx.Rewritten {
		return filters.Result{}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			res, err = k.poison.Crashed(tx.Message, p)
		}
	}()
	x, err := tx.Message.Index(ctx)
	if err != nil {
		return filters.Result{}, fmt.Errorf("postfix: %w", err)
	}
	leave, err := k.lanes.Enter(ctx, tx.Message.Size())
	if err != nil {
		return filters.Result{}, fmt.Errorf("postfix: %w", err)
	}
	defer leave()
	raw := x.Parts[0].Source.Data
	r := k.scan(raw, k.t.tables, k.options, pattern.NewBudget(k.time, k.now).Through(k.gate))
	return k.result(raw, r, tx)
}

// result makes of hits what the engine knows.
func (k *Check) result(raw []byte, r tables.Result, tx *mail.Transaction) (filters.Result, error) {
	s := &said{k: k, tx: tx}
	for i := range r.Hits {
		s.hit(&r.Hits[i])
	}
	s.end()
	header := tx.Message.HeaderEnd()
	for _, e := range edits(raw, r.Hits) {
		// A field that begins in the header ends there, too.
		if e.At < header && e.At+e.Delete <= header {
			s.res.Edits = append(s.res.Edits, e)
		} else {
			s.res.Rewrite = append(s.res.Rewrite, e)
		}
	}
	if r.TooDeep && len(k.t.tables.Header) > 0 {
		reply := mail.Permanent(550, "6.0", "The parts of the message are nested too deep")
		s.add(mail.Finding{Symbol: SymbolNesting, Verdict: mail.Reject, Reply: &reply, Detail: "boundaries are nested more than 100 deep"})
	}
	if r.OverBudget == 0 && !r.TooMany {
		return s.res, nil
	}
	f := mail.Finding{Symbol: SymbolOverBudget, Detail: fmt.Sprintf("%d look-ups were given up over their time", r.OverBudget)}
	if r.TooMany {
		f.Detail = fmt.Sprintf("the tables fire more than %d times: the rest was not looked at", maxHits)
	}
	var err error
	f.Verdict, f.Reply, err = k.doubt.About(tx.Message)
	s.add(f)
	return s.res, err
}

// edits are what hits change in the message, sorted and apart: rendered they
// are what tables.Edit gives, but for line ends, which are CRLF here, and the
// empty line that a body lacks, which the wire puts in.
func edits(raw []byte, hits []tables.Hit) (out []message.Edit) {
	for i := range hits {
		h := &hits[i]
		e := message.Edit{At: int64(h.Start)}
		switch h.Action {
		case tables.Prepend:
			e.Insert = append(lines(h.Text, h.View), "\r\n"...)
		case tables.Replace:
			e.Delete = int64(h.End - h.Start)
			e.Insert = lines(h.Text, h.View)
			if n := h.End; !h.GoesOn && raw[n-1] == '\n' {
				e.Insert = append(e.Insert, "\r\n"...)
			}
		case tables.Ignore, tables.Strip:
			e.Delete = int64(h.End - h.Start)
		default:
			continue
		}
		out = append(out, e)
	}
	return out
}

// lines makes text of a table, with what $n stands for, fit for a message: a
// folded field stays folded, and what would end the field does not (as
// cleanup_out_header(3) has it).
func lines(text string, v tables.View) []byte {
	out := make([]byte, 0, len(text)+2)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n' && v == tables.Body, c == '\r', c == 0:
			out = append(out, ' ')
		case c == '\n':
			out = append(out, "\r\n"...)
			if i+1 >= len(text) || text[i+1] != ' ' && text[i+1] != '\t' {
				out = append(out, '\t')
			}
		default:
			out = append(out, c)
		}
	}
	return out
}
