package routing

import (
	"fmt"
	"strings"
	"testing"

	"garita/mail"
)

// big are 100,000 entries: half of them routes and aliases, half recipients.
func big(b *testing.B) Config {
	var routes, aliases, known strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&routes, "user%d@our.example a\n", i)
		fmt.Fprintf(&aliases, "alias%d@our.example user%d@our.example, other%d@our.example\n", i, i, i+50_000)
	}
	for i := range 50_000 {
		fmt.Fprintf(&known, "user%d@our.example OK\n", i)
	}
	return Config{
		RecipientDelimiter: "+", RecipientFiles: []string{file(b, routes.String())},
		AliasFiles: []string{file(b, aliases.String())}, RecipientListFiles: []string{file(b, known.String())},
	}
}

func BenchmarkCompile100k(b *testing.B) {
	c := big(b)
	b.ReportAllocs()
	for b.Loop() {
		if t, p := Compile(c); len(p) > 0 || t.Entries() != 100_000 {
			b.Fatal(p)
		}
	}
}

// BenchmarkNew100k is what each listener adds to a reload.
func BenchmarkNew100k(b *testing.B) {
	c := big(b)
	c.RecipientFiles = nil // aliases lead to one next hop
	tab, _ := Compile(c)
	o := Options{Tables: tab, Default: hop{name: "mailbox"}}
	o.Listener.Role, o.Listener.RelayDomains = "inbound", relayDomains
	for b.Loop() {
		if _, err := New(o); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoute100k(b *testing.B) {
	c := big(b)
	c.AliasFiles = []string{file(b, strings.ReplaceAll(aliasesOf(25_000), "user", "target"))}
	tab, problems := Compile(c)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	o := Options{Tables: tab, Default: hop{name: "mailbox"}, Hops: hops("a")}
	o.Listener.Role, o.Listener.RelayDomains = "inbound", relayDomains
	r, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	tx := client(false, "")
	for _, to := range []string{"user777@our.example", "user777+tag@our.example", "user40000@our.example", "nobody@our.example", "x@also.example", "alias777@our.example", "x@a.b.c.d.e.stranger.example"} {
		rcpt := mail.Recipient{Path: address(to)}
		b.Run(to, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Route(tx, rcpt)
				r.Rewrite(tx, rcpt)
			}
		})
	}
}

func aliasesOf(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "alias%d@our.example user%d@our.example, other%d@our.example\n", i, i, i)
	}
	return s.String()
}
