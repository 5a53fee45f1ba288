package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/resolver"
)

// world is a DNS whose zones answer as a test says; it has a cache for
// resolver.FromCache that never forgets.
type world struct {
	mu     sync.Mutex
	zones  map[string]func(name string) ([]netip.Addr, error)
	texts  map[string][]string
	cache  map[string]func() ([]netip.Addr, error)
	asked  []string
	waited func(ctx context.Context, name string) // before an answer
}

func newWorld() *world {
	return &world{zones: map[string]func(string) ([]netip.Addr, error){}, texts: map[string][]string{}, cache: map[string]func() ([]netip.Addr, error){}}
}

func (w *world) set(zone string, answer func(name string) ([]netip.Addr, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.zones[zone] = answer
}

func (w *world) count(part string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if strings.Contains(a, part) {
			n++
		}
	}
	return n
}

func (w *world) A(ctx context.Context, name string) ([]netip.Addr, error) {
	w.mu.Lock()
	kept := w.cache[name]
	if resolver.CacheOnly(ctx) || kept != nil {
		w.mu.Unlock()
		if kept == nil {
			return nil, resolver.ErrNotCached
		}
		return kept()
	}
	w.asked = append(w.asked, name)
	var answer func(string) ([]netip.Addr, error)
	for zone, f := range w.zones {
		if strings.HasSuffix(name, "."+zone) {
			answer = f
			name = strings.TrimSuffix(name, "."+zone)
			break
		}
	}
	waited := w.waited
	w.mu.Unlock()
	if waited != nil {
		waited(ctx, name)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: A %s: %w", resolver.ErrTemporary, name, err)
	}
	if answer == nil {
		return nil, resolver.ErrNoName
	}
	return answer(name)
}

// remember puts what is answered now into the cache.
func (w *world) remember(ctx context.Context, name string) {
	a, err := w.A(ctx, name)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cache[name] = func() ([]netip.Addr, error) { return a, err }
}

func (w *world) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	return w.A(ctx, name)
}
func (w *world) PTR(context.Context, netip.Addr) ([]string, error) { return nil, resolver.ErrNoName }
func (w *world) MX(context.Context, string) ([]resolver.MX, error) { return nil, resolver.ErrNoName }
func (w *world) TXT(_ context.Context, name string) ([]string, error) {
	if t := w.texts[name]; t != nil {
		return t, nil
	}
	return nil, resolver.ErrNotFound
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// honest is a list that is well: it has its test entries and those given, by
// the name in front of its zone.
func honest(entries ...string) func(string) ([]netip.Addr, error) {
	has := map[string]bool{"2.0.0.127": true, "test": true, "2.0.0.0.0.0.f.7.f.f.f.f" + strings.Repeat(".0", 20): true}
	for _, e := range entries {
		has[e] = true
	}
	return func(name string) ([]netip.Addr, error) {
		if has[name] {
			return []netip.Addr{addr("127.0.0.2")}, nil
		}
		return nil, resolver.ErrNoName
	}
}

// always answers everything with the same.
func always(addrs ...string) func(string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range addrs {
		out = append(out, addr(a))
	}
	return func(string) ([]netip.Addr, error) { return out, nil }
}

func nothing(string) ([]netip.Addr, error) { return nil, resolver.ErrNoName }

func silence(string) ([]netip.Addr, error) {
	return nil, fmt.Errorf("%w: secretkey.zone", resolver.ErrTemporary)
}

func v4(name string) List {
	return List{Name: name, Zone: name + ".example", Kinds: Address4, Weight: 3}
}

// kit is a monitor with its clock and what it told.
type kit struct {
	t      *testing.T
	w      *world
	m      *Monitor
	mu     sync.Mutex
	now    time.Time
	events []Event
	logged []string
}

func newKit(t *testing.T, o Options, zones ...List) *kit {
	t.Helper()
	k := &kit{t: t, w: newWorld(), now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	k.make(o, zones...)
	return k
}

func (k *kit) make(o Options, zones ...List) {
	k.t.Helper()
	o.Lists, o.Resolver = zones, k.w
	o.Now = func() time.Time { k.mu.Lock(); defer k.mu.Unlock(); return k.now }
	o.Alert = func(e Event) { k.mu.Lock(); k.events = append(k.events, e); k.mu.Unlock() }
	o.Log = func(text string, err error) {
		k.mu.Lock()
		k.logged = append(k.logged, fmt.Sprint(text, " ", err))
		k.mu.Unlock()
	}
	m, err := New(o)
	if err != nil {
		k.t.Fatal(err)
	}
	k.m = m
}

func (k *kit) move(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

// ask asks all lists about one address.
func (k *kit) ask(a string) Answers {
	k.t.Helper()
	var qs []Question
	for _, w := range k.m.Lists() {
		qs = append(qs, Question{List: w, Name: w.AddressNameOf(addr(a)), Subject: a})
	}
	out, err := k.m.Ask(k.t.Context(), qs, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

func (k *kit) want(i int, h Health, r Reason) {
	k.t.Helper()
	if s := k.m.Status()[i]; s.Health != h || s.Reason != r {
		k.t.Fatalf("%s is %s (%s, %s), want %s (%s)", s.Name, s.Health, s.Reason, s.Detail, h, r)
	}
}

func (k *kit) wantEvents(n int) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) != n || len(k.logged) != n {
		k.t.Fatalf("%d events, %d log lines, want %d: %+v %q", len(k.events), len(k.logged), n, k.events, k.logged)
	}
}
