package relay

import (
	"crypto/tls"
	"crypto/x509"
)

// sessions is how many TLS sessions of a next hop are kept for resumption.
const sessions = 32

// clientTLS is the TLS of one next hop; the session cache is its own, so a
// ticket never serves another server or policy.
func clientTLS(policy, host string, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		RootCAs:            roots,
		InsecureSkipVerify: policy != "verify", // may and encrypt take any certificate
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
}

// describeTLS says version, cipher and what the certificate is worth, for the
// log: "TLSv1.3 TLS_AES_128_GCM_SHA256 (verified)".
func (h *NextHop) describeTLS(s tls.ConnectionState) string {
	version := "TLSv1.2"
	if s.Version == tls.VersionTLS13 {
		version = "TLSv1.3"
	}
	text := version + " " + tls.CipherSuiteName(s.CipherSuite)
	if h.cfg.TLS == "verify" {
		return text + " (verified)"
	}
	if len(s.PeerCertificates) == 0 {
		return text + " (not verified: no certificate)"
	}
	o := x509.VerifyOptions{DNSName: h.host, Roots: h.roots, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := s.PeerCertificates[0].Verify(o); err != nil {
		// The error may quote names out of the certificate.
		return text + " (not verified: " + clean([]byte(err.Error()), false) + ")"
	}
	return text + " (verified)"
}
