package keys

import (
	"fmt"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/all"
	"garita/filters/filtertest"
	"garita/mail"
)

// part is one thing that a check finds, with its two keys.
type part struct{ check, name, symbol, facts string }

// The clients of the scenes have a good name unless they are about it.
const goodDNS = "dns 192.0.2.1 PTR mail.sender.example\ndns mail.sender.example A 192.0.2.1\ndns sender.example A 8.8.8.8\n"

// checkParts are all parts of all checks, each with a session that it finds.
func checkParts() []part {
	stranger := goodDNS + "client 192.0.2.1\nrcpt <b@our.example>\n"
	out := "role outbound\ntrusted yes\ndirection out\nclient 192.0.2.1\nhelo mail.sender.example\nfrom <b@our.example>\ndns far.example MX 0 .\n"
	helo := func(name string) string { return stranger + "from <a@sender.example>\nhelo " + name }
	from := func(path string) string { return stranger + "helo mail.sender.example\nfrom " + path }
	return []part{
		{"client", "no_ptr", "client.no_ptr", "dns sender.example A 8.8.8.8\nclient 192.0.2.2\nhelo x.sender.example\nfrom <a@sender.example>\nrcpt <b@our.example>"},
		{"client", "unknown", "client.unknown", "host ?mail.sender.example\ndns sender.example A 8.8.8.8\nclient 192.0.2.2\nhelo x.sender.example\nfrom <a@sender.example>\nrcpt <b@our.example>"},
		{"helo", "syntax", "helo.syntax", helo("a b")},
		{"helo", "own_name", "helo.own_name", helo("mx.our.example")},
		{"helo", "own_address", "helo.own_address", helo("[203.0.113.5]")},
		{"helo", "bare_address", "helo.bare_ip", helo("192.0.2.1")},
		{"helo", "literal", "helo.literal", helo("[192.0.2.1]")},
		{"helo", "wrong_literal", "helo.wrong_literal", helo("[192.0.2.77]")},
		{"helo", "fqdn", "helo.not_fqdn", helo("localhost")},
		{"helo", "resolves", "helo.unknown", helo("nowhere.example")},
		{"sender", "fqdn", "sender.not_fqdn", from("<root@localhost>")},
		{"sender", "unknown_domain", "sender.unknown_domain", from("<a@nowhere.example>")},
		{"sender", "null_mx", "sender.null_mx", from("<a@far.example>") + "\ndns far.example MX 0 ."},
		{"sender", "bad_mx", "sender.bad_mx", from("<a@far.example>") + "\ndns far.example A 127.0.0.1"},
		{"recipient", "fqdn", "recipient.not_fqdn", out + "rcpt <b@localhost>"},
		{"recipient", "unknown_domain", "recipient.unknown_domain", out + "rcpt <b@nowhere.example>"},
		{"recipient", "null_mx", "recipient.null_mx", out + "rcpt <b@far.example>"},
	}
}

// checkRows are those of each part, and those of the checks themselves.
func checkRows() []effect {
	var rows []effect
	last := map[string]part{}
	for _, p := range checkParts() {
		key := "check." + p.check + "." + p.name
		rows = append(rows,
			effect{key: key, value: `"off"`, scene: p.facts, want: "-" + p.symbol},
			effect{key: key + "_score", value: "7.25", scene: p.facts, want: "+" + p.symbol + " +7.25"})
		last[p.check] = p
	}
	for _, name := range []string{"client", "helo", "sender", "recipient"} {
		p := last[name]
		key := "check." + name + "."
		enforced := key + p.name + ` = "enforce"`
		rows = append(rows, effect{key: key + "mode", value: `"observe"`, base: enforced, scene: p.facts, want: "-answer", still: p.symbol})
		if name == "helo" {
			continue
		}
		for _, p := range checkParts() {
			if p.check == name && (p.name == "unknown" || p.name == "unknown_domain") {
				rows = append(rows, effect{key: key + "reply", value: `"reject"`, base: key + p.name + ` = "enforce"`, scene: p.facts, want: "+answer 550"})
			}
		}
	}
	return append(rows,
		effect{
			key: "check.helo.own_names", value: `["other.example"]`, scene: goodDNS + "client 192.0.2.1\nhelo other.example\nfrom <a@sender.example>\nrcpt <b@our.example>",
			want: "+helo.own_name ",
		},
		effect{
			key: "check.recipient.exempt_domains", value: `["nowhere.example"]`, base: `check.recipient.unknown_domain = "enforce"`,
			scene: checkParts()[len(checkParts())-2].facts, want: "-answer",
		})
}

// TestChecks: every key of the checks but those of the lists.
func TestChecks(t *testing.T) { run(t, checkRows(), engine) }

