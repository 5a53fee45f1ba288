// Package resolver is Garita's DNS: what checks ask, and the resolver that
// answers them over a cache (RFC 1035, 2181, 2308, 6891).
//
// It is a stub resolver: it asks the configured servers, which do the
// recursion, and believes no DNSSEC bit. Every answer is one of three things:
// records, "there is none" (ErrNotFound, which is as good as an answer), or a
// failure (ErrTemporary), which says nothing about the name. No caller may
// take the third for the second.
package resolver

import (
	"context"
	"errors"
	"net/netip"
)

// The two ways not to get records.
var (
	// ErrNotFound: the name does not exist, or has no such records.
	ErrNotFound = errors.New("no such record")
	// ErrTemporary: no server gave an answer that could be used.
	ErrTemporary = errors.New("temporary DNS failure")
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
	// TXT gives each record with its strings joined.
	TXT(ctx context.Context, name string) ([]string, error)
}
