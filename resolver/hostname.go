package resolver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxPTR is how many names of an address are looked at (D-16).
	maxPTR = 10
	// hostBudget is for all look-ups of one client's name.
	hostBudget = 3 * time.Second
)

// HostName finds the name of an address by reverse DNS and confirms it by a
// look-up forwards (FCrDNS). Without a confirmed name it gives the first that
// is claimed. Who runs the reverse zone can claim any name, ours too (S-195),
// so only a confirmed one may earn anything. An error wraps ErrNotFound where
// there is no name that a host can have, or ErrTemporary where a failure left
// open whether one is confirmed.
func HostName(ctx context.Context, r Resolver, addr netip.Addr) (name string, confirmed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, hostBudget)
	defer cancel()
	addr = addr.Unmap().WithZone("")
	names, err := r.PTR(ctx, addr)
	if err != nil {
		return "", false, err
	}
	var failed error
	for i, n := range names {
		if i == maxPTR {
			break
		}
		if !ValidHost(n) {
			continue
		}
		if name == "" {
			name = n
		}
		addrs, err := r.Addresses(ctx, n)
		switch {
		case err == nil && slices.Contains(addrs, addr):
			return n, true, nil
		case err != nil && !errors.Is(err, ErrNotFound):
			failed = errors.Join(failed, err)
		}
	}
	if name == "" {
		return "", false, ErrNotFound
	}
	return name, false, failed
}

// HostName is the function of that name, asked here.
func (d *DNS) HostName(ctx context.Context, addr netip.Addr) (name string, confirmed bool, err error) {
	return HostName(ctx, d, addr)
}