// accessRows are the operator's lists.
func accessRows() []effect {
	facts := "host mail.sender.example\nclient 192.0.2.1\nhelo mail.sender.example\nfrom <a@sender.example>\nrcpt <b@our.example>"
	const refused = "+answer 554 5.7.1"
	a, entry := "check.access.", "check.access.entry.NAME."
	list := func(key, text string) []effect {
		return []effect{
			{key: a + key + "s", value: `["` + text + ` reject No such thing"]`, scene: facts, want: "+No such thing"},
			{key: a + key + "_files", value: `["{file:` + text + ` REJECT In a file}"]`, scene: facts, want: "+In a file"},
		}
	}
	var rows []effect
	for key, text := range map[string]string{"client": "192.0.2.0/24", "name": "mail.sender.example", "helo": "mail.sender.example", "sender": "a@sender.example", "recipient": "b@our.example"} {
		rows = append(rows, list(key, text)...)
	}
	for i := range rows {
		if rows[i].key == a+"helos" {
			rows[i].key = a + "helo"
		}
	}
	base := entry + `action = "reject"` + "\n"
	narrower := base + entry + `sender = "a@sender.example"`
	for key, value := range map[string]string{
		"client": "192.0.2.9", "name": "other.example", "helo": "other.example", "recipient": "c@our.example",
		"role": "outbound", "direction": "out", "expires": "2020-01-01",
	} {
		rows = append(rows, effect{key: entry + key, value: `"` + value + `"`, base: narrower, scene: facts, want: "-" + refused[1:]})
	}
	return append(rows,
		effect{key: entry + "sender", value: `"other@sender.example"`, base: base + entry + `client = "192.0.2.1"`, scene: facts, want: "-" + refused[1:]},
		effect{key: entry + "action", value: `"defer"`, base: entry + `sender = "b@sender.example"` + "\n" + entry + `client = "192.0.2.1"` + "\n", scene: strings.Replace(facts, "<a@", "<b@", 1), want: "+answer 450"},
		effect{key: entry + "text", value: `"5.7.1 No robots"`, base: narrower, scene: facts, want: "+No robots"},
		effect{key: entry + "reason", value: `"ticket 7"`, base: narrower, scene: facts, want: "+ticket 7"},
		effect{key: a + "mode", value: `"observe"`, base: narrower, scene: facts, want: "-" + refused[1:], still: "access."},
		effect{key: a + "parent_domain_matches", value: "false", base: a + `senders = ["example reject"]`, scene: facts, want: "-" + refused[1:]},
		effect{key: a + "recipient_delimiter", value: `"+"`, base: a + `senders = ["a@sender.example reject"]`, scene: strings.Replace(facts, "<a@", "<a+x@", 1), want: refused},
		effect{
			key: a + "sender_accept", value: `"any"`, base: a + `senders = ["a@localhost accept"]` + "\ncheck.sender.fqdn = \"enforce\"",
			scene: strings.Replace(facts, "<a@sender.example>", "<a@localhost>", 1) + "\ndns mail.sender.example A 192.0.2.1", want: "-answer", still: "access.sender",
		},
	)
}

// TestAccess: every key of the operator's lists.
func TestAccess(t *testing.T) { run(t, accessRows(), engine) }

// engine plays the row's session with all checks: what they found, and the
// answer to RCPT.
func engine(t *testing.T, toml string, e effect) string {
	t.Helper()
	cases, err := filtertest.Parse("== scene\n" + e.scene)
	if err != nil {
		t.Fatal(err)
	}
	c := cases[0]
	site := filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Addresses: []string{"203.0.113.5"}}
	if c.DNS != nil {
		site.Resolver = c.DNS
	}
	toml = withFile(t, toml)
	if strings.HasSuffix(e.key, ".NAME.action") && !strings.Contains(toml, e.key) {
		return "" // an entry without an action is refused
	}
	checks, err := all.Checks(read(t, toml).Check, site)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := filters.New(filters.Config{Checks: checks, Thresholds: filters.DefaultThresholds()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, s := t.Context(), c.Session
	eng.Connect(ctx, &s)
	eng.Helo(ctx, &s)
	tx := &mail.Transaction{Session: &s, ID: "TEST", Direction: c.Dir}
	tx.ReversePath = c.From
	eng.Mail(ctx, tx)
	d := eng.Rcpt(ctx, tx, c.Rcpts[0])
	var b strings.Builder
	for _, f := range d.Because {
		fmt.Fprintf(&b, "%s %+g %s %s %s %s\n", f.Symbol, f.Score, f.Verdict, f.Mode, f.Detail, f.Rule)
	}
	if d.Verdict > mail.Continue {
		fmt.Fprintf(&b, "answer %s\n", d.Reply)
	}
	return b.String()
}
