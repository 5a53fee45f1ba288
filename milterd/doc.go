// Package milterd is a milter: an MTA (Postfix, Zimbra, Sendmail) asks over
// the Sendmail mail filter protocol, version 6, what to do about a client, an
// envelope and a message, and the same engine that judges our own listeners
// answers. The user is told at once and nothing enters the queue.
//
// It speaks the wire itself. A library's server was looked at and left: it
// keeps the header as a map (order and case are lost, and edits are by index),
// answers version 2 whatever the MTA offers, forgets the macros of one stage at
// the next, drops the ESMTP parameters, has no bounds of time or connections
// and prints what strangers say to the process's own log. Its client is what
// our tests speak with.
//
// It does not route, relay or greet: the MTA does. An envelope edit "route"
// cannot be made here. Of the message it sees what the MTA shows: header
// fields without the MTA's own Received, a NUL in a header field ends it.
//
// It fails by 4xx: a fault of ours, no room, no time. When the connection
// itself breaks, or none can be made, the MTA's milter_default_action decides:
// tempfail (the default) keeps the mail with its sender, accept lets it pass
// unseen. That choice is the operator's; see docs/milter.md.
//
// A message that goes on is told to the checks as relayed, for the MTA has it
// then: this protocol never says what became of it. What another milter or the
// MTA refuses afterwards was counted here.
//
// # Limits
//
// A packet that is no part of a body has at most 128 KB and must come within a
// minute; a body is taken in as it comes and held as smtpproxy holds it, under
// the budget of all messages together. An address has 64 macros at most at a
// stage. A connection without a message costs about 5 KB.
package milterd
