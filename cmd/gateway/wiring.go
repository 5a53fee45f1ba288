package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"garita/accounts"
	"garita/conduct"
	"garita/config"
	"garita/dnsbl"
	"garita/filters"
	"garita/filters/all"
	"garita/identity"
	"garita/mail"
	"garita/maillog"
	"garita/message"
	"garita/metrics"
	"garita/resolver"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/routing"
	"garita/store"
	"garita/store/redis"
	"garita/tls"
)

// A generation is everything that one reading of the configuration makes. A
// session keeps the generation that it began with; what no session uses any
// more is collected: a next hop closes its idle connections by itself.
type generation struct {
	settings *Settings
	tls      *tls.Store
	dns      *resolver.DNS      // nil: there is none
	accounts *accounts.Accounts // nil: nobody can log in
	routes   *routing.Tables
	own      *dnsbl.Own      // nil: there is no DNS
	marks    map[string]mark // of list files
	hops     map[string]*hop
	helpers  *all.Helpers    // what checks do in the background
	asked    *filters.Engine // by the policy server
	wire     *smtpproxy.Settings
}

// parts live as long as the process.
type parts struct {
	log    *maillog.Logger
	budget *message.Budget
	room   *message.Room // for the insides of messages
	server *smtpproxy.Server
	own    *relay.OwnSockets
	// store is nil in commands that only look; memory is the same one, for
	// its figures.
	store   store.Store
	memory  *store.Memory
	shared  *redis.Store // nil unless store.kind = "redis"; then store is it
	tickets *tls.Tickets
	conduct *conduct.Conduct
	hold    holding
	milter  *milterDoor // nil in commands that only look
	alerts  alerting
	door    policyDoor
	metrics *metrics.Metrics // nil in commands that only look
	faults  atomic.Uint64    // of checks
	logins  logins
	bypass  bypass
	users   sending
	drip    dripping
	// userRules are those of the configuration in use.
	userRules atomic.Pointer[userRules]
	// identities count messages by who said who sends.
	identities identity.Counters
	// listening gives our own addresses.
	listening func() []netip.AddrPort
	// lookup finds the addresses of next hops; nil: the system's resolver.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// newParts makes them from the settings of the start.
func newParts(s *Settings, listening func() []netip.AddrPort) (*parts, error) {
	if err := makeFolders(s); err != nil {
		return nil, err
	}
	log, err := maillog.New(s.Log, maillog.Env{Hostname: s.Hostname})
	if err != nil {
		return nil, err
	}
	p := &parts{log: log, own: relay.NewOwnSockets(), listening: listening}
	if err := p.openStore(s); err != nil {
		log.Close()
		return nil, err
	}
	if err := p.openTickets(); err != nil {
		p.store.Close()
		log.Close()
		return nil, err
	}
	if p.conduct, err = conduct.New(conduct.Options{Config: s.Conduct, Store: p.store, Log: log}); err != nil {
		p.store.Close()
		log.Close()
		return nil, err
	}
	if err := p.openHold(s); err != nil {
		p.store.Close()
		log.Close()
		return nil, err
	}
	if err := p.openAlerts(s); err != nil {
		p.hold.close()
		p.store.Close()
		log.Close()
		return nil, err
	}
	p.budget = message.NewBudget(budgetFor(s))
	p.room = message.NewRoom(s.MIME.Memory)
	p.milter = newMilterDoor(p, s)
	p.server = smtpproxy.NewServer(smtpproxy.ServerConfig{
		Log: log, Budget: p.budget, SpoolDir: spoolDir(s), IsOwnSocket: p.own.Contains,
	})
	if err := p.openUsers(); err != nil {
		p.alerts.close()
		p.hold.close()
		p.store.Close()
		log.Close()
		return nil, err
	}
	return p, nil
}

func spoolDir(s *Settings) string { return filepath.Join(s.StateDir, "spool") }

// makeFolders makes what is missing. The spool holds other people's mail.
func makeFolders(s *Settings) error {
	if err := os.MkdirAll(s.StateDir, 0o750); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if err := os.MkdirAll(spoolDir(s), 0o700); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	// A spool file has no name, but for the instant in which it is made: a
	// kill in that instant leaves an empty one behind.
	left, err := filepath.Glob(filepath.Join(spoolDir(s), "garita-*.spool"))
	if err == nil {
		for _, name := range left {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("state_dir: %w", err)
			}
		}
	}
	if filepath.IsAbs(s.Log.Output) {
		if err := os.MkdirAll(filepath.Dir(s.Log.Output), 0o750); err != nil {
			return fmt.Errorf("log.output: %w", err)
		}
	}
	return nil
}

