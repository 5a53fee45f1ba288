package dnsbl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"garita/resolver"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct{ pattern, match, not string }{
		{"127.0.0.2", "127.0.0.2", "127.0.0.3 127.0.1.2 128.0.0.2"},
		{"127.0.0.[2..11]", "127.0.0.2 127.0.0.11 127.0.0.7", "127.0.0.1 127.0.0.12"},
		{"127.0.[0;3..4].[2,9]", "127.0.0.2 127.0.3.9 127.0.4.2", "127.0.1.2 127.0.3.3"},
		{"127.0.0.&8", "127.0.0.8 127.0.0.12 127.0.0.255", "127.0.0.7 127.0.0.16"},
		{"127.0.*.&1", "127.0.200.1 127.0.0.255", "127.1.0.1 127.0.0.2"},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, s := range strings.Fields(c.match) {
			if !p.Match(addr(s)) || !p.Match(addr("::ffff:"+s)) {
				t.Errorf("%s does not match %s", c.pattern, s)
			}
		}
		for _, s := range strings.Fields(c.not) {
			if p.Match(addr(s)) {
				t.Errorf("%s matches %s", c.pattern, s)
			}
		}
	}
	for _, bad := range []string{"", "127", "127.0.0", "127.0.0.256", "127.0.0.2.3", "127.0.0.[2..1]", "127.0.0.[", "127.0.0.[]", "127.0.0.&0", "127.0.0.&",
		"10.0.0.2", "*.0.0.2", "127.0.0.02", "127.0.0.2x", "127..0.2", "127.0.0.[2]3", " 127.0.0.2", "127.0.0.-1", "[127;128].0.0.2"} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if (&Pattern{}).Match(netip.Addr{}) || (&Pattern{}).Match(addr("::1")) {
		t.Error("what is no IPv4 address matches")
	}
}

