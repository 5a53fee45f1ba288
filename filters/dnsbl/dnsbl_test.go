package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lists "garita/dnsbl"
	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/message"
	"garita/resolver"
	"garita/store"
)

// entries are what a list that is well has for tests.
func entries(zone string) []string {
	return []string{"2.0.0.127." + zone + " A 127.0.0.2", "2.0.0.0.0.0.f.7.f.f.f.f" + strings.Repeat(".0", 20) + "." + zone + " A 127.0.0.2", "test." + zone + " A 127.0.0.2"}
}

// build makes the check of a case. "list NAME KINDS CODE" defines a list whose
// zone is NAME.test; its monitor has probed.
func build(t *testing.T, config []string, r resolver.Resolver) (filters.Check, *Monitor) {
	t.Helper()
	c := Default()
	c.Mode, c.Lists = "enforce", nil
	var plain []string
	for _, line := range config {
		rest, ok := strings.CutPrefix(line, "list ")
		if !ok {
			plain = append(plain, line)
			continue
		}
		f := strings.SplitN(rest, " ", 3)
		one := c.List[f[0]]
		one.Zone, one.Kinds = f[0]+".test", strings.Split(f[1], ",")
		one.Codes = append(one.Codes, f[2])
		c.List[f[0]] = one
		if len(one.Codes) == 1 {
			c.Lists = append(c.Lists, f[0])
		}
		for _, e := range entries(one.Zone) {
			if err := r.(*resolver.Mock).Add(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	c = filtertest.With(t, c, plain)
	site := filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Resolver: r}
	check, m, err := New(c, site, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m != nil {
		m.Probe(context.Background())
	}
	return check, m
}

func TestCases(t *testing.T) {
	filtertest.RunDNS(t, "testdata/*.txt", func(t *testing.T, config []string, r resolver.Resolver) filters.Check {
		c, _ := build(t, config, r)
		return c
	})
}

func TestValidate(t *testing.T) {
	refused := func(c Config) error { _, _, err := New(c, filters.Site{}, Options{}); return err }
	filtertest.Refused(t, Default, refused, "mode loud", "timeout 1ms", "refuse_at -1", "reply maybe", "text", "text {key}", "text a\tb", "urls 101",
		"peer_days 31", "lists nothing", "lists spamcop")
	for name, one := range map[string]ListConfig{
		"zone": {Zone: "a b", Kinds: []string{"ipv4"}, Weight: 1}, "kinds": {Zone: "a.test", Kinds: []string{"ip"}, Weight: 1}, "weight": {Zone: "a.test", Kinds: []string{"ipv4"}},
		"codes[0]": {Zone: "a.test", Kinds: []string{"ipv4"}, Codes: []string{"x"}}, "listed[0]": {Zone: "a.test", Kinds: []string{"ipv4"}, Weight: 1, Listed: []string{"a b"}},
		"title": {Zone: "a.test", Kinds: []string{"ipv4"}, Weight: 1, Title: "a\r\nb"}, "weight =": {Zone: "a.test", Kinds: []string{"ipv4"}, Weight: 500},
		"key": {Zone: "a.test", Kinds: []string{"ipv4"}, Weight: 1, Key: "sec ret"},
	} {
		c := Default()
		c.List = map[string]ListConfig{"mine": one}
		errs := c.Validate()
		if len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), "list.mine."+name) || strings.Contains(fmt.Sprint(errs), "sec ret") {
			t.Errorf("%s: %v", name, errs)
		}
	}
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolRefused, SymbolDoubted, SymbolTemporary)
	filtertest.Explained[ListConfig](t)
}

