package main

import (
	"strings"
	"testing"
)

// A machine without a configuration can look at a message all the same.
func TestBuiltInSettings(t *testing.T) {
	for _, listener := range []string{"", "outbound"} {
		c := testCommand{Rcpt: []string{"b@x.example"}, IP: "192.0.2.5", Helo: "c.example", From: "a@s.example", Listener: listener}
		s := c.builtIn()
		client, err := c.client(s)
		if err != nil {
			t.Fatal(err)
		}
		r, err := offline(s, client, strings.NewReader("Subject: x\r\n\r\nx\r\n"))
		if err != nil || r.Verdict != "continue" || !strings.HasPrefix(r.Reply, "250 ") {
			t.Errorf("%q: %+v %v", listener, r, err)
		}
	}
}
