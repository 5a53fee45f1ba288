package tls

import (
	stdtls "crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a time that tests move, safe for the goroutines of handshakes.
type clock struct{ ns atomic.Int64 }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.ns.Store(t.UnixNano())
	return c
}

func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

// talk sends an octet through a session and wants it back.
func talk(t *testing.T, c *stdtls.Conn) {
	t.Helper()
	if _, err := c.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// shown gives the serial number of the certificate that a new session sees.
func shown(t *testing.T, addr, name string) string {
	t.Helper()
	c, err := dial(addr, &stdtls.Config{ServerName: name})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// Files are replaced, well and badly, while 100 sessions run: they go on, new
// ones get the last good certificate, and what is wrong is said once by Poll
// and always by Fault (S-44).
func TestReloadWhileSessionsRun(t *testing.T) {
	c := newClock(time.Now())
	dir := t.TempDir()
	cfg := writePair(t, dir, "mx.example.com", c.now())
	s, err := load(cfg, "mx.example.com", "", c.now)
	if err != nil {
		t.Fatal(err)
	}
	addr := echo(t, s.ServerConfig("mx"))
	var running []*stdtls.Conn
	for range 100 {
		conn, err := dial(addr, &stdtls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		running = append(running, conn)
	}
	serial := shown(t, addr, "mx.example.com")
	other := writePair(t, t.TempDir(), "mx.example.com", c.now())
	for i, step := range []struct {
		name  string
		do    func()
		fault string // empty: a new certificate is in use
		then  string // what becomes of the old one
	}{
		{"renewed", func() { writePair(t, dir, "mx.example.com", c.now().Add(time.Minute)) }, "", ""},
		{"half-written", func() {
			b := get(t, cfg.CertificateFile)
			put(t, cfg.CertificateFile, b[:len(b)/2], 0o644)
		}, "no whole certificate", "stays"},
		{"mismatch", func() { put(t, cfg.CertificateFile, get(t, other.CertificateFile), 0o644) }, "does not match", "stays"},
		{"mended", func() { put(t, cfg.KeyFile, get(t, other.KeyFile), 0o600) }, "", ""},
		{"removed", func() { os.Remove(cfg.KeyFile) }, "no such file", "stays"},
		{"readable key", func() { put(t, cfg.KeyFile, get(t, other.KeyFile), 0o644) }, "chmod 0600", "used all the same"},
		{"renewed again", func() { writePair(t, dir, "mx.example.com", c.now()) }, "", ""},
	} {
		step.do()
		changed, err := s.Poll()
		if step.fault == "" {
			if err != nil || s.Fault() != nil {
				t.Errorf("%s: %v, %v", step.name, err, s.Fault())
			}
			now := shown(t, addr, "mx.example.com")
			if !changed || now == serial {
				t.Errorf("%s: the old certificate is still shown (changed %v)", step.name, changed)
			}
			serial = now
		} else {
			if err == nil || !strings.Contains(err.Error(), step.fault) || !strings.Contains(err.Error(), step.then) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", step.name, err)
			}
			if _, again := s.Poll(); again != nil || s.Fault() == nil {
				t.Errorf("%s: told twice: %v, fault %v", step.name, again, s.Fault())
			}
			if changed || shown(t, addr, "mx.example.com") != serial {
				t.Errorf("%s: the certificate was changed", step.name)
			}
			if !strings.Contains(strings.Join(s.Warnings(), "|"), step.fault) {
				t.Errorf("%s: no warning: %q", step.name, s.Warnings())
			}
		}
		for _, conn := range running[i*10:] {
			talk(t, conn)
		}
	}
	for _, conn := range running {
		talk(t, conn)
	}
	if changed, err := s.Poll(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
}

// A certificate ends while the gateway runs: sessions go on and new ones
// begin; the operator is told at each step, once (S-45).
func TestExpiresWhileRunning(t *testing.T) {
	c := newClock(time.Now())
	cfg := writePair(t, t.TempDir(), "mx.example.com", c.now())
	s, err := load(cfg, "mx.example.com", "", c.now)
	if err != nil {
		t.Fatal(err)
	}
	addr := echo(t, s.ServerConfig("mx"))
	conn, err := dial(addr, &stdtls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var r Reminder
	var told []string
	tell := func() {
		for range 3 { // each minute the same
			for _, e := range r.Due(s.Expiring(c.now())) {
				told = append(told, fmt.Sprint(int(e.Within/day)))
			}
		}
	}
	left := validity
	for _, days := range []int{40, 30, 20, 14, 10, 7, 3, 1, 0, -1} {
		c.add(left - time.Duration(days)*day)
		left = time.Duration(days) * day
		tell()
	}
	if got := strings.Join(told, " "); got != "30 14 7 1 0" {
		t.Errorf("told %q", got)
	}
	if w := strings.Join(s.Warnings(), "|"); !strings.Contains(w, "has expired") || !strings.Contains(w, "default") {
		t.Errorf("warnings %q", w)
	}
	talk(t, conn)
	if _, err := s.Poll(); err != nil {
		t.Error(err)
	}
	shown(t, addr, "mx.example.com")
}

// What is sound and would serve worse is not taken: an expired certificate, or
// one of tomorrow.
func TestExpiredNewPairIsNotTaken(t *testing.T) {
	c := newClock(time.Now())
	dir := t.TempDir()
	cfg := writePair(t, dir, "mx.example.com", c.now())
	s, err := load(cfg, "mx.example.com", "", c.now)
	if err != nil {
		t.Fatal(err)
	}
	old := s.fallback()
	writePair(t, dir, "mx.example.com", c.now().Add(-validity-day))
	if changed, err := s.Poll(); changed || err == nil || !strings.Contains(err.Error(), "expired already") {
		t.Errorf("%v, %v", changed, err)
	}
	if err := s.Reload(); err == nil || s.fallback() != old {
		t.Errorf("Reload took it: %v", err)
	}
	writePair(t, dir, "mx.example.com", c.now().Add(2*day))
	if changed, err := s.Poll(); changed || err == nil || !strings.Contains(err.Error(), "not valid before") {
		t.Errorf("%v, %v", changed, err)
	}
	c.add(2 * day)
	if changed, err := s.Poll(); !changed || err != nil || s.Fault() != nil {
		t.Errorf("its day has come: %v, %v, %v", changed, err, s.Fault())
	}
	// At a start it is all that there is.
	writePair(t, dir, "mx.example.com", c.now().Add(-validity-day))
	if _, err := load(cfg, "mx.example.com", "", c.now); err != nil {
		t.Error(err)
	}
}

// One broken pair keeps no other from being renewed.
func TestPairsAreIndependent(t *testing.T) {
	c := newClock(time.Now())
	a, b := t.TempDir(), t.TempDir()
	cfg := writePair(t, a, "a.example.com", c.now())
	more := writePair(t, b, "b.example.com", c.now())
	cfg.Certificate = map[string]CertificateConfig{"b": {more.CertificateFile, more.KeyFile}}
	s, err := load(cfg, "a.example.com", "", c.now)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Certificates()
	put(t, cfg.CertificateFile, []byte("garbage"), 0o644)
	writePair(t, b, "b.example.com", c.now().Add(day/2))
	c.add(day)
	if changed, err := s.Poll(); !changed || err == nil || strings.Contains(err.Error(), b) {
		t.Errorf("%v, %v", changed, err)
	}
	if put(t, more.KeyFile, []byte("garbage"), 0o600); s.Reload() == nil {
		t.Error("two broken pairs, no error")
	}
	if text := s.Fault().Error(); strings.Contains(text, "\n") || !strings.Contains(text, cfg.CertificateFile) || !strings.Contains(text, more.KeyFile) {
		t.Errorf("the fault of two: %q", text)
	}
	after := s.Certificates()
	if !after[0].NotAfter.Equal(before[0].NotAfter) || !after[1].NotAfter.After(before[1].NotAfter) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if err := Check(cfg); err == nil || !strings.Contains(err.Error(), cfg.CertificateFile) {
		t.Errorf("Check: %v", err)
	}
}

// Files that change behind links, as certbot's do, and with an old time stamp.
func TestPollSeesLinksAndOldTimes(t *testing.T) {
	c := newClock(time.Now())
	root := t.TempDir()
	stamp := time.Now().Add(-48 * time.Hour)
	for _, n := range []string{"1", "2"} {
		dir := filepath.Join(root, n)
		os.Mkdir(dir, 0o755)
		p := writePair(t, dir, "mx.example.com", c.now())
		os.Chtimes(p.CertificateFile, stamp, stamp)
		os.Chtimes(p.KeyFile, stamp, stamp)
	}
	live := filepath.Join(root, "live")
	os.Symlink("1", live)
	cfg := Default()
	cfg.CertificateFile, cfg.KeyFile = filepath.Join(live, "cert.pem"), filepath.Join(live, "key.pem")
	s, err := load(cfg, "mx.example.com", "", c.now)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(live)
	os.Symlink("2", live)
	if changed, err := s.Poll(); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
}

// The self-signed certificate renews itself in Poll.
func TestPollRenewsSelfSigned(t *testing.T) {
	c := newClock(time.Now())
	s, err := load(Default(), "mx.example.com", t.TempDir(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := s.Poll(); changed || err != nil {
		t.Errorf("fresh: %v, %v", changed, err)
	}
	c.add(validity - renewBefore + time.Hour)
	if changed, err := s.Poll(); !changed || err != nil || len(s.Expiring(c.now())) != 0 {
		t.Errorf("%v, %v, %+v", changed, err, s.Expiring(c.now()))
	}
}

// A key file that everybody may read or change is told of, and used where
// there is no other; root's file for our group is good.
func TestKeyMode(t *testing.T) {
	cfg := writePair(t, t.TempDir(), "mx.example.com", time.Now())
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o644: false, 0o604: false, 0o602: false, 0o641: false, 0o666: false} {
		os.Chmod(cfg.KeyFile, mode)
		s, err := load(cfg, "mx.example.com", "", time.Now)
		if err != nil || s.SelfSigned() || (s.Fault() == nil) != ok || (Check(cfg) == nil) != ok {
			t.Errorf("mode %04o: %v, %v, %v", mode, err, s.Fault(), Check(cfg))
			continue
		}
		if changed, err := s.Poll(); changed || err != nil || (len(s.Warnings()) == 0) != ok {
			t.Errorf("mode %04o, a minute later: %v, %v, %q", mode, changed, err, s.Warnings())
		}
	}
}
