package access

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/tables"
)

// testTime is before every expiry in the texts that name no time.
func testTime() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func TestAccess(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c, at := Default(), testTime()
		c.Entry = map[string]Entry{}
		for _, line := range config {
			key, value, _ := strings.Cut(line, " ")
			switch key {
			case "mode":
				c.Mode = value
			case "sender_accept":
				c.SenderAccept = value
			case "parent_domain_matches":
				c.ParentDomainMatches = value == "true"
			case "recipient_delimiter":
				c.RecipientDelimiter = value
			case "now":
				var err error
				if at, err = time.Parse(time.RFC3339, value); err != nil {
					t.Fatal(err)
				}
			case "entry":
				name, rest, _ := strings.Cut(value, " ")
				field, value, _ := strings.Cut(rest, " ")
				e := c.Entry[name]
				setField(t, &e, field, value)
				c.Entry[name] = e
			case "file":
				key, text, _ := strings.Cut(value, " ")
				list := listOf(t, &c, key)
				*list = append(*list, writeFile(t, strings.ReplaceAll(text, "|", "\n")+"\n"))
			default:
				list := listOf(t, &c, key)
				*list = append(*list, value)
			}
		}
		check, err := NewAt(c, func() time.Time { return at })
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

// listOf gives the field of a key.
func listOf(t *testing.T, c *Config, key string) *[]string {
	t.Helper()
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if list, ok := v.Field(i).Addr().Interface().(*[]string); ok && v.Type().Field(i).Tag.Get("toml") == key {
			return list
		}
	}
	t.Fatalf("no list %q", key)
	return nil
}

func setField(t *testing.T, e *Entry, key, value string) {
	t.Helper()
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") != key {
			continue
		}
		if key == "expires" {
			if err := e.Expires.UnmarshalText([]byte(value)); err != nil {
				t.Fatal(err)
			}
			return
		}
		v.Field(i).SetString(value)
		return
	}
	t.Fatalf("no field %q", key)
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "list")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Errorf("default: %v", errs)
	}
	c := Config{
		Mode:         "loud",
		Clients:      []string{"192.0.2.1", "192.0.2.7/24 reject", "host.example reject", "::ffff:192.0.2.1 reject", "fe80::1%eth0 reject", "192.0.2.1 reject ok"},
		Helo:         []string{"a@b reject", "<> reject", "a b reject"},
		Senders:      []string{"a@b@c reject", "x reject a\x1bb", "x drop", "<a@b> reject", "a@b> reject", "x accept text", "x reject " + strings.Repeat("x", 301)},
		Recipients:   []string{"@x reject", ". reject", ""},
		SenderAccept: "",
		Names:        []string{"unknown reject", "[192.0.2.1] reject", "a@b reject", "ok.example reject"},
	}
	want := []string{
		"mode:", "sender_accept:", "clients[0]:", "clients[1]:", "clients[2]:", "clients[3]:", "clients[4]:", "names[0]:", "names[1]:", "names[2]:", "helo[0]:", "helo[1]:", "helo[2]:",
		"senders[0]:", "senders[1]:", "senders[2]:", "senders[3]:", "senders[4]:", "senders[5]:", "senders[6]:", "recipients[0]:", "recipients[1]:", "recipients[2]:",
	}
	errs := c.Validate()
	for i, err := range errs {
		if i >= len(want) || !strings.HasPrefix(err.Error(), want[i]) {
			t.Errorf("error %d: %v", i, err)
		}
		if strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("raw escape in %q", err)
		}
	}
	if len(errs) != len(want) {
		t.Errorf("%d errors, want %d", len(errs), len(want))
	}
	if _, err := New(c, nil); err == nil {
		t.Error("New took it")
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{SymbolClient, SymbolName, SymbolHelo, SymbolSender, SymbolRecipient} {
		if !strings.Contains(string(text), "`"+w+"`") {
			t.Errorf("README.md does not explain %s", w)
		}
	}
	for _, w := range append(keysOf(Config{}), keysOf(Entry{})...) {
		if !strings.Contains(string(text), "`"+w+"`") {
			t.Errorf("README.md does not explain %s", w)
		}
	}
}

