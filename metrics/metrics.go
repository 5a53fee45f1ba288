package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"garita/mail"
)

const maxRules = 500

// Options are what Metrics are made from.
type Options struct {
	Build   Build
	Sources Sources
	Now     func() time.Time // nil: time.Now; for the length of sessions
}

// Metrics counts, and asks its sources at a scrape. It is safe for concurrent
// use.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	messages   [2][len(kinds)]prometheus.Counter
	recipients [2][len(kinds)]prometheus.Counter
	size       [2]prometheus.Observer
	processing [2][3]prometheus.Observer
	sessions   [2]prometheus.Observer
	tls        [2]map[string]prometheus.Counter
	rules      *bounded[*[len(actions)]prometheus.Counter]
}

// kinds are the outcomes of a message, in the order of mail.OutcomeKind.
var kinds = [...]string{"aborted", "relayed", "held", "refused", "discarded", "ambiguous"}

// actions are what a finding did.
var actions = [...]string{"none", "observed", "score", "accept", "discard", "quarantine", "defer", "reject"}

var directions = [...]string{"in", "out"}

// New makes the metrics with a registry of their own.
func New(o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{registry: prometheus.NewRegistry(), now: o.Now}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(o.Build, o.Sources),
	)
	m.perMessage()
	m.perSession()
	return m
}

func (m *Metrics) perMessage() {
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "garita_messages_total",
		Help: "Transactions by how they ended. A transaction begins with MAIL."}, []string{"direction", "verdict"})
	recipients := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "garita_recipients_total",
		Help: "Recipients that were taken, by how their transaction ended."}, []string{"direction", "verdict"})
	size := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "garita_message_size_bytes",
		Help: "Size of messages that were received whole.", Buckets: prometheus.ExponentialBuckets(1<<10, 4, 9)}, []string{"direction"})
	processing := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "garita_message_processing_seconds",
		Help:    "Time of the steps of a message: receive is the client's, check is ours, relay is the next hop's.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}}, []string{"direction", "stage"})
	rules := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "garita_rule_hits_total",
		Help: "Findings of checks and rules, by what they did. Rules beyond 500 are \"other\"."}, []string{"rule", "action"})
	m.registry.MustRegister(messages, recipients, size, processing, rules)
	for d, direction := range directions {
		for k, kind := range kinds {
			m.messages[d][k] = messages.WithLabelValues(direction, kind)
			m.recipients[d][k] = recipients.WithLabelValues(direction, kind)
		}
		m.size[d] = size.WithLabelValues(direction)
		for i, stage := range []string{"receive", "check", "relay"} {
			m.processing[d][i] = processing.WithLabelValues(direction, stage)
		}
	}
	m.rules = newBounded(maxRules, func(rule string) *[len(actions)]prometheus.Counter {
		var c [len(actions)]prometheus.Counter
		for i, action := range actions {
			c[i] = rules.WithLabelValues(rule, action)
		}
		return &c
	})
}

func (m *Metrics) perSession() {
	sessions := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "garita_smtp_session_duration_seconds",
		Help: "Length of sessions that have ended.", Buckets: []float64{.05, .25, 1, 5, 15, 60, 300, 900, 3600}}, []string{"direction"})
	tls := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "garita_smtp_tls_connections_total",
		Help: "Sessions that have ended, by their protocol version; none is clear text."}, []string{"direction", "tls_version"})
	m.registry.MustRegister(sessions, tls)
	for d, direction := range directions {
		m.sessions[d] = sessions.WithLabelValues(direction)
		m.tls[d] = map[string]prometheus.Counter{}
		for _, v := range []string{"none", "1.2", "1.3", other} {
			m.tls[d][v] = tls.WithLabelValues(direction, v)
		}
	}
}

// Observe counts how a transaction ended. Call it once for each, from the
// wrapper of Policy.Finish.
func (m *Metrics) Observe(tx *mail.Transaction, o mail.Outcome) {
	d := 0
	if tx.Direction == mail.Out {
		d = 1
	}
	k := min(int(o.Kind), len(kinds)-1)
	m.messages[d][k].Inc()
	m.recipients[d][k].Add(float64(len(tx.ForwardPaths)))
	if tx.Message != nil {
		m.size[d].Observe(float64(tx.Message.Size()))
	}
	for i, took := range [3]time.Duration{o.Steps.Receive, o.Steps.Check, o.Steps.Relay} {
		if took > 0 {
			m.processing[d][i].Observe(took.Seconds())
		}
	}
	for i := range tx.Findings {
		f := &tx.Findings[i]
		m.rules.get(f.Symbol)[actionOf(f)].Inc()
	}
}

// actionOf is the index in actions of what a finding did.
func actionOf(f *mail.Finding) int {
	switch {
	case f.Mode == mail.Observe:
		return 1
	case !f.Counted:
		return 0
	}
	switch f.Verdict {
	case mail.Accept:
		return 3
	case mail.Discard:
		return 4
	case mail.Quarantine:
		return 5
	case mail.Defer:
		return 6
	case mail.Reject:
		return 7
	}
	if f.Score != 0 {
		return 2
	}
	return 0
}

// Closed counts a session that is over. Call it from the wrapper of
// Policy.Closed.
func (m *Metrics) Closed(s *mail.Session) {
	d := 0
	if s.Role == mail.Outbound {
		d = 1
	}
	if !s.Start.IsZero() {
		m.sessions[d].Observe(max(0, m.now().Sub(s.Start).Seconds()))
	}
	v := "none"
	if s.TLS != nil {
		switch s.TLS.Version {
		case 0x0303:
			v = "1.2"
		case 0x0304:
			v = "1.3"
		default:
			v = other
		}
	}
	m.tls[d][v].Inc()
}
