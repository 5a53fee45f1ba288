package policyd

import (
	"context"
	"sync"
	"time"

	"garita/mail"
)

const (
	// maxInstances bounds the messages that are remembered, 4 KB each or so.
	maxInstances = 4096
	// instanceAge is longer than a message takes from RCPT to its end.
	instanceAge = 15 * time.Minute
	// maxAnswers bounds the recipients of one message whose answers are kept.
	maxAnswers = 1000
)

// instance is one message, as Postfix names it: all that is asked with one
// value of the attribute.
type instance struct {
	id   string
	born time.Time

	mu      sync.Mutex
	policy  Policy // that judged it
	tx      *mail.Transaction
	asked   string // the recipient that was asked about last
	reached int    // which stages have been judged
	edits   int    // of tx.Edits, that were handed over
	early   mail.Decision
	// first is the first answer: mostly the only one. The others are in more.
	first answered
	more  map[question]given
	last  mail.Verdict
	ended bool
	// refused: at DATA or later, so nobody gets it.
	refused bool

	// What begin fills at first: most messages are asked about once, and an
	// instance is one allocation then.
	ownSession     mail.Session
	ownTransaction mail.Transaction

	before, after *instance // in the list of all, under its lock
}

// question is what an answer is remembered by.
type question struct{ state, recipient, sender string }

// given is what is remembered of an answer.
type given struct {
	verdict mail.Verdict
	reply   mail.Reply
	close   bool
}

type answered struct {
	question
	given
}

// remembered gives the answer to a question that was asked before.
func (i *instance) remembered(q question) (d mail.Decision, ok bool) {
	g := i.first.given
	if i.first.question != q {
		if g, ok = i.more[q]; !ok {
			return d, false
		}
	}
	return mail.Decision{Verdict: g.verdict, Reply: g.reply, Close: g.close}, true
}

func (i *instance) remember(q question, d *mail.Decision) {
	g := given{d.Verdict, d.Reply, d.Close}
	switch {
	case i.first.state == "":
		i.first = answered{q, g}
	case len(i.more) < maxAnswers-1:
		if i.more == nil {
			i.more = map[question]given{}
		}
		i.more[q] = g
	}
}

// The order of the stages.
const (
	atConnect = iota + 1
	atHelo
	atMail
)

// begin makes the transaction.
func (i *instance) begin(p Policy, r *Request, c *conn, now time.Time) {
	s, tx := &i.ownSession, &i.ownTransaction
	if i.tx != nil { // the engine may still hold what it judged before
		s, tx = new(mail.Session), new(mail.Transaction)
	}
	r.session(s, c.peer)
	s.ID, s.Start = c.s.ids.Next(), now
	i.policy, i.ended, i.refused, i.reached, i.edits, i.first, i.more, i.last = p, false, false, 0, 0, answered{}, nil, mail.Continue
	i.early = mail.Decision{}
	i.tx = tx
	tx.Session, tx.ID, tx.Direction = s, s.ID, mail.In
	if r.SASLUser != "" {
		i.tx.Direction = mail.Out
		i.tx.Identity = mail.Identity{User: r.SASLUser, Source: "policy"}
	}
}

// update takes what a later state knows better.
func (i *instance) update(r *Request) {
	if r.hasSender {
		i.tx.ReversePath = path(r.Sender)
	}
	if r.Size > 0 {
		i.tx.Params.Size = r.Size
	}
	if r.Helo != "" {
		i.tx.Helo = r.Helo
	}
	// By its queue id the wire knows the message again (XFORWARD IDENT): a limit
	// that has counted it here must not count it there.
	if r.QueueID != "" && r.SASLUser != "" {
		i.tx.Forwarded = &mail.Forwarded{Ident: r.QueueID}
	}
}

// ask asks the engine each stage once, in order, as far as the state goes. again
// tells that the answer is one that was given already.
func (i *instance) ask(ctx context.Context, state string, r *Request) (d mail.Decision, again bool) {
	i.asked = r.Recipient
	want := atMail
	switch state {
	case stateConnect:
		want = atConnect
	case stateEHLO, stateHELO:
		want = atHelo
	}
	if d, done := i.reach(ctx, want); done || want < atMail || state == stateMail {
		return d, false
	}
	q := question{state, r.Recipient, r.Sender}
	if d, ok := i.remembered(q); ok {
		return d, true
	}
	switch {
	case state == stateRcpt:
		d = i.rcpt(ctx, r)
	default:
		// Where it is asked only here, of the one recipient.
		if r.Recipient != "" && len(i.tx.ForwardPaths) == 0 {
			d = i.rcpt(ctx, r)
		}
		if d.Verdict == mail.Continue || d.Verdict == mail.Quarantine {
			d = i.policy.Data(ctx, i.tx)
		}
	}
	i.last = d.Verdict
	if state != stateRcpt && (d.Verdict == mail.Defer || d.Verdict == mail.Reject) {
		i.refused = true // all of it: what was counted is given back
	}
	i.remember(q, &d)
	return d, false
}

