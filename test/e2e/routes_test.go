package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// writeFile writes a table of a test.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// reload edits nothing and says what garita reload says.
func reload(t *testing.T, g *harness.Gateway, want int) string {
	t.Helper()
	out, code := g.Run("reload", "--config", g.Config)
	if code != want {
		t.Fatalf("garita reload: exit status %d, want %d\n%s", code, want, out)
	}
	return out
}

// world is a gateway with several next hops and tables as files.
type world struct {
	g                                    *harness.Gateway
	mailbox, other, special, smart, rely *fakehop.Server
	lmtp                                 *fakehop.Server
	routes, senders, aliases, people     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{mailbox: startHop(t, fakehop.Config{}), other: startHop(t, fakehop.Config{}), special: startHop(t, fakehop.Config{}),
		smart: startHop(t, fakehop.Config{}), rely: startHop(t, fakehop.Config{}), lmtp: startHop(t, fakehop.Config{LMTP: true})}
	d := harness.Dir(t)
	w.routes = writeFile(t, filepath.Join(d, "transport"), "# transport(5)\nother.example   other\nana@our.example special\nbox.example lmtp:["+strings.Replace(w.lmtp.Addr(), ":", "]:", 1)+"\n.far.example smtp:["+strings.Replace(w.special.Addr(), ":", "]:", 1)+"\n")
	w.senders = writeFile(t, filepath.Join(d, "relayhost"), "@sales.example rely\nboss@our.example rely\n")
	w.aliases = writeFile(t, filepath.Join(d, "virtual"), "both@our.example one@our.example, two@our.example\n@old.example @our.example\n")
	w.people = writeFile(t, filepath.Join(d, "recipients"), "x@listed.example OK\ny@listed.example OK\n")
	list := func(s string) string { return "[" + quoted(s) + "]" }
	w.g = harness.NewGateway(t, harness.Options{NextHop: w.mailbox.Addr(), SmartHost: w.smart.Addr(),
		Domains: []string{"our.example", "other.example", "old.example", "box.example", "listed.example"},
		Settings: []harness.Setting{
			{Table: "route", Key: "recipient_files", Value: list(w.routes)}, {Table: "route", Key: "sender_files", Value: list(w.senders)},
			{Table: "route", Key: "alias_files", Value: list(w.aliases)}, {Table: "route", Key: "recipient_list_files", Value: list(w.people)},
		}})
	for name, h := range map[string]*fakehop.Server{"other": w.other, "special": w.special, "rely": w.rely} {
		harness.Append(t, w.g.Config, fmt.Sprintf("\n[next_hop.%s]\nurl = \"smtp://%s\"\ntls = \"none\"\n", name, h.Addr()))
	}
	w.g.Start()
	return w
}

