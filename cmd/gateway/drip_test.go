package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"garita/alert"
	"garita/hold"
	"garita/mail"
	"garita/message"
	"garita/smtpproxy/relay/fakehop"
	"garita/users"
)

// dripKit is a gateway in this process whose clock is the test's: nothing drips
// and nobody is told but when the test says so.
type dripKit struct {
	t   *testing.T
	d   *daemon
	g   *gateway
	hop *fakehop.Server
	p   dripping
	// ahead is how far the test's clock is ahead of the holding place's.
	ahead time.Duration
}

func newDripKit(t *testing.T, hop fakehop.Config, limits string) *dripKit {
	t.Helper()
	k := &dripKit{t: t, hop: startHop(t, hop)}
	k.g = &gateway{t: t, dir: initialise(t, k.hop.Addr())}
	k.g.edit("\n[check.limits]\n", "\n[check.limits]\nmode = \"enforce\"\n"+limits)
	s, _, problems := load(k.g.file("config.toml"), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	d, err := newDaemon(k.g.file("config.toml"), s, nil, notifier{})
	if err != nil {
		t.Fatal(err)
	}
	d.drain = patience
	if err := d.serve(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.shutdown(nil, "the test"); err != nil {
			t.Error(err)
		}
	})
	k.d = d
	return k
}

func (k *dripKit) now() time.Time { return time.Now().Add(k.ahead) }

// hold puts a message of a user into the holding place, as check has decided.
func (k *dripKit) hold(user, source, subject string, because ...string) {
	k.t.Helper()
	m, err := message.Spool(k.t.Context(), strings.NewReader("Subject: "+subject+"\r\n\r\ntext\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		k.t.Fatal(err)
	}
	defer m.Release()
	out, err := m.Render(nil)
	if err != nil {
		k.t.Fatal(err)
	}
	client := netip.MustParseAddrPort("127.0.0.1:4000")
	tx := &mail.Transaction{Session: &mail.Session{ID: "S", Listener: "outbound", Role: mail.Outbound, Client: client, Peer: client, Trusted: true}, ID: "4ABCDEF01",
		Direction: mail.Out, NextHop: "smarthost", Message: m, Identity: mail.Identity{User: user, Source: source}}
	local, domain, _ := strings.Cut(user, "@")
	tx.ReversePath = mail.Path{Local: local, Domain: domain}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: subject[:2], Domain: "anywhere.example"}}}
	d := mail.Decision{Verdict: mail.Quarantine}
	for _, symbol := range because {
		d.Because = append(d.Because, mail.Finding{Symbol: symbol, Verdict: mail.Quarantine, Stage: mail.StageMessage})
	}
	if _, err := k.d.parts.hold.keeper.Hold(k.t.Context(), tx, d, out); err != nil {
		k.t.Fatal(err)
	}
}

// round drips at most n messages.
func (k *dripKit) round(n float64) {
	k.t.Helper()
	k.p.credit = n
	k.p.round(k.t.Context(), k.d, k.d.now.Load(), k.d.parts.hold.keeper, k.now())
}

var subjectOf = regexp.MustCompile(`(?m)^Subject: ([^\r\n]*)`)

// left are the subjects of what the next hop has.
func (k *dripKit) left() string {
	var out []string
	for _, m := range k.hop.Accepted() {
		out = append(out, string(subjectOf.FindSubmatch(m.Data)[1]))
	}
	return strings.Join(out, " ")
}

func (k *dripKit) held() []hold.Entry {
	k.t.Helper()
	page, _, _, err := k.d.parts.hold.keeper.List(k.t.Context(), hold.Filter{Oldest: true})
	if err != nil {
		k.t.Fatal(err)
	}
	return page
}

