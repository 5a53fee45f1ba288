package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"garita/admin"
	"garita/conduct"
	"garita/smtpproxy"
	"garita/store"
)

// banKit is a socket with the verbs of bans alone, and the commands for it.
type banKit struct {
	t      *testing.T
	c      atomic.Pointer[conduct.Conduct]
	store  *store.Memory
	socket string
	acts   atomic.Int32
	ready  atomic.Bool
}

func newBanKit(t *testing.T, mode string) *banKit {
	t.Helper()
	dir := shortDir(t)
	m, err := store.Open(store.Config{Path: filepath.Join(dir, "hot.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	config := conduct.Default()
	config.Mode = mode
	config.Exempt = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	c, err := conduct.New(conduct.Options{Config: config, Store: m})
	if err != nil {
		t.Fatal(err)
	}
	k := &banKit{t: t, store: m, socket: filepath.Join(dir, "s")}
	k.c.Store(c)
	k.ready.Store(true)
	server, err := admin.Listen(admin.Config{Path: k.socket, Audit: func(admin.Act) { k.acts.Add(1) }, Verbs: banVerbs(func() *conduct.Conduct {
		if !k.ready.Load() {
			return nil
		}
		return k.c.Load()
	})})
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve()
	t.Cleanup(func() { server.Close() })
	return k
}

// run runs one command as the command line would.
func (k *banKit) run(args ...string) (code int, out, errs string) {
	k.t.Helper()
	var line struct {
		Ban banCommands `cmd:""`
	}
	parser, err := kong.New(&line, kong.Name("garita"), kong.Vars{"config": "/nonexistent"})
	if err != nil {
		k.t.Fatal(err)
	}
	ctx, err := parser.Parse(append([]string{"ban"}, append(args, "--socket", k.socket)...))
	if err != nil {
		return exitUsage, "", err.Error()
	}
	var o, e bytes.Buffer
	t := terminal{in: strings.NewReader(""), out: &o, err: &e}
	return t.report(ctx.Run(&t)), o.String(), e.String()
}

func TestBanCommands(t *testing.T) {
	k := newBanKit(t, "enforce")
	if code, out, _ := k.run("list"); code != 0 || out != "nobody is banned\n" {
		t.Errorf("%d %q", code, out)
	}
	code, out, errs := k.run("add", "192.0.2.7", "--for", "2h", "--reason", "spam \x1b[2J\n203.0.113.1/32 forged")
	if code != 0 || !strings.HasPrefix(out, "192.0.2.7/32 is banned until 2") {
		t.Fatalf("%d %q %q", code, out, errs)
	}
	if !k.c.Load().Note(netip.MustParseAddr("192.0.2.7"), smtpproxy.ActConnection).Refuse {
		t.Error("the ban does not hold")
	}
	if code, out, _ := k.run("add", "2001:db8::9", "--for", "0s"); code != 0 || out != "2001:db8::/64 is banned until lifted\n" {
		t.Errorf("%d %q", code, out)
	}
	code, out, _ = k.run("list")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || strings.Contains(out, "\x1b") || !strings.Contains(lines[1], `spam \x1b[2J\n203.0.113.1/32 forged`) ||
		!strings.HasPrefix(lines[2], "2001:db8::/64  lifted") {
		t.Errorf("%d %q", code, out)
	}
	code, out, _ = k.run("list", "-o", "json")
	var list banList
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Bans) != 2 || list.Mode != "enforce" || list.Bans[0].By != "operator" {
		t.Errorf("%v %q", err, out)
	}
	if left := time.Until(list.Bans[0].Until); left < time.Hour || left > 2*time.Hour {
		t.Errorf("%v are left of 2h", left)
	}
	if code, out, _ := k.run("check", "192.0.2.7"); code != 0 || !strings.Contains(out, "banned until 2") || !strings.Contains(out, "messages") {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ := k.run("check", "203.0.113.1"); code != 0 || !strings.Contains(out, "exempt") {
		t.Errorf("%d %q", code, out)
	}
	var s conduct.Standing
	if code, out, _ := k.run("check", "2001:db8::1", "-o", "json"); code != 0 || json.Unmarshal([]byte(out), &s) != nil || s.Ban == nil || len(s.Rates) != 7 {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ := k.run("remove", "192.0.2.7"); code != 0 || out != "192.0.2.7/32 is no longer banned\n" {
		t.Errorf("%d %q", code, out)
	}
	if k.c.Load().Note(netip.MustParseAddr("192.0.2.7"), smtpproxy.ActConnection).Refuse {
		t.Error("still banned")
	}
	if k.acts.Load() != 3 {
		t.Errorf("%d acts were audited, want those of add, add, remove", k.acts.Load())
	}
}

func TestBanCommandsRefuse(t *testing.T) {
	k := newBanKit(t, "enforce")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"add nonsense", exitUsage, "not an address"},
		{"add fe80::1%eth0", exitUsage, "not an address"},
		{"add 0.0.0.0/0", exitUsage, "mistake"},
		{"add 127.0.0.1", exitUsage, "this machine"},
		{"add 203.0.113.9", exitUsage, "exempt"},
		{"add 192.0.2.1 --for -1h", exitUsage, ""},
		{"add 192.0.2.1 --for soon", exitUsage, ""},
		{"add 192.0.2.1 --for 200000h", exitUsage, "length"},
		{"add 192.0.2.1 --reason " + strings.Repeat("x", 300), exitUsage, "200 octets"},
		{"remove 192.0.2.1", exitFailed, "is not banned"},
		{"remove nonsense", exitUsage, "not an address"},
		{"check nonsense", exitUsage, "not an IP address"},
		{"check 192.0.2.0/24", exitUsage, "not an IP address"},
	} {
		code, out, errs := k.run(strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(errs, tc.says) || out != "" {
			t.Errorf("%.60s: %d %q %q", tc.args, code, out, errs)
		}
	}
	if n := len(k.c.Load().List()); n != 0 {
		t.Errorf("%d bans were made", n)
	}
	// What another program may send.
	for _, raw := range []string{`[]`, `{"prefix":7}`, `{"prefix":"192.0.2.1","for_seconds":1e300}`, `{"prefix":"192.0.2.1","for_seconds":-1}`} {
		var e *admin.Error
		if err := admin.Call(t.Context(), k.socket, "ban add", json.RawMessage(raw), nil); !errors.As(err, &e) || e.Code != admin.CodeUsage {
			t.Errorf("%s: %v", raw, err)
		}
	}
	k.ready.Store(false)
	if code, _, errs := k.run("list"); code != exitTemporary || !strings.Contains(errs, "starting") {
		t.Errorf("%d %q", code, errs)
	}
	k.socket += "-gone"
	if code, _, _ := k.run("list"); code != exitUnreachable {
		t.Errorf("nobody there: %d", code)
	}
}

// More bans than one answer holds come in pages.
func TestBanListPages(t *testing.T) {
	k := newBanKit(t, "observe")
	long := strings.Repeat("\x01", 200) // the most JSON that a reason can be
	for i := range 2*banPage + 3 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 32)
		raw, err := json.Marshal(conduct.Ban{Prefix: p, Reason: long, By: "operator", Since: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.store.Keep(context.Background(), "ban/"+p.String(), raw, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	c, err := conduct.New(conduct.Options{Config: conduct.Default(), Store: k.store})
	if err != nil {
		t.Fatal(err)
	}
	k.c.Store(c)
	code, out, errs := k.run("list", "-o", "json")
	var list banList
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Bans) != 2*banPage+3 {
		t.Fatalf("%d %v %d bans, %q", code, err, len(list.Bans), errs)
	}
	for i := 1; i < len(list.Bans); i++ {
		if list.Bans[i-1].Prefix.Compare(list.Bans[i].Prefix) >= 0 {
			t.Fatalf("out of order at %d", i)
		}
	}
}

// Bans do nothing in mode observe, and the commands say so.
func TestBanCommandsObserve(t *testing.T) {
	k := newBanKit(t, "observe")
	for _, args := range []string{"add 192.0.2.1", "list", "check 192.0.2.1"} {
		if code, out, _ := k.run(strings.Fields(args)...); code != 0 || !strings.Contains(out, "refuse nobody while conduct.mode is observe") {
			t.Errorf("%s: %d %q", args, code, out)
		}
	}
}

// A disk that does not take the change: the operator hears that it holds and
// may not last. Without a store there is no ban.
func TestBanNotWritten(t *testing.T) {
	k := newBanKit(t, "enforce")
	c, err := conduct.New(conduct.Options{Config: conduct.Default(), Store: unwritten{store.NewMemory()}})
	if err != nil {
		t.Fatal(err)
	}
	k.c.Store(c)
	for _, verb := range []string{"add", "remove"} {
		if code, _, errs := k.run(verb, "192.0.2.1"); code != exitTemporary || !strings.Contains(errs, "it holds, but could not be written") {
			t.Errorf("%s: %d %q", verb, code, errs)
		}
	}
	k = newBanKit(t, "enforce")
	k.store.Close()
	if code, _, errs := k.run("add", "192.0.2.1"); code != exitFailed || !strings.Contains(errs, "closed") {
		t.Errorf("%d %q", code, errs)
	}
}

// unwritten is a store whose disk does not take anything.
type unwritten struct{ *store.Memory }

func (unwritten) PutNow(context.Context, string, []byte, time.Duration) error {
	return errors.New("no space left on device")
}
func (unwritten) DeleteNow(context.Context, string) error {
	return errors.New("no space left on device")
}
