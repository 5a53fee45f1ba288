package routing

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy"
)

// Everything that could make a table say yes to a stranger.
var temptations = Config{
	RecipientDelimiter: "+",
	Recipients: []string{
		"victim.example a", ".victim.example a", "user@victim.example a", "our.example.victim.example a",
		"notour.example a", ".our.example a", "mx.our.example a", "[192.0.2.1] a", "[127.0.0.1] a",
	},
	Senders: []string{"our.example b", "<> b", "victim.example b"},
	Aliases: []string{
		"@victim.example @our.example", "user@victim.example ana@our.example", "@also.example @our.example",
		"ana@our.example ana@our.example", "@notour.example ana@our.example",
	},
	KnownRecipients: []string{"user@victim.example", "@victim.example", "@our.example"},
}

// TestNoTableOpensRelaying is S-80 to S-98 through the router, with tables
// that name the victim everywhere, and the addresses that an alias gives.
func TestNoTableOpensRelaying(t *testing.T) {
	probes := []struct{ id, from, to string }{
		{"S-80", "", "<user@victim.example>"},
		{"S-81", "spam@victim.example", "<user@victim.example>"},
		{"S-82", "spam@our.example", "<user@victim.example>"},
		{"S-84", "spam@our.example", "<user%victim.example@our.example>"},
		{"S-84", "spam@our.example", "<user%victim.example@also.example>"},
		{"S-85", "spam@our.example", "<user%victim.example@[127.0.0.1]>"},
		{"S-85", "spam@our.example", "<user%victim.example@mx.our.example>"},
		{"S-86", "", `<"user@victim.example">`},
		{"S-87", "", `<"user%victim.example">`},
		{"S-88", "", "<user@victim.example@our.example>"},
		{"S-89", "", `<"user@victim.example"@our.example>`},
		{"S-89", "", `<"user@victim.example"@also.example>`},
		{"S-90", "", `<"user@victim.example"@[127.0.0.1]>`},
		{"S-91", "", "<@our.example:user@victim.example>"},
		{"S-92", "", "<@a,@b,@our.example:user@victim.example>"},
		{"S-93", "", "<victim.example!user>"},
		{"S-93", "", "<victim.example!user@also.example>"},
		{"S-94", "", "<our.example!victim.example!user@our.example>"},
		{"S-94", "", "<user%victim.example%our.example@also.example>"},
		{"S-95", "", "<user@victim.example.>"},
		{"S-95", "", "<user@VICTIM.example>"},
		{"S-95", "", "<user@victim%2eexample>"},
		{"S-95", "", "<user@[192.0.2.1]>"},
		{"S-95", "", "<user@[IPv6:2001:db8::1]>"},
		{"S-96", "", "<user@our.example.victim.example>"},
		{"S-96", "", "<user@notour.example>"},
		{"S-96", "", "<user@sub.our.example>"},
		{"S-98", "", `<"x> NOTIFY=NEVER "@our.example>`},
		{"S-98", "", `<"a\"> ORCPT=rfc822;v@victim "@also.example>`},
	}
	r := newRouter(t, "inbound", temptations)
	for _, p := range probes {
		tx := client(false, p.from)
		rcpt, bad := mail.ParseRcpt(p.to, false, mail.Allowed{})
		if bad != nil {
			continue // the wire refuses it before the router
		}
		// Trust of an inbound listener's client counts for nothing.
		tx.Trusted = true
		h, reply := r.Route(tx, rcpt)
		for _, n := range r.Rewrite(tx, rcpt) {
			if n.Path != rcpt.Path && !sound(n.Path) {
				t.Errorf("%s %s: rewritten to %s", p.id, p.to, n)
			}
		}
		if reply == nil && mail.Routable(rcpt.Path) == nil {
			t.Errorf("%s %s: goes to %s", p.id, p.to, h.Name())
		}
		if h != nil && h.Name() != "mailbox" {
			t.Errorf("%s %s: a table led it to %s", p.id, p.to, h.Name())
		}
	}
	for _, role := range []string{"outbound", "content-filter"} {
		r := newRouter(t, role, temptations)
		for _, to := range []string{"user@victim.example", "ana@our.example", "x@also.example"} {
			if got := ask(r, client(false, "ana@our.example"), to); got != "554 5.7.1 Relay access denied" {
				t.Errorf("%s, stranger to %s: %s", role, to, got)
			}
		}
	}
	tx := client(false, "")
	tx.Login = "ana"
	if got := ask(newRouter(t, "outbound", temptations), tx, "user@else.example"); got != "b" {
		t.Errorf("logged in: %s", got)
	}
	if got := ask(newRouter(t, "content-filter", temptations), tx, "user@else.example"); !strings.HasPrefix(got, "554") {
		t.Errorf("a login opened a content filter: %s", got)
	}
}

