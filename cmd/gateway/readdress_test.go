package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReaddressTold: garita test says where rules send a message.
func TestReaddressTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "own.toml")
	c := testCommand{Helo: "c.example", From: "a@s.example"}
	s := c.builtIn()
	s.Check.Rules.Files, s.Check.Rules.Builtin = []string{file}, nil
	rule := "[[rule]]\nid = \"own\"\nmatch = ['subject contains \"factura\"']\naction = ['redirect \"x@our.example\"', 'bcc \"y@our.example\"']\n"
	if err := os.WriteFile(file, []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := c.client(s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := offline(s, client, strings.NewReader("From: a@s.example\r\nSubject: la factura\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Readdressed) != 2 || r.Readdressed[0].Action != "redirect" || r.Readdressed[0].To != "x@our.example" || r.Readdressed[0].Rule == "" ||
		r.Readdressed[1].Action != "bcc" || !strings.HasPrefix(r.Reply, "250 ") {
		t.Errorf("%+v", r)
	}
	if raw, err := json.Marshal(r); err != nil || !strings.Contains(string(raw), `"readdressed":[{"action":"redirect","to":"x@our.example","rule":`) {
		t.Errorf("%s %v", raw, err)
	}
}