func TestParseCode(t *testing.T) {
	c, err := ParseCode("127.0.0.[2..11] -2.5 a good one")
	if err != nil || c.Weight != -2.5 || c.Meaning != "a good one" || c.Error {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = ParseCode("127.0.0.255 error too much"); err != nil || !c.Error {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"127.0.0.2", "127.0.0.2 NaN", "127.0.0.2 1e9", "127.0.0.2 x", "1.2.3.4 5"} {
		if _, err := ParseCode(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestNames is D-14 and D-15.
func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":        "1.2.0.192.z.example",
		"::ffff:192.0.2.1": "1.2.0.192.z.example",
		"2001:db8::1":      "1" + strings.Repeat(".0", 23) + ".8.b.d.0.1.0.0.2.z.example",
	} {
		if got := AddressName(addr(in), "z.example"); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := testName("::ffff:7f00:2", Address6, "z.example"); got != "2.0.0.0.0.0.f.7.f.f.f.f"+strings.Repeat(".0", 20)+".z.example" {
		t.Error(got)
	}
	for in, want := range map[string]string{
		"Mail.Example.ORG.": "mail.example.org", "münchen.example": "xn--mnchen-3ya.example", "a_b.example": "a_b.example",
		"": "", "localhost": "", "a..b": "", ".a.b": "", "a b.example": "", "192.0.2.1": "", "[192.0.2.1]": "", "a.example%2e": "",
		"a.example\r\n": "", "-a.example": "", "a\x00.example": "", "x.1": "", "a.example..": "",
		strings.Repeat("a.", 150) + "example": "", strings.Repeat("a", 64) + ".example": "", "$(id).example": "", "xn--\u00fc.example": "",
	} {
		if got := Domain(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"www.a.example.co.uk": "example.co.uk", "co.uk": "", "example.org": "example.org", "a..b": ""} {
		if got := Organisational(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	l := List{Zone: "z.example", Key: "secret", Kinds: URL, Organisational: true}
	if got := l.NameOf("www.example.org"); got != "example.org.secret.z.example" {
		t.Error(got)
	}
	if got := DomainName(strings.Repeat("a.", 120)+"example", "zone.example.org"); got != "" {
		t.Error(got)
	}
}

// TestClassify is D-01, D-03, D-05.
func TestClassify(t *testing.T) {
	list := List{Name: "x", Zone: "x.example", Kinds: Address4, Codes: []Code{
		code("127.0.0.2", 2, "two"), code("127.0.0.4", 4, "four"), code("127.0.0.&64", 5, "bit"), fault("127.0.0.9", "over the limit"),
	}}
	plain := v4("plain")
	allow := List{Codes: []Code{code("127.0.1.*", -1, "low"), code("127.0.1.3", -5, "high")}}
	many := strings.TrimSpace(strings.Repeat("127.0.0.2 ", 17))
	for _, c := range []struct {
		id      string
		l       *List
		answers string
		err     error
		state   State
		weight  float64
	}{
		{"none", &list, "", resolver.ErrNoName, Clean, 0},
		{"listed", &list, "127.0.0.2", nil, Listed, 2},
		{"the worst counts", &list, "127.0.0.2 127.0.0.4", nil, Listed, 4},
		{"bit", &list, "127.0.0.68", nil, Listed, 5},
		{"no meaning", &list, "127.0.0.3", nil, Clean, 0},
		{"no meaning beside one", &list, "127.0.0.3 127.0.0.2", nil, Listed, 2},
		{"any", &plain, "127.9.9.9", nil, Listed, 3},
		{"the best of an allow list", &allow, "127.0.1.1 127.0.1.3", nil, Listed, -5},
		{"D-01", &plain, "127.255.255.252", nil, Refused, 0},
		{"D-01", &plain, "127.255.255.254", nil, Refused, 0},
		{"D-01", &plain, "127.255.255.255", nil, Refused, 0},
		{"D-01 its own", &list, "127.0.0.9", nil, Refused, 0},
		{"127.0.0.1", &plain, "127.0.0.1", nil, Refused, 0},
		{"D-03", &plain, "203.0.113.5", nil, Foreign, 0},
		{"D-03", &plain, "0.0.0.0", nil, Foreign, 0},
		{"D-03 IPv6", &plain, "::1", nil, Foreign, 0},
		{"D-05 mixed", &list, "127.0.0.2 127.255.255.254", nil, Refused, 0},
		{"D-05 mixed", &list, "203.0.113.5 127.0.0.2", nil, Foreign, 0},
		{"D-05 many", &list, many, nil, Foreign, 0},
		{"failure", &list, "", fmt.Errorf("%w: secret.x.example", resolver.ErrTemporary), Failed, 0},
		{"failure", &list, "", errors.New("?"), Failed, 0},
	} {
		var as []netip.Addr
		for _, s := range strings.Fields(c.answers) {
			as = append(as, addr(s))
		}
		if a := c.l.Classify(as, c.err); a.State != c.state || a.Weight != c.weight || strings.Contains(a.Fault, "secret") {
			t.Errorf("%s %s: %+v", c.id, c.answers, a)
		}
	}
}

func TestShipped(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range Shipped() {
		if errs := l.Validate(); len(errs) > 0 || seen[l.Name] {
			t.Errorf("%s: %v", l.Name, errs)
		}
		seen[l.Name] = true
		if l.Criteria == "" || l.Risk == "" || l.Terms == "" || l.Lookup == "" || l.Cost == "" || l.From == "" || len(l.Codes) == 0 {
			t.Errorf("%s: something is not said of it", l.Name)
		}
		if d, ok := FindDeadList(l.Zone); ok && !d.Alive {
			t.Errorf("%s is dead: %s", l.Name, d.Effect)
		}
		if l.Register && slices.Contains(DefaultLists(), l.Name) {
			t.Errorf("%s is asked without registration", l.Name)
		}
	}
	for _, n := range slices.Concat(DefaultLists(), CERTLists()) {
		if !seen[n] {
			t.Errorf("%s is not shipped", n)
		}
	}
	if errs := DefaultOwn().Validate(); len(errs) > 0 || slices.Contains(DefaultOwn().Lists, "barracuda") {
		t.Errorf("%v %v", DefaultOwn(), errs)
	}
	zen, _ := FindShipped("spamhaus-zen")
	if a := zen.Classify([]netip.Addr{addr("127.0.0.10"), addr("127.0.0.9")}, nil); a.Weight != 6 {
		t.Errorf("%+v", a)
	}
	dnswl, _ := FindShipped("dnswl")
	if a := dnswl.Classify([]netip.Addr{addr("127.0.0.255")}, nil); a.State != Refused || !dnswl.allows() {
		t.Errorf("%+v", a)
	}
	for _, zone := range CERTDead() {
		if _, ok := FindDeadList(zone); !ok {
			t.Errorf("%s is not among the dead", zone)
		}
	}
}

// TestDeadLists: each has a date and an effect, and what lives is not found.
func TestDeadLists(t *testing.T) {
	for _, d := range DeadLists() {
		if d.Zone == "" || d.Since == "" || d.Effect == "" {
			t.Errorf("%+v", d)
		}
	}
	for zone, want := range map[string]bool{"relays.ordb.org": true, "Spam.DNSBL.sorbs.net.": true, "zen.spamhaus.org": false, "notordb.org": false} {
		if _, ok := FindDeadList(zone); ok != want {
			t.Errorf("%s: %v", zone, ok)
		}
	}
}

func TestListValidate(t *testing.T) {
	good := v4("good-1")
	if errs := good.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	for name, change := range map[string]func(l *List){
		"name": func(l *List) { l.Name = "A b" }, "empty name": func(l *List) { l.Name = "" },
		"zone": func(l *List) { l.Zone = "a b" }, "one label": func(l *List) { l.Zone = "zone" }, "address": func(l *List) { l.Zone = "192.0.2.1" },
		"key": func(l *List) { l.Key = "a b" }, "kinds": func(l *List) { l.Kinds = 0 }, "weight": func(l *List) { l.Weight = 1000 },
		"test": func(l *List) { l.Test.Listed4 = "::1" }, "test name": func(l *List) { l.Test.CleanName = "a b" },
	} {
		l := good
		change(&l)
		if errs := l.Validate(); len(errs) == 0 {
			t.Errorf("%s: nothing is found", name)
		} else if strings.Contains(errs[0].Error(), "a b") && name == "key" {
			t.Errorf("the key is shown: %v", errs)
		}
	}
}

// TestOneLine is D-09.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"listed\r\n250 ok":      "listed 250 ok",
		"\x1b[31mred\x00\u00fc": "?[31mred???",
		"  a \t b  ":            "a b",
		"":                      "",
	} {
		if got := OneLine([]string{in}); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := OneLine([]string{"a", "b\n"}); got != "a b" {
		t.Errorf("%q", got)
	}
	if got := OneLine([]string{strings.Repeat("x", 64<<10)}); len(got) != 200 {
		t.Error(len(got))
	}
	l := List{Key: "SeCret"}
	if got := l.say([]string{strings.Repeat("x", 196) + "secret.zen"}); strings.Contains(got, "se") {
		t.Error(got)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"127.0.0.[2..11]", "127.0.0.&8", "127.*.*.*", "[127].0.0.1", "127.0.0.[1;2..3]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		n := 0
		for i := range 256 {
			if p.Match(netip.AddrFrom4([4]byte{128, 0, 0, byte(i)})) {
				t.Fatalf("%q matches what is not in 127/8", s)
			}
		}
		for _, o := range p.octets {
			if o != ([4]uint64{}) {
				n++
			}
		}
		if n != 4 {
			t.Fatalf("%q can match nothing", s)
		}
	})
}

func FuzzDomain(f *testing.F) {
	for _, s := range []string{"a.example", "münchen.example", "..", "a%b.example", "192.0.2.1", "xn--a.example", "a\u3002b.example", "\u2460.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := Domain(s)
		if d == "" {
			return
		}
		if Domain(d) != d || len(d) > 253 || strings.ToLower(d) != d || strings.ContainsAny(d, " %/\\\r\n\x00[]") {
			t.Fatalf("%q gives %q", s, d)
		}
		if o := Organisational(d); o != "" && o != d && !strings.HasSuffix(d, "."+o) {
			t.Fatalf("%q is not above %q", o, d)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{127, 0, 0, 2, 127, 255, 255, 254}, []byte("listed\r\n250"))
	f.Add([]byte{203, 0, 113, 5}, []byte("\x1b[2J"))
	f.Fuzz(func(t *testing.T, raw, text []byte) {
		var as []netip.Addr
		bad := false
		for len(raw) >= 4 && len(as) < 100 {
			a := netip.AddrFrom4([4]byte(raw[:4]))
			bad = bad || raw[0] != 127 || raw[1] == 255 && raw[2] == 255
			as, raw = append(as, a), raw[4:]
		}
		for _, l := range Shipped() {
			a := l.Classify(as, nil)
			if a.State == Listed && (bad || len(as) > maxAnswers || !a.Code.IsValid()) {
				t.Fatalf("%s: %v is %+v", l.Name, as, a)
			}
			low, high := l.least()
			if a.Weight < low || a.Weight > high {
				t.Fatalf("%s: %+v is out of its bounds %v %v", l.Name, a, low, high)
			}
		}
		line := OneLine([]string{string(text), string(text)})
		if len(line) > 200 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q", line)
		}
	})
}
