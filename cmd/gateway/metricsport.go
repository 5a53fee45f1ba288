package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"garita/accounts"
	"garita/mail"
	"garita/metrics"
	"garita/resolver"
	"garita/smtpproxy"

	"golang.org/x/sys/unix"
)

// counted is the engine with the counters of metrics behind it.
type counted struct {
	smtpproxy.Policy
	metrics *metrics.Metrics
}

func (c counted) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) {
	c.metrics.Observe(tx, o)
	c.Policy.Finish(ctx, tx, o)
}

func (c counted) Closed(s *mail.Session) {
	c.metrics.Closed(s)
	c.Policy.Closed(s)
}

// metricsPort is the HTTP listener of /metrics, /healthz and /readyz.
type metricsPort struct {
	mu     sync.Mutex
	config string // what it was opened with; empty: closed
	server *metrics.Server
	addr   net.Addr
}

// open serves as the configuration says; what was open before stays when the
// new address cannot be had.
func (m *metricsPort) open(d *daemon, c metrics.Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key := fmt.Sprint(c); key == m.config {
		return nil
	} else if c.Listen == "" {
		m.close()
		return nil
	} else if a, err := c.Address(); err != nil {
		return err
	} else {
		s, err := metrics.NewServer(metrics.ServerOptions{Metrics: d.parts.metrics, Allow: c.Allow, Ready: d.readiness})
		if err != nil {
			return err
		}
		m.close() // the same address with other rules is the usual change
		l, err := net.Listen("tcp", a.String())
		if err != nil {
			return fmt.Errorf("metrics.listen: %w", err)
		}
		m.server, m.addr, m.config = s, l.Addr(), key
		go func() {
			if err := s.Serve(l); err != nil {
				d.parts.log.Warn("metrics", "the metrics listener has ended", slog.String("error", err.Error()))
			}
		}()
	}
	return nil
}

// close ends the server, with little patience: a scrape is no mail.
func (m *metricsPort) close() {
	if m.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = m.server.Shutdown(ctx)
	m.server, m.addr, m.config = nil, nil, ""
}

// end is close for who does not hold the lock.
func (m *metricsPort) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.close()
}

func (m *metricsPort) address() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.addr == nil {
		return ""
	}
	return m.addr.String()
}

func (d *daemon) readiness() metrics.Readiness {
	h := d.health()
	return metrics.Readiness{Problems: h.Problems, Concerns: h.Concerns}
}

// newMetrics makes the counters; everything else is asked at a scrape.
func (d *daemon) newMetrics() *metrics.Metrics {
	return metrics.New(metrics.Options{
		Build: metrics.Build{Version: build().Version, Go: runtime.Version()},
		Sources: metrics.Sources{
			Gateway: d.gatewayFigures, Wire: d.wireFigures, Budget: d.budgetFigures, NextHops: d.hopFigures,
			Resolver: d.resolverFigures, Conduct: d.conductFigures, Accounts: d.accountFigures, Certificates: d.certificateFigures,
			Disks: d.diskFigures, Stores: d.storeFigures, Log: d.logFigures, Hold: d.holdFigures, Antivirus: d.antivirusFigures, DNSLists: d.listFigures, Alerts: d.alertFigures,
			Milter: d.milterFigures, PolicyServer: d.policyFigures,
		},
	})
}

func (d *daemon) gatewayFigures() metrics.Gateway {
	g := metrics.Gateway{Started: d.started, Draining: d.state.Load() == draining, Bypass: d.parts.bypass.state().Active,
		ReloadBad: d.badReload.Load() != nil, Reloads: d.reloads.Load(), ReloadsBad: d.reloadsBad.Load(), CheckFaults: d.parts.faults.Load()}
	if t := d.loaded.Load(); t != nil {
		g.Loaded = *t
	}
	if now := d.now.Load(); now != nil {
		g.Mode, g.TLSFault = now.settings.Mode, now.tls.Fault() != nil
	}
	return g
}

func (d *daemon) wireFigures() metrics.Wire {
	s := d.parts.server.Stats()
	return metrics.Wire{Sessions: s.Sessions, Connections: uint64(s.Connections), Refusals: uint64(s.Refusals), NoRoom: uint64(s.NoRoom),
		TLSFailed: uint64(s.TLSFailed), Panics: uint64(s.Panics), Pressure: s.Pressure, Pressed: uint64(s.Pressed),
		Rejected: map[string]uint64{"connection_limit": uint64(max(s.TurnedAway-s.Misconduct-s.NoHeader, 0)),
			"conduct": uint64(s.Misconduct), "proxy_header": uint64(s.NoHeader), "pressure": uint64(s.Shed)}}
}