// S-89 by way of an alias: a local part that is sound nowhere does not leave
// by a line for a whole domain, even if the wire had let it in.
func TestAliasCarriesNoRoute(t *testing.T) {
	r := newRouter(t, "inbound", Config{Aliases: []string{"@also.example @our.example", "box@our.example keep@our.example"}})
	for _, local := range []string{"x@victim.example", "x%victim.example", "victim.example!x", "-oQ", "`id`", "../x", `a"b`} {
		to := mail.Recipient{Path: mail.Path{Local: local, Domain: "also.example"}}
		if h, reply := r.Route(client(false, ""), to); reply == nil || reply.Code != 550 {
			t.Errorf("%q: %v %v", local, h, reply)
		}
		if got := r.Rewrite(client(false, ""), to); got != nil {
			t.Errorf("%q: rewritten to %v", local, got)
		}
	}
	// The extension is the client's too.
	to := mail.Recipient{Path: mail.Path{Local: "box+x%victim.example", Domain: "our.example"}}
	if got := r.Rewrite(client(false, ""), to); len(got) != 1 || got[0].String() != "keep@our.example" {
		t.Errorf("extension: %v", got)
	}
}

var routes = Config{
	Recipients: []string{
		"our.example a", ".our.example b", "ana@our.example b", "ana+x@our.example c",
		"far.example c", ".deep.far.example b", "else.example smtp:[192.0.2.7]:2525", "exempt@far.example :",
		"münchen.example b",
	},
	Senders: []string{"our.example b", "@also.example a", "boss@our.example c", "<> a", ".sub.example c", "dunno@our.example DUNNO"},
}

func TestRoutePrecedence(t *testing.T) {
	tests := []struct{ role, from, to, want string }{
		// transport(5): user+ext@domain, user@domain, domain, .parent.
		{"inbound", "", "ana+x@our.example", "c"},
		{"inbound", "", "ana+y@our.example", "b"},
		{"inbound", "", "ANA@Our.Example", "b"},
		{"inbound", "", "luis@our.example", "a"},
		{"inbound", "", "luis@also.example", "mailbox"},
		{"inbound", "boss@our.example", "luis@also.example", "mailbox"}, // senders are for outbound
		{"inbound", "", "luis@far.example", "554 5.7.1 Relay access denied"},
		{"outbound", "", "ana@our.example", "b"},
		{"outbound", "boss@our.example", "luis@also.example", "mailbox"}, // our own domain before the sender
		{"outbound", "boss@our.example", "x@far.example", "c"},
		{"outbound", "x@our.example", "x@far.example", "c"}, // recipient before sender
		{"outbound", "x@our.example", "x@deep.far.example", "b"},
		{"outbound", "x@none.example", "x@a.b.deep.far.example", "b"},
		{"outbound", "x@none.example", "x@long.chain.of.labels.deep.far.example", "b"},
		{"outbound", "x@none.example", "x@b.far.example", "smart"},
		{"outbound", "x@our.example", "x@free.example", "b"},
		{"outbound", "x@our.example", "exempt@far.example", "b"}, // ":" is no route
		{"outbound", "boss+y@our.example", "x@free.example", "c"},
		{"outbound", "dunno@our.example", "x@free.example", "smart"},
		{"outbound", "x@also.example", "x@free.example", "a"},
		{"outbound", "x@a.sub.example", "x@free.example", "c"},
		{"outbound", "x@sub.example", "x@free.example", "smart"},
		{"outbound", "", "x@free.example", "a"},
		{"outbound", "", "x@else.example", "smtp:[192.0.2.7]:2525"},
		{"outbound", "x@none.example", "x@free.example", "smart"},
		{"outbound", "x@none.example", "x@xn--mnchen-3ya.example", "b"},
		{"outbound", "x@none.example", "x@MÜNCHEN.example", "b"},
		{"content-filter", "boss@our.example", "x@far.example", "back"},
		{"content-filter", "", "ana@our.example", "back"},
	}
	for _, tt := range tests {
		r := newRouter(t, tt.role, routes)
		if got := ask(r, client(tt.role != "inbound", tt.from), tt.to); got != tt.want {
			t.Errorf("%s, from <%s> to <%s>: %s, want %s", tt.role, tt.from, tt.to, got, tt.want)
		}
	}
}

