package metrics

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"garita/mail"
)

// full are sources with a figure for everything.
func full() Sources {
	now := time.Unix(1795000000, 0)
	return Sources{
		Gateway: func() Gateway {
			return Gateway{Mode: "observe", Bypass: true, Started: now, Loaded: now, ReloadBad: true, Reloads: 3, ReloadsBad: 2, TLSFault: true, CheckFaults: 4}
		},
		Wire: func() Wire {
			return Wire{Sessions: 7, Connections: 100, Refusals: 5, NoRoom: 1, TLSFailed: 2, Panics: 0, Rejected: map[string]uint64{"connection_limit": 9, "made up": 1}, Pressed: 1}
		},
		Budget: func() Budget {
			return Budget{Total: 2 << 30, Memory: 128 << 20, Used: 5, UsedMemory: 4, Messages: 2, Refused: 1}
		},
		NextHops: func() []NextHop {
			return []NextHop{{Name: "mailserver", Up: true, Busy: 1, Relayed: 5}, {Name: "smarthost"}}
		},
		Resolver: func() Resolver {
			return Resolver{Hits: 5, Misses: 2, UDP: 2, Silent: 1, Entries: 3, Servers: 2, ServersUp: 1}
		},
		Conduct:  func() Conduct { return Conduct{Bans: 1, Banned: 2, Refused: 6} },
		Accounts: func() Accounts { return Accounts{Users: 2, Successes: 1, Failures: 8} },
		Certificates: func() []Certificate {
			return []Certificate{{"default", now.Add(time.Hour)}, {"other", now}}
		},
		Disks:  func() []Disk { return []Disk{{"/var/lib/garita", 1 << 30, 2 << 30}} },
		Stores: func() []Store { return []Store{{Name: "state", Entries: 5, Writes: 4}} },
		Log:    func() Log { return Log{100, 2} },
		DNSLists: func() DNSLists {
			return DNSLists{Lists: []DNSList{{Name: "bl", Healthy: true, Answers: map[string]uint64{"listed": 4}}}, Own: []OwnListed{{"203.0.113.5", "bl", true}}}
		},
		Antivirus: func() Antivirus {
			return Antivirus{Servers: 2, Up: 1, Unscanned: time.Minute, Scans: 9, Failures: 1, CacheHits: 3, CacheMisses: 6, Signatures: now}
		},
		Hold: func() Hold { return Hold{Messages: 3, Bytes: 4096} },
		Milter: func() Milter {
			return Milter{Sessions: 3, Users: 1, Connections: 9, TurnedAway: 2, Refusals: 4, Commands: map[string]uint64{"mail": 8, "made up": 1},
				Messages: map[string]uint64{"held": 2}, Errors: map[string]uint64{"protocol": 1}}
		},
		PolicyServer: func() PolicyServer {
			return PolicyServer{Connections: 2, Answers: map[string]uint64{"defer": 5, "made up": 1}, Durations: map[float64]uint64{0.001: 4, 0.1: 6}, Count: 7, Sum: 1.5}
		},
		Alerts: func() Alerts {
			return Alerts{Open: map[string]int{"warning": 2}, Sent: []AlertsSent{{"mail.ops", "sent", 3}, {"mail.ops", "failed", 1}, {"bad\nname", "sent", 1}}}
		},
	}
}

