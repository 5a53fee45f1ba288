// Package sender is the check of the sender's domain: fully qualified, known
// to the DNS, and able to receive the answer (RFC 5321 section 5.1, RFC 7505).
//
// It connects to nobody: there is no call-back, which other servers take for
// an attack. The null reverse-path, trusted clients, users, address literals
// and our own domains are exempt. A failure of the DNS says nothing: the
// sender counts as good.
package sender

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// Name of the check.
const Name = "sender"

// The symbols.
const (
	SymbolNotFQDN   = "sender.not_fqdn"
	SymbolUnknown   = "sender.unknown_domain"
	SymbolNullMX    = "sender.null_mx"
	SymbolBadMX     = "sender.bad_mx"
	SymbolTemporary = "sender.temporary"
)

const (
	// timeout is for all look-ups; the resolver has its own below it.
	timeout = 8 * time.Second
	// maxHosts is how many exchangers are looked up to find one that can be
	// reached.
	maxHosts = 5
)

// Config is the table [check.sender].
type Config struct {
	Mode               string  `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no part of the check does more."`
	FQDN               string  `toml:"fqdn" enum:"off,observe,score,enforce" doc:"The domain has no dot (sender.not_fqdn), as reject_non_fqdn_sender in Postfix; enforce answers 504 5.5.2. score: cron jobs of honest machines write such senders."`
	FQDNScore          float64 `toml:"fqdn_score" doc:"Points for it." brief:"true"`
	UnknownDomain      string  `toml:"unknown_domain" enum:"off,observe,score,enforce" doc:"The domain has no MX, A or AAAA record (sender.unknown_domain), as reject_unknown_sender_domain in Postfix. enforce: nobody could be told that the mail did not arrive."`
	UnknownDomainScore float64 `toml:"unknown_domain_score" doc:"Points for it." brief:"true"`
	Reply              string  `toml:"reply" enum:"defer,reject" doc:"What enforce answers to an unknown domain: defer (450 4.1.8, as Postfix by default: a zone that breaks for a day loses no mail) or reject (550 5.1.8, but still 450 for a name that exists and only has no such records)."`
	NullMX             string  `toml:"null_mx" enum:"off,observe,score,enforce" doc:"The domain says that it takes no mail (sender.null_mx, RFC 7505). enforce answers 550 5.7.27, as section 4.2 there says."`
	NullMXScore        float64 `toml:"null_mx_score" doc:"Points for it." brief:"true"`
	BadMX              string  `toml:"bad_mx" enum:"off,observe,score,enforce" doc:"All mail servers of the domain have addresses that nobody outside can reach (loopback, private, unspecified), our own, or none (sender.bad_mx). score: mostly it is spam, and sometimes a wrong zone."`
	BadMXScore         float64 `toml:"bad_mx_score" doc:"Points for it." brief:"true"`
}

// Default refuses what cannot be answered, and gives points for the rest.
func Default() Config {
	return Config{
		Mode: "enforce", FQDN: "score", FQDNScore: 2, UnknownDomain: "enforce", UnknownDomainScore: 4, Reply: "defer",
		NullMX: "enforce", NullMXScore: 5, BadMX: "score", BadMXScore: 3,
	}
}

// parts are what the check looks for.
type parts struct{ fqdn, unknown, nullMX, badMX filters.Part }

func (c Config) parts() parts {
	return parts{
		fqdn:    filters.Part{Key: "fqdn", Symbol: SymbolNotFQDN, Mode: c.FQDN, Score: c.FQDNScore},
		unknown: filters.Part{Key: "unknown_domain", Symbol: SymbolUnknown, Mode: c.UnknownDomain, Score: c.UnknownDomainScore},
		nullMX:  filters.Part{Key: "null_mx", Symbol: SymbolNullMX, Mode: c.NullMX, Score: c.NullMXScore},
		badMX:   filters.Part{Key: "bad_mx", Symbol: SymbolBadMX, Mode: c.BadMX, Score: c.BadMXScore},
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	p := c.parts()
	for _, p := range []filters.Part{p.fqdn, p.unknown, p.nullMX, p.badMX} {
		errs = append(errs, p.Validate()...)
	}
	if c.Reply != "defer" && c.Reply != "reject" {
		errs = append(errs, fmt.Errorf("reply = %q: must be defer or reject", c.Reply))
	}
	return errs
}

// New makes the check. Without a resolver it is off.
func New(c Config, site filters.Site) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("sender: %w", errs[0])
	}
	d := &domains{dns: site.Resolver, parts: c.parts(), reject: c.Reply == "reject", own: map[string]bool{}, addrs: map[netip.Addr]bool{}}
	for _, n := range append([]string{site.Hostname}, site.Domains...) {
		d.own[mail.DomainKey(n)] = true
	}
	for _, s := range site.Addresses {
		if a, err := netip.ParseAddr(s); err == nil {
			d.addrs[a.Unmap()] = true
		}
	}
	mode, _ := mail.ParseMode(c.Mode)
	if site.Resolver == nil {
		mode = mail.Off
	}
	return filters.Check{Name: Name, Impl: d, Mode: mode, IO: site.Resolver != nil, Cached: true, Timeout: timeout}, nil
}