func TestRoutersWithoutTables(t *testing.T) {
	for role, want := range map[string]string{"inbound": "mailbox", "outbound": "mailbox", "content-filter": "back"} {
		o := Options{Default: hop{name: want}}
		o.Listener.Role, o.Listener.RelayDomains = role, []string{"our.example"}
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(r, client(true, ""), "ana@our.example"); got != want {
			t.Errorf("%s: %s", role, got)
		}
		if e := r.Explain(address("ana@our.example"), mail.Path{}); e.NextHop != want {
			t.Errorf("%s: %+v", role, e)
		}
	}
}

// The rule of the circle is asked of the next hop that comes out.
func TestCircle(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.9")
	tests := []struct {
		role string
		port uint16
		want string
	}{
		{"inbound", 25, "554 5.4.6"}, {"inbound", 10025, "554 5.4.6"},
		{"outbound", 25, "451 4.4.6"}, {"outbound", 10025, "a"}, {"content-filter", 25, "back"},
	}
	for _, tt := range tests {
		tab := compile(t, Config{Recipients: []string{"our.example a"}})
		o := Options{Tables: tab, Default: hop{name: "back"}, Hops: map[string]smtpproxy.NextHop{"a": hop{"a", peer, tt.port}}}
		if tt.role == "content-filter" {
			o.Default = hop{"back", peer, tt.port}
		}
		o.Listener.Role, o.Listener.RelayDomains = tt.role, []string{"our.example", "also.example"}
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(r, client(true, ""), "ana@our.example"); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s, port %d: %s", tt.role, tt.port, got)
		}
		if got := ask(r, client(true, ""), "ana@also.example"); got != "back" {
			t.Errorf("%s, the other next hop: %s", tt.role, got)
		}
	}
}

// What a listener cannot reach must not take extensions from its announcement.
func TestNextHopsAreThoseThatCanBeReached(t *testing.T) {
	c := Config{
		Recipients: []string{"ana@our.example a", "far.example b", ".example.net c", "other.example smtp:[x.example]"},
		Senders:    []string{"our.example a"},
		Aliases:    []string{"out@our.example box@sub.example.net"},
	}
	for role, want := range map[string]string{
		"inbound": "mailbox a c", "outbound": "smart mailbox a b c smtp:[x.example]:25", "content-filter": "back",
	} {
		var names []string
		for _, h := range newRouter(t, role, c).NextHops() {
			names = append(names, h.Name())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", role, got, want)
		}
	}
}

