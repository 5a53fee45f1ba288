package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// listen opens one address. The family is named, because Go would open
// "0.0.0.0:25" for IPv6 as well. both says that "[::]" takes IPv4 too: it does
// unless the configuration has "0.0.0.0" with the same port.
func listen(a netip.AddrPort, both bool) (net.Listener, error) {
	network := "tcp6"
	switch {
	case a.Addr().Is4():
		network = "tcp4"
	case a.Addr().IsUnspecified() && both:
		network = "tcp"
	}
	lc := net.ListenConfig{KeepAlive: -1} // sessions have deadlines of their own
	l, err := lc.Listen(context.Background(), network, a.String())
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program (see: ss -ltnp)", a)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE", a)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s is not an address of this machine", a)
	}
	return nil, fmt.Errorf("%s: %w", a, err)
}
