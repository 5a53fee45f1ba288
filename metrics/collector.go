package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxHops   = 200
	maxCerts  = 100
	maxDisks  = 20
	maxStores = 20
	maxLists  = 32
	maxOwn    = 64 * maxLists
	maxSent   = 1000 // channels by results
)

// A collector turns the pictures of the sources into metrics at a scrape.
type collector struct {
	build  Build
	from   Sources
	d      descriptions
	panics atomic.Uint64 // of sources
}

func newCollector(b Build, from Sources) *collector {
	return &collector{build: b, from: from, d: describe()}
}

// Describe is prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.d {
		ch <- d
	}
}

// Collect is prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := sender{c.d, ch}
	s.gauge("garita_build_info", 1, text(c.build.Version), text(c.build.Go))
	for _, part := range []func(sender){c.gateway, c.wire, c.budget, c.hops, c.resolver, c.conduct, c.accounts, c.certificates, c.disks, c.stores, c.log, c.antivirus, c.lists, c.hold, c.alerts,
		c.milter, c.policyServer} {
		c.guard(part, s)
	}
	s.counter("garita_metrics_source_panics_total", c.panics.Load())
}

// guard keeps a fault in one source from taking all other figures with it.
func (c *collector) guard(part func(sender), s sender) {
	defer func() {
		if recover() != nil {
			c.panics.Add(1)
		}
	}()
	part(s)
}

// text makes a label of a text of ours.
func text(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	if !isName(s) {
		return other
	}
	return s
}

// sender sends metrics by their names.
type sender struct {
	d  descriptions
	ch chan<- prometheus.Metric
}

func (s sender) gauge(name string, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.d[name], prometheus.GaugeValue, v, labels...)
}

func (s sender) counter(name string, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.d[name], prometheus.CounterValue, float64(v), labels...)
}

func (s sender) flag(name string, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	s.gauge(name, v, labels...)
}

func (s sender) time(name string, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.gauge(name, float64(t.UnixMilli())/1000, labels...)
	}
}

func (c *collector) gateway(s sender) {
	if c.from.Gateway == nil {
		return
	}
	g := c.from.Gateway()
	for _, mode := range []string{"enforce", "observe"} {
		s.flag("garita_mode", g.Mode == mode, mode)
	}
	s.flag("garita_bypass", g.Bypass)
	s.flag("garita_draining", g.Draining)
	s.time("garita_start_time_seconds", g.Started)
	s.time("garita_config_last_reload_success_timestamp_seconds", g.Loaded)
	s.flag("garita_config_last_reload_successful", !g.ReloadBad)
	s.counter("garita_config_reloads_total", g.Reloads, "good")
	s.counter("garita_config_reloads_total", g.ReloadsBad, "bad")
	s.flag("garita_tls_fault", g.TLSFault)
	s.counter("garita_check_faults_total", g.CheckFaults)
}

func (c *collector) wire(s sender) {
	if c.from.Wire == nil {
		return
	}
	w := c.from.Wire()
	s.gauge("garita_smtp_connections", float64(w.Sessions))
	s.counter("garita_smtp_connections_total", w.Connections)
	for _, reason := range rejectReasons() {
		s.counter("garita_smtp_rejected_connections_total", w.Rejected[reason], reason)
	}
	s.counter("garita_smtp_refusals_total", w.Refusals)
	s.counter("garita_smtp_no_room_total", w.NoRoom)
	s.counter("garita_smtp_tls_failures_total", w.TLSFailed)
	s.counter("garita_smtp_panics_total", w.Panics)
	s.flag("garita_pressure", w.Pressure)
	s.counter("garita_pressure_times_total", w.Pressed)
}

func (c *collector) budget(s sender) {
	if c.from.Budget == nil {
		return
	}
	b := c.from.Budget()
	s.gauge("garita_budget_bytes", float64(b.Total), "all")
	s.gauge("garita_budget_bytes", float64(b.Memory), "memory")
	s.gauge("garita_budget_used_bytes", float64(b.Used), "all")
	s.gauge("garita_budget_used_bytes", float64(b.UsedMemory), "memory")
	s.gauge("garita_budget_messages", float64(b.Messages))
	s.counter("garita_budget_refused_total", b.Refused)
}

func (c *collector) hops(s sender) {
	if c.from.NextHops == nil {
		return
	}
	l := label{most: maxHops}
	for _, h := range c.from.NextHops() {
		name, ok := l.take(h.Name)
		if !ok {
			continue
		}
		s.flag("garita_nexthop_up", h.Up, name)
		s.gauge("garita_nexthop_connections", float64(h.Busy), name, "busy")
		s.gauge("garita_nexthop_connections", float64(h.Idle), name, "idle")
		s.gauge("garita_nexthop_waiting", float64(h.Waiting), name)
		s.counter("garita_nexthop_connects_total", h.Connects, name)
		s.counter("garita_nexthop_connect_errors_total", h.ConnectErrors, name)
		s.counter("garita_delivery_attempts_total", h.Relayed, name, "relayed")
		s.counter("garita_delivery_attempts_total", h.Refused, name, "refused")
		s.counter("garita_delivery_attempts_total", h.Ambiguous, name, "ambiguous")
	}
}

