package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"garita/accounts"
	"garita/mail"
	"garita/resolver"
	"garita/store"
	"garita/tls"
)

// storeFile is where the store keeps itself in state_dir.
const storeFile = "state.db"

// sessionKeys keeps the secrets of TLS session tickets in the store.
type sessionKeys struct{ store store.Store }

const (
	sessionKeysKey = "gateway/tls-session-keys"
	// keepKeys is longer than any of them is used.
	keepKeys = 7 * 24 * time.Hour
	// storeWait bounds a write to the disk that a start waits for.
	storeWait = 5 * time.Second
)

func (k sessionKeys) Load() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	raw, _, err := k.store.Get(ctx, sessionKeysKey)
	return raw, err
}

func (k sessionKeys) Save(secret []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	return k.store.PutNow(ctx, sessionKeysKey, secret, keepKeys)
}

// openTickets makes the keys of session tickets, which a reload does not end
// and a restart neither.
func (p *parts) openTickets() error {
	var keep tls.SessionKeys
	if p.store != nil {
		keep = sessionKeys{p.store}
	}
	var err error
	if p.tickets, err = tls.NewTickets(keep, time.Now); err != nil {
		return err
	}
	if fault := p.tickets.Fault(); fault != nil {
		p.log.Warn("tls", "session keys", slog.String("error", fault.Error()))
	}
	return nil
}

// dnsOff is the one entry of dns.servers that turns the DNS off.
const dnsOff = "off"

func dnsIsOff(c resolver.Config) bool { return len(c.Servers) == 1 && c.Servers[0] == dnsOff }

// resolverFor gives the resolver of a generation: the old one when nothing of
// it has changed, with all that it remembers. None is no fault of a
// configuration: a machine without name servers filters without names.
func (p *parts) resolverFor(s *Settings, old *generation) *resolver.DNS {
	if old != nil && reflect.DeepEqual(old.settings.DNS, s.DNS) {
		return old.dns
	}
	if dnsIsOff(s.DNS) {
		return nil
	}
	d, err := resolver.New(resolver.Options{Config: s.DNS})
	if err != nil {
		p.log.Warn("dns", "there is no DNS; checks that need it say nothing", slog.String("error", err.Error()))
		return nil
	}
	return d
}

// names gives clients their names.
type names struct{ dns *resolver.DNS }

// HostName is the client's name. A failure is no name: nothing is refused for
// it (design section 4.2).
func (n names) HostName(ctx context.Context, a netip.Addr) mail.HostName {
	name, confirmed, err := n.dns.HostName(ctx, a)
	if err != nil {
		return mail.HostName{}
	}
	return mail.HostName{Name: name, Confirmed: confirmed}
}

// accountsFor gives the users of a generation. The old value is kept over a
// reload, with what it remembers of failures; use makes it read the new file.
func (p *parts) accountsFor(s *Settings, old *generation) (*accounts.Accounts, error) {
	if s.Users.File == "" {
		return nil, nil
	}
	if old != nil && old.accounts != nil {
		// Read once now, so that a broken file is found before anything has
		// changed; Apply reads it again.
		if _, problems := accounts.Load(s.Users); len(problems) > 0 {
			return nil, fmt.Errorf("users: %w", problems[0])
		}
		return old.accounts, nil
	}
	a, err := accounts.New(s.Users)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	return a, nil
}

// oldAnswers is how long sessions of an older generation may still look up.
const oldAnswers = 2 * time.Minute

// replaces ends what an older generation had and this one has not. Sessions
// that began with it go on.
func (g *generation) replaces(p *parts, old *generation) {
	old.helpers.Close()
	old.own.Close()
	if g.accounts != nil && old.accounts == g.accounts {
		if err := g.accounts.Apply(g.settings.Users); err != nil {
			p.log.Warn("users", "the file of users has changed under our hands; the old one stays", slog.String("error", inShort(err.Error())))
		}
	}
	if err := p.conduct.Update(g.settings.Conduct); err != nil {
		p.log.Warn("conduct", "the old limits stay", slog.String("error", err.Error()))
	}
	if p.hold.keeper != nil {
		p.hold.keeper.Update(g.settings.Hold)
	}
	p.updateAlerts(g.settings)
	for name, h := range old.hops {
		if g.hops[name] != h {
			h.Retire()
			continue
		}
		h.ForgetUnknown()
	}
	if old.dns != nil && old.dns != g.dns {
		time.AfterFunc(oldAnswers, old.dns.Close)
	}
}

// drop ends what was made for a generation that comes to nothing.
func (g *generation) drop(old *generation) {
	for name, h := range g.hops {
		if old == nil || old.hops[name] != h {
			h.Retire()
		}
	}
	if g.dns != nil && (old == nil || old.dns != g.dns) {
		g.dns.Close()
	}
}

// minutely looks at what changes by itself: certificate files, and the days
// that certificates have left (attacks S-44, S-45).
func (d *daemon) minutely(now time.Time) {
	g := d.now.Load()
	changed, err := g.tls.Poll()
	if err != nil {
		d.parts.log.Warn("tls", "a certificate could not be read again; the old one stays", slog.String("error", inShort(err.Error())))
	}
	if changed {
		d.parts.log.Info("tls", "new certificate files are in use", slog.Time("default_until", g.tls.Expiry()))
	}
	for _, c := range d.reminder.Due(g.tls.Expiring(now)) {
		d.parts.log.Warn("tls", c.Text(now))
	}
}
