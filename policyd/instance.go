package policyd

import (
	"container/list"
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
	answers map[string]mail.Decision // by state and recipient
	last    mail.Verdict
	ended   bool
}

// The order of the stages.
const (
	atConnect = iota + 1
	atHelo
	atMail
)

// begin makes the transaction.
func (i *instance) begin(p Policy, r *Request, c *conn) {
	s := r.session(c.peer)
	s.ID, s.Start = c.s.ids.Next(), c.s.now()
	i.policy, i.ended, i.reached, i.edits, i.answers, i.last = p, false, 0, 0, nil, mail.Continue
	i.early = mail.Decision{}
	i.tx = &mail.Transaction{Session: s, ID: s.ID, Direction: mail.In}
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
	key := state + " " + r.Recipient + " " + r.Sender
	if d, ok := i.answers[key]; ok {
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
	if i.answers == nil {
		i.answers = make(map[string]mail.Decision, 2)
	}
	if len(i.answers) < maxAnswers {
		i.answers[key] = mail.Decision{Verdict: d.Verdict, Reply: d.Reply, Close: d.Close}
	}
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
func (i *instance) finish() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended || i.tx == nil {
		return
	}
	i.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	o := mail.Outcome{Kind: mail.Refused}
	switch {
	case i.early.Verdict == mail.Discard || i.last == mail.Discard:
		o.Kind = mail.Discarded
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

// instances are the messages that were asked about lately.
type instances struct {
	mu   sync.Mutex
	byID map[string]*list.Element
	all  *list.List // of *instance, oldest first
}

func (n *instances) init() { n.byID, n.all = map[string]*list.Element{}, list.New() }

// get gives the message of that name; one without a name is always new.
func (n *instances) get(id string, now time.Time) *instance {
	if id == "" {
		return &instance{}
	}
	var old []*instance
	n.mu.Lock()
	for e := n.all.Front(); e != nil; e = n.all.Front() {
		// A clock that was set back makes nothing immortal: the number bounds it.
		if i := e.Value.(*instance); n.all.Len() >= maxInstances || now.Sub(i.born) > instanceAge {
			n.all.Remove(e)
			delete(n.byID, i.id)
			old = append(old, i)
			continue
		}
		break
	}
	e, ok := n.byID[id]
	if !ok {
		e = n.all.PushBack(&instance{id: id, born: now})
		n.byID[id] = e
	}
	n.mu.Unlock()
	for _, i := range old {
		i.finish()
	}
	return e.Value.(*instance)
}

// end forgets one.
func (n *instances) end(i *instance) {
	n.mu.Lock()
	if e, ok := n.byID[i.id]; ok && e.Value.(*instance) == i {
		n.all.Remove(e)
		delete(n.byID, i.id)
	}
	n.mu.Unlock()
	i.finish()
}

// endAll forgets all.
func (n *instances) endAll() {
	n.mu.Lock()
	var old []*instance
	for e := n.all.Front(); e != nil; e = e.Next() {
		old = append(old, e.Value.(*instance))
	}
	n.init()
	n.mu.Unlock()
	for _, i := range old {
		i.finish()
	}
}