func (d *daemon) budgetFigures() metrics.Budget {
	u := d.parts.budget.Usage()
	return metrics.Budget{Total: u.Total, Used: u.Used, Memory: u.Memory, UsedMemory: u.UsedMemory, Messages: u.Messages, Refused: uint64(u.Refused)}
}

func (d *daemon) hopFigures() []metrics.NextHop {
	g := d.now.Load()
	if g == nil {
		return nil
	}
	var out []metrics.NextHop
	for _, name := range slices.Sorted(maps.Keys(g.hops)) {
		s := g.hops[name].status()
		out = append(out, metrics.NextHop{Name: name, Up: s.State == "up", Busy: s.Stats.Busy, Idle: s.Stats.Idle, Waiting: s.Stats.Waiting,
			Connects: s.Stats.Connects, ConnectErrors: s.Stats.ConnectErrors, Relayed: s.Stats.Relayed, Refused: s.Stats.Refused, Ambiguous: s.Stats.Ambiguous})
	}
	return out
}

func (d *daemon) resolverFigures() metrics.Resolver {
	g := d.now.Load()
	if g == nil || g.dns == nil {
		return metrics.Resolver{}
	}
	s := g.dns.Stats()
	f := s.Failures
	out := metrics.Resolver{Hits: s.Hits, Misses: s.Misses, UDP: s.UDP, TCP: s.TCP, Skipped: s.Skipped, Silent: f.Silent, Rcode: f.Rcode,
		Malformed: f.Malformed, Network: f.Network, Foreign: f.Foreign, Busy: f.Busy, Entries: s.CacheEntries, InFlight: s.InFlight, Servers: len(s.Servers)}
	for _, one := range s.Servers {
		if one.State == resolver.Closed {
			out.ServersUp++
		}
	}
	return out
}

func (d *daemon) conductFigures() metrics.Conduct {
	s := d.parts.conduct.Stats()
	out := metrics.Conduct{Bans: s.BansActive, Banned: s.BansMade}
	for _, n := range s.Refused {
		out.Refused += n
	}
	return out
}

// logins counts what became of logins; a reload does not end it.
type logins struct{ right, wrong, putOff atomic.Uint64 }

// countedAccounts are the accounts with those counters before them.
type countedAccounts struct {
	*accounts.Accounts
	n *logins
}

func (c countedAccounts) Verify(ctx context.Context, client netip.Addr, user, password string) (bool, error) {
	ok, err := c.Accounts.Verify(ctx, client, user, password)
	switch {
	case err != nil:
		c.n.putOff.Add(1)
	case ok:
		c.n.right.Add(1)
	default:
		c.n.wrong.Add(1)
	}
	return ok, err
}

func (d *daemon) accountFigures() metrics.Accounts {
	n := &d.parts.logins
	out := metrics.Accounts{Successes: n.right.Load(), Failures: n.wrong.Load(), Busied: n.putOff.Load()}
	if g := d.now.Load(); g != nil && g.accounts != nil {
		out.Users = g.accounts.Len()
	}
	return out
}

func (d *daemon) certificateFigures() []metrics.Certificate {
	g := d.now.Load()
	if g == nil {
		return nil
	}
	var out []metrics.Certificate
	for _, c := range g.tls.Certificates() {
		out = append(out, metrics.Certificate{Name: c.Name, NotAfter: c.NotAfter})
	}
	return out
}

func (d *daemon) diskFigures() []metrics.Disk {
	var st unix.Statfs_t
	if unix.Statfs(d.start.StateDir, &st) != nil {
		return nil
	}
	return []metrics.Disk{{Path: d.start.StateDir, Free: st.Bavail * uint64(st.Bsize), Total: st.Blocks * uint64(st.Bsize)}}
}

func (d *daemon) storeFigures() []metrics.Store {
	s := d.parts.memory.Stats()
	out := []metrics.Store{{Name: "state", Entries: s.Counters + s.Values + s.Kept, Writes: s.Written, Errors: s.Failed, Pending: int(s.Pending)}}
	if d.parts.shared != nil {
		r := d.parts.shared.Stats()
		out = append(out, metrics.Store{Name: "shared", Writes: r.Calls, Errors: r.Failures, Pending: r.Pending})
	}
	return out
}

func (d *daemon) logFigures() metrics.Log {
	s := d.parts.log.Stats()
	return metrics.Log{Records: s.Records, Dropped: s.Dropped}
}

func (d *daemon) antivirusFigures() metrics.Antivirus {
	g := d.now.Load()
	if g == nil {
		return metrics.Antivirus{}
	}
	a := g.helpers.Antivirus()
	return metrics.Antivirus{Servers: a.Servers, Up: a.Up, Unscanned: a.Unscanned, Scans: a.Asked, Failures: a.Failed,
		CacheHits: a.CacheHits, CacheMisses: a.CacheMisses, Signatures: a.OldestSignatures}
}