func keysOf(v any) (keys []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		keys = append(keys, f.Tag.Get("toml"))
	}
	return keys
}

func FuzzEntry(f *testing.F) {
	for _, s := range []string{
		"192.0.2.0/24 reject Not here", ".a.example defer", "<> reject", "u@ accept", `"a b"@c reject`, "bücher.example reject",
		"192.168 450 4.7.1 x", "2001:db8 550 x", "a.example reject until=2026-12-31 reason=\"a b\" c", "a OK", "a 1234", "[::1] dunno",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, key := range []string{"clients", "names", "helo", "senders", "recipients"} {
			c := Default()
			*listOf(t, &c, key) = []string{s}
			errs := c.Validate()
			for _, err := range errs {
				if strings.ContainsAny(err.Error(), "\x1b\r\n\x00") || !strings.HasPrefix(err.Error(), key+"[0]: ") {
					t.Fatalf("%q", err)
				}
			}
			check, err := NewAt(c, testTime)
			if (err == nil) != (len(errs) == 0) {
				t.Fatalf("%q: %v, but %v", s, errs, err)
			}
			if err != nil {
				continue
			}
			findsItself(t, check.Impl.(*lists), key, s)
		}
	})
}

// findsItself: an entry is found by its own key, or it would block nobody.
func findsItself(t *testing.T, ls *lists, key, line string) {
	q := &query{s: &mail.Session{}, trusted: true}
	what, _, _ := tables.Split(strings.TrimLeft(line, " \t"))
	var l *list
	for _, of := range ls.of {
		for l = range slices.Values(of) {
			break
		}
	}
	if l == nil || len(l.entries) != 1 {
		t.Fatalf("%s %q: no entry", key, line)
	}
	a := l.entries[0].act
	if a.verdict == mail.Continue || a.until != 0 {
		return
	}
	var m match
	switch key {
	case "clients":
		p, _, err := parseNetwork(what)
		if err != nil {
			t.Fatal(err)
		}
		m = ls.client(q, p.Addr())
	case "names":
		m = ls.host(q, strings.TrimPrefix(what, "."))
	case "helo":
		m = ls.heloName(q, strings.TrimPrefix(what, "."))
	default:
		p := mail.Path{Local: "x", Domain: strings.TrimPrefix(what, ".")}
		switch {
		case what == "<>":
			p = mail.Path{}
		case strings.HasSuffix(what, "@"):
			p, _, _ = mail.ParseReverse("<"+what+"x>", true)
		case strings.Contains(what, "@"):
			p, _, _ = mail.ParseReverse("<"+what+">", true)
		}
		m = ls.path(q, bySender, p)
		if key == "recipients" {
			m = ls.path(q, byRecipient, p)
		}
	}
	if m.entry == nil || m.entry.what != what {
		t.Fatalf("%s: %q is not found by its own key", key, line)
	}
	if r := a.reply; r != nil && (r.Text == "" || !r.Temporary() && !r.Permanent() || strings.ContainsAny(r.Text, "\r\n")) {
		t.Fatalf("%q: reply %+v", line, r)
	}
}

// A pattern that looks right and never matches is a block that blocks nobody.
func TestNoWildcards(t *testing.T) {
	for _, list := range []func(*Config, string){
		func(c *Config, s string) { c.Senders = []string{s} },
		func(c *Config, s string) { c.Recipients = []string{s} },
		func(c *Config, s string) { c.Helo = []string{s} },
	} {
		for _, what := range []string{"*@spam.example", "@spam.example", "*.spam.example"} {
			c := Default()
			list(&c, what+" reject")
			errs := c.Validate()
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), `try "spam.example", or ".spam.example"`) {
				t.Errorf("%s: %v", what, errs)
			}
		}
	}
}
