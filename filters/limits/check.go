package limits

import (
	"context"
	"fmt"
	"strings"
	"time"

	"garita/filters"
	"garita/identity"
	"garita/mail"
	"garita/store"
	"garita/users"
)

// storeWait bounds what a release waits for the store; a message waits as long
// as the store lets it, which is bounded there.
const storeWait = 2 * time.Second

// CheckRcpt counts the recipients that are asked for: those that are not in the
// envelope in the end were refused.
func (l *Limits) CheckRcpt(_ context.Context, tx *mail.Transaction, _ mail.Recipient) (filters.Result, error) {
	if tx.Direction == mail.Out || tx.Identity.User != "" {
		l.mu.Lock()
		p := l.pending[tx.ID]
		if p == nil {
			p = &pending{}
			l.pending[tx.ID] = p
		}
		p.asked++
		l.mu.Unlock()
	}
	return filters.Result{}, nil
}

// CheckData is for the policy server, which sees no message: there it counts,
// or asks, at DATA.
func (l *Limits) CheckData(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	if tx.Identity.Source != identity.SourcePolicy {
		return filters.Result{}, nil
	}
	return l.CheckMessage(ctx, tx)
}

// CheckMessage counts the message.
func (l *Limits) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	if tx.Direction != mail.Out && tx.Identity.User == "" {
		return filters.Result{}, nil
	}
	l.mu.Lock()
	p := l.pending[tx.ID]
	if p == nil {
		p = &pending{}
		l.pending[tx.ID] = p
	}
	l.mu.Unlock()
	if p.counted {
		return p.result, nil // the second look at what disarming has left
	}
	p.counted = true
	var err error
	p.result, err = l.count(ctx, tx, p)
	return p.result, err
}

func (l *Limits) count(ctx context.Context, tx *mail.Transaction, p *pending) (filters.Result, error) {
	w, ok := l.whoOf(tx.Identity, tx.ReversePath.IsNull())
	if !ok {
		return l.nobodys(ctx, tx, p)
	}
	p.who = w
	var size int64
	if tx.Message != nil {
		size = tx.Message.Size()
	}
	a, fresh, err := l.prepare(ctx, w, address(tx), tx.ForwardPaths, size)
	if err != nil || len(a.windows) == 0 {
		return filters.Result{}, err
	}
	if l.countedAtDoor(ctx, tx, p) {
		return filters.Result{}, nil
	}
	if atDoor(tx) && l.cfg.CountAt == "wire" {
		for i := range a.windows {
			a.windows[i].Cost = 0 // the wire counts; here it is only asked
		}
	}
	res, used, err := l.o.Store.Reserve(ctx, a.windows)
	if err != nil {
		return filters.Result{}, err
	}
	if at := full(a, used); at >= 0 || res == nil {
		if res != nil {
			res.Refund()
		}
		return l.over(ctx, tx, p, a, used, max(at, 0)), nil
	}
	p.res, p.fresh = res, fresh
	l.mark(ctx, tx, p)
	l.near(a, used)
	return filters.Result{}, nil
}

func address(tx *mail.Transaction) string {
	if tx.Client.IsValid() {
		return tx.Client.Addr().Unmap().String()
	}
	return ""
}

// over is a message for which there is no room.
func (l *Limits) over(_ context.Context, tx *mail.Transaction, p *pending, a *act, used []store.Usage, at int) filters.Result {
	s := a.of[at]
	l.tell(Event{Over, s.who, s.limit, used[at].Used, l.cfg.Mode})
	if p.who.proven && l.cfg.SuspendAt > 0 && l.verdict != mail.Defer {
		for i := range used {
			// A door that only asks has no costs in its windows; what it refuses never
			// comes to the wire, so it is counted here all the same.
			if cost := a.costs[a.of[i].limit.Kind]; a.of[i].symbol == SymbolUser && cost > 0 && noRoom(a, used, i) {
				p.excess = append(p.excess, store.Window{Key: "x" + a.windows[i].Key, Span: a.windows[i].Span, Cost: cost, Buckets: buckets})
				p.limits = append(p.limits, a.of[i].limit)
			}
		}
	}
	f := mail.Finding{Symbol: s.symbol, Verdict: l.verdict,
		Detail: fmt.Sprintf("%s is over %s: %d used; user %s by %s", s.who, s.limit, used[at].Used, tx.Identity.User, tx.Identity.Source)}
	if l.verdict != mail.Quarantine {
		f.Reply = &l.reply
	}
	return filters.Found(f)
}

