package access

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"garita/mail"
)

// TestNetworksAgainstAll compares the search with a look at every prefix.
func TestNetworksAgainstAll(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	address := func() netip.Addr {
		// Few different bytes, so that prefixes hold each other.
		b := func() byte { return []byte{0, 1, 128, 255}[rnd.IntN(4)] }
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{b(), b(), b(), b()})
		}
		var a [16]byte
		a[0] = 0x20
		for i := 1; i < 16; i++ {
			a[i] = b()
		}
		return netip.AddrFrom16(a)
	}
	q := &query{s: &mail.Session{}}
	for round := range 200 {
		c := Default()
		seen := map[netip.Prefix]string{}
		for range rnd.IntN(60) {
			a := address()
			p, _ := a.Prefix(rnd.IntN(a.BitLen() + 1))
			if _, ok := seen[p]; ok {
				continue
			}
			// One in ten has expired and must be looked through.
			option := ""
			if rnd.IntN(10) == 0 {
				option = " until=2020-01-01"
			} else {
				seen[p] = p.String()
			}
			c.Clients = append(c.Clients, p.String()+" reject"+option)
		}
		ls, errs, _ := build(c, testTime)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for range 200 {
			a := address()
			bits, want := -1, ""
			for p := range seen {
				if p.Contains(a) && p.Bits() > bits {
					bits, want = p.Bits(), p.String()
				}
			}
			got := ""
			if m := ls.client(q, a); m.entry != nil {
				got = m.entry.what
			}
			if got != want {
				t.Fatalf("round %d: %s is in %q, want %q of %q", round, a, got, want, c.Clients)
			}
		}
	}
}

// TestPathsAgainstOrder compares look-ups with the order of access(5), written
// out, over a list of few words.
func TestPathsAgainstOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	word := func() string { return []string{"a", "b", "a+b", "c"}[rnd.IntN(4)] }
	domain := func() string {
		labels := []string{"example"}
		for range rnd.IntN(4) {
			labels = append([]string{[]string{"a", "b", "notexample"}[rnd.IntN(3)]}, labels...)
		}
		return strings.Join(labels, ".")
	}
	q := &query{s: &mail.Session{}}
	for round := range 400 {
		c := Default()
		c.ParentDomainMatches = rnd.IntN(2) == 0
		c.RecipientDelimiter = []string{"", "+"}[rnd.IntN(2)]
		keys := map[string]bool{}
		for range rnd.IntN(12) {
			key := []string{word() + "@" + domain(), domain(), "." + domain(), word() + "@"}[rnd.IntN(4)]
			if c.ParentDomainMatches {
				key = strings.TrimPrefix(key, ".")
			}
			if !keys[key] {
				keys[key] = true
				c.Senders = append(c.Senders, key+" reject")
			}
		}
		ls, errs, _ := build(c, testTime)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for range 50 {
			p := mail.Path{Local: word(), Domain: domain()}
			bare, _, split := strings.Cut(p.Local, "+")
			split = split && c.RecipientDelimiter != ""
			order := []string{p.Local + "@" + p.Domain}
			if split {
				order = append(order, bare+"@"+p.Domain)
			}
			order = append(order, p.Domain)
			for d := p.Domain; strings.Contains(d, "."); {
				_, d, _ = strings.Cut(d, ".")
				if c.ParentDomainMatches {
					order = append(order, d)
				} else {
					order = append(order, "."+d)
				}
			}
			order = append(order, p.Local+"@")
			if split {
				order = append(order, bare+"@")
			}
			want := ""
			for _, key := range order {
				if keys[key] {
					want = key
					break
				}
			}
			got := ""
			if m := ls.path(q, bySender, p); m.entry != nil {
				got = m.entry.what
			}
			if got != want {
				t.Fatalf("round %d, parents %v, delimiter %q: %s finds %q, want %q of %q", round, c.ParentDomainMatches, c.RecipientDelimiter, p, got, want, c.Senders)
			}
		}
	}
}

// TestLongHelo: a name beyond every bound is still found by its end, and asks
// no more of the lists than a short one.
func TestLongHelo(t *testing.T) {
	c := Default()
	c.Helo = []string{"bad.example reject"}
	ls, errs, _ := build(c, testTime)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	q := &query{s: &mail.Session{}}
	for _, s := range []string{strings.Repeat("a.", 5000) + "bad.example", strings.Repeat("a", 5000) + ".bad.example"} {
		if ls.heloName(q, s).entry == nil {
			t.Errorf("%d octets: not found", len(s))
		}
	}
	for _, s := range []string{strings.Repeat("a", 5000) + "bad.example", strings.Repeat(".", 5000), "[bad.example", "x\x00bad.example"} {
		if m := ls.heloName(q, s); m.entry != nil {
			t.Errorf("%.20q: found", s)
		}
	}
}