func scrape(t *testing.T, m *Metrics) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	s, err := NewServer(ServerOptions{Metrics: m, Ready: func() Readiness { return Readiness{} }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return w.Body.String(), families
}

// The exposition is what promtool would take: names, units, help and types.
func TestExposition(t *testing.T) {
	m := New(Options{Build: Build{"v1.2.3", "go1.26.8"}, Sources: full()})
	m.Observe(&mail.Transaction{Session: &mail.Session{}, Direction: mail.In, Findings: []mail.Finding{{Symbol: "helo.syntax"}}}, mail.Outcome{Kind: mail.Relayed})
	text, families := scrape(t, m)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "garita_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, want := range sourced() {
		f := families[want.name]
		if f == nil {
			t.Errorf("%s is missing", want.name)
			continue
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", want.name)
		}
		if (f.GetType() == dto.MetricType_COUNTER) != strings.HasSuffix(want.name, "_total") {
			t.Errorf("%s is a %s", want.name, f.GetType())
		}
	}
	for _, want := range []string{
		`garita_build_info{goversion="go1.26.8",version="v1.2.3"} 1`, `garita_mode{mode="observe"} 1`, `garita_mode{mode="enforce"} 0`,
		`garita_config_last_reload_successful 0`, `garita_config_last_reload_success_timestamp_seconds 1.795e+09`,
		`garita_smtp_connections 7`, `garita_smtp_rejected_connections_total{reason="connection_limit"} 9`,
		`garita_messages_total{direction="in",verdict="relayed"} 1`, `garita_delivery_attempts_total{nexthop="mailserver",result="relayed"} 5`,
		`garita_alerts_open{severity="warning"} 2`, `garita_alerts_sent_total{channel="mail.ops",result="failed"} 1`, `garita_nexthop_up{nexthop="smarthost"} 0`, `garita_tls_cert_not_after_timestamp_seconds{name="default"} 1.7950036e+09`,
		`garita_milter_connections 3`, `garita_milter_users 1`, `garita_milter_commands_total{command="mail"} 8`, `garita_milter_messages_total{result="held"} 2`,
		`garita_milter_errors_total{kind="protocol"} 1`, `garita_milter_errors_total{kind="panic"} 0`, `garita_policy_requests_total{answer="defer"} 5`,
		`garita_policy_request_duration_seconds_bucket{le="0.001"} 4`, `garita_policy_request_duration_seconds_count 7`, `garita_policy_request_duration_seconds_sum 1.5`,
		`garita_disk_free_bytes{path="/var/lib/garita"} 1.073741824e+09`,
		`garita_rule_hits_total{action="none",rule="helo.syntax"} 1`, "\ngo_goroutines ", "\nprocess_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "made up") {
		t.Error("a reason that is not in the list became a label")
	}
}

// Sources that are not there leave their metrics out; one that panics leaves
// out its own alone.
func TestSourcesMayBeMissingOrPanic(t *testing.T) {
	if _, families := scrape(t, New(Options{})); families["garita_smtp_connections"] != nil || families["garita_build_info"] == nil {
		t.Error("no sources: wrong metrics")
	}
	from := full()
	from.Wire = func() Wire { panic("a fault") }
	text, families := scrape(t, New(Options{Sources: from}))
	if families["garita_smtp_connections"] != nil || families["garita_log_records_total"] == nil || !strings.Contains(text, "garita_metrics_source_panics_total 1") {
		t.Error("a panic took more than its own figures, or was not counted")
	}
}

// 100,000 distinct hostile values in every place where one could come in
// leave a scrape of bounded size (L-34).
func TestCardinality(t *testing.T) {
	const n = 100000
	hostile := func(i int) string {
		return [...]string{fmt.Sprintf("sym%d", i), fmt.Sprintf("a\"} 1\nevil{x=\"%d", i), fmt.Sprintf("\xff%d", i), fmt.Sprintf("user%d@example.org", i), strings.Repeat("x", i%300)}[i%5]
	}
	from := full()
	from.NextHops = func() []NextHop {
		out := make([]NextHop, 0, n)
		for i := range n {
			out = append(out, NextHop{Name: hostile(i)})
		}
		return out
	}
	from.Certificates = func() []Certificate {
		out := make([]Certificate, 0, n)
		for i := range n {
			out = append(out, Certificate{hostile(i), time.Unix(1, 0)})
		}
		return out
	}
	from.Wire = func() Wire {
		w := Wire{Rejected: map[string]uint64{}}
		for i := range n {
			w.Rejected[hostile(i)] = 1
		}
		return w
	}
	m := New(Options{Build: Build{hostile(1), hostile(2)}, Sources: from})
	for i := range n {
		s := &mail.Session{Helo: hostile(i), Role: mail.Role(i), Host: mail.HostName{Name: hostile(i)}, Login: hostile(i),
			Start: time.Now(), TLS: &tls.ConnectionState{Version: uint16(i)}}
		tx := &mail.Transaction{Session: s, ID: hostile(i), Direction: mail.Direction(i),
			Findings: []mail.Finding{{Symbol: hostile(i), Detail: hostile(i), Rule: hostile(i), Verdict: mail.Verdict(i), Mode: mail.Mode(i), Counted: true, Score: math.NaN()}}}
		tx.ReversePath = mail.Path{Local: hostile(i), Domain: "x"}
		m.Observe(tx, mail.Outcome{Kind: mail.OutcomeKind(i), NextHop: hostile(i), NextHopReply: hostile(i), Steps: mail.Steps{Receive: time.Duration(i)}})
		m.Closed(s)
	}
	text, families := scrape(t, m)
	if len(text) > 1<<20 {
		t.Errorf("a scrape of %d octets", len(text))
	}
	series := 0
	for name, f := range families {
		series += len(f.Metric)
		if strings.HasPrefix(name, "evil") {
			t.Error("hostile text made a metric")
		}
	}
	if series > (maxRules+1)*len(actions)+maxHops*9+maxCerts+400 {
		t.Errorf("%d series", series)
	}
	if got := len(m.rules.byKey); got > maxRules+1 {
		t.Errorf("%d rules", got)
	}
	if strings.Contains(text, "@example.org") || strings.Contains(text, "\xff") {
		t.Error("hostile text is in the scrape")
	}
}

