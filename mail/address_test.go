package mail

import (
	"errors"
	"strings"
	"testing"
)

// rep makes long names for the length rows.
func rep(s string, n int) string { return strings.Repeat(s, n) }

// longDomain has exactly n octets in labels of at most 63.
func longDomain(n int) string {
	d := rep("d", n)
	b := []byte(d)
	for i := 60; i < n-1; i += 61 {
		b[i] = '.'
	}
	return string(b)
}

func TestParseForward(t *testing.T) {
	accept := []struct {
		id, in        string
		local, domain string
		out           string
	}{
		{"S-102", "<postmaster>", "postmaster", "", "postmaster"},
		{"S-102", "<PostMaster>", "postmaster", "", "postmaster"},
		{"S-102", "<Postmaster@our.example>", "Postmaster", "our.example", "Postmaster@our.example"},
		{"S-102", `<"quoted local"@our.example>`, "quoted local", "our.example", `"quoted local"@our.example`},
		{"S-102", "<a+tag@our.example>", "a+tag", "our.example", "a+tag@our.example"},
		{"S-102", "<o'brien@our.example>", "o'brien", "our.example", "o'brien@our.example"},
		{"S-102", "<#$%&@our.example>", "#$%&", "our.example", "#$%&@our.example"},
		{"S-102", "<user@[IPv6:::1]>", "user", "[IPv6:::1]", "user@[IPv6:::1]"},
		{"S-102", " <a@b>", "a", "b", "a@b"},
		{"S-102", " \t <a@b>", "a", "b", "a@b"},
		{"", "<u@[192.0.2.1]>", "u", "[192.0.2.1]", "u@[192.0.2.1]"},
		{"", "<u@[ipv6:2001:db8::1.2.3.4]>", "u", "[ipv6:2001:db8::1.2.3.4]", "u@[ipv6:2001:db8::1.2.3.4]"},
		{"", `<"plain"@d.example>`, "plain", "d.example", "plain@d.example"},
		{"", `<"a\b\"c\\"@d.example>`, `ab"c\`, "d.example", `"ab\"c\\"@d.example`},
		{"", `<"a..b"@d.example>`, "a..b", "d.example", `"a..b"@d.example`},
		{"underscore", "<u@a_b._c.example>", "u", "a_b._c.example", "u@a_b._c.example"},
		{"S-95", "<user@VICTIM.example>", "user", "VICTIM.example", "user@VICTIM.example"},
		{"S-96", "<user@notour.example>", "user", "notour.example", "user@notour.example"},
		{"S-98", `<"x> NOTIFY=NEVER "@our.example>`, "x> NOTIFY=NEVER ", "our.example", `"x> NOTIFY=NEVER "@our.example`},
		{"S-98", `<"a\"> ORCPT=rfc822;v@victim "@our.example>`, `a"> ORCPT=rfc822;v@victim `, "our.example", `"a\"> ORCPT=rfc822;v@victim "@our.example`},
		{"S-89 M-05", `<"user@victim.example"@our.example>`, "user@victim.example", "our.example", `"user@victim.example"@our.example`},
		{"S-101 local 64", "<" + rep("l", 64) + "@d>", rep("l", 64), "d", rep("l", 64) + "@d"},
		{"S-101 label 63", "<l@" + rep("d", 63) + ".example>", "l", rep("d", 63) + ".example", "l@" + rep("d", 63) + ".example"},
		{"S-101 path 256", "<l@" + longDomain(252) + ">", "l", longDomain(252), "l@" + longDomain(252)},
		{"S-110", "<henry@xn--fsqu00a.xn--fiqs8s>", "henry", "xn--fsqu00a.xn--fiqs8s", "henry@xn--fsqu00a.xn--fiqs8s"},
	}
	for _, c := range accept {
		p, rest, err := ParseForward(c.in, false)
		if err != nil || rest != "" {
			t.Errorf("%s %q: rest %q, %v", c.id, c.in, rest, err)
			continue
		}
		if p.Local != c.local || p.Domain != c.domain || p.String() != c.out {
			t.Errorf("%s %q: got %q @ %q, written %q", c.id, c.in, p.Local, p.Domain, p.String())
		}
		roundTrip(t, p, forward)
	}

	refuse := []struct {
		id, in string
		code   int
		enh    string
	}{
		{"null recipient", "<>", 501, "5.1.3"},
		{"", "", 501, "5.1.3"},
		{"M-07 brackets", "a@b", 501, "5.1.3"},
		{"M-07 brackets", "<a@b", 501, "5.1.3"},
		{"M-07 brackets", "a@b>", 501, "5.1.3"},
		{"", "<a@b>NOTIFY=NEVER", 501, "5.1.3"},
		{"", "<a@b>\tNOTIFY=NEVER", 501, "5.1.3"},
		{"", "<a@b>>", 501, "5.1.3"},
		{"", "<<a@b>>", 501, "5.1.3"},
		{"", "< a@b>", 501, "5.1.3"},
		{"", "<a@b >", 501, "5.1.3"},
		{"", "Name <a@b>", 501, "5.1.3"},
		{"M-07", "<a..b@d>", 501, "5.1.3"},
		{"M-07", "<.a@d>", 501, "5.1.3"},
		{"M-07", "<a.@d>", 501, "5.1.3"},
		{"M-07", `<a@d\>`, 501, "5.1.3"},
		{"M-07", "<a\x00b@d>", 501, "5.1.3"},
		{"M-07", "<a@d\x00.evil>", 501, "5.1.3"},
		{"M-07", "<a\rb@d>", 501, "5.1.3"},
		{"M-07", "<a\xffb@d>", 501, "5.1.3"},
		{"M-07", "<\"a\xffb\"@d>", 501, "5.1.3"},
		{"M-07", "<@d>", 553, "5.1.3"},
		{"S-86", `<"user@victim.example">`, 501, "5.1.3"},
		{"S-87", `<"user%victim.example">`, 501, "5.1.3"},
		{"S-86", `<"postmaster">`, 501, "5.1.3"},
		{"S-88 M-05", "<user@victim.example@our.example>", 501, "5.1.3"},
		{"S-91", "<@our.example:user@victim.example>", 553, "5.1.3"},
		{"S-92", "<@[192.0.2.1]:user@victim.example>", 553, "5.1.3"},
		{"S-92", "<@a,@b,@our.example:user@victim.example>", 553, "5.1.3"},
		{"S-93", "<victim.example!user>", 501, "5.1.3"},
		{"S-95", "<user@victim.example.>", 501, "5.1.3"},
		{"S-95", "<user@victim%2eexample>", 501, "5.1.3"},
		{"S-95", "<user@1.2.3.4>", 501, "5.1.3"},
		{"S-97", "<user@our.example\x00.victim.example>", 501, "5.1.3"},
		{"S-97", "<user@our.example\r.victim>", 501, "5.1.3"},
		{"S-97", "<user@our.example(comment)victim>", 501, "5.1.3"},
		{"S-97", "<user(comment)@our.example>", 501, "5.1.3"},
		{"", "<u@a..b>", 501, "5.1.3"},
		{"", "<u@.b>", 501, "5.1.3"},
		{"", "<u@-b.example>", 501, "5.1.3"},
		{"", "<u@b-.example>", 501, "5.1.3"},
		{"", `<""@d>`, 501, "5.1.3"},
		{"", `<"a"b@d>`, 501, "5.1.3"},
		{"", `<"a@d>`, 501, "5.1.3"},
		{"", "<\"a\\\x01\"@d>", 501, "5.1.3"},
		{"", "<\"a\tb\"@d>", 501, "5.1.3"},
		{"", "<u@[1.2.3]>", 501, "5.1.3"},
		{"", "<u@[01.2.3.4]>", 501, "5.1.3"},
		{"", "<u@[::1]>", 501, "5.1.3"},
		{"", "<u@[IPv6:1.2.3.4]>", 501, "5.1.3"},
		{"", "<u@[IPv6:fe80::1%eth0]>", 501, "5.1.3"},
		{"", "<u@[x400:abc]>", 501, "5.1.3"},
		{"", "<u@[1.2.3.4>", 501, "5.1.3"},
		{"S-101 local 65", "<" + rep("l", 65) + "@d>", 501, "5.1.3"},
		{"S-101 local 65, quoted", `<"` + rep("l", 63) + `"@d>`, 501, "5.1.3"},
		{"S-101 label 64", "<l@" + rep("d", 64) + ".example>", 501, "5.1.3"},
		{"S-101 path 257", "<l@" + longDomain(253) + ">", 501, "5.1.3"},
		{"S-101 domain 255", "<l@" + longDomain(255) + ">", 501, "5.1.3"},
		{"S-101 domain 256", "<l@" + longDomain(256) + ">", 501, "5.1.3"},
		{"S-110", "<a@xn-->", 501, "5.1.3"},
		{"S-110", "<a@xn--->", 501, "5.1.3"},
		{"S-110", "<a@xn--a-.example>", 501, "5.1.3"},
		{"S-110", "<a@XN--99999999.example>", 501, "5.1.3"},
		{"S-110", "<用户@例子.中国>", 553, "5.6.7"},
		{"S-110", "<henryⅣ@d.example>", 553, "5.6.7"},
	}
	for _, c := range refuse {
		wantReply(t, c.id, c.in, forward, false, c.code, c.enh)
	}
}

func wantReply(t *testing.T, id, in string, s side, utf8ok bool, code int, enh string) {
	t.Helper()
	p, _, err := parsePath(in, utf8ok, s)
	var e *AddressError
	if !errors.As(err, &e) {
		t.Errorf("%s %q: accepted as %+v", id, in, p)
		return
	}
	if e.Reply.Code != code || e.Reply.Enhanced != enh {
		t.Errorf("%s %q: %v, want %d %s", id, in, e.Reply, code, enh)
	}
	if !ascii(e.Reply.Text) || strings.ContainsAny(e.Reply.Text, "\r\n\x00<>") {
		t.Errorf("%s %q: hostile octets in the reply %q", id, in, e.Reply.Text)
	}
}

// roundTrip is the property that re-quoting loses nothing.
func roundTrip(t *testing.T, p Path, s side) {
	t.Helper()
	q, rest, err := parsePath("<"+p.String()+">", true, s)
	if err != nil || rest != "" || q != p {
		t.Errorf("%+v written %q reads as %+v, rest %q, %v", p, p.String(), q, rest, err)
	}
}

func TestParseReverse(t *testing.T) {
	for in, want := range map[string]Path{
		"<>":                    {},                         // S-80
		"<spam@victim.example>": {"spam", "victim.example"}, // S-81
		" <a@b>":                {"a", "b"},                 // S-102
		"<A@B>":                 {"A", "B"},
	} {
		p, rest, err := ParseReverse(in+" SIZE=1  ", false)
		if err != nil || p != want || rest != "SIZE=1" {
			t.Errorf("%q: %+v, rest %q, %v", in, p, rest, err)
		}
		roundTrip(t, p, reverse)
	}
	wantReply(t, "", "<postmaster>", reverse, false, 501, "5.1.7")
	wantReply(t, "", "<>SIZE=1", reverse, false, 501, "5.1.7")
	wantReply(t, "S-91", "<@a:u@b>", reverse, false, 553, "5.1.7")
	wantReply(t, "S-101", "<"+rep("l", 65)+"@d>", reverse, false, 501, "5.1.7")
	wantReply(t, "S-110", "<用户@例子.中国>", reverse, false, 553, "5.6.7")
}

func TestUTF8Addresses(t *testing.T) { // S-110
	for _, in := range []string{"<用户@例子.中国>", "<用户@example.com>", "<a@bücher.example>", "<a@BÜCHER.example>", `<"用 户"@b>`, "<henryⅣ@d.example>"} {
		p, _, err := ParseForward(in, true)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if p.IsASCII() {
			t.Errorf("%q counts as ASCII", in)
		}
		roundTrip(t, p, forward)
	}
	for _, in := range []string{
		"<a@例子。中国>", "<a@ｂ＠c.example>", "<a@b\u200b>", "<a@\u00ad>", "<a\u0085b@d>", "<a\u202eb@d>", "<a\u2028b@d>", "<a\u00a0b@d>",
		"<a\xc0\xaf@d>", "<a@b\xff>", "<a@" + rep("ü", 63) + ".example>", "<a@-ü.example>", "<a@b.١٢٣>",
	} {
		wantReply(t, "S-110", in, forward, true, 501, "5.1.3")
	}
}

func TestKeys(t *testing.T) {
	same := [][2]Path{
		{{"u", "EXAMPLE.com"}, {"u", "example.COM"}},
		{{"u", "bücher.example"}, {"u", "xn--bcher-kva.example"}},
		{{"u", "BÜCHER.example"}, {"u", "XN--BCHER-KVA.EXAMPLE"}},
		{{"u", "bu\u0308cher.example"}, {"u", "bücher.example"}}, // NFD
		{{"u", "[IPv6:0:0::1]"}, {"u", "[ipv6:::1]"}},
	}
	for _, c := range same {
		if !c[0].Equal(c[1]) || c[0].Key() != c[1].Key() {
			t.Errorf("%v and %v differ: %q, %q", c[0], c[1], c[0].Key(), c[1].Key())
		}
	}
	other := [][2]Path{
		{{"u", "a.example"}, {"U", "a.example"}},
		{{"u@a", "b"}, {"u", "a@b"}},
		{{"u", "our.example.victim.example"}, {"u", "our.example"}}, // S-96
		{{"u", "аpple.example"}, {"u", "apple.example"}},            // Cyrillic а
		{{}, {"postmaster", ""}},
	}
	for _, c := range other {
		if c[0].Equal(c[1]) || c[0].Key() == c[1].Key() {
			t.Errorf("%v and %v are taken for one", c[0], c[1])
		}
	}
	if !(Path{}).IsNull() || (Path{"postmaster", ""}).IsNull() {
		t.Error("IsNull")
	}
}

func TestRoutable(t *testing.T) {
	for _, c := range []struct {
		id, in       string
		rcpt, sender bool
	}{
		{"S-80", "<user@victim.example>", true, true},
		{"S-84", "<user%victim.example@our.example>", false, true},
		{"S-84", "<user%victim@our.example>", false, true},
		{"S-85", "<user%victim.example@[192.0.2.1]>", false, true},
		{"S-89 M-05", `<"user@victim.example"@our.example>`, false, true},
		{"S-90", `<"user@victim.example"@[192.0.2.1]>`, false, true},
		{"S-87", `<"user%victim.example"@our.example>`, false, true},
		{"S-93", "<victim.example!user@our.example>", false, true},
		{"S-93", "<victim.example!user@[192.0.2.1]>", false, true},
		{"S-94", "<our.example!victim.example!user@our.example>", false, true},
		{"S-94", "<user%victim.example%our.example@our.example>", false, true},
		{"S-84", "<%n@our.example>", false, true}, // S-104's format string too
		{"S-84", `<"user%[192.0.2.1]"@our.example>`, false, true},
		{"S-94", "<#%a%&@our.example>", false, true},
		{"S-98 M-06", `<"x> NOTIFY=NEVER "@our.example>`, false, false},
		{"S-98 M-06", `<"a\"> ORCPT=rfc822;v@victim "@our.example>`, false, false},
		{"S-104", "<`id`@our.example>", false, false},
		{"S-104", `<"$(id)"@our.example>`, false, false},
		{"S-104", `<"a;b"@our.example>`, false, false},
		{"S-104", "<a|b@our.example>", false, false},
		{"S-104", "<${run{id}}@our.example>", false, false},
		{"S-104", `<"../../x"@our.example>`, false, true},
		{"S-104", "</etc/passwd@our.example>", false, true},
		{"S-104", "<-oQ/tmp@our.example>", false, false},
		{"S-104", `<"a\\b"@our.example>`, false, false},
		{"S-104", "<o'brien@our.example>", true, true},
		{"S-104", "<a&b@our.example>", true, true},
		{"S-102", "<#$%&@our.example>", true, true},
		{"S-102", `<"quoted local"@our.example>`, true, true},
		{"S-102", "<a+tag@our.example>", true, true},
		{"S-102", "<postmaster>", true, true},
		{"S-102", "<50%@our.example>", true, true},
		{"S-102", "<!wow@our.example>", true, true},
		{"", "<prvs=4321abcd=user@our.example>", true, true},
		{"", "<a-b_c.d/e@our.example>", true, true},
	} {
		p, _, err := ParseForward(c.in, false)
		if err != nil {
			t.Errorf("%s %q: %v", c.id, c.in, err)
			continue
		}
		r := Routable(p)
		if (r == nil) != c.rcpt || r != nil && (r.Code != 553 || r.Enhanced != "5.1.3") {
			t.Errorf("%s %q as recipient: %v", c.id, c.in, r)
		}
		r = Sendable(p)
		if (r == nil) != c.sender || r != nil && (r.Code != 553 || r.Enhanced != "5.1.7") {
			t.Errorf("%s %q as sender: %v", c.id, c.in, r)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		p, _, err := ParseForward("<user.name+tag@mail.example.com>", false)
		if err != nil || Routable(p) != nil || p.DomainKey() == "" {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<a@b>", "<>", "<postmaster>", `<"x> NOTIFY=NEVER "@d> SIZE=1`, `<"a\"\\b"@[IPv6:::1]>`, "<用户@例子.中国>", "<@a:b@c>", "<a@b\x00>", "<a@xn--bcher-kva>"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, in string, utf8ok bool) {
		for _, s := range []side{reverse, forward} {
			p, rest, err := parsePath(in, utf8ok, s)
			if err != nil {
				var e *AddressError
				if !errors.As(err, &e) || !e.Reply.Permanent() {
					t.Fatalf("%q: %v", in, err)
				}
				continue
			}
			if len(in) < len(rest) || !strings.HasSuffix(strings.TrimRight(in, " "), rest) {
				t.Fatalf("%q: rest %q", in, rest)
			}
			out := p.String()
			roundTrip(t, p, s)
			if !utf8ok && !ascii(out) {
				t.Fatalf("%q: non-ASCII path", in)
			}
			if len(out) > maxPath-2 || strings.ContainsAny(out, "\r\n\x00") {
				t.Fatalf("%q is written %q", in, out)
			}
			if bare := unquoted(out); strings.ContainsAny(bare, "<> ") || strings.Count(bare, "@") > 1 {
				t.Fatalf("%q is written %q, outside quotes %q", in, out, bare)
			}
			k := DomainKey(p.Domain)
			if DomainKey(k) != k || !ascii(k) {
				t.Fatalf("%q: key %q, of it %q", p.Domain, k, DomainKey(k))
			}
			_, _ = Routable(p), Sendable(p)
		}
	})
}

// unquoted is s without its quoted string.
func unquoted(s string) string {
	var b strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch {
		case in && s[i] == '\\':
			i++
		case s[i] == '"':
			in = !in
		case !in:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// One name, one spelling: what IDNA only maps to a name is not that name.
func TestOnlyTheCanonicalULabel(t *testing.T) {
	for domain, ok := range map[string]bool{
		"bücher.example": true, "BÜCHER.example": true, "xn--bcher-kva.example": true, "niñez.gov.py": true,
		"ｏｕｒ.example": false, "ⓞur.example": false, "our。example": false, "bu\u0308cher.example": false,
	} {
		if got := ValidDomain(domain, true); got != ok {
			t.Errorf("%q: %v", domain, got)
		}
	}
}
