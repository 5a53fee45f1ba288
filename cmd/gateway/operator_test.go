package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/smtpproxy"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/relay/fakehop"
)

// TestDownByMail: a next hop that mail could not reach is down at once,
// without waiting for a probe, and is probed soon.
func TestDownByMail(t *testing.T) {
	d, _, end := inProcess(t)
	defer end()
	h := d.now.Load().hops["inbound"]
	if got := d.health().Concerns; slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "answer") }) || h.status().State != "up" {
		t.Fatalf("before: %v, %+v", got, h.status())
	}
	soon := time.Now().Add(probeAgain + time.Second)
	if h.due(soon) {
		t.Fatal("a next hop that answers is probed again soon")
	}
	// A connection that is not the probe's own, to a hop that is not there.
	away := startHop(t, fakehop.Config{})
	c := relay.DefaultConfig()
	c.URL = "smtp://" + away.Addr()
	away.Close()
	gone, err := relay.New(relay.Options{Name: "inbound", Config: c, Hostname: "mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if gone.Probe(context.Background()) == nil {
		t.Fatal("the hop answers")
	}
	h.NextHop = gone
	if s := h.status(); s.State != "down" || s.LastError == "" {
		t.Errorf("status: %+v", s)
	}
	if got := strings.Join(d.health().Concerns, "; "); !strings.Contains(got, "next hop inbound does not answer") {
		t.Errorf("health: %s", got)
	}
	if !h.due(soon) {
		t.Error("it is not probed soon")
	}
}

// TestChanged: a table that is new or gone is one change.
func TestChanged(t *testing.T) {
	a, b := defaults(), defaults()
	a.NextHop = map[string]relay.Config{"stays": {URL: "a"}, "gone": {URL: "b"}}
	b.NextHop = map[string]relay.Config{"stays": {URL: "c"}, "new": {URL: "d"}}
	want := []string{"next_hop.gone: removed", "next_hop.new: added", `next_hop.stays.url: "a" -> "c"`}
	if got := changed(&a, &b); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestUnusedHop: what no listener names is not made, so it cannot be down.
func TestUnusedHop(t *testing.T) {
	d, _, end := inProcess(t)
	defer end()
	s := *d.start
	s.NextHop = map[string]relay.Config{}
	for name, c := range d.start.NextHop {
		s.NextHop[name] = c
	}
	s.NextHop["spare"] = relay.DefaultConfig()
	g, err := d.parts.build(&s, d.now.Load())
	if err != nil {
		t.Fatal(err)
	}
	if g.hops["spare"] != nil || len(g.hops) != len(d.start.NextHop) {
		t.Errorf("%d next hops", len(g.hops))
	}
}

// TestCertificateFaults: a fault of the pair stands at the key to be mended.
func TestCertificateFaults(t *testing.T) {
	for text, key := range map[string]string{
		"/c.pem, /k.pem: tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched": "tls.certificate_file",
		"/c.pem, /k.pem: tls: private key does not match public key":                                                                                   "tls.key_file",
		"/k.pem: open: permission denied": "tls.key_file",
		"/c.pem: open: permission denied": "tls.certificate_file",
	} {
		f := &faults{}
		f.badPair("tls", "/c.pem", "/k.pem", text)
		if len(f.list) != 1 || f.list[0].key != key {
			t.Errorf("%s: %+v", text, f.list)
		}
	}
}

// TestWarnOfRoot: what the service cannot read is told, although root can.
func TestWarnOfRoot(t *testing.T) {
	d, file, end := inProcess(t)
	defer end()
	doc := func() string {
		_, doc, _ := load(file, nil)
		s := *d.start
		account{name: "garita", uid: 4711, groups: []uint32{4711}}.warnOfRoot(doc, &s)
		return doc.Warnings().String()
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if got := doc(); !strings.Contains(got, "not by user garita") {
		t.Errorf("0640 of another group: %q", got)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := doc(); got != "" {
		t.Errorf("readable by all: %q", got)
	}
}

func TestOwnerOf(t *testing.T) {
	dir := t.TempDir()
	if got := ownerOf(dir); got != uint32(os.Geteuid()) {
		t.Errorf("our own folder belongs to %d", got)
	}
	if ownerOf(dir+"/none") != 0 {
		t.Error("what is not there belongs to somebody")
	}
}

// TestCheckAsksTheWire: what run would refuse last, config check refuses.
func TestCheckAsksTheWire(t *testing.T) {
	f := &faults{s: &Settings{Hostname: "mx.example.org"}}
	l := smtpproxy.DefaultListener("inbound")
	l.RelayDomains = []string{"example.org"}
	if f.fits("listener.in", "in", l); len(f.list) != 0 {
		t.Errorf("a good one: %+v", f.list)
	}
	l.Postmaster = "no address"
	if f.fits("listener.in", "in", l); len(f.list) != 1 || !strings.Contains(f.list[0].text, "postmaster") {
		t.Errorf("a bad one: %+v", f.list)
	}
}
