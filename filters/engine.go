package filters

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/message"
)

// Config is what an engine is made of.
type Config struct {
	// Checks in the order in which they run and their findings are listed.
	Checks []Check
	// Mode is the global mode, asked at every stage; nil is always Enforce.
	// It lowers every check but the mandatory ones.
	Mode func() mail.Mode
	// Overrides change what a symbol means, by symbol.
	Overrides map[string]Override
	// Thresholds by direction; none for a direction means no decision by score.
	Thresholds map[mail.Direction]Thresholds
	// AtOnce answers decisions of connect, HELO and MAIL at their own stage.
	// By default they are answered at RCPT, so that the log has sender and
	// recipient and a recipient's exception works.
	AtOnce bool
	// Identity says who sends, before the checks of MAIL and of the message
	// look; nil: what the door has said stands as it is.
	Identity Identifier
	// Now is the clock for CheckRun.Took; nil is time.Now.
	Now func() time.Time
	// Fault hears of every error of a check, for the operator; stage 0 is
	// Finish. It must be safe for concurrent use. nil is silence.
	Fault func(check string, stage mail.Stage, err error)
}

// Identifier settles tx.Identity. Message may also add to tx.Edits what must
// not leave with the header; it is asked once for each message.
type Identifier interface {
	Mail(tx *mail.Transaction)
	Message(tx *mail.Transaction)
}

// Override is the operator's word on one symbol. It does not reach mandatory
// checks, and where a mode keeps a finding from counting at all (observe) it
// changes nothing.
type Override struct {
	// Verdict replaces the finding's own; one other than Continue decides
	// before every verdict that was not overridden. Accept is not allowed.
	Verdict *mail.Verdict
	// Score replaces the finding's own.
	Score *float64
}

// Thresholds are scores from which on something happens; 0 is never.
type Thresholds struct {
	Tag        float64 `toml:"tag" doc:"From this score on the message gets the header field X-Garita-Verdict: tag. 0: never."`
	Quarantine float64 `toml:"quarantine" doc:"From this score on the message is held (garita hold). 0: never."`
	Reject     float64 `toml:"reject" doc:"From this score on the message is refused. 0: never."`
}

// Validate gives every mistake, each naming its key.
func (t Thresholds) Validate() (errs []error) {
	last, name := 0.0, ""
	for _, one := range []struct {
		key   string
		score float64
	}{{"tag", t.Tag}, {"quarantine", t.Quarantine}, {"reject", t.Reject}} {
		switch {
		case math.IsNaN(one.score) || one.score < 0 || one.score > maxThreshold:
			errs = append(errs, fmt.Errorf("%s = %v: must be from 0 (never) to %d", one.key, one.score, maxThreshold))
		case one.score > 0 && one.score < last:
			errs = append(errs, fmt.Errorf("%s = %v: must not be less than %s = %v", one.key, one.score, name, last))
		case one.score > 0:
			last, name = one.score, one.key
		}
	}
	return errs
}

// maxThreshold is out of reach for every sum of scores that makes sense.
const maxThreshold = 1000

// DefaultThresholds tag and reject inbound mail where rspamd does, hold what
// lies between, and leave outbound mail to explicit verdicts.
func DefaultThresholds() map[mail.Direction]Thresholds {
	return map[mail.Direction]Thresholds{mail.In: {Tag: 6, Quarantine: 10, Reject: 15}}
}

// maxLate bounds the runs of one check that hang beyond their timeout.
const maxLate = 64

// maxRcptFindings bounds the findings about recipients in one transaction; a
// recipient beyond it gets 452.
const maxRcptFindings = 4096

// Engine runs checks and decides. It never changes after New and is safe for
// concurrent use; what it remembers of a session lies in the session.
type Engine struct {
	cfg    Config
	checks map[string]*check
	stages [mail.StageMessage + 1][]step
	async  [mail.StageMessage + 1]bool
	finish []*check
}

// check is a Check at work.
type check struct {
	Check
	late atomic.Int32 // runs that outlived their timeout and still hang
}

// step is a check's place in a stage.
type step struct {
	*check
	async bool  // I/O, or needs one that is
	needs []int // steps of the same stage, all earlier
}