func (i *instance) rcpt(ctx context.Context, r *Request) mail.Decision {
	to := mail.Recipient{Path: path(r.Recipient)}
	d := i.policy.Rcpt(ctx, i.tx, to)
	if v := d.Verdict; (v == mail.Continue || v == mail.Accept || v == mail.Quarantine) && len(i.tx.ForwardPaths) < maxAnswers {
		i.tx.ForwardPaths = append(i.tx.ForwardPaths, to)
	}
	return d
}

// reach runs the stages up to one; done tells that one of them has decided.
func (i *instance) reach(ctx context.Context, want int) (d mail.Decision, done bool) {
	for i.reached < want {
		i.reached++
		switch i.reached {
		case atConnect:
			d = i.policy.Connect(ctx, i.tx.Session)
		case atHelo:
			d = i.policy.Helo(ctx, i.tx.Session)
		case atMail:
			d = i.policy.Mail(ctx, i.tx)
		}
		if d.Verdict == mail.Defer || d.Verdict == mail.Reject || d.Verdict == mail.Discard {
			i.early = d
		}
	}
	return i.early, i.early.Verdict != mail.Continue
}

// finish tells the engine how it ended, as far as that can be known here.
func (i *instance) finish(ctx context.Context) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended || i.tx == nil {
		return
	}
	i.ended = true
	o := mail.Outcome{Kind: mail.Refused}
	switch {
	case i.early.Verdict == mail.Discard || i.last == mail.Discard:
		o.Kind = mail.Discarded
	case i.refused:
	case len(i.tx.ForwardPaths) > 0:
		o.Kind = mail.Relayed
	case i.reached < atMail:
		o.Kind = mail.Aborted
	}
	if i.reached >= atMail {
		i.policy.Finish(ctx, i.tx, o)
	}
	i.policy.Closed(i.tx.Session)
}

// lease is a deadline that messages which end at the same time share: a timer
// for each would be a good part of what a request costs.
type lease struct {
	ctx    context.Context
	cancel context.CancelFunc // never called: its time ends it
	until  time.Time          // it is given out
}

// instances are the messages that were asked about lately.
type instances struct {
	mu    sync.Mutex
	byID  map[string]*instance
	ends  instance // of the ring: after it the oldest, before it the newest
	lease lease
}

func (n *instances) init() {
	n.byID = map[string]*instance{}
	n.ends.before, n.ends.after = &n.ends, &n.ends
}

// finishing is a context that ends within finishTime, and not before half of
// it. The caller has the lock.
func (n *instances) finishing() context.Context {
	if now := time.Now(); now.After(n.lease.until) {
		n.lease.until = now.Add(finishTime / 2)
		n.lease.ctx, n.lease.cancel = context.WithDeadline(context.Background(), now.Add(finishTime))
	}
	return n.lease.ctx
}

// drop takes one out. The caller has the lock.
func (n *instances) drop(i *instance) {
	delete(n.byID, i.id)
	i.before.after, i.after.before = i.after, i.before
	i.before, i.after = nil, nil
}

// get gives the message of that name; one without a name is always new.
func (n *instances) get(id string, now time.Time) *instance {
	if id == "" {
		return &instance{}
	}
	var old []*instance
	n.mu.Lock()
	for i := n.ends.after; i != &n.ends; i = n.ends.after {
		// A clock that was set back makes nothing immortal: the number bounds it.
		if len(n.byID) < maxInstances && now.Sub(i.born) <= instanceAge {
			break
		}
		n.drop(i)
		old = append(old, i)
	}
	i := n.byID[id]
	if i == nil {
		i = &instance{id: id, born: now, before: n.ends.before, after: &n.ends}
		i.before.after, n.ends.before = i, i
		n.byID[id] = i
	}
	n.finishAll(old)
	return i
}

// finishAll gives the lock back and finishes.
func (n *instances) finishAll(old []*instance) {
	if len(old) == 0 {
		n.mu.Unlock()
		return
	}
	ctx := n.finishing()
	n.mu.Unlock()
	for _, i := range old {
		i.finish(ctx)
	}
}

// end forgets one.
func (n *instances) end(i *instance) {
	n.mu.Lock()
	if n.byID[i.id] == i {
		n.drop(i)
	}
	ctx := n.finishing()
	n.mu.Unlock()
	i.finish(ctx)
}

// endAll forgets all.
func (n *instances) endAll() {
	n.mu.Lock()
	var old []*instance
	for i := n.ends.after; i != &n.ends; i = i.after {
		old = append(old, i)
	}
	n.init()
	n.finishAll(old)
}
