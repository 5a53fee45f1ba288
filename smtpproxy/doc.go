// Package smtpproxy is the wire towards the client: listeners, the session
// state machine, the strict readers of commands and messages, and the one
// place that turns a decision into a reply. The half towards the next hop is
// the package smtpproxy/relay; it is reached through the interfaces of
// ports.go, so that this half can be tested against a scripted one.
//
// Standards: RFC 5321 (SMTP), 1870 (SIZE), 2034 and 3463 (enhanced codes),
// 2920 (PIPELINING), 3030 (CHUNKING, without BINARYMIME), 3207 (STARTTLS),
// 3461 (DSN), 4954 (AUTH PLAIN and LOGIN), 6152 (8BITMIME), 6531 (SMTPUTF8),
// 8314 (TLS from the first octet), Postfix's XFORWARD and XCLIENT, and
// haproxy's PROXY protocol, versions 1 and 2.
//
// What it promises: a 250 to the end of data is sent only after the next
// hop's own, after a durable hold, or for an explicit discard; whatever
// breaks before that leaves nothing delivered. After any failed or doubtful
// read the connection is closed and the bytes that follow are never read as
// commands. Relay permission, routing, size, loops and resource limits are
// decided here and no mode of any check reaches them.
//
// Who the client is may be said by a peer that the listener names (PROXY at
// the beginning of the connection, XCLIENT once): trust, limits, conduct and
// checks then look at that client alone, and nothing of the peer's rights
// stays. Under pressure strangers get less time, trusted peers notice nothing.
//
// What rules ask of a message that was judged and goes on is done here, before
// DATA to the next hop: its envelope is readdressed (readdress.go), its body
// edited and judged again (disarm.go). Until then nothing was sent, so what
// fails leaves the message with its sender.
//
// What it does not do: queueing, bounces.
//
// Limits: one goroutine a session; 512 octets of read buffer while idle,
// Limits.CommandLength while a command arrives, 64 KB while a message does;
// the message itself is bounded by message.Budget.
package smtpproxy
