package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/filters/clamav/fakeclamd"
)

// TestInitFindsScanners: the first clamd and rspamd that answer are in the new
// file; without them it says so. Something else behind an address is neither.
func TestInitFindsScanners(t *testing.T) {
	dir := t.TempDir()
	sock := filepath.Join(dir, "clamd.ctl")
	clamd, err := fakeclamd.New("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer clamd.Close()
	if err := os.Chmod(sock, 0o660); err != nil {
		t.Fatal(err)
	}
	web := func(text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	page, rspamd := web("<html>"), web("pong\r\n")
	conf := filepath.Join(dir, "clamd.conf")
	if err := os.WriteFile(conf, []byte("StreamMaxLength 1M\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := clamdPlace{"unix:" + filepath.Join(dir, "none"), conf}
	for _, c := range []struct {
		title, lang, which string
		places             scanners
		says               []string
		has, hasNot        []string
	}{
		{"both, after others that are none", "en", "auto",
			scanners{[]clamdPlace{gone, {"tcp:" + strings.TrimPrefix(page, "http://"), ""}, {"unix:" + sock, conf}}, []string{page, rspamd}},
			[]string{"clamd answers at unix:" + sock, "adduser garita clamav", "rspamd answers at " + rspamd},
			[]string{`servers = ["unix:` + sock + `"]`, `config_file = "` + conf + `"`, `servers = ["` + rspamd + `"]`}, nil},
		{"nobody", "en", "auto", scanners{clamd: []clamdPlace{gone}}, []string{"No antivirus was found", "clamav-daemon"}, nil, []string{`config_file = "` + conf}},
		{"nobody, in Spanish", "es", "auto", scanners{clamd: []clamdPlace{gone}}, []string{"No se encontró antivirus"}, nil, nil},
		{"not asked for", "en", "none", scanners{clamd: []clamdPlace{{"unix:" + sock, ""}}}, []string{"Nobody looked"}, nil, []string{`unix:` + sock}},
	} {
		t.Run(c.title, func(t *testing.T) {
			to := t.TempDir()
			var out, errs bytes.Buffer
			cmd := initCommand{Dir: to, Hostname: "mx.example.org", Domain: []string{"example.org"}, NextHop: "192.0.2.20:25", Inbound: "127.0.0.1:2525",
				Mode: "observe", Lang: c.lang, Yes: true, Scanners: c.which, places: c.places}
			if err := cmd.Run(&terminal{out: &out, err: &errs}); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(to, "config.toml"))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, out.String())
				}
			}
			for _, want := range c.has {
				if !strings.Contains(string(text), "\n"+want+"\n") {
					t.Errorf("the file has no %s", want)
				}
			}
			if on := strings.Count(string(text), "\nmode = \"enforce\"\n"); on != len(c.has)/3*2 {
				t.Errorf("%d checks are on", on)
			}
			for _, wrong := range c.hasNot {
				if strings.Contains(string(text), wrong) {
					t.Errorf("the file has %s", wrong)
				}
			}
			// The limits of that clamd.conf are below ours, and config check says so.
			if warned := strings.Contains(errs.String(), "StreamMaxLength = 1048576"); warned != (len(c.has) > 0) {
				t.Errorf("warned %v: %s", warned, errs.String())
			}
		})
	}
}

// TestUsualScanners: the places of Debian and Zimbra are looked at.
func TestUsualScanners(t *testing.T) {
	all := fmt.Sprint(usualScanners())
	for _, want := range []string{"/run/clamav/clamd.ctl", "/var/run/clamav/clamd.ctl", "/opt/zimbra/data/clamav/clamav.sock", "127.0.0.1:3310", "127.0.0.1:11333"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not looked at", want)
		}
	}
}