// TestDripFair: of each user the oldest first, and the users in turn, over
// rounds too; what something else holds stays; a user without room keeps nobody.
func TestDripFair(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "user = [\"3 messages / 1h\"]\ndrip_rate = 0\n")
	for i := range 5 {
		k.hold("ana@example.org", "received", fmt.Sprint("a", i), "limits.user")
	}
	k.hold("eve@example.org", "received", "virus", "limits.user", "clamav.virus")
	for i := range 2 {
		k.hold("bob@example.org", "received", fmt.Sprint("b", i), "limits.user")
		k.hold("cleo@example.org", "auth", fmt.Sprint("c", i), "limits.domain")
	}
	if _, err := k.d.parts.users.registry.Suspend(t.Context(), users.Suspension{User: "cleo@example.org"}); err != nil {
		t.Fatal(err)
	}
	k.round(1)
	if got := k.left(); got != "a0" {
		t.Errorf("first %q", got)
	}
	k.round(1) // it is another's turn
	k.round(2)
	if got := k.left(); got != "a0 b0 a1 b1" {
		t.Errorf("then %q", got)
	}
	k.round(100)
	if got := k.left(); got != "a0 b0 a1 b1 a2" {
		t.Errorf("at last %q: ana has three an hour, cleo is suspended, and a virus never drips", got)
	}
	if _, _, err := k.d.parts.users.registry.Resume(t.Context(), "cleo@example.org", "test"); err != nil {
		t.Fatal(err)
	}
	// What was held before may be what cleo was suspended for: it waits for a
	// person, and nobody is promised anything; what comes later drips.
	k.round(100)
	if got := k.left(); got != "a0 b0 a1 b1 a2" || len(k.held()) != 5 {
		t.Errorf("after the resume %q, %d are held", got, len(k.held()))
	}
	since, err := k.d.parts.users.registry.Stopped(t.Context(), "cleo@example.org")
	if _, ok := oldestOf(t.Context(), k.d.parts.hold.keeper, "cleo@example.org", since); ok || err != nil || since.IsZero() {
		t.Errorf("a notice promises it: %v %v %v", ok, since, err)
	}
	k.hold("cleo@example.org", "auth", "c2", "limits.domain")
	k.round(100)
	if got := k.left(); got != "a0 b0 a1 b1 a2 c2" || len(k.held()) != 5 {
		t.Errorf("%q, %d are held", got, len(k.held()))
	}
}

// TestDripRefused: what the next hop refuses for now is tried again after a
// while, what it refuses for good waits for a person; both give the room back,
// neither keeps another, and nothing is lost or doubled.
func TestDripRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, verb, reply string
		again             bool
	}{
		{"recipient 4xx", "RCPT", "451 4.2.1 not now\r\n", true},
		{"recipient 5xx", "RCPT", "550 5.1.1 nobody\r\n", false},
		{"message 4xx", ".", "452 4.3.1 full\r\n", true},
		{"message 5xx", ".", "554 5.7.1 no\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newDripKit(t, fakehop.Config{Script: map[string][]fakehop.Action{c.verb: {{Reply: c.reply}}}}, "user = [\"2 messages / 1h\"]\ndrip_rate = 0\n")
			k.hold("ana@example.org", "received", "a0", "limits.user")
			k.hold("ana@example.org", "received", "a1", "limits.user")
			k.hold("bob@example.org", "received", "b0", "limits.user")
			k.round(1)
			if k.left() != "" || len(k.held()) != 3 || k.held()[0].By != dripBy || k.held()[0].Unsure {
				t.Fatalf("%q went, held: %+v", k.left(), k.held())
			}
			k.round(100)
			if got := k.left(); got != "b0 a1" && got != "a1 b0" {
				t.Errorf("%q went beside it", got)
			}
			k.round(100) // not at once
			k.ahead -= 24 * time.Hour
			if !c.again {
				k.round(100) // a clock that was set back makes it no other message
			}
			k.ahead += 24*time.Hour + dripLater + time.Minute
			k.round(100) // ana's second place is there: the refused one gave its back
			want := 2
			if c.again {
				want = 3
			}
			if n := len(k.hop.Accepted()); n != want || len(k.held()) != 3-want {
				t.Errorf("%d went: %q, %d are held", n, k.left(), len(k.held()))
			}
		})
	}
	for note, want := range map[string]bool{"550 no": true, "451 no": false, "a@b.example: 554 5.7.1 x": true, "a@b.example: 421 x: 500": false, "": false, "55": false, "no answer: 5": false} {
		if permanent(note) != want {
			t.Errorf("%q", note)
		}
	}
}

