package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"sort"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/message"
	"garita/resolver"
	"garita/store"
)

// slowly answers after a while, heeding the context.
type slowly struct {
	*resolver.Mock
	part string
}

func (s slowly) A(ctx context.Context, name string) ([]netip.Addr, error) {
	if strings.Contains(name, s.part) && !resolver.CacheOnly(ctx) {
		<-ctx.Done()
		return nil, resolver.ErrTemporary
	} else if strings.Contains(name, s.part) {
		return nil, resolver.ErrNotCached
	}
	return s.Mock.A(ctx, name)
}

// play gives what the check finds of one message and answers, as one text.
func play(t *testing.T, change func(c *Config)) string {
	t.Helper()
	r := &resolver.Mock{TXTs: map[string][]string{"9.113.0.203.bl.spamcop.net": {"the reason"}}}
	for _, zone := range []string{"bl.spamcop.net", "other.test", "k3y.other.test", "multi.surbl.org", "psbl.surriel.com"} {
		for _, e := range append(entries(zone), "9.113.0.203."+zone+" A 127.0.0.2", "surbl-org-permanent-test-point.com."+zone+" A 127.0.0.8") {
			if err := r.Add(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, e := range []string{"evil.example.multi.surbl.org A 127.0.0.8", "9.113.0.203.odd.test A 127.0.0.9", "5.0.0.127.odd.test A 127.0.0.2", "bad.example.other.test A 127.0.0.2",
		"test.names.test A 127.0.0.2", "9.113.0.203.names.test A 127.0.0.2"} {
		if err := r.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	c := Default()
	c.Mode, c.Lists, c.RefuseAt, c.Text = "enforce", []string{"spamcop", "surbl"}, 0, "{list}"
	change(&c)
	s := store.NewMemory()
	_ = s.Put(t.Context(), peerOf(netip.MustParseAddr("203.0.113.9")), []byte("3 20000"), time.Hour)
	var dns resolver.Resolver = r
	if c.Timeout != Default().Timeout {
		dns = slowly{r, "9.113.0.203.psbl"}
	}
	check, m, err := New(c, filters.Site{Resolver: dns, Store: s}, Options{})
	if err != nil {
		return "refused: " + err.Error()
	}
	if m != nil {
		m.Probe(t.Context())
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := message.Spool(t.Context(), strings.NewReader("Subject: x\r\n\r\nhttp://evil.example/\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer msg.Release()
	ses := session("203.0.113.9")
	e.Connect(t.Context(), ses)
	ses.Helo = "bad.example"
	e.Helo(t.Context(), ses)
	tx := &mail.Transaction{Session: ses, ID: "T", Direction: mail.In}
	e.Mail(t.Context(), tx)
	d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "a", Domain: "our.example"}})
	tx.Message = msg
	end := e.Message(t.Context(), tx)
	var out []string
	for _, f := range end.Because {
		out = append(out, fmt.Sprintf("%s%+g", f.Symbol, f.Score))
	}
	sort.Strings(out)
	text := strings.Join(out, " ")
	if !d.Reply.IsZero() {
		text += " " + d.Reply.String()
	}
	return text
}

// TestEffects: each key does what it says. Every row differs from the first.
func TestEffects(t *testing.T) {
	own := func(one ListConfig) func(*Config) {
		return func(c *Config) { c.Lists, c.List = []string{"mine"}, map[string]ListConfig{"mine": one} }
	}
	v4 := []string{"ipv4"}
	const plain = "dnsbl.spamcop+3 dnsbl.surbl+6"
	if got := play(t, func(*Config) {}); got != plain {
		t.Fatal(got)
	}
	for _, c := range []struct {
		key    string
		change func(c *Config)
		want   string
	}{
		{"mode", func(c *Config) { c.Mode = "off" }, ""},
		{"mode", func(c *Config) { c.Mode, c.RefuseAt = "score", 3 }, "dnsbl.refused+0 dnsbl.spamcop+3 dnsbl.surbl+6"},
		{"lists", func(c *Config) { c.Lists = []string{"psbl"} }, "dnsbl.psbl+2"},
		{"refuse_at", func(c *Config) { c.RefuseAt = 3 }, "dnsbl.refused+0 dnsbl.spamcop+3 dnsbl.surbl+6 554 5.7.1 bl.spamcop.net"},
		{"reply", func(c *Config) { c.RefuseAt, c.Reply = 3, "defer" }, "dnsbl.refused+0 dnsbl.spamcop+3 dnsbl.surbl+6 450 4.7.1 bl.spamcop.net"},
		{"text", func(c *Config) { c.RefuseAt, c.Text = 3, "go to {lookup}: {reason}" }, "dnsbl.refused+0 dnsbl.spamcop+3 dnsbl.surbl+6 554 5.7.1 go to https://www.spamcop.net/bl.shtml: the reason"},
		{"urls", func(c *Config) { c.URLs = 0 }, "dnsbl.spamcop+3"},
		{"known_good", func(c *Config) { c.KnownGood = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} }, "dnsbl.doubted+0 dnsbl.surbl+6"},
		{"peer_days", func(c *Config) { c.PeerDays = 3 }, "dnsbl.doubted+0 dnsbl.surbl+6"},
		{"timeout", func(c *Config) { c.Timeout, c.Lists = time.Second, []string{"spamcop", "psbl"} }, "dnsbl.spamcop+3 dnsbl.temporary+0"},
		{"list.zone", own(ListConfig{Zone: "other.test", Kinds: v4, Weight: 1}), "dnsbl.mine+1"},
		{"list.weight", own(ListConfig{Zone: "other.test", Kinds: v4, Weight: 1.5}), "dnsbl.mine+1.5"},
		{"list.key", own(ListConfig{Zone: "other.test", Key: "wrong", Kinds: v4, Weight: 1}), ""},
		{"list.key", own(ListConfig{Zone: "other.test", Key: "k3y", Kinds: v4, Weight: 1}), "dnsbl.mine+1"},
		{"list.kinds", own(ListConfig{Zone: "other.test", Kinds: []string{"helo"}, Weight: 4}), "dnsbl.mine+4"},
		{"list.kinds", own(ListConfig{Zone: "other.test", Kinds: []string{"url"}, Weight: 4}), ""},
		{"list.codes", own(ListConfig{Zone: "other.test", Kinds: v4, Codes: []string{"127.0.0.2 7 bad", "127.0.0.3 8 worse"}}), "dnsbl.mine+7"},
		{"list.listed, without it", own(ListConfig{Zone: "odd.test", Kinds: v4, Weight: 2}), ""},
		{"list.listed", own(ListConfig{Zone: "odd.test", Kinds: v4, Weight: 2, Listed: []string{"127.0.0.5"}}), "dnsbl.mine+2"},
		{"list.clean", own(ListConfig{Zone: "odd.test", Kinds: v4, Weight: 2, Listed: []string{"127.0.0.5"}, Clean: []string{"127.0.0.5"}}), ""},
		{"list.title", func(c *Config) {
			own(ListConfig{Zone: "other.test", Title: "Our list", Kinds: v4, Weight: 4})(c)
			c.RefuseAt = 4
		}, "dnsbl.mine+4 dnsbl.refused+0 554 5.7.1 Our list"},
	} {
		if got := play(t, c.change); got != c.want {
			t.Errorf("%s: %q, want %q", c.key, got, c.want)
		}
	}
}

// wild lists every address of loopback but its test entry, as a list of
// reserved addresses does.
type wild struct{ *resolver.Mock }

func (w wild) A(ctx context.Context, name string) ([]netip.Addr, error) {
	if strings.HasSuffix(name, ".127.bogon.test") || name == "9.113.0.203.bogon.test" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
	}
	return w.Mock.A(ctx, name)
}

// TestUnconfirmed: a list of reserved addresses counts only where it is said
// that it is one.
func TestUnconfirmed(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := Default()
		c.Mode, c.Lists = "score", []string{"bogon"}
		c.List["bogon"] = ListConfig{Zone: "bogon.test", Kinds: []string{"ipv4"}, Weight: 2, Clean: []string{"192.0.2.1"}, Unconfirmed: on}
		check, m, err := New(c, filters.Site{Resolver: wild{&resolver.Mock{}}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		m.Probe(t.Context())
		res, err := check.Impl.(filters.ConnectChecker).CheckConnect(t.Context(), session("203.0.113.9"))
		if err != nil || on != (len(res.Findings) == 1 && res.Findings[0].Symbol == "dnsbl.bogon") {
			t.Errorf("%v: %+v, %v, %+v", on, res, err, m.Status())
		}
	}
}
