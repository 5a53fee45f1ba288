package main

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
)

// TestReloadReadsHopFiles: an authority that is in ca_file since yesterday
// counts after a reload, one that was taken out does not, though no word of
// the configuration has changed.
func TestReloadReadsHopFiles(t *testing.T) {
	d, file, _ := inProcess(t)
	ca := filepath.Join(filepath.Dir(file), "authorities.pem")
	put := func(name string) {
		t.Helper()
		cert, _, err := fakehop.Certificate(time.Now().Add(-time.Minute), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("one.example")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw) + "\n[next_hop.extra]\nurl = \"smtp://127.0.0.1:2526\"\ntls = \"verify\"\nca_file = \"" + ca + "\"\n"
	text = strings.Replace(text, "[route]", "[route]\nrecipients = [\"sub.example.org extra\"]", 1)
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	reload := func() *hop {
		t.Helper()
		if _, err := d.reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		return d.now.Load().hops["extra"]
	}
	first := reload()
	if first == nil || reload() != first {
		t.Fatal("the same next hop is not taken over")
	}
	put("two.example")
	if reload() == first {
		t.Error("the old authorities still count")
	}
}