type domains struct {
	dns    resolver.Resolver
	parts  parts
	reject bool
	own    map[string]bool
	addrs  map[netip.Addr]bool
}

// CheckMail judges the domain of the reverse-path.
func (d *domains) CheckMail(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	p := tx.ReversePath
	if d.dns == nil || p.Domain == "" || p.IsLiteral() || !filters.Stranger(tx.Session) || d.addrs[tx.Client.Addr().Unmap()] {
		return filters.Result{}, nil
	}
	domain := p.DomainKey()
	if d.own[domain] {
		return filters.Result{}, nil
	}
	if !strings.Contains(domain, ".") {
		r := mail.Permanent(504, "5.2", "Sender address rejected: need fully-qualified address")
		return d.parts.fqdn.Found(domain, &r), nil
	}
	if d.parts.unknown.Off() && d.parts.nullMX.Off() && d.parts.badMX.Off() {
		return filters.Result{}, nil
	}
	mx, err := d.dns.MX(ctx, domain)
	switch {
	case errors.Is(err, resolver.ErrNotFound):
		return d.implicit(ctx, domain, errors.Is(err, resolver.ErrNoName))
	case err != nil:
		return filters.Unsure(SymbolTemporary, err)
	case len(mx) == 1 && mx[0].Host == ".":
		r := mail.Permanent(550, "7.27", "Sender address rejected: its domain accepts no mail")
		return d.parts.nullMX.Found(domain, &r), nil
	}
	return d.exchangers(ctx, domain, mx)
}

// implicit is a domain without MX: its own address stands in (RFC 5321
// section 5.1).
func (d *domains) implicit(ctx context.Context, domain string, noName bool) (filters.Result, error) {
	addrs, err := d.dns.Addresses(ctx, domain)
	switch {
	case errors.Is(err, resolver.ErrNotFound):
		r := mail.Temporary(450, "1.8", "Sender address rejected: Domain not found")
		// The strict answer is for the sure case alone: all say that the name
		// does not exist.
		if d.reject && noName && errors.Is(err, resolver.ErrNoName) {
			r = mail.Permanent(550, "1.8", r.Text)
		}
		return d.parts.unknown.Found(domain, &r), nil
	case err != nil:
		return filters.Unsure(SymbolTemporary, err)
	case d.reachable(addrs):
		return filters.Result{}, nil
	}
	return d.bad(domain + " " + addrs[0].String()), nil
}

// exchangers looks for one that can be reached. One that is left open by a
// failure counts as good.
func (d *domains) exchangers(ctx context.Context, domain string, mx []resolver.MX) (filters.Result, error) {
	if d.parts.badMX.Off() {
		return filters.Result{}, nil
	}
	seen := domain
	for i, m := range mx {
		if i == maxHosts {
			return filters.Result{}, nil
		}
		if m.Host == "" || m.Host == "." {
			continue
		}
		addrs, err := d.dns.Addresses(ctx, m.Host)
		switch {
		case errors.Is(err, resolver.ErrNotFound):
			continue
		case err != nil:
			return filters.Unsure(SymbolTemporary, err)
		case d.reachable(addrs):
			return filters.Result{}, nil
		}
		seen = m.Host + " " + addrs[0].String()
	}
	return d.bad(seen), nil
}

func (d *domains) bad(detail string) filters.Result {
	r := mail.Temporary(450, "1.8", "Sender address rejected: its mail servers cannot be reached")
	return d.parts.badMX.Found(detail, &r)
}

// reachable tells that one of the addresses could be a mail server of somebody
// else (D-17).
func (d *domains) reachable(addrs []netip.Addr) bool {
	for _, a := range addrs {
		if a = a.Unmap(); a.IsGlobalUnicast() && !a.IsPrivate() && !d.addrs[a] && !shared(a) {
			return true
		}
	}
	return false
}

// shared tells 0.0.0.0/8, 100.64.0.0/10 (RFC 6598) and 240.0.0.0/4, which
// the standard library counts as global.
func shared(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[0] == 0 || b[0] == 100 && b[1]&0xc0 == 64 || b[0] >= 240
}
