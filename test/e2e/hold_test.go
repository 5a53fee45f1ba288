package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// held is a garita hold list.
type held struct {
	Total    int `json:"total"`
	Messages []struct {
		ID, State, From, Subject, Note, By string
		Unsure                             bool
		Symbols                            []string
	} `json:"messages"`
}

func holds(t *testing.T, g *harness.Gateway, args ...string) (h held) {
	t.Helper()
	out, code := g.Run(append([]string{"hold", "list", "-o", "json", "--config", g.Config}, args...)...)
	if code != 0 {
		t.Fatalf("garita hold list: %d\n%s", code, out)
	}
	if err := json.Unmarshal([]byte(out), &h); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return h
}

const letter = "Subject: =?utf-8?Q?caf=C3=A9?= \x1b[2J\r\nFrom: A <a@spam.example>\r\nX-Garita-Spam: no\r\n\r\n.dot\r\nHello\x1b]0;title\a\r\n"

// holdGateway holds what comes from spam.example, and from the content filter's
// peers too.
func holdGateway(t *testing.T, hop, back string, settings ...harness.Setting) *harness.Gateway {
	t.Helper()
	g := harness.NewGateway(t, harness.Options{NextHop: hop, FilterTo: back})
	// The notice of held mail would be a letter more, when the machine is slow.
	quiet := []harness.Setting{{Table: "hold", Key: "notify", Value: "[]"}}
	harness.Configure(t, g.Config, append(append(quiet, settings...), harness.Setting{Table: "check.access", Key: "senders", Value: `["spam.example reject"]`},
		harness.Setting{Table: harness.TableOf(t, g.Config, "inbound"), Key: "reject_as", Value: `"hold"`})...)
	return g
}

// TestHoldAndRelease walks a message through its life: held with a 250 after
// kill -9 too, looked at, exported octet for octet, released once as it would
// have been relayed, to the next hop that it was for.
func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	hop, back := startHop(t, fakehop.Config{}), startHop(t, fakehop.Config{})
	g := holdGateway(t, hop.Addr(), back.Addr(), harness.Setting{Table: "hold", Key: "notify", Value: `["admin@our.example"]`})
	g.Start()
	conf := func(args ...string) []string { return append(append([]string{"hold"}, args...), "--config", g.Config) }
	run := func(want int, args ...string) string {
		t.Helper()
		out, code := g.Run(conf(args...)...)
		if code != want {
			t.Fatalf("garita hold %v: %d\n%s", args, code, out)
		}
		if strings.Contains(out, "\x1b") || strings.Contains(out, "\a") {
			t.Errorf("garita hold %v prints what strangers wrote as it is", args)
		}
		return out
	}
	if out := run(0, "list"); !strings.Contains(out, "nothing is held") {
		t.Error(out)
	}
	var id [2]string
	for i, addr := range []string{g.Inbound, g.Filter} {
		c := harness.Greeted(t, addr)
		r := c.Send("a@spam.example", []string{"b@our.example"}, letter)
		if r.Code != 250 || !strings.Contains(r.Text(), "held as ") {
			t.Fatalf("%s: %s", addr, r)
		}
		_, id[i], _ = strings.Cut(r.Text(), "held as ")
		if r := c.Send("a@good.example", []string{"b@our.example"}, "Subject: fine\r\n\r\nx\r\n"); r.Code != 250 || strings.Contains(r.Text(), "held") {
			t.Fatalf("%s: %s", addr, r)
		}
		c.Say("QUIT").Want(221)
	}
	g.WaitLog("held as " + id[0])
	g.Kill()
	g.Start()
	list := holds(t, g)
	if list.Total != 2 || list.Messages[0].ID != id[1] || list.Messages[0].From != "a@spam.example" || !strings.HasPrefix(list.Messages[0].Subject, "café") ||
		!strings.HasPrefix(list.Messages[0].Symbols[0], "access.") {
		t.Fatalf("%+v", list)
	}
	if out := run(0, "show", id[0][:14]); !strings.Contains(out, "café") || !strings.Contains(out, "access.") || !strings.Contains(out, "| Hello") {
		t.Error(out)
	}
	harness.Eventually(t, "the administrator is told", func() bool {
		for _, m := range hop.Accepted() {
			if strings.Join(m.To, " ") == "admin@our.example" {
				if m.From != "" || !strings.Contains(string(m.Data), "Auto-Submitted: auto-generated") {
					t.Errorf("the notice: %+v %q", m, m.Data)
				}
				return true
			}
		}
		return false
	})
	file := filepath.Join(g.Dir, "exported.eml")
	run(0, "export", id[0], file)
	raw, err := os.ReadFile(file)
	if info, serr := os.Stat(file); err != nil || string(raw) != letter || serr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("exported %q %v", raw, err)
	}
	run(1, "export", id[0], file) // never over a file
	if out := run(0, "release", "--sender", "@spam.example", "--dry-run"); !strings.Contains(out, "2 messages; nothing was done") {
		t.Error(out)
	}
	run(2, "release", "--sender", "@spam.example") // nobody to ask
	run(2, "release")
	run(2, "show", "../../etc/passwd")
	run(0, "release", "--sender", "@spam.example", "--reason", "access", "--yes")
	run(1, "release", id[0]) // once
	for name, h := range map[string]*fakehop.Server{"next hop": hop, "reinjection": back} {
		n := 0
		for _, m := range h.Accepted() {
			if m.From != "a@spam.example" {
				continue
			}
			n++
			want := strings.Replace(letter, "X-Garita-Spam: no\r\n", "", 1)
			if got := string(m.Data); !strings.HasSuffix(got, want) || strings.Count(got, "Received: ") != 1 || strings.Join(m.To, " ") != "b@our.example" {
				t.Errorf("%s got %q for %v", name, got, m.To)
			}
		}
		if n != 1 {
			t.Errorf("%s got the message %d times", name, n)
		}
	}
	if got := holds(t, g, "--state", "released"); got.Total != 2 || got.Messages[0].By == "" {
		t.Errorf("%+v", got)
	}
	run(0, "delete", id[0])
	run(2, "show", id[0])
	if got := holds(t, g, "--state", "deleted"); got.Total != 1 {
		t.Errorf("%+v", got)
	}
	run(0, "rebuild")
	if got := holds(t, g, "--state", "all"); got.Total != 1 {
		t.Errorf("after a rebuild: %+v", got)
	}
	g.WaitLog("hold release")
	if strings.Contains(g.Log(), "\x1b") {
		t.Error("the log has what strangers wrote as it is")
	}
}

