package filters

import (
	"fmt"
	"strconv"
	"strings"

	"garita/mail"
	"garita/message"
)

// acceptance is which Accepts are in force.
type acceptance struct {
	all  bool // of the client, the HELO name or the sender
	rcpt bool // of the recipient
}

// skips tells that a finding does not count.
func (a acceptance) skips(c Class, f *mail.Finding) bool {
	switch c {
	case Scoring:
		return a.all || a.rcpt
	case Policy:
		return a.rcpt && f.Rcpt == nil && f.Stage < mail.StageRcpt
	}
	return false
}

// skipsCheck tells that a check need not run.
func (a acceptance) skipsCheck(c Class, stage mail.Stage) bool {
	return c == Scoring && (a.all || a.rcpt)
}

// accepted looks for Accepts about the whole transaction.
func (e *Engine) accepted(fs []mail.Finding) acceptance {
	for i := range fs {
		if fs[i].Rcpt == nil && fs[i].Verdict == mail.Accept && e.verdict(&fs[i]) == mail.Accept {
			return acceptance{all: true}
		}
	}
	return acceptance{}
}

// accepts looks for any Accept.
func (e *Engine) accepts(fs []mail.Finding) bool {
	for i := range fs {
		if e.verdict(&fs[i]) == mail.Accept {
			return true
		}
	}
	return false
}

func (e *Engine) classOfCheck(name string) Class {
	if u := e.checks[name]; u != nil {
		return u.Class
	}
	return Scoring
}

// counts tells that modes, as recorded and as they are now, let it count.
func (e *Engine) counts(f *mail.Finding) bool {
	return e.classOfCheck(f.Filter) == Mandatory || f.Counted && e.cfg.Mode() < mail.Observe
}

// verdict is the explicit verdict of a finding by mode and override.
func (e *Engine) verdict(f *mail.Finding) mail.Verdict {
	if e.classOfCheck(f.Filter) == Mandatory {
		return f.Verdict
	}
	if !e.counts(f) {
		return mail.Continue
	}
	if o, ok := e.cfg.Overrides[f.Symbol]; ok && o.Verdict != nil {
		return *o.Verdict
	}
	if max(f.Mode, e.cfg.Mode()) == mail.Enforce {
		return f.Verdict
	}
	return mail.Continue
}

// ruling is the outcome of judge.
type ruling struct {
	verdict mail.Verdict
	final   bool
	reply   *mail.Reply
	by      *mail.Finding // nil: the score
	score   float64
	tag     bool
	// mandatory: a mandatory check has a verdict, whoever speaks in the end.
	mandatory bool
}

// rank orders verdicts: Reject > Defer > final Discard > Quarantine > Discard.
func rank(r ruling) int {
	switch r.verdict {
	case mail.Reject:
		return 5
	case mail.Defer:
		return 4
	case mail.Quarantine:
		return 2
	case mail.Discard:
		if r.final {
			return 3
		}
		return 1
	}
	return 0
}

// judge decides: overrides of the operator, then explicit verdicts, then the
// score against the limits (nil before the message is there); a mandatory
// check's verdict stands whatever the rest says. Of equals the first in list
// order speaks.
func (e *Engine) judge(fs []mail.Finding, acc acceptance, limits *Thresholds) ruling {
	var mandatory, override, explicit ruling
	var score float64
	for i := range fs {
		f := &fs[i]
		class := e.classOfCheck(f.Filter)
		if !e.counts(f) || acc.skips(class, f) {
			continue
		}
		r := ruling{verdict: e.verdict(f), final: f.Final, reply: f.Reply, by: f}
		o, overridden := e.cfg.Overrides[f.Symbol]
		tier := &explicit
		switch {
		case class == Mandatory:
			tier, overridden = &mandatory, false
		case overridden && o.Verdict != nil:
			tier = &override
		}
		if rank(r) > rank(*tier) {
			*tier = r
		}
		score += e.score(fs, i, overridden)
	}
	out := override
	if rank(out) == 0 {
		out = explicit
	}
	if rank(out) == 0 && limits != nil {
		out = byScore(score, *limits)
	}
	if rank(mandatory) > rank(out) {
		out = mandatory
	}
	out.score, out.mandatory = score, rank(mandatory) > 0
	return out
}

