package all

import (
	"garita/filters"
	"garita/filters/hijack"
	domain "garita/hijack"
)

// What commands ask about users who do not send like themselves.
type (
	Hijack      = hijack.Check
	HijackState = domain.State
	HijackTrust = domain.Trust
)

// HijackName is the check whose events have two lines: English, Spanish.
const HijackName = hijack.Name

// HijackText says in English why a case is open.
func HijackText(c *domain.Case) string { return domain.Text(c.Reasons) }

// Hijack is the detector of hijacked accounts; never nil in a gateway.
func (h *Helpers) Hijack() *Hijack { return h.hijack }

// hijackOptions are those of the detector. What it remembers is in the store
// alone, so a reload changes nothing.
func hijackOptions(site filters.Site) hijack.Options {
	o := hijack.Options{Store: site.Store, Users: site.Users, Names: site.Names, Domains: site.Domains, Log: site.Logger(hijack.Name)}
	if site.Event != nil {
		o.Event = func(kind string, c domain.Case) {
			site.Event(hijack.Name, kind, c.User, domain.Text(c.Reasons)+"\n"+domain.Texto(c.Reasons))
		}
	}
	return o
}

// detecting notes the check.
func (h *Helpers) detecting(c filters.Check, k *hijack.Check, err error) (filters.Check, error) {
	h.hijack = k
	return c, err
}