// TestQ05Drip: a clock that jumps a day ahead lets no burst out, and one that
// is set back stops nothing.
func TestQ05Drip(t *testing.T) {
	t.Parallel()
	var p dripping
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	p.earn(30, now)
	p.credit = 0
	step := func(d time.Duration) float64 {
		now = now.Add(d)
		p.earn(30, now)
		had := p.credit
		p.credit = 0
		return had
	}
	if n := step(4 * time.Second); n != 2 {
		t.Errorf("four seconds earn %v", n)
	}
	if n := step(24 * time.Hour); n != 5 {
		t.Errorf("a day ahead earns %v, ten seconds' worth is the most", n)
	}
	if n := step(-48 * time.Hour); n != 0 {
		t.Errorf("two days back earn %v", n)
	}
	if n := step(4 * time.Second); n != 2 {
		t.Errorf("then four seconds earn %v", n)
	}
}

// TestHeldNotice: a user whose mail a limit holds is told once for each
// incident, in both languages, with null sender; who is suspended, known by the
// sender alone, or held by something else is not; nor anybody with
// notify_users = false.
func TestHeldNotice(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "user = [\"1 messages / 1h\"]\n")
	tell := func() []fakehop.Message {
		before := len(k.hop.Accepted())
		k.d.tellHeld(t.Context(), k.d.now.Load(), k.now())
		return k.hop.Accepted()[before:]
	}
	room, err := k.d.now.Load().helpers.Limits().Room(t.Context(), mail.Identity{User: "ana@example.org", Source: "auth"}, false,
		[]mail.Recipient{{Path: mail.Path{Local: "x", Domain: "anywhere.example"}}}, 1)
	if err != nil || room == nil {
		t.Fatal("no room", err)
	}
	room.Commit()
	k.hold("ana@example.org", "received", "a0 =\x1b[2J", "limits.user")
	k.hold("ana@example.org", "received", "a1", "limits.user")
	k.hold("eve@example.org", "sender", "e0", "limits.user")
	k.hold("cleo@example.org", "auth", "c0", "limits.user")
	k.hold("dan@example.org", "auth", "d0", "limits.user", "clamav.virus")
	k.hold("cert/abc", "certificate", "x0", "limits.user")
	if _, err := k.d.parts.users.registry.Suspend(t.Context(), users.Suspension{User: "cleo@example.org"}); err != nil {
		t.Fatal(err)
	}
	got := tell()
	if len(got) != 1 || got[0].From != "" || strings.Join(got[0].To, ",") != "ana@example.org" {
		t.Fatalf("told: %+v", got)
	}
	m, err := netmail.ReadMessage(strings.NewReader(string(got[0].Data)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{"(2 messages) is over the sending limit (1 messages / 1h)", "the first in about 6", "(2 mensajes) supera el límite", "el primero en unos 6", "minutos", "change your password", "cambie ya su contraseña"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || strings.Contains(text, "a0") || strings.Contains(text, "\x1b") {
		t.Errorf("%v\n%s", m.Header, text)
	}
	for range 30 { // as long as it goes on, and hours after
		k.ahead += 3*time.Hour + time.Minute
		if got := tell(); len(got) != 0 {
			t.Fatalf("told again: %+v", got)
		}
	}
	// The incident is over, and the quiet time too.
	if err := k.d.parts.store.Delete(t.Context(), noticeKey+"ana@example.org"); err != nil {
		t.Fatal(err)
	}
	if got := tell(); len(got) != 1 {
		t.Errorf("a new incident: %+v", got)
	}
	k.g.edit("\n[check.limits]\n", "\n[check.limits]\nnotify_users = false\n")
	if _, err := k.d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.d.parts.store.Delete(t.Context(), noticeKey+"ana@example.org"); err != nil {
		t.Fatal(err)
	}
	if got := tell(); len(got) != 0 {
		t.Errorf("notify_users = false: %+v", got)
	}
	n := heldNotice{Host: "mx.example.org", User: "ana@example.org", Held: 1, Drips: false}
	if b := n.body(); !strings.Contains(b, "(1 message)") || !strings.Contains(b, "when your administrator releases it") || !strings.Contains(b, "cuando su administrador lo libere") {
		t.Error(b)
	}
	n = heldNotice{Held: 1, Drips: true, Wait: 30 * time.Hour}
	if b := n.body(); !strings.Contains(b, "about 30 hours") || !strings.Contains(b, "unas 30 horas") && !strings.Contains(b, "unos 30 horas") {
		t.Error(b)
	}
}

// TestLimitToldToTheAdministrator: who goes over his limit is an alert at once,
// with the command to run, in both languages.
func TestLimitToldToTheAdministrator(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "user = [\"1 messages / 1h\"]\ndrip_rate = 0\n")
	c := dial(t, k.g.address("outbound"))
	c.say(250, "EHLO mta.example.org")
	k.d.now.Load() // identity.hosts is empty here: the sender says who it is
	for range 2 {
		c.say(250, "MAIL FROM:<ana@example.org>")
		c.say(250, "RCPT TO:<x@anywhere.example>")
		c.say(354, "DATA")
		c.say(250, "Subject: x\r\n\r\ntext\r\n.")
	}
	var over *alert.Alert
	for _, e := range k.d.parts.alerts.manager.List(false) {
		if e.Alert.Key == "limit/over/ana@example.org" {
			over = &e.Alert
		}
	}
	if over == nil || over.Subject.EN == "" || over.Subject.ES == "" || over.Subject.EN == over.Subject.ES || strings.Join(over.Command, " ") != "garita limits list ana@example.org" {
		t.Errorf("%+v", over)
	}
}

// TestCheckUsersAndLimits: the plugin's figures, states and exit codes.
func TestCheckUsersAndLimits(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "user = [\"4 messages / 1h\"]\ndrip_rate = 0\n")
	check := func(want int, args ...string) string {
		t.Helper()
		code, out, text := k.g.command(append([]string{"check"}, args...)...)
		if code != want || text != "" {
			t.Errorf("%v: %d, want %d: %s%s", args, code, want, out, text)
		}
		return strings.TrimSpace(out)
	}
	if out := check(0, "users"); out != "USERS OK - 0 suspended | suspended=0;0;;0" {
		t.Error(out)
	}
	if out := check(0, "limits"); out != "LIMITS OK - 0 users near or over a limit, 0 over, 0 messages held by limits | users=0;9;49;0 over=0;;;0 held=0;;;0" {
		t.Error(out)
	}
	for i := range 7 {
		if _, err := k.d.parts.users.registry.Suspend(t.Context(), users.Suspension{User: fmt.Sprintf("u%d@example.org", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if out := check(1, "users"); out != "USERS WARNING - 7 suspended: u0@example.org, u1@example.org, u2@example.org, u3@example.org, u4@example.org and 2 more | suspended=7;0;;0" {
		t.Error(out)
	}
	check(2, "users", "-w", "1", "-c", "5")
	check(0, "users", "-w", "10")
	to := []mail.Recipient{{Path: mail.Path{Local: "x", Domain: "anywhere.example"}}}
	for range 4 {
		r, err := k.d.now.Load().helpers.Limits().Room(t.Context(), mail.Identity{User: "ana@example.org", Source: "auth"}, false, to, 1)
		if err != nil || r == nil {
			t.Fatal(err)
		}
		r.Commit()
	}
	k.hold("ana@example.org", "received", "a0", "limits.user")
	k.hold("bob@example.org", "received", "b0", "limits.user")
	if out := check(1, "limits", "-w", "1"); out != "LIMITS WARNING - 2 users near or over a limit, 1 over, 2 messages held by limits: ana@example.org | users=2;1;49;0 over=1;;;0 held=2;;;0" {
		t.Error(out)
	}
	check(2, "limits", "-c", "1")
	check(0, "limits")
	k.g.edit("\n[check.limits]\nmode = \"enforce\"\n", "\n[check.limits]\nmode = \"off\"\n")
	if _, err := k.d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(3, "limits")
}

// TestReleaseParked: what a limit or a suspension parked goes in one command,
// the oldest first, after a look; what something else holds too stays.
func TestReleaseParked(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "drip_rate = 0\n")
	k.hold("ana@example.org", "received", "a0", "limits.user")
	k.hold("ana@example.org", "received", "a1", "suspension.user")
	k.hold("bob@example.org", "received", "b0", "limits.user")
	k.hold("ana@example.org", "received", "virus", "suspension.user", "clamav.virus")
	k.hold("ana@example.org", "received", "rule", "rules.x")
	k.hold("ana@example.org", "received", "a2", "limits.domain")
	var dry struct {
		DryRun   bool         `json:"dry_run"`
		Messages []hold.Entry `json:"messages"`
	}
	if err := json.Unmarshal([]byte(k.g.must("hold", "release", "--user", "ana@example.org", "--parked", "--dry-run", "-o", "json")), &dry); err != nil || !dry.DryRun || len(dry.Messages) != 4 || dry.Messages[0].Subject != "a0" {
		t.Errorf("%+v %v", dry, err)
	}
	if k.left() != "" {
		t.Errorf("a dry run sends %q", k.left())
	}
	if code, _, text := k.g.command("hold", "release", "--user", "ana@example.org", "--parked"); code != exitUsage || !strings.Contains(text, "4 messages fit") {
		t.Errorf("%d %s", code, text)
	}
	if code, _, _ := k.g.command("hold", "release", "--parked", "--reason", "limits", "--yes"); code != exitUsage {
		t.Error("two reasons are taken")
	}
	code, out, _ := k.g.command("hold", "release", "--user", "ana@example.org", "--parked", "--rate", "60000", "--yes")
	if code != exitFailed || k.left() != "a0 a1 a2" || !strings.Contains(out, "another check holds it too") || !strings.Contains(out, "3 of 4 messages") {
		t.Errorf("%d %q\n%s", code, k.left(), out)
	}
	if out := k.g.must("hold", "delete", "--parked", "--user", "bob@example.org", "--yes"); !strings.Contains(out, "deleted") {
		t.Error(out)
	}
	if out := k.g.must("hold", "list", "--reason", "limits,rules", "-o", "json"); !strings.Contains(out, `"total":1`) && !strings.Contains(out, `"total": 1`) {
		t.Error(out)
	}
}

// TestLastBadSign: a suspension is a sign of bad mail, and garita rbl counts
// from it.
func TestLastBadSign(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "")
	p := k.d.parts
	if at, ok := p.lastBad(); ok {
		t.Errorf("before anything: %v", at)
	}
	s, err := p.users.registry.Suspend(t.Context(), users.Suspension{User: "ana@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := p.lastBad(); !ok || !at.Equal(s.Since) {
		t.Errorf("%v %v, want %v", at, ok, s.Since)
	}
	p.drip.tick(k.d, k.now()) // takes note of it
	await(t, "the note", func() bool { return !k.d.now.Load().helpers.Limits().LastBad().IsZero() })
	if _, _, err := p.users.registry.Resume(t.Context(), "ana@example.org", "test"); err != nil {
		t.Fatal(err)
	}
	if at, ok := p.lastBad(); !ok || !at.Equal(s.Since) {
		t.Errorf("after the end of it: %v %v", at, ok)
	}
}

// TestEmptyCriterion: a criterion that is given and empty is a variable that a
// script has not set. It must not pick everybody's mail, nor all bounces.
func TestEmptyCriterion(t *testing.T) {
	t.Parallel()
	k := newDripKit(t, fakehop.Config{}, "drip_rate = 0\n")
	k.hold("ana@example.org", "received", "a0", "limits.user")
	k.hold("bob@example.org", "received", "b0", "limits.user")
	for _, args := range [][]string{
		{"--user", ""}, {"--user", " "}, {"--user", "\t"}, {"--sender", " "}, {"--sender", "@"}, {"--recipient", ""}, {"--recipient", "@"}, {"--reason", ","}, {"--reason", ""},
		{"--user", "", "--reason", "limits"}, {"--since", "", "--user", "ana@example.org"}, {"--before", " ", "--reason", "limits"}, {"--user", "@example.org"}, {"--user", "@"},
	} {
		for _, verb := range []string{"delete", "release"} {
			if code, out, text := k.g.command(append([]string{"hold", verb, "--yes"}, args...)...); code == exitOK {
				t.Errorf("hold %s %q: %s %s", verb, args, out, text)
			}
		}
		if code, _, _ := k.g.command(append([]string{"hold", "list"}, args...)...); code == exitOK {
			t.Errorf("hold list %q", args)
		}
	}
	if n := len(k.held()); n != 2 || k.left() != "" {
		t.Fatalf("%d of 2 are held, %q left", n, k.left())
	}
	// A part of a name is another name.
	for _, user := range []string{"na@example.org", "an@example.org", "ana@example.or", "%", "ana%", "_na@example.org", "*"} {
		k.g.command("hold", "delete", "--yes", "--user", user)
	}
	if n := len(k.held()); n != 2 {
		t.Fatalf("%d of 2 are held", n)
	}
	k.g.must("hold", "delete", "--yes", "--user", " Ana+x@EXAMPLE.org ")
	if list := k.held(); len(list) != 1 || list[0].User != "bob@example.org" {
		t.Errorf("%+v", list)
	}
}
