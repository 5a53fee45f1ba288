package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"garita/admin"
	"garita/dnsbl"
	"garita/filters/all"
	"garita/resolver"
	"garita/store"
)

// rblKit is a socket with the verbs of rbl alone, and the commands for it.
type rblKit struct {
	t      *testing.T
	parts  atomic.Pointer[rblParts]
	dns    *resolver.Mock
	own    *dnsbl.Own
	socket string
}

func newRBLKit(t *testing.T, change func(c *dnsbl.OwnConfig)) *rblKit {
	t.Helper()
	k := &rblKit{t: t, dns: &resolver.Mock{}, socket: filepath.Join(shortDir(t), "s")}
	c := dnsbl.DefaultOwn()
	c.Lists = []string{"spamcop", "uceprotect-3"}
	change(&c)
	var err error
	k.own, err = dnsbl.NewOwn(dnsbl.OwnOptions{Config: c, Hostname: "mx.our.example", Resolver: k.dns, Store: store.NewMemory(),
		LastBad: func() (time.Time, bool) { return time.Now().Add(-90 * time.Minute), true }})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"2.0.0.127.bl.spamcop.net A 127.0.0.2", "2.0.0.127.dnsbl-3.uceprotect.net A 127.0.0.2", "5.113.0.203.bl.spamcop.net A 127.0.0.2",
		"5.113.0.203.bl.spamcop.net TXT look \x1b[2Jhere", "5.113.0.203.dnsbl-3.uceprotect.net A 127.0.0.2", "mx.our.example A 203.0.113.77"} {
		if err := k.dns.Add(line); err != nil {
			t.Fatal(err)
		}
	}
	k.parts.Store(&rblParts{own: k.own, mode: "score", lists: []all.ListStatus{{Name: "spamcop", Health: dnsbl.Suspended, Reason: dnsbl.Everything, Detail: "x \x1b[2J", Answers: map[string]uint64{"listed": 7}}}})
	server, err := admin.Listen(admin.Config{Path: k.socket, Audit: func(admin.Act) { t.Error("a look is an act") }, Verbs: rblVerbs(k.parts.Load)})
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve()
	t.Cleanup(func() { server.Close() })
	return k
}

func (k *rblKit) run(args ...string) (code int, out string) {
	k.t.Helper()
	var line struct {
		RBL rblCommands `cmd:"" name:"rbl"`
	}
	parser, err := kong.New(&line, kong.Name("garita"), kong.Vars{"config": "/nonexistent"})
	if err != nil {
		k.t.Fatal(err)
	}
	ctx, err := parser.Parse(append([]string{"rbl"}, append(args, "--socket", k.socket)...))
	if err != nil {
		return exitUsage, err.Error()
	}
	var o, e bytes.Buffer
	err = ctx.Run(&terminal{in: strings.NewReader(""), out: &o, err: &e})
	if err == nil {
		return exitOK, o.String()
	}
	var f *exitError
	if errors.As(err, &f) {
		return f.code, err.Error()
	}
	return exitFailed, err.Error()
}

func TestRBLCommands(t *testing.T) {
	k := newRBLKit(t, func(c *dnsbl.OwnConfig) { c.Addresses = []string{"203.0.113.5"} })
	code, out := k.run("--ip", "203.0.113.5", "--ip", "203.0.113.6")
	for _, want := range []string{"203.0.113.5  spamcop", "listed", "203.0.113.6  spamcop", "clean", "dnsbl.sorbs.net", "dead", "barracuda", "not asked", "https://www.spamcop.net/bl.shtml",
		"it lists whole networks", "The last sign of bad mail from here is 1.5 hours old (a user was suspended, or a check stopped what one sent). Stop that first", "look ?[2Jhere"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if code != exitOK || strings.Contains(out, "\x1b") {
		t.Errorf("%d\n%q", code, out)
	}
	if code, out = k.run("--last"); code != exitOK || strings.Contains(out, "spamcop  listed") {
		t.Errorf("%d\n%s", code, out)
	}
	if code, out = k.run(); code != exitOK || !strings.Contains(out, "listed") || strings.Contains(out, "guess") {
		t.Errorf("%d\n%s", code, out)
	}
	code, out = k.run("--last", "-o", "json")
	var report rblReport
	if err := json.Unmarshal([]byte(out), &report); code != exitOK || err != nil || len(report.Standings) == 0 || report.SinceBad == nil || report.Standings[0].Result != dnsbl.OwnListed {
		t.Errorf("%d %v\n%s", code, err, out)
	}
	for _, bad := range [][]string{{"--ip", "x"}, {"--domain", "a b"}, {"--ip", "fe80::1%eth0"}, {"nonsense"}} {
		if code, out := k.run(bad...); code != exitUsage {
			t.Errorf("%q: %d %s", bad, code, out)
		}
	}
	k.parts.Store(nil)
	if code, _ = k.run(); code != exitTemporary {
		t.Errorf("starting: %d", code)
	}
	k.parts.Store(&rblParts{mode: "off"})
	if code, out = k.run(); code != exitFailed || !strings.Contains(out, "dns.servers") {
		t.Errorf("no DNS: %d %s", code, out)
	}
}

func TestRBLGuess(t *testing.T) {
	k := newRBLKit(t, func(*dnsbl.OwnConfig) {})
	if code, out := k.run(); code != exitOK || !strings.Contains(out, "203.0.113.77") || !strings.Contains(out, "a guess") {
		t.Errorf("%d\n%s", code, out)
	}
}

func TestRBLLists(t *testing.T) {
	k := newRBLKit(t, func(*dnsbl.OwnConfig) {})
	code, out := k.run("lists")
	for _, want := range []string{"spamcop", "suspended", "lists everything", "barracuda (b.barracudacentral.org", "register   first", "ordb.org", "2006-12", "dnsbl.sorbs.net"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != exitOK || strings.Contains(out, "\x1b") {
		t.Errorf("%d", code)
	}
	code, out = k.run("lists", "-o", "json")
	var all rblLists
	if err := json.Unmarshal([]byte(out), &all); code != exitOK || err != nil || len(all.Asked) != 1 || len(all.Known) < 10 || len(all.Dead) < 20 || !all.Known[2].Asked {
		t.Errorf("%d %v\n%s", code, err, out)
	}
	k.parts.Store(&rblParts{mode: "off"})
	if code, out = k.run("lists"); code != exitOK || !strings.Contains(out, "check.dnsbl.mode is off") {
		t.Errorf("%d\n%s", code, out)
	}
}