func TestExplain(t *testing.T) {
	path := writeFile(t, "192.0.2.0/24 REJECT reason=x Not from here\ndyn.example 450 Later\n")
	c := Default()
	c.ClientFiles = []string{path}
	c.Helo = []string{"h.example accept"}
	c.Senders = []string{"a@b.example accept", "<> defer"}
	c.Recipients = []string{"postmaster@ accept"}
	for _, v := range []struct{ kind, value, want string }{
		{"client", "192.0.2.7", path + ":1 192.0.2.0/24 reject 554 5.7.1 Not from here x"},
		{"client", "198.51.100.1", ""},
		{"name", "h.dyn.example", path + ":2 dyn.example defer 450 4.7.1 Later "},
		{"helo", "h.example", "check.access.helo[0] h.example accept  "},
		{"sender", "A@b.example", "check.access.senders[0] a@b.example accept  "},
		{"sender", "", "check.access.senders[1] <> defer 450 4.7.1 Sender address rejected: Access denied for now, try again later "},
		{"recipient", "postmaster@our.example", "check.access.recipients[0] postmaster@ accept  "},
	} {
		f, found, err := Explain(c, v.kind, v.value, testTime())
		got := ""
		if found {
			got = fmt.Sprintf("%s %s %s %s %s", f.Rule, f.Key, f.Verdict, f.Reply, f.Reason)
		}
		if err != nil || got != v.want {
			t.Errorf("%s %s: %q, %v", v.kind, v.value, got, err)
		}
	}
	for _, v := range [][2]string{{"client", "x"}, {"sender", "a@b@c"}, {"recipient", ""}, {"colour", "red"}} {
		if _, _, err := Explain(c, v[0], v[1], testTime()); err == nil {
			t.Errorf("%q was taken", v)
		}
	}
	c.Clients = []string{"x"}
	if _, _, err := Explain(c, "client", "192.0.2.1", testTime()); err == nil {
		t.Error("a broken configuration was taken")
	}
}

// TestContentFilter: behind an MTA the lists see the client that it told of,
// and nobody earns trust by the MTA's.
func TestContentFilter(t *testing.T) {
	c := Default()
	c.Clients = []string{"192.0.2.0/24 reject", "192.0.2.9 accept"}
	c.Names = []string{"dyn.example reject"}
	c.Helo = []string{"ylmf-pc reject"}
	c.Senders = []string{"boss@our.example accept"}
	c.Entry = map[string]Entry{"e": {Client: "192.0.2.9", Sender: "x@y.example", Action: "accept"}}
	check, err := NewAt(c, testTime)
	if err != nil {
		t.Fatal(err)
	}
	l := check.Impl.(*lists)
	boss, other := mail.Path{Local: "boss", Domain: "our.example"}, mail.Path{Local: "x", Domain: "y.example"}
	for _, v := range []struct {
		name  string
		from  mail.Path
		told  *mail.Forwarded
		role  mail.Role
		found string
	}{
		{"address", other, &mail.Forwarded{Addr: "192.0.2.1"}, mail.ContentFilter, SymbolClient},
		{"an accept is an exception", other, &mail.Forwarded{Addr: "192.0.2.9"}, mail.ContentFilter, ""},
		{"name", other, &mail.Forwarded{Addr: "198.51.100.1", Name: "h.dyn.example"}, mail.ContentFilter, SymbolName},
		{"HELO", other, &mail.Forwarded{Addr: "198.51.100.1", Helo: "ylmf-pc"}, mail.ContentFilter, SymbolHelo},
		{"a stranger's sender", boss, &mail.Forwarded{Addr: "198.51.100.1"}, mail.ContentFilter, ""},
		{"of a before-queue proxy too", boss, &mail.Forwarded{Addr: "198.51.100.1"}, mail.Inbound, ""},
		{"nothing was told", boss, nil, mail.ContentFilter, ""},
		{"from inside", boss, &mail.Forwarded{Source: "LOCAL"}, mail.ContentFilter, SymbolSender},
		{"a trusted client", boss, nil, mail.Outbound, SymbolSender},
	} {
		s := &mail.Session{Client: netip.MustParseAddrPort("127.0.0.1:9"), Role: v.role, Trusted: true}
		tx := &mail.Transaction{Session: s, Forwarded: v.told}
		tx.ReversePath = v.from
		r, _ := l.CheckMail(context.Background(), tx)
		found := ""
		for _, f := range r.Findings {
			found += f.Symbol
		}
		if found != v.found {
			t.Errorf("%s: found %q, want %q", v.name, found, v.found)
		}
	}
}