// budgetFor bounds the octets of all messages together.
func budgetFor(s *Settings) message.BudgetConfig {
	c := message.BudgetConfig{Total: s.Limits.MessagesTotal, Memory: s.Limits.MessagesMemory, ReserveShare: 0.2}
	for _, l := range s.Listener {
		c.Headroom = max(c.Headroom, l.MaxMessageSize)
	}
	if s.Milter.Enabled {
		c.Headroom = max(c.Headroom, s.Milter.MaxMessageSize)
	}
	return c
}

// build makes a generation. What of old is still the same is taken over, with
// its pooled connections. It opens no socket and changes nothing of old.
func (p *parts) build(s *Settings, old *generation) (_ *generation, err error) {
	g := &generation{settings: s, hops: map[string]*hop{}, marks: marksOf(s)}
	defer func() {
		if err != nil {
			g.drop(old)
		}
		s.read = readLists{} // a file that changes is read again, and old lists are let go
	}()
	with := tls.Options{Config: s.TLS, Hostname: s.Hostname, StateDir: s.StateDir, Tickets: p.tickets}
	if old != nil {
		with.Old = old.tls
	}
	if g.tls, err = tls.New(with); err != nil {
		return nil, err
	}
	g.dns = p.resolverFor(s, old)
	if g.accounts, err = p.accountsFor(s, old); err != nil {
		return nil, err
	}
	var policy *filters.Engine
	policy, g.asked, g.helpers, err = p.engines(s, g.dns, old.helping())
	if err != nil {
		return nil, err
	}
	if g.own, err = p.ownOn(s, g.dns); err != nil {
		return nil, err
	}
	if g.routes, err = routesOf(s); err != nil {
		return nil, err
	}
	lists, err := checksOf(s)
	if err != nil {
		return nil, err
	}
	if err = p.makeHops(g, old, ruleHops(s, lists)...); err != nil {
		return nil, err
	}
	g.wire = &smtpproxy.Settings{
		Hostname: s.Hostname, Limits: s.Limits, Policy: policy, Listeners: map[string]*smtpproxy.Listener{},
		Index: message.IndexOptions{Limits: s.MIME.limits(), Room: p.room},
	}
	// A nil pointer in an interface is not a nil interface.
	if g.dns != nil {
		g.wire.Names = names{g.dns}
	}
	if p.conduct != nil {
		g.wire.Conduct = p.conduct
	}
	g.wire.Keeper = p.hold.forWire(s.Hold.Enabled)
	if p.metrics != nil {
		g.wire.Policy = counted{policy, p.metrics}
	}
	if g.accounts != nil {
		g.wire.Accounts = countedAccounts{g.accounts, &p.logins}
	}
	if err = g.listeners(); err != nil {
		return nil, err
	}
	return g, nil
}

// certs are those in use; nil before there are any.
func (g *generation) certs() *tls.Store {
	if g == nil {
		return nil
	}
	return g.tls
}

// listeners makes what the wire is told of each.
func (g *generation) listeners() error {
	for name, c := range g.settings.Listener {
		router, err := g.router(c)
		if err != nil {
			return fmt.Errorf("listener %q: %w", name, err)
		}
		l := &smtpproxy.Listener{Name: name, ListenerConfig: c, Router: router}
		if c.STARTTLS || c.ImplicitTLS {
			l.TLS = g.tls.ServerConfigFor(name, ticketPolicy(c))
			if err := l.ClientAuth(); err != nil {
				return fmt.Errorf("listener %q: %w", name, err)
			}
		}
		g.wire.Listeners[name] = l
	}
	return nil
}