// TestReleaseRefused: a next hop that is down, refuses or loses its answer; the
// message stays held with the reason, and goes out once in the end. LMTP next
// hops get each recipient by itself.
func TestReleaseRefused(t *testing.T) {
	t.Parallel()
	lost := fakehop.Action{Drop: true, Silent: true}
	hop := startHop(t, fakehop.Config{LMTP: true, Script: map[string][]fakehop.Action{
		".": {{Reply: "451 4.2.1 busy\r\n"}, {Reply: "554 5.6.0 no\r\n"}, lost},
	}})
	g := holdGateway(t, hop.Addr(), "")
	harness.Configure(t, g.Config, harness.Setting{Table: "next_hop.inbound", Key: "url", Value: `"lmtp://` + hop.Addr() + `"`})
	g.Start()
	c := harness.Greeted(t, g.Inbound)
	if r := c.Send("a@spam.example", []string{"b@our.example"}, letter); r.Code != 250 {
		t.Fatal(r)
	}
	id := holds(t, g).Messages[0].ID
	for _, want := range []string{"451 4.2.1 busy", "554 5.6.0 no"} {
		out, code := g.Run("hold", "release", id, "--config", g.Config)
		if m := holds(t, g).Messages; code != 1 || len(m) != 1 || m[0].Unsure || !strings.Contains(m[0].Note, want) {
			t.Errorf("%s: %d %s %+v", want, code, out, m)
		}
	}
	if out, code := g.Run("hold", "release", id, "--config", g.Config); code != 1 || !holds(t, g).Messages[0].Unsure {
		t.Errorf("lost: %d %s", code, out)
	}
	if out, code := g.Run("hold", "release", id, "--config", g.Config); code != 1 || !strings.Contains(out, "--again") {
		t.Errorf("unsure: %d %s", code, out)
	}
	if out, code := g.Run("hold", "release", id, "--again", "--config", g.Config); code != 0 || holds(t, g).Total != 0 {
		t.Errorf("again: %d %s", code, out)
	}
	n := 0
	for _, m := range hop.Accepted() {
		if m.From == "a@spam.example" { // the notice of held mail may come by, too
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d arrived", n)
	}
}

// TestHoldFull: over the quota it is 451, and without a holding place too; the
// rest of the mail goes on.
func TestHoldFull(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := holdGateway(t, hop.Addr(), "", harness.Setting{Table: "hold", Key: "max_messages", Value: "1"})
	g.Start()
	c := harness.Greeted(t, g.Inbound)
	if r := c.Send("a@spam.example", []string{"b@our.example"}, letter); r.Code != 250 {
		t.Fatal(r)
	}
	if r := c.Send("a@spam.example", []string{"b@our.example"}, letter); r.Code != 451 {
		t.Errorf("over the quota: %s", r)
	}
	if r := c.Send("a@good.example", []string{"b@our.example"}, letter); r.Code != 250 {
		t.Errorf("other mail: %s", r)
	}
	g.WaitLog("the holding place is full")
	harness.Configure(t, g.Config, harness.Setting{Table: "hold", Key: "enabled", Value: "false"})
	if out, code := g.Run("reload", "--config", g.Config); code != 0 {
		t.Fatal(out)
	}
	c = harness.Greeted(t, g.Inbound)
	c.Say("EHLO c.example").Want(250)
	c.Say("MAIL FROM:<a@spam.example>").Want(250)
	c.Say("RCPT TO:<b@our.example>").Want(451)
}
