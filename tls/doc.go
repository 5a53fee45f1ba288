// Package tls loads, makes and renews the certificate of the listeners and
// hands out plain *crypto/tls.Config values (RFC 5246, RFC 8446; STARTTLS
// itself, RFC 3207, is smtpproxy's).
//
// Without certificate files a self-signed certificate is made on first start:
// most senders encrypt opportunistically and verify nothing, so it already
// ends passive reading. With files, Reload takes a renewed pair without a
// restart; a pair that is broken, half-written or does not match is refused
// with the reason and the old one stays in use. An expired certificate is used
// all the same, because refusing STARTTLS would mean clear text; Expiry and
// Warnings let the operator see it coming.
//
// It does not do ACME, client certificates, or policies towards the next hop
// (the relay's); one certificate serves all names, whatever SNI says.
package tls
