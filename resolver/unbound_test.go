package resolver

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// freeForBoth finds a port that neither UDP nor TCP uses, below those that the
// kernel gives to connections by itself, which another test may have by then.
func freeForBoth(t *testing.T) *net.UDPAddr {
	t.Helper()
	for range 200 {
		port := 10_000 + rand.IntN(20_000)
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", u.LocalAddr().String())
		_ = u.Close()
		if err != nil {
			continue
		}
		_ = l.Close()
		return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	}
	t.Fatal("no free port")
	return nil
}

// TestUnbound asks a real resolver (Debian: unbound) for names of its own.
func TestUnbound(t *testing.T) {
	bin := "/usr/sbin/unbound"
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("unbound is needed (test/install-deps.sh): %v", err)
	}
	addr := freeForBoth(t)
	dir := t.TempDir()
	var long strings.Builder
	for i := range 60 {
		fmt.Fprintf(&long, "  local-data: \"many.garita.test. 300 IN A 192.0.2.%d\"\n  local-data: 'many.garita.test. 300 IN TXT \"%s%d\"'\n", i+1, strings.Repeat("t", 90), i)
	}
	conf := fmt.Sprintf(`server:
  interface: 127.0.0.1@%d
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: ""
  chroot: ""
  directory: %q
  pidfile: %q
  module-config: "iterator"
  num-threads: 1
  access-control: 127.0.0.0/8 allow
  local-zone: "garita.test." static
  local-data: "garita.test. 300 IN SOA ns.garita.test. h.garita.test. 1 3600 600 86400 90"
  local-data: "mail.garita.test. 300 IN A 192.0.2.1"
  local-data: "mail.garita.test. 300 IN AAAA 2001:db8::1"
  local-data: "garita.test. 300 IN MX 10 mail.garita.test."
  local-data: "null.garita.test. 300 IN MX 0 ."
  local-data-ptr: "192.0.2.1 300 mail.garita.test"
  local-zone: "refused.test." refuse
%sremote-control:
  control-enable: no
`, addr.Port, dir, filepath.Join(dir, "pid"), long.String())
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(bin, "-d", "-p", "-c", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(out.String())
		}
	})
	// Not by the resolver under test: its breaker would open while the server
	// starts, and the root, which would close it, cannot be asked here.
	for up := time.Now().Add(60 * time.Second); ; {
		q := new(dns.Msg).SetQuestion("mail.garita.test.", dns.TypeA)
		if _, err := dns.Exchange(q, addr.String()); err == nil {
			break
		} else if time.Now().After(up) {
			t.Fatal(err)
		}
		select {
		case <-ended:
			t.Fatalf("unbound has ended:\n%s", out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	d := start(t, nil, addr.String())
	ctx := t.Context()
	if a, err := d.Addresses(ctx, "Mail.Garita.Test."); err != nil || len(a) != 2 {
		t.Errorf("%v, %v", a, err)
	}
	if m, err := d.MX(ctx, "garita.test"); err != nil || !slices.Equal(m, []MX{{10, "mail.garita.test"}}) {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := d.MX(ctx, "null.garita.test"); err != nil || !slices.Equal(m, []MX{{0, "."}}) {
		t.Errorf("%v, %v", m, err)
	}
	if s, err := d.TXT(ctx, "many.garita.test"); err != nil || len(s) != 60 || d.Stats().TCP == 0 {
		t.Errorf("%d texts, %v, %+v", len(s), err, d.Stats())
	}
	if n, c, err := d.HostName(ctx, netip.MustParseAddr("192.0.2.1")); n != "mail.garita.test" || !c || err != nil {
		t.Errorf("%q, %v, %v", n, c, err)
	}
	if _, err := d.A(ctx, "none.garita.test"); !errors.Is(err, ErrNoName) {
		t.Error(err)
	}
	if _, err := d.MX(ctx, "mail.garita.test"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoName) {
		t.Error(err)
	}
	if _, err := d.A(ctx, "x.refused.test"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}
