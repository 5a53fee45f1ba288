// Package helo is the check of the name that a client gives in HELO or EHLO,
// by its form alone (RFC 5321 section 4.1.1.1): valid, qualified, and not our
// own.
//
// It asks no DNS, and section 4.1.4 forbids refusing a client because its name
// does not fit its address. Trusted clients and the machine itself are exempt:
// programs that hand mail in say all sorts of names. It cannot fail.
package helo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"garita/filters"
	"garita/mail"
)

// Name of the check.
const Name = "helo"

// The symbols.
const (
	SymbolSyntax     = "helo.syntax"
	SymbolOwnName    = "helo.own_name"
	SymbolOwnAddress = "helo.own_address"
	SymbolBareIP     = "helo.bare_ip"
	SymbolLiteral    = "helo.literal"
	SymbolNotFQDN    = "helo.not_fqdn"
)

// Config is the table [check.helo].
type Config struct {
	Mode     string   `toml:"mode" doc:"off, observe, score (the names count as points) or enforce (an invalid name, and our own name or address from outside, are refused at RCPT; the rest counts as points)."`
	OwnNames []string `toml:"own_names" doc:"More names that nobody outside may claim, besides hostname and the relay domains."`
}

// Default only scores: broken names are common on honest machines.
func Default() Config { return Config{Mode: "score", OwnNames: []string{}} }

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode: %q is not off, observe, score or enforce", c.Mode))
	}
	for i, n := range c.OwnNames {
		if !mail.ValidDomain(n, true) {
			errs = append(errs, fmt.Errorf("own_names[%d]: %q is not a host name", i, n))
		}
	}
	return errs
}

// New makes the check.
func New(c Config, site filters.Site) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("helo: %w", errs[0])
	}
	h := &names{own: map[string]bool{}, addrs: map[netip.Addr]bool{}}
	for _, list := range [][]string{{site.Hostname}, site.Domains, c.OwnNames} {
		for _, n := range list {
			if n != "" {
				h.own[mail.DomainKey(n)] = true
			}
		}
	}
	for _, s := range site.Addresses {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsUnspecified() {
			h.addrs[a.Unmap()] = true
		}
	}
	mode, _ := mail.ParseMode(c.Mode)
	return filters.Check{Name: Name, Impl: h, Mode: mode}, nil
}

// names are what is our own.
type names struct {
	own   map[string]bool
	addrs map[netip.Addr]bool
}

// CheckHelo judges the name.
func (h *names) CheckHelo(_ context.Context, s *mail.Session) (filters.Result, error) {
	client := s.Client.Addr().Unmap()
	if s.Trusted || client.IsLoopback() || h.addrs[client] {
		return filters.Result{}, nil
	}
	f := h.judge(strings.TrimSuffix(s.Helo, "."))
	if f.Symbol == "" {
		return filters.Result{}, nil
	}
	f.Detail = s.Helo
	return filters.Found(f), nil
}

func (h *names) judge(name string) mail.Finding {
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && !strings.HasPrefix(name, "[") && !strings.HasSuffix(name, "]") {
		return h.address(a, mail.Finding{Symbol: SymbolBareIP, Score: 2.5})
	}
	// U-labels are no error of the client that we could act on: RFC 6531
	// section 3.7.1 asks for A-labels here.
	if !mail.ValidDomain(name, false) {
		return refuse(SymbolSyntax, 3, "HELO name is not valid")
	}
	if strings.HasPrefix(name, "[") {
		text := strings.ToLower(strings.Trim(name, "[]"))
		a, _ := netip.ParseAddr(strings.TrimPrefix(text, "ipv6:"))
		return h.address(a, mail.Finding{Symbol: SymbolLiteral, Score: 1})
	}
	if h.own[mail.DomainKey(name)] {
		return refuse(SymbolOwnName, 5, "HELO name is our own")
	}
	if !strings.Contains(name, ".") {
		return mail.Finding{Symbol: SymbolNotFQDN, Score: 1.5}
	}
	return mail.Finding{}
}

func (h *names) address(a netip.Addr, otherwise mail.Finding) mail.Finding {
	if h.addrs[a.Unmap()] {
		return refuse(SymbolOwnAddress, 5, "HELO address is our own")
	}
	return otherwise
}

func refuse(symbol string, score float64, text string) mail.Finding {
	r := mail.Permanent(550, "7.1", text)
	return mail.Finding{Symbol: symbol, Score: score, Verdict: mail.Reject, Reply: &r}
}
