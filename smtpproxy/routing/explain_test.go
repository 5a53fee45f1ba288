package routing

import (
	"fmt"
	"strings"
	"testing"

	"garita/mail"
)

// say writes an explanation in one line.
func say(e Explanation) string {
	var b strings.Builder
	if e.Refused != nil {
		fmt.Fprintf(&b, "%d ", e.Refused.Code)
	}
	b.WriteString(e.Because)
	if e.By.File != "" {
		fmt.Fprintf(&b, " (%s)", e.By)
	}
	for _, t := range e.Targets {
		fmt.Fprintf(&b, "; %s to %s by %s", t.Address, t.NextHop, t.Because)
		if t.Route.File != "" {
			fmt.Fprintf(&b, " (%s)", t.Route)
		}
		for _, a := range t.Aliases {
			fmt.Fprintf(&b, " <%s", a)
		}
	}
	return b.String()
}

func TestExplain(t *testing.T) {
	c := Config{
		Recipients:      []string{"ana@our.example a", "luis@our.example a", "far.example b"},
		Senders:         []string{"boss@our.example c"},
		Aliases:         []string{"info@our.example team@our.example", "team@our.example ana@our.example luis@our.example", "@also.example @our.example"},
		KnownRecipients: []string{"ana@our.example", "luis@our.example"},
	}
	tests := []struct{ role, from, to, want string }{
		{"inbound", "", "x@far.example", "554 far.example is not in relay_domains"},
		{"inbound", "", "no@our.example", "550 the recipient list has the domain and not this recipient (route.known_recipients:1)"},
		{"inbound", "", "luis@our.example", "a recipient that exists (route.known_recipients:2); luis@our.example to a by a route (route.recipients:2)"},
		{"inbound", "", "info@our.example", "an alias (route.aliases:1); ana@our.example to a by a route (route.recipients:1) <route.aliases:1 <route.aliases:2; luis@our.example to a by a route (route.recipients:2) <route.aliases:1 <route.aliases:2"},
		{"inbound", "", "postmaster@also.example", "an alias (route.aliases:3); postmaster@our.example to mailbox by the listener's next_hop <route.aliases:3"},
		{"outbound", "boss@our.example", "x@free.example", "not a domain of ours; x@free.example to c by a route (route.senders:1)"},
		{"outbound", "boss@our.example", "x@far.example", "not a domain of ours; x@far.example to b by a route (route.recipients:3)"},
		{"outbound", "", "abuse@our.example", "a recipient that exists (route.known_recipients:1); abuse@our.example to mailbox by the next_hop of the inbound listener with the domain"},
		{"content-filter", "", "x@far.example", "a content filter gives all mail to the listener's next_hop; x@far.example to back by the listener's next_hop"},
	}
	for _, tt := range tests {
		var from mail.Path
		if tt.from != "" {
			from = address(tt.from)
		}
		e := newRouter(t, tt.role, c).Explain(address(tt.to), from)
		if got := say(e); got != tt.want {
			t.Errorf("%s, %s:\n%s, want\n%s", tt.role, tt.to, got, tt.want)
		}
		if e.Refused == nil && e.NextHop != e.Targets[0].NextHop {
			t.Errorf("%s: %q", tt.to, e.NextHop)
		}
	}
	r := newRouter(t, "inbound", c)
	want := "accepted: an alias (route.aliases:1)\n" +
		"ana@our.example -> a: a route (route.recipients:1), by alias route.aliases:1, route.aliases:2\n" +
		"luis@our.example -> a: a route (route.recipients:2), by alias route.aliases:1, route.aliases:2"
	if got := strings.Join(r.Explain(address("info@our.example"), mail.Path{}).Lines(), "\n"); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	want = "refused: 554 5.7.1 Relay access denied: far.example is not in relay_domains"
	if got := strings.Join(r.Explain(address("x@far.example"), mail.Path{}).Lines(), "\n"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Mail for one domain map target may part by a route for one user alone,
	// which only mail to that user meets.
	c = Config{Recipients: []string{"ana@far.example a"}, Aliases: []string{"@our.example @far.example, copy@our.example", "copy@our.example copy@our.example"}}
	r = newRouter(t, "inbound", c)
	e := r.Explain(address("ana@our.example"), mail.Path{})
	if e.Refused == nil || e.Refused.Code != 451 || e.NextHop != "" {
		t.Errorf("%+v", e)
	}
	if got := ask(r, client(false, ""), "ana@our.example"); !strings.HasPrefix(got, "451") {
		t.Error(got)
	}
	if got := ask(r, client(false, ""), "luis@our.example"); got != "mailbox: luis@far.example copy@our.example" {
		t.Error(got)
	}
}