// A transaction is counted where it belongs.
func TestObserve(t *testing.T) {
	m := New(Options{})
	reject := &mail.Finding{Symbol: "access.sender", Verdict: mail.Reject, Counted: true}
	observed := &mail.Finding{Symbol: "access.sender", Verdict: mail.Reject, Mode: mail.Observe}
	scored := &mail.Finding{Symbol: "helo.syntax", Score: 2, Counted: true}
	tx := &mail.Transaction{Session: &mail.Session{}, Direction: mail.Out, Findings: []mail.Finding{*reject, *observed, *scored}}
	tx.ForwardPaths = make([]mail.Recipient, 3)
	m.Observe(tx, mail.Outcome{Kind: mail.Refused, Steps: mail.Steps{Receive: time.Second, Relay: time.Minute}})
	text, _ := scrape(t, m)
	for _, want := range []string{
		`garita_messages_total{direction="out",verdict="refused"} 1`, `garita_recipients_total{direction="out",verdict="refused"} 3`,
		`garita_rule_hits_total{action="reject",rule="access.sender"} 1`, `garita_rule_hits_total{action="observed",rule="access.sender"} 1`,
		`garita_rule_hits_total{action="score",rule="helo.syntax"} 1`, `garita_message_processing_seconds_sum{direction="out",stage="relay"} 60`,
		`garita_message_processing_seconds_count{direction="out",stage="check"} 0`, `garita_message_size_bytes_count{direction="out"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	for k := mail.Aborted; k <= mail.Ambiguous; k++ {
		if kinds[k] != k.String() {
			t.Errorf("kind %d is %s", k, k)
		}
	}
}

func TestClosed(t *testing.T) {
	now := time.Unix(1000, 0)
	m := New(Options{Now: func() time.Time { return now }})
	m.Closed(&mail.Session{Role: mail.Inbound, Start: now.Add(-3 * time.Second), TLS: &tls.ConnectionState{Version: tls.VersionTLS13}})
	m.Closed(&mail.Session{Role: mail.Outbound, Start: now.Add(time.Hour)}) // the clock went back
	text, _ := scrape(t, m)
	for _, want := range []string{`garita_smtp_session_duration_seconds_sum{direction="in"} 3`, `garita_smtp_session_duration_seconds_sum{direction="out"} 0`,
		`garita_smtp_tls_connections_total{direction="in",tls_version="1.3"} 1`, `garita_smtp_tls_connections_total{direction="out",tls_version="none"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New(Options{})
	tx := &mail.Transaction{Session: &mail.Session{}, Direction: mail.In, Findings: []mail.Finding{{Symbol: "helo.syntax"}, {Symbol: "access.client"}}}
	o := mail.Outcome{Kind: mail.Relayed, Steps: mail.Steps{Receive: 1, Check: 1, Relay: 1}}
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(tx, o)
	}
}
