package resolver

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Mock is a Resolver for tests: what is in its maps, by names in lower case
// without final dot. A name that is in none of them does not exist. Fill it
// before its first use.
type Mock struct {
	Hosts map[string][]netip.Addr
	MXs   map[string][]MX
	TXTs  map[string][]string
	PTRs  map[netip.Addr][]string
	// Fails are the names, or addresses as text, whose look-ups fail.
	Fails map[string]bool
	// Cold has nothing for look-ups under FromCache.
	Cold bool

	mu    sync.Mutex
	asked []string
}

// Add takes a record as text: "mail.example A 192.0.2.1", "x.example MX 10
// mail.x.example", "x.example TXT words", "192.0.2.1 PTR mail.example",
// "broken.example fail". "x.example" alone exists and has no records.
func (m *Mock) Add(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	typ, value, _ := strings.Cut(rest, " ")
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	set(&m.Hosts, name)
	switch typ {
	case "":
	case "A", "AAAA":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return err
		}
		m.Hosts[name] = append(m.Hosts[name], a)
	case "MX":
		var mx MX
		if _, err := fmt.Sscanf(value, "%d %s", &mx.Preference, &mx.Host); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		set(&m.MXs, name, mx)
	case "TXT":
		set(&m.TXTs, name, value)
	case "PTR":
		a, err := netip.ParseAddr(name)
		if err != nil {
			return err
		}
		set(&m.PTRs, a, value)
	case "fail":
		if m.Fails == nil {
			m.Fails = map[string]bool{}
		}
		m.Fails[name] = true
	default:
		return fmt.Errorf("%q: no such type of record", line)
	}
	return nil
}

func set[K comparable, V any](to *map[K][]V, k K, v ...V) {
	if *to == nil {
		*to = map[K][]V{}
	}
	(*to)[k] = append((*to)[k], v...)
}

// Asked are the questions so far, as "MX x.example".
func (m *Mock) Asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

func ask[V any](ctx context.Context, m *Mock, typ, name string, from map[string][]V) ([]V, error) {
	m.mu.Lock()
	m.asked = append(m.asked, typ+" "+name)
	m.mu.Unlock()
	if m.Cold && onlyCached(ctx) {
		return nil, ErrNotCached
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	name, ok := canonical(name)
	if !ok {
		return nil, ErrNoName
	}
	if m.Fails[name] {
		return nil, fmt.Errorf("%w: %s %s", ErrTemporary, typ, name)
	}
	if vs := from[name]; len(vs) > 0 {
		return slices.Clone(vs), nil
	}
	_, host := m.Hosts[name]
	if !host && m.MXs[name] == nil && m.TXTs[name] == nil {
		return nil, ErrNoName
	}
	return nil, ErrNotFound
}

// A gives the IPv4 addresses.
func (m *Mock) A(ctx context.Context, name string) ([]netip.Addr, error) {
	all, err := ask(ctx, m, "A", name, m.Hosts)
	all = slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.Is4() })
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	return all, err
}

// Addresses gives all addresses.
func (m *Mock) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	return ask(ctx, m, "A+AAAA", name, m.Hosts)
}

// PTR gives the names of an address.
func (m *Mock) PTR(ctx context.Context, a netip.Addr) ([]string, error) {
	if m.Cold && onlyCached(ctx) {
		return nil, ErrNotCached
	}
	if m.Fails[a.String()] || ctx.Err() != nil {
		return nil, fmt.Errorf("%w: PTR %s", ErrTemporary, a)
	}
	if names := m.PTRs[a.Unmap()]; len(names) > 0 {
		return slices.Clone(names), nil
	}
	return nil, ErrNoName
}

// MX gives the exchangers.
func (m *Mock) MX(ctx context.Context, name string) ([]MX, error) {
	all, err := ask(ctx, m, "MX", name, m.MXs)
	slices.SortStableFunc(all, func(a, b MX) int { return cmp.Compare(a.Preference, b.Preference) })
	return all, err
}

// TXT gives the texts.
func (m *Mock) TXT(ctx context.Context, name string) ([]string, error) {
	return ask(ctx, m, "TXT", name, m.TXTs)
}

// HostName is the function of that name, asked here.
func (m *Mock) HostName(ctx context.Context, addr netip.Addr) (name string, confirmed bool, err error) {
	return HostName(ctx, m, addr)
}

var (
	_ Resolver = (*Mock)(nil)
	_ Resolver = (*DNS)(nil)
)
