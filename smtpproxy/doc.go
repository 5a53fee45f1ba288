// Package smtpproxy is the wire towards the client: listeners, the session
// state machine, the strict readers of commands and messages, and the one
// place that turns a decision into a reply. The half towards the next hop is
// the package smtpproxy/relay; it is reached through the interfaces of
// ports.go, so that this half can be tested against a scripted one.
//
// Standards: RFC 5321 (SMTP), 1870 (SIZE), 2034 and 3463 (enhanced codes),
// 2920 (PIPELINING), 3030 (CHUNKING, without BINARYMIME), 3207 (STARTTLS),
// 3461 (DSN), 6152 (8BITMIME), 6531 (SMTPUTF8), and Postfix's XFORWARD.
//
// What it promises: a 250 to the end of data is sent only after the next
// hop's own, after a durable hold, or for an explicit discard; whatever
// breaks before that leaves nothing delivered. After any failed or doubtful
// read the connection is closed and the bytes that follow are never read as
// commands. Relay permission, routing, size, loops and resource limits are
// decided here and no mode of any check reaches them.
//
// What it does not do: authentication of clients (AUTH), XCLIENT and PROXY,
// queueing, bounces.
//
// Limits: one goroutine a session; 512 octets of read buffer while idle,
// Limits.CommandLength while a command arrives, 64 KB while a message does;
// the message itself is bounded by message.Budget.
package smtpproxy