// near warns once when a user's window passes its share.
func (l *Limits) near(a *act, used []store.Usage) {
	if l.cfg.WarnAt <= 0 {
		return
	}
	for i := range used {
		if a.of[i].symbol != SymbolUser || used[i].Max <= 0 || a.windows[i].Cost == 0 {
			continue
		}
		mark := max(int64(float64(used[i].Max)*l.cfg.WarnAt), 1)
		if used[i].Used >= mark && used[i].Used-a.windows[i].Cost < mark {
			l.tell(Event{Warned, a.of[i].who, a.of[i].limit, used[i].Used, l.cfg.Mode})
		}
	}
}

// tell says the same of the same at most once in ten minutes.
func (l *Limits) tell(e Event) {
	if l.o.Memory.due(string(e.Kind)+"/"+e.Who+"/"+e.Limit.String(), l.o.Now()) {
		l.o.Event(e)
	}
}

// nullSender and Elsewhere stand for domains in an Event: of mail without a
// sender, and of all that are not ours together.
const (
	nullSender = "<>"
	Elsewhere  = "other domains"
)

// nobodys counts outbound mail without a user against the ceiling of its
// domain. It holds nothing: there is nobody whom it could teach.
func (l *Limits) nobodys(ctx context.Context, tx *mail.Transaction, p *pending) (filters.Result, error) {
	if atDoor(tx) && l.cfg.CountAt == "wire" || l.countedAtDoor(ctx, tx, p) {
		return filters.Result{}, nil
	}
	domain := nullSender
	if !tx.ReversePath.IsNull() {
		domain = tx.ReversePath.DomainKey()
		if len(l.ours) > 0 && !l.ours[domain] {
			domain = Elsewhere // else who makes up domains never meets a ceiling, nor the store an end
		}
	}
	a := newAct()
	a.costs[Messages], a.costs[Recipients] = 1, int64(len(tx.ForwardPaths))
	if tx.Message != nil {
		a.costs[Bytes] = tx.Message.Size()
	}
	a.add(SymbolUnknown, domain, "limits/unknown/"+domain, l.unknown)
	if len(a.windows) == 0 {
		return filters.Result{}, nil
	}
	_, used, err := l.o.Store.Reserve(ctx, a.windows)
	if err != nil {
		return filters.Result{}, err
	}
	l.mark(ctx, tx, p)
	if at := full(a, used); at >= 0 {
		l.tell(Event{Unknown, domain, a.of[at].limit, used[at].Used, l.cfg.Mode})
		return filters.Found(mail.Finding{Symbol: SymbolUnknown, Mode: mail.Observe,
			Detail: fmt.Sprintf("mail of %s whose user is not known is over %s", domain, a.of[at].limit)}), nil
	}
	return filters.Result{}, nil
}

// Finish commits what was relayed and gives the rest back.
func (l *Limits) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) error {
	l.note(tx, o)
	l.mu.Lock()
	p := l.pending[tx.ID]
	delete(l.pending, tx.ID)
	l.mu.Unlock()
	if p == nil {
		return nil
	}
	// A door never hears of the end of what it let pass.
	done := o.Kind == mail.Relayed || o.Kind == mail.Ambiguous || atDoor(tx) && o.Kind != mail.Refused && o.Kind != mail.Held && o.Kind != mail.Discarded
	var err error
	if p.res != nil {
		if done {
			p.res.Commit()
			for _, key := range p.fresh {
				if e := l.o.Store.Put(ctx, key, []byte{1}, l.cfg.NewFor); e != nil {
					err = e
				}
			}
		} else {
			p.res.Refund()
			for _, key := range p.door {
				l.o.Store.Delete(ctx, key)
			}
		}
	}
	l.refused(ctx, tx, p, o)
	// In observe mode, and under a bypass, it went out all the same: then
	// nobody is suspended for it.
	if len(p.excess) > 0 && !done && (o.Kind == mail.Held || o.Kind == mail.Refused) {
		l.exceeded(ctx, p)
	}
	return err
}

