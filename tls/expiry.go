package tls

import (
	"crypto/rsa"
	"fmt"
	"slices"
	"time"
)

const day = 24 * time.Hour

// warnBefore is how long before the end Warnings begins to speak.
const warnBefore = 14 * day

// Certificate is what operators want to know of a certificate in use.
type Certificate struct {
	Name                string   // "default", or of the [tls.certificate.NAME] table
	Names               []string // DNS names in it
	File                string   // empty for the self-signed one
	NotBefore, NotAfter time.Time
	SelfMade            bool
	// Within is set by Expiring: the least of 30, 14, 7 and 1 days that the
	// end is nearer than, or 0 when it has come.
	Within time.Duration
}

// Certificates are those in use, in the order of the configuration.
func (s *Store) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.held)
}

// Expiring gives the certificates that end within 30 days or have ended. The
// self-signed one renews itself at 30 days, so it counts from 14: then it
// could not.
func (s *Store) Expiring(now time.Time) []Certificate {
	var out []Certificate
	for _, c := range s.Certificates() {
		left := c.NotAfter.Sub(now)
		for _, c.Within = range []time.Duration{0, day, 7 * day, 14 * day, 30 * day} {
			if left <= c.Within && !(c.SelfMade && c.Within > warnBefore) {
				out = append(out, c)
				break
			}
		}
	}
	return out
}

// Reminder picks what is new of Expiring, so that each of the steps is told
// once and not every minute. The zero value is ready; it is not safe for
// concurrent use.
type Reminder struct{ told map[string]step }

type step struct {
	notAfter time.Time
	within   time.Duration
}

// Due gives the certificates whose step has not been told yet.
func (r *Reminder) Due(expiring []Certificate) []Certificate {
	now := make(map[string]step, len(expiring))
	var out []Certificate
	for _, c := range expiring {
		now[c.Name] = step{c.NotAfter, c.Within}
		if r.told[c.Name] != now[c.Name] {
			out = append(out, c)
		}
	}
	r.told = now
	return out
}

// Text says what Expiring found of a certificate, as one line.
func (c Certificate) Text(now time.Time) string {
	date := c.NotAfter.UTC().Format(time.DateOnly)
	what := "the certificate " + c.Name
	if c.File != "" {
		what += " (" + c.File + ")"
	}
	if left := c.NotAfter.Sub(now); left > 0 {
		return fmt.Sprintf("%s expires on %s, in %d days", what, date, int(left/day))
	}
	return what + " has expired on " + date
}

// Expiry is when the default certificate ends.
func (s *Store) Expiry() time.Time { return s.fallback().NotAfter }

// SelfSigned tells that the default certificate is the self-made one.
func (s *Store) SelfSigned() bool {
	s.reload.Lock()
	defer s.reload.Unlock()
	return s.first.selfMade()
}

// Warnings gives what the operator should know of the certificates in use, one
// sentence each; none is the good case. Mail flows regardless.
func (s *Store) Warnings() []string {
	var w []string
	now := s.now()
	for _, c := range s.Certificates() {
		if c.NotAfter.Sub(now) < warnBefore {
			w = append(w, c.Text(now))
		}
		if now.Before(c.NotBefore) {
			w = append(w, "the certificate "+c.Name+" is not valid before "+c.NotBefore.UTC().Format(time.DateTime)+" UTC: is the clock right?")
		}
	}
	leaf := s.fallback()
	if s.hostname != "" && leaf.VerifyHostname(s.hostname) != nil {
		w = append(w, "the default certificate is not for the host name "+s.hostname)
	}
	if k, ok := leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		w = append(w, fmt.Sprintf("the default certificate has an RSA key of %d bits; 2048 is the least that is sound", k.N.BitLen()))
	}
	if err := s.Fault(); err != nil {
		w = append(w, err.Error())
	}
	return w
}