// ticketPolicy says what trust in a session of that listener hangs on: a
// ticket of another policy is not taken.
func ticketPolicy(c smtpproxy.ListenerConfig) tls.Policy {
	return tls.Policy{
		RequestClientCertificate: len(c.ClientCerts) > 0 || c.ClientCAFile != "",
		Binding:                  strings.Join(c.ClientCerts, ",") + "\n" + c.ClientCAFile,
	}
}

// helping are those that work now; nil before there are any.
func (g *generation) helping() *all.Helpers {
	if g == nil {
		return nil
	}
	return g.helpers
}

// policy makes the engine with the configured checks; dns and old may be nil.
func (p *parts) policy(s *Settings, dns *resolver.DNS, old *all.Helpers) (*filters.Engine, *all.Helpers, error) {
	e, _, helpers, err := p.engines(s, dns, old)
	return e, helpers, err
}

// engines makes the engine of the wire, and that of the policy server.
func (p *parts) engines(s *Settings, dns *resolver.DNS, old *all.Helpers) (wire, asked *filters.Engine, helpers *all.Helpers, err error) {
	where := site(s)
	where.Store, where.Users = p.store, p.users.registry
	where.Names = s.Identity.Names()
	if dns != nil {
		where.Resolver = dns
	}
	if p.log != nil {
		where.Log, where.Event = p.checkSays, p.checkEvent
	}
	lists, err := checksOf(s)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("check: %w", err)
	}
	checks, helpers, err := lists.Checks(s.Check, where, old)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("check: %w", err)
	}
	mode := mail.Enforce
	if s.Mode == "observe" {
		mode = mail.Observe
	}
	now := func() mail.Mode {
		if p.bypass.state().Active {
			return mail.Observe
		}
		return mode
	}
	chain, err := identity.New(s.Identity, where.Domains, &p.identities)
	if err != nil {
		return nil, nil, nil, err
	}
	config := filters.Config{Checks: checks, Identity: chain, Mode: now, Thresholds: s.Score.thresholds(), Fault: p.checkFault}
	wire, err = filters.New(config)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("check: %w", err)
	}
	if asked, err = asking(s, checks, config); err != nil {
		return nil, nil, nil, err
	}
	return wire, asked, helpers, nil
}

// site is what checks know about ourselves.
func site(s *Settings) filters.Site {
	out := filters.Site{Hostname: s.Hostname, NextHops: slices.Sorted(maps.Keys(s.NextHop))}
	for _, name := range slices.Sorted(maps.Keys(s.Listener)) {
		out.Domains = append(out.Domains, s.Listener[name].RelayDomains...)
	}
	everywhere := false
	for _, a := range listenAddresses(s) {
		if everywhere = everywhere || a.Addr().IsUnspecified(); !a.Addr().IsUnspecified() && !a.Addr().IsLoopback() {
			out.Addresses = append(out.Addresses, a.Addr().String())
		}
	}
	if everywhere {
		out.Addresses = append(out.Addresses, machineAddresses()...)
	}
	return out
}

