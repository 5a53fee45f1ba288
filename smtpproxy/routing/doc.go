// Package routing says where each recipient goes, by tables in the forms of
// Postfix: routes by recipient (transport(5)), routes by sender
// (sender_dependent_relayhost_maps), aliases (virtual(5)) and lists of the
// recipients that exist (relay_recipient_maps). It is the smtpproxy.Router of
// every role, relay permission included.
//
// Relay permission is asked first and no table has a say in it: an inbound
// listener takes mail for its relay domains, an outbound one from trusted or
// logged-in clients, a content filter from its peers (attacks S-80 to S-98). A
// content filter gives all mail to its one next hop, whatever the tables say.
//
// What it does not do: MX look-ups (a host stands in brackets, always),
// error: and discard: transports (access lists refuse mail), "*" as a key (the
// listener's next_hop is that), regular expressions.
//
// # Where it is not Postfix
//
// Keys are compared case-blind, local parts too, as Postfix does; but nothing
// is ever sent out with its case changed. A bare user name is no key of an
// alias: there is no mydestination here. An extension is handed on to an
// alias's target only if that has none of its own. Aliases that go round in a
// circle are refused when they are read, not when mail comes.
//
// # How it fails
//
// Every line that cannot be used is a Problem with file and line, all at once,
// and then no table is to be used: the old ones go on. So does a file that has
// become empty: a list that a script has failed to write must not make every
// recipient unknown, nor every address known. What cannot be answered when
// mail comes is 451, never 5xx.
//
// # Limits
//
// 1,000,000 entries a table, 64 files a key. An alias has 100 targets, all
// together, and 10 steps; 100 problems are told.
package routing
