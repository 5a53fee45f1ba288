package keys

import "testing"

// Beginnings of scenes.
const (
	sceneHello    = "EHLO c.example\n"
	sceneEnvelope = sceneHello + "MAIL FROM:<a@sender.example>\nRCPT TO:<b@our.example>\n"
	sceneData     = sceneEnvelope + "DATA\n"
)

// listenerRows are the keys of a listener and the limits that the wire keeps.
func listenerRows() []effect {
	const l = "listener.NAME."
	far := sceneHello + "MAIL FROM:<a@sender.example>\nRCPT TO:<b@far.example>"
	const relay = "-Relay access denied"
	const outbound = l + `role = "outbound"` + "\n"
	const trusted = l + `trusted_networks = ["192.0.2.0/24"]` + "\n"
	const refused = `check.access.clients = ["203.0.113.9 reject Not you"]`
	rows := []effect{
		{key: l + "role", value: `"outbound"`, base: trusted, scene: far, want: relay, still: "next hop: RCPT b@far.example"},
		{key: l + "relay_domains", value: `["our.example", "far.example"]`, scene: far, want: relay, still: "next hop: RCPT b@far.example"},
		{key: l + "trusted_networks", value: `["192.0.2.0/24"]`, base: outbound, scene: far, want: relay, still: "next hop: RCPT b@far.example"},
		{key: l + "postmaster", value: `"chief@our.example"`, scene: sceneHello + "MAIL FROM:<>\nRCPT TO:<postmaster>", want: "+next hop: RCPT chief@our.example"},
		{key: l + "implicit_tls", value: "true", scene: "!tls\n" + sceneHello, want: "-no TLS", still: "250-PIPELINING"},
		{key: l + "auth", value: "true", base: outbound + l + "implicit_tls = true", scene: "!tls\n" + sceneHello, want: "+AUTH PLAIN LOGIN"},
		{key: l + "proxy_from", value: `["192.0.2.0/24"]`, base: refused, scene: "PROXY TCP4 203.0.113.9 203.0.113.5 5000 25\n" + sceneEnvelope, want: "+Not you"},
		{key: l + "xclient_from", value: `["192.0.2.0/24"]`, base: refused, scene: sceneHello + "XCLIENT ADDR=203.0.113.9\n" + sceneEnvelope, want: "+Not you"},
		{key: l + "greet_delay", value: `"5s"`, scene: "!sleep 6s", want: "+[5s] 220"},
		{key: l + "starttls", value: "false", scene: sceneHello, want: "-STARTTLS", still: "250-PIPELINING"},
		{key: l + "require_tls", value: "true", scene: sceneEnvelope, want: "+530 5.7.0"},
		{key: l + "chunking", value: "false", scene: sceneHello, want: "-CHUNKING", still: "250-PIPELINING"},
		{key: l + "xforward", value: "true", base: outbound + trusted, scene: sceneHello, want: "+XFORWARD"},
		{key: l + "bare_lf", value: `"reject"`, scene: sceneData + "!raw a\\nb\\r\\n.\\r\\n", want: "+550 5.5.2"},
		{key: l + "bare_cr", value: `"normalise"`, scene: sceneData + "!raw a\\rb\\r\\n.\\r\\n", want: "-550 5.5.2", still: "Ok: taken"},
		{key: l + "nul", value: `"normalise"`, scene: sceneData + "!raw a\\x00b\\r\\n.\\r\\n", want: "-550 5.5.2", still: "Ok: taken"},
		{key: l + "max_message_size", value: `"64KB"`, scene: sceneHello + "MAIL FROM:<a@sender.example> SIZE=100000", want: "+552 5.3.4"},
		{key: l + "reject_as", value: `"hold"`, base: `check.access.clients = ["192.0.2.1 reject"]`, scene: sceneEnvelope, want: "+451 4.7.1 Held"},
		{key: l + "reply_timeout", value: `"10s"`, scene: sceneHello + "MAIL FROM:<a@sender.example>\nRCPT TO:<slow@our.example>\nDATA\n\n.", want: "+[10s] 451"},
	}
	return append(rows, limitRows()...)
}

func limitRows() []effect {
	const l = "limits."
	return []effect{
		{key: l + "max_connections", value: "5", scene: "!conn\n!conn\n!conn\n!conn\n!conn", want: "+[0s] 421"},
		{key: l + "max_connections_per_client", value: "2", scene: "!conn\n!conn", want: "+421 4.7.0"},
		{key: l + "command_length", value: "1024", scene: sceneHello + "!long 1500", want: "+500 5.5"},
		{key: l + "max_recipients", value: "100", scene: sceneHello + "MAIL FROM:<a@sender.example>\n!rcpts 101", want: "+452 4.5.3"},
		{key: l + "soft_errors", value: "1", scene: sceneHello + "WHAT\nWHAT", want: "+[1s] 50"},
		{key: l + "hard_errors", value: "3", scene: sceneHello + "WHAT\nWHAT\nWHAT", want: "+421 4.7.0"},
		{key: l + "junk_commands", value: "2", base: l + "hard_errors = 3", scene: sceneHello + "NOOP\nNOOP\nNOOP\nNOOP\nNOOP", want: "+421 4.7.0"},
		{key: l + "command_timeout", value: `"10s"`, scene: sceneHello + "!sleep 20s", want: "+421 4.4.2"},
		{key: l + "data_timeout", value: `"10s"`, scene: sceneData + "!sleep 20s", want: "+[10s] closed"},
		{key: l + "min_data_rate", value: `"50B"`, scene: sceneData + "!slowly 12\n.", want: "+Ok: taken"},
		{key: l + "message_memory", value: `"32KB"`, scene: sceneData + "!nospool\n!body 600\n.", want: "-Ok: taken", still: "452 4.3.1"},
		{key: l + "free_disk", value: `"1000000TB"`, scene: sceneHello + "MAIL FROM:<a@sender.example>", want: "+452 4.3.1"},
		{key: l + "max_hops", value: "10", scene: sceneData + "!hops 15\n\n.", want: "+554 5.4.6"},
	}
}

// TestListeners: what a client sees of each key of a listener, and of limits.
func TestListeners(t *testing.T) { run(t, listenerRows(), bubble) }
