package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestHostName is S-195 and D-16.
func TestHostName(t *testing.T) {
	rev := func(a string) string { return reverseName(netip.MustParseAddr(a)) + ". 300 IN PTR " }
	lines := []string{
		rev("192.0.2.1") + "mail.example.", "mail.example. 300 IN A 192.0.2.1",
		rev("2001:db8::1") + "mail6.example.", "mail6.example. 300 IN AAAA 2001:db8::1",
		rev("192.0.2.2") + "mail.our.example.", "mail.our.example. 300 IN A 203.0.113.5",
		rev("192.0.2.3") + "localhost.", "localhost. 300 IN A 127.0.0.1",
		rev("192.0.2.4") + `evil\032<b>\013\010.example.`, rev("192.0.2.5") + "192.0.2.5.",
		rev("192.0.2.6") + "nowhere.example.",
		rev("192.0.2.7") + "wrong.example.", rev("192.0.2.7") + "right.example.", "right.example. 300 IN A 192.0.2.7",
		rev("192.0.2.8") + strings.Repeat("a.", 120) + "example.",
		rev("192.0.2.9") + "slow.example.",
		"9.9.9.9.in-addr.arpa. 300 IN CNAME 9.9.9.9.in-addr.arpa.",
	}
	for i := range 1000 {
		lines = append(lines, rev("192.0.2.20")+fmt.Sprintf("p%d.example.", i))
	}
	lines = append(lines, "p999.example. 300 IN A 192.0.2.20")
	z := zone(t, lines...)
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(q.Question[0].Name, "slow.") {
			rcode(dns.RcodeServerFailure)(w, q)
			return
		}
		z(w, q)
	})
	d := start(t, nil, f.addr)
	for _, tc := range []struct {
		addr, name string
		confirmed  bool
		err        error
	}{
		{"192.0.2.1", "mail.example", true, nil},
		{"::ffff:192.0.2.1", "mail.example", true, nil},
		{"2001:db8::1", "mail6.example", true, nil},
		{"192.0.2.2", "mail.our.example", false, nil},
		{"192.0.2.3", "localhost", false, nil},
		{"192.0.2.4", "", false, ErrNotFound},
		{"192.0.2.5", "", false, ErrNotFound},
		{"192.0.2.6", "nowhere.example", false, nil},
		{"192.0.2.7", "right.example", true, nil},
		{"192.0.2.8", strings.Repeat("a.", 120) + "example", false, nil},
		{"192.0.2.9", "slow.example", false, ErrTemporary},
		{"9.9.9.9", "", false, ErrTemporary},
		{"192.0.2.99", "", false, ErrNoName},
	} {
		name, confirmed, err := d.HostName(t.Context(), netip.MustParseAddr(tc.addr))
		if name != tc.name || confirmed != tc.confirmed || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, %v, %v", tc.addr, name, confirmed, err)
		}
	}
	before := f.asked.Load()
	if name, confirmed, err := d.HostName(t.Context(), netip.MustParseAddr("192.0.2.20")); confirmed || err != nil || name == "" {
		t.Errorf("a thousand names: %q, %v, %v", name, confirmed, err)
	}
	if n := f.asked.Load() - before; n > 2+2*maxPTR {
		t.Errorf("%d questions for a thousand names", n)
	}
}

func TestValidHost(t *testing.T) {
	for name, want := range map[string]bool{
		"a.example": true, "A_1.example.": true, "localhost": true, "a": true, "xn--4ca.example": true,
		"": false, ".": false, "1.2.3.4": false, "a.1": false, "-a.example": false, "a-.example": false, "a..b": false, "a b": false,
		`a\032b.example`: false, "a/b.example": false, "é.example": false,
	} {
		if ValidHost(name) != want {
			t.Errorf("%q", name)
		}
	}
}

func TestMock(t *testing.T) {
	var m Mock
	for _, l := range []string{"mail.example A 192.0.2.1", "mail.example AAAA 2001:db8::1", "x.example MX 20 b.example", "x.example MX 10 a.example",
		"x.example TXT some words", "192.0.2.1 PTR mail.example", "192.0.2.2 PTR mail.example", "broken.example fail", "192.0.2.3 fail", "empty.example"} {
		if err := m.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	if a, err := m.A(ctx, "Mail.Example."); err != nil || len(a) != 1 {
		t.Errorf("%v, %v", a, err)
	}
	if a, err := m.Addresses(ctx, "mail.example"); err != nil || len(a) != 2 {
		t.Errorf("%v, %v", a, err)
	}
	if x, err := m.MX(ctx, "x.example"); err != nil || len(x) != 2 || x[0].Host != "a.example" {
		t.Errorf("%v, %v", x, err)
	}
	if s, err := m.TXT(ctx, "x.example"); err != nil || s[0] != "some words" {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := m.A(ctx, "broken.example"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	if _, err := m.A(ctx, "empty.example"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoName) {
		t.Error(err)
	}
	if _, err := m.A(ctx, "none.example"); !errors.Is(err, ErrNoName) {
		t.Error(err)
	}
	if n, c, err := m.HostName(ctx, netip.MustParseAddr("192.0.2.1")); n != "mail.example" || !c || err != nil {
		t.Errorf("%v %v %v", n, c, err)
	}
	if n, c, err := m.HostName(ctx, netip.MustParseAddr("192.0.2.2")); n != "mail.example" || c || err != nil {
		t.Errorf("%v %v %v", n, c, err)
	}
	if _, _, err := m.HostName(ctx, netip.MustParseAddr("192.0.2.3")); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	for _, l := range []string{"a A b", "a MX b", "a PTR b", "a SRV b"} {
		if m.Add(l) == nil {
			t.Errorf("%q is taken", l)
		}
	}
	if len(m.Asked()) == 0 {
		t.Error("nothing was asked")
	}
}
