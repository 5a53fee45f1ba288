package maillog

import (
	"encoding/json"
	"strings"
	"testing"

	"garita/mail"
)

// What rules did to the envelope is told in words of Postfix's, escaped: who
// has the message, whom it was for, which rule said so.
func TestReaddressed(t *testing.T) {
	tx := testTransaction(t, plainMessage)
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "ana", Domain: "our.example"}}, {Path: mail.Path{Local: "leo", Domain: "our.example"}}}
	odd := mail.Path{Local: "x y\n>", Domain: "else.example"}
	bcc := mail.Path{Local: "archive", Domain: "our.example"}
	o := mail.Outcome{Kind: mail.Relayed, Replies: []mail.Reply{mail.OK(250, "0.0", "Ok")}, NextHop: "in",
		Envelope: []mail.EnvelopeEdit{
			{Kind: mail.EditRedirect, To: mail.Recipient{Path: odd}, Rule: "to odd\n"},
			{Kind: mail.EditRoute, Hop: "big one"},
			{Kind: mail.EditBCC, To: mail.Recipient{Path: bcc}, Rule: "archive"},
		},
		Recipients: []mail.Recipient{{Path: odd, Alias: tx.ForwardPaths[0].Path}, {Path: bcc}},
	}
	text := capture(t, nil, func(l *Logger) { l.Transaction(tx, o) })
	for _, want := range []string{
		": redirect: END-OF-MESSAGE from ", `: to=<"x\x20y\x0a\x3e"@else.example>, rule=to\x20odd\x0a; from=<`,
		`: route: END-OF-MESSAGE from `, `: next_hop=big\x20one; from=<`, ": to=<archive@our.example>, rule=archive; from=<",
		"nrcpt=2 ", `@else.example>, orig_to=<ana@our.example>, relay=in`, "smtp[", ": to=<archive@our.example>, relay=in",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "to=<leo@our.example>, relay") || strings.Count(text, "status=sent") != 2 {
		t.Errorf("who has it:\n%s", text)
	}
	line := capture(t, func(c *Config) { c.Format = "json" }, func(l *Logger) { l.Transaction(tx, o) })
	var rec struct {
		Readdressed []struct {
			Action, To, Rule string
			Hop              string `json:"next_hop"`
		}
		SentTo []string `json:"sent_to"`
	}
	if err := json.Unmarshal([]byte(line), &rec); err != nil || len(rec.Readdressed) != 3 || rec.Readdressed[1].Hop != "big one" ||
		rec.Readdressed[2].To != "archive@our.example" || rec.Readdressed[0].Rule != "to odd\n" || len(rec.SentTo) != 2 {
		t.Errorf("%v %+v\n%s", err, rec, line)
	}
}
