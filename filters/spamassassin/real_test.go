package spamassassin

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
)

// realRules are the rules of the private spamd: it has no others and asks
// nobody.
const realRules = `
required_score 5
use_bayes 0
header TEST_SUBJECT Subject =~ /tagme/
score TEST_SUBJECT 6
describe TEST_SUBJECT a test
header TEST_FACTS X-Spam-Relays-Untrusted =~ /^\[ ip=192\.0\.2\.1 rdns=mail\.sender\.example helo=helo\.sender\.example by=mx\.our\.example .* id=ABC123 /
score TEST_FACTS 0.5
describe TEST_FACTS a test
header TEST_FROM EnvelopeFrom =~ /^a\@sender\.example$/
score TEST_FROM 0.25
describe TEST_FROM a test
body TEST_GTUBE /XJS\*C4JDBQADN1\.NSBN3\*2IDNEN\*GTUBE/
score TEST_GTUBE 1000
describe TEST_GTUBE a test
`

// realServer starts a private spamd (Debian package spamd, installed by
// test/install-deps.sh) and gives its address.
func realServer(t *testing.T, network string) string {
	t.Helper()
	program, err := exec.LookPath("spamd")
	if err != nil {
		t.Fatalf("%v: run test/install-deps.sh", err)
	}
	// The path of a socket has at most 107 octets, and spamd's children, which
	// are never root, must get in.
	dir, err := os.MkdirTemp("", "spamd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, d := range []string{dir, filepath.Join(dir, "rules"), filepath.Join(dir, "site"), filepath.Join(dir, "home")} {
		_ = os.Mkdir(d, 0o777)
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"rules/10.cf": realRules, "site/init.pre": "loadplugin Mail::SpamAssassin::Plugin::Check\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--local", "--nouser-config", "--max-children=1", "--min-children=1", "--syslog=stderr", "--pidfile=" + dir + "/pid",
		"--configpath=" + dir + "/rules", "--siteconfigpath=" + dir + "/site", "--helper-home-dir=" + dir + "/home"}
	if os.Geteuid() == 0 {
		args = append(args, "--username=nobody")
	}
	addr := filepath.Join(dir, "socket")
	if network == "unix" {
		args = append(args, "--socketpath="+addr, "--socketmode=0666")
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		_ = l.Close()
		args = append(args, "--listen="+addr)
	}
	var log strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &log, &log, dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir + "/home"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("spamd: %s", log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		c, err := net.Dial(network, addr)
		if err == nil {
			_ = c.Close()
			break
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("spamd ended")
		case <-ctx.Done():
			t.Fatalf("spamd does not answer: %v", err)
		}
	}
	if network == "unix" {
		return "unix:" + addr
	}
	return addr
}

// TestRealSpamd: facts, score and symbols through the real one, over TCP and a
// socket.
func TestRealSpamd(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			k := build(t, Options{}, []string{realServer(t, network)}, "timeout 1m")
			ask := func(text string) (filters.Result, string) {
				t.Helper()
				tx := filtertest.Transaction(t, text)
				res, err := k.CheckMessage(t.Context(), tx)
				if err != nil {
					t.Fatal(err)
				}
				if len(res.Findings) != 1 {
					t.Fatalf("%v", res.Findings)
				}
				return res, filtertest.Rendered(t, tx.Message, res.Edits)
			}
			const head = "From: a@sender.example\r\nTo: b@our.example\r\nMessage-ID: <1@sender.example>\r\nDate: Sun, 9 Sep 2001 01:46:40 +0000\r\n"
			res, _ := ask(head + "Subject: hello\r\n\r\nHello.\r\n")
			if f := res.Findings[0]; f.Symbol != SymbolScore || !strings.Contains(f.Detail, "TEST_FACTS") || !strings.Contains(f.Detail, "TEST_FROM") || f.Score <= 0 {
				t.Errorf("plain: %+v", f)
			}
			res, out := ask("X-Spam-Flag: NO\r\n" + head + "Subject: tagme\r\n\r\nHello.\r\n")
			if f := res.Findings[0]; f.Symbol != SymbolTag || f.Verdict != mail.Continue || !strings.Contains(f.Detail, "TEST_SUBJECT") {
				t.Errorf("spam: %+v", f)
			}
			if !strings.HasPrefix(out, "X-Spam-Flag: YES\r\nX-Spam-Score: 6.") || !strings.HasSuffix(out, "\r\n"+head+"Subject: tagme\r\n\r\nHello.\r\n") || strings.Contains(out, "NO") {
				t.Errorf("%q", out)
			}
			// The string by which every spam filter can be tried, made here so
			// that no file of ours has it.
			gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
			res, _ = ask(head + "Subject: hello\r\n\r\n" + gtube + "\r\n")
			if f := res.Findings[0]; f.Symbol != SymbolReject || f.Verdict != mail.Reject {
				t.Errorf("GTUBE: %+v", f)
			}
			if st := k.Status(); !st[0].Up || st[0].Asked != 3 || st[0].Failed != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}
