package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// armedMail has a program, and a page with a script.
const armedMail = "From: a@s.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/html\r\n\r\n<p>Hola</p><script>x</script>\r\n" +
	"--b\r\nContent-Type: application/octet-stream; name=\"in\u202evoice.exe\"\r\n\r\nMZ\r\n--b--\r\n"

// TestDisarmTold: garita test says what would be taken out, and what becomes of
// what cannot be.
func TestDisarmTold(t *testing.T) {
	c := testCommand{Helo: "c.example", From: "a@s.example"}
	s := c.builtIn()
	s.Check.Rules.Builtin = []string{} // which refuse what is taken out here
	a := &s.Check.Attachment
	a.Executable, a.Bidi, a.HTMLActive = "disarm", "off", "disarm"
	walk := func(raw string) *tested {
		t.Helper()
		client, err := c.client(s)
		if err != nil {
			t.Fatal(err)
		}
		r, err := offline(s, client, strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := walk(armedMail)
	if r.Verdict != "continue" || !strings.HasPrefix(r.Reply, "250 ") || len(r.Disarmed) != 2 || r.Disarmed[1].Octets == 0 || r.Disarmed[1].Inserted == 0 || r.Score != 0 {
		t.Errorf("%+v", r)
	}
	raw, err := json.Marshal(r)
	if err != nil || !bytes.Contains(raw, []byte(`"disarmed":[{"at":`)) {
		t.Errorf("%s %v", raw, err)
	}
	for _, f := range r.Findings {
		if !strings.HasSuffix(f.Detail, "(disarmed)") && !strings.Contains(f.Detail, "(disarmed)") {
			t.Errorf("%+v", f)
		}
	}
	// The program is the message: nothing can stand in its place.
	r = walk("From: a@s.example\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.exe\r\n\r\nMZ\r\n")
	if r.Verdict != "quarantine" || len(r.Disarmed) != 0 || !strings.Contains(r.Findings[0].Detail, "not disarmed") {
		t.Errorf("%+v", r)
	}
}