// score is what finding i adds. The same symbol about several recipients adds
// the highest of its scores once: mail to ten people is not ten times as bad.
func (e *Engine) score(fs []mail.Finding, i int, overridden bool) float64 {
	f := &fs[i]
	own := func(f *mail.Finding) float64 {
		if o := e.cfg.Overrides[f.Symbol]; overridden && o.Score != nil {
			return *o.Score
		}
		return f.Score
	}
	if f.Rcpt == nil {
		return own(f)
	}
	added := own(f)
	for j := range i {
		if g := &fs[j]; g.Rcpt != nil && g.Symbol == f.Symbol && e.counts(g) {
			added = min(added, max(own(f)-own(g), 0))
		}
	}
	return added
}

func byScore(score float64, t Thresholds) ruling {
	switch {
	case t.Reject > 0 && score >= t.Reject:
		return ruling{verdict: mail.Reject}
	case t.Quarantine > 0 && score >= t.Quarantine:
		return ruling{verdict: mail.Quarantine}
	case t.Tag > 0 && score >= t.Tag:
		return ruling{tag: true}
	}
	return ruling{}
}

// policyClass is how a recipient is treated apart from others.
type policyClass struct {
	verdict mail.Verdict
	final   bool
}

// class is the policy class that findings about one recipient give.
func (e *Engine) class(fs []mail.Finding) policyClass {
	var top ruling
	for i := range fs {
		v := e.verdict(&fs[i])
		if v == mail.Accept {
			return policyClass{verdict: v}
		}
		if r := (ruling{verdict: v, final: v == mail.Discard && fs[i].Final}); rank(r) > rank(top) {
			top = r
		}
	}
	return policyClass{top.verdict, top.final}
}

func (e *Engine) classOf(tx *mail.Transaction, p mail.Path) policyClass {
	var own []mail.Finding
	for _, f := range tx.Findings {
		if f.Rcpt != nil && f.Rcpt.Path == p {
			own = append(own, f)
		}
	}
	return e.class(own)
}

// oneClass is the class of all accepted recipients. Rcpt sees to it that they
// have one; this is for a wire that asked in another order or a mode that
// changed meanwhile: nobody's mail is dropped by another's rule.
func (e *Engine) oneClass(tx *mail.Transaction, st *txState) (policyClass, bool) {
	if st.rcptFinds == 0 || len(tx.ForwardPaths) == 0 {
		return policyClass{}, true
	}
	first := e.classOf(tx, tx.ForwardPaths[0].Asked())
	for _, r := range tx.ForwardPaths[1:] {
		if e.classOf(tx, r.Asked()) != first {
			return policyClass{}, false
		}
	}
	return first, true
}

// answerable is the ruling as it can be answered before the message is there:
// what holds or discards waits for the end of data.
func answerable(r ruling, id string) (mail.Verdict, mail.Reply) {
	if r.verdict == mail.Reject || r.verdict == mail.Defer {
		return r.verdict, r.answer(id)
	}
	return mail.Continue, mail.Reply{}
}

// answer is the reply to the client: the check's own if it is of the right
// class and clean, else a general one with symbol and id to look up. The fault
// of a check shows the id alone.
func (r ruling) answer(id string) mail.Reply {
	tag := "score"
	if r.by != nil {
		tag = r.by.Symbol
	}
	switch r.verdict {
	case mail.Reject:
		if r.reply != nil && r.reply.Permanent() && clean(r.reply.Text) {
			return *r.reply
		}
		return mail.Permanent(554, "7.1", "Refused by policy ["+tag+" "+id+"]")
	case mail.Defer:
		if r.reply != nil && r.reply.Temporary() && clean(r.reply.Text) {
			return *r.reply
		}
		if r.by != nil && isFault(r.by) {
			return mail.Temporary(451, "3.0", "Temporary failure, try again later ["+id+"]")
		}
		return mail.Temporary(451, "7.1", "Try again later ["+tag+" "+id+"]")
	}
	return mail.Reply{}
}

func clean(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\n' || r > '~' }) < 0
}

// tagField is the header field of a message above the tag threshold.
func tagField(score float64) message.Edit {
	return message.Edit{Insert: fmt.Appendf(nil, "X-Garita-Verdict: tag; score=%s\r\n", strconv.FormatFloat(score, 'f', 1, 64))}
}