// TestShippedIsChanged: a table changes what it names of a known list.
func TestShippedIsChanged(t *testing.T) {
	c := Default()
	c.Lists = []string{"spamhaus-zen"}
	c.List["spamhaus-zen"] = ListConfig{Zone: "zen.dq.spamhaus.net", Key: "abcdef", Weight: 2, Listed: []string{"127.0.0.2"}, Clean: []string{"none"}, Unconfirmed: true}
	all, errs := c.defined()
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	l := all[0]
	if l.AddressNameOf(netip.MustParseAddr("192.0.2.1")) != "1.2.0.192.abcdef.zen.dq.spamhaus.net" || l.Public() != "zen.dq.spamhaus.net" || l.Codes[0].Weight != 2 ||
		l.Test.Listed6 != lists.None || l.Test.Clean4 != lists.None || !l.Test.NoStranger || l.Lookup == "" {
		t.Errorf("%+v", l)
	}
	if shipped, _ := lists.FindShipped("spamhaus-zen"); shipped.Codes[0].Weight != 4 {
		t.Error("the shipped table was changed")
	}
}

func session(a string) *mail.Session {
	return &mail.Session{ID: "S", Client: netip.MustParseAddrPort(a + ":4000"), Peer: netip.MustParseAddrPort(a + ":4000"), Role: mail.Inbound}
}

// TestNoKeyInReply: neither the reply nor the findings have the key.
func TestNoKeyInReply(t *testing.T) {
	r := &resolver.Mock{}
	c := Default()
	c.Mode, c.Lists, c.RefuseAt, c.Text = "enforce", []string{"mine"}, 1, "blocked by {list}: {reason}"
	c.List["mine"] = ListConfig{Zone: "bl.test", Key: "s3cret", Kinds: []string{"ipv4"}, Weight: 3}
	for _, e := range append(entries("s3cret.bl.test"), "9.113.0.203.s3cret.bl.test A 127.0.0.2") {
		if err := r.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	check, m, err := New(c, filters.Site{Resolver: r}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.Probe(t.Context())
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	s := session("203.0.113.9")
	e.Connect(t.Context(), s)
	tx := &mail.Transaction{Session: s, ID: "T", Direction: mail.In}
	e.Mail(t.Context(), tx)
	d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "a", Domain: "our.example"}})
	if d.Verdict != mail.Reject || d.Reply.String() != "554 5.7.1 blocked by bl.test:" {
		t.Errorf("%v %q", d.Verdict, d.Reply)
	}
	if text := fmt.Sprintf("%+v %+v", d, m.Status()); strings.Contains(text, "s3cret") {
		t.Error(text)
	}
}

// TestReason is D-09: the list's text in our reply is one line of ours.
func TestReason(t *testing.T) {
	r := &resolver.Mock{TXTs: map[string][]string{"9.113.0.203.bl.spamcop.net": {"listed\r\n250 ok {list} \x1b[2J"}}}
	for _, e := range append(entries("bl.spamcop.net"), "9.113.0.203.bl.spamcop.net A 127.0.0.2") {
		if err := r.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	check, m, err := New(Config{Mode: "enforce", Lists: []string{"spamcop"}, Timeout: time.Second, RefuseAt: 3, Reply: "defer", Text: "{subject}; {reason}"}, filters.Site{Resolver: r}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.Probe(t.Context())
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	s := session("203.0.113.9")
	e.Connect(t.Context(), s)
	tx := &mail.Transaction{Session: s, ID: "T", Direction: mail.In}
	e.Mail(t.Context(), tx)
	d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "a", Domain: "our.example"}})
	if got := d.Reply.String(); got != "450 4.7.1 Client host [203.0.113.9]; listed 250 ok (list) ?[2J" {
		t.Errorf("%q", got)
	}
}

// TestCachedInline: what memory has is answered without waiting, and what it
// has not is never guessed.
func TestCachedInline(t *testing.T) {
	r := &resolver.Mock{}
	check, m := build(t, []string{"list bl ipv4 127.0.0.2 3 spam"}, r)
	k := check.Impl.(filters.ConnectChecker)
	cached := resolver.FromCache(t.Context())
	s := session("203.0.113.9")
	if res, err := k.CheckConnect(cached, s); err != nil || len(res.Findings) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	r.Cold = true
	if _, err := k.CheckConnect(cached, s); err != filters.ErrWouldWait {
		t.Errorf("%v", err)
	}
	if a := m.Status()[0].Answers["clean"]; a != 1 {
		t.Errorf("%d answers", a)
	}
}

