package identity

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

// spool makes a message of a header; lines end with LF here.
func spool(t testing.TB, header string) *message.Message {
	t.Helper()
	raw := strings.ReplaceAll(header+"Subject: x\n\nbody\n", "\n", "\r\n")
	m, err := message.Spool(context.Background(), strings.NewReader(raw), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

func testConfig() Config {
	c := Default()
	c.Hosts = []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32"), netip.MustParsePrefix("2001:db8::5/128")}
	c.DefaultDomain = "our.example"
	return c
}

func newChain(t testing.TB, c Config) *Chain {
	t.Helper()
	ch, err := New(c, []string{"our.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// transaction comes from a trusted relay.
func transaction(m *message.Message, client, from string) *mail.Transaction {
	a := netip.MustParseAddrPort(client)
	tx := &mail.Transaction{ID: "1", Direction: mail.Out, Message: m,
		Session: &mail.Session{Role: mail.Outbound, Peer: a, Client: a, Trusted: true}}
	if from != "" {
		tx.ReversePath.Local, tx.ReversePath.Domain, _ = strings.Cut(from, "@")
	}
	return tx
}

const (
	zimbra = "10.0.0.5:4711"
	// amavis is what Zimbra's own hops write on top.
	amavis = "Received: from localhost (localhost [127.0.0.1])\n\tby zimbra.our.example (Postfix) with ESMTP id AA1; Mon, 1 Jan 2024 00:00:00 +0000\n" +
		"Received: from zimbra.our.example ([127.0.0.1])\n by localhost (zimbra.our.example [127.0.0.1]) (amavis, port 10026)\n with ESMTP id x; Mon, 1 Jan 2024 00:00:00 +0000\n"
	byAna = "Received: from [192.168.1.9] (unknown [198.51.100.9])\n\t(using TLSv1.3 with cipher X (256/256 bits))\n\t(Authenticated sender: Ana@Our.Example)\n\tby zimbra.our.example (Postfix) with ESMTPSA id AA0; Mon, 1 Jan 2024 00:00:00 +0000\n"
	byBob = "Received: from x (unknown [198.51.100.7])\n\t(Authenticated sender: bob)\n\tby zimbra.our.example (Postfix) with ESMTPSA id AB0; Mon, 1 Jan 2024 00:00:00 +0000\n"
	alien = "Received: from evil.example (evil.example [203.0.113.9])\n\tby zimbra.our.example (Postfix) with ESMTP id AA2; Mon, 1 Jan 2024 00:00:00 +0000\n"
	own   = "Received: from zimbra.our.example (zimbra.our.example [10.0.0.5])\n\tby zimbra.our.example (Postfix) with ESMTP id AA3; Mon, 1 Jan 2024 00:00:00 +0000\n"
)

// TestTrustedRun: only what hosts of ours wrote is believed, from the top to
// the first line that came from elsewhere.
func TestTrustedRun(t *testing.T) {
	for _, c := range []struct{ name, client, header, from, user, source string }{
		{"the line on top", zimbra, byAna, "x@our.example", "ana@our.example", SourceReceived},
		{"below hops of the same host", zimbra, amavis + byAna, "", "ana@our.example", SourceReceived},
		{"below a hop of another host of ours", zimbra, own + byAna, "", "ana@our.example", SourceReceived},
		{"a name without a domain", zimbra, byBob, "", "bob@our.example", SourceReceived},
		{"the first of two lines with a mark", zimbra, byAna + byBob, "", "ana@our.example", SourceReceived},
		{"forged below a stranger's line", zimbra, alien + byAna, "", "", ""},
		{"forged below, with hops of ours on top", zimbra, amavis + alien + byAna, "", "", ""},
		{"a peer that is no host of ours", "10.0.0.6:1", byAna, "", "", ""},
		{"a line without an address", zimbra, "Received: by zimbra.our.example (Postfix, from userid 0)\n\tid AA4; x\n" + byAna, "", "", ""},
		{"HELO is an address of ours", zimbra, "Received: from [127.0.0.1] (unknown [203.0.113.9])\n\tby zimbra.our.example; x\n" + byAna, "", "", ""},
		{"a comment in the place of HELO", zimbra, "Received: from (Authenticated sender: ana) (x [203.0.113.9]) by z; x\n", "", "", ""},
		{"the mark before the address", zimbra, "Received: from x (Authenticated sender: ana) (x [203.0.113.9]) by z; x\n", "", "", ""},
		{"two marks", zimbra, "Received: from x (x [203.0.113.9]) (Authenticated sender: ana) (Authenticated sender: bob) by z; x\n" + byAna, "", "", ""},
		{"a mark inside a comment", zimbra, "Received: from x (x (Authenticated sender: ana) [203.0.113.9]) by z; x\n", "", "", ""},
		{"a comment inside the mark", zimbra, "Received: from x (x [203.0.113.9]) (Authenticated sender: ana(x)) by z; x\n", "", "", ""},
		{"a quoted pair inside the mark", zimbra, "Received: from x (x [203.0.113.9]) (Authenticated sender: a\\na) by z; x\n", "", "", ""},
		{"a mark in a quoted string", zimbra, "Received: from \"x (Authenticated sender: ana)\" (x [203.0.113.9]) by z; x\n", "", "", ""},
		{"a mark behind by", zimbra, "Received: from x (x [203.0.113.9]) by z (Authenticated sender: ana) with ESMTP; x\n", "", "", ""},
		{"a mark behind the semicolon", zimbra, "Received: from x (x [203.0.113.9]); (Authenticated sender: ana) by z\n", "", "", ""},
		{"two addresses", zimbra, "Received: from x (x [10.0.0.5]) (y [203.0.113.9]) (Authenticated sender: ana) by z; x\n", "", "", ""},
		{"a comment without its end", zimbra, "Received: from x (x [10.0.0.5]) (Authenticated sender: ana by z; x\n" + byAna, "", "", ""},
		{"an empty mark", zimbra, "Received: from x (x [10.0.0.5]) (Authenticated sender: ) by z; x\n", "", "", ""},
		{"a name that is none", zimbra, "Received: from x (x [10.0.0.5]) (Authenticated sender: a b) by z; x\n" + byAna, "", "", ""},
		{"the mark folded where nobody folds it", zimbra, "Received: from x (x [198.51.100.9])\n\t(Authenticated\n\tsender: ana) by z; x\n", "", "", ""},
		{"webmail", zimbra, own + "X-Authenticated-User: ana@our.example\n", "", "ana@our.example", SourceHeader},
		{"webmail above hops of the same host", zimbra, amavis + own + "X-Authenticated-User: ana\n", "", "ana@our.example", SourceHeader},
		{"webmail that gives us mail itself", zimbra, "X-Authenticated-User: ana\n", "", "ana@our.example", SourceHeader},
		{"webmail's field from a stranger", zimbra, alien + "X-Authenticated-User: ana\n", "", "", ""},
		{"webmail's field above a stranger's line", zimbra, "X-Authenticated-User: ana\n" + alien, "", "", ""},
		{"webmail's field twice", zimbra, own + "X-Authenticated-User: ana\nX-Authenticated-User: bob\n", "", "", ""},
		{"the sender at last", zimbra, alien, "Ana+x@OUR.example", "ana@our.example", SourceSender},
		{"a sender of another domain", zimbra, alien, "ana@other.example", "", ""},
		{"no header and a sender, from any trusted relay", "10.9.9.9:1", "", "ana@our.example", "ana@our.example", SourceSender},
		{"IPv6", "[2001:db8::5]:1", "Received: from x (x [IPv6:2001:db8::5]) by z; x\n" + byAna, "", "ana@our.example", SourceReceived},
	} {
		tx := transaction(spool(t, c.header), c.client, c.from)
		ch := newChain(t, testConfig())
		ch.Mail(tx)
		ch.Message(tx)
		if tx.Identity != (mail.Identity{User: c.user, Source: c.source}) {
			t.Errorf("%s: %+v, want %q from %q", c.name, tx.Identity, c.user, c.source)
		}
	}
}

// TestForgedMarks: marks below the line of a host of ours, folded, commented,
// doubled, and in the fields that a user writes himself; nobody is the victim,
// and nothing of them is touched.
func TestForgedMarks(t *testing.T) {
	const top = "Received: from x (unknown [198.51.100.9])\n\t(Authenticated sender: ana)\n\tby zimbra.our.example (Postfix) with ESMTPSA id AA0; x\n"
	for _, forged := range []string{
		"Received: from x (x [127.0.0.1]) (Authenticated sender: victim) by z; x\n",
		"Received: from x (x [127.0.0.1])\n\t(Authenticated sender:\n\tvictim) by z; x\n",
		"Received: from x (x [127.0.0.1]) (\n Authenticated sender: victim\n ) by z; x\n",
		"Received: from x (x [127.0.0.1]) (Authenticated sender: victim) (Authenticated sender: victim) by z; x\n",
		"Received: from x (x [127.0.0.1]) (Authenticated sender: (ana) victim) by z; x\n",
		"Received: from x (x [127.0.0.1]) (a (Authenticated sender: victim)) by z; x\n",
		"Received: from x (x [127.0.0.1]) (AUTHENTICATED SENDER: victim) by z; x\n",
		"RECEIVED : from x (x [127.0.0.1]) (Authenticated sender: victim) by z; x\n",
		"received: by z (Authenticated sender: victim); x\n",
		"Received:from x(x [127.0.0.1])(Authenticated sender: victim)by z;x\n",
		"X-Authenticated-User: victim\n",
		"X-AUTHENTICATED-USER: victim\nx-authenticated-user: victim\n",
		"Resent-Received: from x (x [127.0.0.1]) (Authenticated sender: victim) by z; x\n",
		"Received: from x (x [127.0.0.1]) (Authenticated sender: victim\n",
		strings.Repeat("Received: from x (x [127.0.0.1]) by z; x\n", 150) + "Received: from x (x [127.0.0.1]) (Authenticated sender: victim) by z; x\n",
	} {
		for _, line := range []struct{ header, user string }{{top + forged, "ana@our.example"}, {alien + forged, ""}, {amavis + alien + forged, ""}} {
			tx := transaction(spool(t, line.header), zimbra, "")
			ch := newChain(t, testConfig())
			ch.Mail(tx)
			ch.Message(tx)
			if tx.Identity.User != line.user {
				t.Errorf("%.200q: %+v", line.header, tx.Identity)
			}
			r, err := tx.Message.Render(tx.Edits)
			if err != nil {
				t.Fatal(err)
			}
			all, _ := io.ReadAll(r)
			want := line.header
			if line.user != "" {
				want = strings.Replace(want, "\n\t(Authenticated sender: ana)", "", 1)
			}
			if strings.HasPrefix(strings.ToLower(forged), "x-auth") {
				want = strings.TrimSuffix(want, forged)
			}
			want = strings.ReplaceAll(want+"Subject: x\n\nbody\n", "\n", "\r\n")
			if string(all) != want {
				t.Errorf("it leaves as\n%q\nnot\n%q", all, want)
			}
		}
	}
	// As the first line of a run it can be read in two ways, or is Postfix's
	// own form; a field name with a space before its colon is Received.
	for forged, user := range map[string]string{
		"Received: from x (x [127.0.0.1])(Authenticated sender: victim)by z;x\n":                                   "victim@our.example",
		"Received: from x (x [127.0.0.1]) (Authenticated sender: victim@our.example ) by z; x\n":                   "victim@our.example",
		"Received: from x (x [127.0.0.1]) (Authenticated sender: victim, ana) by z; x\n":                           "",
		"Received: from x (x [127.0.0.1]) (Authenticated sender: ana) by z; x\n\t(Authenticated sender: victim)\n": "ana@our.example",
	} {
		tx := transaction(spool(t, forged), zimbra, "")
		ch := newChain(t, testConfig())
		if ch.Message(tx); tx.Identity.User != user {
			t.Errorf("%q: %+v", forged, tx.Identity)
		}
	}
}

// FuzzForged: whatever stands below the first line of a host of ours that names
// a user or a stranger changes nothing about who sends, and leaves as it came
// but for the fields that are removed by name.
func FuzzForged(f *testing.F) {
	f.Add("Received: from x (x [127.0.0.1]) (Authenticated sender: victim) by z; x\r\n", true)
	f.Add("X-Authenticated-User: victim\r\n", false)
	f.Add("Received: from x (x [127.0.0.1])\r\n (Authenticated sender: victim) by z; x\r\nReceived: (\r\n", true)
	f.Add(": x\r\n\r\nReceived: y", true)
	f.Fuzz(func(t *testing.T, below string, known bool) {
		top, user := strings.ReplaceAll(byAna, "\n", "\r\n"), "ana@our.example"
		if !known {
			top, user = strings.ReplaceAll(alien, "\n", "\r\n"), ""
		}
		// The next octet must not be one that goes on with our line.
		if below != "" && (below[0] == ' ' || below[0] == '\t') {
			return
		}
		raw := top + below
		m, err := message.Spool(context.Background(), strings.NewReader(raw), message.Limits{Max: 1 << 20, Memory: 1 << 20})
		if err != nil {
			return
		}
		defer m.Release()
		tx := transaction(m, zimbra, "")
		ch := newChain(t, testConfig())
		ch.Mail(tx)
		if ch.Message(tx); tx.Identity.User != user {
			t.Fatalf("%q makes it %+v", below, tx.Identity)
		}
		want := strings.Replace(top, "\r\n\t(Authenticated sender: Ana@Our.Example)", "", 1)
		fields := m.Header().Fields()
		last := int64(len(top))
		for _, f := range fields {
			if f.Start < last || !strings.EqualFold(f.Name, "X-Authenticated-User") {
				continue
			}
			want += raw[last:f.Start]
			last = f.End
		}
		want += raw[last:]
		r, err := m.Render(tx.Edits)
		if err != nil {
			t.Fatal(err)
		}
		if all, _ := io.ReadAll(r); string(all) != want {
			t.Fatalf("%q leaves as %q", raw, all)
		}
	})
}

// TestDoorsComeFirst: what the session has shown is not replaced by a header,
// and a trusted relay is not a user.
func TestDoorsComeFirst(t *testing.T) {
	for _, source := range []string{SourceAuth, SourceCertificate, SourceMilter, SourcePolicy} {
		tx := transaction(spool(t, byBob), zimbra, "carl@our.example")
		tx.Identity = mail.Identity{User: "ANA", Source: source}
		ch := newChain(t, testConfig())
		ch.Mail(tx)
		ch.Message(tx)
		if tx.Identity != (mail.Identity{User: "ana@our.example", Source: source}) {
			t.Errorf("%s: %+v", source, tx.Identity)
		}
		if !OwnSession(source) || !Proven(source) {
			t.Errorf("%s is not a session of the user's", source)
		}
	}
	tx := transaction(spool(t, ""), zimbra, "")
	ch := newChain(t, testConfig())
	ch.Mail(tx)
	if ch.Message(tx); tx.Identity != (mail.Identity{}) {
		t.Errorf("system mail has a user: %+v", tx.Identity)
	}
	if Proven(SourceSender) || OwnSession(SourceReceived) {
		t.Error("a claim counts as proof")
	}
}

// TestNobodyOutside: mail from the Internet names no user, whatever it says
//
func TestNobodyOutside(t *testing.T) {
	tx := transaction(spool(t, byAna+"X-Authenticated-User: ana\n"), "203.0.113.9:1", "ana@our.example")
	tx.Role, tx.Direction, tx.Trusted = mail.Inbound, mail.In, false
	ch := newChain(t, testConfig())
	ch.Mail(tx)
	if ch.Message(tx); tx.Identity != (mail.Identity{}) {
		t.Errorf("a stranger is %+v", tx.Identity)
	}
}

// TestOneUser: the spellings of one user.
func TestOneUser(t *testing.T) {
	n := Names{Domain: "our.example"}
	for _, s := range []string{"ana@our.example", "ANA@our.example", "Ana@OUR.Example", "ana", " ana ", "ana+shop@our.example", "ana+a+b",
		"ａｎａ@our.example", "ana＠our.example", "ana@our.example."} {
		got, ok := n.Canonical(s)
		if s == "ana@our.example." {
			if ok && got != "ana@our.example" {
				t.Errorf("%q is %q", s, got)
			}
			continue
		}
		if !ok || got != "ana@our.example" {
			t.Errorf("%q is %q %v", s, got, ok)
		}
	}
	// "é" in two forms of Unicode.
	a, _ := n.Canonical("jos\u00e9@our.example")
	b, _ := n.Canonical("JOSE\u0301@our.example")
	if a == "" || a != b {
		t.Errorf("%q, %q", a, b)
	}
	if a, _ := n.Canonical("x@b\u00fccher.example"); a != "x@xn--bcher-kva.example" {
		t.Errorf("%q", a)
	}
	for _, s := range []string{"", " ", "a b", "a@b@c", "a@", "@b", "a@-", "a\n@our.example", "\xff", strings.Repeat("a", 300)} {
		if got, ok := n.Canonical(s); ok {
			t.Errorf("%q is the name %q", s, got)
		}
		if l := n.Login(s); !strings.HasPrefix(l, "odd/") || n.Login(l) != l {
			t.Errorf("%q logged in as %q", s, l)
		}
	}
	for _, s := range []string{"a\x00", "a\u202eb"} { // what a directory makes of them: TestQ10Directory
		if got, ok := n.Canonical(s); ok {
			t.Errorf("%q is the name %q", s, got)
		}
	}
	if got, _ := (Names{KeepTag: true}).Canonical("A+B@x.example"); got != "a+b@x.example" {
		t.Errorf("keep_tag: %q", got)
	}
	if got, _ := n.Canonical("cert/00ff"); got != "cert/00ff" {
		t.Errorf("a certificate: %q", got)
	}
	if Domain("ana@our.example") != "our.example" || Domain("ana") != "" {
		t.Error("Domain")
	}
}

// TestStrips: internal names do not leave by outbound listeners.
func TestStrips(t *testing.T) {
	m := spool(t, amavis+byAna+"X-Authenticated-User: ana\nX-Originating-IP: [10.1.1.1]\n")
	render := func(c Config, role mail.Role) string {
		tx := transaction(m, zimbra, "")
		tx.Role = role
		newChain(t, c).Message(tx)
		r, err := m.Render(tx.Edits)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := io.ReadAll(r)
		return string(all)
	}
	c := testConfig()
	c.StripHeaders = append(c.StripHeaders, "x-originating-ip")
	got := render(c, mail.Outbound)
	for _, gone := range []string{"X-Authenticated", "X-Originating", "Authenticated sender"} {
		if strings.Contains(got, gone) {
			t.Errorf("%s leaves:\n%s", gone, got)
		}
	}
	if !strings.Contains(got, "bits))\r\n\tby zimbra.our.example (Postfix) with ESMTPSA id AA0;") || !strings.HasSuffix(got, "Subject: x\r\n\r\nbody\r\n") {
		t.Errorf("more than that is gone:\n%s", got)
	}
	if got := render(c, mail.ContentFilter); !strings.Contains(got, "Authenticated sender") || !strings.Contains(got, "X-Authenticated-User") {
		t.Error("mail that goes back to the MTA has lost what the MTA wrote")
	}
	tx := transaction(m, zimbra, "")
	tx.ByMTA = true
	if newChain(t, c).Message(tx); len(tx.Edits) != 0 {
		t.Errorf("an MTA that asks as a milter loses what the next hop needs: %+v", tx.Edits)
	}
	c.StripHeaders, c.StripReceived = nil, false
	if got := render(c, mail.Outbound); !strings.Contains(got, "Authenticated sender") || !strings.Contains(got, "X-Authenticated-User") {
		t.Error("stripped though off")
	}
}

// TestKeys: what each key does.
func TestKeys(t *testing.T) {
	see := func(change func(*Config), header, from string) string {
		c := testConfig()
		change(&c)
		tx := transaction(spool(t, header), zimbra, from)
		ch := newChain(t, c)
		ch.Mail(tx)
		ch.Message(tx)
		return tx.Identity.User
	}
	for _, c := range []struct {
		key, header, from string
		change            func(*Config)
		without, with     string
	}{
		{"sources", byAna, "carl@our.example", func(c *Config) { c.Sources = []string{SourceSender} }, "ana@our.example", "carl@our.example"},
		{"hosts", byAna, "", func(c *Config) { c.Hosts = nil }, "ana@our.example", ""},
		{"default_domain", byBob, "", func(c *Config) { c.DefaultDomain = "x.example" }, "bob@our.example", "bob@x.example"},
		{"keep_tag", "", "ana+x@our.example", func(c *Config) { c.KeepTag = true }, "ana@our.example", "ana+x@our.example"},
		{"domains", "", "ana@our.example", func(c *Config) { c.Domains = []string{"x.example"} }, "ana@our.example", ""},
	} {
		if got := see(func(*Config) {}, c.header, c.from); got != c.without {
			t.Errorf("without %s: %q", c.key, got)
		}
		if got := see(c.change, c.header, c.from); got != c.with {
			t.Errorf("with %s: %q", c.key, got)
		}
	}
}

func TestCoverage(t *testing.T) {
	counts := &Counters{}
	ch, err := New(testConfig(), nil, counts)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{byAna, byAna, "", "X-Authenticated-User: ana\n"} {
		ch.Message(transaction(spool(t, h), zimbra, ""))
	}
	want := map[string]int64{SourceReceived: 2, SourceHeader: 1, SourceUnknown: 1}
	for _, s := range counts.Shares() {
		if s.Messages != want[s.Source] {
			t.Errorf("%+v", s)
		}
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	c := Config{Sources: []string{"x", SourceAuth, SourceAuth}, Hosts: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		DefaultDomain: "-", Domains: []string{""}, StripHeaders: []string{"a b", "from"}}
	var keys []string
	for _, err := range c.Validate() {
		key, _, _ := strings.Cut(err.Error(), ":")
		keys = append(keys, strings.Fields(key)[0])
	}
	if got := strings.Join(keys, " "); got != "sources[0] sources[2] hosts[0] default_domain domains[0] strip_headers[0] strip_headers[1]" {
		t.Error(got)
	}
}

func FuzzReceived(f *testing.F) {
	for _, s := range []string{byAna, byBob, amavis, alien, own, "from x (x [1.2.3.4]) (Authenticated sender: a\\)b) by", "from (((", "\"\\", "from x ((Authenticated sender: a)"} {
		f.Add(strings.ReplaceAll(strings.TrimPrefix(s, "Received: "), "\n", ""))
	}
	f.Fuzz(func(t *testing.T, v string) {
		h, ok := parseReceived(v)
		if !ok && h != (hop{}) {
			t.Errorf("a doubtful line says %+v", h)
		}
		if h.sender != "" && strings.Count(v, mark) < 1 {
			t.Errorf("%q from nowhere", h.sender)
		}
		if strings.ContainsAny(h.sender, "()\\") {
			t.Errorf("sender %q", h.sender)
		}
		if from, to, ok := commentAt([]byte(v)); ok && (from < 0 || to > len(v) || from >= to) {
			t.Errorf("%d to %d of %d", from, to, len(v))
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"ana", "Ana+x@Our.Example", "a@b@c", "ａ＠ｂ.example", "x@bücher.example", "cert/00", "ß@x.example", "+a@b.example", "ﬁ"} {
		f.Add(s, "our.example", false)
	}
	f.Fuzz(func(t *testing.T, s, domain string, keep bool) {
		if !mail.ValidDomain(domain, true) {
			domain = ""
		}
		n := Names{Domain: domain, KeepTag: keep}
		got, ok := n.Canonical(s)
		if !ok {
			return
		}
		if again, ok := n.Canonical(got); !ok || again != got {
			t.Errorf("%q is %q, which is %q %v", s, got, again, ok)
		}
		if len(got) > maxName || strings.IndexFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
			t.Errorf("%q is %q", s, got)
		}
	})
}
