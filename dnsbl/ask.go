package dnsbl

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"garita/resolver"
)

const (
	// confirmFor is how long a listing that was confirmed is believed, as long as
	// a cache keeps an answer; doubtFor how long one is doubted that was given
	// while the list was not well.
	confirmFor = time.Hour
	doubtFor   = 24 * time.Hour
	doubtful   = "the list said so while it was not well"
	// KnownGood is why a listing of a good peer is doubted.
	KnownGood = "the peer is known for good mail, and no other list has it"
)

// Question is what one list is asked.
type Question struct {
	List *Watched
	// Name is the whole name that is asked, of AddressNameOf and its like.
	Name string
	// Subject is the address or domain, for the trip-wires; hostile text.
	Subject string
	// Source is the client, whatever it is that is asked about; the zero address
	// is nobody in particular.
	Source netip.Addr
	// Good says that the peer is known for good mail: a listing is doubted
	// unless another list agrees.
	Good bool
}

// Answers are those to questions, in their order.
type Answers []Answer

// Ask asks all questions at once. Under resolver.FromCache it answers from
// memory alone, or with ErrNotCached, without effects. The end of ctx is the
// deadline: what has not come by then has failed. enough, if not nil, is asked
// after each answer whether the others can change anything any more.
func (m *Monitor) Ask(ctx context.Context, qs []Question, enough func(have Answers, asked []bool) bool) (Answers, error) {
	out, known := make(Answers, len(qs)), make([]bool, len(qs))
	cached := ctx
	if !resolver.CacheOnly(ctx) {
		cached = resolver.FromCache(ctx)
	}
	var missing []int
	for i := range qs {
		if out[i], known[i] = m.remembered(cached, &qs[i]); !known[i] {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 && resolver.CacheOnly(ctx) {
		return nil, resolver.ErrNotCached
	}
	if len(missing) > 0 {
		m.fetch(ctx, qs, out, known, missing, enough)
	}
	m.conclude(qs, out, known, missing)
	return out, nil
}

// remembered answers from memory; false: it has to be asked.
func (m *Monitor) remembered(cached context.Context, q *Question) (Answer, bool) {
	if q.List.health() == Suspended {
		return Answer{State: Skipped, Fault: "the list is suspended"}, true
	}
	addrs, err := m.o.Resolver.A(cached, q.Name)
	if errors.Is(err, resolver.ErrNotCached) {
		return Answer{}, false
	}
	a := q.List.Classify(addrs, err)
	if a.State == Listed {
		now := m.o.Now()
		q.List.mu.Lock()
		known, doubted := q.List.confirmed.has(q.Name, now), q.List.doubted.has(q.Name, now)
		q.List.mu.Unlock()
		switch {
		case doubted:
			a.State, a.Fault = Doubted, doubtful
		case !known && !q.List.Test.NoStranger:
			return Answer{}, false
		}
	}
	return q.List.onProbation(a), true
}

// onProbation takes what counts away while the list is on probation.
func (w *Watched) onProbation(a Answer) Answer {
	if a.State == Listed && w.health() != Healthy {
		a.State, a.Fault = Skipped, "the list is on probation"
	}
	return a
}

// fetch asks for what is missing.
func (m *Monitor) fetch(ctx context.Context, qs []Question, out Answers, known []bool, missing []int, enough func(Answers, []bool) bool) {
	if len(missing) == 1 {
		out[missing[0]], known[missing[0]] = m.one(ctx, &qs[missing[0]]), true
		return
	}
	type got struct {
		i int
		a Answer
	}
	ch := make(chan got, len(missing)) // who comes late holds nobody up
	for _, i := range missing {
		go func() { ch <- got{i, m.one(ctx, &qs[i])} }()
	}
	for n := range missing {
		g := <-ch // one heeds ctx
		out[g.i], known[g.i] = g.a, true
		if enough != nil && n+1 < len(missing) && enough(out, known) {
			break
		}
	}
	for _, i := range missing {
		if !known[i] {
			out[i] = Answer{State: Unknown, Fault: "not waited for"}
		}
	}
}

// one asks a list over the wire, and watches how it does.
func (m *Monitor) one(ctx context.Context, q *Question) Answer {
	w := q.List
	start := time.Now()
	a := w.Classify(m.o.Resolver.A(ctx, q.Name))
	took := time.Since(start)
	switch a.State {
	case Failed:
		if !errors.Is(ctx.Err(), context.Canceled) { // the client's going is no fault
			m.failed(w, took)
		}
		return a
	case Refused:
		m.suspend(w, Refuses, a.Fault)
		return a
	case Foreign:
		m.suspend(w, Parked, a.Fault)
		return a
	}
	m.answered(w, took)
	if a.State != Listed {
		return a
	}
	return w.onProbation(m.confirm(ctx, q, a))
}

// failed counts a question that was not answered.
func (m *Monitor) failed(w *Watched, took time.Duration) {
	w.mu.Lock()
	w.failures++
	over := w.failures >= maxFailures
	w.mu.Unlock()
	if over {
		m.suspend(w, Silent, "several questions in a row, the last after "+took.Round(100*time.Millisecond).String())
	}
}

// answered counts one that was, and whether it took long: a list that answers
// slowly holds up every mail (attacks D-19).
func (m *Monitor) answered(w *Watched, took time.Duration) {
	w.mu.Lock()
	w.failures = 0
	if took > slow {
		w.slow++
	} else {
		w.slow = 0
	}
	over := w.slow >= maxSlow
	w.mu.Unlock()
	if over {
		m.suspend(w, Silent, "several answers in a row took longer than "+slow.String())
	}
}

// confirm asks the same zone, now that it has listed something, for a name that
// nobody can have listed. One such question serves all who wait for one that
// began after their answer came. Only when it is denied does the listing count.
func (m *Monitor) confirm(ctx context.Context, q *Question, a Answer) Answer {
	w := q.List
	now := m.o.Now()
	w.mu.Lock()
	doubted := w.doubted.has(q.Name, now)
	need := w.turn + 1
	w.mu.Unlock()
	if doubted {
		a.State, a.Fault = Doubted, doubtful
		return a
	}
	if w.Test.NoStranger {
		return a
	}
	select {
	case w.lane <- struct{}{}:
	case <-ctx.Done():
		a.State, a.Fault = Failed, "no time to confirm the listing"
		return a
	}
	clean, failed := m.deny(ctx, w, need)
	<-w.lane
	w.mu.Lock()
	defer w.mu.Unlock()
	if clean {
		w.confirmed.add(q.Name, now.Add(confirmFor), now)
		return a
	}
	during := doubtFor
	if failed { // perhaps only our own DNS; a cache may have the answer as long as this
		during = confirmFor
	}
	w.doubted.add(q.Name, now.Add(during), now)
	a.State, a.Fault = Doubted, "the list did not deny a name that nobody can have listed"
	return a
}

// deny tells whether the zone denies a stranger's name, by a question that is
// at least that turn. The caller has the lane.
func (m *Monitor) deny(ctx context.Context, w *Watched, need uint64) (clean, failed bool) {
	w.mu.Lock()
	if w.done >= need {
		defer w.mu.Unlock()
		return w.clean, w.unsure
	}
	w.turn++
	turn := w.turn
	w.mu.Unlock()
	start := time.Now()
	b := w.Classify(m.o.Resolver.A(ctx, stranger(&w.List)))
	clean, failed = b.State == Clean && !b.Code.IsValid(), b.State == Failed
	w.mu.Lock()
	w.done, w.clean, w.unsure = turn, clean, failed
	w.mu.Unlock()
	switch {
	case clean:
	case failed:
		if !errors.Is(ctx.Err(), context.Canceled) {
			m.failed(w, time.Since(start))
		}
	case b.State == Refused:
		m.suspend(w, Refuses, b.Fault)
	case b.State == Foreign:
		m.suspend(w, Parked, b.Fault)
	default:
		m.suspend(w, Everything, "a name that nobody can have listed is listed ("+b.Code.String()+")")
	}
	return clean, failed
}

// conclude doubts listings of good peers that no other list confirms, and sets
// off the trip-wires.
func (m *Monitor) conclude(qs []Question, out Answers, known []bool, fetched []int) {
	was := make([]bool, len(qs)) // fetched
	for _, i := range fetched {
		was[i] = known[i]
	}
	now := m.o.Now()
	var room [16]bool
	listed := append(room[:0], make([]bool, len(qs))...)
	good := map[string]bool{}
	for i := range qs {
		listed[i] = out[i].State == Listed
		if listed[i] && out[i].Weight < 0 {
			good[qs[i].Subject] = true
		}
	}
	for i := range qs {
		w, a := qs[i].List, &out[i]
		confirmed, peer, jumped := false, false, false
		for j := 0; listed[i] && j < len(qs); j++ { // listings are few
			confirmed = confirmed || listed[j] && qs[i].Subject == qs[j].Subject && out[j].Weight > 0 && other(w, qs[j].List)
		}
		if listed[i] && a.Weight > 0 && !confirmed && (qs[i].Good || good[qs[i].Subject]) && !w.Shared {
			a.State, a.Fault = Doubted, KnownGood
			peer = true
		}
		w.mu.Lock()
		w.counts[a.State]++
		tripped := false
		if was[i] && !w.allow && w.now.Health == Healthy && (listed[i] || a.State == Clean) {
			jumped = w.wires.saw(qs[i].Source, listed[i], confirmed, now)
			tripped = peer && w.wires.peer(peerName(&qs[i]), now)
		}
		w.mu.Unlock()
		switch {
		case tripped:
			m.suspend(w, GoodPeers, "several of them within "+peersFor.String())
		case jumped:
			m.suspend(w, Jump, "of the last answers nearly all")
		}
	}
}

// other tells that two lists do not have the same data.
func other(a, b *Watched) bool {
	return a != b && (a.Group == "" || a.Group != b.Group)
}

// Bounds are the least and the most that an answer of the list can add.
func (w *Watched) Bounds() (low, high float64) { return w.low, w.high }
