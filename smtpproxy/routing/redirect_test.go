package routing

import (
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy"
)

// TestRedirect: an address of the operator's goes where mail to it goes,
// whoever the client is; nothing else opens relaying for that.
func TestRedirect(t *testing.T) {
	c := Config{
		Recipients: []string{"far.example a"},
		Senders:    []string{"boss@our.example b"},
		Aliases:    []string{"info@our.example ana@our.example, luis@our.example"},
	}
	known := c
	known.KnownRecipients = []string{"ana@our.example"}
	for _, tt := range []struct {
		role   string
		config Config
		to     string
		want   string
	}{
		{"inbound", c, "ana@our.example", "mailbox: ana@our.example"},
		{"inbound", c, "info@our.example", "mailbox: ana@our.example luis@our.example"},
		{"inbound", c, "x@far.example", "a: x@far.example"},
		{"inbound", c, "x@else.example", "out: x@else.example"},
		{"inbound", known, "ghost@our.example", "550 5.1.1 User unknown"},
		{"outbound", c, "ana@our.example", "mailbox: ana@our.example"},
		{"outbound", c, "x@else.example", "b: x@else.example"}, // by the sender's route
		{"outbound", c, "x@far.example", "a: x@far.example"},
		{"content-filter", c, "info@our.example", "back: info@our.example"},
	} {
		o := options(t, tt.role, tt.config)
		o.Outward = hop{name: "out"}
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		tx := client(false, "boss@our.example")
		var got string
		if h, paths, denied := r.Redirect(tx, address(tt.to)); denied != nil {
			got = denied.String()
		} else {
			var to []string
			for _, p := range paths {
				to = append(to, p.String())
			}
			got = h.Name() + ": " + strings.Join(to, " ")
		}
		if got != tt.want {
			t.Errorf("%s, %s: %s, want %s", tt.role, tt.to, got, tt.want)
		}
		// The client itself may not.
		if _, denied := r.Route(tx, mail.Recipient{Path: address("x@else.example")}); denied == nil {
			t.Errorf("%s relays for a stranger", tt.role)
		}
	}
	r := newRouter(t, "inbound", c)
	if h, _, _ := r.Redirect(client(false, ""), address("x@else.example")); h.Name() != "mailbox" {
		t.Errorf("without an outbound listener: %s", h.Name())
	}
	for name, want := range map[string]string{"c": "c", "mailbox": "mailbox", "gone": ""} {
		if h := r.Hop(name); h == nil && want != "" || h != nil && h.Name() != want {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// TestRedirectToTheClient: mail that a rule sends back to the server that it
// came from is no circle: that server knows the mailbox.
func TestRedirectToTheClient(t *testing.T) {
	o := options(t, "outbound", Config{})
	tx := client(true, "boss@our.example")
	home := hop{name: "mailbox", machine: tx.Client.Addr(), port: 25}
	o.InboundHops = map[string]smtpproxy.NextHop{"our.example": home}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, denied := r.Route(tx, mail.Recipient{Path: address("ana@our.example")}); denied == nil {
		t.Error("the client's own mail goes back to it")
	}
	if h, _, denied := r.Redirect(tx, address("ana@our.example")); denied != nil || h.Name() != "mailbox" {
		t.Error(denied)
	}
}