// TestRoutes: every message goes where the tables say, in and out.
func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, out := w.g.Inbound, w.g.Outbound
	for _, c := range []struct {
		name, at, from string
		to             []string
		hop            *fakehop.Server
		want           []string // recipients that the hop was told; nil: to
	}{
		{"the listener's own", in, "a@x.example", []string{"b@our.example"}, w.mailbox, nil},
		{"a domain", in, "a@x.example", []string{"b@other.example"}, w.other, nil},
		{"a domain in capitals", in, "a@x.example", []string{"b@OTHER.example"}, w.other, nil},
		{"an address", in, "a@x.example", []string{"ana@our.example"}, w.special, nil},
		{"an address with an extension", in, "a@x.example", []string{"ana+shop@our.example"}, w.special, nil},
		{"LMTP", in, "a@x.example", []string{"b@box.example"}, w.lmtp, nil},
		{"an alias for two", in, "a@x.example", []string{"both@our.example"}, w.mailbox, []string{"one@our.example", "two@our.example"}},
		{"an alias and one of its targets", in, "a@x.example", []string{"both@our.example", "two@our.example"}, w.mailbox, []string{"one@our.example", "two@our.example"}},
		{"a domain that stands for another", in, "a@x.example", []string{"b@old.example"}, w.mailbox, []string{"b@our.example"}},
		{"a route behind a domain that stands for another", in, "a@x.example", []string{"ana@old.example"}, w.special, []string{"ana@our.example"}},
		{"who is listed", in, "a@x.example", []string{"x@listed.example"}, w.mailbox, nil},
		{"out", out, "a@our.example", []string{"b@far.example"}, w.smart, nil},
		{"out, by recipient", out, "a@our.example", []string{"b@sub.far.example"}, w.special, nil},
		{"out, by sender's domain", out, "a@sales.example", []string{"b@far.example"}, w.rely, nil},
		{"out, by sender", out, "boss@our.example", []string{"b@far.example"}, w.rely, nil},
		{"out, by recipient before sender", out, "boss@our.example", []string{"b@sub.far.example"}, w.special, nil},
		{"out, to our own domain", out, "boss@our.example", []string{"b@our.example"}, w.mailbox, nil},
		{"out, to our own domain with a route", out, "boss@our.example", []string{"b@other.example"}, w.other, nil},
		{"out, to an alias", out, "a@our.example", []string{"both@our.example"}, w.mailbox, []string{"one@our.example", "two@our.example"}},
		{"out, bounce", out, "", []string{"b@far.example"}, w.smart, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			counts := map[*fakehop.Server]int{}
			all := []*fakehop.Server{w.mailbox, w.other, w.special, w.smart, w.rely, w.lmtp}
			for _, h := range all {
				counts[h] = len(h.Accepted())
			}
			if r := harness.Greeted(t, c.at).Send(c.from, c.to, message); r.Code != 250 {
				t.Fatalf("%s\n%s", r, w.g.Log())
			}
			for _, h := range all {
				got := h.Accepted()[counts[h]:]
				switch {
				case h != c.hop && len(got) > 0:
					t.Errorf("another next hop took it: %v", got[0].To)
				case h == c.hop && len(got) != 1:
					t.Errorf("its next hop took %d messages", len(got))
				case h == c.hop:
					want := c.want
					if want == nil {
						want = c.to
					}
					if fmt.Sprint(got[0].To) != fmt.Sprint(want) {
						t.Errorf("to %v, want %v", got[0].To, want)
					}
				}
			}
		})
	}
}

// TestRecipientsOfTables: what lists, mixed routes and relay permission refuse.
func TestRecipientsOfTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name string
		to   []string // all but the last are taken
		code int
		text string
	}{
		{"not listed", []string{"z@listed.example"}, 550, "5.1.1"},
		{"two next hops", []string{"b@our.example", "b@other.example"}, 452, "4.5.3"},
		{"LMTP takes one", []string{"b@box.example", "c@box.example"}, 452, "4.5.3"},
		{"a route opens no relay", []string{"b@sub.far.example"}, 554, "5.7.1"},
		{"a percent sign behind a domain that stands for another", []string{`"b%far.example"@old.example`}, 550, "5."},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := harness.Greeted(t, w.g.Inbound)
			cl.Envelope("a@x.example", c.to[:len(c.to)-1]...)
			r := cl.Say("RCPT TO:<" + c.to[len(c.to)-1] + ">").Reply()
			if r.Code != c.code && !(c.text == "5." && r.Class() == 5) || !strings.HasPrefix(r.Text(), c.text) {
				t.Errorf("%s, want %d %s", r, c.code, c.text)
			}
		})
	}
	// A table that was edited counts from the reload on; a broken one never.
	cl := harness.Greeted(t, w.g.Inbound)
	cl.Envelope("a@x.example")
	writeFile(t, w.people, "z@listed.example\n")
	writeFile(t, w.routes, "other.example special\n")
	cl.Say("RCPT TO:<z@listed.example>").Want(550)
	reload(t, w.g, 0)
	cl.Say("RCPT TO:<z@listed.example>").Want(550) // a session keeps what it began with
	if r := harness.Greeted(t, w.g.Inbound).Send("a@x.example", []string{"z@listed.example"}, message); r.Code != 250 {
		t.Errorf("after the reload: %s", r)
	}
	before := len(w.special.Accepted())
	if r := harness.Greeted(t, w.g.Inbound).Send("a@x.example", []string{"b@other.example"}, message); r.Code != 250 || len(w.special.Accepted()) != before+1 {
		t.Errorf("the changed route: %s, %d messages", r, len(w.special.Accepted())-before)
	}
	for what, text := range map[string]string{"a next hop that is not there": "other.example nowhere\n", "half a line": "other.example\n", "an MX look-up": "other.example smtp:far.example\n"} {
		writeFile(t, w.routes, text)
		if said := reload(t, w.g, 78); !strings.Contains(said, w.routes) && !strings.Contains(said, "route") {
			t.Errorf("%s: the reload does not say where:\n%s", what, said)
		}
		if r := harness.Greeted(t, w.g.Inbound).Send("a@x.example", []string{"b@other.example"}, message); r.Code != 250 {
			t.Errorf("after a reload with %s: %s", what, r)
		}
	}
	writeFile(t, w.routes, "other.example special\n")
	writeFile(t, w.people, "")
	reload(t, w.g, 78) // an export that failed must not change who exists
	if r := harness.Greeted(t, w.g.Inbound).Say("MAIL FROM:<a@x.example>", "RCPT TO:<nobody@listed.example>"); r.Reply().Code != 250 || r.Reply().Code != 550 {
		t.Error("an empty list of recipients lets everybody in")
	}
}

