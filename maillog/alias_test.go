package maillog

import (
	"encoding/json"
	"strings"
	"testing"

	"garita/mail"
)

// The log says which address a recipient was asked for by, and why a decision
// of the checks did not count.
func TestAliasAndExemption(t *testing.T) {
	tx := testTransaction(t, plainMessage)
	tx.ForwardPaths = []mail.Recipient{
		{Path: mail.Path{Local: "ana", Domain: "our.example"}, Alias: mail.Path{Local: "sa les", Domain: "our.example"}},
		{Path: mail.Path{Local: "leo", Domain: "our.example"}},
	}
	tx.Exempt = "postmaster"
	o := mail.Outcome{Kind: mail.Relayed, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok")}, NextHop: "in"}
	text := capture(t, nil, func(l *Logger) { l.Transaction(tx, o) })
	for _, want := range []string{`to=<ana@our.example>, orig_to=<"sa\x20les"@our.example>, relay=in`, "to=<leo@our.example>, relay=in", " exempt=postmaster listener="} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	line := capture(t, func(c *Config) { c.Format = "json" }, func(l *Logger) { l.Transaction(tx, o) })
	var rec struct {
		OrigTo []string `json:"orig_to"`
		Exempt string   `json:"exempt"`
	}
	if err := json.Unmarshal([]byte(line), &rec); err != nil || len(rec.OrigTo) != 1 || rec.Exempt != "postmaster" {
		t.Errorf("%v %+v\n%s", err, rec, line)
	}
}