func TestKnownRecipients(t *testing.T) {
	c := Config{
		RecipientListFiles: []string{file(t, "# export\nAna@our.example OK\nluis@OUR.example\tx\n")},
		Aliases:            []string{"info@our.example ana@our.example"},
	}
	const unknown = "550 5.1.1 User unknown"
	tests := []struct{ to, want string }{
		{"ana@our.example", "mailbox"}, {"ANA@our.example", "mailbox"}, {"luis+tag@our.example", "mailbox"},
		{"nobody@our.example", unknown}, {"ana@also.example", "mailbox"}, {"nobody@also.example", "mailbox"},
		{"postmaster@our.example", "mailbox"}, {"Abuse@our.example", "mailbox"}, {"abuse+x@our.example", "mailbox"},
		{"info@our.example", "mailbox: ana@our.example"}, {"info+x@our.example", "mailbox: ana+x@our.example"},
		{"postmasters@our.example", unknown}, {`"a b"@our.example`, unknown},
	}
	for _, role := range []string{"inbound", "outbound"} {
		r := newRouter(t, role, c)
		for _, tt := range tests {
			if got := ask(r, client(true, ""), tt.to); got != tt.want {
				t.Errorf("%s, %s: %s, want %s", role, tt.to, got, tt.want)
			}
		}
	}
	all := newRouter(t, "inbound", Config{KnownRecipients: []string{"ana@our.example", "@our.example x"}})
	if got := ask(all, client(false, ""), "nobody@our.example"); got != "mailbox" {
		t.Errorf("@domain: %s", got)
	}
	// A domain that stands for another has the other's recipients (S-106).
	c.Aliases = append(c.Aliases, "@also.example @our.example")
	mapped := newRouter(t, "inbound", c)
	for to, want := range map[string]string{
		"nobody@also.example": unknown, "Ana@also.example": "mailbox: Ana@our.example", "luis+t@also.example": "mailbox: luis+t@our.example",
		"abuse@also.example": "mailbox: abuse@our.example", "info@also.example": "mailbox: ana@our.example",
	} {
		if got := ask(mapped, client(false, ""), to); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	if e := mapped.Explain(address("nobody@also.example"), mail.Path{}); e.Refused == nil || e.By.Line != 2 {
		t.Errorf("%+v", e)
	}
	none := newRouter(t, "content-filter", c)
	if got := ask(none, client(true, ""), "nobody@our.example"); got != "back" {
		t.Errorf("content filter: %s", got)
	}
}

// RFC 5321 section 4.5.1: <postmaster> is taken whatever the list says. The
// wire gives it the listener's address before it asks.
func TestPostmasterOfTheListenerExists(t *testing.T) {
	o := Options{Tables: compile(t, Config{KnownRecipients: []string{"ana@our.example"}}), Default: hop{name: "mailbox"}}
	o.Listener.Role, o.Listener.RelayDomains, o.Listener.Postmaster = "inbound", relayDomains, "Admin@our.example"
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(r, client(false, ""), "admin@our.example"); got != "mailbox" {
		t.Error(got)
	}
	if got := ask(r, client(false, ""), "admins@our.example"); !strings.HasPrefix(got, "550 5.1.1") {
		t.Error(got)
	}
}

// S-106, S-107: a harvest is answered before the next hop is asked, and costs
// no memory that stays.
func TestHarvestIsRefused(t *testing.T) {
	r := newRouter(t, "inbound", Config{KnownRecipients: []string{"ana@our.example"}})
	tx := client(false, "")
	for i := range 10_000 {
		if got := ask(r, tx, fmt.Sprintf("u%d@our.example", i)); got != "550 5.1.1 User unknown" {
			t.Fatal(i, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	def := hop{name: "mailbox"}
	in := smtpproxy.ListenerConfig{Role: "inbound", RelayDomains: relayDomains}
	tests := []struct {
		o    Options
		want string
	}{
		{Options{Default: def}, "no role"},
		{Options{Listener: in}, "no next hop"},
		{Options{Listener: in, Default: def, InboundHops: map[string]smtpproxy.NextHop{"x.example": nil}}, "x.example"},
		{Options{Listener: in, Default: def, Tables: compile(t, Config{Recipients: []string{"our.example gone"}})}, "[next_hop.gone]"},
		{Options{Listener: in, Default: def, Tables: compile(t, Config{Recipients: []string{"our.example smtp:[h.example]"}})}, "smtp:[h.example]:25 was not made"},
		{Options{Listener: in, Default: def, Hops: hops("a"), Tables: compile(t, Config{
			Recipients: []string{"far.example a"}, Aliases: []string{"x@our.example ana@our.example", "all@our.example x@our.example, b@far.example"},
		})}, "route.aliases:2: the alias \"all@our.example\" leads to two next hops, mailbox and a"},
		{Options{Listener: in, Default: def, Single: map[string]bool{"mailbox": true}, Tables: compile(t, Config{
			Aliases: []string{"one@our.example ana@our.example", "two@our.example ana@our.example, luis@our.example"},
		})}, "route.aliases:2: the alias \"two@our.example\" has 2 targets, and mailbox speaks LMTP"},
		{Options{Listener: in, Default: def, Hops: hops("lmtp:unix:/run/l"), Tables: compile(t, Config{
			Recipients: []string{"our.example lmtp:unix:/run/l"}, Aliases: []string{"two@our.example ana@our.example, luis@our.example"},
		})}, "lmtp:unix:/run/l speaks LMTP"},
	}
	for _, tt := range tests {
		if r, err := New(tt.o); err == nil || r != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	// Several faults are several errors, and one line in one text.
	_, err := New(Options{Listener: in, Default: def, Single: map[string]bool{"mailbox": true}, Tables: compile(t, Config{
		Aliases: []string{"one@our.example ana@our.example, luis@our.example", "two@our.example ana@our.example, luis@our.example"},
	})})
	if many, ok := err.(interface{ Unwrap() []error }); !ok || len(many.Unwrap()) != 2 || strings.Contains(err.Error(), "\n") {
		t.Errorf("two faults: %v", err)
	}
	// The same alias of a domain that is not ours harms nobody.
	if _, err := tryRouter(t, "inbound", Config{Recipients: []string{"far.example a"}, Aliases: []string{"x@no.example ana@our.example, b@far.example"}}); err != nil {
		t.Error(err)
	}
}
