package dnsbl

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/resolver"
	"garita/test/harness"
)

// Who is listed, and who is not.
const (
	Spammer = "203.0.113.9"
	Good    = "198.51.100.20"
)

// What a list's file has, in the form of rbldnsd's ip4trie.
const (
	head    = "$SOA 1 ns.lists.test h.lists.test 1 600 300 86400 1\n$NS 1 ns.lists.test\n"
	Healthy = head + ":127.0.0.2:listed, see https://lists.test/$\n127.0.0.2\n" + Spammer + "\n"
	ORDB    = head + ":127.0.0.2:closed\n0.0.0.0/0\n"
	SpamCop = head + ":192.0.2.80:this domain is parked\n0.0.0.0/0\n"
	SORBS   = head
	Refused = head + ":127.255.255.254:error open resolver\n0.0.0.0/0\n"
)

// List is an rbldnsd with one zone.
type List struct {
	t       testing.TB
	Zone    string
	Addr    string
	file    string
	Process *harness.Process
}

// StartList runs an rbldnsd with that zone until the end of the test.
func StartList(t testing.TB, zone, text string) *List {
	t.Helper()
	harness.NeedRoot(t) // rbldnsd as root becomes its own user
	dir := harness.Dir(t)
	l := &List{t: t, Zone: zone, Addr: harness.Addr(t), file: filepath.Join(dir, "zone")}
	l.write(text)
	host, port, err := net.SplitHostPort(l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	l.Process = harness.Start(t, harness.Need(t, "rbldnsd", "rbldnsd"), "-n", "-b", host+"/"+port, "-t", "1", "-c", "0", "-w", dir, zone+":ip4trie:zone")
	t.Cleanup(func() { l.Process.Signal(syscall.SIGCONT) })
	harness.Eventually(t, "rbldnsd is up", func() bool { return strings.Contains(l.Process.Output(), "started") })
	return l
}

func (l *List) write(text string) {
	l.t.Helper()
	next := l.file + ".next"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(next, l.file); err != nil {
		l.t.Fatal(err)
	}
}

// Becomes makes the list another one, while it runs.
func (l *List) Becomes(text string) {
	l.t.Helper()
	loads := func() int { return strings.Count(l.Process.Output(), "zones reloaded") }
	before := loads()
	// rbldnsd reads again what has another time or size.
	l.write(text + "# " + strings.Repeat("x", before) + "\n")
	l.Process.Signal(syscall.SIGHUP)
	harness.Eventually(l.t, "rbldnsd has read its zone again", func() bool { return loads() > before })
}

// StartUnbound runs a resolver that asks these lists for their zones, caches
// nothing for long and knows no other name.
func StartUnbound(t testing.TB, lists ...*List) string {
	t.Helper()
	addr, dir := harness.Addr(t), harness.Dir(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  interface: %s@%s
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: ""
  chroot: ""
  directory: %q
  pidfile: %q
  module-config: "iterator"
  num-threads: 1
  do-not-query-localhost: no
  do-ip6: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  infra-host-ttl: 1
  infra-keep-probing: yes
  access-control: 127.0.0.0/8 allow
  local-zone: "." static
  local-zone: "lists.test." transparent
`, host, port, dir, filepath.Join(dir, "pid"))
	for _, l := range lists {
		h, p, _ := net.SplitHostPort(l.Addr)
		fmt.Fprintf(&b, "stub-zone:\n  name: %q\n  stub-addr: %s@%s\n  stub-no-cache: yes\n", l.Zone, h, p)
	}
	b.WriteString("remote-control:\n  control-enable: no\n")
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.Start(t, harness.Need(t, "unbound", "unbound"), "-d", "-p", "-c", file).WaitPort(t, addr)
	return addr
}

// NewResolver is ours, with short times.
func NewResolver(t testing.TB, server string) *resolver.DNS {
	t.Helper()
	c := resolver.Default()
	c.Servers, c.Timeout, c.Budget, c.Attempts = []string{server}, time.Second, 2*time.Second, 2
	c.MinTTL, c.MaxTTL, c.NegativeTTL, c.FailureTTL = 0, time.Second, 0, time.Second
	d, err := resolver.New(resolver.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	harness.Eventually(t, "unbound answers", func() bool {
		d.Flush()
		a, err := d.A(t.Context(), "2.0.0.127.well.lists.test")
		return err == nil && len(a) == 1 && a[0] == netip.MustParseAddr("127.0.0.2")
	})
	return d
}
