package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/admin"
)

// TestBadReloads (attacks L-10): whatever is wrong with the new files, the
// generation in use stays, whole, and mail that is on its way does not notice.
func TestBadReloads(t *testing.T) {
	d, file, _ := inProcess(t)
	defer underLoad(t, d.sockets.addresses()["inbound"][0].String())()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	swap := func(old, now string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the configuration has no %q", old)
		}
		return strings.Replace(good, old, now, 1)
	}
	before, addresses := d.now.Load(), d.sockets.all()
	for name, text := range map[string]string{
		"empty file":        "",
		"half a file":       good[:len(good)/2] + "\n[listener.in",
		"unknown key":       swap("#max_hops", "max_hop"),
		"wrong type":        swap("#max_hops = 50", `max_hops = "fifty"`),
		"duplicate table":   good + "\n[limits]\n",
		"no such next hop":  swap(`next_hop = "inbound"`, `next_hop = "gone"`),
		"half a pair":       swap(`#certificate_file = ""`, `certificate_file = "/nonexistent/c.pem"`),
		"relative pair":     swap(`#certificate_file = ""`, `certificate_file = "c.pem"`+"\n"+`key_file = "k.pem"`),
		"open relay":        swap(`trusted_networks = ["127.0.0.0/8"]`, `trusted_networks = ["0.0.0.0/0"]`),
		"bad access entry":  swap(`#clients = []`, `clients = ["everybody accept"]`),
		"address not ours":  swap(`listen = ["127.0.0.1:0"]`, `listen = ["192.0.2.1:2525"]`),
		"a large file":      good + strings.Repeat("# padding\n", 1<<17),
		"binary":            "\x00\x01\x02\xff",
		"no such duration":  swap(`#command_timeout = "5m"`, `command_timeout = "soon"`),
		"no such size":      swap(`#message_memory = "2MB"`, `message_memory = "2 elephants"`),
		"url without port":  swap(`url = "smtp://`, `url = "smtp://mail.example.org"`+" #"),
		"url of a file":     swap(`url = "smtp://`, `url = "file:///etc/passwd"`+" #"),
		"name in two forms": good + "\n[listener.\"in bound\"]\nrole = \"inbound\"\n",
		"no role":           swap(`role = "outbound"`, `role = "outward"`),
		"one port twice":    swap(`listen = ["127.0.0.1:0"]`, `listen = ["127.0.0.1:2599", "127.0.0.1:2599"]`),
		"no mode":           swap(`mode = "enforce"`, `mode = "enforced"`),
		"no list":           swap("[check.access]", "[check.access]\nclient_files = [\"/nonexistent/list\"]"),
		"no users":          swap("[users]", "[users]\nfile = \"/nonexistent/users\""),
		"no route there":    swap("[route]", "[route]\nrecipients = [\"our.example nowhere\"]"),
		"alias in a circle": swap("[route]", "[route]\naliases = [\"a@example.org b@example.org\", \"b@example.org a@example.org\"]"),
		"no name server":    swap("[dns]\nservers = [\"off\"]", "[dns]\nservers = [\"not an address\"]"),
		"metrics for all":   swap("[metrics]", "[metrics]\nlisten = \"0.0.0.0:0\""),
		"ban for ever":      swap("[conduct]", "[conduct]\nban_max = \"90000h\""),
		"auth without file": swap(`role = "outbound"`, "role = \"outbound\"\nauth = true"),
		"balancer trusted":  swap(`role = "outbound"`, "role = \"outbound\"\nproxy_from = [\"127.0.0.1/32\"]"),
		"host bits":         swap(`trusted_networks = ["127.0.0.0/8"]`, `trusted_networks = ["127.0.0.1/8x"]`),
		"postmaster abroad": swap(`#postmaster = ""`, `postmaster = "x@elsewhere.example"`),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
			refusedReload(t, d, before)
		})
	}
	t.Run("a fragment", func(t *testing.T) {
		if err := os.WriteFile(file, raw, 0o640); err != nil {
			t.Fatal(err)
		}
		conf := filepath.Join(filepath.Dir(file), "conf.d")
		if err := os.MkdirAll(conf, 0o750); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(conf)
		if err := os.WriteFile(filepath.Join(conf, "10-x.toml"), []byte("[limits]\nmax_hop = 1\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		refusedReload(t, d, before)
	})
	t.Run("a folder", func(t *testing.T) {
		if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o750)); err != nil {
			t.Fatal(err)
		}
		refusedReload(t, d, before)
	})
	t.Run("gone", func(t *testing.T) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		refusedReload(t, d, before)
	})
	if now := d.sockets.all(); len(now) != len(addresses) {
		t.Errorf("sockets are %v, were %v", now, addresses)
	}
	if err := os.WriteFile(file, raw, 0o640); err != nil {
		t.Fatal(err)
	}
	if r, err := d.reload(context.Background()); err != nil || len(r.Changed) != 0 {
		t.Errorf("the old file again: %+v %v", r, err)
	}
}

// underLoad sends messages until its answer is called; each must be accepted.
func underLoad(t *testing.T, addr string) (stop func()) {
	t.Helper()
	quit, ended := make(chan struct{}), make(chan error, 4)
	sent := make([]int, 4)
	for i := range sent {
		go func() {
			for {
				if err := sendOne(addr); err != nil {
					ended <- err
					return
				}
				sent[i]++
				select {
				case <-quit:
					ended <- nil
					return
				default:
				}
			}
		}()
	}
	return func() {
		close(quit)
		for range sent {
			if err := <-ended; err != nil {
				t.Errorf("a message was not accepted: %v", err)
			}
		}
	}
}

// sendOne is one message without TLS, as far as its 250.
func sendOne(addr string) error {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []struct {
		line string
		code int
	}{{"", 220}, {"EHLO client.example", 250}, {"MAIL FROM:<a@sender.example>", 250}, {"RCPT TO:<ana@example.org>", 250},
		{"DATA", 354}, {"Subject: x\r\n\r\nx\r\n.", 250}} {
		if step.line != "" {
			if err := c.PrintfLine("%s", step.line); err != nil {
				return err
			}
		}
		if _, _, err := c.ReadResponse(step.code); err != nil {
			return fmt.Errorf("%q: %w", step.line, err)
		}
	}
	return nil
}

func refusedReload(t *testing.T, d *daemon, before *generation) {
	t.Helper()
	_, err := d.reload(context.Background())
	var e *admin.Error
	if !errors.As(err, &e) || e.Code != admin.CodeConfig || e.Text == "" {
		t.Errorf("reload: %v", err)
	}
	if d.now.Load() != before {
		t.Error("another generation is in use")
	}
}

// TestOpenKeepsLineEnds: only a file without any CR LF gets new line ends.
func TestOpenKeepsLineEnds(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\n":       "a\r\nb\r\n",
		"a\r\nb\nc\r":  "a\r\nb\nc\r",
		"":             "",
		"no line end":  "no line end",
		"\r\n.\n.\r\n": "\r\n.\n.\r\n",
	} {
		name := filepath.Join(t.TempDir(), "m.eml")
		if err := os.WriteFile(name, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		r, done, err := (&testCommand{File: name}).open(&terminal{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(bufio.NewReader(r))
		done()
		if err != nil || string(got) != want {
			t.Errorf("%q became %q, want %q (%v)", in, got, want, err)
		}
	}
}
