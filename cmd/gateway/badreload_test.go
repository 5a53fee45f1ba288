package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/admin"
)

// TestBadReloads (attacks L-10): whatever is wrong with the new files, the
// generation in use stays, whole.
func TestBadReloads(t *testing.T) {
	d, file, _ := inProcess(t)
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
		"no certificate":    swap(`#certificate_file = ""`, `certificate_file = "/nonexistent/c.pem"`+"\n"+`key_file = "/nonexistent/k.pem"`),
		"open relay":        swap(`trusted_networks = ["127.0.0.0/8"]`, `trusted_networks = ["0.0.0.0/0"]`),
		"bad access entry":  swap(`#clients = []`, `clients = ["everybody accept"]`),
		"address not ours":  swap(`listen = ["127.0.0.1:0"]`, `listen = ["192.0.2.1:2525"]`),
		"a large file":      good + strings.Repeat("# padding\n", 1<<17),
		"binary":            "\x00\x01\x02\xff",
		"postmaster abroad": swap(`#postmaster = ""`, `postmaster = "x@elsewhere.example"`),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
			refusedReload(t, d, before)
		})
	}
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