// refused counts recipients that were asked for and not accepted.
func (l *Limits) refused(ctx context.Context, tx *mail.Transaction, p *pending, o mail.Outcome) {
	n := p.asked - len(tx.ForwardPaths)
	if o.Kind == mail.Refused && strings.HasPrefix(o.NextHopReply, "5") {
		n += len(tx.ForwardPaths)
	}
	if n <= 0 || atDoor(tx) {
		return
	}
	w := p.who
	if w.user == "" {
		var ok bool
		if w, ok = l.whoOf(tx.Identity, tx.ReversePath.IsNull()); !ok {
			return
		}
	}
	a := newAct()
	a.costs[Refusals] = int64(n)
	for _, lim := range l.limitsOf(w.user) {
		if lim.Kind == Refusals {
			a.add(SymbolUser, w.user, w.key, []Limit{{Refusals, 0, lim.Span}}) // they happened: counted in any case
		}
	}
	if len(a.windows) > 0 {
		if _, _, err := l.o.Store.Reserve(ctx, a.windows); err != nil {
			l.o.Log("refused recipients could not be counted", err)
		}
	}
}

// exceeded counts what went over, and suspends at suspend_at times the limit.
func (l *Limits) exceeded(ctx context.Context, p *pending) {
	_, used, err := l.o.Store.Reserve(ctx, p.excess)
	if err != nil {
		l.o.Log("what is over a limit could not be counted", err)
		return
	}
	for i := range used {
		lim := p.limits[i]
		if float64(used[i].Used) < (l.cfg.SuspendAt-1)*float64(lim.Max) {
			continue
		}
		if _, already := l.o.Users.Suspended(p.who.user); already || l.o.Users == nil {
			return
		}
		total := lim.Max + used[i].Used
		_, err := l.o.Users.Suspend(ctx, users.Suspension{User: p.who.user, By: Name,
			Reason: fmt.Sprintf("%d %s in %s, the limit is %d", total, lim.Kind, spanText(lim.Span), lim.Max)})
		if err != nil {
			l.o.Log("a user far over a limit could not be suspended for good", err)
		}
		l.Bad(l.o.Now()) // until now it left
		l.tell(Event{Suspended, p.who.user, lim, total, l.cfg.Mode})
		return
	}
}

// Room takes room for a held message that is to be released now, as if it were
// sent now; nil when there is none, or its user is suspended or not known.
func (l *Limits) Room(ctx context.Context, id mail.Identity, null bool, rcpts []mail.Recipient, size int64) (store.Reservation, error) {
	if l.cfg.Mode != "enforce" {
		return nil, nil
	}
	if _, stopped := l.o.Users.Suspended(id.User); stopped {
		return nil, nil
	}
	w, ok := l.whoOf(id, null)
	if !ok {
		return nil, nil
	}
	a, fresh, err := l.prepare(ctx, w, "", rcpts, size)
	if err != nil {
		return nil, err
	}
	res, used, err := l.o.Store.Reserve(ctx, a.windows)
	if err != nil || res == nil {
		return nil, err
	}
	if full(a, used) >= 0 {
		res.Refund()
		return nil, nil
	}
	return &drip{res, l, fresh}, nil
}

// drip is a reservation that also remembers the recipients.
type drip struct {
	store.Reservation
	l     *Limits
	fresh []string
}

func (d *drip) Commit() {
	d.Reservation.Commit()
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	for _, key := range d.fresh {
		if err := d.l.o.Store.Put(ctx, key, []byte{1}, d.l.cfg.NewFor); err != nil {
			d.l.o.Log("a recipient could not be written down", err)
			return
		}
	}
}

// DripRate is how many held messages are to be released a minute.
func (l *Limits) DripRate() int {
	if l == nil || l.cfg.Mode != "enforce" || l.cfg.Action != "hold" {
		return 0
	}
	return l.cfg.DripRate
}

// Notifies tells that users are told when their mail is held over a limit.
func (l *Limits) Notifies() bool {
	return l != nil && l.cfg.NotifyUsers && l.cfg.Mode == "enforce" && l.cfg.Action == "hold"
}
