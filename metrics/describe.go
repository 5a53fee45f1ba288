package metrics

import "github.com/prometheus/client_golang/prometheus"

// descriptions are the metrics of the sources, by name.
type descriptions map[string]*prometheus.Desc

func describe() descriptions {
	out := descriptions{}
	for _, m := range sourced() {
		out[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return out
}

type metric struct {
	name, help string
	labels     []string
}

// sourced is every metric that a scrape asks a source for.
func sourced() []metric {
	l := func(names ...string) []string { return names }
	return append([]metric{
		{"garita_build_info", "The version of the gateway and of Go; always 1.", l("version", "goversion")},
		{"garita_mode", "1 for the mode of the configuration: enforce or observe.", l("mode")},
		{"garita_bypass", "1 while a bypass keeps checks from refusing anything.", nil},
		{"garita_draining", "1 while the gateway stops.", nil},
		{"garita_start_time_seconds", "When the gateway started, in Unix time.", nil},
		{"garita_config_last_reload_successful", "1 when the last reading of the configuration succeeded.", nil},
		{"garita_config_last_reload_success_timestamp_seconds", "When the configuration in use was read, in Unix time.", nil},
		{"garita_config_reloads_total", "Reloads by their result: good or bad.", l("result")},
		{"garita_tls_fault", "1 while a certificate file cannot be taken; the old certificate stays in use.", nil},
		{"garita_tls_cert_not_after_timestamp_seconds", "When a certificate of the listeners ends, in Unix time.", l("name")},
		{"garita_check_faults_total", "Errors, panics and time-outs of checks.", nil},
		{"garita_disk_free_bytes", "Free space of the file system of a folder that the gateway writes to.", l("path")},
		{"garita_disk_size_bytes", "Size of that file system.", l("path")},
		{"garita_store_entries", "Entries of a store.", l("store")},
		{"garita_store_writes_total", "Writes of a store to disk.", l("store")},
		{"garita_store_errors_total", "Faults of a store; what it holds may not survive a restart.", l("store")},
		{"garita_store_pending", "Changes of a store that are not on disk yet.", l("store")},
		{"garita_clamav_servers", "Servers of the antivirus, by state: up or down.", l("state")},
		{"garita_clamav_unscanned_seconds", "How long no message has been scanned; 0 while they are.", nil},
		{"garita_clamav_scans_total", "Scans that a server answered.", nil},
		{"garita_clamav_failures_total", "Scans that no server answered.", nil},
		{"garita_clamav_cache_lookups_total", "Look-ups of a verdict in memory, by result: hit or miss.", l("result")},
		{"garita_clamav_signatures_timestamp_seconds", "Date of the oldest signatures of the servers, in Unix time.", nil},
		{"garita_dnsbl_queries_total", "Answers of DNS lists, by list and by result: listed, clean, doubted (listed, and not believed), error (an answer that is no listing), failed (none), skipped (not asked, or not counted).", l("list", "result")},
		{"garita_dnsbl_list_healthy", "1 while a DNS list counts; 0 while it is suspended or on probation.", l("list")},
		{"garita_own_ip_listed", "1 while one of our own, as configured, is on a DNS list; 0 while it is not.", l("ip", "list")},
		{"garita_hold_messages", "Messages in the holding place, with the copies of those that were released.", nil},
		{"garita_hold_bytes", "Octets that they take.", nil},
		{"garita_alerts_open", "Open alerts, by severity: info, warning or critical.", l("severity")},
		{"garita_alerts_sent_total", "Notices by channel and result: sent, retried, failed or dropped; hung: attempts without an end.", l("channel", "result")},
		{"garita_log_records_total", "Records of the mail log.", nil},
		{"garita_log_dropped_records_total", "Records that were dropped because the log could not keep up.", nil},
		{"garita_metrics_source_panics_total", "Scrapes in which figures are missing because their source failed.", nil},
	}, append(traffic(), doors()...)...)
}

// traffic is what has to do with sessions, next hops and look-ups.
func traffic() []metric {
	l := func(names ...string) []string { return names }
	return []metric{
		{"garita_smtp_connections", "Sessions now.", nil},
		{"garita_smtp_connections_total", "Connections that were accepted.", nil},
		{"garita_smtp_rejected_connections_total", "Connections that were turned away, by reason.", l("reason")},
		{"garita_smtp_refusals_total", "Senders and recipients that were refused.", nil},
		{"garita_smtp_no_room_total", "Messages that were put off before DATA because there was no room.", nil},
		{"garita_smtp_tls_failures_total", "TLS handshakes that failed.", nil},
		{"garita_smtp_panics_total", "Sessions that ended by a fault of the gateway.", nil},
		{"garita_smtp_auth_successes_total", "Logins that succeeded.", nil},
		{"garita_smtp_auth_failures_total", "Logins with a wrong user or password.", nil},
		{"garita_smtp_auth_busy_total", "Logins that were put off because too many were under way.", nil},
		{"garita_accounts", "Users that may log in.", nil},
		{"garita_pressure", "1 while deadlines are shorter because slots run out.", nil},
		{"garita_pressure_times_total", "How often that began.", nil},
		{"garita_budget_bytes", "Room for all messages together, and the part of it in memory.", l("kind")},
		{"garita_budget_used_bytes", "Room that messages take now.", l("kind")},
		{"garita_budget_messages", "Messages that take room now.", nil},
		{"garita_budget_refused_total", "Messages that found no room.", nil},
		{"garita_nexthop_up", "1 while a next hop answers.", l("nexthop")},
		{"garita_nexthop_connections", "Connections to a next hop, busy or idle.", l("nexthop", "state")},
		{"garita_nexthop_waiting", "Deliveries that wait for a connection.", l("nexthop")},
		{"garita_nexthop_connects_total", "Connections made to a next hop.", l("nexthop")},
		{"garita_nexthop_connect_errors_total", "Connections to a next hop that failed.", l("nexthop")},
		{"garita_delivery_attempts_total", "Messages offered to a next hop, by what became of them.", l("nexthop", "result")},
		{"garita_dns_lookups_total", "Look-ups by whether the cache had the answer: hit or miss.", l("result")},
		{"garita_dns_queries_total", "Questions sent to name servers.", l("protocol")},
		{"garita_dns_errors_total", "Questions that got no answer, by reason.", l("reason")},
		{"garita_dns_skipped_total", "Questions that were not asked because a server does not answer.", nil},
		{"garita_dns_cache_entries", "Answers in the cache.", nil},
		{"garita_dns_in_flight", "Questions under way.", nil},
		{"garita_dns_servers", "Name servers by state: up or down.", l("state")},
		{"garita_conduct_bans", "Clients that are banned now.", nil},
		{"garita_conduct_bans_total", "Bans that were spoken.", nil},
		{"garita_conduct_refusals_total", "Acts of clients that were too much.", nil},
	}
}

// doors is what MTAs ask that keep their mail.
func doors() []metric {
	l := func(names ...string) []string { return names }
	return []metric{
		{"garita_milter_connections", "Milter connections of MTAs now.", nil},
		{"garita_milter_users", "Those of them whose client has logged in.", nil},
		{"garita_milter_connections_total", "Milter connections that were accepted.", nil},
		{"garita_milter_rejected_connections_total", "Milter connections that were turned away.", nil},
		{"garita_milter_commands_total", "Commands of the milter protocol.", l("command")},
		{"garita_milter_refusals_total", "Clients, senders and recipients that the milter refused.", nil},
		{"garita_milter_messages_total", "Messages by what the milter said: relayed, held, refused, discarded, aborted or ambiguous.", l("result")},
		{"garita_milter_errors_total", "Faults by kind: protocol (the MTA broke it), panic, no_room, astray (an edit that could not be made).", l("kind")},
		{"garita_policy_connections", "Connections of MTAs to the policy server now.", nil},
		{"garita_policy_requests_total", "Requests to the policy server by answer: dunno, prepend, discard, defer, reject, or closed (none, after a fault).", l("answer")},
		{"garita_policy_request_duration_seconds", "How long the answers of the policy server took.", nil},
	}
}
