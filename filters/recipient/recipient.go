// Package recipient is the check of the domains that our users write to: fully
// qualified, known to the DNS, and not one that says that it takes no mail
// (RFC 7505). A user who mistypes a domain hears of it at once and not days
// later.
//
// It looks at outbound mail alone; our own domains, address literals and the
// domains that the operator exempts are left out. Trusted clients and users
// are not exempt: they are who it is for. A failure of the DNS says nothing.
package recipient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// Name of the check.
const Name = "recipient"

// The symbols.
const (
	SymbolNotFQDN   = "recipient.not_fqdn"
	SymbolUnknown   = "recipient.unknown_domain"
	SymbolNullMX    = "recipient.null_mx"
	SymbolTemporary = "recipient.temporary"
)

// timeout is for all look-ups; the resolver has its own below it.
const timeout = 8 * time.Second

// Config is the table [check.recipient].
type Config struct {
	Mode               string   `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no part of the check does more."`
	ExemptDomains      []string `toml:"exempt_domains" doc:"Domains that are not looked at, because the next hop knows more of them than the DNS: \"intranet.example\", \".lan\" (the domain and all below it)."`
	FQDN               string   `toml:"fqdn" enum:"off,observe,score,enforce" doc:"The domain has no dot (recipient.not_fqdn), as reject_non_fqdn_recipient in Postfix; enforce answers 504 5.5.2. score: the next hop may have a name of its own for it."`
	FQDNScore          float64  `toml:"fqdn_score" doc:"Points for it." brief:"true"`
	UnknownDomain      string   `toml:"unknown_domain" enum:"off,observe,score,enforce" doc:"The domain has no MX, A or AAAA record (recipient.unknown_domain), as reject_unknown_recipient_domain in Postfix. observe: a smart host may have routes to domains that the DNS does not know; enforce it when yours has none."`
	UnknownDomainScore float64  `toml:"unknown_domain_score" doc:"Points for it." brief:"true"`
	Reply              string   `toml:"reply" enum:"defer,reject" doc:"What enforce answers to an unknown domain: defer (450 4.1.2) or reject (550 5.1.2, but still 450 for a name that exists and only has no such records). reject tells users of their typing errors at once."`
	NullMX             string   `toml:"null_mx" enum:"off,observe,score,enforce" doc:"The domain says that it takes no mail (recipient.null_mx, RFC 7505). enforce answers 556 5.1.10, as section 4.1 there says."`
	NullMXScore        float64  `toml:"null_mx_score" doc:"Points for it." brief:"true"`
}

// Default refuses only what the recipient's own domain refuses.
func Default() Config {
	return Config{
		Mode: "enforce", ExemptDomains: []string{}, FQDN: "score", FQDNScore: 1,
		UnknownDomain: "observe", UnknownDomainScore: 1, Reply: "defer", NullMX: "enforce", NullMXScore: 5,
	}
}

// parts are what the check looks for.
type parts struct{ fqdn, unknown, nullMX filters.Part }

func (c Config) parts() parts {
	return parts{
		fqdn:    filters.Part{Key: "fqdn", Symbol: SymbolNotFQDN, Mode: c.FQDN, Score: c.FQDNScore},
		unknown: filters.Part{Key: "unknown_domain", Symbol: SymbolUnknown, Mode: c.UnknownDomain, Score: c.UnknownDomainScore},
		nullMX:  filters.Part{Key: "null_mx", Symbol: SymbolNullMX, Mode: c.NullMX, Score: c.NullMXScore},
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	for i, n := range c.ExemptDomains {
		if !mail.ValidDomain(strings.TrimPrefix(n, "."), true) || strings.HasPrefix(n, "[") {
			errs = append(errs, fmt.Errorf("exempt_domains[%d]: %q is not a domain, as example.org or .example.org", i, n))
		}
	}
	p := c.parts()
	for _, p := range []filters.Part{p.fqdn, p.unknown, p.nullMX} {
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
		return filters.Check{}, fmt.Errorf("recipient: %w", errs[0])
	}
	d := &domains{dns: site.Resolver, parts: c.parts(), reject: c.Reply == "reject", exempt: map[string]bool{}, below: map[string]bool{}}
	for _, n := range append([]string{site.Hostname}, site.Domains...) {
		d.exempt[mail.DomainKey(n)] = true
	}
	for _, n := range c.ExemptDomains {
		name, all := strings.CutPrefix(n, ".")
		d.exempt[mail.DomainKey(name)] = true
		if all {
			d.below[mail.DomainKey(name)] = true
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
	exempt map[string]bool
	below  map[string]bool // with all sub-domains
}

func (d *domains) exempted(domain string) bool {
	if d.exempt[domain] {
		return true
	}
	if len(d.below) == 0 {
		return false
	}
	for {
		_, rest, more := strings.Cut(domain, ".")
		if !more {
			return false
		}
		if d.below[rest] {
			return true
		}
		domain = rest
	}
}

// CheckRcpt judges the domain of a forward-path.
func (d *domains) CheckRcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) (filters.Result, error) {
	// In the content-filter role the MTA has taken the message: a refusal
	// here would be a bounce.
	if d.dns == nil || tx.Direction != mail.Out || tx.Role == mail.ContentFilter || r.Domain == "" || r.IsLiteral() {
		return filters.Result{}, nil
	}
	domain := r.DomainKey()
	if d.exempted(domain) {
		return filters.Result{}, nil
	}
	if !strings.Contains(domain, ".") {
		r := mail.Permanent(504, "5.2", "Recipient address rejected: need fully-qualified address")
		return d.parts.fqdn.Found(domain, &r), nil
	}
	if d.parts.unknown.Off() && d.parts.nullMX.Off() {
		return filters.Result{}, nil
	}
	mx, err := d.dns.MX(ctx, domain)
	switch {
	case errors.Is(err, resolver.ErrNotFound):
		return d.implicit(ctx, domain, errors.Is(err, resolver.ErrNoName))
	case err != nil:
		return filters.Unsure(SymbolTemporary, err)
	case len(mx) == 1 && mx[0].Host == ".":
		r := mail.Permanent(556, "1.10", "Recipient address rejected: its domain accepts no mail")
		return d.parts.nullMX.Found(domain, &r), nil
	}
	return filters.Result{}, nil
}

// implicit is a domain without MX: its own address stands in (RFC 5321
// section 5.1).
func (d *domains) implicit(ctx context.Context, domain string, noName bool) (filters.Result, error) {
	if d.parts.unknown.Off() {
		return filters.Result{}, nil
	}
	_, err := d.dns.Addresses(ctx, domain)
	switch {
	case err == nil:
		return filters.Result{}, nil
	case errors.Is(err, resolver.ErrNotFound):
		r := mail.Temporary(450, "1.2", "Recipient address rejected: Domain not found")
		if d.reject && noName && errors.Is(err, resolver.ErrNoName) {
			r = mail.Permanent(550, "1.2", r.Text)
		}
		return d.parts.unknown.Found(domain, &r), nil
	}
	return filters.Unsure(SymbolTemporary, err)
}
