// Package helo is the check of the name that a client gives in HELO or EHLO
// (RFC 5321 sections 4.1.1.1 and 4.1.4): valid, qualified, not our own, and
// known to the DNS.
//
// Section 4.1.4 forbids refusing a client because its name does not fit its
// address, so whether it does is never asked; and an address literal that is
// another's gives points alone. Trusted clients, users and the machine itself
// are exempt: programs that hand mail in say all sorts of names. It cannot
// fail: where the DNS does, the name counts as good.
package helo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// Name of the check.
const Name = "helo"

// The symbols.
const (
	SymbolSyntax       = "helo.syntax"
	SymbolOwnName      = "helo.own_name"
	SymbolOwnAddress   = "helo.own_address"
	SymbolBareIP       = "helo.bare_ip"
	SymbolLiteral      = "helo.literal"
	SymbolWrongLiteral = "helo.wrong_literal"
	SymbolNotFQDN      = "helo.not_fqdn"
	SymbolUnknown      = "helo.unknown"
	SymbolTemporary    = "helo.temporary"
)

// timeout is for the look-ups; the resolver has its own below it.
const timeout = 5 * time.Second

// Config is the table [check.helo].
type Config struct {
	Mode              string   `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no part of the check does more."`
	OwnNames          []string `toml:"own_names" doc:"More names that nobody outside may claim, besides hostname and the relay domains."`
	Syntax            string   `toml:"syntax" enum:"off,observe,score,enforce" doc:"The name is neither a host name nor an address literal (helo.syntax), as reject_invalid_helo_hostname in Postfix. enforce: no mail server says such a name, and what injects commands does."`
	SyntaxScore       float64  `toml:"syntax_score" doc:"Points for it." brief:"true"`
	OwnName           string   `toml:"own_name" enum:"off,observe,score,enforce" doc:"It is our own hostname, one of our domains or of own_names, said from outside (helo.own_name). enforce: it is a lie to get past rules that trust us."`
	OwnNameScore      float64  `toml:"own_name_score" doc:"Points for it." brief:"true"`
	OwnAddress        string   `toml:"own_address" enum:"off,observe,score,enforce" doc:"It is an address of ours, said from outside (helo.own_address). enforce, for the same reason."`
	OwnAddressScore   float64  `toml:"own_address_score" doc:"Points for it." brief:"true"`
	BareAddress       string   `toml:"bare_address" enum:"off,observe,score,enforce" doc:"It is an address without brackets (helo.bare_ip). score: some devices do it."`
	BareAddressScore  float64  `toml:"bare_address_score" doc:"Points for it." brief:"true"`
	Literal           string   `toml:"literal" enum:"off,observe,score,enforce" doc:"It is the client's own address in brackets (helo.literal). score: RFC 5321 allows it to hosts without a name, and mail servers have one."`
	LiteralScore      float64  `toml:"literal_score" doc:"Points for it." brief:"true"`
	WrongLiteral      string   `toml:"wrong_literal" enum:"off,observe,score,enforce" doc:"It is another address than the client's in brackets (helo.wrong_literal). score: a host behind NAT may know no better."`
	WrongLiteralScore float64  `toml:"wrong_literal_score" doc:"Points for it." brief:"true"`
	FQDN              string   `toml:"fqdn" enum:"off,observe,score,enforce" doc:"It is a name without a dot (helo.not_fqdn), as reject_non_fqdn_helo_hostname in Postfix. score: badly set-up honest hosts do it."`
	FQDNScore         float64  `toml:"fqdn_score" doc:"Points for it." brief:"true"`
	Resolves          string   `toml:"resolves" enum:"off,observe,score,enforce" doc:"The name has no A, AAAA or MX record (helo.unknown), as reject_unknown_helo_hostname in Postfix. observe: many honest servers say an internal name; look at the log before you score it. A failing DNS says nothing."`
	ResolvesScore     float64  `toml:"resolves_score" doc:"Points for it." brief:"true"`
}

// Default refuses what no mail server says, and gives points for the rest.
func Default() Config {
	return Config{
		Mode: "enforce", OwnNames: []string{},
		Syntax: "enforce", SyntaxScore: 3,
		OwnName: "enforce", OwnNameScore: 5,
		OwnAddress: "enforce", OwnAddressScore: 5,
		BareAddress: "score", BareAddressScore: 2.5,
		Literal: "score", LiteralScore: 1,
		WrongLiteral: "score", WrongLiteralScore: 2.5,
		FQDN: "score", FQDNScore: 1.5,
		Resolves: "observe", ResolvesScore: 1.5,
	}
}

