package metrics

import "github.com/prometheus/client_golang/prometheus"

// The values of labels, each a fixed list: what a source adds to it is left
// out until it stands here.
func milterCommands() []string {
	return []string{"options", "macros", "connect", "helo", "mail", "rcpt", "data", "header", "header_end", "body", "end", "abort", "quit", "other"}
}

func milterResults() []string {
	return []string{"relayed", "held", "refused", "discarded", "aborted", "ambiguous"}
}

func milterErrors() []string { return []string{"protocol", "panic", "no_room", "astray"} }

func policyAnswers() []string {
	return []string{"dunno", "prepend", "discard", "defer", "reject", "closed"}
}

func (c *collector) milter(s sender) {
	if c.from.Milter == nil {
		return
	}
	m := c.from.Milter()
	s.gauge("garita_milter_connections", float64(m.Sessions))
	s.gauge("garita_milter_users", float64(m.Users))
	s.counter("garita_milter_connections_total", m.Connections)
	s.counter("garita_milter_rejected_connections_total", m.TurnedAway)
	s.counter("garita_milter_refusals_total", m.Refusals)
	for _, v := range milterCommands() {
		s.counter("garita_milter_commands_total", m.Commands[v], v)
	}
	for _, v := range milterResults() {
		s.counter("garita_milter_messages_total", m.Messages[v], v)
	}
	for _, v := range milterErrors() {
		s.counter("garita_milter_errors_total", m.Errors[v], v)
	}
}

func (c *collector) policyServer(s sender) {
	if c.from.PolicyServer == nil {
		return
	}
	p := c.from.PolicyServer()
	s.gauge("garita_policy_connections", float64(p.Connections))
	for _, v := range policyAnswers() {
		s.counter("garita_policy_requests_total", p.Answers[v], v)
	}
	s.ch <- prometheus.MustNewConstHistogram(s.d["garita_policy_request_duration_seconds"], p.Count, p.Sum, p.Durations)
}
