package routing

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy"
	"garita/tables"
)

// hop is a next hop that is only a name, and the place of a machine.
type hop struct {
	name    string
	machine netip.Addr
	port    uint16
}

func (h hop) Name() string                             { return h.name }
func (hop) Capabilities() smtpproxy.Capabilities       { return smtpproxy.Capabilities{} }
func (hop) Begin(*mail.Transaction) smtpproxy.Delivery { return nil }
func (h hop) LeadsTo(a netip.Addr) (port uint16, yes bool) {
	return h.port, h.machine.IsValid() && h.machine == a
}
func hops(names ...string) map[string]smtpproxy.NextHop {
	m := map[string]smtpproxy.NextHop{}
	for _, n := range names {
		m[n] = hop{name: n}
	}
	return m
}

func compile(t testing.TB, c Config) *Tables {
	t.Helper()
	if c.RecipientDelimiter == "" {
		c.RecipientDelimiter = "+"
	}
	tab, problems := Compile(c)
	for _, p := range problems {
		t.Error(p)
	}
	return tab
}

var relayDomains = []string{"our.example", "also.example"}

// inbound, outbound and filter are routers with the next hops a, b, c; the
// default of inbound is "mailbox", of outbound "smart", of filter "back".
func newRouter(t testing.TB, role string, c Config) *Router {
	t.Helper()
	r, err := tryRouter(t, role, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryRouter(t testing.TB, role string, c Config) (*Router, error) {
	t.Helper()
	return New(options(t, role, c))
}

func options(t testing.TB, role string, c Config) Options {
	t.Helper()
	tab := compile(t, c)
	o := Options{Tables: tab, Hops: hops("a", "b", "c"), InboundHops: map[string]smtpproxy.NextHop{}}
	for _, d := range tab.Needed() {
		o.Hops[d.Name] = hop{name: d.Name}
	}
	for _, d := range relayDomains {
		o.InboundHops[d] = hop{name: "mailbox"}
	}
	o.Listener.Role = role
	switch role {
	case "inbound":
		o.Default, o.Listener.RelayDomains = hop{name: "mailbox"}, relayDomains
	case "outbound":
		o.Default = hop{name: "smart"}
	case "content-filter":
		o.Default = hop{name: "back"}
	}
	return o
}

// client is a transaction of somebody.
func client(trusted bool, from string) *mail.Transaction {
	tx := &mail.Transaction{Session: &mail.Session{Trusted: trusted, Peer: netip.MustParseAddrPort("192.0.2.9:4711"), Client: netip.MustParseAddrPort("192.0.2.9:4711")}}
	if from != "" {
		tx.ReversePath = address(from)
	}
	return tx
}

func address(s string) mail.Path {
	p, ok := parseAddress(s)
	if !ok {
		panic("test: no address: " + s)
	}
	return p
}

// ask gives where a recipient goes, "name" or "name: targets", or the reply.
func ask(r *Router, tx *mail.Transaction, to string) string {
	rcpt := mail.Recipient{Path: address(to)}
	h, reply := r.Route(tx, rcpt)
	if reply != nil {
		if rw := r.Rewrite(tx, rcpt); reply.Permanent() && rw != nil {
			return "rewritten though refused"
		}
		return reply.String()
	}
	var out []string
	for _, n := range r.Rewrite(tx, rcpt) {
		out = append(out, n.String())
	}
	if out == nil {
		return h.Name()
	}
	return h.Name() + ": " + strings.Join(out, " ")
}

func file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func texts(problems []tables.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Error() + " (" + p.Try + ")\n")
	}
	return b.String()
}