func (c *collector) resolver(s sender) {
	if c.from.Resolver == nil {
		return
	}
	r := c.from.Resolver()
	s.counter("garita_dns_lookups_total", r.Hits, "hit")
	s.counter("garita_dns_lookups_total", r.Misses, "miss")
	s.counter("garita_dns_queries_total", r.UDP, "udp")
	s.counter("garita_dns_queries_total", r.TCP, "tcp")
	s.counter("garita_dns_skipped_total", r.Skipped)
	for reason, n := range map[string]uint64{"silent": r.Silent, "rcode": r.Rcode, "malformed": r.Malformed,
		"network": r.Network, "foreign": r.Foreign, "busy": r.Busy} {
		s.counter("garita_dns_errors_total", n, reason)
	}
	s.gauge("garita_dns_cache_entries", float64(r.Entries))
	s.gauge("garita_dns_in_flight", float64(r.InFlight))
	s.gauge("garita_dns_servers", float64(r.ServersUp), "up")
	s.gauge("garita_dns_servers", float64(r.Servers-r.ServersUp), "down")
}

func (c *collector) conduct(s sender) {
	if c.from.Conduct == nil {
		return
	}
	k := c.from.Conduct()
	s.gauge("garita_conduct_bans", float64(k.Bans))
	s.counter("garita_conduct_bans_total", k.Banned)
	s.counter("garita_conduct_refusals_total", k.Refused)
}

func (c *collector) accounts(s sender) {
	if c.from.Accounts == nil {
		return
	}
	a := c.from.Accounts()
	s.gauge("garita_accounts", float64(a.Users))
	s.counter("garita_smtp_auth_successes_total", a.Successes)
	s.counter("garita_smtp_auth_failures_total", a.Failures)
	s.counter("garita_smtp_auth_busy_total", a.Busied)
}

func (c *collector) certificates(s sender) {
	if c.from.Certificates == nil {
		return
	}
	l := label{most: maxCerts}
	for _, cert := range c.from.Certificates() {
		if name, ok := l.take(cert.Name); ok {
			s.time("garita_tls_cert_not_after_timestamp_seconds", cert.NotAfter, name)
		}
	}
}

func (c *collector) disks(s sender) {
	if c.from.Disks == nil {
		return
	}
	l := label{most: maxDisks}
	for _, d := range c.from.Disks() {
		if path, ok := l.take(d.Path); ok {
			s.gauge("garita_disk_free_bytes", float64(d.Free), path)
			s.gauge("garita_disk_size_bytes", float64(d.Total), path)
		}
	}
}

func (c *collector) stores(s sender) {
	if c.from.Stores == nil {
		return
	}
	l := label{most: maxStores}
	for _, st := range c.from.Stores() {
		name, ok := l.take(st.Name)
		if !ok {
			continue
		}
		s.gauge("garita_store_entries", float64(st.Entries), name)
		s.counter("garita_store_writes_total", st.Writes, name)
		s.counter("garita_store_errors_total", st.Errors, name)
		s.gauge("garita_store_pending", float64(st.Pending), name)
	}
}

func (c *collector) hold(s sender) {
	if c.from.Hold == nil {
		return
	}
	h := c.from.Hold()
	s.gauge("garita_hold_messages", float64(h.Messages))
	s.gauge("garita_hold_bytes", float64(h.Bytes))
}

func (c *collector) log(s sender) {
	if c.from.Log == nil {
		return
	}
	l := c.from.Log()
	s.counter("garita_log_records_total", l.Records)
	s.counter("garita_log_dropped_records_total", l.Dropped)
}

func (c *collector) antivirus(s sender) {
	if c.from.Antivirus == nil {
		return
	}
	a := c.from.Antivirus()
	s.gauge("garita_clamav_servers", float64(a.Up), "up")
	s.gauge("garita_clamav_servers", float64(a.Servers-a.Up), "down")
	s.gauge("garita_clamav_unscanned_seconds", a.Unscanned.Seconds())
	s.counter("garita_clamav_scans_total", a.Scans)
	s.counter("garita_clamav_failures_total", a.Failures)
	s.counter("garita_clamav_cache_lookups_total", a.CacheHits, "hit")
	s.counter("garita_clamav_cache_lookups_total", a.CacheMisses, "miss")
	s.time("garita_clamav_signatures_timestamp_seconds", a.Signatures)
}

// answersOfLists are the results of garita_dnsbl_queries_total.
func answersOfLists() []string {
	return []string{"listed", "clean", "doubted", "error", "failed", "skipped"}
}

func (c *collector) lists(s sender) {
	if c.from.DNSLists == nil {
		return
	}
	all := c.from.DNSLists()
	for i := range all.Lists[:min(len(all.Lists), maxLists)] {
		l := &all.Lists[i]
		s.flag("garita_dnsbl_list_healthy", l.Healthy, text(l.Name))
		for _, result := range answersOfLists() {
			s.counter("garita_dnsbl_queries_total", l.Answers[result], text(l.Name), result)
		}
	}
	for _, o := range all.Own[:min(len(all.Own), maxOwn)] {
		s.flag("garita_own_ip_listed", o.Listed, o.IP, text(o.List))
	}
}

func (c *collector) alerts(s sender) {
	if c.from.Alerts == nil {
		return
	}
	a := c.from.Alerts()
	for _, severity := range []string{"info", "warning", "critical"} {
		s.gauge("garita_alerts_open", float64(a.Open[severity]), severity)
	}
	l := label{most: maxSent}
	for _, one := range a.Sent {
		if _, ok := l.take(one.Channel + "/" + one.Result); ok {
			s.counter("garita_alerts_sent_total", one.N, one.Channel, one.Result)
		}
	}
}
