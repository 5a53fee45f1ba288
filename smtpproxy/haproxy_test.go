package smtpproxy

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"garita/mail"
)

// A real haproxy in front: both versions, a checksum, and its health checks,
// which speak for themselves.
func TestBehindRealHaproxy(t *testing.T) {
	var clients []netip.AddrPort
	k := newKit(t, "inbound", func(s *Settings, l *Listener) {
		l.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		s.Conduct = &countingConduct{refuse: map[string]Act{"127.0.0.1": ActConnection}, after: 3} // health checks do not count
	})
	checks := make(chan struct{}, 1000)
	k.policy.connect = func(s *mail.Session) mail.Decision {
		if s.Client == s.Peer {
			select {
			case checks <- struct{}{}:
			default:
			}
			return mail.Decision{}
		}
		k.policy.mu.Lock()
		clients = append(clients, s.Client)
		k.policy.mu.Unlock()
		return mail.Decision{}
	}
	options := []string{"send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c check check-send-proxy inter 50ms fall 1 rise 1"}
	config := "global\n maxconn 100\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n timeout check 5s\n"
	cmd := exec.Command("haproxy", "-db", "-f", filepath.Join(t.TempDir(), "haproxy.cfg"))
	var fronts []string
	for i, o := range options {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l.Close() // haproxy has the socket
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		fronts = append(fronts, l.Addr().String())
		config += fmt.Sprintf("listen l%d\n bind fd@%d\n server s %s %s\n", i, 3+i, k.addr, o)
		if strings.Contains(o, "check ") {
			config += " option smtpchk EHLO check.example\n"
		}
	}
	if err := os.WriteFile(cmd.Args[3], []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (apt-get install haproxy)", err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	for range 6 {
		<-checks
	}
	for i, front := range fronts {
		c := (&kit{t: t, addr: front}).hello()
		c.envelope()
		c.do("354", "DATA")
		c.do("250", "Subject: x\r\n\r\nx\r\n.")
		k.policy.mu.Lock()
		if want := c.LocalAddr().String(); len(clients) != i+1 || clients[i].String() != want {
			t.Errorf("%s: clients %v, want %s", options[i], clients, want)
		}
		k.policy.mu.Unlock()
		c.do("221", "QUIT")
	}
	if n := k.srv.Stats().TurnedAway; n != 0 {
		t.Errorf("%d were turned away", n)
	}
}
