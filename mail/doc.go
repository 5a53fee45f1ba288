// Package mail holds every noun of the program: the session, the
// transaction with its envelope, the reply, and what the checks find and the
// engine decides. Read it first; everything else moves these values about.
//
// A session is one connection. A transaction begins at MAIL and ends at the
// end of data, at RSET, EHLO or STARTTLS, or with the connection; it is one
// value that is dropped whole, never reset field by field, because a partial
// reset is how an address that was refused comes back to life.
//
// The package does no I/O and decides nothing. Addresses are parsed and
// written by the strict grammar of address.go (RFC 5321 section 4.1.2,
// RFC 6531 section 3.3): what a client sent reaches a log or a next hop only
// through it.
package mail
