// Package tls loads, makes, renews and chooses the certificates of the
// listeners and hands out plain *crypto/tls.Config values (RFC 5246, RFC 8446,
// SNI of RFC 6066; STARTTLS itself, RFC 3207, is smtpproxy's).
//
// Without certificate files a self-signed certificate is made on first start:
// most senders encrypt opportunistically and verify nothing, so it already
// ends passive reading. With files, Poll and Reload take a renewed pair without
// a restart; one that is broken, half-written, expired or does not match is
// refused with the reason and the old one stays in use, each pair for itself.
// Where there is no old one, at a start, a named pair is left out and the
// self-signed one stands in for the default: no file keeps a gateway down.
// An expired certificate is used all the same, because refusing STARTTLS would
// mean clear text; Expiring, Warnings and Fault let the operator see it.
//
// Sessions are resumed by tickets whose keys are made from secrets of Tickets
// for each listener and policy: a ticket of one listener is noise on another
// (attacks S-41). The keys change every eight hours and open tickets for a day.
//
// It does not do ACME, the trust in client certificates, or policies towards
// the next hop (the relay's). It starts no goroutine and watches nothing by
// itself: call Poll once a minute.
//
// # Limits
//
// 100 certificates; 1 MB for a file; no state of sessions is kept, it travels
// in the tickets.
package tls
