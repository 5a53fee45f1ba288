// Package metrics shows what the gateway does to Prometheus (text exposition
// format 0.0.4 and OpenMetrics) and its health to whoever watches it, by HTTP
// on a local address: /metrics, /healthz, /readyz.
//
// Most figures are pictures that the parts of the gateway keep anyway and that
// are asked for at a scrape; what a message or session adds is counted by
// Observe and Closed, which only add to counters that exist already.
//
// Labels are bounded (attacks L-34): each comes from a fixed list, or is a name
// out of the configuration in a set of bounded size, beyond which everything is
// "other". No address, host name, sender or recipient is ever a label.
//
// It keeps no history, knows no alerts, and has no TLS and no passwords: it
// listens on loopback, and elsewhere only for named networks. A source that
// panics leaves its figures out and is counted.
//
// # Limits
//
// 500 rules, 200 next hops, 100 certificates, 20 disks, 20 stores; 32
// connections at a time, 4 scrapes at a time, 8 KB of request header, 10
// seconds for an answer; 50 reasons of 300 octets.
package metrics