// TestPeers: days of good mail make a peer known; a listing, a refusal or many
// points end it.
func TestPeers(t *testing.T) {
	var day atomic.Int64
	r := &resolver.Mock{}
	c := Default()
	c.Mode, c.Lists = "score", []string{"spamcop"}
	s := store.NewMemory()
	check, _, err := New(c, filters.Site{Resolver: r, Store: s}, Options{Now: func() time.Time { return time.Unix(20_000*86400+day.Load()*86400, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	k := check.Impl.(*lookups)
	a := netip.MustParseAddr("203.0.113.9")
	end := func(o mail.OutcomeKind, fs ...mail.Finding) {
		t.Helper()
		tx := &mail.Transaction{Session: session(a.String())}
		tx.Findings = fs
		if err := k.Finish(t.Context(), tx, mail.Outcome{Kind: o}); err != nil {
			t.Fatal(err)
		}
	}
	week := func() {
		for range 5 {
			day.Add(1)
			end(mail.Relayed)
			end(mail.Relayed)
		}
	}
	for range 4 {
		day.Add(1)
		end(mail.Relayed)
		end(mail.Relayed)
		end(mail.Refused)
	}
	if k.knownGood(t.Context(), a) {
		t.Error("after four days")
	}
	day.Add(1)
	end(mail.Relayed)
	if !k.knownGood(t.Context(), a) || k.knownGood(t.Context(), netip.MustParseAddr("203.0.113.10")) {
		t.Error("after five days")
	}
	for name, bad := range map[string]mail.Finding{
		"listed": {Filter: Name, Symbol: "dnsbl.spamcop", Score: 3}, "rejected": {Filter: "clamav", Verdict: mail.Reject, Counted: true}, "points": {Filter: "rspamd", Score: 7, Counted: true},
	} {
		end(mail.Refused, bad)
		if k.knownGood(t.Context(), a) {
			t.Errorf("%s: still known", name)
		}
		week()
		if !k.knownGood(t.Context(), a) {
			t.Errorf("%s: not known again", name)
		}
	}
	end(mail.Relayed, mail.Finding{Filter: "rspamd", Score: 7}) // not counted
	if !k.knownGood(t.Context(), a) {
		t.Error("what a mode takes away counts")
	}
	// One list against it: five days of good mail are worth one such day, a month
	// many; and a sick list costs nothing.
	doubt := mail.Finding{Filter: Name, Symbol: SymbolDoubted, Detail: "spamcop has 203.0.113.9, which is not believed: " + lists.KnownGood}
	sick := mail.Finding{Filter: Name, Symbol: SymbolDoubted, Detail: "spamcop has 203.0.113.9, which is not believed: it is sick"}
	end(mail.Refused, mail.Finding{Filter: Name, Symbol: "dnsbl.spamcop", Score: 3})
	week()
	day.Add(1)
	end(mail.Relayed, sick)
	if !k.knownGood(t.Context(), a) {
		t.Error("a sick list takes the good name away")
	}
	for range 2 {
		day.Add(1)
		end(mail.Relayed, doubt)
		end(mail.Relayed, doubt)
	}
	if k.knownGood(t.Context(), a) {
		t.Error("five good days are good for ever")
	}
	for range 4 {
		week()
	}
	for range 10 {
		day.Add(1)
		end(mail.Relayed, doubt)
	}
	if !k.knownGood(t.Context(), a) {
		t.Error("a month of good mail is not worth ten days")
	}
	for range 40 {
		day.Add(1)
		end(mail.Relayed, doubt)
	}
	if k.knownGood(t.Context(), a) {
		t.Error("never")
	}
	k.c.KnownGood = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	if !k.knownGood(t.Context(), netip.MustParseAddr("198.51.100.1")) {
		t.Error("known_good")
	}
	if peerOf(netip.MustParseAddr("2001:db8::1")) != peerOf(netip.MustParseAddr("2001:db8::2")) {
		t.Error("a /64 is one peer")
	}
	if d, _ := peerDays([]byte("x y")); d != 0 {
		t.Error(d)
	}
}

// TestEnough: a refusal that is certain waits for no other list, but for every
// allow list.
func TestEnough(t *testing.T) {
	r := &resolver.Mock{}
	_, m := build(t, []string{"list a sender 127.0.0.2 9 bad", "list b sender 127.0.0.2 9 bad", "list w sender 127.0.0.2 -9 good"}, r)
	k := &lookups{c: Config{RefuseAt: 8}, enforce: true, m: m}
	var qs []lists.Question
	for _, w := range m.Lists() {
		qs = append(qs, lists.Question{List: w})
	}
	listed := func(w float64) lists.Answer { return lists.Answer{State: lists.Listed, Weight: w} }
	clean := lists.Answer{State: lists.Clean}
	f := k.enough(qs, mail.StageMail, 0)
	for name, c := range map[string]struct {
		have  lists.Answers
		asked []bool
		want  bool
	}{
		"allow list missing": {lists.Answers{listed(9), {}, {}}, []bool{true, false, false}, false},
		"allowed":            {lists.Answers{listed(9), {}, listed(-9)}, []bool{true, false, true}, false},
		"certain":            {lists.Answers{listed(9), {}, clean}, []bool{true, false, true}, true},
		"not listed":         {lists.Answers{clean, {}, clean}, []bool{true, false, true}, false},
		"doubted":            {lists.Answers{{State: lists.Doubted, Weight: 9}, {}, clean}, []bool{true, false, true}, false},
	} {
		if got := f(c.have, c.asked); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if k.enough(qs, mail.StageConnect, 0) != nil || (&lookups{c: k.c, m: m}).enough(qs, mail.StageMail, 0) != nil {
		t.Error("cut short where points count")
	}
}

// TestManyLinks is D-15: ten thousand links are so many questions and no more.
func TestManyLinks(t *testing.T) {
	r := &resolver.Mock{}
	check, _ := build(t, []string{"list u url 127.0.0.2 3 spam", "urls 7"}, r)
	var b strings.Builder
	b.WriteString("Subject: x\r\n\r\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "http://host%d.site%d.example/ ", i, i)
	}
	m, err := message.Spool(t.Context(), strings.NewReader(b.String()+"\r\n"), message.Limits{Max: 1 << 22, Memory: 1 << 22})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	before := len(r.Asked())
	tx := &mail.Transaction{Session: session("203.0.113.9"), Message: m}
	if _, err := check.Impl.(filters.MessageChecker).CheckMessage(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	// Each is looked for in memory first; the mock has it there.
	if n := len(r.Asked()) - before; n != 7 {
		t.Errorf("%d questions", n)
	}
	if _, err := check.Impl.(filters.MessageChecker).CheckMessage(resolver.FromCache(t.Context()), tx); err != filters.ErrWouldWait {
		t.Errorf("drawn twice: %v", err)
	}
}

func hosts(c *collector) string {
	var out []string
	for _, s := range c.found {
		out = append(out, s.String())
	}
	return strings.Join(out, " ")
}

// TestLinks is D-15: what is a host in hostile text.
func TestLinks(t *testing.T) {
	for in, want := range map[string]string{
		"see http://a.example/x and https://B.Example?q": "a.example b.example",
		"www.a.example":                                                 "www.a.example",
		"mail@www.a.example nowww.b.example":                            "",
		"http://user:pw@a.example:8080/":                                "a.example",
		"http://good.example@evil.example/":                             "evil.example",
		`http:\\a.example\x`:                                            "a.example",
		"http:////a.example":                                            "a.example",
		"http://a%2eexample/":                                           "a.example",
		"http://a%zz.example/":                                          "",
		"http://203.0.113.7/ http://10.0.0.1/":                          "203.0.113.7",
		"http://3405803783/ http://0xCB007108":                          "203.0.113.7 203.0.113.8",
		"http://münchen.example/":                                       "xn--mnchen-3ya.example",
		"http://a\u3002example/":                                        "a.example",
		"http://[::1]/ http:// http://. //":                             "",
		"http://www.our.example/":                                       "www.our.example",
		"http://our.example/":                                           "",
		"http://a.b.co.uk/ http://c.b.co.uk/":                           "a.b.co.uk",
		"http://x..y/ http://" + strings.Repeat("a", 300) + ".example/": "",
		"end of http://a.example.":                                      "a.example",
		"comment // a.example":                                          "",
		"http://file.php5/":                                             "",
	} {
		c := collector{own: map[string]bool{"our.example": true}, known: map[string]bool{}}
		c.text([]byte(in))
		if in == "http://www.our.example/" {
			want = "" // the registered domain is ours
		}
		if got := hosts(&c); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	c := collector{known: map[string]bool{}}
	c.page([]byte(`<a href="ht&#116;p://a.example/">x</a><img src='//b.exa` + "\n" + `mple/'><form action=https://c.example><p style="background:url(http://d.example/x)">http://e.example</p><a name="http://f.example">`))
	if got := hosts(&c); got != "a.example b.example c.example d.example e.example" {
		t.Error(got)
	}
}

// TestWholeAddresses is D-15: an attribute that is an address is read as
// browsers read it.
func TestWholeAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http:evil.example/":                                       "evil.example",
		"HTTPS:/evil.example":                                      "evil.example",
		`http:\/\evil.example`:                                     "evil.example",
		" //evil.example/":                                         "evil.example",
		"\x01https://evil.example":                                 "evil.example",
		"http://good.example'@evil.example/":                       "evil.example good.example",
		"http://good.example;@evil.example?":                       "evil.example good.example",
		"http://" + strings.Repeat("a", 700) + "@evil.example/x":   "evil.example",
		"https://good.example/?u=https://evil.example/":            "good.example evil.example",
		"http://0xCB.0161.113.7/ ":                                 "203.113.113.7",
		"http://203.7368/":                                         "203.0.28.200",
		"http://203.0.0x7108:80":                                   "203.0.113.8",
		"http://203.0.113.256/ http://1.2.3.4.5/ http://08.1.1.1/": "",
		"http://4294967296/":                                       "",
		"/evil.example":                                            "",
		"evil.example":                                             "",
		"mailto:a@evil.example":                                    "",
		"http:":                                                    "",
	} {
		c := collector{known: map[string]bool{}}
		c.page([]byte(`<a href="` + in + `">x</a>`))
		if got := hosts(&c); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzLinks(f *testing.F) {
	for _, s := range []string{"http://a.example", `\\a.example`, "www.a.example//b.example", `<a href="//a.example">`, "http://0x7f000001"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, page := range []bool{false, true} {
			c := collector{known: map[string]bool{}}
			if page {
				c.page(data)
			} else {
				c.text(data)
			}
			if len(c.found) > maxLinks {
				t.Fatal(len(c.found))
			}
			for _, s := range c.found {
				if s.addr.IsValid() {
					continue
				}
				if lists.Domain(s.name) != s.name || len(s.name) > 253 {
					t.Fatalf("%q", s.name)
				}
			}
		}
	})
}

// BenchmarkLinks: linear in the text, also where nothing is a link.
func BenchmarkLinks(b *testing.B) {
	for name, unit := range map[string]string{"www": "xwww.", "words": "some words of a text ", "links": "http://a.example/ "} {
		for _, n := range []int{1 << 16, 1 << 20} {
			data := []byte(strings.Repeat(unit, n/len(unit)) + "//")
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					c := collector{known: map[string]bool{}}
					c.text(data)
				}
			})
		}
	}
}
