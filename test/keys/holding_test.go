package keys

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"garita/config"
	"garita/hold"
	"garita/mail"
	"garita/message"
)

// holdRows are the keys of [hold]. A scene is of "hold N" (so many messages),
// "pass TIME" (which goes by, and is looked at every twelve hours).
func holdRows() []effect {
	const h = "hold."
	return []effect{
		{key: h + "max_size", value: `"1MB"`, scene: "large 3", want: "+the holding place is full", still: "held"},
		{key: h + "max_messages", value: "2", scene: "hold 3", want: "+the holding place is full", still: "held"},
		{key: h + "min_free", value: `"1000000TB"`, scene: "hold 1", want: "+the holding place is full"},
		{key: h + "warn_after", value: `"48h"`, scene: "hold 1 pass 4d", want: "+notice: waited for more than 2 days"},
		{key: h + "keep_for", value: `"2d"`, base: "hold.expire = true", scene: "hold 1 pass 6d", want: "+there are 0", still: "held"},
		{key: h + "expire", value: "true", base: `hold.keep_for = "2d"`, scene: "hold 1 pass 6d", want: "+there are 0", still: "held"},
		{key: h + "notify", value: `["chief@our.example"]`, scene: "hold 1 pass 12h", want: "+told: [chief@our.example]", still: "held"},
	}
}

// TestHold: what is held, for how long, and who is told.
func TestHold(t *testing.T) {
	run(t, holdRows(), func(t *testing.T, toml string, e effect) (out string) {
		s := struct {
			Hold hold.Config `toml:"hold"`
		}{hold.Default()}
		if !strings.Contains(toml, "hold.notify") {
			toml += "\nhold.notify = [\"admin@our.example\"]"
		}
		if !strings.Contains(toml, "hold.min_free") {
			toml += "\nhold.min_free = \"0B\""
		}
		if _, problems := config.Decode("test.toml", []byte(toml), &s, config.Options{NoDropIns: true}); len(problems) > 0 {
			t.Fatalf("%s\n%s", toml, problems.Error())
		}
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) { out = keep(t, dir, s.Hold, strings.Fields(e.scene)) })
		return out
	})
}

// keep is the holding place in a bubble, where days take no time.
func keep(t *testing.T, dir string, c hold.Config, words []string) string {
	k, err := hold.Open(hold.Options{Dir: dir, Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var b strings.Builder
	tick := func() {
		k.Tick(t.Context(), "gw.example", func(_ context.Context, n hold.Notice) error {
			fmt.Fprintf(&b, "told: %v\n", n.To)
			if _, text, ok := strings.Cut(string(n.Message), "waited for"); ok {
				line, _, _ := strings.Cut(text, "\r\n")
				fmt.Fprintf(&b, "notice: waited for%s\n", line)
			}
			return nil
		})
	}
	for i := 0; i < len(words); i += 2 {
		if words[i] == "pass" {
			left, err := time.ParseDuration(strings.Replace(words[i+1], "d", "0h", 1))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(words[i+1], "d") {
				left = left / 10 * 24
			}
			for ; left > 0; left -= 12 * time.Hour {
				tick()
				time.Sleep(12 * time.Hour)
			}
			tick()
			continue
		}
		text := simple
		if words[i] == "large" {
			text += strings.Repeat(strings.Repeat("x", 98)+"\r\n", 5000)
		}
		for range int(words[i+1][0] - '0') {
			if err := holdOne(t, k, text); err != nil {
				fmt.Fprintf(&b, "%v\n", err)
			} else {
				b.WriteString("held\n")
			}
		}
	}
	fmt.Fprintf(&b, "there are %d\n", k.Stats().Messages)
	return b.String()
}

// holdOne gives a message into the holding place, as the wire does.
func holdOne(t *testing.T, k *hold.Keeper, text string) error {
	m, err := message.Spool(t.Context(), strings.NewReader(text), message.Limits{Max: 64 << 20, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	out, err := m.Render(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddrPort("192.0.2.1:4000")
	tx := &mail.Transaction{Session: &mail.Session{ID: "S", Listener: "in", Role: mail.Inbound, Client: client, Peer: client}, ID: "4ABCDEF01", Direction: mail.In, NextHop: "hop", Message: m}
	tx.ReversePath = mail.Path{Local: "a", Domain: "sender.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "our.example"}}}
	_, err = k.Hold(t.Context(), tx, mail.Decision{Verdict: mail.Quarantine, Because: []mail.Finding{{Symbol: "test.held", Verdict: mail.Quarantine}}}, out)
	return err
}
