package metrics

import (
	"fmt"
	"net/netip"
)

// Config is the [metrics] table.
type Config struct {
	// Off by default: a port that nobody asked for is one to explain, and two
	// gateways on one machine would fight for it.
	Listen string         `toml:"listen" doc:"Address for Prometheus and health checks by HTTP (/metrics, /healthz, /readyz), as \"127.0.0.1:9425\". Empty: off. There is no password: anything but loopback needs allow."`
	Allow  []netip.Prefix `toml:"allow" doc:"Networks that may ask when listen is not a loopback address; this machine always may. Others are answered 403."`
}

// Default gives the defaults of the [metrics] table.
func Default() Config { return Config{} }

// Address gives the address of a valid, non-empty Listen.
func (c Config) Address() (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(c.Listen)
	if err != nil || a.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("listen = %q: is no address with a port, as 127.0.0.1:9425", c.Listen)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// Validate gives every fault at once, each naming its key.
func (c Config) Validate() []error {
	var errs []error
	for _, p := range c.Allow {
		if p.Bits() == 0 || p.Addr().Is4In6() && p.Bits() <= 96 {
			errs = append(errs, fmt.Errorf("allow = %s: is everybody; name the network of the monitoring", p))
		}
	}
	if c.Listen == "" {
		return errs
	}
	a, err := c.Address()
	switch {
	case err != nil:
		errs = append(errs, err)
	case !a.Addr().IsLoopback() && len(c.Allow) == 0:
		errs = append(errs, fmt.Errorf("listen = %q: is reached from outside and has no password; listen on 127.0.0.1 or name the networks that may ask in allow", c.Listen))
	}
	return errs
}
