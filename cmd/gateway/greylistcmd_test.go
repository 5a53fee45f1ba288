package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"garita/admin"
	"garita/greylist"
	"garita/store"
)

// greylistKit is a socket with the verbs of the greylist alone.
type greylistKit struct {
	t      *testing.T
	table  *greylist.Table
	socket string
	get    func() *greylist.Admin
}

func newGreylistKit(t *testing.T) *greylistKit {
	t.Helper()
	dir := shortDir(t)
	m, err := store.Open(store.Config{Path: filepath.Join(dir, "hot.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	k := &greylistKit{t: t, socket: filepath.Join(dir, "s"), get: func() *greylist.Admin { return &greylist.Admin{Store: m} }}
	if k.table, err = greylist.New(greylist.Options{Store: m}); err != nil {
		t.Fatal(err)
	}
	server, err := admin.Listen(admin.Config{Path: k.socket, Audit: func(admin.Act) {}, Verbs: greylistVerbs(func() *greylist.Admin { return k.get() })})
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve()
	t.Cleanup(func() { server.Close() })
	return k
}

func (k *greylistKit) come(client, from, to string) bool {
	a, err := k.table.Check(context.Background(), &greylist.Request{Client: netip.MustParseAddr(client), Sender: from, Recipient: to})
	if err != nil {
		k.t.Fatal(err)
	}
	return !a.Delay
}

func (k *greylistKit) run(args ...string) (code int, out, errs string) {
	k.t.Helper()
	var line struct {
		Greylist greylistCommands `cmd:""`
	}
	parser, err := kong.New(&line, kong.Name("garita"), kong.Vars{"config": "/nonexistent"})
	if err != nil {
		k.t.Fatal(err)
	}
	ctx, err := parser.Parse(append([]string{"greylist"}, append(args, "--socket", k.socket)...))
	if err != nil {
		return exitUsage, "", err.Error()
	}
	var o, e bytes.Buffer
	t := terminal{in: strings.NewReader(""), out: &o, err: &e}
	return t.report(ctx.Run(&t)), o.String(), e.String()
}

func TestGreylistCommands(t *testing.T) {
	k := newGreylistKit(t)
	if code, out, _ := k.run("list"); code != 0 || out != "the greylist knows nobody that fits\n" {
		t.Errorf("%d %q", code, out)
	}
	k.come("192.0.2.1", "a\x1b[2J@x.example", "b@our.example")
	k.come("198.51.100.1", "", "c@our.example")
	for n := range 25 {
		k.come("2001:db8::1", fmt.Sprintf("u%cx@\xff.example", 'a'+n), "d@our.example")
	}
	code, out, _ := k.run("list")
	if code != 0 || strings.Count(out, "\n") != 28 || strings.Contains(out, "\x1b") || !utf8.ValidString(out) || !strings.Contains(out, `a\x1b[2j@x.example`) || !strings.Contains(out, "waits") || !strings.Contains(out, "<>") {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ := k.run("list", "--limit", "3"); code != 0 || !strings.Contains(out, "and more") || strings.Count(out, "\n") != 5 {
		t.Errorf("%d %q", code, out)
	}
	var page greylistPage
	if code, out, _ := k.run("list", "-o", "json", "--client", "192.0.2.77"); code != 0 || json.Unmarshal([]byte(out), &page) != nil || len(page.Entries) != 1 || page.Entries[0].Recipient != "b@our.example" {
		t.Errorf("%d %q", code, out)
	}
	// By its key, as it was shown.
	if code, out, errs := k.run("forget", page.Entries[0].Key); code != 0 || out != "1 entries forgotten\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	// By a filter: shown first, asked back, done.
	if code, out, _ := k.run("forget", "--recipient", "d@our.example", "--dry-run"); code != 0 || !strings.Contains(out, "25 entries; nothing was done") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := k.run("forget", "--recipient", "d@our.example"); code != exitUsage || !strings.Contains(errs, "25 entries fit; --yes") {
		t.Errorf("%d %q", code, errs)
	}
	if code, out, _ := k.run("forget", "--recipient", "d@our.example", "--yes", "-o", "json"); code != 0 || !strings.Contains(out, `"forgotten": 25`) {
		t.Errorf("%d %q", code, out)
	}
	if _, out, _ := k.run("list"); strings.Count(out, "\n") != 2 {
		t.Errorf("%q", out)
	}
	// Who passes.
	if code, out, errs := k.run("pass", "203.0.113.9", "--for", "2h"); code != 0 || !strings.HasPrefix(out, "203.0.113.0 passes without a delay until 2") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if !k.come("203.0.113.200", "n@x.example", "b@our.example") {
		t.Error("it does not pass")
	}
	if code, out, _ := k.run("pass", "@x.example", "-o", "json"); code != 0 || !strings.Contains(out, `"client": "@x.example"`) {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ := k.run("forget", "--kind", "pass", "--yes"); code != 0 || out != "2 entries forgotten\n" || k.come("203.0.113.200", "n@x.example", "b@our.example") {
		t.Errorf("%d %q", code, out)
	}
}

func TestGreylistMistakes(t *testing.T) {
	k := newGreylistKit(t)
	for _, args := range [][]string{
		{"pass", "nobody"}, {"pass", "192.0.2.1", "--for", "-1h"}, {"forget"}, {"forget", "x"}, {"forget", "greylist/clock"}, {"forget", "k", "--kind", "pass"}, {"list", "--limit", "-1"}, {"list", "--kind", "x"},
	} {
		if code, out, _ := k.run(args...); code != exitUsage || out != "" {
			t.Errorf("%q: %d %q", args, code, out)
		}
	}
	k.get = func() *greylist.Admin { return nil }
	if code, _, errs := k.run("list"); code != exitTemporary || !strings.Contains(errs, "starting") {
		t.Errorf("%d %q", code, errs)
	}
}

// askPolicy asks a policy server one question.
func askPolicy(network, addr, question string) (string, error) {
	c, err := net.Dial(network, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * patience))
	if _, err := io.WriteString(c, question); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

// TestPolicyServer: off by default; turned on, moved and turned off by a
// reload; it asks the checks that are named; and the table survives kill -9.
func TestPolicyServer(t *testing.T) {
	g := start(t, initialise(t, "127.0.0.1:9"))
	socket := g.file("policy.sock")
	question := "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.1\nclient_name=unknown\nsender=a@x.example\nrecipient=b@example.org\n\n"
	reload := func(old, now string) {
		t.Helper()
		g.edit(old, now)
		if code, out, text := g.command("reload"); code != 0 {
			t.Fatalf("%d %s %s", code, out, text)
		}
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("it is on by default")
	}
	on := "[policyd]\nenabled = true\nlisten = [\"" + socket + "\"]\n"
	reload("[policyd]\n", on)
	if got, err := askPolicy("unix", socket, question); err != nil || got != "action=450 4.2.0 Greylisted, try again in 300 seconds\n" {
		t.Errorf("%q %v", got, err)
	}
	var st status
	if code, out, _ := g.command("status", "-o", "json"); code != 0 || json.Unmarshal([]byte(out), &st) != nil || st.Policy == nil || st.Policy.Requests != 1 || st.Policy.Deferred != 1 {
		t.Errorf("%d %+v", code, st.Policy)
	}
	// Other checks, another socket.
	second := g.file("second.sock")
	g.edit("[check.access]\n", "[check.access]\nclients = [\"192.0.2.1 reject Not from here\"]\n")
	reload(on, "[policyd]\nenabled = true\nlisten = [\""+second+"\"]\nchecks = [\"access\"]\n")
	if got, err := askPolicy("unix", second, question); err != nil || !strings.HasPrefix(got, "action=554 5.7.1 Not from here") {
		t.Errorf("%q %v", got, err)
	}
	if _, err := askPolicy("unix", socket, question); err == nil {
		t.Error("the old socket is there")
	}
	// A mistake changes nothing.
	g.edit(`checks = ["access"]`, `checks = ["nonesuch"]`)
	if code, _, text := g.command("reload"); code != exitConfig || !strings.Contains(text, "policyd.checks") {
		t.Errorf("%d %q", code, text)
	}
	reload(`checks = ["nonesuch"]`, `checks = ["greylist"]`)
	if got, err := askPolicy("unix", second, question); err != nil || !strings.HasPrefix(got, "action=450 4.2.0 ") {
		t.Errorf("%q %v", got, err)
	}
	if code, out, text := g.command("greylist", "pass", "192.0.2.1"); code != 0 {
		t.Fatalf("%d %s %s", code, out, text)
	}
	g.cmd.Process.Kill()
	<-g.ended
	g = start(t, g.dir)
	if got, err := askPolicy("unix", second, question); err != nil || got != "action=DUNNO\n" {
		t.Errorf("after a kill: %q %v", got, err)
	}
	reload("[policyd]\nenabled = true", "[policyd]\nenabled = false")
	if _, err := askPolicy("unix", second, question); err == nil {
		t.Error("it is not off")
	}
}
