package rspamd

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

	"garita/filters/filtertest"
	"garita/mail"
)

// realConfig is the least that rspamd starts with: no network, no list of
// top-level domains to compile, two rules of our own.
const realConfig = `
options {
  filters = "regexp";
  url_tld = "DIR/tld";
  tempdir = "DIR";
  cache_file = "DIR/cache";
  hs_cache_dir = "DIR";
  control_socket = "DIR/control";
  pidfile = "DIR/pid";
  dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "info"; }
actions { reject = 15; add_header = 6; greylist = 4; }
lua = "DIR/rules.lua";
worker "normal" { bind_socket = "DIR/socket mode=0666"; count = 1; }
`

const realRules = `
rspamd_config:register_symbol{ name = "TEST_SUBJECT", score = 7.0, callback = function(task)
  local s = task:get_header('Subject') or ''
  if s:find('tagme') then
    task:set_milter_reply({ add_headers = { ['X-Spamd-Test'] = 'one', ['Subject'] = 'owned' }, remove_headers = { ['From'] = 0 } })
    return true, 1.0
  end
end }
rspamd_config:register_symbol{ name = "TEST_FACTS", score = 0.5, callback = function(task)
  local rcpts = task:get_recipients('smtp') or {}
  local from = task:get_from('smtp') or {}
  local ip = task:get_from_ip()
  if tostring(ip) == '192.0.2.1' and task:get_helo() == 'helo.sender.example' and task:get_hostname() == 'mail.sender.example'
    and #rcpts == 2 and rcpts[2].addr == 'c@our.example' and from[1] and from[1].addr == 'a@sender.example'
    and task:get_user() == 'ana' and task:get_queue_id() == 'ABC123' then
    return true, 1.0
  end
end }
`

// realServer starts a private rspamd (Debian package rspamd, installed by
// test/install-deps.sh) and gives its address.
func realServer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("rspamd")
	if err != nil {
		t.Fatalf("%v: run test/install-deps.sh", err)
	}
	// The path of a socket has at most 107 octets, and worker processes of
	// another user must get in.
	dir, err := os.MkdirTemp("", "rspamd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"conf": strings.ReplaceAll(realConfig, "DIR", dir), "rules.lua": realRules, "tld": "example\ncom\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var log strings.Builder
	cmd := exec.Command(program, "--no-fork", "--insecure", "--config", filepath.Join(dir, "conf"))
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Dir = dir
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
			t.Logf("rspamd: %s", log.String())
		}
	})
	socket := filepath.Join(dir, "socket")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			return "unix:" + socket
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("rspamd ended")
		case <-ctx.Done():
			t.Fatalf("rspamd does not answer: %v", err)
		}
	}
}

// TestRealRspamd: facts, score, action and header fields through the real one.
func TestRealRspamd(t *testing.T) {
	k := build(t, Options{}, []string{realServer(t)}, "timeout 30s")
	ask := func(text string) (symbol string, verdict mail.Verdict, score float64, detail, out string) {
		t.Helper()
		tx := filtertest.Transaction(t, text)
		tx.Login = "ana"
		res, err := k.CheckMessage(t.Context(), tx)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Findings) != 1 {
			t.Fatalf("%v", res.Findings)
		}
		f := res.Findings[0]
		return f.Symbol, f.Verdict, f.Score, f.Detail, filtertest.Rendered(t, tx.Message, res.Edits)
	}
	const head = "From: a@sender.example\r\nTo: b@our.example\r\nMessage-ID: <1@sender.example>\r\nDate: Sun, 9 Sep 2001 01:46:40 +0000\r\n"
	symbol, verdict, score, detail, _ := ask(head + "Subject: hello\r\n\r\nHello.\r\n")
	if symbol != SymbolScore || verdict != mail.Continue || score != 0.25 || detail != "score 0.50 of 15.00, action no action: TEST_FACTS(0.50)" {
		t.Errorf("plain: %s %v %v %q", symbol, verdict, score, detail)
	}
	symbol, verdict, score, detail, out := ask("X-Spam-Flag: NO\r\n" + head + "Subject: tagme\r\n\r\nHello.\r\n")
	if symbol != SymbolTag || verdict != mail.Continue || score != 3.75 || !strings.Contains(detail, "TEST_SUBJECT(7.00)") {
		t.Errorf("spam: %s %v %v %q", symbol, verdict, score, detail)
	}
	if want := "X-Spam-Flag: YES\r\nX-Spam-Score: 7.50\r\nX-Spam-Status: Yes, score=7.50 required=15.00\r\nX-Spamd-Test: one\r\n" + head + "Subject: tagme\r\n\r\nHello.\r\n"; out != want {
		t.Errorf("got %q\nwant %q", out, want)
	}
	// The string by which every spam filter can be tried, made here so that no
	// file of ours has it.
	gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
	if symbol, verdict, _, detail, _ = ask(head + "Subject: hello\r\n\r\n" + gtube + "\r\n"); symbol != SymbolReject || verdict != mail.Reject {
		t.Errorf("GTUBE: %s %v %q", symbol, verdict, detail)
	}
	if _, _, _, detail, _ = ask(head + "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("word ", 14)+"\r\n", 60000)); !strings.Contains(detail, "TEST_FACTS") {
		t.Errorf("large: %q", detail)
	}
	if st := k.Status(); !st[0].Up || st[0].Asked != 4 || st[0].Failed != 0 {
		t.Errorf("%+v", st)
	}
}