// TestAliasWithARefusedTarget: told refused is delivered to nobody, told 250
// is delivered to all, whatever else is in the envelope (promise of design
// section 4.8 for aliases).
func TestAliasWithARefusedTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code int
		want int
	}{{"refused", 550, 550}, {"put off", 450, 450}} {
		t.Run(c.name, func(t *testing.T) {
			b := harness.StartSandbox(t, harness.SandboxOptions{Refuse: func(to string) error {
				if to == "two@our.example" {
					return &smtp.SMTPError{Code: c.code, EnhancedCode: smtp.EnhancedCode{c.code / 100, 1, 1}, Message: "no"}
				}
				return nil
			}})
			g := harness.StartGateway(t, harness.Options{NextHop: b.Addr, Settings: []harness.Setting{
				{Table: "route", Key: "aliases", Value: `["both@our.example one@our.example, two@our.example", "fine@our.example one@our.example, three@our.example"]`},
			}})
			alone := harness.Greeted(t, g.Inbound)
			if r := alone.Send("a@x.example", []string{"both@our.example"}, message); r.Code != c.want {
				t.Errorf("alone: %s", r)
			}
			alone.Say("DATA")
			if r := alone.Reply(); r.Class() != 5 {
				t.Errorf("DATA without a recipient: %s", r)
			}
			mixed := harness.Greeted(t, g.Inbound)
			mixed.Envelope("a@x.example", "first@our.example")
			mixed.Say("RCPT TO:<both@our.example>").Want(c.want)
			mixed.Say("RCPT TO:<fine@our.example>").Want(250)
			mixed.Say("RCPT TO:<one@our.example>").Want(250)
			mixed.Say("DATA").Want(354)
			mixed.Raw(harness.Stuff(message)).Want(250)
			got := b.Stored()
			if len(got) != 1 || fmt.Sprint(got[0].To) != "[first@our.example one@our.example three@our.example]" {
				t.Errorf("the next hop has %d messages; the last: %v", len(got), got)
			}
			g.WaitLog("to=<three@our.example>, orig_to=<fine@our.example>")
		})
	}
}

// TestAliasOfManyNextHops: an alias that would need two transactions is said
// at the reload, or put off; it is never half done.
func TestAliasOfManyNextHops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	writeFile(t, w.aliases, "both@our.example one@our.example, two@other.example\n")
	said := reload(t, w.g, 78)
	if !strings.Contains(said, "both@our.example") {
		t.Errorf("the reload does not name the alias:\n%s", said)
	}
	writeFile(t, w.aliases, "both@our.example one@box.example, two@box.example\n")
	if said := reload(t, w.g, 78); !strings.Contains(said, "both@our.example") {
		t.Errorf("an alias for two at an LMTP server: the reload does not name it:\n%s", said)
	}
	// The old table goes on.
	if r := harness.Greeted(t, w.g.Inbound).Send("a@x.example", []string{"both@our.example"}, message); r.Code != 250 {
		t.Errorf("after the refused reload: %s", r)
	}
}
