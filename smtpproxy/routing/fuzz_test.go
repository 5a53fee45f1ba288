package routing

import (
	"net/url"
	"strings"
	"testing"

	"garita/mail"
)

// FuzzLine reads a line as each of the four tables. Whatever it holds, there
// is a table or a problem; what a table took is in the form in which addresses
// are looked up, and a destination is a URL of one host or socket.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		"our.example mailbox", ".our.example smtp:[h.example]:25", "ana@our.example lmtp:unix:/run/l", "<> [::1]:2525",
		"info@our.example ana@our.example, \"jane roe\"@our.example", "@a.example @b.example", "* smtp:[h]", "@[IPv6:::1] x",
		"\"a\\\"b\"@x.example relay:[ipv6:2001:db8::1]:submission", "münchen.example a", "ana@MÜNCHEN.example josé@x.example",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for kind := range 4 {
			c := Config{RecipientDelimiter: "+"}
			switch kind {
			case recipientTable:
				c.Recipients = []string{line}
			case senderTable:
				c.Senders = []string{line}
			case aliasTable:
				c.Aliases = []string{line}
			case knownTable:
				c.KnownRecipients = []string{line}
			}
			tab, problems := Compile(c)
			if len(problems) > 0 {
				continue
			}
			if tab.Entries() != 1 {
				t.Fatalf("%d entries and no problem", tab.Entries())
			}
			lookedUp(t, tab)
			for _, d := range tab.Needed() {
				u, err := url.Parse(d.URL())
				if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Host == "") != (d.Path != "") || u.Path != d.Path {
					t.Fatalf("%q: %q %v", line, d.URL(), err)
				}
				// The name in a table again is the same destination.
				if _, again, bad := parseValue(d.Name); bad != nil || again == nil || again.Name != d.Name || again.URL() != d.URL() {
					t.Fatalf("%q is not read back: %v %v", d.Name, again, bad)
				}
			}
		}
	})
}

// lookedUp fails when the one key of a table is not met by its own address.
func lookedUp(t *testing.T, tab *Tables) {
	var buf [maxKey]byte
	probe := func(name string) key {
		switch at := strings.LastIndexByte(name, '@'); {
		case at == 0:
			name = "user" + name
		case at < 0 && name[0] == '.':
			name = "user@sub" + name
		case at < 0:
			name = "user@" + name
		}
		p := pathOf(name)
		if _, ok := parseAddress(p.String()); !ok && len(name) < 200 {
			t.Fatalf("%q is no address, so no mail would meet it", p)
		}
		return makeKey(buf[:], p, '+')
	}
	for _, rows := range []map[string]route{tab.recipients, tab.senders} {
		for name := range rows {
			if name == "<>" {
				continue
			}
			if _, ok := find(rows, probe(name)); !ok {
				t.Fatalf("%q is not met", name)
			}
		}
	}
	for name, a := range tab.aliases {
		if _, _, ok := tab.findAlias(probe(name)); !ok {
			t.Fatalf("%q is not met", name)
		}
		for _, p := range a.targets {
			if p.Local != "" && (!sound(p) || !p.IsASCII()) {
				t.Fatalf("target %q", p)
			}
		}
	}
	for name := range tab.known {
		if ok, listed, _ := tab.exists(probe(name)); !ok || !listed {
			t.Fatalf("%q is not met", name)
		}
	}
}

// FuzzRewrite gives any recipient to any aliases: the router ends, never
// answers a stranger's domain, and whatever it emits is read back by the
// grammar as the same address, has no second meaning, and is ASCII when the
// recipient was.
func FuzzRewrite(f *testing.F) {
	f.Add("info@our.example ana@our.example", "@also.example @our.example", "<info+x@our.example>")
	f.Add("a@our.example b+1@our.example", "b@our.example a@far.example", "<A+2@OUR.example>")
	f.Add("@our.example @our.example", "\"x y\"@our.example \"z w\"@our.example", "<\"X Y\"@our.example>")
	f.Add("@also.example @far.example", "x@far.example y@our.example", "<\"u@victim.example\"@also.example>")
	f.Add("ana@our.example ana@our.example, luis@our.example", "@our.example box@our.example", "<josé@our.example>")
	f.Fuzz(func(t *testing.T, one, two, rcpt string) {
		tab, problems := Compile(Config{RecipientDelimiter: "+", Aliases: []string{one, two}})
		if len(problems) > 0 {
			return
		}
		to, bad := mail.ParseRcpt(rcpt, true, mail.Allowed{})
		if bad != nil {
			return
		}
		o := Options{Tables: tab, Default: hop{name: "mailbox"}}
		o.Listener.Role, o.Listener.RelayDomains = "inbound", relayDomains
		r, err := New(o)
		if err != nil {
			t.Fatal(err) // one next hop: nothing can part
		}
		tx := client(false, "")
		tx.Params.EnvID = "x"
		h, reply := r.Route(tx, to)
		out := r.Rewrite(tx, to)
		if ours := r.relay[to.DomainKey()]; (h != nil || out != nil) && !ours {
			t.Fatalf("%q goes to %v %v", to, h, out)
		}
		if reply != nil && out != nil || (h == nil) == (reply == nil) {
			t.Fatalf("%v, %v and %v", h, reply, out)
		}
		if len(out) > maxTargets {
			t.Fatalf("%d targets", len(out))
		}
		for _, n := range out {
			back, ok := parseAddress(n.String())
			if !ok || back != n.Path || n.IsNull() {
				t.Fatalf("%q is read back as %q", n, back)
			}
			if n.Path != to.Path && mail.Routable(n.Path) != nil || to.IsASCII() && !n.IsASCII() {
				t.Fatalf("%q became %q", to, n)
			}
		}
		e := r.Explain(to.Path, mail.Path{})
		if (e.Refused == nil) != (reply == nil) || reply == nil && len(e.Targets) != max(len(out), 1) {
			t.Fatalf("explained as %+v, was %v %v", e, reply, out)
		}
	})
}

// The grammar of the tables is the wire's: a key reader that took more would
// have keys that no mail meets.
func TestKeysFollowTheGrammar(t *testing.T) {
	for _, s := range []string{"a@", "@", ".", "..x.example", "@.x.example", "a@b@c.example", "a b@x.example", "a@x..example", "[300.1.1.1]", ".[192.0.2.1]", "a@x.example.", "1.2.3.4", ""} {
		if name, kind := parseKey(s); kind != badKey {
			t.Errorf("%q: %q %d", s, name, kind)
		}
	}
}
