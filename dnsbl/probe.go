package dnsbl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"garita/resolver"
)

// probeTimeout is for one question of a probe.
const probeTimeout = 5 * time.Second

// ProbeDue probes the lists whose time has come.
func (m *Monitor) ProbeDue(ctx context.Context) {
	var group sync.WaitGroup
	now := m.o.Now()
	for _, w := range m.lists {
		w.mu.Lock()
		due := w.now.due()
		run := !w.probing && (due.IsZero() || !now.Before(due) || w.now.Probed.After(now))
		w.probing = w.probing || run
		w.mu.Unlock()
		if run {
			group.Go(func() { m.probe(ctx, w) })
		}
	}
	group.Wait()
}

// Probe probes all lists now.
func (m *Monitor) Probe(ctx context.Context) {
	var group sync.WaitGroup
	for _, w := range m.lists {
		group.Go(func() { m.probe(ctx, w) })
	}
	group.Wait()
}

// probe asks a list for its test entries and draws the consequences.
func (m *Monitor) probe(ctx context.Context, w *Watched) {
	why, detail := probeList(ctx, m.o.Resolver, &w.List)
	if ctx.Err() != nil { // the end, and no fault of the list
		w.mu.Lock()
		w.probing = false
		w.mu.Unlock()
		return
	}
	m.change(w, func(c *condition, now time.Time) (news bool) {
		w.probing = false
		if why != "" {
			news = c.fail(why, detail, now)
		} else {
			news = c.pass(now)
		}
		// Jitter goes into the time from which the next is counted.
		c.Probed = now.Add(jitter(time.Minute) - time.Minute)
		if c.Probed.After(now) {
			c.Probed = now
		}
		return news
	})
}

// probeList gives the worst thing that the test entries show; "" is none.
func probeList(ctx context.Context, r resolver.Resolver, l *List) (Reason, string) {
	type entry struct {
		name, shown string
		listed      bool
	}
	var entries []entry
	add := func(kind Kind, listed, set, usual string) {
		if set == "" {
			set = usual
		}
		if l.Kinds&kind == 0 || set == None {
			return
		}
		if n := testName(set, kind, l.zone()); n != "" {
			entries = append(entries, entry{n, set, listed == "listed"})
		}
	}
	add(Address4, "listed", l.Test.Listed4, "127.0.0.2")
	add(Address4, "clean", l.Test.Clean4, "127.0.0.1")
	add(Address6, "listed", l.Test.Listed6, "::ffff:7f00:2")
	add(Address6, "clean", l.Test.Clean6, "::ffff:7f00:1")
	add(Domains, "listed", l.Test.ListedName, "test")
	add(Domains, "clean", l.Test.CleanName, "invalid")
	if !l.Test.NoStranger {
		entries = append(entries, entry{stranger(l), "a name that nobody can have listed", false})
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	found := make([]struct {
		why    Reason
		detail string
	}, len(entries))
	var group sync.WaitGroup
	for i, e := range entries {
		group.Go(func() {
			start := time.Now()
			found[i].why, found[i].detail = verdict(l, e.shown, e.listed, func() Answer { return l.Classify(r.A(ctx, e.name)) })
			if took := time.Since(start); found[i].why == "" && took > slow {
				found[i].why, found[i].detail = Silent, fmt.Sprintf("%s took %s", e.shown, took.Round(100*time.Millisecond))
			}
		})
	}
	group.Wait()
	// What lists everything is the worst, what is silent the mildest.
	for _, reason := range []Reason{Everything, Parked, Refuses, Silent, Empty} {
		for _, f := range found {
			if f.why == reason {
				return f.why, f.detail
			}
		}
	}
	return "", ""
}

// verdict is what the answer about one test entry shows.
func verdict(l *List, shown string, listed bool, ask func() Answer) (Reason, string) {
	a := ask()
	switch a.State {
	case Failed:
		return Silent, shown + ": " + a.Fault
	case Refused:
		return Refuses, a.Fault
	case Foreign:
		return Parked, a.Fault
	case Listed:
		if !listed {
			return Everything, fmt.Sprintf("%s is listed (%s)", shown, a.Code)
		}
	default:
		// A code that has no meaning here is still an entry: the test entry of
		// some lists has one of its own.
		if listed && !a.Code.IsValid() {
			return Empty, shown + ", its test entry, is not listed"
		}
		if !listed && a.Code.IsValid() {
			return Everything, fmt.Sprintf("%s is listed (%s)", shown, a.Code)
		}
	}
	return "", ""
}

// stranger is a name that no honest list has and no cache has seen: an address
// of loopback, which never was on any wire, or a name in .invalid (RFC 2606).
func stranger(l *List) string {
	if l.Kinds&(Address4|Address6) == 0 {
		const letters = "abcdefghijklmnopqrstuvwxyz"
		var b strings.Builder
		for range 16 {
			b.WriteByte(letters[rand.N(len(letters))])
		}
		return DomainName(b.String()+".invalid", l.zone())
	}
	if l.Kinds&Address4 == 0 {
		// 0100::/64 is to be thrown away (RFC 6666).
		b := [16]byte{0: 1}
		for i := 8; i < 16; i++ {
			b[i] = byte(rand.Uint32())
		}
		return AddressName(netip.AddrFrom16(b), l.zone())
	}
	r := rand.Uint32()
	return AddressName(netip.AddrFrom4([4]byte{127, 128 | byte(r), byte(r >> 8), byte(r >> 16)}), l.zone())
}
