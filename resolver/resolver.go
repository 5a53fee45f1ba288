// Package resolver is Garita's DNS: what checks ask, and the resolver that
// answers them over a cache (RFC 1035, 2181, 2308, 6891).
//
// It is a stub resolver: it asks the configured servers, which do the
// recursion, and believes no DNSSEC bit. Every answer is one of three things:
// records, "there is none" (ErrNotFound, which is as good as an answer), or a
// failure (ErrTemporary), which says nothing about the name. No caller may
// take the third for the second.
//
// A blind attacker must guess the port of one of many short-lived sockets, the
// id and the question; what does not fit is not read as an answer, and after a
// few such packets TCP decides (RFC 5452). The kernel chooses the ports, ids
// come from the system's source of secrets, and a question has its socket for
// itself: one that is changed after 16 questions or a minute, taken by chance
// out of Config.Sockets, and connected, so that the address must fit too. A server that is silent is left
// alone for a while, found out with a question of our own: a stranger's broken
// zone cannot take the DNS away from everybody.
//
// It does not search domains, read /etc/hosts, or ask anything but the names
// that callers give. It fails towards ErrTemporary.
//
// # Limits
//
// A name has 253 octets, labels of letters, digits, hyphen and underscore; any
// other name is answered with ErrNoName unasked. Of an answer 64 records are
// kept, of a CNAME chain 8 links, of a TXT record 16 KB. The cache has
// Config.CacheEntries answers of 512 octets each on average. At most
// Config.MaxInFlight questions are on their way, a quarter of them for one
// domain, and eight times as many wait;
// no look-up takes longer than Config.Budget.
package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// The ways not to get records.
var (
	// ErrNotFound: the name does not exist, or has no such records.
	ErrNotFound = errors.New("no such record")
	// ErrNoName is the ErrNotFound of a name that does not exist at all
	// (NXDOMAIN, RFC 8020): it has no records of any type.
	ErrNoName = fmt.Errorf("%w: no such name", ErrNotFound)
	// ErrTemporary: no server gave an answer that could be used.
	ErrTemporary = errors.New("temporary DNS failure")
	// ErrNotCached is the ErrTemporary of a look-up under FromCache that
	// would have had to ask.
	ErrNotCached = fmt.Errorf("%w: not in the cache", ErrTemporary)
)

// MX is one mail exchanger. A null MX (RFC 7505) is one with the host ".".
type MX struct {
	Preference uint16
	Host       string // without the final dot, but for "."
}

// Resolver asks the DNS. Names come without or with a final dot. Errors wrap
// ErrNotFound or ErrTemporary. Every method returns in bounded time, at the
// end of ctx at the latest.
type Resolver interface {
	// A gives the IPv4 addresses alone, as DNSBLs answer.
	A(ctx context.Context, name string) ([]netip.Addr, error)
	// Addresses gives A and AAAA together.
	Addresses(ctx context.Context, name string) ([]netip.Addr, error)
	// PTR gives the names of an address, not confirmed by anything.
	PTR(ctx context.Context, addr netip.Addr) ([]string, error)
	// MX gives the exchangers by rising preference.
	MX(ctx context.Context, name string) ([]MX, error)
	// TXT gives each record with its strings joined: raw octets of a stranger,
	// with line ends and all.
	TXT(ctx context.Context, name string) ([]string, error)
}

type fromCache struct{}

// FromCache marks a context: look-ups under it answer from memory or with
// ErrNotCached, at once.
func FromCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, fromCache{}, true)
}

// CacheOnly tells that a context is marked by FromCache: whoever would wait for
// anything else must not, either.
func CacheOnly(ctx context.Context) bool { return onlyCached(ctx) }

func onlyCached(ctx context.Context) bool { return ctx.Value(fromCache{}) != nil }
