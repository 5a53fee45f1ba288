package conduct

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// table finds the bans of an address: networks by their exact value, once for
// each length of network that there is.
type table struct {
	n  atomic.Int64
	mu sync.RWMutex

	bans  map[netip.Prefix]*Ban
	bits  [2][129]int // bans of each length; IPv4, IPv6
	whose map[string]int
}

func family(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 1
	}
	return 0
}

func (t *table) empty() bool { return t.n.Load() == 0 }

func (t *table) add(b *Ban) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bans == nil {
		t.bans, t.whose = map[netip.Prefix]*Ban{}, map[string]int{}
	}
	if old := t.bans[b.Prefix]; old != nil {
		t.drop(old)
	}
	t.bans[b.Prefix] = b
	t.bits[family(b.Prefix)][b.Prefix.Bits()]++
	t.whose[b.By]++
	t.n.Add(1)
}

// drop is called under the lock.
func (t *table) drop(b *Ban) {
	delete(t.bans, b.Prefix)
	t.bits[family(b.Prefix)][b.Prefix.Bits()]--
	t.whose[b.By]--
	t.n.Add(-1)
}

// remove takes a ban out, if it is that one and not a newer.
func (t *table) remove(b *Ban) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bans[b.Prefix] == b {
		t.drop(b)
	}
}

func (t *table) get(p netip.Prefix) *Ban {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bans[p]
}

// of gives the bans that hold an address, the narrowest first.
func (t *table) of(a netip.Addr) []*Ban {
	t.mu.RLock()
	defer t.mu.RUnlock()
	bits := &t.bits[0]
	if a.Is6() {
		bits = &t.bits[1]
	}
	var found []*Ban
	for n := a.BitLen(); n >= 0; n-- {
		if bits[n] == 0 {
			continue
		}
		p, _ := a.Prefix(n)
		if b := t.bans[p]; b != nil {
			found = append(found, b)
		}
	}
	return found
}

func (t *table) count(by string) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.whose[by]
}

func (b *Ban) over(now time.Time) bool { return !b.Until.IsZero() && !b.Until.After(now) }

func (t *table) active(now time.Time) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := 0
	for _, b := range t.bans {
		if !b.over(now) {
			n++
		}
	}
	return n
}

// prune drops what is over and says how many.
func (t *table) prune(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, b := range t.bans {
		if b.over(now) {
			t.drop(b)
			n++
		}
	}
	return n
}

// soonest gives, of a sample of 16, our ban that ends first.
func (t *table) soonest() *Ban {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var best *Ban
	n := 0
	for _, b := range t.bans {
		if b.By != byConduct {
			continue
		}
		if best == nil || b.Until.Before(best.Until) {
			best = b
		}
		if n++; n == 16 {
			break
		}
	}
	return best
}

func (t *table) all() []Ban {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]Ban, 0, len(t.bans))
	for _, b := range t.bans {
		out = append(out, *b)
	}
	return slices.Clip(out)
}