// machineAddresses are those of this machine that others can reach.
func machineAddresses() []string {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, one := range list {
		n, ok := one.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap().IsGlobalUnicast() {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

// checkFault tells the operator that a check could not do its work.
func (p *parts) checkFault(name string, stage mail.Stage, err error) {
	p.faults.Add(1)
	p.log.Warn("checks", "a check failed", slog.String("check", name), slog.String("stage", stage.String()), slog.String("error", err.Error()))
}

// checkEvent tells what somebody should know at once.
func (p *parts) checkEvent(check, kind, subject, text string) {
	if check == all.HijackName {
		p.alertHijack(kind, subject, text)
		return
	}
	en, es, _ := strings.Cut(text, "\n")
	p.log.Warn(check, "a user and his limits", slog.String("what", kind), slog.String("user", subject), slog.String("detail", en))
	p.alertLimit(kind, subject, en, es)
}

// checkSays passes on what a check has to say beside its findings.
func (p *parts) checkSays(check, text string, err error) {
	if err == nil {
		p.log.Info("checks", text, slog.String("check", check))
		return
	}
	p.log.Warn("checks", text, slog.String("check", check), slog.String("error", err.Error()))
}

// certificates are those that listeners show.
func (g *generation) certificates() []certStatus {
	for _, l := range g.wire.Listeners {
		if l.TLS == nil {
			continue
		}
		out := []certStatus{}
		for _, c := range g.tls.Certificates() {
			name := c.Name
			if len(c.Names) > 0 {
				name = c.Names[0]
			}
			out = append(out, certStatus{Name: name, NotAfter: c.NotAfter, SelfMade: c.SelfMade})
		}
		return out
	}
	return []certStatus{}
}

// changed lists the keys that differ, as "key: old -> new". A table that is new
// or gone is one change.
func changed(a, b *Settings) []string {
	out := []string{}
	whole := map[string]bool{} // "listener.NAME." and the like
	note := func(kind, name, what string) {
		path := config.Path(kind, name)
		out = append(out, path+": "+what)
		whole[path+"."] = true
	}
	for kind, names := range map[string][2][]string{
		"listener": {slices.Collect(maps.Keys(a.Listener)), slices.Collect(maps.Keys(b.Listener))},
		"next_hop": {slices.Collect(maps.Keys(a.NextHop)), slices.Collect(maps.Keys(b.NextHop))},
	} {
		for _, n := range names[0] {
			if !slices.Contains(names[1], n) {
				note(kind, n, "removed")
			}
		}
		for _, n := range names[1] {
			if !slices.Contains(names[0], n) {
				note(kind, n, "added")
			}
		}
	}
	slices.Sort(out)
	for _, c := range config.Diff(a, b) {
		part := strings.SplitN(c.Key, ".", 3)
		if len(part) < 3 || !whole[part[0]+"."+part[1]+"."] {
			out = append(out, c.String())
		}
	}
	return out
}

// needRestart names what a reload cannot change. The running process goes on
// with the values of its start.
func needRestart(start, now *Settings) []string {
	var out []string
	add := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			out = append(out, key)
		}
	}
	add("state_dir", start.StateDir, now.StateDir)
	for _, c := range config.Diff(start, now) {
		if strings.HasPrefix(c.Key, "log.") {
			out = append(out, c.Key)
		}
	}
	if now.Hold.Enabled && !start.Hold.Enabled {
		out = append(out, "hold.enabled")
	}
	add("store", start.Store, now.Store)
	add("admin.socket", start.Admin.Socket, now.Admin.Socket)
	add("limits.messages_total", start.Limits.MessagesTotal, now.Limits.MessagesTotal)
	add("mime.memory", start.MIME.Memory, now.MIME.Memory)
	add("limits.messages_memory", start.Limits.MessagesMemory, now.Limits.MessagesMemory)
	if budgetFor(now).Headroom > budgetFor(start).Headroom {
		out = append(out, "listener.*.max_message_size (larger than any at the start)")
	}
	return out
}

// swap makes a generation the one of new sessions. When it cannot, everything
// stays as it was.
func (p *parts) swap(ctx context.Context, g *generation, k *sockets) error {
	c, err := k.prepare(wanted(g.settings))
	if err != nil {
		return err
	}
	door, err := p.door.prepare(g.settings.Policyd)
	if err != nil {
		c.drop()
		return err
	}
	m, err := p.milter.prepare(g.settings.Milter)
	if err != nil {
		c.drop()
		door.drop()
		return err
	}
	probeAndWait(ctx, g.hops, firstProbe)
	if err := p.server.Apply(g.wire); err != nil {
		c.drop()
		door.drop()
		m.drop()
		return err
	}
	p.userRules.Store(&userRules{g.settings.Identity.Names(), g.settings.Check.Suspension.Hook(), ownDomains(g.settings), g.helpers.Limits()})
	p.milter.server.Apply(g.milterSettings(p))
	k.commit(c)
	door.commit(p, g)
	p.milter.commit(m)
	return nil
}

// close ends the parts in the order in which they need each other.
func (p *parts) close(g *generation) error {
	var errs []error
	p.alerts.close()
	if g != nil {
		g.helpers.Close()
		g.own.Close()
		for _, h := range g.hops {
			errs = append(errs, h.Close())
		}
	}
	errs = append(errs, p.hold.close())
	p.closeUsers()
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	p.log.Info("master", "stopped", slog.Int("pid", os.Getpid()))
	errs = append(errs, p.log.Close())
	return errors.Join(errs...)
}
