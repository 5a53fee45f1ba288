package main

import (
	"context"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"garita/filters/all"
)

// ruled sends one message with that subject to the inbound listener and gives
// the answer to its end.
func ruled(t *testing.T, d *daemon, subject string) string {
	t.Helper()
	c, err := textproto.Dial("tcp", d.sockets.addresses()["inbound"][0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer := ""
	for _, line := range []string{"", "EHLO mail.sender.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@example.org>", "DATA",
		"Subject: " + subject + "\r\nFrom: a@sender.example\r\n\r\nx\r\n."} {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		code, text, err := c.ReadResponse(0)
		if err != nil && code == 0 {
			t.Fatal(err)
		}
		answer = text
		if code >= 400 && !strings.HasSuffix(line, "\r\n.") {
			t.Fatalf("%q: %d %s", line, code, text)
		}
	}
	return answer
}

// TestReloadRules: rules that changed are in force after a reload, those with a
// mistake or a failing test refuse it and leave the old ones, and the hits are
// counted over all of it. The folder is the one that init made.
func TestReloadRules(t *testing.T) {
	d, file, _ := inProcess(t)
	rules := filepath.Join(filepath.Dir(file), rulesFolder, "own.toml")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	reload := func() (*reloadReport, error) {
		r, err := d.reload(context.Background())
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	refuse := func(word string) string {
		return "[[rule]]\nid = \"own\"\nmatch = ['subject contains \"" + word + "\"']\naction = \"reject\"\nreply = \"No\"\n[[rule.test]]\nheader = \"Subject: " + word + "\"\n"
	}
	write(rules, refuse("alpha"))
	if _, err := reload(); err != nil {
		t.Fatal(err)
	}
	const no = "5.7.1 No [own]"
	if a := ruled(t, d, "alpha"); a != no {
		t.Errorf("%q", a)
	}
	for name, text := range map[string]string{
		"a mistake":      strings.Replace(refuse("beta"), "contains", "holds", 1),
		"a failing test": strings.Replace(refuse("beta"), "Subject: beta", "Subject: x", 1),
		"half a file":    refuse("beta")[:40],
	} {
		write(rules, text)
		if _, err := reload(); err == nil || !strings.Contains(err.Error(), rules+":") {
			t.Errorf("%s: %v", name, err)
		}
		if a, b := ruled(t, d, "alpha"), ruled(t, d, "beta"); a != no || b == no {
			t.Errorf("after %s: %q %q", name, a, b)
		}
	}
	write(rules, refuse("beta"))
	r, err := reload()
	if err != nil || !slices.Contains(r.Changed, rules+": changed") {
		t.Errorf("%+v %v", r, err)
	}
	if a, b := ruled(t, d, "alpha"), ruled(t, d, "beta"); a == no || b != no {
		t.Errorf("%q %q", a, b)
	}
	hits := d.now.Load().helpers.RuleHits()
	if i := slices.IndexFunc(hits, func(h all.RuleHit) bool { return h.ID == "own" }); i < 0 || hits[i].Count != 5 {
		t.Errorf("%+v", hits)
	}
	if err := os.Remove(rules); err != nil {
		t.Fatal(err)
	}
	if r, err := reload(); err != nil || !slices.Contains(r.Changed, rules+": removed") {
		t.Errorf("%+v %v", r, err)
	}
}