// New builds an engine or says what is wrong with the list.
func New(cfg Config) (*Engine, error) {
	e := &Engine{cfg: cfg, checks: make(map[string]*check, len(cfg.Checks))}
	if e.cfg.Mode == nil {
		e.cfg.Mode = func() mail.Mode { return mail.Enforce }
	}
	if e.cfg.Now == nil {
		e.cfg.Now = time.Now
	}
	if e.cfg.Fault == nil {
		e.cfg.Fault = func(string, mail.Stage, error) {}
	}
	var errs []error
	for symbol, o := range cfg.Overrides {
		if o.Verdict != nil && *o.Verdict == mail.Accept {
			errs = append(errs, fmt.Errorf("filters: override of %s: accept is for access lists alone", symbol))
		}
	}
	for _, c := range cfg.Checks {
		if c.Name == "" || e.checks[c.Name] != nil {
			errs = append(errs, fmt.Errorf("filters: check name %q is empty or used twice", c.Name))
			continue
		}
		for _, n := range c.Needs {
			if e.checks[n] == nil {
				errs = append(errs, fmt.Errorf("filters: %s needs %s, which is not before it in the list", c.Name, n))
			}
		}
		if c.Timeout <= 0 {
			c.Timeout = DefaultTimeout
		}
		u := &check{Check: c}
		e.checks[c.Name] = u
		if !e.place(u) {
			errs = append(errs, fmt.Errorf("filters: %s has no method of any stage", c.Name))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return e, nil
}

// place puts a check into the stages that it implements.
func (e *Engine) place(u *check) bool {
	_, connect := u.Impl.(ConnectChecker)
	_, helo := u.Impl.(HeloChecker)
	_, mailFrom := u.Impl.(MailChecker)
	_, rcpt := u.Impl.(RcptChecker)
	_, data := u.Impl.(DataChecker)
	_, msg := u.Impl.(MessageChecker)
	_, fin := u.Impl.(Finisher)
	if fin {
		e.finish = append(e.finish, u)
	}
	some := fin
	for i, has := range []bool{connect, helo, mailFrom, rcpt, data, msg} {
		if !has {
			continue
		}
		some = true
		stage := mail.StageConnect + mail.Stage(i)
		st := step{check: u, async: u.IO}
		for j, before := range e.stages[stage] {
			if slices.Contains(u.Needs, before.Name) {
				st.needs = append(st.needs, j)
				st.async = st.async || before.async
			}
		}
		e.stages[stage] = append(e.stages[stage], st)
		e.async[stage] = e.async[stage] || st.async
	}
	return some
}

// sessionState is what the engine remembers of a session.
type sessionState struct {
	connect, helo []mail.Finding
}

// txState is what it remembers of a transaction. The runs of the usual few
// checks need no allocation of their own.
type txState struct {
	runs      []mail.CheckRun
	room      [12]mail.CheckRun
	envelope  []mail.EnvelopeEdit
	disarm    []message.Edit
	rewrite   []message.Edit
	rcptFinds int
	// auth is how many results there were before the stage of the message.
	auth int
	call call
}

func stateOf(s *mail.Session) *sessionState {
	st, ok := s.Scratch.(*sessionState)
	if !ok {
		st = &sessionState{}
		s.Scratch = st
	}
	return st
}

// begin gives the transaction's state, and on its first call the findings of
// the session to the transaction.
func begin(tx *mail.Transaction) *txState {
	st, ok := tx.Scratch.(*txState)
	if !ok {
		st = &txState{}
		st.runs = st.room[:0]
		tx.Scratch = st
		if ss, ok := tx.Session.Scratch.(*sessionState); ok && len(ss.connect)+len(ss.helo) > 0 {
			tx.Findings = append(append(tx.Findings, ss.connect...), ss.helo...)
		}
	}
	return st
}

// Connect runs the checks of a new connection.
func (e *Engine) Connect(ctx context.Context, s *mail.Session) mail.Decision {
	if len(e.stages[mail.StageConnect]) == 0 {
		return mail.Decision{}
	}
	st := stateOf(s)
	out := e.run(ctx, call{stage: mail.StageConnect, s: s}, acceptance{})
	st.connect = out.findings
	return e.early(out, s.ID, st.connect)
}

// Helo runs the checks of a HELO or EHLO.
func (e *Engine) Helo(ctx context.Context, s *mail.Session) mail.Decision {
	if len(e.stages[mail.StageHelo]) == 0 {
		return mail.Decision{}
	}
	st := stateOf(s)
	out := e.run(ctx, call{stage: mail.StageHelo, s: s}, e.accepted(st.connect))
	st.helo = out.findings
	return e.early(out, s.ID, st.connect, st.helo)
}

// Mail runs the checks of the reverse-path.
func (e *Engine) Mail(ctx context.Context, tx *mail.Transaction) mail.Decision {
	st := begin(tx)
	if e.cfg.Identity != nil {
		e.cfg.Identity.Mail(tx)
	}
	out := e.runTx(ctx, st, call{stage: mail.StageMail, s: tx.Session, tx: tx}, e.accepted(tx.Findings))
	tx.Findings = append(tx.Findings, out.findings...)
	return e.early(out, tx.ID, tx.Findings)
}

// early is the decision of a stage before RCPT: with AtOnce what it is, else
// a Continue that carries the findings for the log. A 421 is answered at once
// in any case: it ends the session, and nobody waits for its recipients.
func (e *Engine) early(out outcome, id string, all ...[]mail.Finding) mail.Decision {
	d := mail.Decision{Because: out.findings, Runs: out.runs}
	if !e.cfg.AtOnce && !slices.ContainsFunc(out.findings, ends) {
		return d
	}
	fs := slices.Concat(all...)
	r := e.judge(fs, e.accepted(fs), nil)
	if !e.cfg.AtOnce && (r.reply == nil || r.reply.Code != codeEnd) {
		return d // a mode or another finding has it otherwise
	}
	d.Verdict, d.Reply = answerable(r, id)
	d.Mandatory = r.mandatory
	d.Close = d.Reply.Code == codeEnd
	return d
}

// codeEnd is the reply with which a session ends (RFC 5321 section 3.8).
const codeEnd = 421

func ends(f mail.Finding) bool { return f.Reply != nil && f.Reply.Code == codeEnd }

// Rcpt runs the checks of one recipient and answers what was decided up to
// here. The wire adds a recipient to tx.ForwardPaths before the next call.
func (e *Engine) Rcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision {
	st := begin(tx)
	acc := e.accepted(tx.Findings)
	out := e.runTx(ctx, st, call{stage: mail.StageRcpt, s: tx.Session, tx: tx, rcpt: r}, acc)
	d := mail.Decision{Runs: out.runs}
	fs := tx.Findings
	if st.rcptFinds > 0 || len(out.findings) > 0 {
		// Findings about other recipients are none of this one's.
		fs = slices.DeleteFunc(slices.Clone(fs), func(f mail.Finding) bool { return f.Rcpt != nil })
		fs = append(fs, out.findings...)
	}
	acc.rcpt = e.accepts(out.findings)
	ruled := e.judge(fs, acc, nil)
	d.Score, d.Mandatory = ruled.score, ruled.mandatory
	d.Because = slices.Clip(fs)
	if d.Verdict, d.Reply = answerable(ruled, tx.ID); d.Verdict != mail.Continue {
		d.Close = d.Reply.Code == codeEnd
		return d
	}
	// One transaction, one policy class (design: promise 7): the end of data
	// has one answer, so who is treated otherwise must come on his own.
	full := st.rcptFinds+len(out.findings) > maxRcptFindings
	if full || len(tx.ForwardPaths) > 0 && e.class(out.findings) != e.classOf(tx, tx.ForwardPaths[0].Asked()) {
		d.Verdict = mail.Defer
		d.Reply = mail.Temporary(452, "5.3", "Too many recipients of different kinds, send separately")
		return d
	}
	if len(out.findings) > 0 {
		tx.Findings = append(tx.Findings, out.findings...)
		st.rcptFinds += len(out.findings)
	}
	return d
}

// Data runs the checks before 354.
func (e *Engine) Data(ctx context.Context, tx *mail.Transaction) mail.Decision {
	return e.whole(ctx, tx, mail.StageData)
}

// Message runs the checks of the whole message and decides by all stages.
func (e *Engine) Message(ctx context.Context, tx *mail.Transaction) mail.Decision {
	if e.cfg.Identity != nil {
		e.cfg.Identity.Message(tx)
	}
	return e.whole(ctx, tx, mail.StageMessage)
}

// whole is a stage after the recipients.
func (e *Engine) whole(ctx context.Context, tx *mail.Transaction, stage mail.Stage) mail.Decision {
	st := begin(tx)
	class, same := e.oneClass(tx, st)
	acc := e.accepted(tx.Findings)
	acc.rcpt = class.verdict == mail.Accept
	st.auth = len(tx.Auth)
	out := e.runTx(ctx, st, call{stage: stage, s: tx.Session, tx: tx}, acc)
	tx.Findings = append(tx.Findings, out.findings...)
	if stage == mail.StageData && len(tx.Findings) == 0 && same {
		return mail.Decision{Runs: out.runs}
	}
	acc.all = e.accepted(tx.Findings).all
	fs := relevant(tx, st)
	var limits *Thresholds
	if t, ok := e.cfg.Thresholds[tx.Direction]; ok && stage == mail.StageMessage {
		limits = &t
	}
	ruled := e.judge(fs, acc, limits)
	var edits places
	if stage == mail.StageMessage {
		edits = e.places(tx, st)
		if edits.leftOut > 0 {
			f := leftOut(edits.leftOut)
			tx.Findings, fs = append(tx.Findings, f), append(slices.Clip(fs), f)
		}
	}
	disarm, apart := e.disarming(st)
	if (!apart || collide(disarm, edits.body)) && rank(ruled) < rank(ruling{verdict: mail.Quarantine}) {
		f := conflict()
		tx.Findings, fs = append(tx.Findings, f), append(slices.Clip(fs), f)
		ruled.verdict, ruled.reply, ruled.by = mail.Quarantine, nil, &f
	}
	d := mail.Decision{Runs: out.runs, Score: ruled.score, Mandatory: ruled.mandatory, Because: e.marked(fs, acc)}
	if !same && rank(ruled) < rank(ruling{verdict: mail.Defer}) {
		ruled = ruling{verdict: mail.Defer, reply: ptr(mail.Temporary(451, "5.3", "Recipients of different kinds, send separately"))}
	}
	if stage == mail.StageData {
		d.Verdict, d.Reply = answerable(ruled, tx.ID)
		d.Close = d.Reply.Code == codeEnd
		return d
	}
	d.Verdict, d.Reply = ruled.verdict, ruled.answer(tx.ID)
	d.Close = d.Reply.Code == codeEnd
	d.Edits, d.Rewrite, d.Envelope, d.Disarm = edits.header, edits.body, st.envelope, disarm
	if ruled.tag {
		d.Edits = append([]message.Edit{tagField(ruled.score)}, d.Edits...)
	}
	return d
}

// relevant gives the findings that bear on the message: of recipients only
// those that were accepted in the end.
func relevant(tx *mail.Transaction, st *txState) []mail.Finding {
	if st.rcptFinds == 0 {
		return tx.Findings
	}
	return slices.DeleteFunc(slices.Clone(tx.Findings), func(f mail.Finding) bool {
		return f.Rcpt != nil && !slices.ContainsFunc(tx.ForwardPaths, func(r mail.Recipient) bool { return r.Asked() == f.Rcpt.Path })
	})
}

// marked copies the findings for the decision, with Counted telling the truth
// about an Accept.
func (e *Engine) marked(fs []mail.Finding, acc acceptance) []mail.Finding {
	if len(fs) == 0 {
		return nil
	}
	fs = slices.Clone(fs)
	for i := range fs {
		fs[i].Counted = fs[i].Counted && !acc.skips(e.classOfCheck(fs[i].Filter), &fs[i])
	}
	return fs
}

// Finish tells the checks how the transaction ended. Those with I/O run side
// by side, within their timeouts.
func (e *Engine) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) {
	if len(e.finish) > 0 {
		e.finishAll(ctx, tx, o)
	}
}

func (e *Engine) finishAll(ctx context.Context, tx *mail.Transaction, o mail.Outcome) {
	var wg sync.WaitGroup
	global := e.cfg.Mode()
	for _, u := range e.finish {
		if u.mode(global) == mail.Off {
			continue
		}
		if !u.IO {
			if _, err := u.guard(ctx, &call{tx: tx, s: tx.Session, end: &o}); err != nil {
				e.cfg.Fault(u.Name, 0, err)
			}
			continue
		}
		c := call{tx: tx, s: tx.Session, end: &o}
		c.detach()
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := u.within(ctx, &c); err != nil {
				e.cfg.Fault(u.Name, 0, err)
			}
		}()
	}
	wg.Wait()
}

// Closed forgets the session.
func (e *Engine) Closed(s *mail.Session) { s.Scratch = nil }

func ptr[T any](v T) *T { return &v }

// symbolError is the symbol of a check's fault.
func symbolError(name string) string { return name + ".error" }

func isFault(f *mail.Finding) bool { return strings.HasSuffix(f.Symbol, ".error") }