// parts are what the check looks for, by key.
func (c Config) parts() map[string]filters.Part {
	m := map[string]filters.Part{}
	for _, p := range []filters.Part{
		{Key: "syntax", Symbol: SymbolSyntax, Mode: c.Syntax, Score: c.SyntaxScore},
		{Key: "own_name", Symbol: SymbolOwnName, Mode: c.OwnName, Score: c.OwnNameScore},
		{Key: "own_address", Symbol: SymbolOwnAddress, Mode: c.OwnAddress, Score: c.OwnAddressScore},
		{Key: "bare_address", Symbol: SymbolBareIP, Mode: c.BareAddress, Score: c.BareAddressScore},
		{Key: "literal", Symbol: SymbolLiteral, Mode: c.Literal, Score: c.LiteralScore},
		{Key: "wrong_literal", Symbol: SymbolWrongLiteral, Mode: c.WrongLiteral, Score: c.WrongLiteralScore},
		{Key: "fqdn", Symbol: SymbolNotFQDN, Mode: c.FQDN, Score: c.FQDNScore},
		{Key: "resolves", Symbol: SymbolUnknown, Mode: c.Resolves, Score: c.ResolvesScore},
	} {
		m[p.Key] = p
	}
	return m
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	for i, n := range c.OwnNames {
		if !mail.ValidDomain(n, true) {
			errs = append(errs, fmt.Errorf("own_names[%d]: %q is not a host name", i, n))
		}
	}
	parts := c.parts()
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		errs = append(errs, parts[k].Validate()...)
	}
	return errs
}

// New makes the check.
func New(c Config, site filters.Site) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("helo: %w", errs[0])
	}
	h := &names{own: map[string]bool{}, addrs: map[netip.Addr]bool{}, parts: c.parts(), dns: site.Resolver}
	if h.parts["resolves"].Off() {
		h.dns = nil
	}
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
	return filters.Check{Name: Name, Impl: h, Mode: mode, IO: h.dns != nil, Cached: true, Timeout: timeout}, nil
}

// names are what is our own.
type names struct {
	own   map[string]bool
	addrs map[netip.Addr]bool
	parts map[string]filters.Part
	dns   resolver.Resolver // nil: nothing is looked up
}

// CheckHelo judges the name.
func (h *names) CheckHelo(ctx context.Context, s *mail.Session) (filters.Result, error) {
	client := s.Client.Addr().Unmap()
	if !filters.Stranger(s) || h.addrs[client] {
		return filters.Result{}, nil
	}
	name := strings.TrimSuffix(s.Helo, ".")
	key, refusal := h.judge(name, client)
	if key == "" && h.dns != nil {
		return h.resolve(ctx, name)
	}
	var reply *mail.Reply
	if refusal != "" {
		r := mail.Permanent(550, "7.1", refusal)
		reply = &r
	}
	return h.parts[key].Found(s.Helo, reply), nil
}

// judge gives the key of the part that the form of the name offends, and what
// enforce says.
func (h *names) judge(name string, client netip.Addr) (key, refusal string) {
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && !strings.HasPrefix(name, "[") && !strings.HasSuffix(name, "]") {
		if h.addrs[a.Unmap()] {
			return "own_address", "HELO address is our own"
		}
		return "bare_address", "HELO address is without brackets"
	}
	// U-labels are no error of the client that we could act on: RFC 6531
	// section 3.7.1 asks for A-labels here.
	if !mail.ValidDomain(name, false) {
		return "syntax", "HELO name is not valid"
	}
	if strings.HasPrefix(name, "[") {
		text := strings.ToLower(strings.Trim(name, "[]"))
		a, _ := netip.ParseAddr(strings.TrimPrefix(text, "ipv6:"))
		switch a = a.Unmap(); {
		case h.addrs[a]:
			return "own_address", "HELO address is our own"
		case a != client.WithZone(""):
			return "wrong_literal", "" // RFC 5321 section 4.1.4: no refusal
		}
		return "literal", "HELO name is an address"
	}
	if h.own[mail.DomainKey(name)] {
		return "own_name", "HELO name is our own"
	}
	if !strings.Contains(name, ".") {
		return "fqdn", "HELO name is not fully qualified"
	}
	return "", ""
}

// resolve asks whether the name exists at all. Postfix asks 450 for it; who
// repairs his name loses no mail.
func (h *names) resolve(ctx context.Context, name string) (filters.Result, error) {
	_, err := h.dns.Addresses(ctx, name)
	if errors.Is(err, resolver.ErrNotFound) {
		_, err = h.dns.MX(ctx, name)
	}
	switch {
	case err == nil:
		return filters.Result{}, nil
	case errors.Is(err, resolver.ErrNotFound):
		r := mail.Temporary(450, "7.1", "HELO name does not exist in the DNS")
		return h.parts["resolves"].Found(name, &r), nil
	}
	return filters.Unsure(SymbolTemporary, err)
}
